"""What is told of a running average: one meaning of resolution."""

from types import SimpleNamespace

import numpy as np
import pytest

from zoo.metrics.fsc import resolution_at
from zoo.models.faml.figures import resolution_angstrom


def test_resolution_is_that_of_the_metrics():
    model = SimpleNamespace(box=32, voxel_size_angstrom=5.0)
    curve = np.array([1.0, 0.9, 0.8, 0.3, 0.1, 0.0, 0.0])
    found = resolution_angstrom(model, curve)
    assert found == resolution_at(curve, 0.143, 5.0, 32).angstrom
    assert 160 / 4 < found < 160 / 3  # between the shells on either side of the crossing


def test_a_curve_that_resolves_nothing_gives_the_box():
    model = SimpleNamespace(box=32, voxel_size_angstrom=5.0)
    assert resolution_angstrom(model, np.zeros(7)) == pytest.approx(160.0)
