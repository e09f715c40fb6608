"""Volumes in memory packed, checked and read back: labels of voxels, wedges, maps with names."""

import json
from pathlib import Path

import numpy as np
import pytest

from zoo.data.info import DatasetInfo
from zoo.data.kinds import kind_of
from zoo.data.packing.pack_arrays import pack_maps, pack_subtomogram_arrays
from zoo.data.packing.shards import PackSettings
from zoo.data.records.check import check_dataset
from zoo.data.records.example import decode_example, encode_example
from zoo.data.records.numpy_subtomograms import sequential_arrays
from zoo.data.records.particle_record import frame_record, read_records
from zoo.data.wedge import wedge_mask
from zoo.errors import ZooError

RAW = PackSettings(box=8, dtype="float32", normalisation="none", contrast=1)
COUNT = 7


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(5)
    volumes = rng.normal(size=(COUNT, 8, 8, 8)).astype(np.float32)
    return volumes, rng.integers(0, 3, size=volumes.shape)


@pytest.fixture(scope="module")
def labelled(arrays, tmp_path_factory):
    volumes, labels = arrays
    out = tmp_path_factory.mktemp("labelled") / "set"
    columns = {"label": np.arange(COUNT) % 2, "rot_deg": np.arange(COUNT) * 10.0}
    result = pack_subtomogram_arrays(
        volumes,
        out,
        RAW,
        voxel_size_angstrom=5.0,
        tilt_range_deg=(-60, 50),
        voxel_labels=labels,
        columns=columns,
    )
    return result.info


def test_labels_of_voxels_come_back(arrays, labelled):
    volumes, labels = arrays
    assert (labelled.kind, labelled.count, labelled.box, labelled.wedge) == (
        "subtomograms",
        COUNT,
        8,
        "tilts",
    )
    values, counts = np.unique(labels, return_counts=True)
    assert labelled.voxel_labels == dict(zip(values.tolist(), counts.tolist(), strict=True))
    assert check_dataset(labelled.path, 1).voxel_labels == labelled.voxel_labels
    (batch,) = sequential_arrays(labelled, COUNT)
    rows = batch["source_row"]
    assert sorted(rows.tolist()) == list(range(COUNT)) != rows.tolist()
    np.testing.assert_array_equal(batch["volume"][..., 0], volumes[rows])
    np.testing.assert_array_equal(batch["voxel_labels"], labels[rows])
    assert batch["voxel_labels"].dtype == np.int32
    np.testing.assert_array_equal(batch["wedge"], np.repeat(wedge_mask(8, -60, 50)[None], COUNT, 0))
    np.testing.assert_array_equal(batch["label"], rows % 2)
    np.testing.assert_array_equal(batch["euler_deg"][:, 0], rows * 10)


def test_tf_batches_hold_them_too(labelled):
    pipeline = pytest.importorskip("zoo.data.records.subtomogram_pipeline")
    (theirs,) = sequential_arrays(labelled, COUNT)
    where = {uid: row for row, uid in enumerate(theirs["uid"].tolist())}
    for batch in pipeline.subtomogram_batches(labelled, 3, seed=1).take(4).as_numpy_iterator():
        found = [where[uid] for uid in batch["uid"].tolist()]
        assert batch["voxel_labels"].dtype == np.int32
        for name in ("volume", "wedge", "voxel_labels", "label"):
            np.testing.assert_array_equal(batch[name], theirs[name][found], err_msg=name)


def rewrite(info, change):
    """All records of a set with their features changed, and an info.json that knows the new files."""
    import zlib

    content = json.loads((Path(info.path) / "info.json").read_text())
    for shard, path in zip(content["shards"], info.shard_paths(), strict=True):
        frames = [frame_record(encode_example(change(decode_example(p)))) for p in read_records(path)]
        Path(path).write_bytes(b"".join(frames))
        shard.update(bytes=sum(map(len, frames)), crc32=zlib.crc32(b"".join(frames)))
    (Path(info.path) / "info.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (None, "record 1: holds no labels of voxels, expected 512"),
        (bytes(511), "record 1: holds 511 labels of voxels, expected 512"),
        (bytes([9]) * 512, "record 1: a voxel has label 9, unknown to info.json"),
    ],
)
def test_check_finds_labels_that_are_not_those_packed(arrays, tmp_path, labels, words):
    volumes, given = arrays
    out = tmp_path / "set"
    pack_subtomogram_arrays(volumes, out, RAW, voxel_size_angstrom=5.0, voxel_labels=given)

    def change(features):
        features = {name: value for name, value in features.items() if name != "voxel_labels"}
        return features if labels is None else features | {"voxel_labels": labels}

    rewrite(DatasetInfo.load(out), change)
    with pytest.raises(ZooError, match=words):
        check_dataset(out, 1)


def test_wedges_of_each_volume(arrays, tmp_path):
    volumes, _ = arrays
    wedges = np.stack([wedge_mask(8, -60 + row, 60) for row in range(COUNT)])
    info = pack_subtomogram_arrays(
        volumes, tmp_path / "set", RAW, voxel_size_angstrom=5.0, wedges=wedges
    ).info
    assert info.wedge == "mask" and info.voxel_labels == {}
    (batch,) = sequential_arrays(info, COUNT)
    np.testing.assert_array_equal(batch["wedge"], wedges[batch["source_row"]])
    assert "voxel_labels" not in batch
    assert check_dataset(info.path, 1).count == COUNT


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"voxel_labels": np.zeros((COUNT, 8, 8, 7))}, "voxel_labels of shape"),
        ({"voxel_labels": np.full((COUNT, 8, 8, 8), 128)}, "expected whole numbers from 0 to 127"),
        ({"voxel_labels": np.full((COUNT, 8, 8, 8), 0.5)}, "expected whole numbers from 0 to 127"),
        ({"wedges": np.full((8, 8, 8), 2.0)}, "wedges from 2 to 2: expected weights from 0 to 1"),
        ({"wedges": np.ones((COUNT - 1, 8, 8, 8))}, "wedges of shape"),
        ({"voxel_size_angstrom": 0.0}, "expected a positive number"),
        ({"columns": {"colour": np.zeros(COUNT)}}, "unknown particle column 'colour'"),
    ],
)
def test_arrays_that_do_not_fit_are_one_line(arrays, tmp_path, changes, words):
    options = {"voxel_size_angstrom": 5.0} | changes
    with pytest.raises(ZooError, match=words):
        pack_subtomogram_arrays(arrays[0], tmp_path / "set", RAW, **options)
    assert not (tmp_path / "set").exists()


def test_labels_are_not_resampled(arrays, tmp_path):
    volumes, labels = arrays
    settings = PackSettings(box=6, dtype="float32", normalisation="none", contrast=1)
    with pytest.raises(ZooError, match="cannot be resampled from 8 to 6 voxels"):
        pack_subtomogram_arrays(
            volumes, tmp_path / "set", settings, voxel_size_angstrom=5.0, voxel_labels=labels
        )


def test_other_arrays_are_another_set(arrays, tmp_path):
    volumes, labels = arrays
    options = {"voxel_size_angstrom": 5.0, "voxel_labels": labels}
    pack_subtomogram_arrays(volumes, tmp_path / "set", RAW, **options)
    assert pack_subtomogram_arrays(volumes, tmp_path / "set", RAW, **options).written == 0
    other = labels.copy()
    other[0, 0, 0, 0] ^= 1
    with pytest.raises(ZooError, match="another source"):
        pack_subtomogram_arrays(volumes, tmp_path / "set", RAW, **(options | {"voxel_labels": other}))


@pytest.fixture(scope="module")
def maps(arrays, tmp_path_factory):
    out = tmp_path_factory.mktemp("maps") / "set"
    names = [f"map {letter}" for letter in "abcdefg"]
    return pack_maps(arrays[0], names, out, RAW, voxel_size_angstrom=6.0, labels=np.arange(COUNT)).info


def test_maps_keep_their_names(arrays, maps):
    assert (
        maps.kind == "maps" and maps.voxel_size_angstrom == 6.0 and maps.labels == dict.fromkeys(range(7), 1)
    )
    again = check_dataset(maps.path, 1)
    assert again.names == maps.names == tuple(f"map {letter}" for letter in "abcdefg")
    (batch,) = kind_of(maps).sequential_batches(maps, COUNT)
    assert set(batch) == {"map", "name_index", "pixel_size_angstrom", "uid", "source_row"}
    for volume, index in zip(batch["map"], batch["name_index"], strict=True):
        np.testing.assert_array_equal(volume[..., 0], arrays[0][index])
    np.testing.assert_array_equal(batch["pixel_size_angstrom"], 6.0)


def test_batches_of_maps_are_a_function_of_seed_and_step(maps):
    pipeline = pytest.importorskip("zoo.data.records.map_pipeline")
    (theirs,) = kind_of(maps).sequential_batches(maps, COUNT)
    where = {index: row for row, index in enumerate(theirs["name_index"].tolist())}

    def taken(steps, **options):
        return list(pipeline.map_batches(maps, 16, **options).take(steps).as_numpy_iterator())

    whole = taken(6, seed=3)
    assert {name: value.shape for name, value in whole[0].items()} == {
        "map": (16, 8, 8, 8, 1), "name_index": (16,), "pixel_size_angstrom": (16,), "uid": (16,),
        "source_row": (16,),
    }  # fmt: skip
    for batch in whole:
        found = [where[index] for index in batch["name_index"].tolist()]
        np.testing.assert_array_equal(batch["map"], theirs["map"][found])
    drawn = np.concatenate([batch["name_index"] for batch in whole])
    np.testing.assert_array_equal(np.sort(drawn[:91].reshape(13, 7)), np.tile(np.arange(7), (13, 1)))
    for start in (1, 4):
        for name, value in taken(1, seed=3, start_step=start)[0].items():
            np.testing.assert_array_equal(value, whole[start][name])
    assert not np.array_equal(taken(1, seed=4)[0]["name_index"], whole[0]["name_index"])


def test_numpy_batches_of_maps_too(maps):
    batches = kind_of(maps).numpy_batches(maps, 16, 3)
    whole = [next(batches) for _ in range(4)]
    again = next(kind_of(maps).numpy_batches(maps, 16, 3, 2))
    for name, value in again.items():
        np.testing.assert_array_equal(value, whole[2][name])
    assert whole[0]["map"].shape == (16, 8, 8, 8, 1) and whole[0]["map"].dtype == np.float32


def test_two_maps_of_one_name_are_refused(arrays, tmp_path):
    with pytest.raises(ZooError, match="two maps are called 'a'"):
        pack_maps(arrays[0][:3], ["a", "b", "a"], tmp_path / "set", RAW, voxel_size_angstrom=6.0)
    with pytest.raises(ZooError, match="7 maps and 1 names"):
        pack_maps(arrays[0], ["a"], tmp_path / "set", RAW, voxel_size_angstrom=6.0)
    assert not (tmp_path / "set").exists()


def test_no_columns_can_go_back_to_maps(maps, tmp_path):
    with pytest.raises(ZooError, match="density maps come from no table"):
        kind_of(maps).write_columns(maps, tmp_path / "out.star", {})
