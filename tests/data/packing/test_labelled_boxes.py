"""Boxes of a tomogram with a label for each voxel: cut, named, packed, read back, joined; what is refused."""

import numpy as np
import pytest

from zoo.data.formats.label_volume import LabelVolume, names_file, parse_label_names, write_names
from zoo.data.formats.mrc import write_volume
from zoo.data.formats.tomogram_blocks import TomogramBlocks
from zoo.data.info import DatasetInfo
from zoo.data.packing.join import join_labelled
from zoo.data.packing.pack_arrays import pack_subtomogram_arrays
from zoo.data.packing.pack_subtomograms import VolumeOptions, pack_subtomograms
from zoo.data.packing.shards import PackSettings
from zoo.data.records.check import check_dataset
from zoo.data.records.numpy_records import load_records
from zoo.data.reopen import reopen_source
from zoo.errors import ZooError

SHAPE, BOX, VOXEL = (20, 30, 44), 8, 10.0


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """tomogram.mrc (dark things in noise), labels.mrc (0, 1, 2, 5) and places.csv."""
    folder = tmp_path_factory.mktemp("scene")
    rng = np.random.default_rng(0)
    labels = np.zeros(SHAPE, np.float32)
    labels[4:9, 5:12, 6:16] = 1
    labels[12:15] = 2
    labels[10, 20:24, 30:34] = 5
    volume = rng.normal(100, 5, SHAPE).astype(np.float32) - 20 * (labels > 0)
    write_volume(folder / "tomogram.mrc", volume, VOXEL)
    write_volume(folder / "labels.mrc", labels, VOXEL)
    (folder / "places.csv").write_text("x,y,z\n10,8,6\n31,21,10\n4,4,4\n")
    return folder, volume, labels


def pack(scene, out, source="places.csv", names="1=blob,2=sheet,5=blob", **more):
    folder, _, _ = scene
    options = {"labels": str(folder / "labels.mrc"), "label_names": names, **more}
    packing = PackSettings(
        options.pop("box", BOX), dtype="float32", normalisation=options.pop("method", "tomogram")
    )
    given = None if source is None else folder / source
    said = []
    tomogram = options.pop("tomogram", str(folder / "tomogram.mrc"))
    result = pack_subtomograms(
        given, out, packing, VolumeOptions(tomogram, **options), notes=said.append, processes=1
    )
    return result.info, said, result


def test_labels_are_cut_where_the_boxes_are(scene, tmp_path):
    info, said, result = pack(scene, tmp_path / "rec")
    _, volume, labels = scene
    classes = np.array([0, 1, 2, 0, 0, 1])[labels.astype(int)]
    records = load_records(info)
    for row, at in enumerate(info.load_table()["source_row"].tolist()):
        x, y, z = [(10, 8, 6), (31, 21, 10), (4, 4, 4)][at]
        part = tuple(slice(c - BOX // 2, c + BOX // 2) for c in (z, y, x))
        np.testing.assert_array_equal(records["voxel_labels"][row], classes[part])
        grey = records["volume"][row, ..., 0]
        line = np.polynomial.polynomial.polyfit(volume[part].ravel(), grey.ravel(), 1)
        fitted = line[0] + line[1] * volume[part]
        np.testing.assert_allclose(grey, fitted, atol=1e-3)
        assert line[1] < 0  # dark things are turned bright, all boxes by one scale
    assert info.voxel_label_names == ("background", "blob", "sheet") and info.contrast_sign == -1
    assert info.normalisation["method"] == "tomogram" and "labelled is dark" in result.contrast
    assert info.voxel_labels == {k: int((records["voxel_labels"] == k).sum()) for k in (0, 1, 2)}
    assert any("1 blob" in line for line in said)
    assert check_dataset(info.path, 1).voxel_label_names == info.voxel_label_names
    assert DatasetInfo.load(info.path) == info
    again = pack(scene, tmp_path / "rec")[2]
    assert again.written == 0  # already there
    with pytest.raises(ZooError, match="another source, or the source has changed"):
        pack(scene, tmp_path / "rec", names="1=blob,2=sheet,5=bead")


def test_a_grid_covers_the_tomogram_to_its_faces(scene, tmp_path):
    info, said, _ = pack(scene, tmp_path / "rec", source=None, every=6)
    table = info.load_table()
    seen = np.zeros(SHAPE, int)
    for x, y, z in np.stack([table[f"coordinate_{axis}_voxel"] for axis in "xyz"], axis=1).astype(int):
        seen[tuple(slice(c - BOX // 2, c + BOX // 2) for c in (z, y, x))] += 1
    assert seen.min() == 1 and info.count == 3 * 5 * 7
    assert f"{info.count} boxes" in said[0]
    assert len(reopen_source(info)) == info.count
    moved = tmp_path / "elsewhere"
    (tmp_path / "rec").rename(moved)
    assert len(reopen_source(DatasetInfo.load(moved))) == info.count


def test_names_stand_beside_the_labels(scene, tmp_path):
    folder, volume, labels = scene
    write_volume(tmp_path / "l.mrc", labels, VOXEL)
    tomogram = TomogramBlocks(folder / "tomogram.mrc")
    assert LabelVolume(tmp_path / "l.mrc", tomogram, None).names == (
        "background",
        "class_1",
        "class_2",
        "class_5",
    )
    write_names(tmp_path / "l.mrc", ["background", "one", "two", "three", "four", "five"])
    found = LabelVolume(tmp_path / "l.mrc", tomogram, None)
    assert found.names == ("background", "one", "two", "three", "four", "five")
    assert found.counts.tolist() == [(labels == k).sum() for k in range(6)]
    part = slice(3, 12), slice(4, 25), slice(5, 40)
    np.testing.assert_array_equal(found.part(part), labels[part])
    names_file(tmp_path / "l.mrc").write_text("0 background\n1 one\n")
    with pytest.raises(ZooError, match="holds label 2, which .*l.names.txt does not name"):
        LabelVolume(tmp_path / "l.mrc", tomogram, None)


def test_padding_does_not_decide_the_contrast(tmp_path):
    rng = np.random.default_rng(1)
    labels = np.zeros(SHAPE, np.float32)
    labels[8:12, 10:14, 25:30] = 1
    volume = rng.normal(100, 5, SHAPE).astype(np.float32) - 20 * labels
    volume[:, :, :20] = 0
    write_volume(tmp_path / "t.mrc", volume, VOXEL)
    write_volume(tmp_path / "l.mrc", labels, VOXEL)
    assert LabelVolume(tmp_path / "l.mrc", TomogramBlocks(tmp_path / "t.mrc"), None).contrast_sign == -1


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"names": "1=blob"}, "holds label 2, which --label-names does not name"),
        ({"names": "1:blob"}, "expected number=name"),
        ({"names": "1=background,2=background,5=background"}, "all voxels are background"),
        ({"pose_normalise": True}, "labels cannot be turned"),
        ({"every": 6}, "leave out the places"),
        ({"source": None}, "no places to cut boxes at"),
        ({"source": None, "every": 6, "box": 22}, "44 x 30 x 20 voxels: boxes of 22 are larger"),
        ({"source": None, "every": 0}, "--every 0: expected 1"),
        ({"labels": None}, "names the labels of --labels"),
    ],
)
def test_what_does_not_fit_is_one_line_and_leaves_nothing(scene, tmp_path, more, words):
    with pytest.raises(ZooError, match=words) as caught:
        pack(scene, tmp_path / "rec", **more)
    assert "\n" not in str(caught.value) and not (tmp_path / "rec").exists()


def test_labels_of_another_box_voxel_or_kind_are_refused(scene, tmp_path):
    folder, _, labels = scene
    tomogram = TomogramBlocks(folder / "tomogram.mrc")
    for array, voxel, words in (
        (labels[:, :, :-1], VOXEL, "labels of 43 x 30 x 20 voxels, the tomogram .* has 44 x 30 x 20"),
        (labels, 2 * VOXEL, "voxels of 20 Å, those of .* have 10"),
        (labels + 0.5, VOXEL, "voxel 0, 0, 0 .* is 0.5; labels are whole numbers"),
        (labels - 1, VOXEL, "is -1; labels are whole"),
        (labels * 100, VOXEL, "is 500; labels are whole"),
        (labels * 0, VOXEL, "all voxels are background"),
    ):
        write_volume(tmp_path / "l.mrc", array, voxel)
        with pytest.raises(ZooError, match=words):
            LabelVolume(tmp_path / "l.mrc", tomogram, None)
    for words in ("1=a,1=b", "x=a", "1=", "200=a", "1=a/b"):
        with pytest.raises(ZooError, match="--label-names"):
            parse_label_names(words)


def test_the_scale_of_a_tomogram_needs_one(scene, tmp_path):
    write_volume(tmp_path / "v" / "a.mrc", np.random.default_rng(0).normal(size=(8, 8, 8)), VOXEL)
    with pytest.raises(ZooError, match="--normalisation tomogram is for boxes cut from"):
        pack_subtomograms(
            tmp_path / "v", tmp_path / "rec", PackSettings(8, normalisation="tomogram"), processes=1
        )
    assert not (tmp_path / "rec").exists()


def test_sets_are_joined_by_the_names_of_their_labels(scene, tmp_path):
    one = pack(scene, tmp_path / "one", names="1=blob,2=sheet,5=blob")[0]
    two = pack(scene, tmp_path / "two", names="1=bead,2=sheet,5=blob")[0]
    joined = join_labelled([one.path, two.path], tmp_path / "both").info
    assert joined.voxel_label_names == ("background", "blob", "sheet", "bead") and joined.count == 6
    assert joined.normalisation == one.normalisation and joined.contrast_sign == -1
    assert DatasetInfo.load(joined.path) == joined and check_dataset(joined.path, 1)
    names = np.array(joined.label_names())
    wanted = sorted(
        (volume.tobytes(), np.array(info.label_names())[labels].tobytes())
        for info in (one, two)
        for volume, labels in zip(
            *(load_records(info)[key] for key in ("volume", "voxel_labels")), strict=True
        )
    )
    records = load_records(joined)
    pairs = zip(records["volume"], records["voxel_labels"], strict=True)
    dtype = np.array(two.label_names()).dtype
    found = sorted((volume.tobytes(), names[labels].astype(dtype).tobytes()) for volume, labels in pairs)
    assert found == wanted
    small = pack(scene, tmp_path / "small", box=4, method="none")[0]
    plain = pack(scene, tmp_path / "plain", labels=None, names=None)[0]
    ramp = pack(scene, tmp_path / "ramp", method="ramp")[0]
    for folders, words in (
        ([one.path], "one set alone"),
        ([one.path, plain.path], "its voxels have no labels"),
        ([one.path, small.path], "boxes of 4 voxels"),
        ([one.path, ramp.path], "normalisation ramp, but .* has tomogram"),
    ):
        with pytest.raises(ZooError, match=words):
            join_labelled(folders, tmp_path / "refused")
    assert not (tmp_path / "refused").exists()


def test_records_that_are_packed_again_say_what_they_were(scene, tmp_path):
    one = pack(scene, tmp_path / "one", method="background")[0]
    records = load_records(one)
    made = pack_subtomogram_arrays(
        records["volume"][..., 0], tmp_path / "again", PackSettings(BOX, dtype="float32"),
        voxel_size_angstrom=VOXEL, voxel_labels=records["voxel_labels"],
        voxel_label_names=one.label_names(), like=one,
    ).info  # fmt: skip
    assert made == DatasetInfo.load(tmp_path / "again")
    assert (made.normalisation, made.contrast_sign) == (one.normalisation, -1)
    again = load_records(made)
    assert {cube.tobytes() for cube in again["volume"]} == {cube.tobytes() for cube in records["volume"]}
    with pytest.raises(ZooError, match="a name of its own"):
        pack_subtomogram_arrays(
            records["volume"][..., 0], tmp_path / "no", PackSettings(BOX), voxel_size_angstrom=VOXEL,
            voxel_labels=records["voxel_labels"], voxel_label_names=["a", "a"],
        )  # fmt: skip
