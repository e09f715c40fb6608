"""From a tomogram to the average of one complex: cubes in their frames, clusters, members packed, `faml`."""

import numpy as np
import pytest

from zoo.analysis.cluster import Clustering, ClusterSettings, cluster_kmeans
from zoo.analysis.cluster_report import write_report
from zoo.analysis.latent import encode_dataset
from zoo.analysis.selection import open_source
from zoo.analysis.truth import match_truth
from zoo.data.formats.mrc import read_volume
from zoo.data.info import DatasetInfo
from zoo.data.packing.pack_subtomograms import VolumeOptions, pack_subtomograms
from zoo.data.packing.shards import PackSettings
from zoo.simulate.embedded_complexes import complexes_of_one_density
from zoo.simulate.subtomogram_settings import SubtomogramSettings
from zoo.simulate.tomogram import simulate_tomogram
from zoo.simulate.tomogram_settings import TomogramSettings
from zoo.training.job import train
from zoo.training.settings import TrainSettings

pytestmark = pytest.mark.slow
BOX, VOXEL = 16, 28.4


class SizeModel:
    """Codes (b, 2): how much lies in the middle of a cube, and a little farther out; draws a ball of it."""

    latent_dim, box, voxel_size_angstrom, name, path = 2, BOX, VOXEL, "size", "size"
    trained_on: dict = {}
    axis = np.arange(BOX) - BOX // 2
    radius = np.sqrt(sum(part**2 for part in np.meshgrid(axis, axis, axis, indexing="ij")))

    def features(self, verb):
        return ["volume"]

    def apply(self, verb, batch):
        cubes = np.asarray(batch["volume"])[..., 0]
        parts = (self.radius < 3, (self.radius >= 3) & (self.radius < 5))
        z = np.stack([cubes[:, part].mean(axis=1) for part in parts], axis=1).astype(np.float32)
        return {"z_mean": z, "z_logvar": np.zeros_like(z)}

    def density(self, z):
        return np.stack([each[0] * (self.radius < 4).astype(np.float32) for each in np.asarray(z)])


@pytest.fixture(scope="module")
def tomogram(tmp_path_factory):
    out = tmp_path_factory.mktemp("chain") / "T"
    imaging = SubtomogramSettings(40, snr=0.5, seed=5)
    classes = complexes_of_one_density(("large_lumps", "tripod"), BOX, VOXEL)
    return simulate_tomogram(classes, out, TomogramSettings(imaging, (160, 160, 32), 0, 0)).tomogram


def test_the_members_of_a_cluster_average_to_their_complex(tomogram, tmp_path):
    packing = PackSettings(BOX, contrast=1, seed=0)
    turned = VolumeOptions(str(tomogram), outside="clip", pose_normalise=True)
    info = pack_subtomograms(
        tomogram.with_name("particles.star"), tmp_path / "cubes", packing, turned, processes=1
    ).info
    latents = encode_dataset(SizeModel(), info, 16)
    cluster = cluster_kmeans(latents.z_mean, 2)
    found = Clustering(cluster, latents.z_mean, ClusterSettings("kmeans", 2), {})
    (tmp_path / "C").mkdir()
    write_report(tmp_path / "C", SizeModel(), latents, found, open_source(info), 2, cubes=info)
    large = max((0, 1), key=lambda number: latents.z_mean[cluster == number, 0].mean())
    members = tmp_path / "C" / f"cluster_{large:02d}" / "particles.star"

    straight = VolumeOptions(str(tomogram), outside="clip")
    packed = pack_subtomograms(members, tmp_path / "members", packing, straight, processes=1).info
    table = DatasetInfo.load(packed.path).load_table()
    assert (np.asarray(table["label"]) == 0).mean() > 0.9 and packed.count >= 20
    assert np.isfinite(table["rot_deg"]).all() and (table["tilt_min_deg"] == -60).all()

    values = {"start": "poses", "candidates": "4", "step_deg": "20"}
    run, code = train(
        TrainSettings(model="faml", data=packed.path, out=tmp_path / "run", epochs=6, overrides=values)
    )
    assert code == 0
    average, voxel = read_volume(run.path / "results" / "class_1.mrc")
    truth, _ = read_volume(tomogram.parent / "maps" / "class_0.mrc")
    assert voxel == pytest.approx(VOXEL)
    assert match_truth(average, truth[None], ["large"], voxel, allow_mirror=False).correlation > 0.8
