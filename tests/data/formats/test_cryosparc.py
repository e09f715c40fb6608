"""cryoSPARC files: signs and units against independent formulas, columns kept, code in files refused."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.linalg
from numpy.lib.recfunctions import repack_fields
from scipy.spatial.transform import Rotation

from zoo.data.formats.cryosparc import euler_from_pose, pose_from_euler, read_cs_array
from zoo.data.formats.mrc import write_stack
from zoo.data.particles import read_particles, write_particles
from zoo.errors import ZooError

PARTS = ("blob/", "location/")


def relion_matrix(rot_deg, tilt_deg, psi_deg) -> np.ndarray:
    """RELION's Euler_angles2matrix, element by element (its source, euler.cpp)."""
    a, b, g = np.radians([rot_deg, tilt_deg, psi_deg])
    ca, cb, cg, sa, sb, sg = np.cos(a), np.cos(b), np.cos(g), np.sin(a), np.sin(b), np.sin(g)
    return np.array(
        [
            [cg * cb * ca - sg * sa, cg * cb * sa + sg * ca, -cg * sb],
            [-sg * cb * ca - cg * sa, -sg * cb * sa + cg * ca, sg * sb],
            [sb * ca, sb * sa, cb],
        ]
    )


def matrix_of_vector(vector) -> np.ndarray:
    x, y, z = vector
    return scipy.linalg.expm(np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]))


@pytest.fixture
def cs(tmp_path):
    """Twelve particles in two stacks with every column that the reader knows."""
    rng = np.random.default_rng(6)
    for name in ("a", "b"):
        write_stack(tmp_path / f"{name}.mrc", rng.normal(size=(6, 8, 8)), 2.0)
    array = np.zeros(12, dtype=[
        ("uid", "<u8"), ("blob/path", "S20"), ("blob/idx", "<u4"), ("blob/shape", "<u4", (2,)),
        ("blob/psize_A", "<f4"), ("blob/sign", "<f4"), ("ctf/exp_group_id", "<u4"), ("ctf/accel_kv", "<f4"),
        ("ctf/cs_mm", "<f4"), ("ctf/amp_contrast", "<f4"), ("ctf/df1_A", "<f4"), ("ctf/df2_A", "<f4"),
        ("ctf/df_angle_rad", "<f4"), ("ctf/phase_shift_rad", "<f4"), ("alignments3D/split", "<u4"),
        ("alignments3D/shift", "<f4", (2,)), ("alignments3D/pose", "<f4", (3,)),
        ("alignments3D/psize_A", "<f4"), ("location/micrograph_uid", "<u8"),
    ])  # fmt: skip
    array["uid"] = rng.integers(1 << 63, (1 << 64) - 1, 12, dtype=np.uint64)
    array["blob/path"] = [b">a.mrc", b"b.mrc"] * 6
    array["blob/idx"] = np.arange(12) // 2
    array["blob/shape"], array["blob/psize_A"], array["blob/sign"] = 8, 2.0, -1
    array["ctf/accel_kv"], array["ctf/cs_mm"], array["ctf/amp_contrast"] = 300, 2.7, 0.1
    array["ctf/df1_A"], array["ctf/df2_A"] = rng.uniform(1e4, 2e4, (2, 12))
    array["ctf/df_angle_rad"] = rng.uniform(-2, 2, 12)
    array["ctf/phase_shift_rad"] = np.pi / 2
    array["ctf/exp_group_id"] = [0, 3] * 6
    array["alignments3D/split"] = np.arange(12) % 3 == 0
    array["alignments3D/shift"] = rng.normal(size=(12, 2))
    array["alignments3D/pose"] = Rotation.random(12, random_state=7).as_rotvec()
    array["alignments3D/psize_A"] = 4.0
    array["location/micrograph_uid"] = np.arange(12)
    path = tmp_path / "P1_J7_particles.cs"
    with open(path, "wb") as file:
        np.save(file, array)
    return path


def save(path, array):
    with open(path, "wb") as file:
        np.save(file, array)


def test_pose_is_the_inverse_of_relions_matrix():
    vectors = Rotation.random(200, random_state=8).as_rotvec()
    angles = euler_from_pose(vectors)
    for vector, euler in zip(vectors, angles, strict=True):
        np.testing.assert_allclose(matrix_of_vector(vector).T, relion_matrix(*euler), atol=1e-12)
    ours = Rotation.from_euler("ZYZ", angles, degrees=True).inv().as_matrix()
    np.testing.assert_allclose(ours, Rotation.from_rotvec(vectors).inv().as_matrix(), atol=1e-12)
    back = Rotation.from_rotvec(pose_from_euler(angles)).as_matrix()
    np.testing.assert_allclose(back, Rotation.from_rotvec(vectors).as_matrix(), atol=1e-12)


@pytest.mark.filterwarnings("error")
def test_poses_at_the_poles_are_right_and_silent():
    angles = np.array([[30.0, 0.0, 40.0], [10.0, 180.0, 20.0], [0.0, 0.0, 0.0]])
    back = euler_from_pose(pose_from_euler(angles))
    for before, after in zip(angles, back, strict=True):
        np.testing.assert_allclose(relion_matrix(*before), relion_matrix(*after), atol=1e-7)


def test_units_and_signs(cs):
    array, table = read_cs_array(cs), read_particles(cs)
    assert table.image_names()[:3] == ["000001@a.mrc", "000001@b.mrc", "000002@a.mrc"]
    np.testing.assert_array_equal(table.uid, array["uid"])
    np.testing.assert_allclose(table.defocus_angle_deg, array["ctf/df_angle_rad"] / np.pi * 180, rtol=1e-6)
    np.testing.assert_allclose(table.phase_shift_deg, 90, rtol=1e-6)
    np.testing.assert_allclose(table.shift_angstrom(), array["alignments3D/shift"] * 4.0, rtol=1e-6)
    np.testing.assert_array_equal(table.random_subset, array["alignments3D/split"] + 1)
    np.testing.assert_array_equal(table.optics_group, array["ctf/exp_group_id"])
    assert (table.bfactor_angstrom2 == 0).all() and (table.ctf_scale == 1).all()
    assert table.source.stated_contrast_sign == -1
    assert (table.label == -1).all()


@pytest.mark.parametrize("given", [True, False])
def test_passthrough_is_joined_on_uid(cs, tmp_path, given):
    whole, array = read_particles(cs), read_cs_array(cs)
    names = [name for name in array.dtype.names if name != "uid"]
    aside = [name for name in names if name.startswith(PARTS)]
    main = array[["uid", *[name for name in names if name not in aside]]].copy()
    extra = array[["uid", *aside]].copy()[np.random.default_rng(9).permutation(12)]
    path = tmp_path / "P1_J9_particles.cs"
    save(path, repack_fields(main))
    save(tmp_path / "P1_J9_passthrough_particles.cs", repack_fields(extra))
    save(tmp_path / "P1_J99_passthrough_particles.cs", np.zeros(1, dtype=[("uid", "u8")]))  # of another job
    table = read_particles(path, [str(tmp_path / "P1_J9_passthrough_particles.cs")] if given else None)
    for name, values in table.columns().items():
        np.testing.assert_array_equal(values, getattr(whole, name), err_msg=name)
    assert table.stack_paths == whole.stack_paths
    write_particles(table.select([5, 1]), tmp_path / "joined.cs")
    written = read_cs_array(tmp_path / "joined.cs")
    assert set(written.dtype.names) == set(array.dtype.names)
    for name in array.dtype.names:
        np.testing.assert_array_equal(written[name], array[name][[5, 1]], err_msg=name)


def test_a_passthrough_that_lacks_particles_is_refused(cs, tmp_path):
    array = read_cs_array(cs)
    save(tmp_path / "short.cs", array[["uid", "location/micrograph_uid"]].copy()[3:])
    with pytest.raises(ZooError, match=rf"row 1: uid {array['uid'][0]} is not in .*3 of 12"):
        read_particles(cs, [str(tmp_path / "short.cs")])


def test_missing_images_ask_for_the_passthrough(cs, tmp_path):
    save(tmp_path / "P1_J8_particles.cs", read_cs_array(cs)[["uid", "ctf/df1_A"]].copy())
    with pytest.raises(ZooError, match="column blob/path is missing; give the job's passthrough"):
        read_particles(tmp_path / "P1_J8_particles.cs")


def test_selection_goes_back_bit_by_bit(cs, tmp_path):
    array = read_cs_array(cs)
    write_particles(
        read_particles(cs).select([7, 7, 0]), tmp_path / "out.cs",
        {"zooCluster": np.array([1, 1, 2]), "zooName": ["ä", "b", "c"]},
    )  # fmt: skip
    written = read_cs_array(tmp_path / "out.cs")
    assert written.dtype.names == (*array.dtype.names, "zooCluster", "zooName")
    for name in array.dtype.names:
        assert written.dtype[name] == array.dtype[name]
        np.testing.assert_array_equal(written[name], array[name][[7, 7, 0]], err_msg=name)
    assert written["zooCluster"].tolist() == [1, 1, 2]
    assert written["zooName"][0].decode() == "ä"


def test_cs_to_star_and_back_equals_the_table(cs, tmp_path):
    table = read_particles(cs).select(np.arange(12)[::-1])
    write_particles(table, tmp_path / "crossed.star")
    star = read_particles(tmp_path / "crossed.star")
    for name, values in star.columns().items():
        if name not in ("source_row", "stack_index"):
            np.testing.assert_array_equal(values, getattr(table, name), err_msg=name)
    assert star.image_names() == table.image_names()
    write_particles(star, tmp_path / "back.cs")
    back = read_particles(tmp_path / "back.cs")
    for name, values in back.columns().items():
        if name not in ("source_row", "stack_index", "rot_deg", "tilt_deg", "psi_deg"):
            np.testing.assert_allclose(values, getattr(table, name), rtol=2e-7, err_msg=name)
    angles = [Rotation.from_euler("ZYZ", t.euler_deg(), degrees=True) for t in (back, table)]
    assert (angles[0].inv() * angles[1]).magnitude().max() < 1e-6


class _Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_python_objects_are_refused_and_never_run(tmp_path):
    array = np.empty(1, dtype=[("uid", "<u8"), ("blob/path", object)])
    array["blob/path"][0] = _Bomb(str(tmp_path / "exploded"))
    save(tmp_path / "bomb.cs", array)
    (tmp_path / "pickle.cs").write_bytes(pickle.dumps(_Bomb(str(tmp_path / "exploded"))))
    with pytest.raises(ZooError, match="holds Python objects.*refused"):
        read_particles(tmp_path / "bomb.cs")
    with pytest.raises(ZooError, match="not a .cs file"):
        read_particles(tmp_path / "pickle.cs")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("size", [0, 5, 60, 400, -1])
def test_truncated_files(cs, size):
    raw = cs.read_bytes()
    cs.write_bytes(raw[:size])
    with pytest.raises(ZooError, match="not a .cs file|damaged .cs file"):
        read_particles(cs)


def test_arrays_without_names_or_uid(tmp_path):
    save(tmp_path / "plain.cs", np.zeros((3, 3)))
    with pytest.raises(ZooError, match="expected a table with named columns"):
        read_particles(tmp_path / "plain.cs")
    save(tmp_path / "nouid.cs", np.zeros(3, dtype=[("blob/idx", "u4")]))
    with pytest.raises(ZooError, match="column uid is missing"):
        read_particles(tmp_path / "nouid.cs")


@pytest.mark.shared_data
def test_a_real_file_and_its_star_give_equal_tables(shared_data):
    folder = shared_data / "particles" / "empiar_10076_7"
    cs, star = read_particles(folder / "empiar_10076_7.cs"), read_particles(folder / "empiar_10076_7.star")
    assert cs.stack_paths == star.stack_paths
    for name, values in cs.columns().items():
        if name not in ("uid", "optics_group"):
            np.testing.assert_allclose(values, getattr(star, name), rtol=3e-7, err_msg=name)
    assert cs.source.stated_contrast_sign == -1  # its README says dark too


@pytest.mark.shared_data
def test_a_real_refinement_goes_back_bit_by_bit(shared_data, tmp_path):
    path = shared_data / "particles" / "cryosparc_cs" / "cryosparc_P12_J24_001_particles.cs"
    array, table = read_cs_array(path), read_particles(path)
    assert len(table) == 2019 and table.pixel_size_angstrom[0] == np.float32(2.95)
    chosen = np.random.default_rng(10).choice(2019, 300, replace=False)
    write_particles(table.select(chosen), tmp_path / "out.cs")
    written = read_cs_array(tmp_path / "out.cs")
    for name in array.dtype.names:
        np.testing.assert_array_equal(written[name], array[name][chosen], err_msg=name)
    again = read_particles(tmp_path / "out.cs")
    assert again.image_names() == table.select(chosen).image_names()
    for row in range(0, 2019, 100):
        expected = matrix_of_vector(array["alignments3D/pose"][row].astype(float)).T
        np.testing.assert_allclose(relion_matrix(*table.euler_deg()[row]), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("column", "dtype", "value"),
    [
        ("uid", "S8", b"a"),
        ("uid", ("<u8", (2,)), 1),
        ("blob/path", ("S9", (2,)), b"a"),
        ("blob/psize_A", "S4", b"1"),
        ("ctf/df1_A", "S4", b"1"),
        ("alignments3D/pose", ("<f4", (2,)), 0),
        ("alignments3D/pose", "<f4", 0),
        ("alignments3D/split", "<f4", 0),
    ],
)
def test_a_column_of_another_type_is_refused(tmp_path, column, dtype, value):
    columns = {"uid": "<u8", "blob/path": "S20", "blob/idx": "<u4", column: dtype}
    types = [(name, *(kind if isinstance(kind, tuple) else (kind,))) for name, kind in columns.items()]
    array = np.zeros(2, types)
    array[column] = value
    with open(tmp_path / "p.cs", "wb") as file:
        np.save(file, array)
    with pytest.raises(ZooError, match=f"p.cs: column {column} holds .*expected"):
        read_particles(tmp_path / "p.cs")


def test_a_path_that_is_no_text_is_refused(tmp_path):
    array = np.zeros(2, [("uid", "<u8"), ("blob/path", "S20"), ("blob/idx", "<u4")])
    array["blob/path"] = [b"good.mrcs", b"caf\xe9.mrcs"]
    with open(tmp_path / "p.cs", "wb") as file:
        np.save(file, array)
    with pytest.raises(ZooError, match="p.cs: row 2: blob/path .*UTF-8"):
        read_particles(tmp_path / "p.cs")
