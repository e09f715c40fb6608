"""Subtomograms from STAR, folders and tomograms: what is read, and one line for what cannot be."""

import mrcfile
import numpy as np
import pytest

from zoo.data.formats.coordinates import keep_inside, read_coordinates
from zoo.data.formats.fourier_weights import apply_correction, half_of, read_weight, whole_of
from zoo.data.formats.mrc import write_stack, write_volume
from zoo.data.formats.subtomogram_star_write import write_subtomograms
from zoo.data.formats.volumes import VolumeReader
from zoo.data.particles import read_particles
from zoo.data.subtomograms import holds_subtomograms, read_subtomograms
from zoo.data.wedge import wedge_mask
from zoo.errors import ZooError

HEAD = """data_optics

loop_
_rlnOpticsGroup
_rlnImagePixelSize
_rlnImageDimensionality
1 4.0 3

data_particles

loop_
"""
COLUMNS = """_rlnImageName
_rlnOpticsGroup
_rlnAngleRot
_rlnAngleTilt
_rlnAnglePsi
_rlnOriginXAngst
_rlnOriginZAngst
"""
ROWS = "a.mrc 1 10 20 30 4 8\nb.mrc 1 11 21 31 -4 0\n"


def write_em(path, volume):
    """An EM file as PyTom writes it: PC byte order, type 5 (float32)."""
    header = np.zeros(512, np.uint8)
    header[0], header[3] = 6, 5
    header[4:16] = np.frombuffer(np.array(volume.shape[::-1], "<i4").tobytes(), np.uint8)
    path.write_bytes(header.tobytes() + np.asarray(volume, "<f4").tobytes())


@pytest.fixture
def volumes():
    return np.random.default_rng(0).normal(size=(2, 12, 12, 12)).astype(np.float32)


@pytest.fixture
def folder(tmp_path, volumes):
    for name, volume in zip("ab", volumes, strict=True):
        write_volume(tmp_path / f"{name}.mrc", volume, 4.0)
    (tmp_path / "good.star").write_text(HEAD + COLUMNS + ROWS)
    return tmp_path


def refuses(call, *parts):
    with pytest.raises(ZooError) as error:
        call()
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


def read_star_text(folder, text):
    (folder / "bad.star").write_text(text)
    return VolumeReader(read_subtomograms(folder / "bad.star")).read(slice(None))


def test_star_of_relion_3_1(folder, volumes):
    assert holds_subtomograms(folder / "good.star")
    table = read_subtomograms(folder / "good.star", tilt_range_deg=(-60, 60))
    np.testing.assert_array_equal(table.euler_deg(), [[10, 20, 30], [11, 21, 31]])
    np.testing.assert_array_equal(table.shift_angstrom(), [[4, 0, 8], [-4, 0, 0]])
    reader = VolumeReader(table)
    np.testing.assert_array_equal(reader.read([1, 0]), volumes[::-1])
    np.testing.assert_array_equal(whole_of(reader.wedge(0, 12)), wedge_mask(12, -60, 60))
    assert reader.box == 12 and table.pixel_size_angstrom.tolist() == [4, 4]
    # and a selection goes back into a file with all its columns
    write_subtomograms(table.select([1]), folder / "one.star", 12)
    assert read_subtomograms(folder / "one.star").euler_deg().tolist() == [[11, 21, 31]]


def test_star_of_relion_5(folder, volumes):
    text = """data_general
_rlnTomoSubTomosAre2DStacks 0

data_optics
loop_
_rlnOpticsGroup
_rlnTomoTiltSeriesPixelSize
_rlnImagePixelSize
_rlnImageDimensionality
_rlnCtfDataAreCtfPremultiplied
1 2.0 4.0 3 0

data_particles
loop_
_rlnTomoName
_rlnTomoParticleName
_rlnImageName
_rlnOpticsGroup
_rlnAngleRot
_rlnAngleTilt
_rlnAnglePsi
TS_1 TS_1/1 a.mrc 1 1 2 3
TS_1 TS_1/2 b.mrc 1 4 5 6
"""
    (folder / "five.star").write_text(text)
    assert holds_subtomograms(folder / "five.star")
    table = read_subtomograms(folder / "five.star")
    assert table.shift_angstrom().tolist() == [[0, 0, 0]] * 2  # RELION: no origins of posed particles are 0
    np.testing.assert_array_equal(VolumeReader(table).read(slice(None)), volumes)
    assert not table.premultiplied


def test_particles_are_not_taken_for_subtomograms(tmp_path, make_particles):
    assert not holds_subtomograms(make_particles(tmp_path, 4, 8)[0])
    assert not holds_subtomograms(tmp_path / "particles_0.mrcs")


def test_folder_of_mrc_and_em_in_the_order_of_their_numbers(tmp_path, volumes):
    write_volume(tmp_path / "v10.mrc.gz", volumes[1], 4.0)
    write_em(tmp_path / "v9.em", volumes[0])
    table = read_subtomograms(tmp_path, pixel_size_angstrom=4.0)
    assert table.stack_names == ["v9.em", "v10.mrc.gz"]
    np.testing.assert_array_equal(VolumeReader(table).read([0, 1]), volumes)
    assert table.tilt_range_deg().tolist() == [[-90, 90]] * 2  # nothing is said to be missing


@pytest.mark.shared_data
def test_real_em_files(shared_data):
    table = read_subtomograms(shared_data / "tomograms" / "pytom_p1", pixel_size_angstrom=1.0)
    refuses(lambda: VolumeReader(table), "expected a cube")  # projections lie there too


@pytest.fixture
def tomogram(tmp_path):
    """Every voxel holds its own place: 10000 z + 100 y + x."""
    z, y, x = np.meshgrid(np.arange(20), np.arange(24), np.arange(28), indexing="ij")
    path = tmp_path / "tomo.mrc"
    write_volume(path, 10000.0 * z + 100 * y + x, 5.0)
    return str(path)


def test_boxes_are_cut_around_the_nearest_voxel(tmp_path, tomogram):
    (tmp_path / "c.csv").write_text("x,y,z,rot,tilt,psi,label\n14.0,12.3,9.8,1,2,3,1\n10,10,10,4,5,6,0\n")
    table = read_coordinates(tmp_path / "c.csv", tomogram)
    reader = VolumeReader(table, 8)
    volume = reader.read([0])[0]
    assert volume[4, 4, 4] == 10000 * 10 + 100 * 12 + 14  # the middle of the box
    assert volume[0, 0, 0] == 10000 * 6 + 100 * 8 + 10
    # position = coordinate - origin: the rounding is in the origin
    np.testing.assert_allclose(table.shift_angstrom()[0], [0, -0.3 * 5, 0.2 * 5])
    assert table.label.tolist() == [1, 0]
    assert table.euler_deg().tolist() == [[1, 2, 3], [4, 5, 6]]


def test_coordinates_of_star_files(tmp_path, tomogram):
    def places(text):
        (tmp_path / "c.star").write_text(text)
        return read_coordinates(tmp_path / "c.star", tomogram).coordinates_voxel().tolist()

    plain = "data_\nloop_\n_rlnCoordinateX\n_rlnCoordinateY\n_rlnCoordinateZ\n12 11 10\n"
    assert places(plain) == [[12, 11, 10]]
    centred = plain.replace("rlnCoordinateX", "rlnCenteredCoordinateXAngst")
    centred = centred.replace("rlnCoordinateY", "rlnCenteredCoordinateYAngst")
    centred = centred.replace("rlnCoordinateZ", "rlnCenteredCoordinateZAngst").replace("12 11 10", "10 -5 0")
    assert places(centred) == [[16, 11, 10]]  # from the middle, 28 x 24 x 20 voxels of 5 Å
    unbinned = plain.replace("loop_\n", "loop_\n_rlnTomoTiltSeriesPixelSize\n").replace("12 11", "2.5 24 22")
    assert places(unbinned.replace("22 10", "22 20")) == [[12, 11, 10]]
    rows = "tomo 12 11 10\nother 1 1 1"
    named = plain.replace("loop_\n", "loop_\n_rlnTomoName\n").replace("12 11 10", rows)
    assert places(named) == [[12, 11, 10]]
    refuses(
        lambda: places(named.replace("tomo ", "third ")),
        "no row belongs to tomogram tomo",
        "other, third",
    )
    refuses(lambda: places("data_\nloop_\n_rlnVoltage\n300\n"), "neither rlnImageName nor coordinates")
    refuses(lambda: places(plain.replace("12 11 10", "12 nan 10")), "row 1: a coordinate is not a number")


def test_tables_of_numbers_without_names(tmp_path, tomogram):
    (tmp_path / "c.csv").write_text("12,11,10\n13,11,10\n")
    assert read_coordinates(tmp_path / "c.csv", tomogram).coordinates_voxel().tolist() == [
        [12, 11, 10],
        [13, 11, 10],
    ]
    (tmp_path / "d.csv").write_text("a,b\n1,2\n")
    refuses(
        lambda: read_coordinates(tmp_path / "d.csv", tomogram),
        "found a, b; expected rows with columns x",
    )


def test_coordinates_outside_are_counted_listed_refused_dropped_or_clipped(tmp_path, tomogram):
    (tmp_path / "c.csv").write_text("x,y,z\n14,12,10\n2,12,10\n100,12,10\n14,12,18\n")
    table = read_coordinates(tmp_path / "c.csv", tomogram)
    refuses(
        lambda: VolumeReader(table, 8),
        "3 of 4 boxes of 8 voxels reach beyond their tomogram (rows 2, 3, 4)",
        "--outside drop",
    )
    kept, words = keep_inside(table, 8, "drop")
    assert kept.source_row.tolist() == [0] and "3 of 4 left out (rows 2, 3, 4)" in words
    kept, words = keep_inside(table, 8, "clip")
    assert kept.source_row.tolist() == [0, 1, 3]  # what lies outside altogether cannot be clipped
    assert "2 boxes reach beyond" in words and "1 of 4 left out (rows 3)" in words
    volume = VolumeReader(kept, 8, clip=True).read([1])[0]
    inside = volume[:, :, 2:]
    assert inside[4, 4, 2] == 10000 * 10 + 100 * 12 + 2
    np.testing.assert_allclose(volume[:, :, :2], inside.mean(), rtol=1e-6)
    refuses(lambda: keep_inside(table, 8, "maybe"), "--outside maybe: expected one of refuse, drop, clip")
    refuses(lambda: keep_inside(table.select([2]), 8, "drop"), "no box of 8 voxels lies inside")


def test_a_tomogram_without_voxel_size(tmp_path):
    write_em(tmp_path / "t.em", np.zeros((9, 9, 9)))
    (tmp_path / "c.csv").write_text("x,y,z\n4,4,4\n")
    refuses(
        lambda: read_coordinates(tmp_path / "c.csv", str(tmp_path / "t.em")),
        "no voxel size",
        "--pixel-size",
    )
    assert len(read_coordinates(tmp_path / "c.csv", str(tmp_path / "t.em"), 8.0)) == 1


@pytest.mark.parametrize("n", [8, 9])
def test_half_and_whole_weights_are_one(n):
    rng = np.random.default_rng(1)
    even = np.abs(np.fft.fftshift(np.fft.fftn(rng.normal(size=(n, n, n)))))
    np.testing.assert_allclose(whole_of(half_of(even)), even, rtol=1e-10)
    half = np.fft.fftshift(np.abs(np.fft.rfftn(rng.normal(size=(n, n, n)))), axes=(0, 1))
    np.testing.assert_allclose(half_of(whole_of(half)), half, rtol=1e-10)


def test_weights_in_every_layout(tmp_path):
    n = 12
    mask = wedge_mask(n, -40, 50)
    write_volume(tmp_path / "cube.mrc", mask, 1.0)
    half = np.fft.ifftshift(half_of(mask), axes=(0, 1))
    write_volume(tmp_path / "half.mrc", half, 1.0)
    write_em(tmp_path / "cube.em", mask)
    for name in ("cube.mrc", "half.mrc", "cube.em"):
        weight, correction = read_weight(str(tmp_path / name), n)
        np.testing.assert_array_equal(weight, half_of(mask))
        assert correction is None


def test_phases_of_a_ctf_volume_are_flipped(tmp_path, volumes):
    """volume = CTF * truth becomes |CTF| * truth."""
    n = 12
    truth = volumes[0]
    ctf = np.cos(0.7 * np.linalg.norm(np.meshgrid(*[np.arange(n) - n // 2] * 3), axis=0))
    imaged = apply_correction(truth, half_of(ctf))
    write_volume(tmp_path / "ctf.mrc", ctf, 1.0)
    weight, correction = read_weight(str(tmp_path / "ctf.mrc"), n)
    np.testing.assert_allclose(weight, np.abs(half_of(ctf)), atol=1e-6)
    expected = apply_correction(truth, np.abs(half_of(ctf)))
    np.testing.assert_allclose(apply_correction(imaged, correction), expected, atol=1e-4)


def test_premultiplied_data_get_white_noise(tmp_path):
    """RELION 4: data are sums of CTF * image, weights sums of CTF^2, then how many were summed."""
    n, tilts = 12, 7
    rng = np.random.default_rng(2)
    ctfs = np.fft.rfftn(rng.normal(size=(tilts, n, n, n)), axes=(1, 2, 3)).real / n
    truth = rng.normal(size=(n, n, n))
    squared = (ctfs**2).mean(0)
    stacked = np.concatenate([squared, np.full_like(squared, tilts)]).astype(np.float32)
    with mrcfile.new(tmp_path / "weights.mrc") as file:
        file.set_data(stacked)
    weight, correction = read_weight(str(tmp_path / "weights.mrc"), n, premultiplied=True)
    data = np.fft.fftshift(np.fft.rfftn(truth) * squared, axes=(0, 1))
    corrected, noise = data * correction, np.fft.fftshift(squared / tilts, axes=(0, 1)) * correction**2
    np.testing.assert_allclose(noise, 1, rtol=1e-4)  # variance of the noise of a mean, after the correction
    ratio = corrected / (np.fft.fftshift(np.fft.rfftn(truth), axes=(0, 1)) * weight)
    np.testing.assert_allclose(ratio, ratio[0, 0, 0], rtol=1e-3)


def test_wedges_that_cannot_be(folder):
    def with_mask(array, name="m.mrc"):
        write_volume(folder / name, array, 4.0)
        table = read_subtomograms(folder / "good.star", wedge=folder / name)
        return VolumeReader(table).wedge(0, 12)

    refuses(
        lambda: with_mask(np.zeros((12, 12, 12))),
        "m.mrc: the wedge observes nothing",
        "make the mask again",
    )
    only_dc = np.zeros((12, 12, 12))
    only_dc[6, 6, 6] = 1
    refuses(lambda: with_mask(only_dc, "dc.mrc"), "observes nothing")
    refuses(
        lambda: with_mask(np.ones((10, 10, 10)), "small.mrc"),
        "row 1",
        "10 x 10 x 10",
        "expected 12 x 12 x 12",
    )
    with pytest.warns(RuntimeWarning, match="NaN"), mrcfile.new(folder / "nan.mrc") as file:
        file.set_data(np.full((12, 12, 12), np.nan, np.float32))
    table = read_subtomograms(folder / "good.star", wedge=folder / "nan.mrc")
    refuses(lambda: VolumeReader(table).wedge(0, 12), "nan.mrc", "NaN or infinite")
    refuses(
        lambda: read_subtomograms(folder / "good.star", tilt_range_deg=(20, 20)),
        "tilts from 20 to 20 degrees observe nothing",
    )
    refuses(
        lambda: read_subtomograms(folder / "good.star", wedge=folder / "a.mrc", tilt_range_deg=(-60, 60)),
        "--wedge and --tilt-range both given",
    )


def test_volumes_that_cannot_be(folder, volumes):
    write_volume(folder / "b.mrc", volumes[0, :10, :10, :10], 4.0)
    refuses(
        lambda: read_star_text(folder, HEAD + COLUMNS + ROWS),
        "row 2",
        "b.mrc has a box of 10",
        "before it 12",
    )
    write_volume(folder / "b.mrc", volumes[0, :10], 4.0)
    refuses(
        lambda: read_star_text(folder, HEAD + COLUMNS + ROWS),
        "row 2",
        "12 x 12 x 10 voxels, expected a cube",
    )
    broken = volumes[0].copy()
    broken[3, 4, 5] = np.nan
    with pytest.warns(RuntimeWarning, match="NaN"), mrcfile.new(folder / "b.mrc", overwrite=True) as file:
        file.set_data(broken)
    refuses(lambda: read_star_text(folder, HEAD + COLUMNS + ROWS), "row 2 (b.mrc): 1 voxels are NaN")
    (folder / "b.mrc").unlink()
    refuses(lambda: read_star_text(folder, HEAD + COLUMNS + ROWS), "row 2: volume b.mrc not found")
    refuses(
        lambda: read_star_text(folder, HEAD + COLUMNS + ROWS.replace(" 30 ", " thirty ")),
        "row 1",
        "'thirty'",
    )


def test_two_dimensional_stacks_are_named_for_what_they_are(folder):
    flagged = "data_general\n\n_rlnTomoSubTomosAre2DStacks 1\n\n" + HEAD + "_rlnTomoName\n" + COLUMNS
    rows = "TS_1 " + ROWS.replace("\nb", "\nTS_1 b")
    refuses(lambda: read_star_text(folder, flagged + rows), "holds 2D tilt stacks", "--tomograms")
    by_dimension = HEAD.replace("4.0 3", "4.0 2") + COLUMNS + ROWS
    refuses(lambda: read_star_text(folder, by_dimension), "2D images", "export 3D subtomograms instead")
    by_name = HEAD + COLUMNS + ROWS.replace("b.mrc", "b_stack2d.mrcs")
    refuses(lambda: read_star_text(folder, by_name), "row 2", "b_stack2d.mrcs, a stack of 2D images")
    write_stack(folder / "b.mrc", np.zeros((7, 12, 12)), 4.0)
    refuses(lambda: read_star_text(folder, HEAD + COLUMNS + ROWS), "12 x 12 x 7", "is this a 2D stack?")
    in_stack = HEAD + COLUMNS + ROWS.replace("b.mrc", "000003@b.mrc")
    refuses(lambda: read_star_text(folder, in_stack), "row 2", "000003@b.mrc, an image in a stack")
    places = "data_particles\nloop_\n_rlnTomoName\n_rlnCoordinateX\n_rlnCoordinateZ\nTS_1 1 2\n"
    refuses(lambda: read_star_text(folder, places), "names no volumes", "--tomogram")


def test_subtomograms_read_as_particles_say_so(folder):
    refuses(lambda: read_particles(folder / "good.star"), "particles of a tomogram")


ZEROS = """data_particles

loop_
_rlnImageName
_rlnOpticsGroup
_rlnOriginXAngst
_rlnOriginZAngst
_rlnCoordinateZ
1@s.mrcs 1 4 0 0
2@s.mrcs 1 4 0 0
"""
GROUPS = """
data_optics

loop_
_rlnOpticsGroupName
_rlnOpticsGroup
_rlnImagePixelSize
_rlnImageDimensionality
"group one" 1 4.0 {dimension}
"""


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("rows", [1, 4000])
def test_the_stated_dimension_decides_not_a_column_of_zeros(tmp_path, behind, rows):
    write_stack(tmp_path / "s.mrcs", np.zeros((2, 8, 8)), 4.0)
    text = ZEROS + "2@s.mrcs 1 4 0 0\n" * rows
    for dimension, volumes in ((2, False), (3, True)):
        groups = GROUPS.format(dimension=dimension)
        (tmp_path / "p.star").write_text(text + groups if behind else groups + "\n" + text)
        assert holds_subtomograms(tmp_path / "p.star") == volumes
    (tmp_path / "p.star").write_text(text + GROUPS.format(dimension=2))
    assert len(read_particles(tmp_path / "p.star")) == rows + 2
    (tmp_path / "p.star").write_text(text)  # RELION 3.0 states none: the images say it
    assert not holds_subtomograms(tmp_path / "p.star")
    (tmp_path / "p.star").write_text(text.replace("1@s.mrcs", "a.mrc").replace("2@s.mrcs", "b.mrc"))
    assert holds_subtomograms(tmp_path / "p.star")
