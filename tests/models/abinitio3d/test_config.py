"""What a person may set, and what is refused in one line."""

import math

import pytest

from zoo.errors import ZooError
from zoo.models.abinitio3d.config import PRESETS, Config, from_preset
from zoo.models.abinitio3d.state import state_shapes


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_presets_are_valid(preset):
    assert isinstance(from_preset(preset), Config)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"box": 12}, "box=12: expected 16 to 4096"),
        ({"classes": 0}, "classes=0: expected 1 to 50"),
        ({"count": 50, "classes": 3}, "50 particles for classes=3: expected at least 20 for each class"),
        ({"max_radius": 16}, "max_radius=16: expected 0, or 8 to 15"),
        ({"max_shift": float("nan")}, "max_shift=nan"),
        ({"mask_radius": 0.7}, "mask_radius=0.7"),
        ({"bands": (3, 5, 4)}, "bands=.*rising shells"),
        ({"bands": (3, 4, 14)}, "bands=.*from 2 to 13"),
        ({"views": (100, 200)}, "views=.*expected 3 values"),
        ({"good_share": 1.5}, "good_share=1.5"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"voxel_size_angstrom": 0.0}, "voxel_size_angstrom=0.0"),
    ],
)
def test_what_cannot_be_is_refused(wrong, message):
    with pytest.raises(ZooError, match=message) as caught:
        from_preset("default", **wrong)
    assert "\n" not in str(caught.value)


def test_unknown_names_are_refused():
    with pytest.raises(ZooError, match="no preset called 'big'"):
        from_preset("big")
    with pytest.raises(ZooError, match="no hyperparameter called 'clases'"):
        from_preset("default", clases=3)


def test_the_fsc_of_the_halves_tells_nothing_up_to_their_common_start():
    assert (Config().start_shell, Config().silent_shell) == (6, 9)


def test_memory_hardly_grows_with_the_particles():
    """300,000 particles of 64 px: tables of less than 40 MB, and all else as for one particle."""

    def megabytes(count):
        shapes = state_shapes(Config(box=64, count=count))
        table = {name.startswith("table_"): 0.0 for name in shapes}
        for name, (shape, _) in shapes.items():
            table[name.startswith("table_")] += 4e-6 * math.prod(shape)
        return table[True], table[False]

    tables, others = megabytes(300_000)
    assert tables < 40
    assert others == megabytes(1000)[1] < 250


def test_large_boxes_are_read_at_the_size_needed():
    config = Config(box=256, voxel_size_angstrom=1.25, count=1000)
    assert (config.radius, config.map_box) == (31, 64)
    assert config.map_voxel_size_angstrom == pytest.approx(5.0)
