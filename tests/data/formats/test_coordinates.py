"""Places in tomograms: which rows are of this one, text as programs print it, and what is refused."""

import json

import numpy as np
import pytest

from zoo.data.formats.coordinates import read_coordinates
from zoo.data.formats.mrc import write_volume
from zoo.data.formats.tomogram_names import name_variants, rows_of_tomogram, tomogram_stem
from zoo.errors import ZooError

WANTED = [[20, 21, 22], [33, 22, 20], [34, 30, 22], [30, 30, 18]]


@pytest.fixture(scope="module")
def tomogram(tmp_path_factory):
    path = tmp_path_factory.mktemp("tomogram") / "TS_01.mrc"
    write_volume(path, np.zeros((40, 50, 60), np.float32), 10.0)
    return str(path)


@pytest.fixture
def places(tmp_path, tomogram):
    def read(text, name="picks.txt", **options):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_coordinates(path, tomogram, **options)

    return read


def refused(call, *parts):
    with pytest.raises(ZooError) as error:
        call()
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("job012/tomograms/TS_01.mrc", "TS_01"),
        ("TS_01.v2.mrc", "TS_01.v2"),
        ("TS_01.tomostar", "TS_01"),
        ("TS_01.mrc.mdoc", "TS_01"),
        ("TS_01.rec.gz", "TS_01"),
        ("2024.05.01_g1", "2024.05.01_g1"),
        ("rec", "rec"),
    ],
)
def test_stem_of_a_name_keeps_its_dots(name, stem):
    assert tomogram_stem(name) == stem


@pytest.mark.parametrize(
    ("named", "tomogram"),
    [
        ("TS_01", "rec_TS_01.mrc"),
        ("TS_1.tomostar", "TS_1_10.00Apx.mrc"),
        ("TS_1", "warp/TS_1_12.48Apx.mrc"),
        ("TS_01.v2", "TS_01.v2.mrc"),
        ("tomograms/rec_TS_01_half1.mrc", "TS_01.mrc"),
        ("TS_01", "TS_01_full_rec.mrc"),
        ("TS_01.mrc.tomostar", "TS_01_bin4.rec"),
    ],
)
def test_usual_prefixes_and_endings_match(named, tomogram):
    assert rows_of_tomogram("p.star", "rlnTomoName", ["other", named, named], tomogram).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("named", "tomogram"),
    [("TS_01.v1", "TS_01.v2.mrc"), ("TS_1", "TS_11.mrc"), ("TS_1", "TS_1_2.mrc"), ("TS_01", "ts.mrc")],
)
def test_other_names_do_not(named, tomogram):
    assert not name_variants(named) & name_variants(tomogram)
    refused(
        lambda: rows_of_tomogram("p.star", "rlnTomoName", [named], tomogram),
        "p.star: no row belongs to tomogram",
        f"rlnTomoName names {named}",
        "--tomogram-name",
    )


def test_the_same_name_wins_over_one_that_may_be_it():
    names = ["TS_1", "TS_1_10.00Apx", "rec_TS_1"]
    assert rows_of_tomogram("p", "c", names, "TS_1_10.00Apx.mrc").tolist() == [1]
    refused(
        lambda: rows_of_tomogram("p", "c", names, "TS_1_bin4.mrc"), "may be each of them", "--tomogram-name"
    )
    assert rows_of_tomogram("p", "c", names, "TS_1_bin4.mrc", "rec_TS_1").tolist() == [2]


@pytest.mark.parametrize("column", ["tomo_name", "experiment", "Tomogram", "tilt series", "whatever"])
def test_rows_of_other_tomograms_in_a_csv_are_left_out(places, column):
    rows = f"{column},x,y,z\nTS_01,20,21,22\nTS_02,40,22,20\nTS_01,34,30,22\n"
    table = places(rows, "picks.csv")
    assert table.coordinates_voxel().tolist() == [WANTED[0], WANTED[2]]
    assert table.source_row.tolist() == [0, 2]
    assert "1 of 3 rows are of other tomograms" in table.source.notes
    refused(lambda: places(rows.replace("TS_01", "TS_3"), "picks.csv"), "TS_02, TS_3") if column in (
        "tomo_name",
        "experiment",
    ) else None


def test_a_star_file_of_another_tomogram_is_refused_or_named(places):
    text = "data_particles\nloop_\n_rlnTomoName\n_rlnCoordinateX\n_rlnCoordinateY\n_rlnCoordinateZ\n"
    text += "TS_99 20 21 22\nTS_99 33 22 20\n"
    refused(lambda: places(text, "p.star"), "no row belongs to tomogram TS_01: rlnTomoName names TS_99")
    assert places(text, "p.star", tomogram_name="TS_99").coordinates_voxel().tolist() == WANTED[:2]
    plain = text.replace("_rlnTomoName\n", "").replace("TS_99 ", "")
    refused(lambda: places(plain, "p.star", tomogram_name="TS_99"), "no column names tomograms")


def lines(form):
    return "".join(form.format(*row) for row in WANTED)


@pytest.mark.parametrize(
    "text",
    [
        lines("{:12.2f}{:12.2f}{:12.2f}\n"),
        "".join(f"     5{row + 6:6d}{x:12.2f}{y:12.2f}{z:12.2f}\n" for row, (x, y, z) in enumerate(WANTED)),
        "".join(f"5 {row + 6} {x:.2f} {y:.2f} {z:.2f}\n" for row, (x, y, z) in enumerate(WANTED)),
        "".join(f"{row + 1} {x:.1f} {y:.1f} {z:.1f}\n" for row, (x, y, z) in enumerate(WANTED)),
        lines("{} {} {}\n"),
        lines("{}\t{}\t{}\r\n"),
        lines("{}, {}, {}\n"),
        lines("{};{};{}\n"),
        "\ufeffX,Y,Z\n" + lines("{},{},{}\n"),
        "# from IMOD\nx y z\n" + lines("{} {} {} # a pick\n"),
        "object contour x y z\n" + lines("1 2 {} {} {}\n"),
        "x_angstrom,y_angstrom,z_angstrom\n" + lines("{}0,{}0,{}0\n"),
        lines("{:.1f} {:.1f} {:.1f} 10 20 30\n"),
    ],
)
def test_text_as_programs_print_it(places, text):
    assert places(text, "picks.coords").coordinates_voxel().tolist() == WANTED


def test_a_headless_table_of_equal_numbers(places):
    assert places("5.0 5.0 5.0\n6.0 6.0 6.0\n").coordinates_voxel().tolist() == [[5, 5, 5], [6, 6, 6]]
    assert places("5,5,5\n").coordinates_voxel().tolist() == [[5, 5, 5]]


def test_whole_numbers_are_told_apart_by_the_tomogram_or_refused(places):
    # z = 45 lies beyond the 40 sections if object and contour are taken for x and y
    table = places("1 1 45 30 10\n1 2 46 31 11\n")
    assert table.coordinates_voxel().tolist() == [[45, 30, 10], [46, 31, 11]]
    refused(lambda: places("1 1 20 21 22\n1 2 33 22 20\n"), "object, contour, x, y, z", "Name them")
    assert places("30 1 20 1\n20 2 21 2\n").coordinates_voxel().tolist() == [[30, 1, 20], [20, 2, 21]]


def test_what_is_not_read_is_said(places):
    table = places("x,y,z,particle_type\n20,21,22,ribosome\n33,22,20,apoferritin\n")
    assert table.source.notes == ["columns not read: particle_type"]
    notes = places(lines("{:.1f} {:.1f} {:.1f} 10\n")).source.notes
    assert "the first three are read as x, y, z" in notes[0] and "column 4" in notes[1]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (" ".join(["1"] * 35) + "\n", ("35 columns", "Dynamo", "columns 24 to 26")),
        ("CCC,xOffset,yOffset,zOffset\n1,0,0,0\n", ("PEET", "model2point")),
        (b"IMODV1.2\0\0", ("model of IMOD", "model2point")),
        (b"\x06\0\0\x05" + b"\0" * 600, ("binary data", "columns x, y, z")),
        ("data_stopgap_motivelist\nloop_\n_orig_x\n_orig_y\n_orig_z\n1 2 3\n", ("STOPGAP", "orig_x")),
        ('{"boxes_3d": [[1, 2, 3]]}', ("JSON without points", "boxes_3d", "x, y, z")),
        ("x,y,z\n1,2\n", ("line 2: 2 values, expected 3",)),
        ("x,y,z\n1,2,three\n", ("line 2: z is 'three', expected a number",)),
        ("x,y,z,x\n1,2,3,4\n", ("column x is there twice",)),
        ("x,y,z\n", ("found x, y, z; expected rows",)),
        ("", ("no rows",)),
    ],
)
def test_tables_of_other_programs_are_refused_in_words_that_help(places, text, parts):
    refused(lambda: places(text), *parts)


def test_picks_of_copick(places):
    points = [{"location": {"x": 10 * x, "y": 10 * y, "z": 10 * z}} for x, y, z in WANTED]
    picks = {"pickable_object_name": "ribosome", "run_name": "TS_01", "unit": "angstrom", "points": points}
    table = places(json.dumps(picks), "picks.json")
    assert table.coordinates_voxel().tolist() == WANTED
    refused(lambda: places(json.dumps({**picks, "run_name": "TS_7"})), "run_name names TS_7")
    refused(lambda: places(json.dumps({**picks, "unit": "pixel"})), "unit is 'pixel', expected angstrom")
    refused(lambda: places(json.dumps({**picks, "points": [{"location": [1]}]})), "point 1 has no location")
    refused(lambda: places('{"points": ['), "damaged JSON")
