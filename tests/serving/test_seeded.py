import numpy as np
import tensorflow as tf

from zoo.serving.seeded import seeded

NOISE = {
    "z": ((None, 2), "float32"),
    "noise": ((None, 50, 40), "float32"),
    "z_noise": ((None, 300), "float32"),
}


def given(**tensors):
    return tensors


def test_noise_is_standard_normal_independent_and_decided_by_the_seed():
    function, arguments = seeded(given, NOISE)
    assert arguments == {"z": ((None, 2), "float32"), "seed": ((), "int64")}
    found = function(z=tf.zeros((6, 2)), seed=tf.constant(3, tf.int64))
    noise, z_noise = found["noise"].numpy(), found["z_noise"].numpy()
    assert noise.shape == (6, 50, 40) and z_noise.shape == (6, 300)
    assert abs(noise.mean()) < 0.03 and abs(noise.std() - 1) < 0.03
    rows = np.concatenate([noise.reshape(6, -1)[:, :300], z_noise])
    assert np.abs(np.corrcoef(rows) - np.eye(12)).max() < 0.3
    again = function(z=tf.zeros((6, 2)), seed=tf.constant(3, tf.int64))
    other = function(z=tf.zeros((6, 2)), seed=tf.constant(4, tf.int64))
    np.testing.assert_array_equal(again["noise"], noise)
    assert np.abs(other["noise"] - noise).mean() > 0.5


def test_an_endpoint_without_noise_stays_as_it_is():
    arguments = {"z": NOISE["z"]}
    assert seeded(given, arguments) == (given, arguments)
