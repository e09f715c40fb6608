"""Subtomograms packed, checked and read back: records, epochs, wedges, box changes."""

import json
from dataclasses import replace

import numpy as np
import pytest

from zoo.data.formats.mrc import read_volume, write_volume
from zoo.data.formats.volumes import VolumeReader
from zoo.data.info import DatasetInfo
from zoo.data.packing.pack_particles import pack_particles
from zoo.data.packing.pack_subtomograms import OWN_BOX, VolumeOptions, pack_subtomograms
from zoo.data.packing.resample import fourier_resample
from zoo.data.packing.shards import PackSettings
from zoo.data.records.check import check_dataset
from zoo.data.records.numpy_particles import load_arrays
from zoo.data.records.numpy_subtomograms import read_packed, sequential_arrays
from zoo.data.subtomograms import read_subtomograms
from zoo.data.wedge import wedge_mask
from zoo.errors import ZooError
from zoo.simulate.embedded import embedded_classes
from zoo.simulate.subtomogram_settings import SubtomogramSettings
from zoo.simulate.subtomograms import simulate_subtomograms

RAW = PackSettings(box=OWN_BOX, dtype="float32", normalisation="none", contrast=1)
BATCHES = pytest.importorskip("zoo.data.records.subtomogram_pipeline")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source") / "set"
    settings = SubtomogramSettings(7, snr=0.5, quick=True, seed=4)
    simulate_subtomograms(embedded_classes(16), folder, settings)
    return folder


@pytest.fixture(scope="module")
def packed(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("packed") / "set"
    pack_subtomograms(source / "subtomograms.star", out, RAW, processes=1)
    return DatasetInfo.load(out)


def volumes_of(source):
    return np.stack([read_volume(path)[0] for path in sorted((source / "subtomograms").iterdir())])


def gather(batches, steps):
    taken = [{name: value.numpy() for name, value in batch.items()} for batch in batches.take(steps)]
    return {name: np.stack([batch[name] for batch in taken]) for name in taken[0]}


def test_info_says_what_was_packed(packed):
    assert (packed.kind, packed.count, packed.box, packed.source_box) == ("subtomograms", 21, 16, 16)
    assert packed.wedge == "mask" and packed.has_poses
    assert packed.labels == {0: 7, 1: 7, 2: 7}
    assert packed.voxel_size_angstrom == pytest.approx(20)
    assert check_dataset(packed.path, processes=1).count == 21


def test_records_hold_the_files(source, packed):
    expected, table = volumes_of(source), read_subtomograms(source / "subtomograms.star")
    wedge = wedge_mask(16, -60, 60)
    for number, record in enumerate(read_packed(packed)):
        row = int(record["source_row"])
        assert record["index"] == number
        np.testing.assert_array_equal(record["volume"][..., 0], expected[row])
        np.testing.assert_array_equal(record["wedge"], wedge)
        np.testing.assert_allclose(record["euler_deg"], table.euler_deg()[row], rtol=1e-6)
        np.testing.assert_allclose(record["shift_angstrom"], table.shift_angstrom()[row], rtol=1e-6)
        assert record["label"] == row % 3
        assert packed.load_table()["source_row"][number] == row


def test_batches_are_the_records(packed):
    ours = gather(BATCHES.sequential_subtomograms(packed, 21), 1)
    (theirs,) = sequential_arrays(packed, 21)
    assert set(theirs) == set(ours)
    for name, value in theirs.items():
        np.testing.assert_array_equal(ours[name][0], value, err_msg=name)
    assert ours["volume"].dtype == ours["wedge"].dtype == np.float32
    assert ours["volume"].shape == (1, 21, 16, 16, 16, 1)


def test_an_epoch_sees_every_particle_exactly_once(packed):
    steps = BATCHES.steps_per_epoch(packed, 4)
    batches = gather(BATCHES.subtomogram_batches(packed, 4, seed=1), 3 * steps)
    assert steps == 6
    orders = []
    for epoch in range(3):
        mine = slice(epoch * steps, (epoch + 1) * steps)
        index, weight = batches["index"][mine].ravel(), batches["weight"][mine].ravel()
        assert sorted(index[weight == 1]) == list(range(21))
        assert weight.sum() == 21
        orders.append(index.tolist())
    assert orders[0] != orders[1] != orders[2]


@pytest.mark.parametrize("whole_epochs", [True, False])
def test_any_step_can_be_the_first(packed, whole_epochs):
    options = {"seed": 5, "whole_epochs": whole_epochs}
    whole = gather(BATCHES.subtomogram_batches(packed, 4, **options), 14)
    for start in (1, 5, 6, 11):
        part = gather(BATCHES.subtomogram_batches(packed, 4, start_step=start, **options), 3)
        np.testing.assert_array_equal(part["index"], whole["index"][start : start + 3])
        np.testing.assert_array_equal(part["volume"], whole["volume"][start : start + 3])


@pytest.mark.parametrize("whole_epochs", [True, False])
def test_workers_together_see_what_one_sees(packed, whole_epochs):
    options = {"seed": 2, "whole_epochs": whole_epochs}
    one = gather(BATCHES.subtomogram_batches(packed, 8, **options), 4)
    two = [gather(BATCHES.subtomogram_batches(packed, 4, worker=(i, 2), **options), 4) for i in range(2)]
    for name in ("index", "weight"):
        np.testing.assert_array_equal(np.concatenate([part[name] for part in two], axis=1), one[name])


def test_one_epoch_and_no_more(packed):
    whole = list(BATCHES.subtomogram_batches(packed, 8, 0, repeat=False))
    assert [int(batch["weight"].numpy().sum()) for batch in whole] == [8, 8, 5]
    assert len(list(BATCHES.subtomogram_batches(packed, 8, 0, start_step=2, repeat=False))) == 1
    assert len(list(BATCHES.subtomogram_batches(packed, 8, 0, start_step=3, repeat=False))) == 0
    cut = list(BATCHES.subtomogram_batches(packed, 8, 0, repeat=False, whole_epochs=False))
    assert len(cut) == 2


def test_many_shards_keep_the_promises(source, tmp_path):
    settings = replace(RAW, shard_size_mb=1)
    folder = tmp_path / "many"
    for copy in range(15):
        for path in (source / "subtomograms").iterdir():
            target = folder / f"{copy}_{path.name}"
            target.parent.mkdir(exist_ok=True)
            target.symlink_to(path)
    options = VolumeOptions(tilt_range_deg=(-50, 40))
    pack_subtomograms(folder, tmp_path / "set", settings, options, processes=1)
    info = check_dataset(tmp_path / "set", processes=1)
    assert len(info.shards) > 3
    steps = BATCHES.steps_per_epoch(info, 32)
    batches = gather(BATCHES.subtomogram_batches(info, 32, seed=0), 2 * steps)
    for epoch in range(2):
        mine = slice(epoch * steps, (epoch + 1) * steps)
        index = batches["index"][mine][batches["weight"][mine] == 1]
        assert sorted(index) == list(range(315))
    # and here the wedge is a range of tilts
    assert info.wedge == "tilts"
    np.testing.assert_array_equal(batches["wedge"][0, 0], wedge_mask(16, -50, 40))


def test_a_smaller_box_is_a_fourier_crop_of_volume_and_wedge(source, tmp_path):
    pack_subtomograms(source / "subtomograms.star", tmp_path / "set", replace(RAW, box=12), processes=1)
    info = DatasetInfo.load(tmp_path / "set")
    assert info.voxel_size_angstrom == pytest.approx(20 * 16 / 12)
    expected = fourier_resample(volumes_of(source), 12, ndim=3)
    for record in read_packed(info):
        np.testing.assert_allclose(record["volume"][..., 0], expected[record["source_row"]], atol=1e-5)
        np.testing.assert_array_equal(record["wedge"][:, 1:, 1:], wedge_mask(12, -60, 60)[:, 1:, 1:])


def test_background_around_the_particle_sets_zero_and_unit(source, tmp_path):
    pack_subtomograms(source / "subtomograms.star", tmp_path / "set", PackSettings(box=OWN_BOX), processes=1)
    axis = np.arange(16) - 8
    outside = np.sum(np.meshgrid(axis**2, axis**2, axis**2), axis=0) > 6**2
    for record in read_packed(DatasetInfo.load(tmp_path / "set")):
        background = record["volume"][..., 0][outside]
        assert abs(background.mean()) < 1e-3 and background.std() == pytest.approx(1, abs=2e-3)


def test_contrast_of_dark_particles_is_found(source, tmp_path):
    folder = tmp_path / "dark"
    folder.mkdir()
    for path in (source / "subtomograms").iterdir():
        write_volume(folder / path.name, -read_volume(path)[0], 20.0)
    result = pack_subtomograms(folder, tmp_path / "set", PackSettings(box=OWN_BOX), processes=1)
    assert result.info.contrast_sign == -1


def test_packing_twice_is_packing_once(source, packed, tmp_path):
    again = pack_subtomograms(source / "subtomograms.star", packed.path, RAW, processes=1)
    assert again.written == 0
    with pytest.raises(ZooError, match="another source"):
        options = VolumeOptions(tilt_range_deg=(-10, 10))
        pack_subtomograms(source / "subtomograms.star", packed.path, RAW, options, processes=1)
    pack_subtomograms(source / "subtomograms.star", tmp_path / "other", RAW, processes=1)
    for shard in packed.shards:
        assert (tmp_path / "other" / shard.name).read_bytes() == open(packed.shard_paths()[0], "rb").read()


def test_a_set_without_a_wedge_says_so(source, tmp_path):
    notes = []
    pack_subtomograms(source / "subtomograms", tmp_path / "set", RAW, processes=1, notes=notes.append)
    assert "no missing wedge is stated" in notes[0]
    assert next(read_packed(DatasetInfo.load(tmp_path / "set")))["wedge"].min() == 1


def test_particles_and_subtomograms_are_not_confused(packed, tmp_path, make_particles):
    from zoo.data.records.particle_pipeline import particle_batches

    for call in (lambda: particle_batches(packed, 2, 0), lambda: load_arrays(packed)):
        with pytest.raises(ZooError, match="holds subtomograms, expected 2D particle images"):
            call()
    path, _ = make_particles(tmp_path, 20, 8)
    pack_particles(path, tmp_path / "set", PackSettings(box=8), processes=1)
    info = DatasetInfo.load(tmp_path / "set")
    with pytest.raises(ZooError, match="holds particles, expected subtomograms"):
        BATCHES.subtomogram_batches(info, 2, 0)
    with pytest.raises(ZooError, match="holds particles, expected subtomograms"):
        next(read_packed(info))


def test_check_finds_a_record_in_the_wrong_place(source, tmp_path):
    """Two records exchanged: whole and well framed, but not those that the table names."""
    import zlib

    from zoo.data.records.particle_record import frame_record, read_records

    pack_subtomograms(source / "subtomograms.star", tmp_path / "set", RAW, processes=1)
    info = DatasetInfo.load(tmp_path / "set")
    frames = [frame_record(payload) for payload in read_records(info.shard_paths()[0])]
    content = b"".join([frames[1], frames[0], *frames[2:]])
    (tmp_path / "set" / info.shards[0].name).write_bytes(content)
    text = json.loads((tmp_path / "set" / "info.json").read_text())
    text["shards"][0]["crc32"] = zlib.crc32(content)
    (tmp_path / "set" / "info.json").write_text(json.dumps(text))
    with pytest.raises(ZooError, match="record 1: is not the subtomogram"):
        check_dataset(tmp_path / "set", processes=1)


@pytest.mark.parametrize(
    ("settings", "options", "words"),
    [
        (PackSettings(box=32), {}, "volumes of 16 pixels, --box 32 is larger"),
        (PackSettings(box=OWN_BOX), {"outside": "maybe"}, "--outside maybe"),
        (PackSettings(box=2), {}, "--box 2"),
    ],
)
def test_settings_that_cannot_be(source, tmp_path, settings, options, words):
    with pytest.raises(ZooError, match=words):
        pack_subtomograms(source / "subtomograms.star", tmp_path / "set", settings, VolumeOptions(**options))


def test_boxes_of_a_tomogram_are_packed(tmp_path):
    rng = np.random.default_rng(0)
    tomogram = rng.normal(size=(24, 30, 36)).astype(np.float32)
    write_volume(tmp_path / "t.mrc", tomogram, 5.0)
    (tmp_path / "c.csv").write_text("x,y,z\n18,15,12\n20,14,11\n3,15,12\n")
    notes = []
    options = VolumeOptions(tomogram=str(tmp_path / "t.mrc"), tilt_range_deg=(-60, 60), outside="drop")
    pack_subtomograms(
        tmp_path / "c.csv", tmp_path / "set", replace(RAW, box=10), options, notes=notes.append, processes=1
    )
    assert notes == ["1 of 3 left out (rows 3)"]
    info = check_dataset(tmp_path / "set", processes=1)
    rows = {int(record["source_row"]): record["volume"][..., 0] for record in read_packed(info)}
    np.testing.assert_array_equal(rows[0], tomogram[7:17, 10:20, 13:23])
    np.testing.assert_array_equal(rows[1], tomogram[6:16, 9:19, 15:25])
    with pytest.raises(ZooError, match="give their side in voxels with --box"):
        pack_subtomograms(tmp_path / "c.csv", tmp_path / "no", RAW, options, processes=1)


@pytest.mark.parametrize("contrast", [0, 1])
def test_bad_volumes_leave_nothing_and_can_be_mended(tmp_path, contrast):
    """Whether the contrast was being measured or the first shard being written."""
    volumes = np.random.default_rng(3).normal(size=(4, 12, 12, 12)).astype("float32")
    folder, out = tmp_path / "volumes", tmp_path / "out"
    for number, volume in enumerate(volumes):
        write_volume(folder / f"{number}.mrc", volume, 8.0)
    broken = folder / "2.mrc"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:-4] + np.float32(np.nan).tobytes())
    settings = PackSettings(OWN_BOX, contrast=contrast)
    with pytest.raises(ZooError, match=r"2.mrc.*1 voxels are NaN or infinite"):
        pack_subtomograms(folder, out, settings, processes=1)
    assert not out.exists()
    out.mkdir()
    with pytest.raises(ZooError, match="NaN"):
        pack_subtomograms(folder, out, settings, processes=1)
    assert list(out.iterdir()) == []
    broken.write_bytes(whole)
    assert pack_subtomograms(folder, out, settings, processes=1).info.count == 4


def test_half_sets_of_the_file_are_in_the_batches(tmp_path, source):
    """Both readers of records give rlnRandomSubset by record, and 0 where the file has none."""
    pack_subtomograms(source / "subtomograms.star", tmp_path / "set", RAW, processes=1)
    info = DatasetInfo.load(tmp_path / "set")
    stated = info.load_table()["random_subset"]
    for batches in (sequential_arrays(info, 4), BATCHES.sequential_subtomograms(info, 4).as_numpy_iterator()):
        found = np.concatenate([batch["random_subset"] for batch in batches])
        np.testing.assert_array_equal(found, stated)
    assert set(stated) <= {0, 1, 2}


def test_reading_boxes_does_not_look_at_the_whole_table_for_each(tmp_path, monkeypatch):
    """100,000 picks took minutes: every box made arrays of all coordinates and all tilts anew."""
    write_volume(tmp_path / "t.mrc", np.random.default_rng(0).normal(size=(20, 20, 20)).astype("f4"), 10.0)
    rows = "".join(f"{8 + i % 4},9,{8 + i // 100 % 4}\n" for i in range(400))
    (tmp_path / "c.csv").write_text("x,y,z\n" + rows)
    table = read_subtomograms(tmp_path / "c.csv", tmp_path / "t.mrc", tilt_range_deg=(-60, 60))
    calls = []
    for name in ("coordinates_voxel", "tilt_range_deg"):
        whole = getattr(type(table), name)
        monkeypatch.setattr(type(table), name, lambda self, whole=whole: calls.append(1) or whole(self))
    reader = VolumeReader(table, 8)
    for index in range(len(table)):
        reader.read([index])
        reader.wedge(index, 8)
    assert len(calls) <= 4
