"""Members of groups put back into their tomogram, and the labels of voxels made of them."""

import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import starfile

from zoo.analysis.annotate import annotate, labels_of, put_back, write_annotation
from zoo.analysis.cluster_cubes import member_averages, spreads
from zoo.analysis.label_records import write_label_records
from zoo.analysis.mined import open_mined, relative_cubes
from zoo.data.formats.cut_in_frame import cut_in_frame
from zoo.data.formats.mrc import read_volume, write_volume
from zoo.data.formats.tomogram_blocks import TomogramBlocks
from zoo.data.info import DatasetInfo
from zoo.data.records.check import check_dataset
from zoo.data.tables.cube_frames import CubeFrames
from zoo.errors import ZooError

sys.path.insert(0, str(Path(__file__).parent))
from mined_cubes import (  # noqa: E402
    BALL,
    BOX,
    SHAPE,
    SHEET,
    VOXEL,
    ShapeModel,
    edit_groups,
    make,
    shape_of,
    summary,
)

BOTH = "ball: [0]\nsheet: [1]\nbackground: [2]\n"


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    return make(tmp_path_factory.mktemp("straight"))


@pytest.fixture(scope="module")
def turned(tmp_path_factory):
    return make(tmp_path_factory.mktemp("turned"), pose_normalise=True)


def test_the_folder_of_clusters_has_averages_a_montage_and_groups(straight):
    folder, _ = straight
    clusters = folder / "clusters"
    assert {"montage.png", "groups.yaml", "clusters.npz"} <= {path.name for path in clusters.iterdir()}
    assert not (clusters / "slices.png").exists()
    from matplotlib.image import imread

    picture = imread(clusters / "montage.png")
    assert picture[..., :3].std() > 0.1 and min(picture.shape[:2]) > 100
    average, voxel = read_volume(clusters / "cluster_00" / "average.mrc")
    assert voxel == VOXEL and np.corrcoef(average.ravel(), shape_of(BALL).ravel())[0, 1] > 0.99
    found = starfile.read(clusters / "cluster_01" / "particles.star")["particles"]
    assert (found["zooLabel"] == 1).all() and "rlnAutopickFigureOfMerit" in found
    known = starfile.read(folder / "places.star")["particles"]
    rows = known["zooLabel"] == 1
    assert found["rlnCoordinateX"].tolist() == known["rlnCoordinateX"][rows].tolist()
    assert found["rlnAutopickFigureOfMerit"].tolist() == known["rlnAutopickFigureOfMerit"][rows].tolist()
    assert summary(folder)["data"] == str(folder / "rec") and summary(folder)["clusters"][0]["spread"] >= 0


def test_averages_and_spreads_are_what_they_say(straight):
    info = DatasetInfo.load(straight[0] / "rec")
    labels = info.load_table()["label"]
    found = member_averages(info, np.where(labels == 2, -1, labels), 2)
    assert np.abs(found[SHEET] - shape_of(SHEET)).max() < 0.1
    with pytest.raises(ZooError, match="16 records, but 3 have a cluster"):
        member_averages(info, np.zeros(3, int), 1)
    z = np.array([[0.0, 0], [2, 0], [5, 5], [9, 9]])
    cluster = np.array([0, 0, 1, -1])
    assert spreads(z, cluster, np.array([[1.0, 0], [5, 5]])).tolist() == [1, 0]


def test_members_of_turned_cubes_keep_their_poses(turned):
    found = starfile.read(turned[0] / "clusters" / "cluster_01" / "particles.star")["particles"]
    known = starfile.read(turned[0] / "rec" / "pose_normalised.star")["particles"]
    rows = known["zooLabel"] == 1
    for name in ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginZAngst"):
        assert found[name].tolist() == known[name][rows].tolist(), name
    assert found["rlnAngleTilt"].abs().max() > 0 and "rlnAutopickFigureOfMerit" in found


@pytest.mark.parametrize("seed", range(3))
def test_a_cube_put_back_shows_what_it_was_cut_from(seed):
    from scipy import ndimage
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng(seed)
    whole = np.maximum(ndimage.gaussian_filter(rng.normal(size=(40, 50, 60)), 2), 0).astype(np.float32)
    matrix, centre = Rotation.random(random_state=seed).as_matrix(), rng.uniform(-3, 3, 3)
    place = np.array([30.0, 26, 18])
    cube = cut_in_frame(lambda part: whole[part], whole.shape, place[::-1], matrix, centre, 16)
    back = np.zeros_like(whole)
    put_back(back, cube, place, CubeFrames(matrix[None], centre[None]))
    seen = back > 0
    assert seen.sum() > 1500
    assert np.corrcoef(back[seen], whole[seen])[0, 1] > 0.99
    back[:] = 0
    put_back(back, whole[10:26, 18:34, 22:38], place, None)
    assert (back[10:26, 18:34, 22:38] == whole[10:26, 18:34, 22:38]).all()
    assert back.sum() == pytest.approx(whole[10:26, 18:34, 22:38].sum(), rel=1e-5)


def test_a_cube_at_the_edge_or_beyond_it():
    cube = np.ones((8, 8, 8), np.float32)
    volume = np.zeros((10, 12, 14), np.float32)
    put_back(volume, cube, np.array([0.0, 0, 0]), None)
    assert volume.sum() == 4**3 and volume[3, 3, 3] == 1
    put_back(volume, cube, np.array([40.0, 0, 0]), None)
    assert volume.sum() == 4**3


@pytest.mark.parametrize("kind", ["straight", "turned"])
def test_labels_lie_where_the_truth_does(request, kind, tmp_path):
    folder, truth = request.getfixturevalue(kind)
    edit_groups(folder, BOTH)
    mined = open_mined(folder / "clusters")
    tomogram = TomogramBlocks(folder / "tomogram.mrc")
    groups, told = mined.groups(), []
    model = ShapeModel()
    if kind == "turned":  # sheets lie across z in their frames; balls look alike from everywhere
        assert DatasetInfo.load(folder / "rec").wedge == "mask"
    found = annotate(mined, groups, model, tomogram, 0.5, progress=lambda *done: told.append(done))
    assert found.labels.shape == SHAPE and found.labels.dtype == np.int8
    assert found.cubes.tolist() == [int((mined.cluster == k).sum()) for k in (0, 1)]
    assert told[-1] == (found.cubes.sum(), found.cubes.sum())
    for number in (1, 2):
        ours, theirs = found.labels == number, truth == number
        assert (ours & theirs).sum() / (ours | theirs).sum() > (0.95 if kind == "straight" else 0.6), number
    tmp_path = tmp_path / "A"
    tmp_path.mkdir()
    names = write_annotation(tmp_path, found, groups, tomogram, VOXEL, 0.5)
    assert names == ["labels.mrc", "ball.mrc", "sheet.mrc", "labels.png", "annotation.cxc"]
    with mrcfile.open(tmp_path / "labels.mrc") as mrc:
        assert mrc.header.mode == 0 and mrc.voxel_size.x == VOXEL and mrc.is_volume()
        assert (mrc.data == found.labels).all() and mrc.header.dmax == 2
    assert mrcfile.validate(tmp_path / "labels.mrc")
    assert (read_volume(tmp_path / "sheet.mrc")[0] == found.maps[1]).all()
    assert (tmp_path / "labels.names.txt").read_text() == "0 background\n1 ball\n2 sheet\n"
    script = (tmp_path / "annotation.cxc").read_text()
    assert "open sheet.mrc" in script and "level 0.5" in script and "tomogram.mrc" in script


def test_where_two_groups_meet_the_higher_one_counts():
    maps = np.array([[0.2, 0.6, 0.9, 0.7], [0.4, 0.3, 0.95, 0.7]])
    assert labels_of(maps, 0.5).tolist() == [0, 1, 2, 1]


def test_the_level_is_relative_and_does_not_know_the_unit(straight):
    model = ShapeModel()
    z = np.array([[1.0, 0, 0], [100.0, 0, 0], [0, 0, 0]], np.float32)
    one, hundred, nothing = relative_cubes(model, z)
    np.testing.assert_allclose(one, hundred, atol=1e-5)
    assert (one >= 0.5).sum() == shape_of(BALL).sum() and not nothing.any()


@pytest.mark.parametrize("kind", ["straight", "turned"])
def test_records_with_labels_of_voxels(request, kind, tmp_path):
    folder, _ = request.getfixturevalue(kind)
    edit_groups(folder, BOTH)
    mined, known = open_mined(folder / "clusters"), DatasetInfo.load(folder / "rec")
    info = write_label_records(tmp_path / "weak", mined, mined.groups(), ShapeModel(), known, 0.5)
    info = check_dataset(info.path, 1)
    assert info.count == 16 and info.box == BOX and set(info.voxel_labels) == {0, 1, 2}
    assert info.label_names() == list(mined.groups().label_names)
    assert (info.normalisation, info.contrast_sign) == (known.normalisation, known.contrast_sign)
    from zoo.data.kinds import kind_of

    (ours,) = kind_of(info).sequential_batches(info, 16)
    (theirs,) = kind_of(known).sequential_batches(known, 16)
    place = {uid: row for row, uid in enumerate(theirs["uid"].tolist())}
    for row, uid in enumerate(ours["uid"].tolist()):
        np.testing.assert_array_equal(ours["volume"][row], theirs["volume"][place[uid]])
        np.testing.assert_allclose(ours["wedge"][row], theirs["wedge"][place[uid]], atol=1e-3)
        label = int(theirs["label"][place[uid]])
        expected = 0 if label == 2 else label + 1
        assert ours["label"][row] == expected
        assert set(np.unique(ours["voxel_labels"][row])) == ({0, expected} if expected else {0})
        if expected and kind == "straight":
            drawn = shape_of(label) > 0
            assert ((ours["voxel_labels"][row] > 0) == drawn).mean() > 0.95


def test_cubes_that_are_ignored_are_left_out(straight, tmp_path):
    folder, _ = straight
    edit_groups(folder, "ball: [0]\nignore: [1, 2]\n")
    mined, known = open_mined(folder / "clusters"), DatasetInfo.load(folder / "rec")
    info = write_label_records(tmp_path / "weak", mined, mined.groups(), ShapeModel(), known, 0.5)
    assert info.count == int((mined.cluster == 0).sum()) and info.labels == {1: info.count}
    assert (tmp_path / "weak" / "labels.names.txt").read_text() == "0 background\n1 ball\n"


def test_bad_input_is_one_line(straight, tmp_path):
    folder, _ = straight
    edit_groups(folder, BOTH)
    mined, model = open_mined(folder / "clusters"), ShapeModel()
    tomogram = TomogramBlocks(folder / "tomogram.mrc")
    for level in (0, 1, -0.5, np.nan):
        with pytest.raises(ZooError, match="--level .*: expected more than 0"):
            annotate(mined, mined.groups(), model, tomogram, level)
    write_volume(tmp_path / "small.mrc", np.zeros((24, 60, 30)), VOXEL)
    with pytest.raises(ZooError, match="30 x 60 x 24 voxels, but 8 cubes lie beyond it|cubes lie beyond it"):
        annotate(mined, mined.groups(), model, TomogramBlocks(tmp_path / "small.mrc"), 0.5)
    write_volume(tmp_path / "fine.mrc", np.zeros(SHAPE), 5.0)
    with pytest.raises(ZooError, match="voxels of 5 Å, the cubes have 10 Å"):
        annotate(mined, mined.groups(), model, TomogramBlocks(tmp_path / "fine.mrc"), 0.5)
    other = ShapeModel()
    other.latent_dim = 4
    with pytest.raises(ZooError, match="latents of 3 coordinates, but the model has 4"):
        annotate(mined, mined.groups(), other, tomogram, 0.5)
    (tmp_path / "moved").mkdir()
    with pytest.raises(ZooError, match="clusters.npz"):
        open_mined(tmp_path / "moved")
    (tmp_path / "moved" / "clusters.npz").write_bytes((folder / "clusters" / "clusters.npz").read_bytes())
    with pytest.raises(ZooError, match="summary.json: cannot be read"):
        open_mined(tmp_path / "moved")
    (tmp_path / "moved" / "summary.json").write_text("{}")
    with pytest.raises(ZooError, match="does not say which run and records"):
        open_mined(tmp_path / "moved")


def test_records_of_another_set_are_refused(straight, turned, tmp_path):
    edit_groups(straight[0], BOTH)
    mined = open_mined(straight[0] / "clusters")
    from dataclasses import replace

    other = replace(mined, latents=replace(mined.latents, uid=mined.latents.uid[::-1].copy()))
    with pytest.raises(ZooError, match="holds other records than .*clusters was made of"):
        write_label_records(
            tmp_path / "weak", other, mined.groups(), ShapeModel(), DatasetInfo.load(straight[0] / "rec"), 0.5
        )
    assert not (tmp_path / "weak").exists()
