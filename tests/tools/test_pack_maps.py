"""zoo-pack maps: from files of maps and models to records, and back."""

import numpy as np
import pytest

from zoo.data.formats.mrc import write_volume
from zoo.data.info import DatasetInfo
from zoo.data.kinds import kind_of
from zoo.data.records.check import check_dataset
from zoo.simulate.embedded import embedded_maps
from zoo_tools._run import run
from zoo_tools.pack_maps import app


def call(*words):
    with pytest.raises(SystemExit) as ended:
        run(app, "zoo-pack maps", [str(word) for word in words])
    return ended.value.code or 0


@pytest.fixture
def files(tmp_path):
    """A bright map, the same dark, moved and in other units on a ground of 7, and an atomic model."""
    import gemmi

    one = embedded_maps(24, 15.0)[2]
    write_volume(tmp_path / "bright.mrc", one, 15.0)
    write_volume(tmp_path / "dark.mrc", 7 - 40 * np.roll(one, (2, -1, 1), axis=(0, 1, 2)), 15.0)
    structure = gemmi.Structure()
    structure.add_model(gemmi.Model("1") if gemmi.__version__ < "0.7" else gemmi.Model(1))
    structure[0].add_chain(gemmi.Chain("A"))
    for number, place in enumerate(np.random.default_rng(0).normal(50, 20, (80, 3))):
        residue, atom = gemmi.Residue(), gemmi.Atom()
        residue.name, residue.seqid = "ALA", gemmi.SeqId(number + 1, " ")
        atom.name, atom.element, atom.pos = "CA", gemmi.Element("C"), gemmi.Position(*place)
        residue.add_atom(atom)
        structure[0]["A"].add_residue(residue)
    structure.write_pdb(str(tmp_path / "model.pdb"))
    return [tmp_path / name for name in ("bright.mrc", "dark.mrc", "model.pdb")]


def test_maps_are_centred_bright_and_of_one_unit(files, tmp_path, capsys):
    out = tmp_path / "rec"
    assert call(*files, out, "--box", 24, "--voxel", 15, "--resolution", 40) == 0
    assert "3 maps of 24 voxels at 15.000 Å" in capsys.readouterr().out
    info = check_dataset(out, 1)
    assert info == DatasetInfo.load(out)
    assert (info.kind, info.names, info.voxel_size_angstrom) == ("maps", ("bright", "dark", "model"), 15.0)
    (batch,) = kind_of(info).sequential_batches(info, 3)
    found = batch["map"][np.argsort(batch["name_index"])][..., 0].astype(np.float64)
    np.testing.assert_allclose(found.std(axis=(1, 2, 3)), 1, atol=2e-3)
    axis = np.arange(24)
    for volume, name in zip(found, info.names, strict=True):
        dense = np.where(volume > 0.1 * volume.max(), volume, 0)
        for other in ((1, 2), (0, 2), (0, 1)):
            assert (dense.sum(axis=other) * axis).sum() / dense.sum() == pytest.approx(12, abs=0.3), name
    assert np.corrcoef(found[0].ravel(), found[1].ravel())[0, 1] > 0.98


def test_the_sign_of_each_map_is_told(files, tmp_path, capsys):
    bright, dark, _ = files
    options = ["--box", 24, "--voxel", 15]
    shards = {}
    for name, file, words in (("auto", dark, []), ("given", dark, ["--contrast=-1"])):
        assert call(file, tmp_path / name, *options, *words) == 0
        shards[name] = DatasetInfo.load(tmp_path / name).statistics
    assert shards["auto"] == shards["given"]
    assert "note: " in (said := capsys.readouterr().out) and "dark.mrc: dark, its sign was changed" in said
    assert call(bright, tmp_path / "bright", *options, "--contrast=+1") == 0
    assert "note" not in capsys.readouterr().out
    assert call(bright, tmp_path / "wrong", *options, "--contrast=-1") == 0
    assert "taken as dark, but what stands out of it is bright" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rec"], "expected FILE... OUT"),
        (["none.mrc", "rec"], "none.mrc"),
        (["bright.mrc", "rec", "--contrast", "2"], "--contrast 2: expected auto, +1 or -1"),
        (["bright.mrc", "rec", "--box", "15"], "--box 15"),
        (["bright.mrc", "bright.mrc", "rec"], "two maps are called 'bright.mrc'"),
        (["flat.mrc", "rec"], "flat.mrc"),
    ],
)
def test_bad_input_is_one_line(files, tmp_path, capsys, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    write_volume(tmp_path / "flat.mrc", np.ones((24, 24, 24), np.float32), 15.0)
    assert call(*words) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and message in lines[0]
    assert not (tmp_path / "rec").exists()


def test_zoo_pack_passes_its_word_on(files, tmp_path, monkeypatch, capsys):
    from zoo_tools.pack import main

    monkeypatch.setattr("sys.argv", ["zoo-pack", "maps", str(files[0]), str(tmp_path / "rec"), "--box", "24"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert DatasetInfo.load(tmp_path / "rec").names == ("bright",)


@pytest.mark.slow
def test_maps_do_not_stay_in_memory(tmp_path, measured_python):
    """Sixty more of 96 voxels are 212 MB."""
    code = """
        import resource, sys
        from pathlib import Path
        import numpy as np
        from zoo.data.formats.mrc import write_volume
        from zoo_tools._run import run
        from zoo_tools.pack_maps import app
        folder, count = Path(sys.argv[1]), int(sys.argv[2])
        axis = np.arange(96) - 48
        ball = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2 < 900).astype(np.float32)
        for number in range(count):
            write_volume(folder / f"{count}_{number}.mrc", ball, 2.0)
        files = [str(folder / f"{count}_{number}.mrc") for number in range(count)]
        try:
            words = ["--box", "96", "--voxel", "2", "--shard-size-mb", "16"]
            run(app, "zoo-pack maps", [*files, str(folder / f"out{count}"), *words])
        except SystemExit as ended:
            assert not ended.code
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    """
    few, many = (float(measured_python(code, tmp_path, count).split()[-1]) for count in (10, 70))
    assert many - few < 90, (few, many)
