"""Checkpoint files: exact, atomic, and refused when damaged or foreign."""

import re
import socket

import numpy as np
import pytest

from zoo.engines.choose import get_engine
from zoo.errors import ZooError
from zoo.runs import checkpoint


@pytest.fixture
def make_engine(toy):
    import keras

    def make(width=8, seed=3):
        keras.utils.set_random_seed(seed)
        return get_engine(toy.ToyModel(width=width), seed=seed, global_batch=4)

    return make


def batch(step):
    return {"image": np.random.default_rng(step).normal(size=(4, 16, 16, 1)).astype(np.float32)}


def test_restored_bits_are_the_same_in_another_model(make_engine, tmp_path):
    engine = make_engine()
    for step in range(3):
        engine.step(batch(step))
    checkpoint.save(engine, tmp_path / "a.npz", "hash")
    wanted = checkpoint.state_hash(engine)
    other = make_engine()
    assert checkpoint.state_hash(other) != wanted
    checkpoint.restore(other, tmp_path / "a.npz", "hash")
    assert checkpoint.state_hash(other) == wanted
    assert other.step_index == 3
    engine.step(batch(3)), other.step(batch(3))
    assert checkpoint.state_hash(other) == checkpoint.state_hash(engine) != wanted


def test_slots_and_averages_are_in_it(make_engine):
    names = [name for name, _ in make_engine().variables()]
    for part in ("average0", "step", "momentum", "velocity", "iteration"):
        assert any(part in name for name in names), part
    assert len(set(names)) == len(names)


def test_one_flipped_byte_anywhere_is_noticed(make_engine, tmp_path):
    path = tmp_path / "a.npz"
    checkpoint.save(make_engine(), path)
    whole = path.read_bytes()
    wanted = checkpoint.read(path)
    noticed = 0
    for position in np.linspace(0, len(whole) - 1, 60).astype(int):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        try:
            found = checkpoint.read(path)
        except ZooError as error:
            noticed += "a.npz" in str(error)
        else:
            # Some bytes of a zip (dates, attributes) carry nothing: then the content is untouched.
            assert all(np.array_equal(found.arrays[k], wanted.arrays[k]) for k in wanted.arrays)
            noticed += 1
    assert noticed == 60


def test_a_damaged_shape_is_noticed(make_engine, tmp_path):
    # NumPy reads a shorter array without coming to its end, where the checksum is compared.
    path = tmp_path / "a.npz"
    checkpoint.save(make_engine(), path)
    damaged, count = re.subn(rb"('shape': \()[2-9]", rb"\g<1>1", path.read_bytes(), count=1)
    assert count == 1
    path.write_bytes(damaged)
    with pytest.raises(ZooError, match="a.npz.*not a whole checkpoint"):
        checkpoint.read(path)


@pytest.mark.parametrize("length", [0, 10, 0.5, 0.99])
def test_cut_short_is_refused(make_engine, tmp_path, length):
    path = tmp_path / "a.npz"
    checkpoint.save(make_engine(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(length * len(whole)) if isinstance(length, float) else length])
    with pytest.raises(ZooError, match="not a whole checkpoint"):
        checkpoint.read(path)


def test_other_models_and_seeds_are_refused(make_engine, tmp_path):
    path = tmp_path / "a.npz"
    engine = make_engine()
    checkpoint.save(engine, path, "hash")
    other = make_engine(width=9)
    before = checkpoint.state_hash(other)
    with pytest.raises(ZooError, match="another model or configuration"):
        checkpoint.restore(other, path, "hash")
    assert checkpoint.state_hash(other) == before
    with pytest.raises(ZooError, match="another configuration"):
        checkpoint.restore(engine, path, "other")
    with pytest.raises(ZooError, match="seed 3"):
        checkpoint.restore(make_engine(seed=4), path, "hash")


def test_a_failed_write_leaves_the_old_file(make_engine, tmp_path, monkeypatch):
    engine = make_engine()
    path = tmp_path / "a.npz"
    checkpoint.save(engine, path)
    before = path.read_bytes()

    def full(*_args, **_names):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zoo.files.os.fsync", full)
    with pytest.raises(ZooError, match="a.npz: .* the disk is full .*; free space and run the same"):
        checkpoint.save(engine, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_newest_are_kept(tmp_path, make_engine):
    state = checkpoint.collect(make_engine())
    for step in (5, 10, 100, 20):
        checkpoint.write(state, checkpoint.path_for(tmp_path, step))
    # of a process that has ended: no process has so high a number
    (tmp_path / f".step-00000007.npz.{socket.gethostname()}-99999999.part").write_bytes(b"half")
    checkpoint.prune(tmp_path, 2)
    assert checkpoint.steps_in(tmp_path) == [20, 100]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["step-00000020.npz", "step-00000100.npz"]
    assert checkpoint.latest(tmp_path).name == "step-00000100.npz"


def test_sixteen_bit_floats_survive(tmp_path):
    import ml_dtypes

    array = np.arange(6, dtype=np.float32).astype(ml_dtypes.bfloat16).reshape(2, 3)
    state = checkpoint.Checkpoint(1, 2, "h", {"w": array, "half": array.astype(np.float16)})
    checkpoint.write(state, tmp_path / "b.npz")
    found = checkpoint.read(tmp_path / "b.npz")
    assert found.arrays["w"].dtype == array.dtype and (found.step, found.seed, found.config_hash) == (
        1,
        2,
        "h",
    )
    assert np.array_equal(found.arrays["w"].view(np.uint16), array.view(np.uint16))
    assert found.arrays["half"].dtype == np.float16
