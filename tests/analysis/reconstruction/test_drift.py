"""The motion between half maps: found where there is one, none where noise is all."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from zoo.analysis.reconstruction.drift import measure_drift, turned_poses
from zoo.analysis.reconstruction.volume import band_of
from zoo.metrics.alignment import transform_map
from zoo.metrics.fsc import fsc
from zoo.ops.fourier_volume import FourierGrid, HalfPlane, central_slices
from zoo.simulate.embedded import embedded_maps

BOX = 32
TURN = Rotation.from_rotvec(np.radians(2.0) * np.array([0.6, 0.0, 0.8])).as_matrix()
MOVE = np.array([0.1, -0.2, 0.3])


@pytest.fixture(scope="module")
def density():
    return embedded_maps(BOX, 10.0)[2]


def noisy(pair, sigma, seed):
    rng = np.random.default_rng(seed)
    return [each + sigma * pair[1].std() * rng.normal(size=each.shape) for each in pair]


@pytest.mark.parametrize("sigma", [0.1, 0.3])
def test_finds_the_motion_of_noisy_maps(density, sigma):
    pair = noisy([transform_map(density, TURN, MOVE), density], sigma, 1)
    curve = fsc(*pair)
    found = measure_drift(*pair, band_of(curve, 0.5), curve)
    left = Rotation.from_matrix(found.rotation @ TURN.T).magnitude()
    assert np.degrees(left) < 0.35
    np.testing.assert_allclose(found.shift_px, MOVE, atol=0.06)


@pytest.mark.parametrize("sigma", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("seed", [0, 1])
def test_noise_alone_is_no_motion(density, sigma, seed):
    pair = noisy([density, density], sigma, seed)
    curve = fsc(*pair)
    found = measure_drift(*pair, band_of(curve, 0.5), curve)
    assert found.angle_deg == 0 and not found.shift_px.any()


def test_turned_poses_see_the_moved_map_as_before(density):
    frames = Rotation.random(20, random_state=2).as_matrix()[:, :2].astype("f4")
    shifts = np.random.default_rng(0).normal(size=(20, 2)).astype("f4")
    plane, grid = HalfPlane(BOX, 8), FourierGrid(BOX)

    def images(volume, frames, shifts):
        values = central_slices(grid.transform(volume), frames, plane.points)
        values = values[:, : len(plane)] + 1j * values[:, len(plane) :]
        return values * np.exp(-2j * np.pi / BOX * (shifts @ plane.points.T))

    from zoo.analysis.reconstruction.drift import Drift

    before = images(density, frames, shifts)
    moved = turned_poses(frames, shifts, Drift(TURN, MOVE))
    after = images(transform_map(density, TURN, MOVE), *moved)
    assert np.linalg.norm(after - before) < 0.03 * np.linalg.norm(before)
