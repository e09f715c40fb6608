import gemmi
import mrcfile
import numpy as np
import pytest

from zoo.data.formats.mrc import write_volume
from zoo.errors import ZooError
from zoo.metrics.fsc import fsc
from zoo.simulate.classes import StructureSource, classes_from_structures
from zoo.simulate.embedded import embedded_classes, embedded_maps
from zoo.simulate.gather import gather_classes, structure_sources


@pytest.fixture
def density(tmp_path):
    path = tmp_path / "a.mrc"
    write_volume(path, embedded_maps(32)[2] + 3.0, 10.0)
    return path


def write_model(path, xyz, element="C", chains="A"):
    """A PDB file with one residue per atom; chain names are taken in turn."""
    structure = gemmi.Structure()
    structure.add_model(gemmi.Model("1") if gemmi.__version__ < "0.7" else gemmi.Model(1))
    for name in dict.fromkeys(chains):
        structure[0].add_chain(gemmi.Chain(name))
    for number, position in enumerate(xyz):
        residue, atom = gemmi.Residue(), gemmi.Atom()
        residue.name, residue.seqid = "ALA", gemmi.SeqId(number + 1, " ")
        atom.name, atom.element, atom.pos = "CA", gemmi.Element(element), gemmi.Position(*position)
        residue.add_atom(atom)
        structure[0][chains[number % len(chains)]].add_residue(residue)
    structure.write_pdb(str(path))
    return path


def middle(volume):
    axis = np.arange(len(volume)) - len(volume) // 2
    volume = volume.astype(float)
    return np.array([(volume.sum(other) * axis).sum() for other in ((0, 1), (0, 2), (1, 2))]) / volume.sum()


def test_map_keeps_its_field_of_view_and_loses_its_background(density):
    classes = gather_classes([density], [], box=24)
    assert classes.box == 24
    assert classes.voxel_size_angstrom == pytest.approx(10 * 32 / 24)
    assert classes.names == ("a.mrc",)
    assert np.abs(classes.maps[0][0]).max() < 0.01
    truth = embedded_maps(24, 10 * 32 / 24)[2]
    assert fsc(classes.maps[0], truth)[:9].min() > 0.98


def test_map_without_options_is_itself(density):
    classes = gather_classes([density], [])
    assert (classes.box, classes.voxel_size_angstrom) == (32, 10.0)
    np.testing.assert_allclose(classes.maps[0], embedded_maps(32)[2], atol=1e-3)


def test_voxel_size_given_places_the_map_in_a_larger_box(density):
    classes = gather_classes([density], [], box=48, pixel_size_angstrom=10.0)
    np.testing.assert_allclose(classes.maps[0][8:40, 8:40, 8:40], embedded_maps(32)[2], atol=1e-3)


def test_nothing_given_is_the_embedded_set():
    classes = gather_classes([], [])
    assert classes.maps.shape == (3, 32, 32, 32)
    np.testing.assert_array_equal(classes.maps, embedded_classes(32, 10.0).maps)


def test_maps_and_structures_share_one_grid(density, tmp_path):
    model = write_model(tmp_path / "m.pdb", np.random.default_rng(0).normal(0, 30, (50, 3)))
    classes = gather_classes([density], structure_sources([model]), box=32)
    assert classes.maps.shape == (2, 32, 32, 32)
    assert classes.names == ("a.mrc", "m.pdb")


def test_chains_choose_modules_in_one_frame(tmp_path):
    rng = np.random.default_rng(0)
    core, module = rng.normal(0, 8, (40, 3)), rng.normal(40, 5, (40, 3))
    path = write_model(tmp_path / "m.pdb", np.stack([core, module], 1).reshape(-1, 3), chains="AB")
    both, kept, removed = (
        classes_from_structures([source], 48, 4.0).maps[0]
        for source in (
            StructureSource(str(path)),
            StructureSource(str(path), chains=("B",)),
            StructureSource(str(path), remove_chains=("B",)),
        )
    )
    # intermediates of one file lie over each other: the parts sum to the whole
    np.testing.assert_allclose(kept + removed, both, atol=1e-4 * both.max())
    expected = module.mean(0) - np.concatenate([core, module]).mean(0)
    np.testing.assert_allclose(middle(kept) * 4, expected, atol=0.1)


def test_common_frame_keeps_the_distance_between_aligned_models(tmp_path):
    xyz = np.random.default_rng(0).normal(0, 8, (40, 3))
    paths = [write_model(tmp_path / "a.pdb", xyz), write_model(tmp_path / "b.pdb", xyz + 12)]
    sources = structure_sources(paths)
    apart = classes_from_structures(sources, 32, 4.0, common_frame=True).maps
    np.testing.assert_allclose(middle(apart[1]) - middle(apart[0]), 3.0, atol=0.05)
    together = classes_from_structures(sources, 32, 4.0).maps
    np.testing.assert_allclose(together[1], together[0], atol=2e-3 * together.max())


def test_morph_walks_in_equal_steps_and_starts_and_ends_at_the_models(tmp_path):
    xyz = np.random.default_rng(0).normal(0, 8, (40, 3))
    moved = xyz + [0, 0, 16]
    paths = [write_model(tmp_path / "a.pdb", xyz), write_model(tmp_path / "b.pdb", moved)]
    classes = classes_from_structures(structure_sources(paths), 32, 4.0, morph=5)
    heights = [middle(density)[2] for density in classes.maps]
    np.testing.assert_allclose(np.diff(heights), 1.0, atol=0.02)
    assert len(classes.names) == 5
    ends = classes_from_structures(structure_sources(paths), 32, 4.0, common_frame=True).maps
    np.testing.assert_allclose(classes.maps[[0, -1]], ends, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"box": 48}, "smaller than --box 48"),
        ({"box": 33}, "even number"),
        ({"box": 4}, "8 or more"),
        ({"pixel_size_angstrom": -1.0}, "--pixel-size"),
        ({"resolution_angstrom": 5.0}, "belongs to --structure"),
        ({"morph": 3}, "--morph"),
    ],
)
def test_bad_options_for_maps(density, options, words):
    with pytest.raises(ZooError, match=words):
        gather_classes([density], [], **options)


def test_bad_maps(tmp_path):
    write_volume(tmp_path / "brick.mrc", np.random.default_rng(0).normal(size=(8, 8, 12)), 3.0)
    write_volume(tmp_path / "flat.mrc", np.ones((16, 16, 16)), 3.0)
    write_volume(tmp_path / "silent.mrc", np.random.default_rng(0).normal(size=(16, 16, 16)), 0.0)
    with mrcfile.new(tmp_path / "nan.mrc", np.ones((16, 16, 16), np.float32)) as file:
        file.voxel_size = 3.0
        file.data[4, 4, 4] = np.nan
    for name, words in (
        ("brick", "expected a cube"),
        ("flat", "all voxels are equal"),
        ("silent", "states no voxel size"),
        ("nan", "not finite"),
    ):
        with pytest.raises(ZooError, match=words) as error:
            gather_classes([tmp_path / f"{name}.mrc"], [])
        assert str(tmp_path / f"{name}.mrc") in str(error.value)
    assert gather_classes([tmp_path / "silent.mrc"], [], pixel_size_angstrom=4.0).voxel_size_angstrom == 4.0


def test_bad_structures(tmp_path):
    xyz = np.random.default_rng(0).normal(0, 8, (10, 3))
    a, b = write_model(tmp_path / "a.pdb", xyz), write_model(tmp_path / "b.pdb", xyz[:9])
    nitrogen = write_model(tmp_path / "n.pdb", xyz, element="N")
    empty = tmp_path / "empty.pdb"
    empty.write_text("END\n")
    cases = [
        ([empty], {"pixel_size_angstrom": 4.0}, "no atoms"),
        ([a], {}, "--pixel-size"),
        ([a], {"pixel_size_angstrom": 0.5}, "use --box"),
        ([a], {"pixel_size_angstrom": 4.0, "resolution_angstrom": -1.0}, "--resolution"),
        ([a, b], {"pixel_size_angstrom": 4.0, "morph": 3}, "a.pdb has 10 atoms, b.pdb has 9"),
        ([a, nitrogen], {"pixel_size_angstrom": 4.0, "morph": 3}, "atom 1 is C"),
        ([a], {"pixel_size_angstrom": 4.0, "morph": 3}, "exactly two"),
        ([a, a], {"pixel_size_angstrom": 4.0, "morph": 1}, "2 or more"),
    ]
    for paths, options, words in cases:
        with pytest.raises(ZooError, match=words):
            gather_classes([], structure_sources(paths), box=32, **options)
    choices = [((["Z"], []), "chain Z"), (([], ["Z"]), "chain Z"), (([], ["A"]), "no atoms are left")]
    for lists, words in choices:
        with pytest.raises(ZooError, match=words):
            gather_classes([], structure_sources([a], None, *lists), 32, 4.0)
    with pytest.raises(ZooError, match="given 1 times for 2"):
        structure_sources([a, b], chains=["A"])
