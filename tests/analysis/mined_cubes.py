"""A small tomogram of balls and sheets, packed, and clusters of it with a model that needs no training."""

import json

import numpy as np

from zoo.analysis.cluster import Clustering, ClusterSettings
from zoo.analysis.cluster_report import write_report
from zoo.analysis.latent import encode_dataset
from zoo.analysis.selection import open_source
from zoo.data.formats.mrc import write_volume
from zoo.data.formats.subtomogram_star_write import write_subtomograms
from zoo.data.info import DatasetInfo
from zoo.data.packing.pack_subtomograms import VolumeOptions, pack_subtomograms
from zoo.data.packing.shards import PackSettings
from zoo.data.tables.subtomogram_table import COORDINATE_COLUMNS, SubtomogramTable

BOX, VOXEL, SHAPE = 12, 10.0, (24, 60, 60)
BALL, SHEET, NOTHING = 0, 1, 2
RADIUS, HALF = 3.0, 1.0


def shape_of(kind, box=BOX):
    """A ball, a sheet across z, or nothing, in a cube (n, n, n)."""
    axis = np.arange(box) - box // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    if kind == BALL:
        return (x**2 + y**2 + z**2 <= RADIUS**2).astype(np.float32)
    return (np.abs(z) <= HALF).astype(np.float32) if kind == SHEET else np.zeros((box,) * 3, np.float32)


class ShapeModel:
    """Codes (b, 3): how much of a ball, of a sheet and of nothing a cube shows; draws the first two."""

    latent_dim, box, voxel_size_angstrom, name, path = 3, BOX, VOXEL, "shapes", "shapes"
    trained_on: dict = {}

    def features(self, verb):
        return ["volume"]

    def apply(self, verb, batch):
        cubes = np.asarray(batch["volume"])[..., 0].reshape(len(batch["volume"]), -1)
        parts = np.stack([shape_of(kind).ravel() - shape_of(kind).mean() for kind in (BALL, SHEET)])
        parts /= np.linalg.norm(parts, axis=1, keepdims=True)
        seen = cubes @ parts.T
        z = np.concatenate([seen, np.full((len(seen), 1), 0.5)], axis=1).astype(np.float32)
        return {"z_mean": z, "z_logvar": np.zeros_like(z)}

    def density(self, z):
        ball, sheet = shape_of(BALL), shape_of(SHEET)
        return np.stack([each[0] * ball + each[1] * sheet for each in np.asarray(z)]) + 0.25


def tomogram_of(places, kinds):
    """What lies at places (n, 3) xyz, and the labels of the voxels: 1 ball, 2 sheet."""
    volume, labels = np.zeros(SHAPE, np.float32), np.zeros(SHAPE, np.int8)
    for (x, y, z), kind in zip(places, kinds, strict=True):
        at = tuple(slice(c - BOX // 2, c - BOX // 2 + BOX) for c in (z, y, x))
        volume[at] += shape_of(kind)
        labels[at][shape_of(kind) > 0] = kind + 1
    return volume, labels


def make(folder, pose_normalise=False, rotate=None):
    """Tomogram, places.star, records and a folder of three clusters (ball, sheet, nothing) under
    ``folder``."""
    rng = np.random.default_rng(3)
    places = np.array([(x, y, 12) for x in (8, 22, 36, 50) for y in (8, 22, 36, 50)])
    kinds = rng.permutation(np.arange(16) % 3)
    volume, labels = tomogram_of(places, kinds)
    noisy = volume + rng.normal(0, 0.02, SHAPE)
    write_volume(folder / "tomogram.mrc", noisy, VOXEL)
    columns = {
        "stack_index": np.zeros(16, int),
        "row_in_stack": np.zeros(16, int),
        "label": kinds,
        "pixel_size_angstrom": np.full(16, VOXEL),
    }
    columns |= {name: places[:, number] for number, name in enumerate(COORDINATE_COLUMNS)}
    table = SubtomogramTable([str(folder / "tomogram.mrc")], columns, stack_names=["tomogram.mrc"])
    write_subtomograms(table, folder / "places.star", BOX, {"rlnAutopickFigureOfMerit": np.arange(16) / 4})
    packing = PackSettings(box=BOX, contrast=1, normalisation="none", dtype="float32")
    options = VolumeOptions(str(folder / "tomogram.mrc"), outside="clip", pose_normalise=pose_normalise)
    pack_subtomograms(folder / "places.star", folder / "rec", packing, options, processes=1)
    info = DatasetInfo.load(folder / "rec")
    cluster_cubes(folder / "clusters", info)
    return folder, labels


def cluster_cubes(out, info):
    model = ShapeModel()
    latents = encode_dataset(model, info, 8)
    cluster = latents.label.copy()
    found = Clustering(cluster, latents.z_mean[:, :2], ClusterSettings("kmeans", 3), {})
    out.mkdir()
    places = {"run": "run", "data": str(info.path)}
    return write_report(out, model, latents, found, open_source(info), 2, cubes=info, places=places)


def edit_groups(folder, text):
    (folder / "clusters" / "groups.yaml").write_text(text)


def summary(folder):
    return json.loads((folder / "clusters" / "summary.json").read_text())
