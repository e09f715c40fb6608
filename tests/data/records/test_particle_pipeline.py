import itertools
import subprocess
import sys

import numpy as np
import pytest

from zoo.data.info import DatasetInfo
from zoo.data.records.numpy_particles import load_arrays, numpy_batches
from zoo.errors import ZooError

tf = pytest.importorskip("tensorflow")
from zoo.data.records.particle_pipeline import particle_batches, readable_errors, sequential_batches  # noqa: E402
from zoo.data.records.stream_order import GROUP, StreamOrder  # noqa: E402

SHAPES = {
    "image": ((16, 16, 1), np.float32),
    "ctf": ((9,), np.float32),
    "ctf_random": ((9,), np.float32),
    "euler_deg": ((3,), np.float32),
    "shift_angstrom": ((2,), np.float32),
    "pixel_size_angstrom": ((), np.float32),
    "label": ((), np.int32),
    "uid": ((), np.int64),
    "source_row": ((), np.int64),
}


@pytest.fixture(scope="module")
def info(packed):
    return DatasetInfo.load(packed)


@pytest.fixture(scope="module")
def arrays(info):
    return load_arrays(info)


@pytest.fixture(scope="module")
def many_shards(tmp_path_factory):
    """A set of 40 tiny shards of unequal length, so that an epoch has three groups."""
    from dataclasses import replace

    from zoo.data.info import ShardInfo
    from zoo.data.records.particle_record import encode_particles, frame_record
    from zoo.data.tables.particle_table import ParticleTable

    folder = tmp_path_factory.mktemp("many")
    counts = [3 + number % 5 for number in range(40)]
    total = sum(counts)
    columns = {
        "row_in_stack": np.arange(total),
        "cs_mm": np.arange(total),
        "pixel_size_angstrom": np.ones(total),
    }
    table = ParticleTable(["/a.mrcs"], columns)
    images = np.random.default_rng(0).normal(size=(total, 4, 4)).astype(np.float16)
    shards, first = [], 0
    for number, count in enumerate(counts):
        rows = slice(first, first + count)
        data = b"".join(map(frame_record, encode_particles(images[rows], table.select(rows))))
        (folder / f"s{number}.tfrecord").write_bytes(data)
        shards.append(ShardInfo(f"s{number}.tfrecord", count, 0, len(data)))
        first += count
    np.savez(folder / "table.npz", **table.columns())
    info = DatasetInfo("particles", "s", total, 4, 1.0, 1, "float16", tuple(shards), {-1: total})
    return replace(info, path=str(folder))


def take(batches, count, key="uid"):
    return [batch[key] for batch in itertools.islice(batches.as_numpy_iterator(), count)]


def test_batches_hold_the_particles_as_packed(info, arrays):
    rows = {uid: row for row, uid in enumerate(arrays["uid"].tolist())}
    batches = particle_batches(info, 8, seed=1)
    for key, (shape, _) in SHAPES.items():
        assert batches.element_spec[key].shape == (8, *shape), key
    for batch in batches.take(40).as_numpy_iterator():
        assert set(batch) == set(SHAPES)
        found = [rows[uid] for uid in batch["uid"].tolist()]
        for key, (shape, dtype) in SHAPES.items():
            assert batch[key].shape == (8, *shape) and batch[key].dtype == dtype, key
            if key != "ctf_random":
                np.testing.assert_array_equal(batch[key], arrays[key][found].astype(dtype))


def test_table_and_records_agree_with_the_source(info, arrays, make_particles, tmp_path):
    from zoo.data.packing.shards import PackSettings, prepare
    from zoo.data.particles import read_particles

    path, images = make_particles(tmp_path)  # the same seed as the packed set, in another folder
    table = read_particles(path)
    order = arrays["source_row"]
    np.testing.assert_array_equal(np.sort(order), np.arange(150))
    np.testing.assert_allclose(arrays["ctf"], table.ctf()[order], rtol=1e-6)
    np.testing.assert_allclose(arrays["euler_deg"], table.euler_deg()[order], rtol=1e-6)
    np.testing.assert_allclose(arrays["shift_angstrom"], table.shift_angstrom()[order], rtol=1e-6)
    np.testing.assert_array_equal(arrays["label"], table.label[order])
    np.testing.assert_allclose(arrays["pixel_size_angstrom"], 3.0)
    expected = prepare(images, PackSettings(box=16), 1)[order]
    # One unit in the last place: sums over a batch are rounded differently for batches of other length.
    np.testing.assert_array_max_ulp(arrays["image"][..., 0], expected.astype(np.float16), maxulp=1)


@pytest.mark.parametrize("shuffle", [True, False])
def test_every_epoch_holds_every_particle_once(many_shards, shuffle):
    total = many_shards.count
    rows = np.concatenate(
        take(particle_batches(many_shards, 7, 2, shuffle=shuffle), 3 * total // 7, "source_row")
    )
    epochs = rows[: 2 * total].reshape(2, total)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(np.arange(total), (2, 1)))
    if shuffle:
        assert (epochs[0] != epochs[1]).mean() > 0.9
        assert (np.abs(np.diff(epochs[0])) == 1).mean() < 0.1
    else:
        np.testing.assert_array_equal(epochs, np.tile(np.arange(total), (2, 1)))


def test_the_stream_is_that_of_earlier_versions(many_shards):
    """Runs begun with one version go on with another: the order of the first batches, as it always was."""
    import hashlib

    rows = np.concatenate(take(particle_batches(many_shards, 16, 9), 15, "source_row"))
    assert hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()[:16] == "9f3eefc015be60a0"


@pytest.mark.parametrize(
    "window", [pytest.param(1, marks=pytest.mark.slow), 5, pytest.param(17, marks=pytest.mark.slow), 10_000]
)
def test_starting_at_any_step_goes_on_exactly(many_shards, monkeypatch, window):
    monkeypatch.setattr(StreamOrder, "__init__", _with_window(StreamOrder.__init__, window))
    steps = 3 * many_shards.count // 16
    whole = list(particle_batches(many_shards, 16, 9).take(steps + 3).as_numpy_iterator())
    rows = np.concatenate([batch["source_row"] for batch in whole])
    assert sorted(set(rows.tolist())) == list(range(many_shards.count))
    for start in (1, 4, steps // 3, steps // 2 + 1, steps):
        resumed = particle_batches(many_shards, 16, 9, start_step=start).take(3).as_numpy_iterator()
        for batch, expected in zip(resumed, whole[start : start + 3], strict=True):
            for key in ("uid", "ctf_random", "image"):
                np.testing.assert_array_equal(batch[key], expected[key])


def _with_window(original, window):
    def init(self, shard_counts, seed, _, shuffle=True):
        original(self, shard_counts, seed, window, shuffle)

    return init


def test_the_batches_do_not_depend_on_the_global_seed_or_the_run(info):
    tf.random.set_seed(1)
    first = take(particle_batches(info, 10, 4), 30)
    tf.random.set_seed(2)
    tf.random.normal([3])
    np.testing.assert_array_equal(first, take(particle_batches(info, 10, 4), 30))
    assert not np.array_equal(first, take(particle_batches(info, 10, 5), 30))


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_together_see_what_one_sees(many_shards, workers):
    def read(batch_size, worker):
        batches = particle_batches(many_shards, batch_size, 7, start_step=5, worker=worker)
        return list(batches.take(60).as_numpy_iterator())

    one = read(4 * workers, (0, 1))
    parts = [read(4, (index, workers)) for index in range(workers)]
    for step, batch in enumerate(one):
        for key, values in batch.items():
            np.testing.assert_array_equal(np.concatenate([part[step][key] for part in parts]), values)


def test_random_ctfs_come_from_the_whole_table_and_not_from_the_image(many_shards):
    batches = list(particle_batches(many_shards, 10, 3).take(200).as_numpy_iterator())
    own = np.concatenate([batch["ctf"][:, 4] for batch in batches])  # this set numbers its particles in Cs
    drawn = np.concatenate([batch["ctf_random"][:, 4] for batch in batches])
    assert set(drawn.tolist()) == set(range(many_shards.count))
    assert abs(np.corrcoef(own, drawn)[0, 1]) < 0.08
    counts = np.bincount(drawn.astype(int), minlength=many_shards.count)
    chi2 = ((counts - counts.mean()) ** 2).sum() / counts.mean()
    assert chi2 < many_shards.count + 5 * np.sqrt(2 * many_shards.count)


def test_one_epoch_without_repeat(info):
    rows = np.concatenate(take(particle_batches(info, 40, 0, repeat=False), 99, "source_row"))
    assert len(rows) == 120 and len(set(rows.tolist())) == 120
    assert len(take(particle_batches(info, 40, 0, start_step=2, repeat=False), 99)) == 1
    assert len(take(particle_batches(info, 40, 0, start_step=5, repeat=False), 99)) == 0


def test_a_batch_larger_than_the_set(info):
    (batch,) = take(particle_batches(info, 310, 0), 1)
    assert np.unique(batch, return_counts=True)[1].min() == 2
    with pytest.raises(ZooError, match="150 particles, too few for one batch of 310; use a batch siz"):
        particle_batches(info, 310, 0, repeat=False)


def test_sequential_batches_are_in_record_order_and_complete(info, arrays):
    batches = list(sequential_batches(info, 64).as_numpy_iterator())
    assert [len(batch["uid"]) for batch in batches] == [64, 64, 22]
    for key in SHAPES.keys() - {"ctf_random"}:
        np.testing.assert_array_equal(np.concatenate([batch[key] for batch in batches]), arrays[key])


def test_windows_hold_other_neighbours_in_every_epoch():
    order = StreamOrder([100] * GROUP, seed=1, window=64)
    first_windows = {int(order.window_sizes(number)[0]) for number in range(40)}
    assert len(first_windows) > 15 and min(first_windows) >= 1 and max(first_windows) <= 64


def test_numpy_batches_are_a_pure_function_of_seed_and_step(info, arrays):
    whole = list(itertools.islice(numpy_batches(info, 16, 3, arrays=arrays), 40))
    for start in (0, 1, 9, 10, 30):
        for batch, expected in zip(numpy_batches(info, 16, 3, start), whole[start : start + 3], strict=False):
            assert set(batch) == set(SHAPES)
            for key, (shape, dtype) in SHAPES.items():
                assert batch[key].shape == (16, *shape) and batch[key].dtype == dtype
                np.testing.assert_array_equal(batch[key], expected[key])
    uids = np.concatenate([batch["uid"] for batch in whole])[:600].reshape(4, 150)
    np.testing.assert_array_equal(np.sort(uids, axis=1), np.tile(np.sort(arrays["uid"]), (4, 1)))
    assert not np.array_equal(uids[0], uids[1])
    drawn = np.concatenate([batch["ctf_random"] for batch in whole])
    assert np.isin(drawn[:, 0], arrays["ctf"][:, 0]).all() and len(np.unique(drawn[:, 0])) > 120


def test_packing_and_reading_work_without_tensorflow(make_particles, tmp_path):
    path, _ = make_particles(tmp_path, count=20)
    code = f"""
import sys
sys.modules["tensorflow"] = sys.modules["keras"] = None
from zoo.data.packing.pack_particles import pack_particles
from zoo.data.packing.shards import PackSettings
from zoo.data.records.check import check_dataset
from zoo.data.records.numpy_particles import numpy_batches
pack_particles({str(path)!r}, {str(tmp_path / "out")!r}, PackSettings(box=16), processes=1)
info = check_dataset({str(tmp_path / "out")!r})
print(next(numpy_batches(info, 5, 0))["image"].shape)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(5, 16, 16, 1)"


def damaged_copy(packed, tmp_path, change):
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(packed, folder)
    shard = sorted(folder.glob("*.tfrecord"))[0]
    data = bytearray(shard.read_bytes())
    change(data)
    shard.write_bytes(data)
    return DatasetInfo.load(folder)


def test_a_shard_cut_short_is_refused_before_training(packed, tmp_path):
    info = damaged_copy(packed, tmp_path, lambda data: data.__delitem__(slice(-10, None)))
    for start in (
        lambda: particle_batches(info, 4, 0),
        lambda: sequential_batches(info, 4),
        lambda: load_arrays(info),
    ):
        with pytest.raises(ZooError, match="particles-00000-of-00002.tfrecord: .* bytes long, expected"):
            start()


def test_a_flipped_byte_is_told_during_training(packed, tmp_path):
    info = damaged_copy(packed, tmp_path, lambda data: data.__setitem__(5000, data[5000] ^ 1))
    with pytest.raises(ZooError, match="a shard is damaged .*zoo-pack --check"), readable_errors(info):
        list(particle_batches(info, 4, 0, repeat=False))
    with pytest.raises(ZooError, match="record 6 .*damaged"):
        load_arrays(info)


def test_no_info_says_to_pack(tmp_path):
    with pytest.raises(ZooError, match="no info.json in it.*zoo-pack PARTICLES.star"):
        DatasetInfo.load(tmp_path)
    with pytest.raises(ZooError, match="no such folder"):
        DatasetInfo.load(tmp_path / "none")
    (tmp_path / "info.json").write_text("{")
    with pytest.raises(ZooError, match="info.json: cannot be read"):
        DatasetInfo.load(tmp_path)
    (tmp_path / "info.json").write_text('{"format_version": 99}')
    with pytest.raises(ZooError, match="format_version 99, expected 1"):
        DatasetInfo.load(tmp_path)
    (tmp_path / "info.json").write_text('{"format_version": 1}')
    with pytest.raises(ZooError, match="info.json: damaged"):
        DatasetInfo.load(tmp_path)
