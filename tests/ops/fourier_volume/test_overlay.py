"""Two maps a small turn apart are laid over each other."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from zoo.metrics.alignment import transform_map
from zoo.ops import fourier_volume as fv
from zoo.simulate.embedded import embedded_maps


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_the_turn_and_shift_between_maps_is_found(noise):
    volume = embedded_maps(32, 10.0)[2]
    rotation = Rotation.from_rotvec([0.03, -0.02, 0.05]).as_matrix()
    shift = np.array([0.4, -0.3, 0.2])
    rng = np.random.default_rng(0)
    fixed = transform_map(volume, rotation, shift, 1)
    moving, fixed = (v + noise * volume.std() * rng.standard_normal(v.shape) for v in (volume, fixed))
    grid, plane = fv.FourierGrid(32), fv.HalfPlane(32, 12)
    moving, fixed = grid.transform(moving), grid.transform(fixed)
    power = grid.shell_means(np.abs(moving - fixed) ** 2)[:13]
    found = fv.small_turn(moving, fixed, 1 / power, plane, 10)
    error = Rotation.from_matrix(found[0] @ rotation.T).magnitude()
    assert np.degrees(error) < 0.3
    np.testing.assert_allclose(found[1], shift, atol=0.05)
    np.testing.assert_allclose(found[0] @ found[0].T, np.eye(3), atol=1e-6)
