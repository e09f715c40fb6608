"""zoo-pack --labels, a model, zoo-infer segment, as a person runs them; its export gives the same numbers."""

import csv

import mrcfile
import numpy as np
import pytest
from scipy import ndimage

from zoo.data.formats.mrc import read_volume, write_volume
from zoo.data.formats.tomogram_blocks import TomogramBlocks
from zoo.data.formats.tomogram_scale import measure_scale
from zoo.data.info import DatasetInfo

SHAPE, VOXEL = (28, 36, 50), 15.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """t.mrc (dark sheets), l.mrc, and a run of edss3d on boxes of it, its weights as drawn; its export."""
    import zoo
    from zoo.data.packing.pack_subtomograms import VolumeOptions, pack_subtomograms
    from zoo.data.packing.shards import PackSettings
    from zoo.runs.data_source import describe
    from zoo.runs.run_folder import RunFolder
    from zoo.serving.export import export_model
    from zoo.serving.open_model import facts_of_run

    folder = tmp_path_factory.mktemp("segment")
    rng = np.random.default_rng(0)
    labels = np.zeros(SHAPE, np.float32)
    labels[:, 10:14], labels[8:16, 20:30, 30:40] = 1, 2
    volume = ndimage.gaussian_filter(rng.normal(size=SHAPE), 1) * 3 - 2 * (labels > 0)
    write_volume(folder / "t.mrc", volume.astype(np.float32), VOXEL, (10.0, -20.0, 30.0))
    write_volume(folder / "l.mrc", labels, VOXEL)
    options = VolumeOptions(
        str(folder / "t.mrc"), labels=str(folder / "l.mrc"), label_names="1=sheet,2=block", every=16
    )
    packing = PackSettings(16, normalisation="tomogram")
    info = pack_subtomograms(None, folder / "rec", packing, options, processes=1).info
    model = zoo.create_model("edss3d", info, seed=3, filters=4)
    config = {"model": "edss3d", "data": describe(info, info.path)}
    run = RunFolder.create(folder / "run", config)
    model.save(run.model_file)
    export_model(model, folder / "served", trained_on=facts_of_run(run.path))
    return folder


@pytest.fixture
def infer(call):
    from zoo_tools.infer import app

    return lambda *arguments: call(app, "zoo-infer", *arguments)


@pytest.fixture
def refused(infer, folder, tmp_path):
    def ask(*more, tomogram=None, model="run"):
        out = tmp_path / "refused"
        words = ["segment", folder / model, "--tomogram", tomogram or folder / "t.mrc", "--out", out, *more]
        code, _, err = infer(*words)
        lines = err.strip().splitlines()
        assert code == 2 and len(lines) == 1 and lines[0].startswith("error: "), (code, err)
        assert not out.exists()
        return lines[0]

    return ask


def probabilities(folder):
    names = ("background", "sheet", "block")
    return np.stack([read_volume(folder / f"probability_{name}.mrc")[0] for name in names], axis=-1)


def test_the_run_its_export_and_the_bare_signature_say_the_same(folder, infer, tmp_path):
    import tensorflow as tf

    for name, window in (("run", 32), ("served", 40)):
        words = ["segment", folder / name, "--tomogram", folder / "t.mrc", "--out", tmp_path / name]
        code, out, err = infer(*words, "--window", window, "--truth", folder / "l.mrc",
                               "--label-names", "1=sheet,2=block")  # fmt: skip
        assert code == 0, err
    found = probabilities(tmp_path / "run")
    np.testing.assert_allclose(probabilities(tmp_path / "served"), found, atol=1e-5)
    # What a person without the zoo does: the whole at once, the signature takes any multiple of 4.
    blocks = TomogramBlocks(folder / "t.mrc")
    volume = read_volume(folder / "t.mrc")[0]
    grey = measure_scale(blocks).of(volume, sign=-1)
    signature = tf.saved_model.load(str(folder / "served" / "1")).signatures["segment"]
    whole = signature(volume=tf.constant(np.pad(grey, [(0, -size % 4) for size in SHAPE])[None, ..., None]))
    whole = whole["probability"].numpy()[0]
    # The far end of a side of no whole multiple is mirrored, all else is the tomogram as it is.
    mirrored = np.pad(grey, [(0, -size % 4) for size in SHAPE], mode="symmetric")
    ended = signature(volume=tf.constant(mirrored[None, ..., None]))["probability"].numpy()[0]
    np.testing.assert_allclose(found, ended[tuple(slice(size) for size in SHAPE)], atol=1e-5)
    whole = whole[tuple(slice(size) for size in SHAPE)]
    np.testing.assert_allclose(found[:, :, : SHAPE[2] - 16], whole[:, :, : SHAPE[2] - 16], atol=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError):
        signature(volume=tf.zeros((1, 18, 16, 16, 1)))
    # and the files
    labels, voxel = read_volume(tmp_path / "run" / "segmentation.mrc")
    np.testing.assert_array_equal(labels, found.argmax(axis=-1))
    assert voxel == pytest.approx(VOXEL)
    with mrcfile.open(tmp_path / "run" / "segmentation.mrc", header_only=True) as file:
        assert file.header.mode == 0 and file.header.origin.item() == (10.0, -20.0, 30.0)
    with open(tmp_path / "run" / "classes.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["background", "sheet", "block"]
    assert sum(int(row["voxels"]) for row in rows) == np.prod(SHAPE)
    assert all(0 <= float(row["iou"]) <= 1 for row in rows)
    assert {"sections.png", "segmentation.cxc", "segmentation.names.txt"} <= {
        path.name for path in (tmp_path / "run").iterdir()
    }
    assert "0 background:" in out and "intersection over union with the truth" in out
    assert "dark is taken for density, as in the records" in out


def test_only_around_picks(folder, infer, tmp_path):
    (tmp_path / "p.csv").write_text("x,y,z\n20,15,12\n")
    words = ["segment", folder / "run", "--tomogram", folder / "t.mrc", "--out", tmp_path / "s"]
    code, _, err = infer(*words, "--picks", tmp_path / "p.csv")
    assert code == 0, err
    background = probabilities(tmp_path / "s")[..., 0]
    near = np.zeros(SHAPE, bool)
    near[4:20, 7:23, 12:28] = True
    assert (background[~near] == 1).all() and (background[near] < 1).mean() > 0.9
    code, _, err = infer(*words)
    assert code == 2 and "exists and is not empty" in err


def test_what_cannot_be_is_one_line(folder, refused, tmp_path):
    volume = read_volume(folder / "t.mrc")[0]
    for name, array, voxel in (
        ("slice", volume[:1], VOXEL),
        ("coarse", volume, 2 * VOXEL),
        ("flat", 0 * volume, VOXEL),
    ):
        write_volume(tmp_path / f"{name}.mrc", array, voxel)
    assert "one section is an image" in refused(tomogram=tmp_path / "slice.mrc")
    assert "voxels of 30 Å, but the model learned from 15 Å; --rescale" in refused(
        tomogram=tmp_path / "coarse.mrc"
    )
    assert "all equal" in refused(tomogram=tmp_path / "flat.mrc")
    assert "--window 30: expected a multiple of 4, 28 or more" in refused("--window", 30)
    assert "--probabilities int8" in refused("--probabilities", "int8")
    assert "--contrast 3: expected auto" in refused("--contrast", 3)
    assert "names the labels of --truth" in refused("--label-names", "1=a")
    assert "is how --picks names" in refused("--tomogram-name", "a")
    assert "--pixel-size 0" in refused("--pixel-size", 0)
    assert "gone.mrc" in refused(tomogram=tmp_path / "gone.mrc")
    assert "labels of 50 x 36 x 1 voxels" in refused("--truth", tmp_path / "slice.mrc")
    write_volume(tmp_path / "l.mrc", (volume > 0).astype(np.float32), VOXEL)
    assert "the model knows no class_1" in refused("--truth", tmp_path / "l.mrc")


def test_packing_says_how_it_is_called(call, folder, tmp_path):
    from zoo_tools.pack import app

    def ask(*words):
        code, _, err = call(app, "zoo-pack", *words)
        assert code == 2 and len(err.strip().splitlines()) == 1
        return err

    more = ["--tomogram", folder / "t.mrc", "--box", 16]
    assert "expected zoo-pack OUT" in ask(tmp_path / "a", tmp_path / "b", *more, "--every", 8)
    assert "give --tomogram" in ask(folder, tmp_path / "a", "--labels", folder / "l.mrc")
    code, out, err = call(
        app, "zoo-pack", tmp_path / "rec", *more, "--every", 8, "--labels", folder / "l.mrc", "--label-names",
        "1=sheet,2=block", "--processes", 1,
    )  # fmt: skip
    assert code == 0, err
    info = DatasetInfo.load(tmp_path / "rec")
    assert info.normalisation["method"] == "tomogram" and info.label_names() == [
        "background",
        "sheet",
        "block",
    ]
    assert "2 block" in out and "what is labelled is dark (-1)" in out
