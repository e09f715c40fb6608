import gemmi
import numpy as np
import pytest

from zoo.errors import ZooError
from zoo.simulate.density import density_from_atoms


def carbon_amplitude(s_per_angstrom, resolution):
    """Electron form factor of carbon from gemmi's own function, with the blur of the resolution."""
    factor = gemmi.Element("C").c4322.calculate_sf((s_per_angstrom / 2) ** 2)
    return factor * np.exp(-(resolution**2) * s_per_angstrom**2)


def test_one_atom_has_the_transform_of_its_form_factor():
    box, voxel, resolution = 32, 2.0, 6.0
    density = density_from_atoms([[7.0, -3.0, 5.0]], ["C"], box, voxel, resolution)
    transform = np.fft.fftn(np.fft.ifftshift(density.astype(float))) * voxel**3
    k = np.fft.fftfreq(box, voxel)
    s = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + k**2)
    inside = s < 0.2
    expected = np.vectorize(carbon_amplitude)(s[inside], resolution)
    np.testing.assert_allclose(transform[inside], expected, atol=2e-3 * expected.max())


@pytest.mark.parametrize(
    ("box", "voxel", "resolution"), [(32, 4.0, 8.0), (24, 5.0, 20.0), (48, 2.5, 7.0), (48, 5.0, 40.0)]
)
def test_total_is_the_scattering_at_zero_angle(box, voxel, resolution):
    rng = np.random.default_rng(0)
    xyz, elements = rng.uniform(-20, 20, (300, 3)), rng.choice(["C", "N", "O", "P"], 300)
    density = density_from_atoms(xyz, elements, box, voxel, resolution)
    expected = sum(gemmi.Element(str(e)).c4322.calculate_sf(0.0) for e in elements)
    assert density.sum() * voxel**3 == pytest.approx(expected, rel=0.01)


def test_atoms_lie_where_they_should():
    xyz = np.array([[10.0, 0, 0], [0, -20.0, 0], [0, 0, 30.0]])
    density = density_from_atoms(xyz, ["C", "C", "C"], 32, 4.0, 8.0, centre_angstrom=[0, 0, 0])
    for x, y, z in np.rint(xyz / 4).astype(int):
        around = density[14 + z : 19 + z, 14 + y : 19 + y, 14 + x : 19 + x]
        peak = np.array(np.unravel_index(around.argmax(), around.shape)) - 2
        assert np.abs(peak).max() <= 1
    offset = density_from_atoms(xyz + 50, ["C", "C", "C"], 32, 4.0, 8.0, centre_angstrom=[50, 50, 50])
    np.testing.assert_allclose(offset, density, atol=1e-5)


def test_middle_of_the_atoms_comes_to_the_middle_of_the_box():
    rng = np.random.default_rng(1)
    density = density_from_atoms(rng.normal(100, 8, (200, 3)), ["C"] * 200, 32, 3.0, 9.0).astype(float)
    axis = np.arange(32) - 16
    for name, other in (("z", (1, 2)), ("y", (0, 2)), ("x", (0, 1))):
        line = density.sum(other)
        assert abs((line * axis).sum() / line.sum()) < 0.02, name


def test_occupancy_weighs_and_heavier_atoms_scatter_more():
    weak = density_from_atoms([[0, 0, 0]], ["C"], 16, 3.0, 9.0, occupancies=[0.5])
    full = density_from_atoms([[0, 0, 0]], ["C"], 16, 3.0, 9.0)
    heavy = density_from_atoms([[0, 0, 0]], ["P"], 16, 3.0, 9.0)
    np.testing.assert_allclose(2 * weak, full, rtol=1e-4, atol=1e-5)
    assert heavy.sum() > full.sum()


@pytest.mark.parametrize(
    ("xyz", "elements", "words"),
    [
        (np.zeros((0, 3)), [], "no atoms"),
        ([[0, 0, 0]], ["Qq"], "element 'Qq'"),
        ([[0, 0, 0], [500, 0, 0]], ["C", "C"], "use --box"),
    ],
)
def test_bad_structures_are_refused(xyz, elements, words):
    with pytest.raises(ZooError, match=words):
        density_from_atoms(xyz, elements, 32, 4.0, 8.0, name="a.pdb")


def test_the_box_that_the_message_names_is_enough():
    xyz, elements = [[0, 0, 0], [150.0, 0, 0]], ["C", "C"]
    with pytest.raises(ZooError) as error:
        density_from_atoms(xyz, elements, 32, 4.0, 8.0)
    box = int(str(error.value).split("--box ")[1].split()[0])
    assert density_from_atoms(xyz, elements, box, 4.0, 8.0).shape == (box,) * 3


@pytest.mark.shared_data
def test_density_of_a_real_model_lies_around_its_atoms(shared_data):
    from scipy.spatial import cKDTree

    from zoo.data.formats.structures import read_structure

    atoms = read_structure(shared_data / "structures" / "1gyt.pdb.gz")
    density = density_from_atoms(atoms.positions_angstrom, atoms.elements, 40, 4.0, 8.0)
    axis = (np.arange(40) - 20) * 4.0
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    centred = atoms.positions_angstrom - atoms.positions_angstrom.mean(0)
    distance, _ = cKDTree(centred).query(np.stack([x, y, z], -1).reshape(-1, 3), distance_upper_bound=6.1)
    near = np.isfinite(distance).reshape(40, 40, 40)
    assert density[near].sum() > 0.95 * density.sum()
    assert np.abs(density[~near]).max() < 0.25 * density.max()
