"""pack(write_back(x)) == x: what is written reads back as what was packed, for every format and option."""

import json
from dataclasses import replace

import numpy as np
import pytest
import starfile

from zoo.data.formats.mrc import write_stack, write_volume
from zoo.data.formats.subtomogram_star_write import write_subtomograms
from zoo.data.formats.volumes import VolumeReader
from zoo.data.info import DatasetInfo
from zoo.data.packing.pack_particles import pack_particles
from zoo.data.packing.pack_subtomograms import OWN_BOX, VolumeOptions, pack_subtomograms
from zoo.data.packing.shards import PackSettings
from zoo.data.particles import columns_left_behind, read_particles, write_particles
from zoo.data.reopen import SourceRecord, reopen_source
from zoo.data.subtomograms import read_subtomograms
from zoo.data.wedge import wedge_mask
from zoo.errors import ZooError

BOX, COUNT, VOXEL = 8, 4, 10.0
POSES = "109.8 52.0 5.5", "-32.9 155.4 -162.4", "-23.4 18.4 143.1", "63.6 151.4 20.0"

WARP = """data_

loop_
_rlnMicrographName
_rlnCoordinateX
_rlnCoordinateY
_rlnCoordinateZ
_rlnMagnification
_rlnDetectorPixelSize
_rlnImageName
_rlnAngleRot
_rlnAngleTilt
_rlnAnglePsi
_rlnOriginX
_rlnOriginY
_rlnOriginZ
_rlnVoltage
_rlnSphericalAberration
_rlnRandomSubset
_wrpKept
"""
RELION5 = """# version 50001

data_general

_rlnTomoSubTomosAre2DStacks  0

# version 50001

data_optics

loop_
_rlnOpticsGroup
_rlnOpticsGroupName
_rlnSphericalAberration
_rlnVoltage
_rlnAmplitudeContrast
_rlnTomoTiltSeriesPixelSize
_rlnTomoSubtomogramBinning
_rlnCtfDataAreCtfPremultiplied
_rlnImagePixelSize
_rlnImageSize
_rlnImageDimensionality
1 opticsGroup1 2.7 300 0.1 1.25 8 0 10.0 8 3

# version 50001

data_particles

loop_
_rlnTomoName
_rlnTomoParticleName
_rlnCenteredCoordinateXAngst
_rlnCenteredCoordinateYAngst
_rlnCenteredCoordinateZAngst
_rlnTomoSubtomogramRot
_rlnAngleRot
_rlnAngleTilt
_rlnAnglePsi
_rlnOriginXAngst
_rlnOriginYAngst
_rlnOriginZAngst
_rlnImageName
_rlnOpticsGroup
_rlnRandomSubset
"""
PICKS = """data_optics

loop_
_rlnOpticsGroup
_rlnTomoTiltSeriesPixelSize
1 5.0

data_particles

loop_
_rlnTomoName
_rlnCoordinateX
_rlnCoordinateY
_rlnCoordinateZ
_rlnAngleRot
_rlnAngleTilt
_rlnAnglePsi
_rlnOriginXAngst
_rlnOpticsGroup
_rlnRandomSubset
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Volumes, a tomogram and a mask, with one source of every format."""
    place = tmp_path_factory.mktemp("source")
    rng = np.random.default_rng(0)
    (place / "sub").mkdir()
    for number in range(COUNT):
        write_volume(place / f"sub/p{number + 1}.mrc", rng.normal(size=(BOX,) * 3).astype(np.float32), VOXEL)
    write_volume(place / "TS_01.mrc", rng.normal(size=(24, 26, 28)).astype(np.float32), VOXEL)
    write_volume(place / "mask.mrc", wedge_mask(BOX, -40, 55), VOXEL)
    rows = range(COUNT)
    (place / "warp.star").write_text(
        WARP
        + "".join(
            f"TS_1.tomostar {100 + i} {200 + i} 50 10000 10.0 sub/p{i + 1}.mrc {POSES[i]} "
            f"{0.25 * i} -0.5 {0.1 * i} 300 2.7 {1 + i // 2} kept{i}\n"
            for i in rows
        )
    )
    (place / "relion5.star").write_text(
        RELION5
        + "".join(
            f"TS_0{1 + i // 2} TS_0{1 + i // 2}/{1 + i % 2} {-300.5 + i} 0.0 {-1.25 * i} {10.0 * i} "
            f"{POSES[i]} {1.5 * i} 2.0 -3.0 sub/p{i + 1}.mrc 1 {1 + i // 2}\n"
            for i in rows
        )
    )
    (place / "picks.star").write_text(
        PICKS
        + "".join(
            f"{'TS_02' if i == 1 else 'TS_01'} {20.5 + 2.3 * i} 24.0 {21.25 + i} {POSES[i]} {3.0 * i} 1 "
            f"{1 + i // 2}\n"
            for i in rows
        )
    )
    centred = RELION5.replace("_rlnImageName\n", "").replace(" 8 0 10.0 8 3", " 8 0 10.0 8 3")
    (place / "centred.star").write_text(
        centred
        + "".join(
            f"TS_01 TS_01/{i + 1} {-33.3 + 10 * i} 12.5 {-1.25 * i} 0 {POSES[i]} 1.0 2.0 -3.0 1 {1 + i % 2}\n"
            for i in rows
        )
    )
    places = [(10 + i, 12.25, 11.0 + 0.4 * i) for i in rows]
    lines = [f"{x},{y},{z},{POSES[i].replace(' ', ',')},{i % 2}" for i, (x, y, z) in enumerate(places)]
    (place / "picks.csv").write_text("x,y,z,rot,tilt,psi,label\n" + "\n".join(lines) + "\n")
    points = [{"location": dict(zip("xyz", (VOXEL * v for v in each), strict=True))} for each in places]
    (place / "picks.json").write_text(json.dumps({"run_name": "TS_01", "points": points}))
    return place


SOURCES = ("warp.star", "relion5.star", "sub", "picks.star", "centred.star", "picks.csv", "picks.json")
OPTIONS = {
    "none": {},
    "tilts": {"tilt_range_deg": (-50, 40)},
    "wedge": {"wedge": "mask.mrc"},
    "pixel": {"pixel_size_angstrom": 12.5},
}


def is_places(name):
    return name.startswith(("picks", "centred"))


def read(folder, name, option):
    given = dict(OPTIONS[option])
    if "wedge" in given:
        given["wedge"] = folder / given["wedge"]
    if is_places(name):
        given["tomogram"] = folder / "TS_01.mrc"
    return read_subtomograms(folder / name, **given)


def read_back(path, table):
    given = {}
    if table.source.options.get("tomogram"):
        given["tomogram"] = table.source.options["tomogram"]
        if "pixel_size_angstrom" in table.source.options:  # of the tomogram, whose header says another
            given["pixel_size_angstrom"] = table.source.options["pixel_size_angstrom"]
    return read_subtomograms(path, **given)


def assert_same(found, table, poses=True):
    assert len(found) == len(table)
    for name in ("uid", "random_subset", "label"):
        np.testing.assert_array_equal(getattr(found, name), getattr(table, name), err_msg=name)
    np.testing.assert_allclose(found.pixel_size_angstrom, table.pixel_size_angstrom)
    np.testing.assert_array_equal(found.coordinates_voxel(), table.coordinates_voxel())
    if poses:
        np.testing.assert_allclose(found.euler_deg(), table.euler_deg(), atol=1e-9)
        np.testing.assert_allclose(found.shift_angstrom(), table.shift_angstrom(), atol=1e-6)
    one, two = VolumeReader(found, BOX), VolumeReader(table, BOX)
    np.testing.assert_array_equal(one.read(slice(None)), two.read(slice(None)))
    for index in range(len(table)):
        np.testing.assert_array_equal(one.wedge(index, BOX), two.wedge(index, BOX))


@pytest.mark.parametrize("relion5", [False, True])
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", SOURCES)
def test_subtomograms_read_back_as_they_were(folder, tmp_path, name, option, relion5):
    table = read(folder, name, option)
    part = table.select([2, 0] if len(table) < 4 else [3, 0, 2])
    write_subtomograms(part, tmp_path / "out" / "back.star", relion5=relion5)
    assert_same(read_back(tmp_path / "out" / "back.star", table), part)


@pytest.mark.parametrize("relion5", [False, True])
@pytest.mark.parametrize("option", ["none", "pixel"])
@pytest.mark.parametrize("name", SOURCES)
def test_new_poses_are_what_is_read(folder, tmp_path, name, option, relion5):
    """Poses found in the boxes, as faml writes them: with places the origins count from those."""
    table = read(folder, name, option)
    rng = np.random.default_rng(3)
    euler = rng.uniform(1, 179, (len(table), 3))
    shift = rng.uniform(-20, 20, (len(table), 3))
    columns = {f"rlnAngle{axis}": euler[:, i] for i, axis in enumerate(("Rot", "Tilt", "Psi"))}
    columns |= {f"rlnOrigin{axis}Angst": shift[:, i] for i, axis in enumerate("XYZ")}
    write_subtomograms(table, tmp_path / "back.star", extra_columns=columns, relion5=relion5)
    back = read_back(tmp_path / "back.star", table)
    np.testing.assert_allclose(back.euler_deg(), euler)
    np.testing.assert_allclose(back.shift_angstrom(), shift, atol=1e-6)
    assert_same(back, table, poses=False)
    frame = back.source.blocks[back.source.particle_block]
    assert not {"rlnOriginX", "rlnOriginY", "rlnOriginZ"} & set(frame)


def test_every_column_stays_and_so_do_the_rows(folder, tmp_path):
    for name in ("relion5.star", "warp.star"):
        table = read(folder, name, "none")
        columns = {f"rlnOrigin{axis}Angst": np.full(COUNT, 5.5) for axis in "XYZ"}
        write_subtomograms(table, tmp_path / name, extra_columns=columns, relion5=name == "relion5.star")
        before, after = (
            starfile.read(path / name, always_dict=True, parse_as_string=["rlnTomoParticleName"])
            for path in (folder, tmp_path)
        )
        old = before.get("particles", before.get(""))
        new = after["particles"]
        moved = {"rlnOriginX", "rlnOriginY", "rlnOriginZ", "rlnVoltage", "rlnSphericalAberration",
                 "rlnMagnification", "rlnDetectorPixelSize", *columns}  # fmt: skip
        for column in old:
            if column not in moved:
                assert list(map(str, new[column])) == list(map(str, old[column])), column
    for column in before.get("optics", []):
        assert list(after["optics"][column]) == list(before["optics"][column])
    assert float(after["optics"]["rlnImagePixelSize"].iloc[0]) == VOXEL
    assert int(after["optics"]["rlnImageSize"].iloc[0]) == BOX


def test_centred_coordinates_are_made_where_they_are_known_and_not_made_up(folder, tmp_path):
    write_subtomograms(read(folder, "picks.csv", "none"), tmp_path / "a.star", relion5=True)
    particles = starfile.read(tmp_path / "a.star", always_dict=True)["particles"]
    # middle of 28 x 26 x 24 voxels of 10 Å; rounded places, the rest is in the origins
    np.testing.assert_allclose(particles["rlnCenteredCoordinateXAngst"], [-40, -30, -20, -10])
    np.testing.assert_allclose(particles["rlnOriginYAngst"], -2.5)
    assert set(particles["rlnTomoName"]) == {"TS_01"}
    write_subtomograms(read(folder, "sub", "none"), tmp_path / "b.star", relion5=True)
    particles = starfile.read(tmp_path / "b.star", always_dict=True)["particles"]
    assert not [name for name in particles if "Coordinate" in name]


def test_premultiplied_stays(folder, tmp_path):
    table = read(folder, "warp.star", "none")
    table.premultiplied = True
    write_subtomograms(table, tmp_path / "a.star", relion5=True)
    assert read_subtomograms(tmp_path / "a.star").premultiplied


def moved_copy(folder, tmp_path, *names):
    import shutil

    new = tmp_path / "archive"
    new.mkdir()
    for name in names:
        if (folder / name).is_dir():
            shutil.copytree(folder / name, new / name)
        else:
            shutil.copy(folder / name, new / name)
    return new


def test_volumes_that_moved(folder, tmp_path):
    table = read(folder, "relion5.star", "none")
    new = moved_copy(folder, tmp_path, "sub")
    (tmp_path / "lone.star").write_text((folder / "relion5.star").read_text())
    with pytest.raises(ZooError, match="p1.mrc not found"):
        VolumeReader(read_subtomograms(tmp_path / "lone.star"))
    again = read_subtomograms(tmp_path / "lone.star", stacks=new)
    assert_same(again, table)
    (tmp_path / "elsewhere").mkdir()
    write_subtomograms(again, tmp_path / "elsewhere" / "back.star")
    assert_same(read_subtomograms(tmp_path / "elsewhere" / "back.star"), table)
    with pytest.raises(ZooError, match="--stacks .*no such folder"):
        read_subtomograms(tmp_path / "lone.star", stacks=tmp_path / "none")


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", SOURCES)
def test_packed_sets_reopen_their_source(folder, tmp_path, name, option):
    given = OPTIONS[option]
    options = VolumeOptions(
        tomogram=str(folder / "TS_01.mrc") if is_places(name) else None,
        wedge=str(folder / "mask.mrc") if "wedge" in given else None,
        tilt_range_deg=given.get("tilt_range_deg"),
    )
    settings = PackSettings(
        box=BOX if is_places(name) else OWN_BOX,
        normalisation="none",
        contrast=1,
        pixel_size_angstrom=given.get("pixel_size_angstrom"),
    )
    pack_subtomograms(folder / name, tmp_path / "packed", settings, options, processes=1)
    info = DatasetInfo.load(tmp_path / "packed")
    assert_same(reopen_source(info), read(folder, name, option))
    again = SourceRecord.from_text(SourceRecord.of(info).to_text())
    assert again == SourceRecord.of(info)
    older = replace(info, source={key: info.source[key] for key in ("path", "format", "checksum")})
    if is_places(name):
        with pytest.raises(ZooError, match="did not keep the options .* pack the data set again: "):
            reopen_source(older)


STAR31 = """data_optics

loop_
_rlnOpticsGroup
_rlnOpticsGroupName
_rlnVoltage
_rlnSphericalAberration
_rlnAmplitudeContrast
_rlnImagePixelSize
_rlnImageSize
_rlnImageDimensionality
1 opticsGroup1 300 2.7 0.1 2.0 8 2

data_particles

loop_
_rlnImageName
_rlnOpticsGroup
_rlnDefocusU
_rlnDefocusV
_rlnDefocusAngle
_rlnAngleRot
_rlnAngleTilt
_rlnAnglePsi
_rlnOriginXAngst
_rlnOriginYAngst
_rlnRandomSubset
_rlnGroupName
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A project with a stack under three names: of a STAR, of a .cs with a passthrough elsewhere, bare."""
    place = tmp_path_factory.mktemp("project")
    stack = np.random.default_rng(1).normal(size=(COUNT, BOX, BOX)).astype(np.float32)
    for name in ("J4/extract/m1.mrc", "job1/m1.mrcs", "bare.st"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        write_stack(place / name, stack, 2.0)
    rows = "".join(
        f"{i + 1:06d}@job1/m1.mrcs 1 {12000 + i} {11000 + i} {10.0 * i} {POSES[i]} "
        f"{0.5 * i} 1.0 {1 + i % 2} m{i}\n"
        for i in range(COUNT)
    )
    (place / "a.star").write_text(STAR31 + rows)
    (place / "J9").mkdir()
    uid = np.array([11, 2**63 + 5, 17, 3], np.uint64)
    images = np.zeros(COUNT, [("uid", "u8"), ("alignments3D/pose", "f4", 3), ("alignments3D/shift", "f4", 2),
                              ("alignments3D/psize_A", "f4"), ("alignments3D/split", "u4")])  # fmt: skip
    images["uid"], images["alignments3D/psize_A"] = uid, 2.0
    images["alignments3D/pose"] = np.random.default_rng(2).normal(size=(COUNT, 3))
    images["alignments3D/shift"] = [[1, 2], [0.5, 0], [0, 0], [-1, 3]]
    images["alignments3D/split"] = [0, 1, 1, 0]
    np.save(place / "J9/selected.npy", images)
    (place / "J9/selected.npy").rename(place / "J9/selected.cs")
    blob = np.zeros(COUNT, [("uid", "u8"), ("blob/path", "S40"), ("blob/idx", "u4"), ("blob/psize_A", "f4"),
                            ("blob/sign", "f4"), ("ctf/df1_A", "f4"), ("ctf/df2_A", "f4"),
                            ("ctf/df_angle_rad", "f4"), ("ctf/accel_kv", "f4"), ("ctf/cs_mm", "f4"),
                            ("ctf/amp_contrast", "f4"), ("ctf/tetra_A", "f4", 4)])  # fmt: skip
    blob["uid"], blob["blob/path"], blob["blob/psize_A"] = uid[::-1], b">J4/extract/m1.mrc", 2.0
    blob["blob/idx"], blob["blob/sign"] = np.arange(COUNT)[::-1], -1
    blob["ctf/df1_A"], blob["ctf/df2_A"], blob["ctf/accel_kv"] = 12000, 11500, 300
    blob["ctf/cs_mm"], blob["ctf/amp_contrast"] = 2.7, 0.1
    np.save(place / "J4/extracted.npy", blob)
    (place / "J4/extracted.npy").rename(place / "J4/extracted.cs")
    return place


IMAGE_SOURCES = {
    "a.star": {},
    "J9/selected.cs": {"passthrough": ["J4/extracted.cs"]},
    "bare.st": {},
}


def image_options(images, name, pixel):
    given = {key: [str(images / file) for file in files] for key, files in IMAGE_SOURCES[name].items()}
    return {**given, **({"pixel_size_angstrom": 3.5} if pixel else {})}


@pytest.mark.parametrize("suffix", [".star", ".cs"])
@pytest.mark.parametrize("where", [".", "out"])
@pytest.mark.parametrize("pixel", [False, True])
@pytest.mark.parametrize("name", IMAGE_SOURCES)
def test_particles_read_back_as_they_were(images, tmp_path, name, pixel, where, suffix):
    from zoo.data.formats.images import ImageReader

    table = read_particles(images / name, **image_options(images, name, pixel))
    part = table.select([2, 0, 3])
    out = (images if where == "." else tmp_path) / f"back{suffix}"
    write_particles(part, out)
    back = read_particles(out)
    out.unlink()
    for column in ("uid", "random_subset", "label", "row_in_stack"):
        np.testing.assert_array_equal(getattr(back, column), getattr(part, column), err_msg=column)
    np.testing.assert_allclose(back.pixel_size_angstrom, part.pixel_size_angstrom)
    if name != "bare.st":
        np.testing.assert_allclose(back.ctf(), part.ctf(), rtol=1e-6)
    else:  # RELION wants a voltage of every file
        assert np.isnan(back.defocus_u_angstrom).all()
    np.testing.assert_allclose(back.shift_angstrom(), part.shift_angstrom(), atol=1e-5)
    np.testing.assert_allclose(back.euler_deg(), part.euler_deg(), atol=1e-3)
    np.testing.assert_array_equal(ImageReader(back).read([0, 1, 2]), ImageReader(part).read([0, 1, 2]))


@pytest.mark.parametrize("name", IMAGE_SOURCES)
def test_packed_particles_reopen_their_source(images, tmp_path, name):
    given = image_options(images, name, True)
    size = given.pop("pixel_size_angstrom")
    settings = PackSettings(box=BOX, contrast=1, pixel_size_angstrom=size)
    pack_particles(images / name, tmp_path / "packed", settings, processes=1, **given)
    table = reopen_source(DatasetInfo.load(tmp_path / "packed"))
    assert set(table.pixel_size_angstrom) == {3.5} and len(table) == COUNT
    assert np.isfinite(table.ctf()).all() == (name != "bare.st")


def test_columns_that_do_not_travel_are_named(images):
    table = read_particles(images / "J9/selected.cs", [str(images / "J4/extracted.cs")])
    assert columns_left_behind(table, "x.star") == ["blob/sign", "ctf/tetra_A"]
    assert columns_left_behind(table, "x.cs") == []
    assert columns_left_behind(read_particles(images / "a.star"), "x.cs") == ["rlnGroupName"]


def test_stacks_that_moved(images, tmp_path):
    new = tmp_path / "archive"
    new.mkdir()
    (new / "m1.mrcs").write_bytes((images / "job1/m1.mrcs").read_bytes())
    (tmp_path / "lone.star").write_text((images / "a.star").read_text())
    table = read_particles(tmp_path / "lone.star", stacks=new)
    assert table.stack_paths == [str(new / "m1.mrcs")]
    write_particles(table, tmp_path / "back.star")
    back = read_particles(tmp_path / "back.star")
    assert back.stack_paths == table.stack_paths
    np.testing.assert_array_equal(back.uid, read_particles(images / "a.star").uid)


def relion(folder, *words):
    import subprocess

    done = subprocess.run([*map(str, words)], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def reconstructed(folder, star, *more):
    from zoo.data.formats.mrc import read_volume

    relion(folder, "relion_reconstruct", "--i", star, "--o", "back.mrc", *more)
    return read_volume(folder / "back.mrc")[0]


@pytest.mark.relion
@pytest.mark.parametrize("name", ["warp.star", "relion5.star", "sub"])
@pytest.mark.parametrize("relion5", [False, True])
def test_relion_makes_the_same_map_of_our_poses_from_every_format(folder, tmp_path, name, relion5):
    """Poses and origins in a file that was made new say what they say in rows of RELION 3.0 and 5."""
    place = moved_copy(folder, tmp_path, "sub", "warp.star", "relion5.star")
    rng = np.random.default_rng(5)
    columns = {f"rlnAngle{axis}": rng.uniform(1, 179, COUNT) for axis in ("Rot", "Tilt", "Psi")}
    columns |= {f"rlnOrigin{axis}Angst": rng.uniform(-15, 15, COUNT) for axis in "XYZ"}
    write_subtomograms(read_subtomograms(place / name), place / "ours.star", BOX, columns, relion5)
    angles = [columns[f"rlnAngle{axis}"] for axis in ("Rot", "Tilt", "Psi")]
    plain = "data_optics\n\nloop_\n_rlnOpticsGroup\n_rlnOpticsGroupName\n_rlnImagePixelSize\n_rlnImageSize\n"
    plain += "_rlnImageDimensionality\n_rlnVoltage\n_rlnSphericalAberration\n_rlnAmplitudeContrast\n"
    plain += "1 a 10.0 8 3 300 2.7 0.1\n\ndata_particles\n\nloop_\n_rlnImageName\n_rlnOpticsGroup\n"
    plain += "".join(f"_{column}\n" for column in columns)
    for i in range(COUNT):
        origins = [columns[f"rlnOrigin{axis}Angst"][i] for axis in "XYZ"]
        plain += f"sub/p{i + 1}.mrc 1 " + " ".join(f"{v:.6f}" for v in [*(a[i] for a in angles), *origins])
        plain += "\n"
    (place / "plain.star").write_text(
        "\n# version 30001\n\n" + plain.replace("data_p", "# version 30001\n\ndata_p")
    )
    ours, expected = reconstructed(place, "ours.star"), reconstructed(place, "plain.star")
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(ours, expected, atol=1e-4 * np.ptp(expected))


@pytest.mark.relion
@pytest.mark.parametrize("name", IMAGE_SOURCES)
def test_relion_opens_the_images_of_every_format(images, tmp_path, name):
    """A selection of .cs, STAR and bare stack: the same images in the same poses are the same map."""
    table = read_particles(images / name, **image_options(images, name, True))
    poses = read_particles(images / "a.star")
    for column in ("rot_deg", "tilt_deg", "psi_deg", "shift_x_angstrom", "shift_y_angstrom"):
        setattr(table, column, getattr(poses, column))
    extra = {"rlnAngleRot": poses.rot_deg, "rlnAngleTilt": poses.tilt_deg, "rlnAnglePsi": poses.psi_deg}
    for axis in "xy":
        extra[f"rlnOrigin{axis.upper()}Angst"] = getattr(poses, f"shift_{axis}_angstrom")
    order = np.argsort(table.row_in_stack)
    ours = table.select(order)
    write_particles(ours, images / "ours.star", {key: values[order] for key, values in extra.items()})
    same = read_particles(images / "a.star", pixel_size_angstrom=3.5).select(order)
    write_particles(same, images / "expected.star")
    found, expected = (reconstructed(images, star) for star in ("ours.star", "expected.star"))
    assert np.ptp(expected) > 0
    if name != "J9/selected.cs":
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.ptp(expected))
    else:  # the images are the same ones, in the order of the stack
        assert [
            row.split("@")[1] for row in starfile.read(images / "ours.star")["particles"]["rlnImageName"]
        ] == ["J4/extract/m1.mrc:mrcs"] * COUNT
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.ptp(expected))
