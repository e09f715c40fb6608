import json
import shutil

import numpy as np
import pytest

from zoo.data.records.check import check_dataset
from zoo.data.records.particle_record import decode_particle, frame_record, read_records
from zoo.errors import ZooError


@pytest.fixture
def copy(packed, tmp_path):
    return shutil.copytree(packed, tmp_path / "set")


def shard(folder, number):
    return sorted(folder.glob("*.tfrecord"))[number]


def change_info(folder, **changes):
    content = json.loads((folder / "info.json").read_text())
    content.update(changes)
    (folder / "info.json").write_text(json.dumps(content))


@pytest.mark.parametrize("processes", [1, 2])
def test_a_whole_set_passes_and_counts_its_records(packed, processes):
    seen = []
    info = check_dataset(packed, processes, lambda done, total: seen.append((done, total)))
    assert info.count == 150 and seen[-1] == (150, 150)


def test_one_flipped_byte_names_shard_and_record(copy):
    frames = [frame_record(payload) for payload in read_records(shard(copy, 1))]
    for position in (3, 10, 500, len(frames[20]) - 1):  # length, its checksum, content, checksum of content
        data = bytearray(b"".join(frames))
        data[sum(map(len, frames[:20])) + position] ^= 4
        shard(copy, 1).write_bytes(data)
        with pytest.raises(ZooError, match=r"00001-of-00002.tfrecord: record 21 \(at byte \d+\): damaged"):
            check_dataset(copy)


@pytest.mark.parametrize("length", [5, 100])
def test_a_shard_cut_short_names_shard_and_record(copy, length):
    data = shard(copy, 0).read_bytes()
    shard(copy, 0).write_bytes(data[:-length])
    with pytest.raises(ZooError, match=r"00000-of-00002.tfrecord: record 75 \(at byte \d+\): cut short"):
        check_dataset(copy)


def test_a_shard_cut_between_records(copy):
    payloads = list(read_records(shard(copy, 0)))
    shard(copy, 0).write_bytes(b"".join(map(frame_record, payloads[:70])))
    with pytest.raises(ZooError, match="ends after record 70, expected 75 records"):
        check_dataset(copy)


def test_a_record_too_many(copy):
    payloads = list(read_records(shard(copy, 0)))
    shard(copy, 0).write_bytes(b"".join(map(frame_record, payloads + payloads[:1])))
    with pytest.raises(ZooError, match="record 76: one too many"):
        check_dataset(copy)


def test_records_in_another_order(copy):
    payloads = list(read_records(shard(copy, 0)))
    payloads[3], payloads[4] = payloads[4], payloads[3]
    shard(copy, 0).write_bytes(b"".join(map(frame_record, payloads)))
    with pytest.raises(ZooError, match="record 4: is not the particle that table.npz names"):
        check_dataset(copy)


def test_a_shard_of_another_set(copy, make_particles, tmp_path):
    from zoo.data.packing.pack_particles import pack_particles
    from zoo.data.packing.shards import PackSettings

    path, _ = make_particles(tmp_path / "same", seed=0)
    pack_particles(path, tmp_path / "other", PackSettings(box=16, seed=3, normalisation="ramp"))
    shutil.copy(shard(tmp_path / "other", 0), shard(copy, 0))
    with pytest.raises(ZooError, match="is not the particle|not the file that info.json describes"):
        check_dataset(copy)


def test_a_missing_shard(copy):
    shard(copy, 1).unlink()
    with pytest.raises(ZooError, match="00001-of-00002.tfrecord: no such shard"):
        check_dataset(copy)


def test_a_nan_in_a_record_with_right_checksums(copy):
    payloads = list(read_records(shard(copy, 0)))
    image = decode_particle(payloads[8], "").image
    damaged = image.copy()
    damaged[2, 3] = np.nan
    payloads[8] = payloads[8].replace(image.tobytes(), damaged.tobytes())
    shard(copy, 0).write_bytes(b"".join(map(frame_record, payloads)))
    with pytest.raises(ZooError, match="00000-of-00002.tfrecord: record 9: the image holds NaN"):
        check_dataset(copy)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"count": 151}, "count 151 is not that of its shards"),
        ({"box": 15}, r"record 1: image of \(16, 16\) float16, expected \(15, 15\)"),
        ({"dtype": "float32"}, r"record 1: image of \(16, 16\) float16, expected \(16, 16\) float32"),
        ({"labels": {"0": 150}}, "labels .*, info.json says"),
        ({"table_crc32": 1}, "table.npz: its checksum is not that in info.json"),
    ],
)
def test_an_info_that_does_not_fit(copy, changes, message):
    change_info(copy, **changes)
    with pytest.raises(ZooError, match=message):
        check_dataset(copy)


def test_a_wrong_shard_checksum_in_the_info(copy):
    content = json.loads((copy / "info.json").read_text())
    content["shards"][1]["crc32"] += 1
    change_info(copy, shards=content["shards"])
    with pytest.raises(ZooError, match="00001-of-00002.tfrecord: whole, but not the file that info.json"):
        check_dataset(copy)


@pytest.mark.parametrize("damage", [lambda data: data[:-30], lambda data: b"", lambda data: b"x" * len(data)])
def test_a_damaged_table(copy, damage):
    path = copy / "table.npz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ZooError, match="table.npz: damaged"):
        check_dataset(copy)


def test_a_missing_table(copy):
    (copy / "table.npz").unlink()
    with pytest.raises(ZooError, match="table.npz: no such file"):
        check_dataset(copy)
