"""The model of docs/new-model.md, in a package of its own: it trains, resumes, is exported and asked."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "new-model.md"
PLAIN = '''
import keras

class Plain(keras.Model):
    """Two layers; predicts the image itself."""

    takes = {"data": "particles"}

    def __init__(self, **options):
        super().__init__(**options)
        self.first = keras.layers.Conv2D(4, 3, padding="same", activation="relu")
        self.drop = keras.layers.Dropout(0.2)
        self.last = keras.layers.Conv2D(1, 3, padding="same")
        self.compile(optimizer=keras.optimizers.Adam(1e-2), loss="mse")

    def call(self, batch, training=False):
        return self.last(self.drop(self.first(batch["image"]), training=training))

class Uncompiled(Plain):
    def __init__(self, **options):
        super().__init__(**options)
        self.compiled = False

class OtherTarget(Plain):
    target = "volume"
'''


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_models").mkdir()
    (folder / "own_models" / "__init__.py").write_text("")
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S).group(1)
    (folder / "own_models" / "coder.py").write_text(code)
    (folder / "own_models" / "plain.py").write_text(PLAIN)
    sys.path.insert(0, str(folder))
    yield "own_models"
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.split(".")[0] == "own_models"]:
        del sys.modules[name]


def train(**options):
    from zoo.training.job import train
    from zoo.training.settings import TrainSettings

    return train(TrainSettings(**{"strategy": "one", "batch_size": 8, "sample_every": 0, **options}))


def state_of(run):
    from zoo.runs import checkpoint

    return checkpoint.read(checkpoint.latest(run.checkpoints)).arrays


@pytest.mark.parametrize("place", ["coder:Coder", pytest.param("plain:Plain", marks=pytest.mark.slow)])
def test_it_trains_and_resumes_to_the_same_bits(package, place, records, tmp_path):
    options = {
        "model": f"{package}.{place}",
        "data": records["particles"].path,
        "overrides": {"patience": "5", "validation_fraction": "0.3"},
    }
    once, code = train(**options, out=tmp_path / "once", steps=8)
    assert code == 0
    train(**options, out=tmp_path / "twice", steps=5)
    twice, _ = train(resume=tmp_path / "twice", steps=8)
    first, second = state_of(once), state_of(twice)
    for (name, value), again in zip(first.items(), second.values(), strict=True):
        np.testing.assert_array_equal(value, again, err_msg=name)
    losses = [line.split(",") for line in once.metrics.read_text().splitlines()]
    column = losses[0].index("validation_loss")
    found = [float(row[column]) for row in losses[1:] if row[column]]
    assert len(found) == 2 and found[1] < found[0]  # 24 records, batches of 8: passes end at steps 3 and 6


def test_it_stops_early_and_keeps_the_best_weights(package, records, tmp_path):
    import keras

    options = {"model": f"{package}.coder:Coder", "data": records["particles"].path, "sample_every": 0}
    wild = {"patience": "2", "validation_fraction": "0.3", "learning_rate": "0.5", "width": "8"}
    run, code = train(**options, overrides=wild, out=tmp_path / "run", steps=600)
    assert code == 0
    arrays = state_of(run)
    step = next(int(value) for name, value in arrays.items() if name.endswith("/step"))
    assert step < 600 and step % 3 == 0
    best = {name.rsplit("best_", 1)[1]: value for name, value in arrays.items() if "/best_" in name}
    del best["loss"]
    saved = keras.saving.load_model(run.model_file)
    kept = [keras.ops.convert_to_numpy(v) for v in saved.weights if v is not saved.step_counter]
    assert len(kept) == len(best)
    for i, value in enumerate(kept):
        np.testing.assert_array_equal(value, best[str(i)])


def test_it_is_asked_and_exported(package, records, tmp_path):
    from zoo.analysis.rows import rows_of
    from zoo.serving.open_model import open_model
    from zoo.serving.served import ServedModel

    info = records["particles"]
    run, _ = train(model=f"{package}.coder:Coder", data=info.path, out=tmp_path / "run", steps=3)
    opened, served = open_model(run.path, "encode"), ServedModel(run.export)
    for model in (opened, served):
        assert model.verbs == ["encode"]
    ours, theirs = (rows_of(model, "encode", info, 8) for model in (opened, served))
    assert ours["z_mean"].shape == (info.count, 4)
    np.testing.assert_allclose(ours["z_mean"], theirs["z_mean"], atol=1e-5)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("plain:Uncompiled", "is not compiled; call compile"),
        ("plain:OtherTarget", "its target 'volume' is no feature of .*these are: .*image"),
        ("plain:Plane", "has no Plane; did you mean 'Plain'"),
    ],
)
def test_what_cannot_train_is_one_line(package, place, words, records, tmp_path):
    from zoo.errors import ZooError

    with pytest.raises(ZooError, match=words) as caught:
        train(model=f"{package}.{place}", data=records["particles"].path, out=tmp_path / "run", steps=2)
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_the_split_depends_on_seed_and_uid_alone():
    from zoo.data.records.split import is_held_back

    uid = np.random.default_rng(0).integers(0, 2**63, 20_000).astype(np.uint64)
    held = is_held_back(uid, 3, 0.1)
    assert abs(held.mean() - 0.1) < 0.01
    order = np.random.default_rng(1).permutation(len(uid))
    np.testing.assert_array_equal(is_held_back(uid[order].astype(np.int64), 3, 0.1), held[order])
    other = is_held_back(uid, 4, 0.1)
    assert abs((held & other).mean() - 0.01) < 0.005
    assert not is_held_back(uid, 3, 0.0).any()


@pytest.mark.parametrize("place", ["coder:Coder", "plain:Plain"])
def test_it_starts_from_the_weights_of_another_run(package, place, records, tmp_path):
    from zoo.serving.open_model import load_finished

    options = {"model": f"{package}.{place}", "data": records["particles"].path}
    first, _ = train(**options, out=tmp_path / "first", steps=3, overrides={"validation_fraction": "0"})
    tiny = {"validation_fraction": "0"} | ({"learning_rate": "1e-30"} if place == "coder:Coder" else {})
    second, _ = train(**options, out=tmp_path / "second", steps=1, overrides=tiny, start_from=first.path)
    weights = [load_finished(run.path).trainable_weights for run in (first, second)]
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, atol=0 if place == "coder:Coder" else 0.011)
