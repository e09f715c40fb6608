"""A structure turned and shifted by a known amount is found in its map, and read back from there."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from zoo.analysis.fit import MapFrame, fit_atoms, judged
from zoo.analysis.fit_report import fit_structure, format_fit, read_frame, write_fit
from zoo.data.formats.mrc import write_volume
from zoo.data.formats.structures import read_structure, write_moved_structure
from zoo.metrics.alignment import mirror
from zoo.simulate.density import density_from_atoms

VOXEL, CORNER = 4.0, (-31.0, 57.0, 12.5)
TURN = Rotation.from_euler("ZYZ", [35, 70, -120], degrees=True).as_matrix()


def made_structure(path):
    """400 carbons in a chiral heap of 90 Å, far from where the map will be."""
    import gemmi

    rng = np.random.default_rng(4)
    arm = np.linspace(0, 1, 100)[:, None]
    ends = np.array([[45, 0, 0], [-10, 36, 5], [-5, -20, 30], [0, 10, -33.0]])
    places = np.concatenate([arm * end for end in ends]) + rng.normal(0, 3, (400, 3)) + [200, -40, 9]
    structure, chain = gemmi.Structure(), gemmi.Chain("A")
    model = gemmi.Model("1") if gemmi.__version__ < "0.7" else gemmi.Model(1)
    for number, place in enumerate(places, start=1):
        residue, atom = gemmi.Residue(), gemmi.Atom()
        residue.name, residue.seqid = "ALA", gemmi.SeqId(number, " ")
        atom.name, atom.element, atom.pos = "CA", gemmi.Element("C"), gemmi.Position(*place)
        residue.add_atom(atom)
        chain.add_residue(residue)
    model.add_chain(chain)
    structure.add_model(model)
    structure.setup_entities()
    if str(path).endswith(".pdb"):
        structure.write_pdb(str(path))
    else:
        structure.make_mmcif_document().write_file(str(path))
    return path


def true_place(atoms):
    """Coordinates at which the map shows the structure: turned, off the middle of a box that is no cube."""
    middle = np.array(CORNER) + VOXEL * np.array([20, 18, 16]) + [6.3, -4.1, 5.2]
    return (atoms.positions_angstrom - atoms.positions_angstrom.mean(0)) @ TURN.T + middle


def made_map(path, atoms, hand=1):
    cube = density_from_atoms(
        true_place(atoms),
        atoms.elements,
        40,
        VOXEL,
        10.0,
        centre_angstrom=np.array(CORNER) + VOXEL * np.array([20, 18, 16]),
    )
    cube = mirror(cube) if hand < 0 else cube
    # voxel 20 becomes 16 of 32 along z, 18 of 36 along y
    cut = cube[4:36, 2:38, :]
    noise = np.random.default_rng(0).normal(0, 0.5 * cut.std(), cut.shape)
    write_volume(path, 3.0 + cut + noise, VOXEL, CORNER)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit")
    structure = made_structure(folder / "model.pdb")
    return made_map(folder / "map.mrc", read_structure(structure)), structure


def test_the_fitted_structure_lies_where_the_map_shows_it(files, tmp_path):
    found = fit_structure(*files)
    folder = tmp_path / "out"
    folder.mkdir()
    names = write_fit(folder, found, *files)
    assert {path.name for path in folder.iterdir()} == set(names)
    assert names[0] == f"fitted{files[1].suffix}"
    atoms, fitted = read_structure(files[1]), read_structure(folder / names[0])
    distance = np.linalg.norm(fitted.positions_angstrom - true_place(atoms), axis=1)
    assert np.sqrt((distance**2).mean()) < 0.5  # an eighth of a voxel
    np.testing.assert_array_equal(fitted.elements, atoms.elements)
    assert np.degrees(Rotation.from_matrix(found.rotation @ TURN.T).magnitude()) < 1
    assert found.correlation == pytest.approx(1 / np.sqrt(1.25), abs=0.03)  # of a map with half as much noise
    assert found.correlation_inside > found.correlation and not found.mirror_fits_better
    numbers = json.loads((folder / "fit.json").read_text())
    moved = atoms.positions_angstrom @ np.transpose(numbers["rotation"]) + numbers["translation_angstrom"]
    np.testing.assert_allclose(moved, fitted.positions_angstrom, atol=1e-3)
    with open(folder / "fsc.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[2]["masked"]) > 0.9 and len(rows) == 20
    assert 8.0 <= numbers["fsc_half_angstrom"]["masked"] < 14
    script = (folder / "fit.cxc").read_text()
    assert 'map.mrc"' in script and names[0] in script
    assert (folder / "slices.png").stat().st_size > 1000


def test_a_moved_mmcif_is_read_back(tmp_path):
    import gemmi

    source = made_structure(tmp_path / "model.cif")
    document = gemmi.read_structure(str(source))
    document[0][0][0][0].aniso = gemmi.SMat33f(1, 2, 3, 0, 0, 0)
    document.make_mmcif_document().write_file(str(source))
    path = write_moved_structure(source, tmp_path / "moved.cif", TURN, [5, -6, 7])
    before, after = read_structure(source), read_structure(path)
    expected = before.positions_angstrom @ TURN.T + [5, -6, 7]
    np.testing.assert_allclose(after.positions_angstrom, expected, atol=2e-3)
    turned = gemmi.read_structure(path)[0][0][0][0].aniso.as_mat33().tolist()
    np.testing.assert_allclose(turned, TURN @ np.diag([1, 2, 3]) @ TURN.T, atol=2e-3)


def test_an_assembly_becomes_mmcif_whose_chains_have_names_of_two_letters(tmp_path):
    import gemmi

    source = made_structure(tmp_path / "model.pdb")
    lines = [
        "REMARK 350 BIOMOLECULE: 1",
        "REMARK 350 APPLY THE FOLLOWING TO CHAINS: A",
        "REMARK 350   BIOMT1   1  1.000000  0.000000  0.000000        0.00000",
        "REMARK 350   BIOMT2   1  0.000000  1.000000  0.000000        0.00000",
        "REMARK 350   BIOMT3   1  0.000000  0.000000  1.000000        0.00000",
        "REMARK 350   BIOMT1   2 -1.000000  0.000000  0.000000        0.00000",
        "REMARK 350   BIOMT2   2  0.000000 -1.000000  0.000000        0.00000",
        "REMARK 350   BIOMT3   2  0.000000  0.000000  1.000000        0.00000",
    ]
    source.write_text("\n".join(lines) + "\n" + source.read_text())
    path = write_moved_structure(source, tmp_path / "moved.pdb", np.eye(3), [1, 2, 3], "1")
    assert path.endswith("moved.cif") and not gemmi.read_structure(path).assemblies
    before, after = read_structure(source, "1"), read_structure(path)
    assert len(after) == 800 and len(set(after.chains)) == 2
    np.testing.assert_allclose(after.positions_angstrom, before.positions_angstrom + [1, 2, 3], atol=2e-3)


def test_a_mirrored_map_is_said_and_never_mirrored(files, tmp_path):
    path = made_map(tmp_path / "mirrored.mrc", read_structure(files[1]), hand=-1)
    found = fit_structure(path, files[1])
    assert found.mirror_fits_better and found.mirrored_correlation > found.searched_correlation + 0.05
    assert np.linalg.det(found.rotation) == pytest.approx(1)
    assert "fits better" in format_fit(found) and "nothing was mirrored" in format_fit(found)


def test_a_dark_map_is_turned_and_said(files, tmp_path):
    density = -read_frame(files[0]).density
    write_volume(tmp_path / "dark.mrc", density, VOXEL, CORNER)
    said = []
    frame = read_frame(tmp_path / "dark.mrc", notes=said.append)
    np.testing.assert_array_equal(frame.density, -density)
    assert len(said) == 1 and "dark" in said[0]
    assert read_frame(tmp_path / "dark.mrc", sign=1, notes=said.append).density.sum() == density.sum()


def test_the_corner_is_origin_or_start_and_follows_permuted_axes(tmp_path):
    import mrcfile

    path = tmp_path / "map.mrc"
    data = np.zeros((14, 16, 18), np.float32)
    data[3, 4, 5] = 1
    with mrcfile.new(path) as mrc:
        mrc.set_data(data)
        mrc.voxel_size = 2.0
        # columns are y, rows z, sections x
        mrc.header.mapc, mrc.header.mapr, mrc.header.maps = 2, 3, 1
        mrc.header.mx, mrc.header.my, mrc.header.mz = 14, 18, 16
        mrc.header.cella = (28, 36, 32)
        mrc.header.nxstart, mrc.header.nystart, mrc.header.nzstart = 10, 20, -30
    frame = read_frame(path)
    assert frame.corner_angstrom == (-60.0, 20.0, 40.0)  # x: sections, y: columns, z: rows
    assert frame.density[4, 5, 3] == 1
    assert read_frame(path, pixel_size_angstrom=3.0).corner_angstrom == (-90.0, 30.0, 60.0)
    with mrcfile.open(path, "r+") as mrc:
        mrc.header.origin = (1.0, -2.0, 3.0)
    assert read_frame(path).corner_angstrom == (1.0, -2.0, 3.0)


@pytest.mark.slow
def test_a_part_of_a_complex_is_found_in_it(files):
    """One structure among three copies, of which one is denser: the box is 2.5 times as wide as it."""
    atoms = read_structure(files[1])
    places = (atoms.positions_angstrom - atoms.positions_angstrom.mean(0)) @ TURN.T
    density = density_from_atoms(
        places + [60, 40, -50], atoms.elements, 60, VOXEL, 10.0, centre_angstrom=np.zeros(3)
    )
    for other in ([-70, 0, 30], [20, -60, 60]):
        turned = places @ Rotation.random(random_state=abs(other[0])).as_matrix()
        density += 0.8 * density_from_atoms(
            turned + other, atoms.elements, 60, VOXEL, 10.0, centre_angstrom=np.zeros(3)
        )
    found = fit_atoms(atoms, MapFrame(density, VOXEL))
    moved = atoms.positions_angstrom @ found.rotation.T + found.translation_angstrom
    expected = places + [60, 40, -50] + 30 * VOXEL
    assert np.sqrt(((moved - expected) ** 2).sum(1).mean()) < 1.0


@pytest.mark.shared_data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("density", "structure", "assembly", "correlation", "fsc"),
    [
        ("emd_1997_groel.map.gz", "1oel.pdb.gz", "1", 0.65, 0.5),
        ("emd_1080_groel_11.5A.mrc.gz", "1oel.pdb.gz", "1", 0.85, 0.5),
        # its micelle is not in the structure
        ("trpv1_4.88A.mrc", "3j5p.pdb.gz", None, 0.5, 0.4),
    ],
)
def test_real_maps(shared_data, tmp_path, density, structure, assembly, correlation, fsc):
    """Shells from 30 to 15 Å, which a place off by 5 Å along each axis does not explain."""
    paths = shared_data / "maps" / density, shared_data / "structures" / structure
    found = fit_structure(*paths, assembly)
    print(format_fit(found))
    assert found.correlation > correlation and not found.mirror_fits_better
    first, last = (round(found.edge_angstrom / angstrom) for angstrom in (30, 15))
    assert found.fsc["masked"][first : last + 1].mean() > fsc
    astray = replace(found, translation_angstrom=found.translation_angstrom + [5, 5, 5])
    atoms = read_structure(paths[1], assembly)
    assert judged(astray, atoms).fsc["masked"][first : last + 1].mean() < fsc / 2
    name, *_ = write_fit(tmp_path, found, *paths, assembly)
    fitted = read_structure(tmp_path / name)
    assert len(fitted) == len(read_structure(paths[1], assembly))
    low = np.array(found.frame.corner_angstrom)
    high = low + np.array(found.frame.density.shape[::-1]) * found.frame.voxel_size_angstrom
    assert (fitted.positions_angstrom > low).all() and (fitted.positions_angstrom < high).all()
