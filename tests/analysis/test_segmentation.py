"""Segmentation of a whole tomogram in windows: as the whole at once, without seams, in flat memory."""

from __future__ import annotations

import csv
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from scipy import ndimage

from zoo.analysis.segmentation import report
from zoo.analysis.segmentation.grey_values import GreyValues, RescaledBlocks, mirrored
from zoo.analysis.segmentation.pieces import pieces_of
from zoo.analysis.segmentation.segment import SegmentSettings, open_grey, predictor, segment
from zoo.analysis.segmentation.truth import places_in, true_labels
from zoo.analysis.segmentation.windows import plan_cores
from zoo.data.formats.label_volume import LabelVolume, names_file
from zoo.data.formats.mrc import read_volume, write_volume
from zoo.data.formats.tomogram_blocks import TomogramBlocks
from zoo.errors import ZooError

VOXEL = 12.0


class Local:
    """A model whose voxels see 3 others each way, and differ by where they lie in steps of 4 voxels alone."""

    box, voxel_size_angstrom = 16, VOXEL

    def __init__(self, normalisation="tomogram", sign=1):
        self.trained_on = {"normalisation": normalisation, "contrast_sign": sign}
        self.segments = {"class_names": ["background", "ball", "sheet"], "reach_voxels": 3, "multiple": 4}
        self.seen = []

    def apply(self, verb, batch):
        cubes = batch["volume"][..., 0].astype(np.float64)
        assert verb == "segment" and all(side % 4 == 0 for side in cubes.shape[1:])
        self.seen.append(cubes.shape)
        near = np.stack([ndimage.uniform_filter(cube, 7, mode="constant") for cube in cubes])
        remainder = np.arange(cubes.shape[3]) % 4
        heights = np.stack([0 * near + 0.6, 3 * near + 0.1 * remainder, -2 * near], axis=-1)
        shares = np.exp(heights - heights.max(axis=-1, keepdims=True))
        return {"probability": (shares / shares.sum(axis=-1, keepdims=True)).astype(np.float32)}


class Pointwise(Local):
    """The same without a look at neighbours: quick."""

    def apply(self, verb, batch):
        share = 1 / (1 + np.exp(-batch["volume"]))
        return {"probability": np.concatenate([share, (1 - share) / 2, (1 - share) / 2], axis=-1)}


def tomogram(path, shape, seed=0, blur=3, voxel=VOXEL, origin=(0.0, 0.0, 0.0)):
    volume = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), blur)
    write_volume(path, 100 + 20 * volume / volume.std(), voxel, origin)
    return TomogramBlocks(path)


def run(folder, blocks, model, **more):
    """Segment into a new folder: what was found, segmentation and probabilities (classes, z, y, x)."""
    places = more.pop("places", None)
    truth = more.pop("truth", None)
    settings = SegmentSettings(**{"window": 24, **more})
    grey, voxel = open_grey(blocks, model, settings, lambda line: None)
    folder.mkdir()
    found = segment(folder, model, grey, voxel, settings, blocks.corner_xyz_angstrom, places, truth)
    labels = read_volume(folder / "segmentation.mrc")[0]
    if settings.probabilities == "none":
        return found, labels, None
    names = model.segments["class_names"]
    return found, labels, np.stack([read_volume(folder / f"probability_{name}.mrc")[0] for name in names])


@pytest.mark.parametrize("shape", [(40, 44, 61), (5, 30, 26), (24, 73, 24)])
def test_windows_give_what_the_whole_at_once_gives(tmp_path, shape):
    blocks, model = tomogram(tmp_path / "t.mrc", shape), Local()
    _, labels, found = run(tmp_path / "s", blocks, model)
    grey, _ = open_grey(blocks, model, SegmentSettings(), lambda line: None)
    more = [-size % 4 for size in shape]
    # It ends at its faces, as the cubes that were learned from do; mirrored only up to a whole multiple.
    whole = grey.read(tuple(slice(0, size + extra) for size, extra in zip(shape, more, strict=True)))
    wanted = model.apply("segment", {"volume": whole[None, ..., None]})["probability"][0]
    wanted = wanted[tuple(slice(size) for size in shape)]
    np.testing.assert_allclose(np.moveaxis(found, 0, -1), wanted, atol=1e-6)
    np.testing.assert_array_equal(labels, wanted.argmax(axis=-1))
    assert len(set(labels.ravel())) == 3 and len(model.seen) > 1  # it can tell, and there were windows


class Leaning(Pointwise):
    """Says more of what lies at larger z, y and x, so that mirror images differ."""

    def apply(self, verb, batch):
        cubes = batch["volume"]
        rise = sum(np.linspace(-1, 1, side).reshape(place) for side, place in
                   zip(cubes.shape[1:4], ((-1, 1, 1, 1), (-1, 1, 1), (-1, 1)), strict=True))  # fmt: skip
        return super().apply(verb, {"volume": cubes + rise})


@pytest.mark.parametrize("normalisation", ["tomogram", "background"])
def test_mirror_images_are_averaged_where_they_belong(tmp_path, normalisation):
    blocks = tomogram(tmp_path / "t.mrc", (24, 32, 40))
    whole = {"window": 96}  # what it says depends on where in a window a voxel lies
    plain = run(tmp_path / "plain", blocks, Leaning(normalisation), **whole)[2]
    found = run(tmp_path / "mirrors", blocks, Leaning(normalisation), mirrors=True, **whole)[2]
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)
    assert np.abs(found - plain).max() > 0.05
    # Of a tomogram that is mirrored it says the mirror image.
    write_volume(tmp_path / "m.mrc", read_volume(tmp_path / "t.mrc")[0][::-1, :, ::-1], VOXEL)
    other = TomogramBlocks(tmp_path / "m.mrc")
    again = run(tmp_path / "again", other, Leaning(normalisation), mirrors=True, **whole)[2]
    if normalisation == "tomogram":  # the grid of blended windows begins at the first voxel
        np.testing.assert_allclose(again[:, ::-1, :, ::-1], found, atol=1e-5)
    alone = run(tmp_path / "alone", other, Leaning(normalisation), **whole)[2]
    assert np.abs(alone[:, ::-1, :, ::-1] - plain).max() > 0.05


def test_a_window_that_is_seen_to_its_faces_would_show(tmp_path):
    """The control: with a reach that is too small the windows are not those of the whole."""
    blocks, model = tomogram(tmp_path / "t.mrc", (40, 44, 61)), Local()
    good = run(tmp_path / "good", blocks, model)[2]
    model.segments = {**model.segments, "reach_voxels": 0}
    assert np.abs(run(tmp_path / "bad", blocks, model)[2] - good).max() > 0.01


def test_windows_normalised_each_by_itself_have_no_seams(tmp_path):
    blocks, model = tomogram(tmp_path / "t.mrc", (40, 44, 61)), Local("background")
    _, _, found = run(tmp_path / "s", blocks, model)
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)
    # The same whatever blocks it is made in.
    grey, _ = open_grey(blocks, model, SegmentSettings(), lambda line: None)
    windows, side = predictor(model, grey, SegmentSettings())
    assert side == 48
    core = slice(7, 25), slice(0, 11), slice(33, 61)
    np.testing.assert_allclose(windows.of(core), np.moveaxis(found, 0, -1)[core], atol=1e-5)
    # Steps between neighbours are no larger at the faces of the windows (every 8 voxels) than elsewhere.
    step = np.abs(np.diff(found[1], axis=2)).mean(axis=(0, 1))
    faces = np.arange(1, 61) % 8 == 0
    assert step[faces].mean() < 1.3 * step[~faces].mean()


@pytest.mark.parametrize("normalisation", ["background", "none", "tomogram"])
def test_constant_input_gives_constant_output(tmp_path, normalisation):
    model = Local(normalisation)
    write_volume(tmp_path / "t.mrc", np.full((36, 40, 44), 3.0, np.float32), VOXEL)
    blocks = TomogramBlocks(tmp_path / "t.mrc")
    if normalisation == "tomogram":
        with pytest.raises(ZooError, match="all equal"):
            run(tmp_path / "s", blocks, model)
        return
    _, _, found = run(tmp_path / "s", blocks, model)
    for part in (found[:, 8:-8, 8:-8, 8 + k : -8 : 4] for k in range(4)):
        assert np.ptp(part.reshape(3, -1), axis=1).max() < 1e-6


def test_headers_names_and_table_say_what_there_is(tmp_path):
    blocks = tomogram(tmp_path / "t.mrc", (24, 30, 33), origin=(-50.0, 7.5, 1000.0))
    model = Local()
    found, labels, probability = run(tmp_path / "s", blocks, model, probabilities="float16")
    with mrcfile.open(tmp_path / "s" / "segmentation.mrc") as file:
        assert file.header.mode == 0 and file.data.shape == (24, 30, 33)
        assert float(file.voxel_size.x) == pytest.approx(VOXEL)
        assert file.header.origin.item() == (-50.0, 7.5, 1000.0)
    with mrcfile.open(tmp_path / "s" / "probability_ball.mrc") as file:
        assert file.header.mode == 12 and file.header.origin.item() == (-50.0, 7.5, 1000.0)
    assert names_file(tmp_path / "s" / "segmentation.mrc").read_text() == "0 background\n1 ball\n2 sheet\n"
    # It is a label volume that zoo-pack takes.
    again = LabelVolume(tmp_path / "s" / "segmentation.mrc", blocks, None)
    assert again.counts.tolist() == found.voxels.tolist() == [(labels == k).sum() for k in range(3)]
    pieces = pieces_of(TomogramBlocks(tmp_path / "s" / "segmentation.mrc"), 3)
    lines = report.write_classes(tmp_path / "c.csv", model.segments["class_names"], found, pieces, VOXEL)
    with open(tmp_path / "c.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for number in (1, 2):
        numbered, count = ndimage.label(labels == number, np.ones((3, 3, 3)))
        row = rows[number]
        assert int(row["voxels"]) == (labels == number).sum() and int(row["pieces"]) == count
        assert float(row["volume_angstrom3"]) == pytest.approx((labels == number).sum() * VOXEL**3, rel=1e-5)
        largest = np.bincount(numbered.ravel())[1:].max() * VOXEL**3
        assert float(row["largest_piece_angstrom3"]) == pytest.approx(largest, rel=1e-5)
        mean = probability[number][labels == number].mean()
        assert float(row["mean_probability"]) == pytest.approx(mean, abs=2e-3)
    assert len(lines) == 3 and "piece" in lines[1]
    none = run(tmp_path / "none", blocks, model, probabilities="none")
    assert np.array_equal(none[1], labels) and not list((tmp_path / "none").glob("probability*"))


@pytest.mark.parametrize("slab", [1, 600, 10**7])
def test_pieces_are_those_of_the_whole(slab):
    volume = (ndimage.gaussian_filter(np.random.default_rng(5).normal(size=(23, 20, 30)), 1) > 0.08).astype(
        int
    )
    volume[:, 3:6, 4:7] = 2  # a bar through all slabs

    class Held:
        path, shape = "held", volume.shape

        def read(self, part):
            return volume[part].astype(np.float32)

    found = pieces_of(Held(), 4, slab)
    assert len(found[0]) == len(found[3]) == 0 and found[2].tolist() == [23 * 9]
    numbered, _ = ndimage.label(volume == 1, np.ones((3, 3, 3)))
    assert found[1].tolist() == sorted(np.bincount(numbered.ravel())[1:].tolist(), reverse=True)
    assert len(found[1]) > 5


def test_cores_tile_the_volume():
    for shape in ((1, 72, 73), (100, 3, 721)):
        count = np.zeros(shape, int)
        for core in plan_cores(shape, 72, 4):
            count[core] += 1
            assert all(each.start % 4 == 0 and 0 < each.stop - each.start <= 72 for each in core)
        assert (count == 1).all()
    assert mirrored(-3, 8, 4).tolist() == [2, 1, 0, 0, 1, 2, 3, 3, 2, 1, 0]


def test_only_around_picks(tmp_path):
    blocks, model = tomogram(tmp_path / "t.mrc", (40, 44, 61)), Local()
    whole = run(tmp_path / "whole", blocks, model)
    (tmp_path / "p.csv").write_text("x,y,z\n30,20,18\n2,2,2\n900,20,18\n")
    places = places_in(tmp_path / "p.csv", blocks, VOXEL, None)
    assert places.tolist() == [[30, 20, 18], [2, 2, 2]]
    windows = len(model.seen)
    found, labels, probability = run(tmp_path / "near", blocks, model, places=places)
    assert len(model.seen) - windows < windows  # others were not looked at
    near = np.zeros(blocks.shape, bool)
    near[10:26, 12:28, 22:38] = near[:10, :10, :10] = True
    np.testing.assert_array_equal(labels, np.where(near, whole[1], 0))
    np.testing.assert_allclose(probability[:, near], whole[2][:, near], atol=1e-6)
    assert (probability[0][~near] == 1).all() and (probability[1:, ~near] == 0).all()
    (tmp_path / "far.csv").write_text("x,y,z\n900,20,18\n")
    with pytest.raises(ZooError, match="none of its 1 places lies in the tomogram"):
        places_in(tmp_path / "far.csv", blocks, VOXEL, None)


def test_a_dark_tomogram_is_turned_as_the_records_were(tmp_path):
    bright = tomogram(tmp_path / "t.mrc", (24, 24, 30))
    write_volume(tmp_path / "dark.mrc", -read_volume(tmp_path / "t.mrc")[0], VOXEL)
    dark = TomogramBlocks(tmp_path / "dark.mrc")
    wanted = run(tmp_path / "a", bright, Local())[2]
    for name, model, more in (("b", Local(sign=-1), {}), ("c", Local(), {"contrast": -1})):
        np.testing.assert_allclose(run(tmp_path / name, dark, model, **more)[2], wanted, atol=1e-5)


@pytest.mark.parametrize("factor", [0.7, 1.6])
def test_another_voxel_size_is_said_and_brought_to_the_models(tmp_path, factor):
    axes = np.meshgrid(*(np.arange(size) * factor for size in (30, 34, 38)), indexing="ij")

    def shown(z, y, x):  # what both sample
        return np.sin(z / 3.1) * np.cos(y / 4.3) + np.sin((x + y) / 3.7)

    write_volume(tmp_path / "t.mrc", 50 + shown(*axes), VOXEL * factor, (5.0, 6.0, 7.0))
    blocks = TomogramBlocks(tmp_path / "t.mrc")
    with pytest.raises(ZooError, match="but the model learned from 12 Å; --rescale brings it"):
        open_grey(blocks, Local(), SegmentSettings(), lambda line: None)
    said = []
    grey, voxel = open_grey(blocks, Local(), SegmentSettings(rescale=True), said.append)
    assert voxel == VOXEL and f"from {VOXEL * factor:.4g} to 12 Å" in said[0]
    whole = grey.read(tuple(slice(0, size) for size in grey.shape))
    part = slice(3, 9), slice(0, 12), slice(8, grey.shape[2])
    np.testing.assert_allclose(grey.read(part), whole[part], atol=2e-4)
    there = shown(*np.meshgrid(*(np.arange(size) for size in grey.shape), indexing="ij"))
    inside = (slice(4, -4),) * 3
    # below 1 it is smoothed, so that amplitudes fall but nothing moves
    assert np.corrcoef(whole[inside].ravel(), there[inside].ravel())[0, 1] > 0.999
    run(tmp_path / "s", blocks, Local(), rescale=True)
    with mrcfile.open(tmp_path / "s" / "segmentation.mrc") as file:
        assert file.data.shape == grey.shape and float(file.voxel_size.x) == pytest.approx(VOXEL)
        assert file.header.origin.item() == (5.0, 6.0, 7.0)
    wrong = open_grey(blocks, Local(), SegmentSettings(voxel_size_angstrom=VOXEL), said.append)
    assert wrong[0].shape == blocks.shape
    with pytest.raises(ZooError, match="cannot be rescaled"):
        true_labels(tmp_path / "t.mrc", grey, blocks, ["background"], None)


def test_a_finer_tomogram_is_smoothed_before_it_is_thinned_out(tmp_path):
    noise = np.random.default_rng(0).normal(size=(40, 40, 40)).astype(np.float32)
    write_volume(tmp_path / "t.mrc", noise, 4.0)
    coarse = RescaledBlocks(TomogramBlocks(tmp_path / "t.mrc"), 3.0)
    values = coarse.read(tuple(slice(0, size) for size in coarse.shape))
    assert coarse.shape == (14, 14, 14) and values.std() < 0.3
    assert coarse.voxel_size_angstrom == pytest.approx(12.0)


def test_what_cannot_be_segmented_is_one_line(tmp_path):
    def refused(words, blocks, **more):
        with pytest.raises(ZooError, match=words) as caught:
            run(tmp_path / "no", blocks, Local(), **more)
        assert "\n" not in str(caught.value)
        if (tmp_path / "no").exists():
            assert list((tmp_path / "no").iterdir()) == []
            (tmp_path / "no").rmdir()

    refused("61 x 44 x 1 voxels: one section is an image", tomogram(tmp_path / "one.mrc", (1, 44, 61)))
    volume = read_volume(tmp_path / "one.mrc")[0].repeat(20, axis=0)
    volume[13, 5, 60] = np.nan
    with mrcfile.new(tmp_path / "nan.mrc") as file, np.errstate(invalid="ignore"):
        with pytest.warns(RuntimeWarning, match="NaN"):
            file.set_data(volume.astype(np.float32))
        file.voxel_size = VOXEL
    refused("NaN or infinite", TomogramBlocks(tmp_path / "nan.mrc"))
    model, blocks = Local("none"), TomogramBlocks(tmp_path / "nan.mrc")  # not sampled before
    with pytest.raises(ZooError, match="voxel 60, 5, 13 .* is NaN or infinite"):
        run(tmp_path / "no", blocks, model)
    for window, words in ((22, "--window 22: expected a multiple of 4, 12 or more"), (8, "--window 8")):
        with pytest.raises(ZooError, match=words):
            SegmentSettings(window=window).check(4, 3)
    for more, words in (
        ({"probabilities": "int8"}, "--probabilities int8"),
        ({"contrast": 2}, "--contrast 2"),
    ):
        with pytest.raises(ZooError, match=words):
            SegmentSettings(**more).check(4, 3)


def test_the_truth_is_matched_by_name(tmp_path):
    blocks, model = tomogram(tmp_path / "t.mrc", (24, 30, 33)), Local()
    _, labels, _ = run(tmp_path / "s", blocks, model)
    swapped = np.array([0, 7, 3])[labels.astype(int)]
    write_volume(tmp_path / "l.mrc", swapped, VOXEL)
    grey, _ = open_grey(blocks, model, SegmentSettings(), lambda line: None)
    names = model.segments["class_names"]
    truth = true_labels(tmp_path / "l.mrc", grey, blocks, names, "7=ball,3=sheet")
    found = run(tmp_path / "again", blocks, model, truth=truth)[0]
    assert found.truth["both"].tolist() == found.voxels.tolist()
    lines = report.write_classes(tmp_path / "c.csv", names, found, [np.ones(1, int)] * 3, VOXEL)
    assert all("truth 1.000" in line for line in lines)
    with pytest.raises(ZooError, match="the model knows no cube, but background, ball, sheet"):
        true_labels(tmp_path / "l.mrc", grey, blocks, names, "7=cube,3=sheet")


def test_the_picture_and_the_script_show_the_classes(tmp_path):
    from matplotlib.image import imread

    blocks, model = tomogram(tmp_path / "t.mrc", (24, 30, 33)), Local()
    _, labels, _ = run(tmp_path / "s", blocks, model)
    names = model.segments["class_names"]
    found = TomogramBlocks(tmp_path / "s" / "segmentation.mrc")
    report.save_sections(tmp_path / "a.png", blocks, found, names)
    picture = imread(tmp_path / "a.png")[..., :3]
    colourful = np.ptp(picture, axis=-1) > 0.1
    half = picture.shape[1] // 2
    assert colourful[:, half:].mean() > 10 * max(colourful[: int(0.9 * len(picture)), :half].mean(), 1e-3)
    text = report.chimerax_script(names, blocks.path, tmp_path / "s", True, 24)
    assert 'open "../t.mrc"' in text and 'open "probability_sheet.mrc"' in text and "level 0.5" in text
    text = report.chimerax_script(names, blocks.path, tmp_path / "s", False, 24)
    assert text.count("open segmentation.mrc") == 2 and "level 1.5" in text


MEMORY = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_segmentation import Pointwise
from zoo.analysis.segmentation.pieces import pieces_of
from zoo.analysis.segmentation.segment import SegmentSettings, open_grey, segment
from zoo.data.formats.tomogram_blocks import TomogramBlocks

def peak():
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, flush=True)

for path in sys.argv[2:]:
    settings, model = SegmentSettings(window=48), Pointwise()
    blocks = TomogramBlocks(path)
    grey, voxel = open_grey(blocks, model, settings, print)
    out = Path(path + ".out")
    out.mkdir()
    segment(out, model, grey, voxel, settings)
    pieces_of(TomogramBlocks(out / "segmentation.mrc"), 3, 1 << 18)
    peak()
held = [blocks.read(tuple(slice(0, side) for side in blocks.shape)) for _ in range(2)]
peak()
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_tomogram(tmp_path, measured_python):
    from zoo.data.formats.mrc import StackWriter

    pattern = np.random.default_rng(0).normal(size=(32, 128, 128)).astype(np.float32)
    pattern = ndimage.gaussian_filter(pattern, 2)
    for name, repeats in (("small.mrc", 1), ("large.mrc", 40)):  # 2 and 80 MiB
        with StackWriter(tmp_path / name, (128, 128), VOXEL) as writer:
            for _ in range(repeats):
                writer.write(pattern)
    here = Path(__file__).parent
    said = measured_python(MEMORY, here, tmp_path / "small.mrc", tmp_path / "large.mrc")
    small, large, whole = (int(line) for line in said.split()[-3:])
    assert large - small < 25
    # The control: held at once, the same file would have shown in the same figure.
    assert whole - large > 100


def test_grey_values_beyond_the_faces_are_mirrored(tmp_path):
    blocks = tomogram(tmp_path / "t.mrc", (6, 7, 8))
    grey = GreyValues(blocks, None, -1)
    found = grey.read((slice(-9, 15), slice(-1, 8), slice(2, 5)))
    values = read_volume(tmp_path / "t.mrc")[0]
    wanted = -np.pad(values, ((9, 9), (1, 1), (0, 0)), mode="symmetric")[:, :, 2:5]
    np.testing.assert_array_equal(found, wanted)
