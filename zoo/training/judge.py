"""Figures a person can judge a run by where the truth is known: NMI of the latents, FSC of the maps."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from zoo.data.kinds import kind_of
from zoo.data.records.batches import sequential_batches
from zoo.models.capabilities import Encodes, MakesMaps

_PARTICLES = 1200
_BATCH = 100
# Aligning maps is slow: it may take this share of a run's time, so it is done at some samples only;
# the last one may take as long as the run itself.
_SHARE_OF_TIME = 0.05
_FIRST_GUESS_SECONDS = 15.0


class Judge:
    """Compares a model in training with the labels and the true maps of its data.

    Has nothing to say (``figures`` is empty) where fewer than two labels are known, or the model
    neither encodes nor makes maps. The true maps are those that zoo-simulate left beside the
    particles that were packed; cubes of a tomogram show them in any pose, so they are not compared.
    """

    def __init__(self, model, info):
        self.model = model
        self.info = info
        self.labels = np.array(sorted(label for label in info.labels if label >= 0))
        able = isinstance(model, Encodes) and isinstance(model, MakesMaps)
        self.is_able = able and len(self.labels) > 1
        self._particles: list[dict] | None = None
        self._began = time.perf_counter()
        self._spent = 0.0
        self._cost = _FIRST_GUESS_SECONDS

    def figures(self, last: bool = False, may_align: bool = True) -> dict[str, float]:
        """``nmi`` of K-means on latents of up to 1,200 particles, and per class the resolution.

        ``fsc_pixels_LABEL`` is where the FSC of the class' map with the true one falls to 0.5, in
        pixels; it is left out at samples where it would cost too much of the run's time, and of models whose
        results are compared with the truth (`compares_at_end`).
        """
        if not self.is_able:
            return {}
        from sklearn.cluster import KMeans

        from zoo.metrics.clustering import clustering_scores

        latents, labels = self._encode()
        if not np.isfinite(latents).all():
            return {}
        found = KMeans(len(self.labels), n_init=4, random_state=0).fit_predict(latents)
        figures = {"nmi": clustering_scores(labels, found)["nmi"]}
        compares = kind_of(self.info).schema.ndim == 2 and not self.model.compares_at_end
        if may_align and compares and self._can_afford(last):
            started = time.perf_counter()
            maps = self._class_maps(latents, labels)
            figures.update(self._resolutions(maps))
            self._cost = time.perf_counter() - started
            self._spent += self._cost
        return figures

    def _can_afford(self, last: bool) -> bool:
        elapsed = time.perf_counter() - self._began
        return self._spent + self._cost <= (1.0 if last else _SHARE_OF_TIME) * elapsed

    def _encode(self) -> tuple[np.ndarray, np.ndarray]:
        if self._particles is None:
            inputs = self.model.endpoints()["encode"].inputs
            self._particles = list(_labelled_batches(self.info, [*inputs, "label"]))
        latents = [to_array(self.model.encode(b)["z_mean"]) for b in self._particles]
        return np.concatenate(latents), np.concatenate([b["label"] for b in self._particles])

    def _class_maps(self, latents: np.ndarray, labels: np.ndarray) -> dict[int, np.ndarray]:
        present = [int(label) for label in self.labels if (labels == label).any()]
        centres = np.stack([np.median(latents[labels == label], axis=0) for label in present])
        return dict(zip(present, to_array(self.model.density(centres.astype(np.float32))), strict=True))

    def _resolutions(self, maps: dict[int, np.ndarray]) -> dict[str, float]:
        from zoo.analysis.truth import match_truth, read_truths, truth_folder

        folder = truth_folder(self.info.source.get("path"))
        if folder is None:
            return {}
        voxel = self.info.voxel_size_angstrom
        names, truths = read_truths(folder, self.info.box, voxel)
        return {
            f"fsc_pixels_{label}": match_truth(volume, truths, names, voxel, candidates=[label]).pixels
            for label, volume in maps.items()
            if label < len(truths) and volume.std() > 0
        }


def to_array(tensor) -> np.ndarray:
    """A tensor of Keras' backend as NumPy array."""
    import keras

    return keras.ops.convert_to_numpy(tensor)


def _labelled_batches(info, features: list[str]) -> Iterator[dict]:
    """``features`` of the first records with a label, in record order (which is shuffled), NumPy batches."""
    left = _PARTICLES
    for batch in sequential_batches(info, _BATCH):
        known = batch["label"] >= 0
        if known.any():
            yield {name: batch[name][known][:left] for name in features}
            left -= int(known.sum())
        if left <= 0:
            return
