"""``autoencoder3d``: a convolutional autoencoder of subtomograms.

Zeng, Leung, Zeev-Ben-Mordehai, Xu: A convolutional autoencoder approach for mining features in cellular
electron cryo-tomograms and weakly supervised coarse segmentation (2018), section 2.2 and figure 2a.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from zoo.layers.up_conv import UpConv3D
from zoo.models.autoencoder3d.config import Autoencoder3DConfig
from zoo.models.autoencoder3d.kinds import kinds_told_apart
from zoo.models.autoencoder3d.smoother import Smoother
from zoo.models.base import Apply
from zoo.models.capabilities import Encodes, MakesMaps
from zoo.models.endpoint import Endpoint, Input
from zoo.models.outcome import Results
from zoo.models.preview import Maps
from zoo.models.supervised import HELD_BACK, SupervisedModel

_SHOWN = 4


@keras.saving.register_keras_serializable(package="zoo")
class Autoencoder3D(SupervisedModel, Encodes, MakesMaps):
    """Cubes (b, n, n, n, 1) → codes (b, latent_dim), none below 0 → cubes.

    The loss is the mean squared error of all voxels and the L1 norm of the codes, which makes them sparse.
    """

    learning: Autoencoder3DConfig = Autoencoder3DConfig()

    target = "volume"

    def __init__(self, name: str | None = None, seed: int = 0, **config: Any):
        super().__init__(name=name, seed=seed)
        self.learning = s = Autoencoder3DConfig.of(config, "autoencoder3d")
        self.box, self.latent_dim, self.voxel_size_angstrom = s.box, s.latent_dim, s.voxel_size_angstrom
        self.sparsity = s.sparsity
        self.smoother = Smoother(s.smooth_voxels)
        initial = self.first_initialiser_seed
        self.encoder, self.decoder = _encoder(s, initial), _decoder(s, initial)
        self.built = True

    def get_config(self) -> dict[str, Any]:
        """What ``__init__`` takes."""
        return {"name": self.name, "seed": self.seed, **self.learning.values()}

    def call(self, batch: Mapping[str, Any], training: bool = False):
        """``volume`` (b, n, n, n, 1) as the model draws it."""
        return self.smoother.in_units(self.decoder(self._code(batch["volume"])))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The squared error, and in training the L1 norm of the codes, a weight for each record in both.

        The error is that of smoothed cubes, in units of the noise that is left in them. The norm is not a
        regulariser of a layer: that would also learn from records that are held back.
        """
        y, y_pred = self.smoother(y), self.smoother.in_noise(y_pred)
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        if not training or not self.sparsity:
            return loss
        code = self._code(x["volume"])
        weight = None if sample_weight is None else ops.reshape(sample_weight, (-1,))
        # A loss of Keras, as the other: it is divided by the number of replicas alike.
        norm = keras.losses.MeanAbsoluteError()(ops.zeros_like(code), code, sample_weight=weight)
        return loss + self.sparsity * self.latent_dim * norm

    def encode(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """``z_mean`` (b, d), the codes; ``z_logvar`` is 0, they have no spread."""
        code = self._code(batch["volume"])
        return {"z_mean": code, "z_logvar": ops.zeros_like(code)}

    def density(self, z):
        """Codes (b, d) → cubes (b, n, n, n), z, y, x."""
        return self.smoother.in_units(self.decoder(z))[..., 0]

    def _smoothed(self) -> str:
        sigma = self.learning.smooth_voxels
        return f", smoothed by {sigma:g} voxels" if sigma else ""

    def _code(self, volume):
        return self.encoder(self.smoother(volume))

    def endpoints(self) -> dict[str, Endpoint]:
        """Named signatures of the SavedModel."""
        volume, z = Input((None, *(self.box,) * 3, 1)), Input((None, self.latent_dim), "latent")
        return {
            "encode": Endpoint(lambda **batch: self.encode(batch), {"volume": volume}),
            "density": Endpoint(lambda z: {"density": self.density(z)}, {"z": z}),
        }

    def preview(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Cubes, smoothed as the model sees them, beside what it makes of them."""
        real = np.asarray(batch["volume"])[:_SHOWN]
        found = ops.convert_to_numpy(self({"volume": real}))
        real = ops.convert_to_numpy(self.smoother.in_units(self.smoother(real)))
        return {"cubes-real": Maps(real[..., 0]), "cubes-coded": Maps(found[..., 0])}

    def figures(self) -> dict[str, float]:
        """Nothing beside the losses of a step."""
        return {}

    def results(self, batches: Iterable[Mapping[str, Any]], apply: Apply) -> Results:
        """Two lines: the error on held-back cubes, and how well K-means on the codes parts the true kinds."""
        codes: list[np.ndarray] = []
        labels: list[np.ndarray] = []
        error = variance = count = 0.0
        for batch in batches:
            codes.append(apply("encode", batch)["z_mean"])
            labels.append(np.asarray(batch["label"]))
            held = np.flatnonzero(np.asarray(batch.get(HELD_BACK, np.zeros(len(codes[-1])))))
            if len(held):
                cubes = ops.convert_to_numpy(self.smoother(np.asarray(batch["volume"])[held]))[..., 0]
                drawn = self.smoother.in_noise(apply("density", {"z": codes[-1]})["density"][held])
                error += float(((drawn - cubes) ** 2).mean(axis=(1, 2, 3)).sum())
                variance += float(cubes.var(axis=(1, 2, 3)).sum())
                count += len(held)
        lines = []
        if count:
            lines.append(
                f"{count:,.0f} held-back cubes{self._smoothed()}: mean squared error "
                f"{error / count:.4g} of a variance of {variance / count:.4g} "
                f"({1 - error / variance:.1%} explained)"
            )
        return Results(lines=[*lines, *kinds_told_apart(np.concatenate(codes), np.concatenate(labels))])


def _conv(name: str, filters: int, seed: int, activation: str | None = "relu") -> layers.Layer:
    kernel = _glorot(seed)
    return layers.Conv3D(
        filters, 3, padding="same", activation=activation, kernel_initializer=kernel, name=name
    )


def _glorot(seed: int) -> keras.initializers.Initializer:
    return keras.initializers.GlorotUniform(seed)


def _encoder(s: Autoencoder3DConfig, seed: int) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((*(s.box,) * 3, 1)),
            # ReLU and the maximum may change places, and it is an eighth of the work after the pooling.
            _conv("conv_1", s.filters, seed + 1, activation=None),
            layers.MaxPooling3D(2),
            layers.ReLU(),
            _conv("conv_2", s.filters, seed + 2, activation=None),
            layers.MaxPooling3D(2),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(s.latent_dim, "relu", kernel_initializer=_glorot(seed + 3), name="code"),
        ],
        name="encoder",
    )


def _decoder(s: Autoencoder3DConfig, seed: int) -> keras.Model:
    side = s.box // 4
    return keras.Sequential(
        [
            keras.Input((s.latent_dim,)),
            layers.Dense(
                side**3 * s.filters, "relu", kernel_initializer=_glorot(seed + 4), name="grid_of_code"
            ),
            layers.Reshape((side, side, side, s.filters)),
            UpConv3D(s.filters, activation="relu", kernel_initializer=_glorot(seed + 5), name="conv_1"),
            UpConv3D(s.filters, activation="relu", kernel_initializer=_glorot(seed + 6), name="conv_2"),
            _conv("cube", 1, seed + 7, activation=None),
        ],
        name="decoder",
    )
