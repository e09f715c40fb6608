"""Bad particle files: one line that names file, row, what was found and what to do; nothing half done."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.data.formats.images import ImageReader
from zoo.data.formats.mrc import read_volume, write_stack, write_volume
from zoo.data.particles import read_particles, write_particles
from zoo.data.tables.particle_table import ParticleTable
from zoo.errors import ZooError

STAR = """data_optics

loop_
_rlnOpticsGroup
_rlnImagePixelSize
_rlnVoltage
1 1.5 300

data_particles

loop_
_rlnImageName
_rlnOpticsGroup
_rlnDefocusU
000001@stack.mrcs 1 10000
000002@stack.mrcs 1 11000
000003@stack.mrcs 1 12000
"""


@pytest.fixture
def folder(tmp_path):
    write_stack(tmp_path / "stack.mrcs", np.random.default_rng(14).normal(size=(3, 8, 8)), 1.5)
    (tmp_path / "good.star").write_text(STAR)
    assert ImageReader(read_particles(tmp_path / "good.star")).read([0, 1, 2]).shape == (3, 8, 8)
    return tmp_path


def refuses(folder, text, *expected, read_images=False):
    path = folder / "bad.star"
    path.write_text(text) if isinstance(text, str) else path.write_bytes(text)
    with pytest.raises(ZooError) as error:
        table = read_particles(path)
        if read_images:
            ImageReader(table).read(slice(None))
    message = str(error.value)
    assert "\n" not in message
    for part in expected:
        assert part in message, message


def test_truncated_stack(folder):
    raw = (folder / "stack.mrcs").read_bytes()
    (folder / "stack.mrcs").write_bytes(raw[:-100])
    refuses(folder, STAR, "stack.mrcs: cut short: 1692 bytes", "3 sections of 8 x 8, 1792 bytes",
            "only 2 are whole", read_images=True)  # fmt: skip
    (folder / "stack.mrcs").write_bytes(raw[:900])
    refuses(folder, STAR, "stack.mrcs: 900 bytes long, an MRC header takes 1024", read_images=True)


def test_stack_cut_while_it_is_read(folder):
    reader = ImageReader(read_particles(folder / "good.star"))
    (folder / "stack.mrcs").write_bytes((folder / "stack.mrcs").read_bytes()[:-100])
    with pytest.raises(ZooError, match="stack.mrcs: ends at byte 1692; cut short while being read"):
        reader.read([0, 1, 2])


def test_missing_stack(folder):
    refuses(folder, STAR.replace("2@stack", "2@other"), "bad.star: row 2: image stack other.mrcs not found",
            str(folder / "other.mrcs"), read_images=True)  # fmt: skip


def test_row_beyond_the_stack(folder):
    refuses(folder, STAR.replace("000002@", "000004@"), "bad.star: row 2: image 4 of", "holds 3 images",
            read_images=True)  # fmt: skip


@pytest.mark.parametrize("name", ["000000@stack.mrcs", "x@stack.mrcs", "-1@stack.mrcs", "1.5@stack.mrcs"])
def test_image_numbers_that_are_none(folder, name):
    text = STAR.replace("000002@stack.mrcs", name)
    refuses(folder, text, f"row 2: rlnImageName is '{name}'", "count from 1")


def test_missing_image_name_column(folder):
    refuses(folder, STAR.replace("_rlnImageName", "_rlnMicrographName"),
            "column rlnImageName is missing in every block (data_optics, data_particles)")  # fmt: skip


def test_missing_value_that_a_model_needs(folder):
    table = read_particles(folder / "good.star")
    with pytest.raises(ZooError, match="row 1: cs_mm is not known .3 of 3 particles., but the CTF needs"):
        table.require(["voltage_kv", "cs_mm"], "the CTF")


def test_stacks_of_two_boxes(folder):
    write_stack(folder / "other.mrcs", np.zeros((3, 10, 10)), 1.5)
    refuses(folder, STAR.replace("2@stack", "2@other"), "row 2:", "other.mrcs has a box of 10 pixels",
            "the stacks before it 8", read_images=True)  # fmt: skip


def test_images_that_are_not_square(folder):
    write_stack(folder / "stack.mrcs", np.zeros((3, 8, 10)), 1.5)
    refuses(folder, STAR, "images of 10 x 8 pixels, expected square ones", read_images=True)


def test_nan_image(folder):
    with open(folder / "stack.mrcs", "r+b") as file:
        file.seek(1024 + 4 * (2 * 64 + 4 * 8 + 5))
        file.write(np.float32(np.nan).tobytes())
    refuses(folder, STAR, "bad.star: row 3 (000003@stack.mrcs): 1 values are NaN or infinite", "y=4, x=5",
            read_images=True)  # fmt: skip


@pytest.mark.parametrize("value", ["0", "-1.5", "nan", "inf"])
def test_pixel_sizes_that_are_none(folder, value):
    text = STAR.replace("1 1.5 300", f"1 {value} 300")
    refuses(folder, text, "row 1: pixel size", "expected a positive number")


def test_zero_magnification(folder):
    text = "data_\nloop_\n_rlnImageName\n_rlnMagnification\n_rlnDetectorPixelSize\n1@stack.mrcs 0 5\n"
    refuses(folder, text, "row 1: pixel size inf", "rlnDetectorPixelSize / rlnMagnification")
    with pytest.raises(ZooError, match="pixel size 0 Å given"):
        read_particles(folder / "good.star", pixel_size_angstrom=0)


@pytest.mark.parametrize("mode", [3, 4, 7, 101])
def test_unreadable_mode(folder, mode):
    raw = bytearray((folder / "stack.mrcs").read_bytes())
    raw[12] = mode
    (folder / "stack.mrcs").write_bytes(raw)
    refuses(folder, STAR, f"stack.mrcs: MRC mode {mode} (header byte 13)", "expected 0, 1, 2, 6, 12",
            read_images=True)  # fmt: skip


def test_stack_that_is_no_mrc_file(folder):
    (folder / "stack.mrcs").write_bytes(b"\xff" * 2000)
    refuses(folder, STAR, "stack.mrcs: header states", "not an MRC file", read_images=True)


def test_compressed_stack(folder):
    write_volume(folder / "stack.mrcs.gz", np.zeros((3, 8, 8)), 1.5)
    refuses(folder, STAR.replace("stack.mrcs", "stack.mrcs.gz"), "compressed", "gunzip", read_images=True)
    raw = (folder / "stack.mrcs.gz").read_bytes()
    (folder / "cut.mrc.gz").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(ZooError, match="cut.mrc.gz: cannot be read"):
        read_volume(folder / "cut.mrc.gz")


def test_not_a_star_file(folder):
    refuses(folder, "Dear reader,\nthis is a letter.\n", "bad.star: no line starts with data_")
    refuses(folder, bytes(range(256)) * 10, "bad.star: holds binary data, expected a STAR file")
    refuses(folder, "", "bad.star: empty file")
    (folder / "picture.png").write_bytes(b"\x89PNG\0\0" * 100)
    with pytest.raises(ZooError, match="picture.png: neither a STAR file"):
        read_particles(folder / "picture.png")


def test_star_without_particles(folder):
    head = STAR[: STAR.index("000001@")]
    refuses(folder, head, "data_particles holds no particles")
    refuses(folder, "data_\n", "neither loop_ nor values")
    refuses(folder, "data_particles\n\nloop_\n", "bad.star: ")


@pytest.mark.parametrize("text", ["many", "1,5", "12k", "''", "None"])
def test_text_where_a_number_belongs(folder, text):
    refuses(folder, STAR.replace("11000", text), "bad.star: row 2: rlnDefocusU is", "expected a number")


def test_text_in_the_optics_table(folder):
    text = STAR.replace("1.5 300", "1.5 high")
    refuses(folder, text, "optics row 1: rlnVoltage is 'high', expected a number")


def test_half_a_row(folder):
    refuses(folder, STAR[:-7], "row 3 of data_particles has 2 values, expected 3", "cut short")
    refuses(folder, STAR.replace("1 11000", "1 11000 5 6"), "row 2 of data_particles has 5 values")
    refuses(folder, STAR.replace("1 10000", "1 10000 5"), "bad.star: ")


def test_optics_groups_that_do_not_fit(folder):
    text = STAR.replace("2@stack.mrcs 1", "2@stack.mrcs 9")
    refuses(folder, text, "row 2: optics group 9 is not in data_optics", "which has 1")
    refuses(folder, STAR.replace("1 1.5 300", "1 1.5 300\n1 2.5 300"), "an optics group is listed twice")
    refuses(folder, STAR.replace("2@stack.mrcs 1", "2@stack.mrcs 1.5"), "row 2: optics group 1.5")


def test_fractional_half_set(folder):
    text = STAR.replace("_rlnDefocusU", "_rlnRandomSubset").replace("11000", "1.5")
    refuses(folder, text, "row 2: rlnRandomSubset is 1.5, expected a whole number")


@pytest.mark.parametrize("column", ["_rlnTomoName", "_rlnTomoParticleName", "_rlnTomoVisibleFrames"])
def test_particles_of_tomograms_are_told_apart(folder, column):
    refuses(folder, STAR.replace("_rlnDefocusU", column), "particles of a tomogram", "single-particle")


def test_three_dimensional_particles_are_told_apart(folder):
    text = STAR.replace("_rlnVoltage", "_rlnImageDimensionality").replace("300", "3")
    refuses(folder, text, "subtomograms")


def test_files_that_cannot_be_opened(folder):
    with pytest.raises(ZooError, match="nothing.star: no such file"):
        read_particles(folder / "nothing.star")
    with pytest.raises(ZooError, match="is a folder, expected a file"):
        read_particles(folder)


def test_zero_cs_pixel_size(folder):
    kinds = {"uid": "u8", "blob/path": "S10", "blob/idx": "u4", "blob/psize_A": "f4"}
    array = np.zeros(2, dtype=list(kinds.items()))
    array["blob/path"] = b"stack.mrcs"
    array["blob/psize_A"] = [1.5, 0]
    with open(folder / "zero.cs", "wb") as file:
        np.save(file, array)
    with pytest.raises(ZooError, match="zero.cs: row 2: pixel size 0 Å .blob/psize_A., expected a positive"):
        read_particles(folder / "zero.cs")


def test_failed_writes_leave_nothing_behind(folder):
    table = read_particles(folder / "good.star")
    before = sorted(folder.iterdir())
    for name in ("out.star", "out.cs"):
        with pytest.raises(ZooError, match=r"out\.\w+: column zooCluster holds .* expected 3"):
            write_particles(table, folder / name, {"zooCluster": [1, 2]})
        with pytest.raises(ZooError, match="cannot be written"):
            write_particles(table, folder / "good.star" / name)
    with pytest.raises(ZooError, match="written as .star or .cs"):
        write_particles(table, folder / "out.csv")
    with pytest.raises(ZooError, match="no particles to write"):
        write_particles(table.select([]), folder / "out.star")
    with pytest.raises(ZooError, match="no particles"):
        ImageReader(ParticleTable([], {"row_in_stack": []}))
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("number", ["1" + "0" * 30, "9" * 5000, "1e400", "-1"])
def test_image_numbers_beyond_any_stack(folder, number):
    refuses(folder, STAR.replace("000002@", number + "@"), "bad.star: row 2: rlnImageName is")


def test_whole_numbers_beyond_their_column(folder):
    subset = STAR.replace("_rlnDefocusU\n", "_rlnRandomSubset\n").replace("11000", "1e30")
    refuses(folder, subset, "row 2: rlnRandomSubset is 1e+30", "below 2^31")
