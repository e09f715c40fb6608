"""zoo-infer cluster, annotate and labels on cubes of a tomogram, with a model as it is drawn."""

import sys
from pathlib import Path

import numpy as np
import pytest

from zoo.data.formats.mrc import read_volume, write_volume
from zoo.data.info import DatasetInfo
from zoo_tools.infer import app
from zoo_tools.pack import app as pack_app
from zoo_tools.train import app as train_app

sys.path.insert(0, str(Path(__file__).parents[1] / "analysis"))
from mined_cubes import SHAPE, VOXEL, make  # noqa: E402


@pytest.fixture(scope="module")
def tomogram(tmp_path_factory):
    """Folder with tomogram.mrc, places.star and records of 16 cubes."""
    return make(tmp_path_factory.mktemp("tomogram"))[0]


@pytest.fixture(scope="module")
def cube_run(tomogram, tmp_path_factory):
    """A run of autoencoder3d on these cubes, its weights as drawn."""
    import zoo
    from zoo.runs.data_source import describe
    from zoo.runs.run_folder import RunFolder

    info = DatasetInfo.load(tomogram / "rec")
    model = zoo.create_model("autoencoder3d", info, seed=0, filters=2)
    config = {"model": "autoencoder3d", "data": describe(info, info.path)}
    run = RunFolder.create(tmp_path_factory.mktemp("runs") / "run", config)
    model.save(run.model_file)
    return run.path


@pytest.fixture
def infer(call, monkeypatch):
    # only draws the picture of the codes, and takes half a minute to be compiled
    monkeypatch.setattr("zoo.analysis.cluster.embed_umap", lambda z, *_, **__: np.asarray(z)[:, :2])
    return lambda *arguments: call(app, "zoo-infer", *arguments)


@pytest.fixture
def clusters(infer, cube_run, tmp_path):
    code, out, error = infer(
        "cluster", cube_run, "--method", "kmeans", "--clusters", 3, "--out", tmp_path / "C"
    )
    assert code == 0, error
    assert "spread" in out and "montage.png" in out and "groups.yaml" in out
    return tmp_path / "C"


def test_from_clusters_to_labels(infer, clusters, cube_run, tomogram, tmp_path):
    groups = tmp_path / "mine.yaml"
    groups.write_text("surface: [0]\nglobular: [1]\nignore: [2]\n")
    place = ("--groups", groups, "--tomogram", tomogram / "tomogram.mrc", "--out", tmp_path / "A")
    code, out, error = infer("annotate", clusters, *place)
    assert code == 0, error
    assert "1 surface:" in out and "2 globular:" in out
    labels, voxel = read_volume(tmp_path / "A" / "labels.mrc")
    assert labels.shape == SHAPE and voxel == VOXEL and set(np.unique(labels)) <= {0, 1, 2}
    code, _, error = infer("annotate", clusters, *place)
    assert code == 2 and "exists and is not empty" in error
    code, _, error = infer("annotate", clusters, *place, "--overwrite", "--level", "0.7")
    assert code == 0, error
    assert (read_volume(tmp_path / "A" / "labels.mrc")[0] > 0).sum() <= (labels > 0).sum()
    code, out, error = infer("labels", clusters, "--groups", groups, "--out", tmp_path / "weak")
    assert code == 0, error
    info = DatasetInfo.load(tmp_path / "weak")
    assert set(info.labels) == {1, 2} and "0 background:" in out and "2 globular:" in out
    assert 0 < info.count < 16


def test_groups_of_one_cluster_and_bad_words_are_one_line(infer, clusters, tomogram, tmp_path):
    out = ("--tomogram", tomogram / "tomogram.mrc", "--out", tmp_path / "A")
    code, _, error = infer("annotate", clusters, *out)
    assert code == 2 and "all clusters stand under ignore" in error  # not edited yet
    (clusters / "groups.yaml").write_text("all: [0, 1, 2]\n")
    assert infer("labels", clusters, "--out", tmp_path / "weak")[0] == 0  # one group only
    (clusters / "groups.yaml").write_text("surface: [0, 7]\nignore: [1, 2]\n")
    for verb in (("annotate", clusters, *out), ("labels", clusters, "--out", tmp_path / "other")):
        code, _, error = infer(*verb)
        assert code == 2 and error.count("\n") == 1 and "names cluster 7, which is not there" in error
    (clusters / "groups.yaml").write_text("all: [0, 1, 2]\n")
    code, _, error = infer("labels", clusters, "--out", tmp_path / "other", "--level", "1.5")
    assert code == 2 and "--level 1.5: expected more than 0" in error
    code, _, error = infer("labels", tomogram, "--out", tmp_path / "other")
    assert code == 2 and "clusters.npz" in error
    code, _, error = infer("labels", clusters, "--run", tmp_path / "gone", "--out", tmp_path / "other")
    assert code == 2 and error.count("\n") == 1 and "gone" in error
    assert not (tmp_path / "other").exists() and not (tmp_path / "A").exists()


def test_the_default_level_is_the_measured_one():
    from zoo.analysis.mined import DEFAULT_LEVEL
    from zoo_tools import mining_verbs

    assert mining_verbs._LEVEL == DEFAULT_LEVEL


def test_more_clusters_than_cubes(infer, cube_run, tmp_path):
    arguments = ("cluster", cube_run, "--method", "kmeans", "--clusters", 17, "--out", tmp_path / "C")
    code, _, error = infer(*arguments)
    assert code == 2 and error.count("\n") == 1 and "17 clusters of 16" in error
    assert not (tmp_path / "C").exists()


def test_tomograms_that_cannot_be(infer, clusters, tomogram, tmp_path):
    (clusters / "groups.yaml").write_text("all: [0, 1, 2]\n")
    volume, _ = read_volume(tomogram / "tomogram.mrc")
    import mrcfile

    volume = volume.copy()
    volume[3:22, 5, 5] = np.nan
    with mrcfile.new(tmp_path / "nan.mrc") as mrc, pytest.warns(RuntimeWarning, match="NaN"):
        mrc.set_data(volume)
        mrc.voxel_size = VOXEL
    write_volume(tmp_path / "flat.mrc", np.zeros((1, 60, 60)), VOXEL)
    for name, words in (
        ("nan.mrc", "NaN or infinite"),
        ("flat.mrc", "one section is an image"),
        ("no.mrc", "no.mrc"),
    ):
        code, _, error = infer("annotate", clusters, "--tomogram", tmp_path / name, "--out", tmp_path / "A")
        assert code == 2 and error.count("\n") == 1 and words in error and name in error, error
        assert not (tmp_path / "A").exists()


def test_cubes_larger_than_the_tomogram(call, tomogram, tmp_path):
    for name, box in (("tomogram.mrc", 32), ("flat.mrc", 8)):
        if name == "flat.mrc":
            write_volume(tomogram / name, np.zeros((1, 60, 60)), VOXEL)
        place = ("--tomogram", tomogram / name, "--coordinates", tomogram / "places.star", "--box", box)
        for outside in ("refuse", "drop"):
            words = (*place, "--tomogram-name", "tomogram", "--outside", outside)
            code, _, error = call(pack_app, "zoo-pack", tmp_path / "rec", *words)
            assert code == 2 and error.count("\n") == 1
            assert f"smaller than a box of {box}; give a smaller --box" in error, error
        assert not (tmp_path / "rec").exists()


def test_a_tomogram_with_nan_is_not_packed(call, tomogram, tmp_path):
    import mrcfile

    volume, _ = read_volume(tomogram / "tomogram.mrc")
    volume = volume.copy()
    volume[12, 8, 8] = np.nan
    with mrcfile.new(tmp_path / "tomogram.mrc") as mrc, pytest.warns(RuntimeWarning, match="NaN"):
        mrc.set_data(volume)
        mrc.voxel_size = VOXEL
    words = ("--tomogram", tmp_path / "tomogram.mrc", "--coordinates", tomogram / "places.star", "--box", 12)
    code, _, error = call(pack_app, "zoo-pack", tmp_path / "rec", *words)
    assert code == 2 and error.count("\n") == 1 and "1 voxels are NaN or infinite" in error


def test_a_box_that_cannot_be_halved_twice(call, tomogram, tmp_path):
    rec = tmp_path / "rec"
    words = ("--tomogram", tomogram / "tomogram.mrc", "--coordinates", tomogram / "places.star", "--box", 14)
    assert call(pack_app, "zoo-pack", rec, *words)[0] == 0
    run = ("--model", "autoencoder3d", "--data", rec, "--out", tmp_path / "run")
    code, _, error = call(train_app, "zoo-train", *run)
    assert code == 2 and error.count("\n") == 1 and "box=14 cannot be halved twice" in error
    assert not (tmp_path / "run").exists()
