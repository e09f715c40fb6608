"""Pictures and maps of a sample."""

import matplotlib.image
import mrcfile
import numpy as np
import pytest

from zoo.training.previews import central_slices, figures_of, write_grid, write_preview


def test_kinds_are_told_by_axes(tmp_path):
    rng = np.random.default_rng(0)
    preview = {
        "images": {"real": rng.normal(size=(5, 12, 12, 1)), "fake": rng.normal(size=(5, 12, 12))},
        "maps": rng.normal(size=(2, 8, 8, 8)),
        "slices": rng.normal(size=(2, 3, 8, 8)),
        "latents": rng.normal(size=(5, 2)),
        "sigma": np.float32(1.5),
    }
    pictures = write_preview(tmp_path, 7, preview, 2.5)
    assert set(pictures) == {"images-real", "images-fake", "maps", "slices"}
    assert figures_of(preview) == {"sigma": 1.5}
    table = np.loadtxt(tmp_path / "step-00000007-latents.csv", delimiter=",")
    np.testing.assert_allclose(table, preview["latents"], rtol=1e-4)
    for i in range(2):
        path = tmp_path / f"step-00000007-maps-{i}.mrc"
        assert mrcfile.validate(path)
        with mrcfile.open(path) as file:
            np.testing.assert_array_equal(file.data, preview["maps"][i].astype(np.float32))
            assert file.voxel_size.z == pytest.approx(2.5)


def test_slices_pass_through_the_centre():
    volume = np.arange(4**3, dtype=float).reshape(4, 4, 4)
    z, y, x = central_slices(volume)
    np.testing.assert_array_equal(z, volume[2])
    np.testing.assert_array_equal(y, volume[:, 2])
    np.testing.assert_array_equal(x, volume[:, :, 2])


def test_grid_shows_each_image_at_its_place(tmp_path):
    images = np.zeros((3, 64, 64))
    for i, image in enumerate(images):
        image[:32, : 16 * (i + 1)] = 1.0
    write_grid(tmp_path / "grid.png", images, columns=2)
    grid = matplotlib.image.imread(tmp_path / "grid.png")[..., 0]
    assert grid.shape == (2 * 130 - 2, 2 * 130 - 2)
    assert grid[10, 10] == 1 and grid[10, 40] == 0
    assert grid[10, 130 + 60] == 1 and grid[10, 130 + 100] == 0
    assert grid[130 + 10, 90] == 1 and grid[130 + 100, 10] == 0
    assert (grid[130:, 130:] == 1).all()


@pytest.mark.parametrize("value", [np.nan, 3.0])
def test_flat_and_undefined_images_are_drawn(tmp_path, value):
    write_grid(tmp_path / "grid.png", np.full((2, 8, 8), value))
    assert matplotlib.image.imread(tmp_path / "grid.png").size


def test_judge_knows_a_perfect_model(tmp_path, toy_records):
    """NMI 1 and FSC to Nyquist for a model that gives each class its own code and its true map."""
    import dataclasses

    from zoo.data.formats.mrc import write_volume
    from zoo.data.info import DatasetInfo
    from zoo.models.capabilities import Encodes, MakesMaps
    from zoo.simulate.embedded import embedded_maps
    from zoo.training.judge import Judge

    truths = embedded_maps(16)
    (tmp_path / "maps").mkdir()
    for i, volume in enumerate(truths):
        write_volume(tmp_path / "maps" / f"class_{i}.mrc", volume, 4.0)
    info = dataclasses.replace(
        DatasetInfo.load(toy_records),
        labels={0: 32, 1: 32, 2: 32},
        source={"path": str(tmp_path / "particles.star")},
    )
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 96)

    class Perfect(Encodes, MakesMaps):
        def encode(self, batch):
            return {"z_mean": 10.0 * batch["image"][:, 0, 0, :]}

        def density(self, z):
            return truths[np.round(z[:, 0] / 10).astype(int)]

    judge = Judge(Perfect(), info)
    codes = (labels + rng.normal(0, 0.01, 96)).astype(np.float32)
    judge._particles = [{"image": codes[:, None, None, None], "ctf": np.zeros((96, 9)), "label": labels}]
    judge._began -= 100
    figures = judge.figures(last=True)
    assert figures["nmi"] == pytest.approx(1.0)
    assert [figures[f"fsc_pixels_{i}"] for i in range(3)] == pytest.approx([2.0] * 3, abs=0.1)
    judge._particles[0]["label"] = rng.permutation(labels)
    assert judge.figures(may_align=False)["nmi"] < 0.1
    assert Judge(Perfect(), dataclasses.replace(info, labels={-1: 96})).figures() == {}
