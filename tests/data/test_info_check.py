"""info.json is held against what can be and against the table."""

import dataclasses
import json

import numpy as np
import pytest

from zoo.data.info import DatasetInfo
from zoo.data.packing.pack_particles import pack_particles
from zoo.data.packing.shards import PackSettings
from zoo.errors import ZooError


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    from zoo.data.formats.mrc import write_stack

    folder = tmp_path_factory.mktemp("info")
    write_stack(folder / "a.mrcs", np.random.default_rng(0).normal(size=(9, 16, 16)), 2.0)
    pack_particles(folder / "a.mrcs", folder / "packed", PackSettings(16, contrast=1), processes=1)
    return folder / "packed"


@pytest.fixture
def changed(packed, tmp_path):
    """A copy of the data set, its info.json changed."""

    def make(**values):
        for path in packed.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        content = json.loads((packed / "info.json").read_text())
        (tmp_path / "info.json").write_text(json.dumps({**content, **values}))
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("box", value) for value in (0, -1, 1.5, "16", None, True)],
        *[("voxel_size_angstrom", value) for value in (0, -2.0, float("nan"), float("inf"), "2", None, True)],
        ("contrast_sign", 0),
        ("contrast_sign", True),
        ("dtype", "int8"),
        ("kind", 3),
        ("has_ctf", "yes"),
        ("table_crc32", "x"),
        ("settings", []),
        ("source", None),
        ("labels", {"-1": 8}),
    ],
)
def test_a_value_that_cannot_be_is_named(changed, name, value):
    with pytest.raises(ZooError, match="info.json") as error:
        DatasetInfo.load(changed(**{name: value}))
    assert name in str(error.value) and "\n" not in str(error.value)


def test_the_table_is_compared(changed, packed):
    assert len(DatasetInfo.load(packed).load_table()["uid"]) == 9
    DatasetInfo.load(packed).verify_files()
    for values, words in (
        ({"labels": {"0": 9}}, r"labels \{-1: 9\}, info.json says \{0: 9\}"),
        ({"voxel_size_angstrom": 3.0}, "pixels of 2 to 2 Å, info.json says 3 Å"),
        ({"table_crc32": 1}, "its checksum is not that in info.json"),
    ):
        with pytest.raises(ZooError, match=words):
            DatasetInfo.load(changed(**values)).verify_files()


def test_a_table_that_is_lost_or_damaged_is_written_again(changed, packed):
    folder = changed()
    whole = (packed / "table.npz").read_bytes()
    for damaged in (None, whole[:-30], whole[:300] + bytes([whole[300] ^ 1]) + whole[301:]):
        (folder / "table.npz").unlink()
        if damaged is not None:
            (folder / "table.npz").write_bytes(damaged)
        with pytest.raises(ZooError, match="table.npz"):
            DatasetInfo.load(folder).verify_files()
        pack_particles(packed.parent / "a.mrcs", folder, PackSettings(16, contrast=1), processes=1)
        DatasetInfo.load(folder).verify_files()
        assert (folder / "table.npz").read_bytes() == whole
    again, first = DatasetInfo.load(folder), DatasetInfo.load(packed)
    assert dataclasses.replace(again, path="", created="") == dataclasses.replace(first, path="", created="")
