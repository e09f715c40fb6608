"""``edss3d``: an encoder-decoder that says of every voxel what it belongs to.

Zeng, Leung, Zeev-Ben-Mordehai, Xu: A convolutional autoencoder approach for mining features in cellular
electron cryo-tomograms and weakly supervised coarse segmentation (2018), section 2.4 and figure 2b.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from zoo.errors import ZooError
from zoo.layers.up_conv import UpConv3D
from zoo.metrics.overlap import overlap_counts, overlap_figures
from zoo.models.base import Apply
from zoo.models.capabilities import Segments
from zoo.models.edss3d.config import EDSS3DConfig
from zoo.models.edss3d.losses import CrossEntropyAndTversky
from zoo.models.endpoint import Endpoint, Input
from zoo.models.outcome import Results
from zoo.models.preview import Images
from zoo.models.supervised import HELD_BACK, VOXEL_LABELS, SupervisedModel

_SHOWN = 8


@keras.saving.register_keras_serializable(package="zoo")
class EDSS3D(SupervisedModel, Segments):
    """Cubes (b, n, n, n, 1) → the probability of each class in every voxel (b, n, n, n, classes).

    The network has no dense layer: any box that can be halved as often as there are poolings (``levels``, 2)
    will do, also another one along each axis.
    """

    target = VOXEL_LABELS

    def __init__(self, name: str | None = None, seed: int = 0, **config: Any):
        super().__init__(name=name, seed=seed)
        s = EDSS3DConfig.of(config, "edss3d")
        if not s.classes:
            s = EDSS3DConfig.of({**s.values(), "classes": len(s.names()) or 2}, "edss3d")
        self.learning, self.settings = s, s
        self.flips, self.turns = s.flips, s.turns
        self.box, self.voxel_size_angstrom, self.classes = s.box, s.voxel_size_angstrom, s.classes
        self.class_names = tuple(s.names())
        self.multiple = 2**s.levels
        # A convolution sees 1 voxel of its level: 2^l - 1 on either way, 2^l between, 1 at the end, and 1
        # more to a whole multiple.
        self.reach_voxels = 3 * self.multiple
        self.network = _network(s, self.first_initialiser_seed)
        self.built = True

    @classmethod
    def settled(cls, info: Any, values: dict[str, Any]) -> dict[str, Any]:
        """Number and names of the classes, where they are left to the records."""
        if info is None or not info.voxel_labels:
            return values
        names = info.label_names()
        if not values.get("classes"):
            values = {**values, "classes": len(names)}
        if not values.get("class_names") and values["classes"] == len(names):
            values = {**values, "class_names": ",".join(names)}
        return values

    @classmethod
    def check_data(cls, info: Any, values: Mapping[str, Any]) -> None:
        """Raise ZooError for records without labels of voxels, and for more labels than classes."""
        if info is None:
            return
        if not info.voxel_labels:
            raise ZooError(
                f"{info.path}: its voxels have no labels; pack with zoo-pack --tomogram T.mrc --labels L.mrc"
            )
        if len(info.label_names()) < 2:
            raise ZooError(f"{info.path}: all voxels have one label; label some of them, and pack again")
        if max(info.voxel_labels) >= values["classes"]:
            raise ZooError(
                f"{info.path}: voxels of class {max(info.voxel_labels)}, but classes={values['classes']} "
                "counts from 0; leave it out, or give a larger one"
            )

    def get_config(self) -> dict[str, Any]:
        """What ``__init__`` takes."""
        return {"name": self.name, "seed": self.seed, **self.learning.values()}

    def make_loss(self) -> keras.losses.Loss:
        """The categorical cross-entropy of every voxel, and what ``loss`` adds."""
        if self.settings.loss == "tversky":
            return CrossEntropyAndTversky(self.settings.missed_weight)
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def call(self, batch: Mapping[str, Any], training: bool = False):
        """``volume`` (b, z, y, x, 1) → logits (b, z, y, x, classes)."""
        volume = batch["volume"]
        if not (training and (self.flips or self.turns)):
            return self._logits(volume)
        # Brought back, so that the labels stay as they are: of a wedge about y, mirrors alone keep the form.
        way = self.step_counter % 8 if self.flips else 0
        turn = ops.equal((self.step_counter // (8 if self.flips else 1)) % 2, 1) if self.turns else False
        logits = self._logits(self._turned(self._mirrored(volume, way), turn))
        return self._mirrored(self._turned(logits, turn, back=True), way)

    def _logits(self, volume):
        logits = self.network(volume)
        # Fails for a side that cannot be halved so often; the network alone would give a smaller volume.
        return ops.reshape(logits, (*ops.shape(volume)[:4], self.classes))

    @staticmethod
    def _mirrored(volume, way):
        """Along z, y and x where the three bits of ``way`` say so."""
        for axis in range(3):
            odd = ops.equal((way // 2**axis) % 2, 1)
            volume = ops.where(odd, ops.flip(volume, axis + 1), volume)
        return volume

    def _turned(self, volume, turn, back: bool = False):
        """By a quarter about z where ``turn`` says so, x to y; or ``back``."""
        if not self.turns:
            return volume
        swapped = ops.swapaxes(ops.flip(volume, 3) if back else volume, 2, 3)
        return ops.where(turn, swapped if back else ops.flip(swapped, 3), volume)

    def segment(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """``probability`` (b, z, y, x, classes)."""
        return {"probability": ops.softmax(self._logits(batch["volume"]), axis=-1)}

    def endpoints(self) -> dict[str, Endpoint]:
        """Named signatures of the SavedModel: any box of whole multiples along each axis."""
        volume = Input((None, None, None, None, 1))
        return {"segment": Endpoint(lambda **batch: self.segment(batch), {"volume": volume})}

    def validation_sums(self, batch: Mapping[str, Any], prediction: Any, weight: Any) -> dict[str, Any]:
        """Voxels of each class (classes,): found, true, and both; a weight (b,) for each record."""
        each = ops.reshape(ops.cast(weight, "float32"), (-1, 1))
        shape = (ops.shape(prediction)[0], -1)
        found = ops.one_hot(ops.reshape(ops.argmax(prediction, axis=-1), shape), self.classes)
        true = ops.one_hot(ops.reshape(ops.cast(batch[self.target], "int32"), shape), self.classes)
        counts = {"found": found, "true": true, "both": found * true}
        return {name: ops.sum(ops.sum(one, axis=1) * each, axis=0) for name, one in counts.items()}

    def validation_figures(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Intersection over union, and Dice, of each class that the validation has."""
        return overlap_figures(sums["found"], sums["true"], sums["both"], self.class_names)

    def preview(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Central slices of cubes: grey values, labels where they are known, and what the model finds."""
        cubes = np.asarray(batch["volume"])[:_SHOWN]
        probability = ops.convert_to_numpy(self.segment({"volume": cubes})["probability"])
        middle = cubes.shape[1] // 2
        parts = [_to_one(cubes[:, middle, ..., 0])]
        if self.target in batch:
            parts.append(np.asarray(batch[self.target])[:_SHOWN, middle] / (self.classes - 1))
        parts.append(probability[:, middle].argmax(axis=-1) / (self.classes - 1))
        name = "cubes-labels-found" if len(parts) == 3 else "cubes-found"
        return {name: Images(np.concatenate(parts, axis=2).astype(np.float32), 2)}

    def results(self, batches: Iterable[Mapping[str, Any]], apply: Apply) -> Results:
        """A line: how well the voxels of the held-back cubes are found (of all, where none are held back)."""
        held_back: dict[str, Any] = {}
        all_cubes: dict[str, Any] = {}
        count = 0
        for batch in batches:
            found = apply("segment", batch)["probability"].argmax(axis=-1)
            true = np.asarray(batch[self.target])
            held = np.flatnonzero(np.asarray(batch.get(HELD_BACK, np.zeros(len(true)))))
            count += len(held)
            for sums, rows in ((held_back, held), (all_cubes, slice(None))):
                for name, value in overlap_counts(found[rows], true[rows], self.classes).items():
                    sums[name] = sums.get(name, 0) + value
        cubes = f"{count:,} held-back cubes" if count else "all cubes, learned from"
        figures = self.validation_figures(held_back if count else all_cubes)
        overlap = ", ".join(
            f"{name.removeprefix('iou_')} {value:.3f}"
            for name, value in figures.items()
            if name.startswith("iou_")
        )
        return Results(lines=[f"intersection over union of {cubes}: {overlap}"])

    def figures(self) -> dict[str, float]:
        """Nothing beside the losses of a step."""
        return {}


def _to_one(images: np.ndarray) -> np.ndarray:
    """Each image (n, y, x) on a scale from 0 to 1, but for its brightest and darkest hundredth."""
    low, high = np.percentile(images, (1, 99), axis=(1, 2), keepdims=True)
    return np.clip((images - low) / np.maximum(high - low, 1e-6), 0, 1)


def _network(s: EDSS3DConfig, seed: int) -> keras.Model:
    """``levels`` poolings and up-samplings, convolutions of 3³ around them, and one to the classes."""

    def options(number: int, activation: str | None = "relu"):
        kernel = keras.initializers.GlorotUniform(seed + number)
        name = f"conv_{number}" if activation else "classes"
        more = {} if activation else {"dtype": "float32"}  # the loss is taken of it
        return {"activation": activation, "kernel_initializer": kernel, "name": name, **more}

    def conv(filters: int, **given):
        return layers.Conv3D(filters, 3, padding="same", **given)

    volume = keras.Input((None, None, None, 1))
    width = [s.filters * (2**level if s.widens else 1) for level in range(s.levels + 1)]
    x, before = volume, []
    for level in range(s.levels):
        before.append(conv(width[level], **options(level + 1))(x))
        x = layers.MaxPooling3D(2)(before[-1])
    x = conv(width[-1], **options(s.levels + 1))(x)
    for level in reversed(range(s.levels)):
        up = UpConv3D(width[level], **options(2 * s.levels + 1 - level))
        x = up(x, before[level]) if s.skips else up(x)
    classes = conv(s.classes, **options(2 * s.levels + 2, None))(x)
    return keras.Model(volume, classes, name="network")
