"""Makes ``tfa_golden_layers.npz``: inputs and outputs of tensorflow-addons 0.23.0 on TensorFlow 2.15.

Run in an environment of its own (Python 3.11, ``tensorflow-cpu==2.15.*``, ``tensorflow-addons==0.23.0``);
tensorflow-addons does not run with the TensorFlow of this package.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa

rng = np.random.default_rng(0)
arrays = {}


def normal(*shape):
    return rng.normal(size=shape).astype("float32")


def spectral(prefix, layer, x, kernel, bias, u, iterations):
    wrapped = tfa.layers.SpectralNormalization(layer, power_iterations=iterations)
    wrapped(x)
    layer.kernel.assign(kernel)
    layer.bias.assign(bias)
    wrapped.u.assign(u)
    training = np.stack([wrapped(x, training=True).numpy() for _ in range(3)])
    inference = wrapped(x, training=False).numpy()
    names = ("x", "k", "b", "u0", "train", "inf", "kend", "uend")
    values = (x, kernel, bias, u, training, inference, layer.kernel.numpy(), wrapped.u.numpy())
    arrays.update({f"{prefix}_{name}": value for name, value in zip(names, values, strict=True)})


x, kernel, bias = normal(4, 8, 8, 3), normal(3, 3, 3, 5), normal(5)
for iterations in (1, 3):
    spectral(f"sn{iterations}", tf.keras.layers.Conv2D(5, 3), x, kernel, bias, normal(1, 5), iterations)
x_dense, kernel_dense = normal(4, 6), normal(6, 5)
spectral("snd", tf.keras.layers.Dense(5), x_dense, kernel_dense, bias, normal(1, 5), 1)

x_norm, gamma, beta = normal(4, 6, 6, 8) * 3 + 1, normal(8), normal(8)
arrays.update(n_x=x_norm, n_g=gamma, n_b=beta)


def normalised(layer):
    layer(x_norm)
    layer.gamma.assign(gamma)
    layer.beta.assign(beta)
    return layer(x_norm).numpy()


arrays["inorm"] = normalised(tfa.layers.InstanceNormalization())
arrays["inorm_eps"] = tfa.layers.InstanceNormalization().epsilon
for groups, name in ((2, "gn2"), (8, "gn8"), (-1, "gnm1"), (1, "gn1")):
    arrays[name] = normalised(tfa.layers.GroupNormalization(groups=groups))
arrays["n3_x"] = normal(2, 4, 4, 4, 6)
arrays["inorm3"] = tfa.layers.InstanceNormalization(center=False, scale=False)(arrays["n3_x"]).numpy()

image, flow = normal(2, 12, 10, 3), normal(2, 12, 10, 2) * 2
query = np.stack([rng.uniform(0, 11, (2, 20)), rng.uniform(0, 9, (2, 20))], -1).astype("float32")
arrays.update(im=image, flow=flow, q=query)
arrays["warp"] = tfa.image.dense_image_warp(image, flow).numpy()
arrays["interp"] = tfa.image.interpolate_bilinear(image, query).numpy()
arrays["rot_ang"] = np.array([0.3, -1.1], "float32")
for fill in ("constant", "nearest"):
    arrays[f"rot_bilinear_{fill}"] = tfa.image.rotate(image, arrays["rot_ang"], "bilinear", fill).numpy()

np.savez_compressed(Path(__file__).with_name("tfa_golden_layers.npz"), **arrays)
