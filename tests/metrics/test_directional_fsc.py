import numpy as np
import pytest

from zoo.errors import ZooError
from zoo.metrics.directional_fsc import directional_fsc
from zoo.metrics.fsc import fsc

Z, X = np.array([0.0, 0.0, 1.0]), np.array([2.0, 0.0, 0.0])


def noise(seed, box=16):
    return np.random.default_rng(seed).normal(size=(box, box, box))


def test_a_cone_of_90_degrees_holds_the_whole_shell():
    a, b = noise(0), noise(0) + noise(1)
    curves = directional_fsc(a, b, np.stack([Z, X]), 90.0)
    np.testing.assert_allclose(curves, np.stack([fsc(a, b)] * 2), atol=1e-12)


def test_what_two_maps_share_along_one_axis_is_found_there_alone():
    """Maps that agree where |kz| is above |k| cos 30, and nowhere else."""
    box = 32
    frequency = np.fft.fftfreq(box)
    kz, ky, kx = np.meshgrid(frequency, frequency, frequency, indexing="ij")
    common = np.abs(kz) > np.cos(np.radians(30)) * np.sqrt(kx**2 + ky**2 + kz**2)
    shared, *alone = (np.fft.fftn(noise(seed, box)) for seed in (2, 3, 4))
    a, b = (np.fft.ifftn(np.where(common, shared, part)).real for part in alone)
    along, across = directional_fsc(a, b, np.stack([Z, X]))
    assert (along[3:15] > 0.999).all()
    assert np.abs(across[4:15]).mean() < 0.2 and across[8:15].max() < 0.5


def test_a_direction_and_its_opposite_are_the_same():
    a, b = noise(5), noise(5) + noise(6)
    tilted = np.array([0.3, -0.5, 0.7])
    one, other = directional_fsc(a, b, np.stack([tilted, -3 * tilted]))
    np.testing.assert_array_equal(one, other)


def test_a_part_without_a_fourier_voxel_is_not_a_number():
    curves = directional_fsc(noise(7, 32), noise(7, 32), np.array([[1.0, 1.0, 1.0]]), 10.0)
    assert np.isnan(curves[0, 1]) and (curves[0, 8:] > 0.999).all()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ZooError, match="expected one box"):
        directional_fsc(noise(0), noise(0, 8), Z[None])
    for wrong in (np.zeros((1, 3)), Z):
        with pytest.raises(ZooError, match=r"expected vectors \(d, 3\), none of them 0"):
            directional_fsc(noise(0), noise(1), wrong)
