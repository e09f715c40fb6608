"""RELION STAR files: every dialect in, every column out, and RELION agrees."""

from __future__ import annotations

import shutil
import subprocess
import warnings

import mrcfile
import numpy as np
import pytest
import starfile

from zoo.data.formats.images import ImageReader
from zoo.data.formats.mrc import read_volume, write_stack
from zoo.data.particles import read_particles, write_particles
from zoo.data.tables.particle_table import ParticleTable

REAL = (
    "empiar_10076_7/empiar_10076_7.star",
    "relion31/relion31.star",
    "aspire_sample/sample_particles_relion30.star",
    "aspire_sample/sample_particles_relion31.star",
    "trpv1_small_stack/trpv1_small_stack.star",
    "sta_ribosome_tilts/sta_testing_bin8.star",
)

TWO_GROUPS = """
# version {version}

data_particles

loop_
_rlnImageName #1
_rlnOpticsGroup #2
_rlnDefocusU #3
_rlnDefocusV #4
_rlnDefocusAngle #5
_rlnAngleRot #6
_rlnAngleTilt #7
_rlnAnglePsi #8
_rlnOriginXAngst #9
_rlnOriginYAngst #10
_rlnVoltage #11
_rlnRandomSubset #12
_rlnExtraColumn #13
000002@Extract/job1/a.mrcs 4 10000.5 9000.25 30 10 20 30 1.5 -2.5 120 1 "two words"
000001@Extract/job1/b.mrcs 2 11000.5 9500.25 40 11 21 31 0.5 -3.5 130 2 plain
3@Extract/job1/a.mrcs 4 12000.5 9900.25 50 12 22 32 0.25 -4.5 140 1 plain


# version {version}

data_general

_rlnTomogramName  t1
_rlnNote  "a note with spaces"


# version {version}

data_optics

loop_
_rlnOpticsGroup #1
_rlnOpticsGroupName #2
_rlnImagePixelSize #3
_rlnVoltage #4
_rlnSphericalAberration #5
_rlnAmplitudeContrast #6
_rlnImageDimensionality #7
2 second 1.25 300 2.7 0.1 2
4 fourth 2.5 200 1.4 0.07 2
"""


@pytest.fixture(params=["30001", "50001"])
def project(tmp_path, request):
    """A RELION project: names relative to the project folder, the STAR file two folders below."""
    (tmp_path / "Extract" / "job1").mkdir(parents=True)
    (tmp_path / "Refine3D" / "job2").mkdir(parents=True)
    for name, first in (("a", 0), ("b", 100)):
        images = first + np.arange(3, dtype=np.float32)[:, None, None] * np.ones((3, 8, 8), np.float32)
        write_stack(tmp_path / "Extract" / "job1" / f"{name}.mrcs", images, 2.5)
    star = tmp_path / "Refine3D" / "job2" / "run_data.star"
    star.write_text(TWO_GROUPS.format(version=request.param))
    return star


def assert_tables_equal(one: ParticleTable, other: ParticleTable, but=("source_row", "stack_index")):
    for name, values in one.columns().items():
        if name not in but:
            np.testing.assert_array_equal(values, getattr(other, name), err_msg=name)
    stacks = [np.array(table.stack_paths)[table.stack_index].tolist() for table in (one, other)]
    assert stacks[0] == stacks[1]


def test_optics_groups_join_and_particle_columns_win(project):
    table = read_particles(project)
    assert table.pixel_size_angstrom.tolist() == [2.5, 1.25, 2.5]
    assert table.cs_mm.tolist() == [1.4, 2.7, 1.4]
    assert table.amplitude_contrast.tolist() == [0.07, 0.1, 0.07]
    assert table.voltage_kv.tolist() == [120, 130, 140]  # also in the optics table, with other values
    assert table.optics_group.tolist() == [4, 2, 4]
    assert table.shift_x_angstrom.tolist() == [1.5, 0.5, 0.25]
    assert table.random_subset.tolist() == [1, 2, 1]
    assert (table.phase_shift_deg == 0).all() and (table.ctf_scale == 1).all()
    assert (table.label == -1).all()


def test_names_are_found_from_the_project_folder(project):
    table = read_particles(project)
    assert table.image_names()[2] == "000003@Extract/job1/a.mrcs"
    values = ImageReader(table).read([0, 1, 2])[:, 0, 0]
    assert values.tolist() == [1, 100, 2]


def test_a_star_file_reached_through_a_link_finds_its_images(project, tmp_path_factory):
    link = tmp_path_factory.mktemp("links") / "job"
    link.symlink_to(project.parent)
    assert ImageReader(read_particles(link / "run_data.star")).read([1])[0, 0, 0] == 100


def test_selection_goes_back_with_every_column_and_block(project, tmp_path):
    table = read_particles(project).select([2, 0])
    out = project.parent / "selected.star"
    write_particles(table, out, {"zooCluster": [5, 6], "zooLatent0": [0.1, -1e-9]})
    before = starfile.read(project, always_dict=True)
    after = starfile.read(out, always_dict=True)
    assert list(after) == list(before)
    assert after["general"] == before["general"]
    assert after["optics"].equals(before["optics"])
    original = before["particles"]
    assert after["particles"][original.columns].equals(original.iloc[[2, 0]].reset_index(drop=True))
    assert after["particles"]["zooCluster"].tolist() == [5, 6]
    assert after["particles"]["zooLatent0"].tolist() == [0.1, -1e-9]
    version = project.read_text().split("\n")[1]
    assert out.read_text().count(version) == 3
    assert_tables_equal(read_particles(out), table)


def test_a_selection_written_elsewhere_still_finds_its_images(project, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    table = read_particles(project)
    for name in ("again.star", "again.cs"):
        write_particles(table, elsewhere / name)
        again = read_particles(elsewhere / name)
        np.testing.assert_array_equal(
            ImageReader(again).read([0, 1, 2]), ImageReader(table).read([0, 1, 2]), err_msg=name
        )
    second = elsewhere / "second.star"  # and once more from there
    write_particles(read_particles(elsewhere / "again.star"), second)
    assert_tables_equal(read_particles(second), table)


def test_numbers_keep_their_spelling(project):
    star = project.read_text().replace("10000.5 ", "1.00005000e+04 ")
    project.write_text(star)
    write_particles(read_particles(project), project.with_name("out.star"))
    assert "\t1.00005000e+04\t" in project.with_name("out.star").read_text()


def test_known_labels_are_written_and_read_back(project):
    table = read_particles(project)
    table.label[:] = [3, 0, 1]
    for name in ("labels.star", "labels.cs"):
        write_particles(table, project.with_name(name))
        assert read_particles(project.with_name(name)).label.tolist() == [3, 0, 1]


def test_class_numbers_are_not_labels(project):
    text = project.read_text().replace("_rlnExtraColumn", "_rlnClassNumber")
    project.write_text(text.replace('"two words"', "1").replace("plain", "2"))
    assert (read_particles(project).label == -1).all()


def test_relion_30_pixels_become_angstrom(tmp_path):
    star = tmp_path / "old.star"
    star.write_text(
        "data_images\n\nloop_\n_rlnImageName\n_rlnOriginX\n_rlnOriginY\n_rlnAngleRot\n_rlnAngleTilt\n"
        "_rlnAnglePsi\n_rlnMagnification\n_rlnDetectorPixelSize\n_rlnDefocusU\n"
        "1@s.mrcs 2 -3 10 20 30 50000 7 15000\n2@s.mrcs 0 1.5 10 20 30 25000 7 16000\n"
    )
    table = read_particles(star)
    np.testing.assert_allclose(table.pixel_size_angstrom, [1.4, 2.8], rtol=1e-15)
    np.testing.assert_allclose(table.shift_angstrom(), [[2.8, -4.2], [0, 4.2]], rtol=1e-15)
    assert table.defocus_v_angstrom.tolist() == [15000, 16000]  # as RELION: a missing V is U


def test_an_image_file_without_a_number_is_its_first_image(tmp_path):
    star = tmp_path / "one.star"
    star.write_text("data_\n\nloop_\n_rlnImageName\nsingle.mrc\n")
    table = read_particles(star)
    assert table.row_in_stack.tolist() == [0] and table.stack_names == ["single.mrc"]
    assert np.isnan(table.pixel_size_angstrom).all() and np.isnan(table.shift_angstrom()).all()


def test_line_ends_indents_and_comments_of_other_programs(tmp_path):
    head = ["# a comment", "", "data_", "", "loop_", " _rlnImageName #1", " _rlnVoltage #2"]
    lines = [*head, "   1@a.mrcs  300", "# between", "\t2@a.mrcs\t200  # behind", ""]
    for number, end in enumerate(("\n", "\r\n")):
        star = tmp_path / f"{number}.star"
        star.write_bytes(end.join(lines).encode())
        table = read_particles(star)
        assert table.image_names() == ["000001@a.mrcs", "000002@a.mrcs"]
        assert table.voltage_kv.tolist() == [300, 200]


def test_single_rows_may_be_written_without_a_loop(tmp_path):
    star = tmp_path / "one.star"
    star.write_text(
        "data_optics\n\n_rlnOpticsGroup 1\n_rlnImagePixelSize 1.5\n\n"
        "data_particles\n\n_rlnImageName 4@a.mrcs\n_rlnOpticsGroup 1\n_rlnDefocusU 12000\n"
    )
    table = read_particles(star)
    assert len(table) == 1 and table.row_in_stack[0] == 3
    assert table.pixel_size_angstrom[0] == 1.5 and table.defocus_u_angstrom[0] == 12000
    write_particles(table, tmp_path / "again.star")
    assert_tables_equal(read_particles(tmp_path / "again.star"), table)


def test_pixel_size_can_be_given(project):
    assert (read_particles(project, pixel_size_angstrom=3.5).pixel_size_angstrom == 3.5).all()


def test_a_table_of_no_file_is_written_as_relion_31(tmp_path):
    rng = np.random.default_rng(5)
    write_stack(tmp_path / "s.mrcs", rng.normal(size=(6, 16, 16)), 1.5)
    columns = {
        "stack_index": np.zeros(6),
        "row_in_stack": np.arange(6),
        "rot_deg": rng.uniform(-180, 180, 6),
        "tilt_deg": rng.uniform(0, 180, 6),
        "psi_deg": rng.uniform(-180, 180, 6),
        "shift_x_angstrom": rng.normal(size=6),
        "shift_y_angstrom": rng.normal(size=6) * 1e-7,
        "defocus_u_angstrom": rng.uniform(1e4, 2e4, 6),
        "defocus_v_angstrom": rng.uniform(1e4, 2e4, 6),
        "defocus_angle_deg": rng.uniform(0, 90, 6),
        "voltage_kv": np.full(6, 300.0),
        "cs_mm": np.full(6, 2.7),
        "amplitude_contrast": np.full(6, 0.1),
        "phase_shift_deg": np.zeros(6),
        "bfactor_angstrom2": np.zeros(6),
        "ctf_scale": np.ones(6),
        "pixel_size_angstrom": [1.5, 1.5, 1.6, 1.6, 1.5, 1.7],
        "label": np.arange(6),
    }
    table = ParticleTable([str(tmp_path / "s.mrcs")], columns, stack_names=["s.mrcs"])
    write_particles(table, tmp_path / "s.star")
    blocks = starfile.read(tmp_path / "s.star", always_dict=True)
    assert list(blocks) == ["optics", "particles"]
    assert blocks["optics"]["rlnImagePixelSize"].tolist() == [1.5, 1.6, 1.7]
    assert blocks["optics"]["rlnImageSize"].tolist() == [16, 16, 16]
    again = read_particles(tmp_path / "s.star")
    assert_tables_equal(again, table, but=("source_row", "optics_group"))
    assert again.optics_group.tolist() == [1, 1, 2, 2, 1, 3]


@pytest.mark.shared_data
@pytest.mark.parametrize("name", REAL)
def test_real_files_hold_what_starfile_reads(shared_data, name):
    path = shared_data / "particles" / name
    table = read_particles(path)
    blocks = starfile.read(path, always_dict=True)
    particles = next(block for block in blocks.values() if "rlnImageName" in block)
    optics = blocks.get("optics")
    if optics is not None:
        particles = particles.merge(optics, on="rlnOpticsGroup", how="left")
    assert len(table) == len(particles)
    pairs = {
        "rlnDefocusU": table.defocus_u_angstrom,
        "rlnDefocusV": table.defocus_v_angstrom,
        "rlnDefocusAngle": table.defocus_angle_deg,
        "rlnVoltage": table.voltage_kv,
        "rlnSphericalAberration": table.cs_mm,
        "rlnAmplitudeContrast": table.amplitude_contrast,
        "rlnCtfBfactor": table.bfactor_angstrom2,
        "rlnCtfScalefactor": table.ctf_scale,
        "rlnAngleRot": table.rot_deg,
        "rlnAngleTilt": table.tilt_deg,
        "rlnAnglePsi": table.psi_deg,
        "rlnOriginXAngst": table.shift_x_angstrom,
        "rlnImagePixelSize": table.pixel_size_angstrom,
        "rlnRandomSubset": table.random_subset,
    }
    compared = [column for column in pairs if column in particles]
    assert len(compared) >= 6
    for column in compared:
        # pandas' fast parser, which starfile uses, is off by one unit in the last place here and there
        np.testing.assert_allclose(pairs[column], particles[column].to_numpy(), rtol=3e-16, err_msg=column)
    numbers = particles["rlnImageName"].str.split("@").str[0].astype(int) - 1
    assert table.row_in_stack.tolist() == numbers.tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # legacy headers
        mrc = mrcfile.mmap(table.stack_paths[0], permissive=True)
    with mrc:
        rows = [0, len(table) // 2, len(table) - 1]
        np.testing.assert_array_equal(ImageReader(table).read(rows), mrc.data[table.row_in_stack[rows]])


@pytest.mark.shared_data
@pytest.mark.parametrize("name", REAL)
def test_real_selections_go_back_unchanged(shared_data, tmp_path, name):
    path = shared_data / "particles" / name
    table = read_particles(path).select([4, 0, 2])
    write_particles(table, tmp_path / "out.star", {"zooCluster": [1, 2, 3]})
    before, after = (starfile.read(file, always_dict=True) for file in (path, tmp_path / "out.star"))
    assert list(after) == list(before)
    for block, frame in after.items():
        original = before[block]
        if "rlnImageName" in original:
            original = original.iloc[[4, 0, 2]].reset_index(drop=True)
            assert frame.pop("zooCluster").tolist() == [1, 2, 3]
        assert list(frame.columns) == list(original.columns)
        assert frame.equals(original)
    assert_tables_equal(read_particles(tmp_path / "out.star"), table)


@pytest.mark.shared_data
@pytest.mark.relion
def test_relion_converts_its_old_dialect_to_the_same_table(shared_data, tmp_path):
    """RELION turns 3.0 (pixels, magnification) into 3.1 (Å, optics) itself when it writes."""
    folder = shared_data / "particles" / "aspire_sample"
    old = folder / "sample_particles_relion30.star"
    run(["relion_star_handler", "--i", old, "--o", tmp_path / "new.star", "--multiply_by", "1",
         "--operate", "rlnAutopickFigureOfMerit"], folder)  # fmt: skip
    text = (tmp_path / "new.star").read_text()
    assert "data_optics" in text and "_rlnOriginXAngst" in text and "_rlnOriginX " not in text
    converted, table = read_particles(tmp_path / "new.star"), read_particles(old)
    for name in set(table.columns()) - {"optics_group"}:  # RELION numbers groups by voltage
        # RELION writes 6 digits, 5 after the point for negative numbers
        np.testing.assert_allclose(
            getattr(converted, name), getattr(table, name), rtol=1e-6, atol=6e-6, err_msg=name
        )


@pytest.mark.shared_data
@pytest.mark.relion
def test_relion_reconstructs_the_same_map_from_what_we_wrote(shared_data, tmp_path):
    source = shared_data / "particles" / "trpv1_small_stack"
    shutil.copy(source / "batch_0_restacked.mrc", tmp_path / "stack.mrcs")  # RELION wants that suffix
    text = (source / "trpv1_small_stack.star").read_text().replace("./batch_0_restacked.mrc", "stack.mrcs")
    (tmp_path / "original.star").write_text(text)
    table = read_particles(tmp_path / "original.star")
    reverse = np.arange(len(table))[::-1]
    write_particles(table.select(reverse), tmp_path / "ours.star", {"zooCluster": reverse})
    made_new = table.select(slice(None))
    made_new.source = None
    write_particles(made_new, tmp_path / "new.star")
    write_particles(table, tmp_path / "ours.cs")
    write_particles(read_particles(tmp_path / "ours.cs"), tmp_path / "crossed.star")
    maps = {}
    for name in ("original", "ours", "new", "crossed"):
        run(["relion_reconstruct", "--i", f"{name}.star", "--o", f"{name}.mrc", "--ctf"], tmp_path)
        maps[name] = read_volume(tmp_path / f"{name}.mrc")[0]
    scale = np.abs(maps["original"]).max()
    assert scale > 0
    assert np.abs(maps["ours"] - maps["original"]).max() < 1e-5 * scale  # summed in another order
    np.testing.assert_array_equal(maps["new"], maps["original"])
    # .cs holds float32 angles; RELION's own map changes by 3 % when rot changes by 1e-6 degrees
    assert np.corrcoef(maps["crossed"].ravel(), maps["original"].ravel())[0, 1] > 0.999


@pytest.mark.relion
def test_relion_accepts_what_it_selects_from(project):
    table = read_particles(project)
    out = project.parent / "ours.star"
    write_particles(table, out, {"zooLatent0": [0.5, 1.5, 2.5]})
    run(["relion_star_handler", "--i", out, "--o", project.parent / "kept.star", "--select", "rlnVoltage",
         "--minval", "125"], project.parent)  # fmt: skip
    kept = read_particles(project.parent / "kept.star")
    assert kept.voltage_kv.tolist() == [130, 140]
    frame = starfile.read(project.parent / "kept.star", always_dict=True)["particles"]
    assert frame["zooLatent0"].tolist() == [1.5, 2.5]


def run(command, folder):
    result = subprocess.run([str(part) for part in command], cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0 and "ERROR" not in result.stderr, result.stdout + result.stderr
