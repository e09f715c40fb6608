import subprocess
import sys

import mrcfile
import numpy as np
import pytest

from zoo.data.formats.mrc import write_volume
from zoo.data.formats.structures import read_structure
from zoo.data.particles import read_particles
from zoo.simulate.embedded import embedded_maps
from zoo_tools._run import run
from zoo_tools.simulate import app


def call(*arguments):
    """Exit code of zoo-simulate, run in this process."""
    with pytest.raises(SystemExit) as ended:
        run(app, "zoo-simulate", ["particles", *map(str, arguments)])
    return ended.value.code or 0


@pytest.fixture
def density(tmp_path):
    path = tmp_path / "a.mrc"
    write_volume(path, embedded_maps(16)[0], 20.0)
    return path


def test_several_maps_make_one_labelled_set(density, tmp_path, capsys):
    other = tmp_path / "b.mrc.gz"
    write_volume(other, embedded_maps(16)[2], 20.0)
    out = tmp_path / "set"
    code = call("--map", density, "--map", other, "--count", 6, "--seed", 5, "--shift", 1, "--out", out)
    assert code == 0
    table = read_particles(out / "particles.star")
    np.testing.assert_array_equal(np.bincount(table.label), [6, 6])
    said = capsys.readouterr().out
    assert "class 1: 6 particles of b.mrc.gz" in said
    assert "12 images of 16 pixels of 20 Å" in said


def test_no_map_is_the_embedded_set(tmp_path):
    assert call("--count", 2, "--box", 16, "--no-ctf", "--sigma", 0, "--out", tmp_path / "set") == 0
    table = read_particles(tmp_path / "set" / "particles.star")
    assert len(table) == 6
    assert np.isnan(table.defocus_u_angstrom).all()


def test_optics_reach_the_file(density, tmp_path):
    options = "--defocus 5000 6000 --astigmatism 0 --voltage 200 --cs 1.4 --amplitude-contrast 0.07 --snr 1"
    assert call("--map", density, "--count", 3, *options.split(), "--out", tmp_path / "set") == 0
    table = read_particles(tmp_path / "set" / "particles.star")
    assert ((table.defocus_u_angstrom >= 5000) & (table.defocus_u_angstrom <= 6000)).all()
    np.testing.assert_array_equal(table.defocus_u_angstrom, table.defocus_v_angstrom)
    assert (table.voltage_kv[0], table.cs_mm[0], table.amplitude_contrast[0]) == (200, 1.4, 0.07)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--sigma", "1", "--snr", "1"], "both given"),
        (["--sigma", "-1"], "--sigma -1"),
        (["--defocus", "3", "1"], "--defocus 3 1"),
        (["--box", "64"], "smaller than --box 64"),
        (["--count", "0"], "--count 0"),
        (["--morph", "3"], "--morph"),
        (["--map", "nothing.mrc"], "no such file"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(density, tmp_path, capsys, options, words):
    assert call("--map", density, "--out", tmp_path / "set", *options) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not (tmp_path / "set").exists()


def test_second_run_needs_overwrite(density, tmp_path, capsys):
    line = ["--map", density, "--count", 1, "--out", tmp_path / "set"]
    assert call(*line) == 0
    assert call(*line) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert call(*line, "--overwrite") == 0


def test_help_and_simulation_need_no_tensorflow(tmp_path):
    code = (
        "import sys; from zoo_tools._run import run; from zoo_tools.simulate import app\n"
        "try: run(app, 'zoo-simulate', sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert not {'tensorflow', 'keras', 'jax'} & set(sys.modules), 'heavy import'\n"
    )
    for arguments in (["--help"], ["particles", "--count", "1", "--out", str(tmp_path / "set")]):
        subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)


@pytest.mark.shared_data
def test_assembly_intermediates_of_a_real_structure(shared_data, tmp_path):
    model = shared_data / "structures" / "1gyt.pdb.gz"
    out = tmp_path / "set"
    models = f"--structure {model} --structure {model} --structure {model} --voxel 8 --box 32"
    chosen = "--remove-chains - --remove-chains A,B --remove-chains - --chains - --chains - --chains A,B"
    assert call(*models.split(), *chosen.split(), "--count", 2, "--out", out) == 0
    whole, part, module = (mrcfile.read(out / "maps" / f"class_{label}.mrc") for label in range(3))
    atoms = read_structure(model)
    left = len(atoms.without_chains(["A", "B"])) / len(atoms)
    assert part.sum() / whole.sum() == pytest.approx(left, abs=0.01)
    # all in one frame: what was left out fits into the gap
    np.testing.assert_allclose(part + module, whole, atol=1e-3 * whole.max())
