import csv
import json

import mrcfile
import numpy as np
import pytest
import starfile

from zoo.analysis.cluster import Clustering, ClusterSettings
from zoo.analysis.cluster_report import (
    format_report,
    keep_clusters,
    load_clusters,
    parse_clusters,
    write_report,
)
from zoo.analysis.latent import Latents
from zoo.analysis.map_folder import choose_series, write_series
from zoo.data.formats.mrc import write_stack
from zoo.data.particles import read_particles
from zoo.errors import ZooError


class BlobModel:
    """A ball whose radius in voxels is the first latent coordinate."""

    latent_dim, box, voxel_size_angstrom = 2, 16, 4.0

    def density(self, z):
        axis = np.arange(self.box) - self.box // 2
        radius = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
        return (radius < np.asarray(z)[:, 0, None, None, None]).astype(np.float32)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A stack of 30 images and a STAR file of them."""
    folder = tmp_path_factory.mktemp("source")
    write_stack(folder / "all.mrcs", np.zeros((30, 16, 16)), 4.0)
    names = [f"{row + 1:06d}@all.mrcs" for row in range(30)]
    starfile.write({"particles": _frame(names)}, folder / "all.star")
    return folder / "all.star"


def _frame(names):
    import pandas as pd

    return pd.DataFrame({"rlnImageName": names, "rlnPixelSize": 4.0})


@pytest.fixture(scope="module")
def latents(source):
    """Latents of the 30 particles in shuffled order: radius 3 or 6 by label."""
    random = np.random.default_rng(0)
    row = random.permutation(30)
    label = (row >= 18).astype(int)
    z = np.stack([3 + 3 * label + random.uniform(-1, 1, 30), random.normal(size=30) * 0.1], axis=1)
    uid = read_particles(source).uid[row]
    return Latents(z.astype("f4"), np.zeros((30, 2), "f4"), uid, row, label, str(source), "blob")


@pytest.fixture(scope="module")
def clustering(latents):
    cluster = latents.label.copy()
    cluster[latents.source_row == 0] = -1
    return Clustering(cluster, latents.z_mean.copy(), ClusterSettings("kmeans", 2), {"nmi": 0.9, "ari": 0.8})


@pytest.fixture(scope="module")
def written(latents, clustering, source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    report = write_report(folder, BlobModel(), latents, clustering, read_particles(source), path_length=3)
    return folder, report


def test_report_has_every_file(written):
    folder, _ = written
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    per_cluster = {"particles.star", "map.mrc", "path_000.mrc", "path_001.mrc", "path_002.mrc", "path.cxc"}
    assert found == {
        *("clusters.npz", "clusters.csv", "summary.json", "latent.png", "slices.png", "maps.cxc"),
        *(f"cluster_{index:02d}/{name}" for index in (0, 1) for name in per_cluster),
    }


def test_selections_split_the_source(written, source):
    folder, _ = written
    original = starfile.read(source)
    first, second = (starfile.read(folder / f"cluster_{index:02d}" / "particles.star") for index in (0, 1))
    assert first["rlnImageName"].tolist() == original["rlnImageName"][1:18].tolist()
    assert second["rlnImageName"].tolist() == original["rlnImageName"][18:].tolist()
    assert set(first["zooCluster"]) == {0} and set(second["zooCluster"]) == {1}
    assert first["zooLatent0"].between(2, 4).all() and second["zooLatent0"].between(5, 7).all()
    # the images are found from where the selection lies
    assert read_particles(folder / "cluster_00" / "particles.star").stack_paths == [
        str(source.with_name("all.mrcs"))
    ]


def test_maps_are_those_of_the_cluster(written, latents):
    folder, _ = written
    model = BlobModel()
    for index in (0, 1):
        rows = latents.label == index if index else (latents.label == 0) & (latents.source_row != 0)
        with mrcfile.open(folder / f"cluster_{index:02d}" / "map.mrc") as file:
            assert float(file.voxel_size.x) == 4.0
            expected = model.density(latents.z_mean[rows].mean(axis=0, keepdims=True))[0]
            np.testing.assert_array_equal(file.data, expected)
    volumes = [mrcfile.read(folder / "cluster_01" / f"path_00{step}.mrc").sum() for step in range(3)]
    assert volumes[0] < volumes[1] < volumes[2]  # the path runs along the radius


def test_tables_agree(written, latents, clustering):
    folder, report = written
    read, cluster = load_clusters(folder)
    np.testing.assert_array_equal(cluster, clustering.cluster)
    np.testing.assert_array_equal(read.source_row, latents.source_row)
    with open(folder / "clusters.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["cluster"]) for row in rows] == cluster.tolist()
    assert [int(row["uid"]) for row in rows] == latents.uid.tolist()
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["unassigned"] == report.unassigned == 1
    assert [each["particles"] for each in summary["clusters"]] == [17, 12]


def test_printed_table_is_right(written, latents, clustering):
    text = format_report(written[1]).splitlines()
    spread = []
    for members in (clustering.cluster == 0, clustering.cluster == 1):
        away = latents.z_mean[members] - latents.z_mean[members].mean(axis=0)
        spread.append(f"{np.sqrt((away**2).sum(axis=1).mean()):.3g}")
    assert text[0].split() == ["cluster", "particles", "share", "spread", "label", "purity"]
    assert text[1].split() == ["0", "17", "56.7%", spread[0], "0", "100.0%"]
    assert text[2].split() == ["1", "12", "40.0%", spread[1], "1", "100.0%"]
    assert text[3:] == ["unassigned: 1 particles", "NMI 0.900, ARI 0.800"]


def test_clusters_are_kept_by_number(written):
    folder, _ = written
    _, cluster = load_clusters(folder / "clusters.npz")
    np.testing.assert_array_equal(
        keep_clusters(cluster, parse_clusters("1,-1"), folder), np.flatnonzero(cluster != 0)
    )
    with pytest.raises(ZooError, match=r"cluster 7 is empty; there are particles in \[-1, 0, 1\]"):
        keep_clusters(cluster, [7], folder)
    with pytest.raises(ZooError, match="clusters '0;1' are not whole numbers"):
        parse_clusters("0;1")


def test_files_that_hold_no_clusters_are_told(tmp_path, latents):
    with pytest.raises(ZooError, match="has no clusters.npz"):
        load_clusters(tmp_path)
    np.savez(tmp_path / "clusters.npz", z_mean=latents.z_mean)
    with pytest.raises(ZooError, match="has no column cluster"):
        load_clusters(tmp_path)
    np.savez(tmp_path / "clusters.npz", z_mean=latents.z_mean, cluster=np.zeros(4))
    with pytest.raises(ZooError, match="cluster is float64 of shape"):
        load_clusters(tmp_path)


def test_series_of_clusters_and_paths(written, latents, tmp_path):
    folder, _ = written
    model = BlobModel()
    series = choose_series(model, clusters=folder)
    assert list(series) == ["cluster"] and series["cluster"].shape == (2, 2)
    series = choose_series(model, clusters=folder, path_length=5)
    assert {name: z.shape for name, z in series.items()} == {
        "cluster_00_path": (5, 2),
        "cluster_01_path": (5, 2),
    }
    paths = write_series(tmp_path, model, series)
    assert len(paths) == 10 and all(path.is_file() for path in paths)
    scripts = [(tmp_path / f"{name}.cxc").read_text().splitlines() for name in series]
    assert "open cluster_01_path_*.mrc vseries true" in scripts[1]
    levels = {line.split("level ")[1].split()[0] for lines in scripts for line in lines if "level" in line}
    assert len(levels) == 1  # one contour level for all
    listed = json.loads((tmp_path / "series.json").read_text())
    np.testing.assert_allclose(listed["latents"]["cluster_00_path"], series["cluster_00_path"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["latents", "clusters"])
def test_maps_do_not_stay_in_memory(tmp_path, measured_python, kind):
    """A hundred more of 64 voxels are 105 MB: 1,000 of 128 would be 8.4 GB."""
    code = """
        import resource, sys
        from pathlib import Path
        import numpy as np
        from zoo.analysis.cluster import ClusterSettings, cluster_latents
        from zoo.analysis.cluster_report import write_report
        from zoo.analysis.latent import Latents
        from zoo.analysis.map_folder import choose_series, write_series

        class Model:
            name, box, voxel_size_angstrom, latent_size = "blobs", 64, 4.0, 2

            def density(self, z):
                axis = np.arange(64, dtype=np.float32) - 32
                blob = np.exp(-(axis**2) / 50)
                one = blob[:, None, None] * blob[:, None] * blob
                return np.stack([one * np.float32(2 + each[0]) for each in z])

        folder, count, kind = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
        z = np.random.default_rng(0).uniform(0, 1, (2 * count, 2)).astype(np.float32)
        if kind == "latents":
            series = {"map": z[:count], "path": z[count:]}
            assert len(write_series(folder, Model(), series)) == 2 * count
        else:
            n = len(z)
            rows = np.arange(n)
            latents = Latents(z, z, rows.astype(np.uint64), rows, np.full(n, -1), "", "")
            found = cluster_latents(z, latents.label, ClusterSettings("kmeans", 2))
            write_report(folder, Model(), latents, found, None, path_length=count)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    """
    peaks = []
    for count in (20, 70):
        (tmp_path / str(count)).mkdir()
        peaks.append(float(measured_python(code, tmp_path / str(count), count, kind)))
    assert len(list((tmp_path / "70").rglob("*.mrc"))) >= 140
    assert peaks[1] - peaks[0] < 45, peaks


def test_series_of_a_latents_file(latents, tmp_path):
    latents.save(tmp_path / "z.npz")
    series = choose_series(BlobModel(), tmp_path / "z.npz")
    np.testing.assert_array_equal(series["map"], latents.z_mean)
    assert choose_series(BlobModel(), latents, path_length=4)["path"].shape == (4, 2)


def test_too_many_or_other_latents_are_told(latents, tmp_path):
    np.savez(tmp_path / "z.npz", z_mean=np.zeros((1001, 2)))
    with pytest.raises(ZooError, match="1,001 latents, and a map of each is more than the 1,000"):
        choose_series(BlobModel(), tmp_path / "z.npz")
    np.savez(tmp_path / "z.npz", z_mean=np.zeros((4, 3)))
    with pytest.raises(ZooError, match="z.npz: latents of 3 coordinates, but the model has 2"):
        choose_series(BlobModel(), tmp_path / "z.npz")
