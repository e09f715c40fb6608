import json
import shutil
import subprocess
import sys
import time

import mrcfile
import numpy as np
import pytest
import starfile

from zoo.data.info import DatasetInfo
from zoo.serving.open_model import open_model
from zoo_tools.infer import app


@pytest.fixture
def infer(call):
    return lambda *arguments: call(app, "zoo-infer", *arguments)


@pytest.fixture(scope="module")
def source(packed):
    """The STAR file that the data set was packed from."""
    return DatasetInfo.load(packed).source["path"]


@pytest.fixture(scope="module")
def latents(small_run, packed, tmp_path_factory):
    """What zoo-infer encode writes: latents, and the source file with columns."""
    from zoo_tools._run import run

    folder = tmp_path_factory.mktemp("encode")
    arguments = [
        "encode",
        small_run,
        "--data",
        packed,
        "--out",
        folder / "z.npz",
        "--star",
        folder / "z.star",
    ]
    with pytest.raises(SystemExit) as left:
        run(app, "zoo-infer", [str(each) for each in [*arguments, "--batch-size", "25"]])
    assert not left.value.code
    return folder


@pytest.fixture(scope="module")
def clusters(small_run, packed, tmp_path_factory):
    """What zoo-infer cluster writes for two K-means clusters, and what it printed."""
    import contextlib
    import io

    from zoo.analysis import cluster
    from zoo_tools._run import run

    folder = tmp_path_factory.mktemp("cluster") / "out"
    arguments = [
        "cluster",
        small_run,
        "--out",
        folder,
        "--method",
        "kmeans",
        "--clusters",
        "2",
        "--path",
        "3",
    ]
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        # UMAP, which only places the dots of a picture here, is compiled for half a minute.
        patch.setattr(cluster, "embed_umap", lambda z, *_: z[:, :2])
        with pytest.raises(SystemExit) as left:
            run(app, "zoo-infer", [str(each) for each in arguments])
    assert not left.value.code
    return folder, printed.getvalue()


def test_latents_are_those_of_the_model_in_record_order(latents, small_run, packed):
    from zoo.data.records.particle_pipeline import sequential_batches

    found = np.load(latents / "z.npz")
    info = DatasetInfo.load(packed)
    batch = next(iter(sequential_batches(info, 60)))
    expected = open_model(small_run).keras_model.encode(batch)
    np.testing.assert_allclose(found["z_mean"], expected["z_mean"], atol=1e-5)
    np.testing.assert_allclose(found["z_logvar"], expected["z_logvar"], atol=1e-5)
    np.testing.assert_array_equal(found["source_row"], batch["source_row"])
    assert found["z_mean"].shape == (60, 3)


def test_star_has_latents_in_the_order_of_its_file(latents, source):
    found, original = starfile.read(latents / "z.star"), starfile.read(source)
    particles = found["particles"]
    assert particles["rlnImageName"].map(lambda name: name.split("@")[0]).tolist() == [
        name.split("@")[0] for name in original["particles"]["rlnImageName"]
    ]
    assert found["optics"].equals(original["optics"])
    z = np.load(latents / "z.npz")
    order = np.argsort(z["source_row"])
    for column in range(3):
        np.testing.assert_allclose(particles[f"zooLatent{column}"], z["z_mean"][order, column], rtol=1e-6)
    assert "zooCluster" not in particles


def test_encode_clusters_on_request(infer, small_run, tmp_path, monkeypatch):
    import zoo.analysis.cluster as module

    # the real one is tested on data that have clusters; untrained latents need not
    def half(z, label):
        order = np.argsort(np.argsort(z[:, 0]))
        return module.Clustering(order // 30, z[:, :2], module.ClusterSettings())

    monkeypatch.setattr(module, "cluster_latents", half)
    code, out, _ = infer(
        "encode", small_run, "--out", tmp_path / "z.npz", "--cluster", "--star", tmp_path / "z.star"
    )
    assert code == 0 and "60 particles, 3 coordinates each, by the encoder" in out
    particles = starfile.read(tmp_path / "z.star")["particles"]
    assert np.bincount(particles["zooCluster"]).tolist() == [30, 30]
    assert np.bincount(np.load(tmp_path / "z.npz")["cluster"]).tolist() == [30, 30]


def test_a_cluster_folder_is_whole_and_compared_with_the_truth(clusters, source):
    folder, printed = clusters
    assert sorted(path.name for path in folder.parent.iterdir()) == ["out"]
    parts = [
        starfile.read(folder / f"cluster_{index:02d}" / "particles.star")["particles"] for index in (0, 1)
    ]
    assert sum(map(len, parts)) == 60
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["source"] == source
    assert [len(part) for part in parts] == [each["particles"] for each in summary["clusters"]]
    for each in summary["clusters"]:
        assert each["truth"]["name"] == f"class_{each['label']}.mrc"
    assert f"NMI {summary['scores']['nmi']:.3f}" in printed and "FSC 0.5" in printed
    with mrcfile.open(folder / "cluster_01" / "path_002.mrc") as file:
        assert file.data.shape == (32, 32, 32) and float(file.voxel_size.x) == pytest.approx(10.0)
    for name in ("latent.png", "slices.png"):
        assert (folder / name).read_bytes()[:4] == b"\x89PNG"


def test_select_writes_the_kept_rows_back(clusters, infer, source, tmp_path):
    folder, _ = clusters
    out = tmp_path / "kept.star"
    code, printed, _ = infer("select", folder, "--keep", "1", "--out", out)
    assert code == 0
    kept = starfile.read(out)["particles"]
    original = starfile.read(source)["particles"]
    found = np.load(folder / "clusters.npz")
    rows = np.sort(found["source_row"][found["cluster"] == 1])
    np.testing.assert_allclose(kept["rlnDefocusU"], original["rlnDefocusU"][rows])
    assert set(kept["zooCluster"]) == {1} and f"{len(rows)} of 60 particles" in printed


def test_maps_of_latents_clusters_and_a_path(infer, small_run, latents, clusters, tmp_path):
    few = tmp_path / "few.npz"
    z = np.load(latents / "z.npz")["z_mean"][:3]
    np.savez(few, z_mean=z)
    code, out, _ = infer("maps", small_run, "--latents", few, "--out", tmp_path / "points")
    assert code == 0 and "3 maps" in out and "chimerax" in out
    expected = open_model(small_run).density(z)
    for index in range(3):
        found = mrcfile.read(tmp_path / "points" / f"map_00{index}.mrc")
        np.testing.assert_allclose(found, expected[index], atol=1e-6 * np.abs(expected).max())
    code, _, _ = infer("maps", small_run, "--clusters", clusters[0], "--out", tmp_path / "centres")
    assert code == 0
    centre = mrcfile.read(tmp_path / "centres" / "cluster_001.mrc")
    np.testing.assert_allclose(centre, mrcfile.read(clusters[0] / "cluster_01" / "map.mrc"), atol=1e-6)
    code, _, _ = infer("maps", small_run, "--pca", "2", "--out", tmp_path / "path")
    assert code == 0
    assert sorted(path.name for path in (tmp_path / "path").iterdir()) == [
        "path.cxc",
        "path.png",
        "path_000.mrc",
        "path_001.mrc",
        "series.json",
    ]


@pytest.mark.slow  # test_export_tool.py compares all that a run and its export give
def test_an_exported_model_encodes_the_same(infer, small_run, latents, packed, tmp_path):
    from zoo.serving.export import export_model
    from zoo.serving.open_model import load_run_model

    export_model(load_run_model(small_run), tmp_path / "served")
    code, _, _ = infer("encode", tmp_path / "served", "--data", packed, "--out", tmp_path / "z.npz")
    assert code == 0
    np.testing.assert_allclose(
        np.load(tmp_path / "z.npz")["z_mean"], np.load(latents / "z.npz")["z_mean"], atol=1e-5
    )


def refused(infer, message, *arguments):
    """The tool leaves with 2 and one line that holds `message`."""
    code, _, err = infer(*arguments)
    assert code == 2, err
    assert err.startswith("error: ") and err.count("\n") == 1 and message in err, err


def test_what_is_no_run_is_told(infer, small_run, packed, tmp_path):
    out = ("--out", tmp_path / "z.npz")
    refused(infer, "no such folder; expected a run folder", "encode", tmp_path / "nowhere", *out)
    (tmp_path / "empty").mkdir()
    refused(infer, "is not a run folder", "encode", tmp_path / "empty", "--data", packed, *out)
    cut = tmp_path / "cut"
    shutil.copytree(small_run, cut)
    (cut / "model.keras").write_bytes((small_run / "model.keras").read_bytes()[:5000])
    refused(infer, "Keras cannot load it", "encode", cut, "--data", packed, *out)
    (cut / "model.keras").unlink()
    refused(infer, "has no model.keras yet", "encode", cut, "--data", packed, *out)
    assert not (tmp_path / "z.npz").exists()


def test_data_that_do_not_fit_are_told(infer, small_run, packed, source, tmp_path):
    out = ("--out", tmp_path / "z.npz")
    refused(infer, "no such folder", "encode", small_run, "--data", tmp_path / "nowhere", *out)
    refused(infer, "pack it first", "encode", small_run, "--data", source, *out)
    other = tmp_path / "other"
    shutil.copytree(packed, other)
    info = json.loads((other / "info.json").read_text())
    (other / "info.json").write_text(json.dumps({**info, "box": 48}))
    refused(
        infer,
        "images of 48 pixels, but the model was trained on 32",
        "encode",
        small_run,
        "--data",
        other,
        *out,
    )
    shutil.rmtree(other)
    shutil.copytree(packed, other)
    shard = next(other.glob("*.tfrecord"))
    shard.write_bytes(shard.read_bytes()[:-10])
    refused(infer, shard.name, "encode", small_run, "--data", other, *out)
    assert not (tmp_path / "z.npz").exists()


def test_a_shard_with_a_flipped_byte_is_told(infer, small_run, packed, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(packed, other)
    shard = next(other.glob("*.tfrecord"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    refused(infer, "damaged", "encode", small_run, "--data", other, "--out", tmp_path / "z.npz")
    refused(
        *(infer, "damaged", "cluster", small_run, "--data", other, "--out", tmp_path / "clusters"),
        *("--method", "kmeans", "--clusters", "2"),
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other"]


def test_a_source_that_is_gone_is_told_before_encoding(infer, small_run, packed, source, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(packed, other)
    info = json.loads((other / "info.json").read_text())
    info["source"]["path"] = str(tmp_path / "gone.star")
    (other / "info.json").write_text(json.dumps(info))
    data = ("--data", other)
    message = "put it back, or name its new place with --source"
    refused(infer, message, "cluster", small_run, *data, "--out", tmp_path / "clusters")
    star = ("--star", tmp_path / "z.star")
    refused(infer, message, "encode", small_run, *data, "--out", tmp_path / "z.npz", *star)
    code, _, _ = infer("encode", small_run, *data, "--out", tmp_path / "z.npz", *star, "--source", source)
    assert code == 0 and (tmp_path / "z.star").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "dbscan"), "unknown clustering method 'dbscan'"),
        (("--method", "kmeans"), "pass --clusters K"),
        (("--clusters", "3"), "is for --method kmeans"),
        (("--method", "kmeans", "--clusters", "100"), "100 clusters of 60 particles"),
        (("--min-cluster-size", "61"), "needs at least 61 particles"),
        (("--truth", "{tmp}"), "holds no class_*.mrc"),
    ],
)
def test_bad_cluster_options_are_told(infer, small_run, tmp_path, arguments, message):
    arguments = [each.format(tmp=tmp_path) for each in arguments]
    refused(infer, message, "cluster", small_run, "--out", tmp_path / "out", *arguments)
    assert list(tmp_path.iterdir()) == []


def test_bad_maps_requests_are_told(infer, small_run, clusters, latents, tmp_path):
    np.savez(tmp_path / "other.npz", z_mean=np.zeros((2, 7)))
    out = ("--out", tmp_path / "maps")
    refused(
        infer,
        "latents of 7 coordinates, but the model has 3",
        "maps",
        small_run,
        *out,
        "--latents",
        tmp_path / "other.npz",
    )
    refused(infer, "no such file", "maps", small_run, *out, "--latents", tmp_path / "none.npz")
    refused(infer, "has no clusters.npz", "maps", small_run, *out, "--clusters", tmp_path)
    refused(
        infer,
        "principal component 9",
        "maps",
        small_run,
        *out,
        "--clusters",
        clusters[0],
        "--pca",
        "3",
        "--component",
        "9",
    )
    code, _, err = infer("maps", small_run, *out, "--clusters", clusters[0], "--latents", latents / "z.npz")
    assert code == 2 and "not both" in err
    assert not (tmp_path / "maps").exists()


def test_bad_selections_are_told(infer, clusters, source, tmp_path):
    folder, _ = clusters
    out = ("--out", tmp_path / "kept.star")
    refused(infer, "cluster 5 is empty", "select", folder, "--keep", "0,5", *out)
    refused(infer, "are not whole numbers", "select", folder, "--keep", "first", *out)
    refused(infer, "has neither clusters.npz", "select", tmp_path, "--keep", "0", *out)
    refused(
        infer, "is the file that the particles come from", "select", folder, "--keep", "0", "--out", source
    )
    refused(infer, "written as .star or .cs", "select", folder, "--keep", "0", "--out", tmp_path / "kept.txt")
    assert list(tmp_path.iterdir()) == []


def test_results_are_not_written_over_other_files(infer, small_run, latents, tmp_path):
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "thesis.tex").write_text("")
    arguments = ("maps", small_run, "--latents", latents / "z.npz", "--pca", "1", "--out", tmp_path / "maps")
    refused(infer, "exists and is not empty", *arguments)
    refused(infer, "was not written by this command", *arguments, "--overwrite")
    refused(infer, "name the file z.npz", "encode", small_run, "--out", tmp_path / "z.txt")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["maps", "thesis.tex"]


def test_help_is_fast_and_loads_nothing_heavy():
    code = (
        "import sys, zoo_tools.infer as tool\n"
        "from zoo_tools._run import run\n"
        "try: run(tool.app, 'zoo-infer', ['cluster', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'tensorflow', 'keras', 'numpy', 'umap', 'sklearn'} & set(sys.modules)\n"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - start < 5  # 0.3 s on an idle machine


@pytest.mark.parametrize(
    ("out", "star", "words"),
    [
        ("l.npz", "x.txt", "written as .star or .cs, not .txt"),
        ("file/l.npz", None, "is a file, so nothing can be written in it"),
        ("l.npz", "file/x.star", "is a file, so nothing can be written in it"),
        ("l.npz", "folder.star", "is a folder"),
    ],
)
def test_encode_refuses_names_before_it_encodes(infer, small_run, tmp_path, monkeypatch, out, star, words):
    import zoo_tools.infer as module

    def encoded(*arguments):
        raise AssertionError("was encoded first")

    monkeypatch.setattr(module, "_encode", encoded)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.star").mkdir()
    more = [] if star is None else ["--star", tmp_path / star]
    code, _, err = infer("encode", small_run, "--out", tmp_path / out, *more)
    assert code == 2 and words in err
    assert not (tmp_path / "l.npz").exists()


def test_select_by_range_and_the_others(infer, latents, source, tmp_path):
    z = np.load(latents / "z.npz")
    kept = set(z["source_row"][z["z_mean"][:, 0] > np.median(z["z_mean"][:, 0])].tolist())
    where = [
        "--where",
        f"zooLatent0 > {np.median(z['z_mean'][:, 0])!r}".replace("np.float32(", "").replace(")", ""),
    ]
    found = []
    for more in ([], ["--complement"]):
        code, out, _ = infer("select", latents / "z.npz", *where, *more, "--out", tmp_path / "s.star")
        assert code == 0 and "of 60 particles" in out
        found.append(starfile.read(tmp_path / "s.star")["particles"]["rlnImageName"].tolist())
    original = starfile.read(source)["particles"]["rlnImageName"].tolist()
    assert [name.split("@")[0] for name in found[0]] == [
        name.split("@")[0] for row, name in enumerate(original) if row in kept
    ]
    assert len(found[0]) + len(found[1]) == 60
