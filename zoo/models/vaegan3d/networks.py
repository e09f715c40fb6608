"""Critic, encoder, camera and noise generator of the particle models (thesis §8.1, Figs. 20, 21, 24).

``seed`` is added to the seeds of all initial weights of a network.
"""

from __future__ import annotations

import keras

from zoo.layers import (
    AdaptivePolyphase2D,
    CTFApply,
    CyclicConv2D,
    GaborBank,
    InvariantGlobalPooling2D,
    ScalableNoise,
    TrainedCamera,
)


def build_critic(settings, seed: int = 0) -> keras.Model:
    """Images ``(b, n, n, 1)`` → [score ``(b, 1)``, the feature map just before pooling]."""
    image = keras.Input((settings.box, settings.box, 1), name="image")
    features = _trunk(
        image,
        settings,
        settings.filters,
        settings.critic_norm,
        seed=seed + 200,
        spectral=settings.critic_spectral_norm,
    )
    pooled = _pool(features, settings)
    score = keras.layers.Dense(1, kernel_initializer=_he(seed + 290), name="score")(pooled)
    return keras.Model(image, [score, features], name="critic")


def build_encoder(settings, seed: int = 0) -> keras.Model:
    """Images ``(b, n, n, 1)`` (and CTF images ``(b, n, n, 1)``) → means and log-variances ``(b, 2·d)``.

    With ``encoder_sees_ctf`` the image is also filtered by its own CTF (a matched filter: what the
    microscope hardly transmitted is hardly weighed), and the CTF's mean over the rings joins the features.
    """
    n = settings.box
    image = keras.Input((n, n, 1), name="image")
    inputs: list = [image]
    stack = image
    profile = None
    if settings.encoder_sees_ctf:
        ctf = keras.Input((n, n, 1), name="ctf")
        inputs.append(ctf)
        filtered = CTFApply("image", name="matched_filter")(image, ctf[..., 0])
        stack = keras.layers.Concatenate(name="image_and_filtered")([image, filtered])
        # The right half of the middle row: the CTF from the centre to Nyquist.
        profile = keras.layers.Flatten(name="ctf_profile")(ctf[:, n // 2 : n // 2 + 1, n // 2 :: 2])
    if settings.encoder == "strided":
        features = _strided_trunk(stack, settings.encoder_filters, settings.encoder_norm, seed=seed + 300)
        pooled = keras.layers.GlobalAveragePooling2D(name="pool")(features)
    else:
        features = _trunk(stack, settings, settings.encoder_filters, settings.encoder_norm, seed=seed + 300)
        pooled = _pool(features, settings)
    if profile is not None:
        pooled = keras.layers.Concatenate(name="features_and_ctf")([pooled, profile])
        pooled = keras.layers.Dense(
            128, activation=_leaky(), kernel_initializer=_he(seed + 380), name="head"
        )(pooled)
    latent = keras.layers.Dense(
        2 * settings.latent_dim,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01, seed=seed + 390),
        name="latent",
    )(pooled)
    return keras.Model(inputs if len(inputs) > 1 else image, latent, name="encoder")


def build_camera(settings, seed: int = 0):
    """The trained camera, or None for views uniform on SO(3)."""
    if settings.camera == "uniform":
        return None
    camera = TrainedCamera(seed=seed + 400, name="camera")
    camera.build((None, settings.camera_latent_dim))
    return camera


def build_noise_generator(settings, seed: int = 0):
    """z_n → σ(x, y), or None without a noise generator."""
    if settings.noise_model == "none":
        return None
    noise = ScalableNoise(
        settings.box,
        mode=settings.noise_model,
        filters=settings.noise_filters,
        seed=seed + 500,
        name="noise_generator",
    )
    image = (None, settings.box, settings.box, 1)
    noise.build(image, (None, settings.noise_latent_dim), image)
    return noise


def _trunk(x, settings, filters, norm, seed, spectral=False):
    """Gabor bank, then per entry of ``filters``: convolution, norm, leaky ReLU, down-sampling by 2."""
    if settings.invariant:
        x = GaborBank(settings.gabor_filters, settings.gabor_kernel, name="gabor")(x)
    else:
        x = keras.layers.Conv2D(
            settings.gabor_filters, 5, padding="same", kernel_initializer=_he(seed), name="conv2d"
        )(x)
    for i, count in enumerate(filters):
        # A norm takes out the mean: a bias before it has no gradient but rounding, which Adam would follow.
        arguments = {
            "kernel_initializer": _he(seed + 10 + i),
            "use_bias": norm == "none",
            "name": f"conv_{i}",
        }
        convolution = (
            CyclicConv2D(count, 3, **arguments)
            if settings.invariant
            else keras.layers.Conv2D(count, 3, padding="same", **arguments)
        )
        if spectral:
            convolution = keras.layers.SpectralNormalization(convolution, name=f"spectral_{i}")
        x = convolution(x)
        x = _normalised(x, norm, i)
        x = keras.layers.LeakyReLU(negative_slope=0.2, name=f"relu_{i}")(x)
        x = (AdaptivePolyphase2D(name=f"down_{i}") if settings.invariant else keras.layers.MaxPooling2D(2))(x)
    return x


def _strided_trunk(x, filters, norm, seed):
    """A strided convolution of 5 × 5, then convolutions of 3 × 3, with norm, leaky ReLU and averaging."""
    for i, count in enumerate(filters):
        x = keras.layers.Conv2D(
            count,
            3 if i else 5,
            strides=1 if i else 2,
            padding="same",
            kernel_initializer=_he(seed + 10 + i),
            use_bias=norm == "none",
            name=f"conv_{i}",
        )(x)
        x = _normalised(x, norm, i, momentum=0.95)  # of a training of a thousand steps
        x = keras.layers.LeakyReLU(negative_slope=0.2, name=f"relu_{i}")(x)
        x = keras.layers.AveragePooling2D(2, name=f"down_{i}")(x) if i else x
    return x


def _normalised(x, norm, i, momentum=0.99):
    if norm == "batch":
        layer = keras.layers.BatchNormalization(
            synchronized=_synchronized(), momentum=momentum, name=f"norm_{i}"
        )
        return layer(x)
    if norm == "instance":
        return keras.layers.GroupNormalization(groups=-1, name=f"norm_{i}")(x)
    return x


def _pool(features, settings):
    if settings.invariant:
        return InvariantGlobalPooling2D(name="pool")(features)
    return keras.layers.GlobalAveragePooling2D(name="pool")(features)


def _he(seed: int):
    return keras.initializers.HeNormal(seed=seed)


def _leaky():
    return keras.layers.LeakyReLU(negative_slope=0.2)


def _synchronized() -> bool:
    # Statistics over all replicas: several devices then train as one. Only TensorFlow has replicas.
    return keras.backend.backend() == "tensorflow"
