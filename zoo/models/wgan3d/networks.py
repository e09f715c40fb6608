"""Generator and critic of ``wgan3d`` (figure 1 of the paper): mirrors of each other."""

from __future__ import annotations

import keras
from keras import layers

from zoo.layers import MinibatchDiscrimination
from zoo.models.wgan3d.config import WGAN3DConfig

_SLOPE = 0.2
_KERNEL = 4  # twice the stride: every voxel is written equally often


def build_generator(s: WGAN3DConfig, seed: int, name: str = "generator") -> keras.Model:
    """Latents (b, latent_dim) → maps (b, n, n, n, 1) between -1 and 1.

    A dense layer, then a transposed convolution for each entry of ``filters``, the last one to one channel.
    """
    base, first = s.box // 2 ** len(s.filters), s.filters[-1]
    stack = [
        keras.Input((s.latent_dim,), name="latents"),
        # A norm takes out the mean: a bias before it would have no gradient but rounding.
        layers.Dense(base**3 * first, use_bias=False, kernel_initializer=_normal(seed), name="dense"),
        layers.Reshape((base, base, base, first)),
        *normed(0),
    ]
    for i, count in enumerate(reversed(s.filters[:-1]), start=1):
        stack += [_transposed(count, seed + i, f"deconv_{i}", use_bias=False), *normed(i)]
    last = len(s.filters)
    stack.append(_transposed(1, seed + last, f"deconv_{last}", activation="tanh"))
    return keras.Sequential(stack, name=name)


def build_features(s: WGAN3DConfig, seed: int) -> keras.Model:
    """Maps (b, n, n, n, 1) → the critic's features (b, k), what its last convolution says."""
    stack: list = [keras.Input((*(s.box,) * 3, 1), name="map")]
    for i, count in enumerate(s.filters):
        stack += [
            convolution(count, seed + 100 + i, f"conv_{i}"),
            layers.LeakyReLU(_SLOPE, name=f"relu_{i}"),
        ]
    return keras.Sequential([*stack, layers.Flatten(name="features")], name="critic_features")


def build_critic(s: WGAN3DConfig, seed: int, features: keras.Model) -> keras.Model:
    """Maps (b, n, n, n, 1) → scores (b, 1): features, minibatch discrimination, a dense layer."""
    maps = keras.Input((*(s.box,) * 3, 1), name="map")
    x = features(maps)
    if s.discrimination_kernels:
        x = MinibatchDiscrimination(
            s.discrimination_kernels,
            s.discrimination_dim,
            s.discrimination_group or None,
            kernel_initializer=_normal(seed + 200),
            name="discrimination",
        )(x)
    score = layers.Dense(1, kernel_initializer=_normal(seed + 201), name="score")(x)
    return keras.Model(maps, score, name="critic")


def _transposed(filters: int, seed: int, name: str, **more) -> layers.Layer:
    return layers.Conv3DTranspose(
        filters, _KERNEL, 2, padding="same", kernel_initializer=_normal(seed), name=name, **more
    )


def convolution(filters: int, seed: int, name: str, **more) -> layers.Layer:
    """Halves the box."""
    return layers.Conv3D(
        filters, _KERNEL, 2, padding="same", kernel_initializer=_normal(seed), name=name, **more
    )


def normed(i: int) -> list[layers.Layer]:
    """Batch norm and leaky ReLU."""
    # Statistics over all replicas: several devices then train as one. Only TensorFlow has replicas.
    synchronized = keras.backend.backend() == "tensorflow"
    return [
        layers.BatchNormalization(momentum=0.9, synchronized=synchronized, name=f"norm_{i}"),
        layers.LeakyReLU(_SLOPE, name=f"relu_{i}"),
    ]


def _normal(seed: int) -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=0.02, seed=seed)
