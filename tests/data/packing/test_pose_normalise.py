"""Boxes cut in the frame of what they show: one frame for all poses, the wedge turned, and the way back."""

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from zoo.data.formats.cut_in_frame import cut_in_frame, turned_weight
from zoo.data.formats.mrc import write_volume
from zoo.data.formats.subtomogram_star_write import write_subtomograms
from zoo.data.formats.volumes import VolumeReader
from zoo.data.info import DatasetInfo
from zoo.data.kinds import kind_of
from zoo.data.packing.pack_subtomograms import VolumeOptions, pack_subtomograms
from zoo.data.packing.pose_normalise import STAR_NAME, find_frames
from zoo.data.packing.principal_frame import principal_frame
from zoo.data.packing.shards import PackSettings
from zoo.data.records.check import check_dataset
from zoo.data.records.numpy_subtomograms import read_packed
from zoo.data.records.particle_record import decode_particle, read_records
from zoo.data.reopen import SourceRecord, reopen_source
from zoo.data.subtomograms import read_subtomograms
from zoo.data.tables.cube_frames import CubeFrames
from zoo.data.wedge import wedge_mask
from zoo.errors import ZooError

BOX, VOXEL, WIDTH = 24, 10.0, 1.8
# An object without any symmetry: soft balls at these places (xyz, voxels from its middle) of these weights.
BALLS = np.array([[4.0, 0, 0], [-4, 1, 0], [-4, -2.5, 1], [0.5, 3.5, 1], [1.5, 0, 3], [0, 0, -0.5]])
WEIGHTS = np.array([2.0, 1.0, 1.2, 1.6, 0.9, 2.0])


def add_object(volume, middle, matrix, weight=1.0):
    """Add the object, turned by ``matrix`` (a point m comes to matrix m), about ``middle`` (xyz)."""
    z, y, x = np.ogrid[tuple(slice(side) for side in volume.shape)]
    for place, ball in zip(BALLS @ np.asarray(matrix).T + middle, WEIGHTS, strict=True):
        squares = (x - place[0]) ** 2 + (y - place[1]) ** 2 + (z - place[2]) ** 2
        volume += (weight * ball * np.exp(-squares / (2 * WIDTH**2))).astype(np.float32)


def cut(tomogram, middle_zyx, matrix, centre_xyz, box):
    """`cut_in_frame` from an array."""
    return cut_in_frame(tomogram.__getitem__, tomogram.shape, middle_zyx, matrix, centre_xyz, box)


def relion_angles(matrix):
    """Rot, tilt, psi of RELION's A = ``matrix``."""
    return Rotation.from_matrix(matrix).inv().as_euler("ZYZ", degrees=True)


def relion_matrix(angles):
    return Rotation.from_euler("ZYZ", angles, degrees=True).inv().as_matrix()


def angle_between(first, second):
    return np.degrees(Rotation.from_matrix(first @ second.T).magnitude())


@pytest.fixture(scope="module")
def scene():
    """A tomogram (60, 142, 184) with 12 turned objects: volume, places (12, 3), matrices, exact middles."""
    rng = np.random.default_rng(7)
    volume = np.zeros((60, 142, 184), np.float32)
    places, turns, middles = [], Rotation.random(12, random_state=3).as_matrix(), []
    for number in range(12):
        place = np.array([28 + 42 * (number % 4), 28 + 42 * (number // 4), 30])
        places.append(place)
        middles.append(place + rng.uniform(-1.5, 1.5, 3))
        add_object(volume, middles[-1], turns[number])
    volume += rng.normal(0, 0.02, volume.shape).astype(np.float32)
    return volume, np.array(places), turns, np.array(middles)


@pytest.fixture(scope="module")
def folder(scene, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tomogram")
    write_volume(folder / "T.mrc", scene[0], VOXEL)
    rows = "".join(f"{x},{y},{z},{number % 2}\n" for number, (x, y, z) in enumerate(scene[1].tolist()))
    (folder / "picks.csv").write_text("x,y,z,label\n" + rows)
    table = read_subtomograms(folder / "picks.csv", folder / "T.mrc")
    write_subtomograms(table, folder / "picks.star")
    return folder


def pack(folder, out, source="picks.star", **options):
    given = {"tilt_range_deg": (-60.0, 50.0), "pose_normalise": True} | options
    notes = []
    settings = PackSettings(box=BOX, dtype="float32")
    volume_options = VolumeOptions(tomogram=str(folder / "T.mrc"), **given)
    result = pack_subtomograms(
        folder / source, out, settings, volume_options, processes=1, notes=notes.append
    )
    return result.info, notes


@pytest.fixture(scope="module")
def packed(folder, tmp_path_factory):
    return pack(folder, tmp_path_factory.mktemp("out") / "rec")[0]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_hundred_rotations_end_in_one_frame(sign):
    rng = np.random.default_rng(11)
    frames = []
    for turn in Rotation.random(100, random_state=5).as_matrix():
        cube = rng.normal(0, 0.05, (BOX,) * 3).astype(np.float32)
        move = rng.uniform(-1.5, 1.5, 3)
        add_object(cube, BOX // 2 + move, turn)
        matrix, centre = principal_frame(sign * cube + 30, sign)
        assert np.linalg.det(matrix) == pytest.approx(1.0)
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-9)
        frames.append((matrix @ turn, turn.T @ (centre - move)))
    reference = Rotation.from_matrix([each[0] for each in frames]).mean().as_matrix()
    errors = np.array([angle_between(each[0], reference) for each in frames])
    assert (errors <= 5).mean() >= 0.95
    middles = np.array([each[1] for each in frames])
    assert np.linalg.norm(middles - middles.mean(axis=0), axis=1).max() < 0.5


def test_a_membrane_lies_flat_and_in_the_middle():
    axis = np.arange(BOX) - BOX // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    for normal in Rotation.random(20, random_state=1).apply([0, 0, 1]):
        distance = x * normal[0] + y * normal[1] + z * normal[2] - 3
        matrix, centre = principal_frame(np.exp(-(distance**2) / 4), 1)
        assert abs(matrix[2] @ normal) > 0.999  # its normal becomes z
        assert centre @ normal == pytest.approx(3, abs=0.3)


def test_nothing_to_see_stays_as_it_is():
    matrix, centre = principal_frame(np.full((8, 8, 8), 3.0), 1)
    assert np.array_equal(matrix, np.eye(3)) and np.array_equal(centre, np.zeros(3))


def test_a_cube_cut_in_a_frame_is_the_object_drawn_in_it(scene):
    volume, places, turns, middles = scene
    clean = np.zeros_like(volume)
    for middle, turn in zip(middles, turns, strict=True):
        add_object(clean, middle, turn)
    matrix = Rotation.from_euler("xyz", [20, 40, 70], degrees=True).as_matrix()
    found = cut(clean, places[5][::-1], matrix, middles[5] - places[5], BOX)
    expected = np.zeros((BOX,) * 3, np.float32)
    add_object(expected, np.full(3, BOX // 2), matrix @ turns[5])
    assert np.abs(found - expected).max() < 0.02 * expected.max()
    straight = cut(volume, places[5][::-1], np.eye(3), np.zeros(3), BOX)
    x, y, z = places[5] - BOX // 2
    np.testing.assert_allclose(straight, volume[z : z + BOX, y : y + BOX, x : x + BOX], atol=1e-4)


def test_corners_of_a_turned_box_come_from_the_tomogram():
    tomogram = np.random.default_rng(0).normal(5, 1, (40, 40, 40)).astype(np.float32)
    tomogram[:, :, :9] = 100
    matrix = Rotation.from_euler("z", 45, degrees=True).as_matrix()
    cube = cut(tomogram, np.array([20, 20, 20]), matrix, np.zeros(3), 20)
    assert cube.max() > 90  # a straight box begins at 10
    tomogram[:, :, :9] = 5
    beyond = cut(tomogram, np.array([20, 20, 4]), matrix, np.zeros(3), 20)
    assert abs(beyond.mean() - 5) < 0.3 and np.isfinite(beyond).all()


def test_the_wedge_turns_with_the_box():
    rng = np.random.default_rng(2)
    noise = rng.standard_normal((48, 48, 48))
    mask = wedge_mask(48, -60, 50)
    filtered = np.fft.ifftn(np.fft.fftn(noise) * np.fft.ifftshift(mask)).real.astype(np.float32)
    tomogram = np.tile(filtered, (2, 2, 2))
    matrix = Rotation.from_euler("xyz", [30, -50, 80], degrees=True).as_matrix()
    cube = cut(tomogram, np.array([48, 48, 48]), matrix, np.zeros(3), 32)
    window = np.hanning(32)[:, None, None] * np.hanning(32)[None, :, None] * np.hanning(32)
    power = np.abs(np.fft.fftshift(np.fft.fftn(cube * window))) ** 2
    turned = turned_weight(wedge_mask(32, -60, 50), matrix)
    axis = np.arange(32) - 16
    radius = np.sqrt(sum(each**2 for each in np.meshgrid(axis, axis, axis, indexing="ij")))
    shell = (radius > 5) & (radius < 12)
    outside, inside = power[shell & (turned < 0.01)].mean(), power[shell & (turned > 0.99)].mean()
    assert outside < 0.05 * inside
    wrong = turned_weight(wedge_mask(32, -60, 50), matrix.T)
    assert power[shell & (wrong < 0.01)].mean() > 0.3 * power[shell & (wrong > 0.99)].mean()


def test_poses_go_to_the_tomogram_and_back():
    turns = Rotation.random(20, random_state=8).as_matrix()
    rng = np.random.default_rng(0)
    frames = CubeFrames(turns, rng.uniform(-4, 4, (20, 3)))
    again = CubeFrames.from_pose(*frames.pose())
    np.testing.assert_allclose(again.matrices, frames.matrices, atol=1e-9)
    np.testing.assert_allclose(again.centres_voxel, frames.centres_voxel, atol=1e-9)
    euler, origin = np.array([[30.0, 60, -20]] * 20), rng.uniform(-2, 2, (20, 3))
    angles, origins = frames.to_tomogram(euler, origin)
    point = np.array([1.0, -2.0, 0.5])  # of a map: A m - o in a box, turned and moved by the frame
    for number in range(20):
        in_cube = relion_matrix(euler[number]) @ point - origin[number]
        expected = turns[number].T @ in_cube + frames.centres_voxel[number]
        found = relion_matrix(angles[number]) @ point - origins[number]
        np.testing.assert_allclose(found, expected, atol=1e-9)


def test_cubes_of_one_object_become_alike(packed, folder, tmp_path):
    straight, _ = pack(folder, tmp_path / "straight", pose_normalise=False)

    def likeness(info):
        volumes = np.array([row["volume"].ravel() for row in read_packed(info)])
        return np.corrcoef(volumes)[np.triu_indices(len(volumes), 1)].mean()

    assert likeness(packed) > 0.95 > 0.8 > likeness(straight)
    assert packed.count == 12 and packed.wedge == "mask" and not packed.has_poses
    check_dataset(packed.path)


def test_records_have_rotation_and_shift(packed, scene):
    _, places, turns, middles = scene
    table = reopen_source(packed)
    columns = packed.load_table()
    rows = np.searchsorted(table.source_row, columns["source_row"])
    frames = table.frames.select(rows)
    euler, origin = frames.pose()
    number = 0
    for path in packed.shard_paths():
        for payload in read_records(path):
            features = decode_particle(payload, "").features
            np.testing.assert_allclose(features["frame_euler_deg"], euler[number], atol=1e-3)
            np.testing.assert_allclose(features["frame_shift_angstrom"], origin[number] * VOXEL, atol=1e-3)
            number += 1
    assert number == 12
    # the frame of each, seen from the object, is the same
    seen = [frame @ turns[row] for frame, row in zip(frames.matrices, rows, strict=True)]
    assert max(angle_between(each, seen[0]) for each in seen) < 5


def found_poses(packed, scene):
    """What a model that knows the object says of each record: its angles and origins (Å) in the cube."""
    _, places, turns, middles = scene
    table = reopen_source(packed)
    rows = np.searchsorted(table.source_row, packed.load_table()["source_row"])
    angles, origins = [], []
    for row in rows:
        frame, centre = table.frames.matrices[row], table.frames.centres_voxel[row]
        angles.append(relion_angles(frame @ turns[row]))
        origins.append(-frame @ (middles[row] - places[row] - centre) * VOXEL)
    angles, origins = np.array(angles), np.array(origins)
    columns = {f"rlnAngle{name}": angles[:, i] for i, name in enumerate(("Rot", "Tilt", "Psi"))}
    return columns | {f"rlnOrigin{axis}Angst": origins[:, i] for i, axis in enumerate("XYZ")}


@pytest.mark.parametrize("source", ["picks.star", "picks.csv"])
def test_poses_that_a_model_finds_are_written_for_the_tomogram(folder, scene, tmp_path, source):
    volume, places, turns, middles = scene
    info, _ = pack(folder, tmp_path / "rec", source)
    kind_of(info).write_columns(info, tmp_path / "found.star", found_poses(info, scene))
    for name in ("found.star", "found_relion5.star"):
        table = read_subtomograms(tmp_path / name, folder / "T.mrc")
        nearest = np.linalg.norm(places[:, None] - table.coordinates_voxel()[None], axis=2).argmin(axis=0)
        truth = middles[nearest]
        position = table.coordinates_voxel() - table.shift_angstrom() / VOXEL
        np.testing.assert_allclose(position, truth, atol=1e-3)
        for angles, number in zip(table.euler_deg(), nearest, strict=True):
            assert angle_between(relion_matrix(angles), turns[number]) < 0.01
        assert table.label.tolist() == [number % 2 for number in nearest]


def test_what_is_selected_has_the_frames_as_starting_poses(packed, folder, scene, tmp_path):
    from zoo.analysis.selection import read_source, write_selection

    _, _, turns, _ = scene
    columns = packed.load_table()
    record = SourceRecord.of(packed).to_text()
    assert json.loads(record)["options"]["pose_normalise"] is True
    table = read_source(record, columns["uid"], columns["source_row"])
    write_selection(table, columns["source_row"][:7], tmp_path / "c.star", {"zooCluster": np.arange(7)})
    chosen = read_subtomograms(tmp_path / "c.star", folder / "T.mrc")
    assert len(chosen) == 7 and chosen.frames is None
    # starting poses: A^T turns every box into the same view, so A^T times the true turn is one rotation
    rows = [int(np.flatnonzero(table.uid == uid)[0]) for uid in chosen.uid]
    views = [relion_matrix(a).T @ turns[row] for a, row in zip(chosen.euler_deg(), rows, strict=True)]
    assert max(angle_between(each, views[0]) for each in views) < 5
    # averaged from them, the boxes show the object: as alike as the cubes of the records
    frames = CubeFrames.from_pose(chosen.euler_deg(), chosen.shift_angstrom() / VOXEL)
    tomogram = scene[0]
    cubes = [
        cut(tomogram, place[::-1], matrix, centre, BOX).ravel()
        for place, matrix, centre in zip(
            chosen.coordinates_voxel(), frames.matrices, frames.centres_voxel, strict=True
        )
    ]
    assert np.corrcoef(cubes)[np.triu_indices(7, 1)].mean() > 0.9


def test_again_and_anew(folder, tmp_path):
    out = tmp_path / "rec"
    first, notes = pack(folder, out)
    assert any("angles and origins that bring it back" in note for note in notes)
    made = (out / STAR_NAME).stat().st_mtime_ns
    again, _ = pack(folder, out)
    assert again.table_crc32 == first.table_crc32 and (out / STAR_NAME).stat().st_mtime_ns == made
    with pytest.raises(ZooError, match="choose another folder, or start anew"):
        pack(folder, out, tilt_range_deg=(-40.0, 40.0))


def test_boxes_at_the_edge_and_what_is_refused(folder, scene, tmp_path):
    (folder / "edge.csv").write_text("x,y,z\n28,28,30\n12,49,30\n")
    with pytest.raises(ZooError, match="reach beyond their tomogram"):
        pack(folder, tmp_path / "refused", "edge.csv")
    assert not (tmp_path / "refused").exists()
    dropped, notes = pack(folder, tmp_path / "dropped", "edge.csv", outside="drop")
    assert dropped.count == 1 and any("turned boxes reach farther: 1 of 2 left out" in each for each in notes)
    clipped, _ = pack(folder, tmp_path / "clipped", "edge.csv", outside="clip")
    assert clipped.count == 2
    with pytest.raises(ZooError, match="give --tomogram"):
        pack_subtomograms(
            folder / "picks.star",
            tmp_path / "none",
            PackSettings(box=BOX),
            VolumeOptions(pose_normalise=True),
        )
    assert not (tmp_path / "none").exists()


def test_poses_of_the_file_give_way_and_it_is_told(packed, folder, tmp_path):
    (folder / "posed.csv").write_text(
        "x,y,z,rot,tilt,psi\n28,28,30,10,20,30\n70,28,30,1,2,3\n112,28,30,4,5,6\n"
    )
    info, notes = pack(folder, tmp_path / "posed", "posed.csv")
    assert any("poses of 3 of 3 rows give way" in note for note in notes)
    assert not info.has_poses


def test_frames_do_not_depend_on_their_order(folder):
    table = read_subtomograms(folder / "picks.star", folder / "T.mrc")
    whole = find_frames(VolumeReader(table, BOX), 1)
    part = find_frames(VolumeReader(table.select([7, 2]), BOX), 1)
    np.testing.assert_array_equal(part.matrices, whole.matrices[[7, 2]])


def test_a_moved_set_brings_its_frames_along(folder, scene, tmp_path):
    from zoo.analysis.columns import write_columns

    pack(folder, tmp_path / "rec")
    (tmp_path / "rec").rename(tmp_path / "moved")
    info = DatasetInfo.load(tmp_path / "moved")
    assert len(reopen_source(info).frames) == 12
    found = found_poses(info, scene)
    (tmp_path / "moved" / STAR_NAME).unlink()
    said = write_columns(info, tmp_path / "bare.star", found | {"rlnClassNumber": np.ones(12, int)})
    text = (tmp_path / "bare.star").read_text()
    assert "no poses" in said and "rlnAngleRot" not in text and "rlnOriginXAngst" not in text
    assert "rlnClassNumber" in text and "rlnCoordinateX" in text


def test_info_of_the_set_reads_back(packed):
    assert DatasetInfo.load(packed.path).source["options"]["pose_normalise"] is True
