"""A small Keras model with the methods of a model that has a latent space."""

import keras
import numpy as np
import pytest
from keras import ops

from zoo.models.base import ZooModel
from zoo.models.capabilities import Encodes, Generates, MakesMaps, Projects
from zoo.models.endpoint import Endpoint, Input


@keras.saving.register_keras_serializable("zoo_test")
class ToyModel(ZooModel, Encodes, MakesMaps, Projects, Generates):
    """Two dense layers: images → latents, latents → maps; noise drawn from a given seed."""

    latent_dim, box, voxel_size_angstrom = 3, 8, 2.5

    def __init__(self, width=4, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.encoder = keras.layers.Dense(2 * self.latent_dim, name="encoder")
        self.decoder = keras.layers.Dense(self.box**3, activation="tanh", name="decoder")
        self.critic = keras.layers.Dense(50_000, name="critic")  # never served
        self.encoder.build((None, self.box**2 + 9))
        self.decoder.build((None, self.latent_dim))
        self.critic.build((None, 10))
        self.built = True

    def get_config(self):
        return {"name": self.name, "width": self.width}

    def encode(self, batch):
        image, ctf = batch["image"], batch["ctf"]
        ctf = ops.where(ops.isnan(ctf), 0.0, ctf)
        flat = ops.concatenate([ops.reshape(image, (-1, self.box**2)), ctf / 1e4], axis=-1)
        mean, logvar = ops.split(self.encoder(flat), 2, axis=-1)
        return {"z_mean": mean, "z_logvar": logvar}

    def density(self, z):
        return ops.reshape(self.decoder(z), (-1, self.box, self.box, self.box))

    def project(self, z, euler_deg, ctf):
        flat = ops.sum(self.density(z), axis=1) * ops.cos(euler_deg[:, :1, None])
        return (flat * ctf[:, :1, None] / 1e4)[..., None]

    def generate(self, z, euler_deg, ctf, noise, z_noise):
        return (
            self.project(z, euler_deg, ctf)
            + noise[..., None]
            + 1e-3 * ops.sum(z_noise, axis=-1)[:, None, None, None]
        )

    def endpoints(self):
        side = self.box
        latent, angles, ctf = (
            Input((None, self.latent_dim), "latent"),
            Input((None, 3), "pose"),
            Input((None, 9), "ctf"),
        )
        view = {"z": latent, "euler_deg": angles, "ctf": ctf}
        noise = {"noise": Input((None, side, side), "noise"), "z_noise": Input((None, 5), "noise")}
        return {
            "encode": Endpoint(
                lambda **batch: self.encode(batch), {"image": Input((None, side, side, 1)), "ctf": ctf}
            ),
            "density": Endpoint(lambda z: {"density": self.density(z)}, {"z": latent}),
            "project": Endpoint(lambda **given: {"image": self.project(**given)}, view),
            "generate": Endpoint(lambda **given: {"image": self.generate(**given)}, {**view, **noise}),
        }


@pytest.fixture(scope="session")
def toy_model():
    keras.utils.set_random_seed(5)
    return ToyModel(name="toy")


@pytest.fixture(scope="session")
def toy_inputs():
    """Arrays for every signature, two examples each."""
    random = np.random.default_rng(0)
    return {
        "image": random.normal(size=(2, 8, 8, 1)).astype(np.float32),
        "ctf": random.uniform(1e4, 2e4, size=(2, 9)).astype(np.float32),
        "z": random.normal(size=(2, 3)).astype(np.float32),
        "euler_deg": random.uniform(-180, 180, size=(2, 3)).astype(np.float32),
        "seed": np.int64(7),
    }


@pytest.fixture(scope="session")
def exported(toy_model, tmp_path_factory):
    """The folder of version 1 of the toy model."""
    from zoo.serving.export import export_model

    return export_model(toy_model, tmp_path_factory.mktemp("export"))
