import errno
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest

from zoo.data.info import DatasetInfo
from zoo.data.packing import pack_particles as pack_module
from zoo.data.packing.pack_particles import pack_particles
from zoo.data.packing.partition import WorkerShare
from zoo.data.packing.shards import PackSettings
from zoo.data.packing.worker_pool import run_tasks
from zoo.data.particles import read_particles
from zoo.data.records.check import check_dataset
from zoo.data.records.numpy_particles import load_arrays
from zoo.errors import ZooError

SETTINGS = PackSettings(box=12, seed=5)


@pytest.fixture(scope="module")
def particles(tmp_path_factory, make_particles):
    return make_particles(tmp_path_factory.mktemp("source"), count=400, box=16)[0]


@pytest.fixture(scope="module")
def reference(particles, tmp_path_factory):
    """The data set that every way of packing must give, byte by byte: 6 shards."""
    out = tmp_path_factory.mktemp("reference") / "set"
    pack_particles(particles, out, SETTINGS, processes=1)
    return out


def files(folder):
    """Content of every file but info.json, whose command and date differ."""
    found = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    info = json.loads(found.pop("info.json"))
    del info["command"], info["created"]
    return {**found, "info.json": info}


def run_python(code, **options):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120, **options
    )


def test_info_says_what_was_packed(particles, reference):
    info = DatasetInfo.load(reference)
    table = read_particles(particles)
    assert (info.kind, info.count, info.box, info.source_box, info.dtype) == (
        "particles",
        400,
        12,
        16,
        "float16",
    )
    assert info.voxel_size_angstrom == pytest.approx(2.0 * 16 / 12)
    assert (
        info.contrast_sign == 1
        and info.contrast["found"] == "measured"
        and info.contrast["confidence"] > 0.99
    )
    assert info.labels == {0: 134, 1: 133, 2: 133}
    assert info.has_ctf and info.has_poses
    assert [shard.name for shard in info.shards] == [f"particles-{i:05d}-of-00006.tfrecord" for i in range(6)]
    assert {shard.count for shard in info.shards} == {66, 67}
    assert info.normalisation == {"method": "background", "circle_radius_pixels": 4}
    assert info.source["path"] == str(particles) and info.source["checksum"].startswith("sha256")
    assert {"cryozoo", "numpy", "python"} <= set(info.versions)
    columns = info.load_table()
    np.testing.assert_array_equal(columns["uid"], table.uid[columns["source_row"]])
    np.testing.assert_array_equal(
        columns["defocus_u_angstrom"], table.defocus_u_angstrom[columns["source_row"]]
    )
    assert sorted(columns["source_row"]) == list(range(400))
    assert abs(np.corrcoef(columns["source_row"], np.arange(400))[0, 1]) < 0.2
    images = load_arrays(info)["image"].astype(np.float64)
    assert info.statistics["mean"] == pytest.approx(images.mean(), abs=1e-3)
    assert info.statistics["std"] == pytest.approx(images.std(), rel=1e-3)
    assert info.statistics["max"] == pytest.approx(images.max(), rel=1e-3)
    assert not list(reference.glob(".*"))


def test_background_has_mean_0_and_spread_1_and_dark_particles_turn_bright(make_particles, tmp_path):
    path, _ = make_particles(tmp_path, count=80, box=32, sign=-1)
    result = pack_particles(path, tmp_path / "out", PackSettings(box=16, circle_radius=5, dtype="float32"))
    assert result.info.contrast_sign == -1 and "dark (-1)" in result.contrast
    images = load_arrays(result.info)["image"][..., 0]
    axis = np.arange(16) - 8
    outside = axis[:, None] ** 2 + axis**2 > 25
    np.testing.assert_allclose(images[:, outside].mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(images[:, outside].std(axis=1), 1, rtol=1e-4)
    assert images[:, 8, 8].mean() > 1


def test_given_contrast_is_kept(make_particles, tmp_path):
    path, _ = make_particles(tmp_path, count=30, box=16)
    result = pack_particles(path, tmp_path / "out", replace(SETTINGS, contrast=-1))
    assert result.info.contrast_sign == -1 and result.info.contrast["found"] == "given"
    assert load_arrays(result.info)["image"][:, 6, 6].mean() < -1


def test_a_sign_that_the_images_contradict_is_told_when_packed_and_ever_after(make_particles, tmp_path):
    path, _ = make_particles(tmp_path, count=60, box=32)
    right, wrong = (
        pack_particles(path, tmp_path / name, replace(SETTINGS, contrast=sign))
        for name, sign in (("right", 1), ("wrong", -1))
    )
    assert right.contrast == "particles are bright (+1), as given" and right.info.contrast_note() == ""
    assert "as given; but particles are bright (+1), " in wrong.contrast
    assert f"{wrong.info.path}: contrast -1, but particles are bright" in wrong.info.contrast_note()


def test_processes_and_workers_change_nothing(particles, reference, tmp_path):
    pack_particles(particles, tmp_path / "two", SETTINGS, processes=2)
    assert files(tmp_path / "two") == files(reference)
    results = [
        pack_particles(particles, tmp_path / "shared", SETTINGS, share=WorkerShare(index, 4), processes=1)
        for index in (2, 0, 3, 1)
    ]
    assert [result.pending for result in results] == [5, 3, 2, 0]
    assert [result.info is None for result in results] == [True, True, True, False]
    assert files(tmp_path / "shared") == files(reference)


def test_finalise_waits_for_all_workers(particles, reference, tmp_path):
    out = tmp_path / "out"
    pack_particles(particles, out, SETTINGS, share=WorkerShare(0, 2), processes=1)
    with pytest.raises(ZooError, match="3 of 6 shards are not there yet, the first is particles-00001"):
        pack_particles(particles, out, SETTINGS, finalise_only=True)
    pack_particles(particles, out, SETTINGS, share=WorkerShare(1, 2), processes=1)
    result = pack_particles(particles, out, SETTINGS, finalise_only=True)
    assert result.info.count == 400 and files(out) == files(reference)


def test_a_second_run_does_nothing(reference, particles):
    before = {path: path.stat().st_mtime_ns for path in reference.iterdir()}
    result = pack_particles(particles, reference, SETTINGS)
    assert result.written == 0 and result.info.count == 400
    assert {path: path.stat().st_mtime_ns for path in reference.iterdir()} == before


def test_a_killed_run_goes_on_where_it_was(particles, reference, tmp_path):
    out = tmp_path / "out"
    killed = run_python(f"""
        import os, signal
        import zoo.data.packing.shards as shards
        from zoo.data.packing.pack_particles import pack_particles
        write, started = shards.encode_particles, []
        def encode(images, table):
            started.append(1)
            for number, payload in enumerate(write(images, table)):
                if len(started) == 4 and number == 65:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield payload
        shards.encode_particles = encode
        pack_particles({str(particles)!r}, {str(out)!r}, shards.{SETTINGS!r}, processes=1)
    """)
    assert killed.returncode == -9
    assert len(list(out.glob("*.tfrecord"))) == 3 and len(list(out.glob(".*.part"))) == 1
    assert not (out / "info.json").exists()
    with pytest.raises(ZooError, match="no info.json"):
        DatasetInfo.load(out)
    dead = run_python("import os; print(os.getpid())").stdout.strip()
    (out / ".packing" / f".00003.json.{socket.gethostname()}-{dead}.part").write_text(
        "{"
    )  # killed in a marker
    kept = {path: path.stat().st_mtime_ns for path in out.glob("*.tfrecord")}
    result = pack_particles(particles, out, SETTINGS, processes=1)
    assert result.written == 3
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert files(out) == files(reference) and not list(out.glob(".*"))


def test_markers_that_a_kill_left_beside_a_finished_set_go(particles, tmp_path):
    out = tmp_path / "out"
    killed = run_python(f"""
        import os, signal
        import zoo.data.packing.pack_particles as packing
        from zoo.data.packing.shards import PackSettings
        packing.shutil.rmtree = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
        packing.pack_particles({str(particles)!r}, {str(out)!r}, {SETTINGS!r}, processes=1)
    """)
    assert killed.returncode == -signal.SIGKILL and (out / ".packing").is_dir()
    result = pack_particles(particles, out, SETTINGS)
    assert result.written == 0 and not list(out.glob(".*"))


def test_a_lost_or_short_shard_is_written_again(particles, reference, tmp_path):
    out = tmp_path / "out"
    pack_particles(particles, out, SETTINGS, processes=1)
    shards = sorted(out.glob("*.tfrecord"))
    shards[1].unlink()
    shards[4].write_bytes(shards[4].read_bytes()[:-7])
    assert pack_particles(particles, out, SETTINGS, processes=1).written == 2
    assert files(out) == files(reference)


@pytest.mark.parametrize("finished", [True, False])
def test_other_settings_or_source_do_not_mix(particles, reference, make_particles, tmp_path, finished):
    out = reference
    if not finished:
        out = tmp_path / "begun"
        pack_particles(particles, out, SETTINGS, share=WorkerShare(0, 2), processes=1)
    before = {path: path.read_bytes() for path in out.iterdir() if path.is_file()}
    with pytest.raises(ZooError, match=r"packed with box 12 \(now 8\), seed 5 \(now 6\); .*--overwrite"):
        pack_particles(particles, out, replace(SETTINGS, box=8, seed=6))
    other, _ = make_particles(tmp_path, count=400, box=16, seed=1)
    with pytest.raises(ZooError, match="another source, or the source has changed"):
        pack_particles(other, out, SETTINGS)
    assert {path: path.read_bytes() for path in out.iterdir() if path.is_file()} == before


def test_overwrite_starts_anew_and_spares_other_files(particles, tmp_path):
    out = tmp_path / "out"
    pack_particles(particles, out, SETTINGS, processes=1)
    (out / "notes.txt").write_text("mine")
    info = pack_particles(particles, out, replace(SETTINGS, limit=100, name="few"), overwrite=True).info
    assert info.count == 100
    assert sorted(path.name for path in out.iterdir()) == [
        "few-00000-of-00001.tfrecord", "info.json", "notes.txt", "table.npz",
    ]  # fmt: skip
    with pytest.raises(ZooError, match="shards of the other workers"):
        pack_particles(particles, out, SETTINGS, overwrite=True, share=WorkerShare(0, 2))


def test_limit_takes_the_first_particles(particles, tmp_path):
    info = pack_particles(particles, tmp_path / "out", replace(SETTINGS, limit=30)).info
    assert sorted(info.load_table()["source_row"]) == list(range(30))


def test_several_pixel_sizes(particles, tmp_path):
    text = particles.read_text()
    table = read_particles(particles)
    table.optics_group = (np.arange(400) % 4 == 0).astype(np.int32) + 1
    table.pixel_size_angstrom = np.where(table.optics_group == 2, 2.05, 2.0)
    from zoo.data.particles import write_particles

    table.source = None
    write_particles(table, particles.parent / "groups.star")
    info = pack_particles(particles.parent / "groups.star", tmp_path / "out", SETTINGS).info
    assert info.voxel_size_angstrom == pytest.approx(2 * 16 / 12)
    assert [group["count"] for group in info.optics_groups] == [300, 100]
    arrays = load_arrays(info)
    expected = np.where(arrays["source_row"] % 4 == 0, 2.05, 2.0) * 16 / 12
    np.testing.assert_allclose(arrays["pixel_size_angstrom"], expected, rtol=1e-6)
    assert particles.read_text() == text


@pytest.mark.parametrize("processes", [1, 2])
def test_a_nan_image_is_named_and_nothing_half_written_stays(make_particles, tmp_path, processes):
    path, _ = make_particles(tmp_path, count=300, box=16, stacks=1)
    with open(tmp_path / "particles_0.mrcs", "r+b") as file:
        file.seek(1024 + 123 * 16 * 16 * 4 + 40)
        file.write(np.float32(np.nan).tobytes())
    with pytest.raises(ZooError, match=r"particles.star: row 124 \(000124@\S*_0.mrcs\): 1 values are NaN"):
        pack_particles(path, tmp_path / "out", SETTINGS, processes=processes)
    assert not list((tmp_path / "out").glob("**/*.part"))


@pytest.mark.parametrize("processes", [1, 2])
def test_a_full_disk_ends_in_one_line_and_is_continued(particles, reference, tmp_path, processes):
    # Every file of this process and its workers may be 20 kB long: a shard takes 44 kB.
    out = tmp_path / "out"
    done = run_python(f"""
        import resource
        from zoo.data.packing.pack_particles import pack_particles
        from zoo.data.packing.shards import PackSettings
        from zoo.errors import ZooError
        if __name__ == "__main__":
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
            try:
                pack_particles({str(particles)!r}, {str(out)!r}, {SETTINGS!r}, processes={processes})
            except ZooError as error:
                print(error)
    """)
    assert "tfrecord: cannot be written: the file grew beyond the allowed size" in done.stdout, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert not list(out.glob("*.tfrecord")) and not list(out.glob("**/*.part"))
    pack_particles(particles, out, SETTINGS, processes=1)
    assert files(out) == files(reference)


def test_no_space_while_writing_keeps_what_is_complete(particles, reference, tmp_path, monkeypatch):
    out, calls = tmp_path / "out", []
    fsync = os.fsync

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ZooError, match="the disk is full .*run the same command again: what is complete"):
        pack_particles(particles, out, SETTINGS, processes=1)
    monkeypatch.undo()
    assert not list(out.glob("**/*.part"))
    kept = len(list(out.glob("*.tfrecord")))
    assert 0 < kept < 6
    assert pack_particles(particles, out, SETTINGS, processes=1).written <= 6 - kept + 1
    assert files(out) == files(reference)


def test_too_little_space_is_seen_before_the_work(particles, tmp_path, monkeypatch):
    usage = pack_module.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(pack_module.shutil, "disk_usage", lambda path: usage._replace(free=100_000))
    with pytest.raises(ZooError, match=r"out: the disk has 0\.000 GB free, the data set needs"):
        pack_particles(particles, tmp_path / "out", SETTINGS)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"box": 32}, "images of 16 pixels, --box 32 is larger"),
        ({"box": 2}, "--box 2: expected 4 or more"),
        ({"dtype": "int8"}, "--dtype int8: expected one of float16, float32"),
        ({"resample": "nearest"}, "--resample nearest: expected one of"),
        ({"circle_radius": 20.0}, "background radius 20 pixels"),
        ({"name": "a/b"}, "expected a plain file name"),
        ({"limit": 0}, "--limit 0: expected 1 or more"),
        ({"pixel_size_angstrom": 0.0}, "expected a positive number"),
    ],
)
def test_impossible_settings(particles, tmp_path, change, message):
    with pytest.raises(ZooError, match=message):
        pack_particles(particles, tmp_path / "out", replace(SETTINGS, **change))
    assert not (tmp_path / "out").exists()


def test_a_stack_without_pixel_size(tmp_path):
    from zoo.data.formats.mrc import write_stack

    write_stack(tmp_path / "a.mrcs", np.random.default_rng(0).normal(size=(5, 16, 16)), 0.0)
    with pytest.raises(ZooError, match="no pixel size, expected a positive .*; give it with --pixel-size"):
        pack_particles(tmp_path / "a.mrcs", tmp_path / "out", SETTINGS)
    info = pack_particles(
        tmp_path / "a.mrcs", tmp_path / "out", replace(SETTINGS, pixel_size_angstrom=1.5)
    ).info
    assert info.voxel_size_angstrom == pytest.approx(2.0) and not info.has_ctf and not info.has_poses
    assert np.isnan(load_arrays(info)["ctf"]).all()


def test_values_beyond_float16_are_refused(make_particles, tmp_path):
    from zoo.data.formats.mrc import write_stack

    images = np.random.default_rng(0).normal(size=(9, 16, 16))
    images[4] *= 1e6
    write_stack(tmp_path / "a.mrcs", images, 2.0)
    plain = replace(SETTINGS, normalisation="none", box=16)
    with pytest.raises(ZooError, match=r"row 5 \(000005@a.mrcs\): the value .* does not fit float16"):
        pack_particles(tmp_path / "a.mrcs", tmp_path / "out", plain)
    info = pack_particles(tmp_path / "a.mrcs", tmp_path / "out", replace(plain, dtype="float32", contrast=1),
                          overwrite=True).info  # fmt: skip
    arrays = load_arrays(info)
    np.testing.assert_array_equal(arrays["image"][..., 0], images.astype(np.float32)[arrays["source_row"]])


def test_a_killed_worker_process_is_told():
    with pytest.raises(ZooError, match="a worker process was killed"):
        list(run_tasks(os._exit, [1, 1, 1], 2, lambda done: None))


def test_workers_leave_when_their_parent_is_killed(tmp_path):
    code = """
        import os, sys, time
        from zoo.data.packing.worker_pool import run_tasks
        if __name__ == "__main__":
            list(run_tasks(time.sleep, [60, 60], 2, lambda done: None))
    """
    script = tmp_path / "parent.py"
    script.write_text(textwrap.dedent(code))
    parent = subprocess.Popen(
        [sys.executable, str(script)], env={**os.environ, "ZOO_TEST_MARK": str(tmp_path)}
    )
    try:
        workers = _wait_for(
            lambda: _spawned_workers(str(tmp_path), parent.pid), lambda found: len(found) >= 2
        )
        assert len(workers) >= 2
    finally:
        parent.kill()
        parent.wait()
    assert _wait_for(lambda: _spawned_workers(str(tmp_path), parent.pid), lambda found: not found) == []


def _spawned_workers(mark, parent):
    """Processes with our mark in their environment that run a spawned worker."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file, open(f"/proc/{pid}/cmdline", "rb") as command:
                if mark.encode() in file.read() and int(pid) != parent and b"spawn_main" in command.read():
                    found.append(int(pid))
        except OSError:
            continue
    return found


def _wait_for(look, good, seconds=30):
    import time

    end = time.monotonic() + seconds
    while not good(found := look()) and time.monotonic() < end:
        time.sleep(0.2)
    return found


@pytest.mark.shared_data
@pytest.mark.parametrize(
    "name, box, count, sign",
    [
        ("empiar_10076_7/empiar_10076_7.star", 64, 7, -1),
        ("empiar_10076_7/empiar_10076_7.cs", 64, 7, -1),
        ("relion31/relion31.star", 64, 5, None),
        ("aspire_sample/sample_particles_relion30.star", 50, 17, 1),
        ("aspire_sample/sample_particles_relion31.star", 50, 17, 1),
        ("sta_ribosome_tilts/sta_testing_bin8.star", 32, 219, None),
        ("trpv1_small_stack/trpv1_small_stack.star", 48, 10, 1),
    ],
)
def test_real_particles(shared_data, tmp_path, name, box, count, sign):
    info = pack_particles(shared_data / "particles" / name, tmp_path / "out", PackSettings(box=box)).info
    assert info.count == count and (sign is None or info.contrast_sign == sign)
    assert info.has_ctf
    check_dataset(tmp_path / "out")


@pytest.mark.slow
def test_memory_stays_flat_on_a_large_stack(tmp_path, measured_python):
    """1 GB of images (ZOO_TEST_STACK_GB for more) in at most 1.5 GB for all processes together."""
    gigabytes = float(os.environ.get("ZOO_TEST_STACK_GB", "1"))
    box, count = 256, int(gigabytes * 1e9) // (256 * 256 * 4)
    path = tmp_path / "large.mrcs"
    write_sparse_stack(path, count, box)
    printed = measured_python(f"""
        import resource
        from zoo.data.packing.pack_particles import pack_particles
        from zoo.data.packing.shards import PackSettings
        if __name__ == "__main__":
            pack_particles({str(path)!r}, {str(tmp_path / "out")!r}, PackSettings(box=64), processes=2)
            own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
            print((own + 2 * child) / 1e6)
    """)
    assert float(printed) < 1.5
    assert check_dataset(tmp_path / "out").count == count


def write_sparse_stack(path, count, box):
    """A stack of count images that takes little disk: every 50th image holds noise, the rest is a hole."""
    from zoo.data.formats.mrc import write_stack

    rng = np.random.default_rng(0)
    write_stack(path, rng.normal(size=(1, box, box)), 1.0)
    with open(path, "r+b") as file:
        for row in range(0, count, 50):
            file.seek(1024 + row * box * box * 4)
            file.write(rng.normal(size=(box, box)).astype("<f4").tobytes())
        file.truncate(1024 + count * box * box * 4)
        file.seek(8)
        file.write(np.int32(count).tobytes())  # NZ
        file.seek(36)
        file.write(np.int32(1).tobytes())  # MZ of a stack is 1
