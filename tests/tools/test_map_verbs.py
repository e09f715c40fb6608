"""zoo-infer fit and symmetry: what they print and write, and one line for whatever they cannot take."""

import gzip

import numpy as np
import pytest

from zoo.data.formats.mrc import write_stack, write_volume
from zoo_tools.infer import app

AXIS = np.arange(24) - 12
Z, Y, X = np.meshgrid(AXIS, AXIS, AXIS, indexing="ij")
ATOM = "ATOM  {0:5d}  CA  ALA A{0:4d}    {1:8.3f}{2:8.3f}{3:8.3f}  1.00  0.00           C\n"


@pytest.fixture
def infer(call):
    return lambda *arguments: call(app, "zoo-infer", *arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A map of four blobs, files that are no maps or structures, and a structure of four atoms."""
    path = tmp_path_factory.mktemp("maps")
    places = np.array([[6, 0, 1], [-5, 4, 0], [0, -6, -2], [1, 2, 6.0]])
    blobs = sum(np.exp(-((X - x) ** 2 + (Y - y) ** 2 + (Z - z) ** 2) / 5) for x, y, z in places)
    write_volume(path / "map.mrc", blobs, 4.0)
    (path / "model.pdb").write_text("".join(ATOM.format(i + 1, *(4 * at)) for i, at in enumerate(places)))
    write_volume(path / "silent.mrc", blobs, 0.0)
    write_volume(path / "flat.mrc", np.ones((24,) * 3), 4.0)
    write_volume(path / "thin.mrc", blobs[:4], 4.0)
    write_stack(path / "stack.mrcs", blobs, 4.0)
    (path / "far.pdb").write_text(ATOM.format(1, 0, 0, 0) + ATOM.format(2, 900, 0, 0))
    (path / "empty.pdb").write_text("END\n")
    (path / "one.pdb").write_text(ATOM.format(1, 0, 0, 0))
    (path / "text.mrc").write_text("no map")
    (path / "cut.pdb.gz").write_bytes(gzip.compress((path / "model.pdb").read_bytes())[:60])
    (path / "other").mkdir()
    (path / "other" / "mine.txt").write_text("keep")
    nan = blobs.astype(np.float32)
    write_volume(path / "nan.mrc", nan, 4.0)
    raw = bytearray((path / "nan.mrc").read_bytes())
    raw[1024 + 400 : 1024 + 404] = np.float32(np.nan).tobytes()
    (path / "nan.mrc").write_bytes(raw)
    return path


def test_a_fit_prints_its_figures_and_writes_its_folder(infer, folder, tmp_path):
    words = ["fit", folder / "map.mrc", "--structure", folder / "model.pdb", "--out", tmp_path / "fit"]
    code, out, error = infer(*words)
    assert code == 0, error
    assert "correlation 0." in out and "FSC 0.5" in out and "mirror image" in out
    assert (tmp_path / "fit" / "fitted.pdb").is_file()
    code, _, error = infer(*words)
    assert code == 2 and "--overwrite" in error


@pytest.mark.parametrize(
    ("density", "words", "said"),
    [
        ("absent.mrc", [], "absent.mrc"),
        ("text.mrc", [], "text.mrc"),
        ("model.pdb", [], "expected a map"),
        ("silent.mrc", [], "--pixel-size"),
        ("map.mrc", ["--pixel-size", "nan"], "--pixel-size nan"),
        ("map.mrc", ["--pixel-size", "-1"], "--pixel-size -1"),
        ("flat.mrc", [], "all voxels are equal"),
        ("thin.mrc", [], "at least 12"),
        ("nan.mrc", [], "not finite"),
        ("map.mrc", ["--structure", "far.pdb"], "too small for a structure"),
        ("map.mrc", ["--structure", "empty.pdb"], "no atoms"),
        ("map.mrc", ["--structure", "one.pdb"], "one.pdb: 1 atoms at one place"),
        ("map.mrc", ["--structure", "map.mrc"], "map.mrc"),
        ("map.mrc", ["--structure", "cut.pdb.gz"], "cut.pdb.gz"),
        ("map.mrc", ["--structure", "absent.cif"], "absent.cif"),
        ("map.mrc", ["--assembly", "7"], "assembly '7'"),
        ("map.mrc", ["--resolution", "0"], "--resolution 0"),
        ("map.mrc", ["--resolution", "nan"], "--resolution nan"),
        ("map.mrc", ["--resolution", "1e9"], "--resolution 1e+09"),
        ("map.mrc", ["--contrast", "2"], "--contrast 2"),
        ("map.mrc", ["--out", "other"], "other"),
    ],
)
def test_bad_input_of_a_fit_is_one_line(infer, folder, monkeypatch, density, words, said):
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    given = [] if "--structure" in words else ["--structure", "model.pdb"]
    into = [] if "--out" in words else ["--out", "new"]
    code, _, error = infer("fit", density, *given, *words, *into)
    assert code == 2 and error.count("\n") == 1 and said in error, error
    assert sorted(folder.rglob("*")) == before


def test_a_symmetry_is_printed(infer, tmp_path):
    ring = sum(
        np.exp(-((X - 6 * np.cos(a)) ** 2 + (Y - 6 * np.sin(a)) ** 2) / 4) for a in (0, 2.0944, 4.1888)
    )
    ring = ring * np.exp(-(Z**2) / 20)
    write_volume(tmp_path / "ring.mrc", ring, 4.0)
    write_volume(tmp_path / "mask.mrc", (X**2 + Y**2 + Z**2 < 100).astype(np.float32), 4.0)
    code, out, _ = infer("symmetry", tmp_path / "ring.mrc", "--fold", 3, "--axis", "z")
    assert code == 0 and out.startswith("3-fold symmetry 1.000 about z")
    code, out, _ = infer("symmetry", tmp_path / "ring.mrc", "--fold", 3, "--mask", tmp_path / "mask.mrc")
    assert code == 0 and out.startswith("3-fold symmetry 1.000 about the axis (")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["map.mrc", "--fold", "1"], "expected 2 to 360"),
        (["map.mrc", "--fold", "3", "--axis", "w"], "axis 'w'"),
        (["map.mrc", "--fold", "3", "--axis", "0,0,0"], "not all 0"),
        (["thin.mrc", "--fold", "3"], "thin.mrc"),
        (["flat.mrc", "--fold", "3"], "flat.mrc"),
        (["nan.mrc", "--fold", "3"], "nan.mrc"),
        (["map.mrc", "--fold", "3", "--mask", "thin.mrc"], "one box"),
    ],
)
def test_bad_input_of_a_symmetry_is_one_line(infer, folder, monkeypatch, words, said):
    monkeypatch.chdir(folder)
    code, _, error = infer("symmetry", *words)
    assert code == 2 and error.count("\n") == 1 and said in error, error
