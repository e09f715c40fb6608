"""Atomic models: the atoms that gemmi, or the eye, counts."""

from __future__ import annotations

import gzip

import gemmi
import numpy as np
import pytest

from zoo.data.formats.structures import read_structure
from zoo.errors import ZooError

PDB = """\
REMARK 350 BIOMOLECULE: 1
REMARK 350 APPLY THE FOLLOWING TO CHAINS: A, B
REMARK 350   BIOMT1   1  1.000000  0.000000  0.000000        0.00000
REMARK 350   BIOMT2   1  0.000000  1.000000  0.000000        0.00000
REMARK 350   BIOMT3   1  0.000000  0.000000  1.000000        0.00000
REMARK 350   BIOMT1   2 -1.000000  0.000000  0.000000       10.00000
REMARK 350   BIOMT2   2  0.000000 -1.000000  0.000000        0.00000
REMARK 350   BIOMT3   2  0.000000  0.000000  1.000000        5.00000
CRYST1   90.000   90.000   90.000  90.00  90.00  90.00 P 1           1
ATOM      1  N   GLY A   1       1.000   2.000   3.000  1.00 10.00           N
ATOM      2  CA AGLY A   1       2.000   2.000   3.000  0.60 11.00           C
ATOM      3  CA BGLY A   1       9.000   9.000   9.000  0.40 12.00           C
ATOM      4  HA2 GLY A   1       2.500   2.000   3.000  1.00 13.00           H
ATOM      5  CA  GLY B   1      -4.000   5.000  -6.000  1.00 14.00           C
HETATM    6 ZN    ZN B   2       0.500   0.500   0.500  0.50 15.00          ZN
HETATM    7  O   HOH B   3       0.000   0.000   0.000  1.00 16.00           O
END
"""


@pytest.fixture
def pdb(tmp_path):
    path = tmp_path / "small.pdb"
    path.write_text(PDB)
    return path


def test_atoms_of_a_small_file(pdb):
    atoms = read_structure(pdb)
    assert len(atoms) == 4
    expected = [[1, 2, 3], [2, 2, 3], [-4, 5, -6], [0.5, 0.5, 0.5]]
    np.testing.assert_array_equal(atoms.positions_angstrom, expected)
    assert atoms.elements.tolist() == ["N", "C", "C", "Zn"]
    assert atoms.bfactors_angstrom2.tolist() == [10, 11, 14, 15]
    assert atoms.chains.tolist() == ["A", "A", "B", "B"]
    np.testing.assert_allclose(atoms.occupancies, [1, 0.6, 1, 0.5])


def test_hydrogens_and_waters_on_request(pdb):
    assert read_structure(pdb, hydrogens=True).elements.tolist() == ["N", "C", "H", "C", "Zn"]
    assert read_structure(pdb, waters=True).elements.tolist() == ["N", "C", "C", "Zn", "O"]


def test_assembly_applies_its_operators(pdb):
    alone, both = read_structure(pdb), read_structure(pdb, assembly="1")
    assert len(both) == 8 and len(set(both.chains.tolist())) == 4
    moved = alone.positions_angstrom * [-1, -1, 1] + [10, 0, 5]
    found = {tuple(position) for position in both.positions_angstrom.round(6).tolist()}
    assert found == {tuple(p) for p in np.concatenate([alone.positions_angstrom, moved]).round(6).tolist()}
    with pytest.raises(ZooError, match="assembly '7' is not in the file; it has 1"):
        read_structure(pdb, assembly="7")


def test_chains_can_be_left_out(pdb):
    atoms = read_structure(pdb)
    assert atoms.without_chains(["B"]).chains.tolist() == ["A", "A"]
    with pytest.raises(ZooError, match="chain Q is not in the structure; it has A, B"):
        atoms.without_chains(["Q"])


def test_mmcif_and_gzip_hold_the_same_atoms(pdb, tmp_path):
    structure = gemmi.read_structure(str(pdb))
    structure.setup_entities()
    structure.make_mmcif_document().write_file(str(tmp_path / "small.cif"))
    for name in ("small.pdb", "small.cif"):
        with gzip.open(tmp_path / f"{name}.gz", "wb") as file:
            file.write((tmp_path / name).read_bytes())
    expected = read_structure(pdb)
    for name in ("small.cif", "small.pdb.gz", "small.cif.gz"):
        for assembly in (None, "1"):
            atoms = read_structure(tmp_path / name, assembly)
            reference = read_structure(pdb, assembly)
            np.testing.assert_array_equal(atoms.positions_angstrom, reference.positions_angstrom)
        assert read_structure(tmp_path / name).elements.tolist() == expected.elements.tolist()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("empty.pdb", ""),
        ("prose.pdb", "This is no structure.\n"),
        ("no_atoms.cif", "data_x\n_cell.length_a 10\n"),
        ("prose.cif", "This is no structure.\n"),
        ("water.pdb", PDB.splitlines()[-2] + "\n"),
    ],
)
def test_files_without_atoms_are_one_clear_line(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(ZooError, match=f"{name}: .*(no atoms|nothing but|not a readable)"):
        read_structure(tmp_path / name)


def test_a_cut_archive_is_one_clear_line(pdb, tmp_path):
    rng = np.random.default_rng(13)
    lines = [
        f"ATOM  {i:5d}  CA  GLY A{i:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00 10.00           C"
        for i, (x, y, z) in enumerate(rng.uniform(-99, 99, (900, 3)), start=1)
    ]
    packed = gzip.compress("\n".join(lines).encode())
    (tmp_path / "cut.pdb.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(ZooError, match="cut.pdb.gz: not a readable"):
        read_structure(tmp_path / "cut.pdb.gz")


@pytest.mark.shared_data
def test_real_structures_have_the_atoms_their_readme_counts(shared_data):
    folder = shared_data / "structures"
    for name, atoms, chains in (("1oel.pdb.gz", 27078, 7), ("3j5p.pdb.gz", 18636, 4)):
        structure = read_structure(folder / name, waters=True)
        assert len(structure) == atoms
        assert len(set(structure.chains.tolist())) == chains
    ring = read_structure(folder / "1oel.pdb.gz")
    both = read_structure(folder / "1oel.pdb.gz", assembly="1")
    assert len(both) == 2 * len(ring)
    height = np.ptp(both.positions_angstrom, axis=0)
    assert height.max() < 160 and height[2] > 1.9 * np.ptp(ring.positions_angstrom[:, 2])


@pytest.mark.shared_data
@pytest.mark.slow
def test_every_real_structure_is_read(shared_data):
    paths = sorted((shared_data / "structures").glob("*.gz"))
    assert len(paths) >= 30
    for path in paths:
        atoms = read_structure(path)
        assert len(atoms) > 1000 and np.isfinite(atoms.positions_angstrom).all(), path.name
        assert atoms.positions_angstrom.shape == (len(atoms), 3)
        assert "X" not in atoms.elements, path.name


def test_an_assembly_of_a_chain_that_was_cut_out_is_refused(tmp_path):
    lines = [
        "REMARK 350 BIOMOLECULE: 1",
        "REMARK 350 APPLY THE FOLLOWING TO CHAINS: A, B",
        "REMARK 350   BIOMT1   1  1.000000  0.000000  0.000000        0.00000",
        "REMARK 350   BIOMT2   1  0.000000  1.000000  0.000000        0.00000",
        "REMARK 350   BIOMT3   1  0.000000  0.000000  1.000000        0.00000",
        "ATOM      1  CA  ALA A   1       1.000   1.000   1.000  1.00  0.00           C",
    ]
    (tmp_path / "a.pdb").write_text("\n".join([*lines, ""]))
    with pytest.raises(ZooError, match="a.pdb: assembly '1' needs chain B"):
        read_structure(tmp_path / "a.pdb", "1")
