"""A two-player model that trains in milliseconds, and ``zoo-train`` with it registered.

Run as a program it is ``zoo-train``: ``python toy_model.py --model toy --data DIR …``.
``TOY_STEP_SECONDS`` slows each step down, so that a test can send a signal between two.
"""

import os
import time
from dataclasses import dataclass

import keras
from keras import ops

from zoo.config import Config, setting
from zoo.engines.draws import Draw
from zoo.models.gradient_model import GradientModel
from zoo.registry import get_entry, register


@dataclass(frozen=True)
class ToyConfig(Config):
    box: int = setting(16, "edge of the images", unit="pixels", least=4, most=64)
    width: int = setting(8, "units of each network", least=1, most=64)
    rate: float = setting(0.01, "of Adam", least=0, most=1)
    blow_up_at: int = setting(-1, "step whose loss is infinite; -1: none", least=-1)


@register(
    "toy",
    takes={"data": "particles"},
    config=ToyConfig,
    presets={"tiny": {}, "wide": {"width": 32}},
    learns="players",
    paper="none",
)
@keras.saving.register_keras_serializable(package="zoo-tests")
class ToyModel(GradientModel):
    """An encoder that predicts images from themselves plus noise, and a score with batch norm."""

    players = ("critic", "encoder")

    def __init__(self, box=16, width=8, rate=0.01, blow_up_at=-1, voxel_size_angstrom=1.0, seed=0, name=None):
        super().__init__(name=name, seed=seed)
        self.box, self.width, self.rate, self.blow_up_at = box, width, rate, blow_up_at
        self.voxel_size_angstrom = voxel_size_angstrom
        self.encoder = keras.Sequential([keras.layers.Dense(width, "tanh"), keras.layers.Dense(box * box)])
        self.critic = keras.Sequential([keras.layers.Dense(width, "tanh"), keras.layers.Dense(1)])
        self.encoder.build((None, box * box))
        self.critic.build((None, box * box))
        self.average = [
            self.add_weight(name=f"average{i}", shape=variable.shape, initializer="zeros", trainable=False)
            for i, variable in enumerate(self.encoder.trainable_variables)
        ]
        self.built = True

    @classmethod
    def from_data(cls, info, preset, **overrides):
        config = {**get_entry("toy").presets[preset], **overrides}
        if info is not None:
            config.update(box=info.box, voxel_size_angstrom=info.voxel_size_angstrom)
        return cls(**config)

    def get_config(self):
        return {
            key: getattr(self, key)
            for key in ("box", "width", "rate", "blow_up_at", "voxel_size_angstrom", "seed")
        }

    def call(self, images):
        return self.encoder(ops.reshape(images, (-1, self.box * self.box)))

    def make_optimizers(self):
        return {player: keras.optimizers.Adam(self.rate) for player in self.players}

    def player_variables(self, player):
        return getattr(self, player).trainable_variables

    def draw_specs(self):
        return {"noise": Draw((self.box * self.box,))}

    def player_loss(self, player, batch, draws, input_gradient, step):
        real = ops.reshape(batch["image"], (-1, self.box * self.box))
        rebuilt = self.encoder(real + draws["noise"])
        if player == "critic":
            loss = ops.mean(ops.square(self.critic(real) - 1.0)) + ops.mean(ops.square(self.critic(rebuilt)))
        else:
            loss = ops.mean(ops.square(rebuilt - real)) - 0.01 * ops.mean(self.critic(rebuilt))
            if self.blow_up_at >= 0:
                loss = loss / ops.cast(step < self.blow_up_at, loss.dtype)
        return loss, {player: loss}

    def update_averages(self):
        for average, variable in zip(self.average, self.encoder.trainable_variables, strict=True):
            average.assign(0.9 * average + 0.1 * variable)

    def preview(self, batch):
        images = ops.convert_to_numpy(batch["image"])
        rebuilt = ops.convert_to_numpy(self(images))
        return {
            "images": {"real": images, "rebuilt": rebuilt.reshape(images.shape)},
            "map": images[: self.box, :, :, 0],
            "codes": rebuilt[:, :3],
            "spread": rebuilt.std(),
        }


def main():
    """zoo-train with the toy model known to it."""
    import zoo.training.loop
    from zoo_tools.train import main as zoo_train

    pause = float(os.environ.get("TOY_STEP_SECONDS", "0"))
    if pause:
        agree = zoo.training.loop.Devices.agree

        def slow(self, wish):
            time.sleep(pause)
            return agree(self, wish)

        zoo.training.loop.Devices.agree = slow
    zoo_train()


if __name__ == "__main__":
    main()
