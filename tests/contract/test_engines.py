"""What a registered model learns does not depend on the number of devices, and JAX learns it too."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import zoo
from zoo.registry import get_entry

PROGRAM = Path(__file__).with_name("engine_states.py")
ENTRIES = [get_entry(name) for name in zoo.list_models()]
# The host's arithmetic is that of one machine: a strategy is refused in words (zoo.engines.choose).
ON_HOST = {"abinitio3d"}
REPLICATED = [pytest.param(entry, id=entry.name) for entry in ENTRIES if entry.name not in ON_HOST]
ON_JAX = [pytest.param(entry, id=entry.name) for entry in ENTRIES if entry.learns != "epochs"]
STEPS, RATE = 2, 1e-4  # of engine_states.py
pytestmark = pytest.mark.slow


def states(entry, records, out, strategy, backend="tensorflow"):
    """State after two steps, by name."""
    role = next(iter(entry.takes))
    info = records.get(entry.embedded_set(role), records[entry.takes[role]])
    words = [entry.name, info.path, strategy, out / f"{strategy}-{backend}.npz"]
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *map(str, words)],
        env={**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(words[-1]) as archive:
        return {name: archive[name] for name in archive.files}


@pytest.mark.parametrize("entry", REPLICATED)
def test_two_replicas_learn_what_one_device_learns(entry, records, tmp_path):
    one, two = (states(entry, records, tmp_path, strategy) for strategy in ("one", "mirrored"))
    assert len(one) == len(two) > 1
    for (name, wanted), found in zip(one.items(), two.values(), strict=True):
        if "adam" not in name:
            assert_same_but_for_rounding(found, wanted, name)
        elif name.endswith("momentum"):  # the mean gradient
            atol = 1e-4 * np.abs(wanted).max() + 1e-9
            np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=atol, err_msg=name)


def assert_same_but_for_rounding(found, wanted, name):
    """Equal to 1e-5, but for one weight in twenty, which Adam may have moved otherwise.

    It divides a gradient by its own size: one that is zero but for rounding moves a weight as far as any.
    """
    wrong = np.abs(found - wanted) > 1e-5 * (1 + np.abs(wanted))
    assert wrong.mean() <= 0.05, name
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2 * STEPS * RATE * 1.01, err_msg=name)


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
@pytest.mark.parametrize("entry", ON_JAX)
def test_jax_takes_finite_steps(entry, records, tmp_path):
    """Random numbers are another stream there, so the weights differ; losses are compared elsewhere."""
    found = states(entry, records, tmp_path, "one", "jax")
    numbers = {name: value for name, value in found.items() if value.dtype.kind == "f"}
    assert len(numbers) > 1
    for name, value in numbers.items():
        assert np.isfinite(value).all(), name
    assert next(value for name, value in found.items() if name.endswith("|step")) == 2
