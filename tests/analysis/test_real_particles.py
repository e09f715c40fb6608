"""Real particle files of every kind: packed, encoded, and selections written back to their format."""

import numpy as np
import pandas as pd
import pytest
import starfile

from zoo.analysis.latent import encode_dataset
from zoo.analysis.selection import latent_columns, open_source, selection_suffix, write_selection
from zoo.data.formats.images import ImageReader
from zoo.data.info import DatasetInfo
from zoo.data.packing.pack_particles import pack_particles
from zoo.data.packing.shards import PackSettings
from zoo.data.particles import read_particles

FILES = {
    "empiar_10076_7/empiar_10076_7.star": None,
    "empiar_10076_7/empiar_10076_7.cs": None,
    "relion31/relion31.star": None,
    "aspire_sample/sample_particles_relion30.star": None,
    "aspire_sample/sample_particles_relion31.star": None,
    "class_averages_empiar_10268/mixture_2D.mrcs": 2.0,
    "sta_ribosome_tilts/sta_testing_bin8.star": None,
    "trpv1_small_stack/trpv1_small_stack.star": None,
}


class MeanModel:
    """Latents that can be checked by hand: mean and mean square of the packed image."""

    latent_dim, box, name, trained_on = 2, 32, "mean", {}

    def features(self, verb):
        return ["image", "ctf"]

    def apply(self, verb, batch):
        images = batch["image"]
        flat = images.reshape(len(images), -1)
        return {
            "z_mean": np.stack([flat.mean(1), (flat**2).mean(1)], axis=1),
            "z_logvar": np.zeros((len(flat), 2)),
        }


@pytest.mark.shared_data
@pytest.mark.parametrize("name", FILES)
def test_latents_and_selections_go_back_to_their_rows(name, shared_data, tmp_path):
    source = shared_data / "particles" / name
    settings = PackSettings(32, "float32", normalisation="none", contrast=1, pixel_size_angstrom=FILES[name])
    pack_particles(source, tmp_path / "packed", settings, processes=1)
    info = DatasetInfo.load(tmp_path / "packed")
    latents = encode_dataset(MeanModel(), info, batch_size=16)
    table = open_source(info)
    # Fourier cropping keeps the mean of each image: every latent belongs to the image of its row
    means = ImageReader(table).read(latents.source_row).mean(axis=(1, 2))
    scale = np.abs(means).max() + latents.z_mean[:, 1].max() ** 0.5
    np.testing.assert_allclose(latents.z_mean[:, 0], means, atol=1e-4 * scale)

    keep = latents.source_row[::2]
    out = tmp_path / "out" / f"kept{selection_suffix(source)}"
    write_selection(table, keep, out, latent_columns(latents.z_mean[::2], np.arange(len(keep))))
    again = read_particles(out)
    rows = np.sort(keep)
    np.testing.assert_array_equal(again.stack_paths, table.stack_paths)
    np.testing.assert_array_equal(
        ImageReader(again).read(np.arange(len(rows))), ImageReader(table).read(rows)
    )
    if source.suffix == ".star":
        _same_star_rows(source, out, rows)
    elif source.suffix == ".cs":
        original, found = np.load(source), np.load(out)
        for column in original.dtype.names:
            np.testing.assert_array_equal(found[column], original[column][rows])


def _same_star_rows(source, out, rows):
    """Every block as it was, and of the particles the chosen rows with all their columns."""
    original, found = starfile.read(source, always_dict=True), starfile.read(out, always_dict=True)
    assert list(found) == list(original)
    for block, content in original.items():
        if block == list(original)[-1]:
            expected = content.iloc[rows].reset_index(drop=True)
            pd.testing.assert_frame_equal(found[block][expected.columns], expected)
            assert "zooCluster" in found[block]
        else:
            pd.testing.assert_frame_equal(pd.DataFrame(found[block]), pd.DataFrame(content))
