"""A model that learns from data of two kinds, by role, trains, resumes and is exported like any other."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

CODE = '''
from dataclasses import dataclass

import keras
from keras import ops

from zoo.config import Config, setting
from zoo.engines.draws import Draw
from zoo.models.endpoint import Endpoint, Input
from zoo.models.gradient_model import GradientModel
from zoo.models.preview import Images
from zoo.models.supervised import SupervisedModel


@dataclass(frozen=True)
class PairConfig(Config):
    box: int = setting(16, "edge", unit="pixels", least=4, most=64)
    voxel_size_angstrom: float = setting(20.0, "edge of a voxel", unit="Å", above=0)


@keras.saving.register_keras_serializable("zoo-tests")
class Pair(GradientModel):
    """Projections of volumes, coloured to look like images that show something else."""

    takes = {"structures": "subtomograms", "pictures": "particles"}
    Config = PairConfig
    players = ("critic", "painter")

    def __init__(self, name=None, seed=0, box=16, voxel_size_angstrom=20.0):
        super().__init__(name=name, seed=seed)
        self.box, self.voxel_size_angstrom = box, voxel_size_angstrom
        self.painter = keras.Sequential([keras.layers.Dense(8, "tanh"), keras.layers.Dense(box * box)])
        self.critic = keras.Sequential([keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)])
        self.painter.build((None, box * box))
        self.critic.build((None, box * box))
        self.built = True

    def get_config(self):
        return {"name": self.name, "seed": self.seed, "box": self.box,
                "voxel_size_angstrom": self.voxel_size_angstrom}

    def make_optimizers(self):
        return {player: keras.optimizers.Adam(0.01) for player in self.players}

    def player_variables(self, player):
        return getattr(self, player).trainable_variables

    def draw_specs(self):
        return {"noise": Draw((self.box * self.box,))}

    def paint(self, volume):
        return self.painter(ops.reshape(ops.mean(volume, axis=1), (-1, self.box**2)))

    def player_loss(self, player, batch, draws, input_gradient, step):
        real = ops.reshape(batch["pictures"]["image"], (-1, self.box**2))
        fake = self.paint(batch["structures"]["volume"]) + 0.1 * draws["noise"]
        if player == "critic":
            loss = ops.mean(ops.square(self.critic(real) - 1.0)) + ops.mean(ops.square(self.critic(fake)))
        else:
            loss = ops.mean(ops.square(self.critic(fake) - 1.0))
        return loss, {player: loss}

    def endpoints(self):
        volume = {"volume": Input((None, self.box, self.box, self.box, 1))}
        return {"paint": Endpoint(lambda volume: {"image": self.paint(volume)}, volume)}

    def preview(self, batch):
        shape = (-1, self.box, self.box)
        painted = ops.convert_to_numpy(self.paint(batch["structures"]["volume"])).reshape(shape)
        return {"images-real": Images(batch["pictures"]["image"][..., 0]), "images-painted": Images(painted)}


@keras.saving.register_keras_serializable("zoo-tests")
class OneLoss(SupervisedModel):
    takes = {"structures": "subtomograms", "pictures": "particles"}
    target = "image"

    def call(self, batch, training=False):
        return batch["image"]
'''


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "two_inputs.py").write_text(CODE)
    sys.path.insert(0, str(folder))
    yield "two_inputs"
    sys.path.remove(str(folder))
    sys.modules.pop("two_inputs", None)


def train(**options):
    from zoo.training.job import train
    from zoo.training.settings import TrainSettings

    return train(TrainSettings(**{"strategy": "one", "batch_size": 4, "sample_every": 0, **options}))


def state_of(run):
    from zoo.runs import checkpoint

    return checkpoint.read(checkpoint.latest(run.checkpoints)).arrays


def folders(records, **changes):
    known = {"structures": records["subtomograms"].path, "pictures": records["particles"].path, **changes}
    return {role: str(folder) for role, folder in known.items() if folder}


def test_it_trains_and_resumes_to_the_same_bits(place, records, tmp_path):
    options = {"model": f"{place}:Pair", "data": folders(records), "sample_every": 4}
    once, code = train(**options, out=tmp_path / "once", steps=7)
    assert code == 0 and list((once.path / "samples").rglob("*images-painted*"))
    train(**options, out=tmp_path / "twice", steps=4)
    twice, _ = train(resume=tmp_path / "twice", steps=7)
    first, second = state_of(once), state_of(twice)
    assert list(first) and {name.split("/")[-1] for name in first} >= {"kernel", "bias"}
    for (name, value), again in zip(first.items(), second.values(), strict=True):
        np.testing.assert_array_equal(value, again, err_msg=name)


@pytest.mark.slow
def test_each_role_is_remembered_and_may_have_moved(place, records, tmp_path):
    import shutil

    run, _ = train(model=f"{place}:Pair", data=folders(records), out=tmp_path / "run", steps=1)
    roles = json.loads((run.path / "config.json").read_text())["data"]["roles"]
    assert {role: data["kind"] for role, data in roles.items()} == {
        "structures": "subtomograms",
        "pictures": "particles",
    }
    shutil.copytree(records["particles"].path, tmp_path / "moved")
    _, code = train(resume=run.path, steps=2, data={"pictures": str(tmp_path / "moved")})
    assert code == 0


def test_its_savedmodel_runs_without_it(place, records, tmp_path, batch_of):
    from zoo.serving.served import ServedModel

    run, _ = train(model=f"{place}:Pair", data=folders(records), out=tmp_path / "run", steps=1)
    volume = batch_of(records["subtomograms"])["volume"]
    assert ServedModel(run.export).call("paint", volume=volume)["image"].shape == (4, 256)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
def test_it_resumes_to_the_same_bits_on_jax(place, records, tmp_path):
    folder = Path(importlib.util.find_spec(place).origin).parent
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(folder)}
    data = [word for role in folders(records).items() for word in ("--data", "=".join(role))]
    command = [sys.executable, "-c", "from zoo_tools.train import main; main()"]
    for words in (
        ["--model", f"{place}:Pair", *data, "--steps", 7, "--batch-size", 4, "--out", tmp_path / "once"],
        ["--model", f"{place}:Pair", *data, "--steps", 4, "--batch-size", 4, "--out", tmp_path / "twice"],
        ["--resume", tmp_path / "twice", "--steps", 7],
    ):
        done = subprocess.run([*command, *map(str, words)], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    from zoo.runs.run_folder import RunFolder

    first, second = (state_of(RunFolder.open(tmp_path / name)) for name in ("once", "twice"))
    for (name, value), again in zip(first.items(), second.values(), strict=True):
        np.testing.assert_array_equal(value, again, err_msg=name)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pictures": None}, "--data pictures=DIR is missing: .* takes --data structures=DIR"),
        ({"films": "somewhere"}, "--data films=somewhere: .* takes --data structures=DIR --data pictures"),
        ({"pictures": "subtomograms"}, "holds subtomograms .* is trained on 2D particle images"),
    ],
)
def test_wrong_roles_are_one_line(place, records, tmp_path, changes, words):
    from zoo.errors import ZooError

    given = {role: records[name].path if name in records else name for role, name in changes.items()}
    with pytest.raises(ZooError, match=words) as caught:
        train(model=f"{place}:Pair", data=folders(records, **given), out=tmp_path / "run", steps=1)
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_one_loss_learns_from_one_data_set(place, records, tmp_path):
    from zoo.errors import ZooError

    words = "takes structures, pictures, but learns by 'loss' and so from one data set; derive"
    with pytest.raises(ZooError, match=words):
        train(model=f"{place}:OneLoss", data=folders(records), out=tmp_path / "run", steps=1)
    assert not (tmp_path / "run").exists()
