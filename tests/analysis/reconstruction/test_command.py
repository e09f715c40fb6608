"""zoo-infer reconstruct from end to end: what is written is read back; bad input is one line."""

import json
import shutil

import numpy as np
import pytest

from zoo.analysis.choose_rows import Particles
from zoo.analysis.reconstruction.command import Wishes, report_lines, write_reconstruction
from zoo.analysis.reconstruction.sources import kind_of_place, open_place
from zoo.analysis.truth import match_truth, read_truths
from zoo.data.formats.mrc import read_volume
from zoo.data.info import DatasetInfo
from zoo.data.particles import read_particles, write_particles
from zoo.errors import ZooError
from zoo.metrics.fsc import fsc, resolution_at


def column(path, name):
    table = read_particles(path)
    return Particles(str(path), table, table.source_row, table.uid).column(name)


def made(folder, found, **wishes):
    folder.mkdir()
    said = []
    reports = write_reconstruction(found, folder, Wishes(**wishes), say=said.append)
    return reports, said


@pytest.fixture(scope="module")
def of_star(star, tmp_path_factory):
    """What is written of a STAR file with poses, as they are."""
    folder = tmp_path_factory.mktemp("star") / "out"
    reports, _ = made(folder, open_place(star))
    return folder, reports


def test_a_star_file_with_poses_gives_its_map(of_star, star, truth):
    folder, reports = of_star
    assert [report.name for report in reports] == ["class_1"]
    assert reports[0].particles == 600 and reports[0].halves == [300, 300]
    map_, voxel = read_volume(folder / "class_1" / "map.mrc")
    assert voxel == 10.0
    assert resolution_at(fsc(map_, truth), 0.5).pixels < 2.6
    assert reports[0].start_angstrom is None and reports[0].chosen_round == 0


def test_fsc_in_the_table_is_that_of_the_half_maps(of_star):
    home = of_star[0] / "class_1"
    halves = [read_volume(home / f"map_half{half}_unfil.mrc")[0] for half in (1, 2)]
    rows = np.genfromtxt(home / "fsc.csv", delimiter=",", names=True)
    np.testing.assert_allclose(rows["fsc_unmasked"], fsc(*halves)[1:], atol=1e-4)
    mask = read_volume(home / "mask.mrc")[0]
    assert 0 <= mask.min() and mask.max() == 1
    np.testing.assert_allclose(rows["fsc_masked"], fsc(*halves, mask)[1:], atol=1e-4)
    np.testing.assert_allclose(rows["frequency_per_angstrom"], rows["shell"] / 320, rtol=1e-4)
    for name in ("fsc.png", "guinier.png", "slices.png"):
        assert (home / name).read_bytes()[:4] == b"\x89PNG"


def test_columns_are_read_back_beside_those_of_the_source(of_star, star):
    before, after = read_particles(star), read_particles(of_star[0] / "particles.star")
    np.testing.assert_array_equal(after.uid, before.uid)
    for name in ("rot_deg", "tilt_deg", "psi_deg", "shift_x_angstrom", "defocus_u_angstrom"):
        np.testing.assert_allclose(getattr(after, name), getattr(before, name), atol=1e-6)
    np.testing.assert_array_equal(after.random_subset, before.random_subset)
    np.testing.assert_array_equal(after.label, before.label)
    assert (column(of_star[0] / "particles.star", "rlnClassNumber") == 1).all()
    assert (column(of_star[0] / "particles.star", "rlnLogLikeliContribution") > 0).mean() > 0.99


def test_script_and_summary_name_what_is_there(of_star):
    folder, reports = of_star
    assert "open class_1/map.mrc" in (folder / "maps.cxc").read_text()
    content = json.loads((folder / "reconstruction.json").read_text())
    assert content["box"] == 32 and content["voxel_size_angstrom"] == 10.0
    assert content["classes"][0]["particles"] == 600
    assert "Guinier plot needs 5 shells" in " ".join(reports[0].lines)


def test_b_factor_and_mask_are_a_persons(star, tmp_path, of_star):
    mask = of_star[0] / "class_1" / "mask.mrc"
    reports, _ = made(tmp_path / "out", open_place(star), bfactor_angstrom2=-300.0, mask=mask)
    assert reports[0].bfactor_angstrom2 == -300
    plain, sharp = (
        read_volume(f / "class_1" / "map_sharpened.mrc")[0] for f in (of_star[0], tmp_path / "out")
    )
    ratio = np.abs(np.fft.rfftn(sharp))[0, 0, 10] / np.abs(np.fft.rfftn(plain))[0, 0, 10]
    assert ratio == pytest.approx(np.exp(75 * (10 / 320) ** 2), rel=0.01)


def test_a_run_gives_maps_of_its_classes_in_the_stacks_own_box(two_states, fake_run, true_columns, tmp_path):
    """Packed at 24 pixels, reconstructed from the stack's 32; poses refined apart; one hand of two states."""
    star, records = two_states
    run = fake_run(tmp_path / "run", records, true_columns(records, turn_deg=2.0))
    assert kind_of_place(run) == "run"
    found = open_place(run, DatasetInfo.load(records))
    assert found.one_model and found.names == ["class_1", "class_2"]
    reports, said = made(tmp_path / "out", found)
    names, truths = read_truths(star.parent / "maps", 32, 10.0)
    for k, report in enumerate(reports):
        map_, voxel = read_volume(tmp_path / "out" / report.name / "map.mrc")
        assert map_.shape == (32, 32, 32) and voxel == 10.0
        assert match_truth(map_, truths, names, 10.0, [k], False).pixels < 2.9
        assert report.start_angstrom and report.chosen_round > 0
    assert any("refining, round 1" in line for line in said)
    lines = report_lines(reports, found)
    assert "they share their start up to" in " ".join(lines)
    after = column(tmp_path / "out" / "particles.star", "rlnClassNumber")
    np.testing.assert_array_equal(after - 1, column(star, "zooLabel"))
    probability = column(tmp_path / "out" / "class_1" / "particles.star", "rlnMaxValueProbDistribution")
    np.testing.assert_allclose(probability, 0.99)
    # the person's half sets, not those that the run split by
    kept = read_particles(tmp_path / "out" / "particles.star").random_subset
    np.testing.assert_array_equal(kept, read_particles(star).random_subset)


def test_records_have_the_poses_of_their_source(two_states):
    found = open_place(two_states[1])
    table = read_particles(two_states[0])
    np.testing.assert_allclose(found.euler_deg, table.euler_deg(), atol=1e-6)
    assert found.names == ["class_1", "class_2"] and not found.one_model
    assert open_place(two_states[1], by="none").names == ["map"]
    split = open_place(two_states[1], by="zooLabel")
    assert split.names == ["class_0", "class_1"]
    assert np.array_equal(split.group, table.label)


def test_clusters_are_reconstructed_with_the_poses_of_their_source(two_states, tmp_path):
    from zoo.analysis.latent import Latents
    from zoo.data.reopen import SourceRecord

    info = DatasetInfo.load(two_states[1])
    table = info.load_table()
    z = np.zeros((info.count, 2), "f4")
    cluster = np.where(np.arange(info.count) < 5, -1, table["label"])
    latents = Latents(
        z, z, table["uid"], table["source_row"], table["label"], origin=SourceRecord.of(info).to_text(),
        extra={"cluster": cluster},
    )  # fmt: skip
    (tmp_path / "clusters").mkdir()
    latents.save(tmp_path / "clusters" / "clusters.npz")
    found = open_place(tmp_path / "clusters")
    assert found.names == ["cluster_00", "cluster_01"]
    assert "5 particles belong to no class" in " ".join(found.lines)
    label = read_particles(two_states[0]).label
    inside = found.group >= 0
    np.testing.assert_array_equal(found.group[inside], label[inside])
    assert (~inside).sum() == 5


def test_a_cryosparc_source_gets_its_alignments3d(star, tmp_path):
    write_particles(read_particles(star), star.parent / "particles.cs")
    made(tmp_path / "out", open_place(star.parent / "particles.cs"))
    before, after = read_particles(star), read_particles(tmp_path / "out" / "particles.cs")
    np.testing.assert_array_equal(after.random_subset, before.random_subset)
    np.testing.assert_allclose(after.shift_angstrom(), before.shift_angstrom(), atol=1e-4)
    from scipy.spatial.transform import Rotation

    a, b = (Rotation.from_euler("ZYZ", t.euler_deg(), degrees=True) for t in (before, after))
    assert np.degrees((a * b.inv()).magnitude()).max() < 0.01
    array = after.source.blocks["particles"]
    assert (array["alignments3D/class"] == 0).all() and (array["zooLogLikelihood"] > 0).mean() > 0.99


def test_origins_of_a_relion_30_file_stay_in_pixels(star, tmp_path):
    from zoo.data.formats.star_blocks import read_star_blocks, write_star_blocks

    blocks, comments = read_star_blocks(str(star))
    rows = blocks["particles"].copy()
    for axis in "XY":
        rows[f"rlnOrigin{axis}"] = (rows.pop(f"rlnOrigin{axis}Angst").astype(float) / 10.0).map(repr)
    optics = blocks["optics"]
    for name in ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast"):
        rows[name] = optics[name].iloc[0]
    rows["rlnDetectorPixelSize"], rows["rlnMagnification"] = "10.0", "10000"
    old = star.parent / "relion30.star"
    write_star_blocks(str(old), {"": rows.drop(columns="rlnOpticsGroup")}, comments)
    made(tmp_path / "out", open_place(old))
    after = read_particles(tmp_path / "out" / "particles.star")
    assert "rlnOriginXAngst" not in after.source.blocks[after.source.particle_block]
    np.testing.assert_allclose(after.shift_angstrom(), read_particles(star).shift_angstrom(), atol=1e-4)


def test_few_particles_are_told_and_low_passed(star, tmp_path):
    few = tmp_path / "few.star"
    write_particles(read_particles(star).select(np.arange(12)), few)
    reports, _ = made(tmp_path / "out", open_place(few))
    assert "12 particles are few for a box of 32: their slices fill shells up to 6" in reports[0].lines[0]
    map_, _ = read_volume(tmp_path / "out" / "class_1" / "map.mrc")
    power = np.abs(np.fft.rfftn(map_))
    assert power[0, 0, 10:].max() < 0.02 * power[0, 0, 1:4].max()


def test_a_class_without_halves_is_left_out_and_told(two_states, tmp_path):
    table = read_particles(two_states[0])
    group = np.where(np.arange(len(table)) == 7, 3, 1)
    write_particles(table, tmp_path / "odd.star", {"rlnClassNumber": group})
    found = open_place(tmp_path / "odd.star")
    reports, said = made(tmp_path / "out", found)
    assert [report.name for report in reports] == ["class_1"]
    assert "class_3: left out" in " ".join(said)
    assert len(read_particles(tmp_path / "out" / "particles.star")) == len(table) - 1


def test_poses_at_chance_are_told(star, tmp_path):
    rng = np.random.default_rng(0)
    table = read_particles(star)
    columns = {"rlnAngleRot": rng.uniform(0, 360, len(table)), "rlnAnglePsi": rng.uniform(0, 360, len(table))}
    columns["rlnAngleTilt"] = np.degrees(np.arccos(rng.uniform(-1, 1, len(table))))
    write_particles(table, star.parent / "random.star", columns)
    reports, _ = made(tmp_path / "out", open_place(star.parent / "random.star"))
    assert "the poses are at chance" in " ".join(reports[0].lines)


def refused(words, call):
    with pytest.raises(ZooError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_bad_places_are_refused(two_states, fake_run, true_columns, star, tmp_path):
    records = two_states[1]
    info = DatasetInfo.load(records)
    run = fake_run(tmp_path / "blind", records, None)
    refused("its model gives no pose", lambda: open_place(run, info))
    (tmp_path / "empty").mkdir()
    refused("holds no config.json", lambda: kind_of_place(tmp_path / "empty"))
    refused("no such file or folder", lambda: kind_of_place(tmp_path / "gone"))
    refused("so it has no poses", lambda: kind_of_place(star.parent / "particles.mrcs"))
    bare = tmp_path / "bare.star"
    table = read_particles(star)
    for name in ("rot_deg", "tilt_deg", "psi_deg"):
        getattr(table, name)[:] = np.nan
    table.source = None
    write_particles(table, bare)
    refused("has no poses", lambda: open_place(bare))
    write_particles(read_particles(star).select(np.arange(10, 600)), tmp_path / "part.star")
    refused("has no pose of 10 of 600 particles", lambda: open_place(star, poses=tmp_path / "part.star"))
    refused("no column zooNothing", lambda: open_place(star, by="zooNothing"))


def test_bad_boxes_are_refused(two_states, fake_run, true_columns, star, tmp_path):
    run = fake_run(tmp_path / "run", two_states[1], true_columns(two_states[1]))
    found = open_place(run, DatasetInfo.load(two_states[1]))
    refused("the images have 32 pixels", lambda: made(tmp_path / "a", found, box=64))
    refused("the run saw images of 24 pixels", lambda: made(tmp_path / "b", found, box=16))
    refused("expected an even number", lambda: made(tmp_path / "c", found, box=31))
    refused("--b-factor", lambda: made(tmp_path / "d", found, bfactor_angstrom2=1e9))
    refused("--start-resolution", lambda: made(tmp_path / "e", found, start_angstrom=-1.0))


def test_another_stack_than_the_one_packed_is_refused(two_states, fake_run, true_columns, tmp_path):
    import mrcfile

    star, records = two_states
    run = fake_run(tmp_path / "run", records, true_columns(records))
    other = tmp_path / "moved"
    shutil.copytree(star.parent, other)
    with mrcfile.open(other / "particles.mrcs", "r+") as file:
        file.data[...] = file.data[::-1].copy()
    found = open_place(run, DatasetInfo.load(records), stacks=other)
    refused("is not the one that was packed", lambda: made(tmp_path / "out", found))


def test_a_mask_of_another_box_is_refused(star, tmp_path):
    from zoo.data.formats.mrc import write_volume

    write_volume(tmp_path / "mask.mrc", np.ones((16,) * 3, "f4"), 10.0)
    found = open_place(star)
    refused("expected a cube of 32", lambda: made(tmp_path / "out", found, mask=tmp_path / "mask.mrc"))
