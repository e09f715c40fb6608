import struct

import numpy as np
import pytest

from zoo.data.records.example import decode_example, encode_example
from zoo.data.records.particle_record import (
    decode_particle,
    encode_particles,
    frame_record,
    masked_crc32c,
    read_records,
    record_bytes,
)
from zoo.data.tables.particle_table import ParticleTable
from zoo.errors import ZooError

INTEGERS = [0, 1, -1, 127, 128, 300, -300, 2**31, 2**63 - 1, -(2**63)]
FLOATS = np.array([0.0, -1.5, np.nan, np.inf, 3.4e38, 1e-45], dtype=np.float32)


def tensorflow_example(**features):
    import tensorflow as tf

    def feature(value):
        if isinstance(value, bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        if value.dtype.kind == "f":
            return tf.train.Feature(float_list=tf.train.FloatList(value=value))
        return tf.train.Feature(int64_list=tf.train.Int64List(value=value))

    return tf.train.Example(
        features=tf.train.Features(feature={key: feature(value) for key, value in features.items()})
    )


@pytest.fixture
def three_particles():
    rng = np.random.default_rng(1)
    uid = np.array([1, 2**63 + 5, 2**64 - 1], dtype=np.uint64)
    table = ParticleTable(
        ["/data/a.mrcs"],
        {"row_in_stack": np.arange(3), "uid": uid, "label": [-1, 0, 7], "cs_mm": [2.7, 2.7, 0]},
    )
    return rng.normal(size=(3, 6, 6)).astype(np.float16), table


def test_example_has_the_bytes_that_protobuf_writes():
    features = {
        "image": bytes(range(256)) * 80,
        "ctf": FLOATS,
        "uid": np.array(INTEGERS),
        "label": np.array([-1]),
    }
    ours = encode_example(features)
    assert ours == tensorflow_example(**features).SerializeToString(deterministic=True)


def test_tensorflow_reads_our_particles_and_we_read_them_back(three_particles, tmp_path):
    import tensorflow as tf

    images, table = three_particles
    payloads = list(encode_particles(images, table))
    path = tmp_path / "a.tfrecord"
    path.write_bytes(b"".join(frame_record(payload) for payload in payloads))
    assert [record.numpy() for record in tf.data.TFRecordDataset(str(path))] == payloads
    assert list(read_records(path)) == payloads
    for row, payload in enumerate(payloads):
        feature = tf.train.Example.FromString(payload).features.feature
        assert set(feature) == {
            "image", "dtype", "shape", "uid", "source", "source_row", "ctf", "euler_deg", "shift_angstrom",
            "pixel_size_angstrom", "label", "optics_group",
        }  # fmt: skip
        assert feature["image"].bytes_list.value[0] == images[row].tobytes()
        assert feature["dtype"].bytes_list.value[0] == b"float16"
        assert list(feature["shape"].int64_list.value) == [6, 6]
        assert feature["uid"].int64_list.value[0] == int(table.uid[row].view(np.int64))
        assert feature["source"].bytes_list.value[0] == f"{row + 1:06d}@/data/a.mrcs".encode()
        assert feature["label"].int64_list.value[0] == table.label[row]
        np.testing.assert_array_equal(feature["ctf"].float_list.value, table.ctf()[row].astype(np.float32))
        record = decode_particle(payload, "here")
        assert record.image.dtype == np.float16
        np.testing.assert_array_equal(record.image, images[row])
        np.testing.assert_array_equal(record.features["ctf"], table.ctf()[row].astype(np.float32))
        assert record.features["uid"].view(np.uint64)[0] == table.uid[row]


def test_we_read_what_tensorflow_writes(tmp_path):
    import tensorflow as tf

    features = {
        "a": np.array(INTEGERS),
        "b": FLOATS,
        "c": b"\x00\xff" * 1000,
        "d": np.array([], dtype=np.int64),
    }
    path = str(tmp_path / "tf.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        writer.write(tensorflow_example(**features).SerializeToString())
    (payload,) = read_records(path)
    decoded = decode_example(payload)
    assert set(decoded) == set(features)
    for key, value in features.items():
        np.testing.assert_array_equal(decoded[key], value)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_record_size_is_foreseen_well(three_particles, dtype):
    size = len(frame_record(next(encode_particles(np.zeros((3, 64, 64), dtype), three_particles[1]))))
    assert size == pytest.approx(record_bytes(64, dtype), rel=0.01)


def test_checksum_of_the_standard_vector():
    # CRC-32C of "123456789" is 0xE3069283 (RFC 3720); masked as TFRecord does.
    expected = (((0xE3069283 >> 15) | (0xE3069283 << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    assert masked_crc32c(b"123456789") == expected


def test_every_flipped_byte_is_noticed_and_named(tmp_path):
    payloads = [encode_example({"x": np.array([number])}) for number in range(3)]
    frames = [frame_record(payload) for payload in payloads]
    whole = b"".join(frames)
    path = tmp_path / "a.tfrecord"
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(ZooError, match=rf"record {position // len(frames[0]) + 1} .*(damaged|cut)"):
            list(read_records(path))


def test_every_cut_is_noticed_and_named(tmp_path):
    frame = frame_record(b"payload")
    path = tmp_path / "a.tfrecord"
    for length in range(1, len(frame)):
        path.write_bytes(frame + frame[:length])
        with pytest.raises(ZooError, match=rf"record 2 \(at byte {len(frame)}\): cut short"):
            list(read_records(path))


def test_a_huge_length_is_not_believed(tmp_path):
    path = tmp_path / "a.tfrecord"
    path.write_bytes(struct.pack("<Q", 1 << 60) + b"\0\0\0\0")
    with pytest.raises(ZooError, match="checksum of its length"):
        list(read_records(path))


def test_missing_shard(tmp_path):
    with pytest.raises(ZooError, match="no such shard"):
        list(read_records(tmp_path / "no.tfrecord"))


@pytest.mark.parametrize("payload", [b"hello", b"\x0a\xff", b"", b"\x0a\x02\x0a\x00", b"\xff" * 30])
def test_other_messages_are_refused(payload):
    with pytest.raises(ZooError, match="record 5: not a particle record"):
        decode_particle(payload, "a.tfrecord: record 5")


def test_a_record_whose_image_has_another_size_is_refused():
    payload = encode_example({"image": bytes(10), "dtype": b"float16", "shape": np.array([4, 4])})
    with pytest.raises(ZooError, match="not a particle record"):
        decode_particle(payload, "here")
