import json
import subprocess
import sys

import mrcfile
import numpy as np
import pytest

from zoo.data.formats.images import ImageReader
from zoo.data.particles import read_particles
from zoo.errors import ZooError
from zoo.simulate.embedded import embedded_classes
from zoo.simulate.particles import calibrate, simulate_particles
from zoo.simulate.settings import ParticleSettings


@pytest.fixture(scope="module")
def classes():
    return embedded_classes(16)


def files(folder):
    """Content by name; of MRC files without the header, whose label tells the time."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            skip = 1024 if path.suffix in (".mrc", ".mrcs") else 0
            found[path.relative_to(folder).as_posix()] = path.read_bytes()[skip:]
    return found


def test_writes_what_it_says(classes, tmp_path):
    settings = ParticleSettings(10, snr=0.5, shift_max_px=2, seed=4)
    result = simulate_particles(classes, tmp_path / "set", settings)
    assert sorted(files(tmp_path / "set")) == [
        "maps/class_0.mrc",
        "maps/class_1.mrc",
        "maps/class_2.mrc",
        "particles.mrcs",
        "particles.star",
        "simulation.json",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert (result.star, result.count) == (tmp_path / "set" / "particles.star", 30)
    for name in ("particles.mrcs", "maps/class_0.mrc"):
        assert mrcfile.validate(tmp_path / "set" / name)
    summary = json.loads((tmp_path / "set" / "simulation.json").read_text())
    assert summary["snr"] == 0.5
    assert summary["settings"]["seed"] == 4
    assert [each["name"] for each in summary["classes"]] == ["core", "core+A", "core+A+B"]


def test_the_table_read_back_is_the_truth(classes, tmp_path):
    settings = ParticleSettings(20, sigma=0, shift_max_px=2)
    table = read_particles(simulate_particles(classes, tmp_path / "set", settings).star)
    np.testing.assert_array_equal(table.label, np.arange(60) % 3)
    np.testing.assert_array_equal(np.bincount(table.random_subset), [0, 30, 30])
    np.testing.assert_allclose(table.pixel_size_angstrom, 20.0)
    assert np.isfinite(table.ctf()).all()
    images = ImageReader(table).read(np.arange(60))
    # made again from what the file says, by the truth maps that lie beside it
    from zoo.data.formats.mrc import read_volume
    from zoo.simulate.project import Projector

    for label in range(3):
        density, voxel = read_volume(tmp_path / "set" / "maps" / f"class_{label}.mrc")
        part = table.select(table.label == label)
        again = Projector(density, voxel)(part.euler_deg(), part.shift_angstrom() / voxel, part.ctf())
        np.testing.assert_allclose(images[label::3], again, atol=1e-4)


def test_same_seed_same_bytes_whatever_the_batches(classes, tmp_path):
    settings = ParticleSettings(25, sigma=1.0, shift_max_px=1, seed=9)
    for name, batch_size in (("a", 256), ("b", 7), ("c", 1)):
        simulate_particles(classes, tmp_path / name, settings, batch_size=batch_size)
    assert files(tmp_path / "a") == files(tmp_path / "b") == files(tmp_path / "c")
    other = ParticleSettings(25, sigma=1.0, shift_max_px=1, seed=10)
    simulate_particles(classes, tmp_path / "d", other)
    assert files(tmp_path / "a")["particles.mrcs"] != files(tmp_path / "d")["particles.mrcs"]


def images_of(classes, folder, settings):
    star = simulate_particles(classes, folder, settings).star
    return mrcfile.read(star.parent / "particles.mrcs")


@pytest.mark.parametrize("apply_ctf", [True, False])
def test_signal_has_unit_deviation_in_the_circle(classes, tmp_path, apply_ctf):
    images = images_of(classes, tmp_path / "set", ParticleSettings(300, sigma=0, apply_ctf=apply_ctf))
    axis = np.arange(16) - 8
    circle = np.hypot(axis[:, None], axis) < 8
    assert np.sqrt(images[:, circle].var(axis=1).mean()) == pytest.approx(1, abs=0.03)


def test_scale_each_makes_all_classes_equally_strong(classes, tmp_path):
    images = images_of(classes, tmp_path / "set", ParticleSettings(300, sigma=0, scale_each=True))
    axis = np.arange(16) - 8
    circle = np.hypot(axis[:, None], axis) < 8
    for label in range(3):
        assert np.sqrt(images[label::3][:, circle].var(axis=1).mean()) == pytest.approx(1, abs=0.04)


def test_without_scale_a_pixel_is_the_sum_along_the_beam(classes, tmp_path):
    settings = ParticleSettings(20, sigma=0, apply_ctf=False, scale=False)
    images = images_of(classes, tmp_path / "set", settings)
    # times RELION's correction for the interpolation, which the frequency 0 does not need
    axis = (np.arange(16) - 8) / 32
    window = np.sinc(np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)) ** 2
    totals = (classes.maps / window).sum((1, 2, 3))
    np.testing.assert_allclose(images.sum((1, 2)), np.tile(totals, 20), rtol=1e-4)


def test_sigma_is_the_deviation_of_the_noise(classes, tmp_path):
    clean = images_of(classes, tmp_path / "clean", ParticleSettings(100, sigma=0))
    noisy = images_of(classes, tmp_path / "noisy", ParticleSettings(100, sigma=2.5))
    assert (noisy - clean).std() == pytest.approx(2.5, rel=0.01)


@pytest.mark.parametrize("snr", [0.1, 2.0])
def test_snr_is_signal_over_noise_variance_in_the_box(classes, tmp_path, snr):
    clean = images_of(classes, tmp_path / "clean", ParticleSettings(300, sigma=0))
    noisy = images_of(classes, tmp_path / "noisy", ParticleSettings(300, snr=snr))
    noise = noisy - clean
    assert clean.var(axis=(1, 2)).mean() / noise.var() == pytest.approx(snr, rel=0.06)


def test_calibration_reports_both_scales():
    result = calibrate(embedded_classes(16), ParticleSettings(1, snr=0.25))
    assert result.snr == pytest.approx(0.25)
    again = calibrate(embedded_classes(16), ParticleSettings(1, sigma=result.sigma))
    assert again.snr == pytest.approx(0.25)
    assert calibrate(embedded_classes(16), ParticleSettings(1, sigma=0)).snr == np.inf


def test_nothing_is_replaced_unless_asked(classes, tmp_path):
    simulate_particles(classes, tmp_path / "set", ParticleSettings(2, seed=1))
    before = files(tmp_path / "set")
    with pytest.raises(ZooError, match="--overwrite"):
        simulate_particles(classes, tmp_path / "set", ParticleSettings(3, seed=2))
    assert files(tmp_path / "set") == before
    (tmp_path / "set" / "notes.txt").write_text("mine")
    simulate_particles(classes, tmp_path / "set", ParticleSettings(3, seed=2), overwrite=True)
    assert len(read_particles(tmp_path / "set" / "particles.star")) == 9
    assert (tmp_path / "set" / "notes.txt").read_text() == "mine"
    (tmp_path / "file").write_text("")
    with pytest.raises(ZooError, match="is a file"):
        simulate_particles(classes, tmp_path / "file", ParticleSettings(1))


def test_failure_half_way_leaves_nothing(classes, tmp_path):
    def stop(done, total):
        if done >= 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate_particles(classes, tmp_path / "set", ParticleSettings(9), batch_size=3, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_one_line_and_leaves_nothing(classes, tmp_path):
    # a limit on the size of files stands in for the disk: the write fails in the same place
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from zoo.simulate.embedded import embedded_classes\n"
        "from zoo.simulate.particles import simulate_particles\n"
        "from zoo.simulate.settings import ParticleSettings\n"
        "from zoo.errors import ZooError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50000, 50000))\n"
        "try: simulate_particles(embedded_classes(16), sys.argv[1], ParticleSettings(100))\n"
        "except ZooError as error: print(error)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "set")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "cannot be written" in done.stdout
    assert done.stdout.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_progress_reaches_the_end(classes, tmp_path):
    seen = []
    simulate_particles(
        classes, tmp_path / "set", ParticleSettings(5), batch_size=4, progress=lambda *step: seen.append(step)
    )
    assert seen == [(4, 15), (8, 15), (12, 15), (15, 15)]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_count(tmp_path, measured_python):
    code = """
        import resource, sys
        from zoo.simulate.embedded import embedded_classes
        from zoo.simulate.particles import simulate_particles
        from zoo.simulate.settings import ParticleSettings
        simulate_particles(embedded_classes(64), sys.argv[1], ParticleSettings(int(sys.argv[2])))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """
    # 5 MB and 74 MB of images
    peaks = [int(measured_python(code, tmp_path / str(count), count)) for count in (100, 1500)]
    unit = 1024 if sys.platform != "darwin" else 1024**2
    assert (peaks[1] - peaks[0]) / unit < 25
