"""zoo-simulate subtomograms and tomogram, zoo-pack on what they write: one process, exit codes, one line."""

import numpy as np
import pytest

from zoo.data.formats.mrc import write_volume
from zoo.data.info import DatasetInfo
from zoo.data.subtomograms import read_subtomograms
from zoo.simulate.embedded import embedded_maps
from zoo_tools._run import run


def call(tool, *arguments):
    """Exit code of a tool, run in this process."""
    if tool == "zoo-simulate":
        from zoo_tools.simulate import app
    else:
        from zoo_tools.pack import app
    with pytest.raises(SystemExit) as ended:
        run(app, tool, [str(argument) for argument in arguments])
    return ended.value.code or 0


@pytest.fixture
def density(tmp_path):
    path = tmp_path / "a.mrc"
    write_volume(path, embedded_maps(16)[2], 20.0)
    return path


def refused(capsys, *arguments):
    """The one line on stderr of a call that is refused."""
    assert call(*arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ")
    return lines[0]


def test_from_a_map_to_records(density, tmp_path, capsys):
    out, rec = tmp_path / "set", tmp_path / "rec"
    code = call(
        "zoo-simulate", "subtomograms", "--map", density, "--count", 5, "--snr", 0.1, "--tilt", 50,
        "--tilt-step", 5, "--seed", 2, "--relion5", "--out", out,
    )  # fmt: skip
    assert code == 0
    said = capsys.readouterr().out
    assert "class 0: 5 subtomograms of a.mrc, SNR 0.1" in said and "21 tilts" in said
    assert read_subtomograms(out / "subtomograms.star").tilt_range_deg()[0].tolist() == [-50, 50]
    for name in ("subtomograms.star", "subtomograms_relion5.star"):
        assert call("zoo-pack", out / name, rec / name, "--processes", 1) == 0
        assert "5 subtomograms of 16 voxels" in capsys.readouterr().out
        assert DatasetInfo.load(rec / name).kind == "subtomograms"
        assert call("zoo-pack", "--check", rec / name, "--processes", 1) == 0
        assert "all 5 records" in capsys.readouterr().out
    assert call("zoo-pack", out / "subtomograms.star", tmp_path / "small", "--box", 12, "--processes", 1) == 0
    assert DatasetInfo.load(tmp_path / "small").box == 12


def test_simulated_into_records_at_once(density, tmp_path, capsys):
    words = ["zoo-simulate", "subtomograms", "--map", density, "--count", 4, "--quick", "--tilt-step", 10]
    words += ["--out", tmp_path / "set", "--records", tmp_path / "rec"]
    assert call(*words) == 0
    assert call("zoo-pack", tmp_path / "set" / "subtomograms.star", tmp_path / "apart") == 0
    once, twice = (DatasetInfo.load(tmp_path / name) for name in ("rec", "apart"))
    assert (once.count, once.kind, once.labels) == (4, "subtomograms", {0: 4})
    assert [shard.crc32 for shard in once.shards] == [shard.crc32 for shard in twice.shards]
    capsys.readouterr()
    again = [*words[:-3], tmp_path / "other", *words[-2:]]
    assert "holds records already" in refused(capsys, *again)
    assert not (tmp_path / "other").exists()
    assert call(*words, "--seed", 1, "--overwrite") == 0
    assert DatasetInfo.load(tmp_path / "rec").shards[0].crc32 != once.shards[0].crc32


def test_structures_as_classes(tmp_path, capsys):
    import gemmi

    structure = gemmi.Structure()
    structure.add_model(gemmi.Model("1") if gemmi.__version__ < "0.7" else gemmi.Model(1))
    structure[0].add_chain(gemmi.Chain("A"))
    for number, place in enumerate(np.random.default_rng(0).normal(0, 20, (60, 3))):
        residue, atom = gemmi.Residue(), gemmi.Atom()
        residue.name, residue.seqid = "ALA", gemmi.SeqId(number + 1, " ")
        atom.name, atom.element, atom.pos = "CA", gemmi.Element("C"), gemmi.Position(*place)
        residue.add_atom(atom)
        structure[0]["A"].add_residue(residue)
    path = tmp_path / "m.pdb"
    structure.write_pdb(str(path))
    options = ["--structure", path, "--structure", path, "--count", 2, "--box", 24, "--voxel", 10, "--quick"]
    out = tmp_path / "set"
    assert call("zoo-simulate", "subtomograms", *options, "--preferred-axis", "y", "--out", out) == 0
    assert read_subtomograms(out / "subtomograms.star").label.tolist() == [0, 1, 0, 1]


def test_from_a_tomogram_to_records(density, tmp_path, capsys):
    out = tmp_path / "tomogram"
    options = ["--map", density, "--count", 6, "--size", 64, 48, 24, "--membranes", 0, "--fiducials", 1]
    assert call("zoo-simulate", "tomogram", *options, "--snr", 1, "--tilt-step", 10, "--out", out) == 0
    assert "of 6 particles of a.mrc found a place" in capsys.readouterr().out
    common = ["--tomogram", out / "tomogram.mrc", "--box", 16, "--processes", 1]
    star = out / "particles.star"
    assert call("zoo-pack", tmp_path / "a", "--coordinates", star, *common) == 0
    assert call("zoo-pack", star, tmp_path / "b", *common) == 0
    info = DatasetInfo.load(tmp_path / "a")
    assert info.wedge == "tilts" and info.has_poses
    assert info.shards == DatasetInfo.load(tmp_path / "b").shards
    capsys.readouterr()
    (tmp_path / "c.csv").write_text("x,y,z\n1,20,12\n30,20,12\n")
    line = refused(capsys, "zoo-pack", tmp_path / "c.csv", tmp_path / "c", *common)
    assert "1 of 2 boxes of 16 voxels reach beyond their tomogram (rows 1)" in line
    assert not (tmp_path / "c").exists()
    assert call("zoo-pack", tmp_path / "c.csv", tmp_path / "c", *common, "--outside", "drop") == 0
    assert "note: 1 of 2 left out (rows 1)" in capsys.readouterr().out
    assert DatasetInfo.load(tmp_path / "c").count == 1


def test_bad_input_is_one_line(density, tmp_path, capsys):
    simulate = ["zoo-simulate", "subtomograms", "--out", tmp_path / "set"]
    assert "--tilt 95" in refused(capsys, *simulate, "--map", density, "--tilt", 95)
    assert "--snr -1" in refused(capsys, *simulate, "--map", density, "--snr", -1)
    (tmp_path / "empty.pdb").write_text("HEADER    NOTHING\nEND\n")
    line = refused(capsys, *simulate, "--structure", tmp_path / "empty.pdb", "--voxel", 10)
    assert "empty.pdb: holds no atoms; expected a PDB or mmCIF file with coordinates" in line
    assert not (tmp_path / "set").exists()
    write_volume(tmp_path / "brick.mrc", np.zeros((8, 8, 10)), 5.0)
    assert "expected a cube" in refused(capsys, *simulate, "--map", tmp_path / "brick.mrc")

    folder = tmp_path / "volumes"
    write_volume(folder / "1.mrc", np.random.default_rng(0).normal(size=(8, 8, 8)), 5.0)
    pack = ["zoo-pack", folder, tmp_path / "rec", "--processes", 1]
    write_volume(tmp_path / "none.mrc", np.zeros((8, 8, 8)), 5.0)
    assert "observes nothing" in refused(capsys, *pack, "--wedge", tmp_path / "none.mrc")
    assert "tilts from 5 to 5" in refused(capsys, *pack, "--tilt-range", 5, 5)
    assert "--box 16 is larger" in refused(capsys, *pack, "--box", 16)
    assert not list((tmp_path / "rec").glob("*.tfrecord"))
    write_volume(folder / "2.mrc", np.zeros((10, 10, 10)), 5.0)
    assert "has a box of 10 voxels, the subtomograms before it 8" in refused(capsys, *pack)
    assert "--coordinates: expected" in refused(capsys, *pack, "--coordinates", tmp_path / "x.star")
    line = refused(capsys, "zoo-pack", density, tmp_path / "rec", "--tilt-range", -60, 60)
    assert "--wedge and --tilt-range are only for these" in line
