import numpy as np
import tensorflow as tf

from zoo.models.endpoint import Endpoint, Input
from zoo.serving.seeded import seeded

NOISE = {
    "z": Input((None, 2), "latent"),
    "first": Input((None, 50, 40), "noise"),
    "second": Input((None, 300), "noise"),
}


def given(**tensors):
    return tensors


def test_noise_is_standard_normal_independent_and_decided_by_the_seed():
    endpoint = seeded(Endpoint(given, NOISE))
    function = endpoint.function
    assert endpoint.inputs == {"z": NOISE["z"], "seed": Input((), "seed", "int64")}
    found = function(z=tf.zeros((6, 2)), seed=tf.constant(3, tf.int64))
    noise, z_noise = found["first"].numpy(), found["second"].numpy()
    assert noise.shape == (6, 50, 40) and z_noise.shape == (6, 300)
    assert abs(noise.mean()) < 0.03 and abs(noise.std() - 1) < 0.03
    rows = np.concatenate([noise.reshape(6, -1)[:, :300], z_noise])
    assert np.abs(np.corrcoef(rows) - np.eye(12)).max() < 0.3
    again = function(z=tf.zeros((6, 2)), seed=tf.constant(3, tf.int64))
    other = function(z=tf.zeros((6, 2)), seed=tf.constant(4, tf.int64))
    np.testing.assert_array_equal(again["first"], noise)
    assert np.abs(other["first"] - noise).mean() > 0.5


def test_an_endpoint_without_noise_stays_as_it_is():
    endpoint = Endpoint(given, {"z": NOISE["z"]})
    assert seeded(endpoint) is endpoint
