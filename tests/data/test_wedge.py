import numpy as np
import pytest

from zoo.data.wedge import wedge_mask


def test_symmetric_wedge_is_the_inequality_of_its_definition():
    n = 16
    kz, _, kx = np.meshgrid(*[np.arange(n) - n // 2] * 3, indexing="ij")
    expected = np.abs(kz) <= np.tan(np.radians(60)) * np.abs(kx) + 1e-9
    np.testing.assert_array_equal(wedge_mask(n, -60, 60), expected)


@pytest.mark.parametrize("tilt", [-50.0, -10.0, 0.0, 35.0])
def test_a_tilt_measures_the_plane_of_its_rotation(tilt):
    """Points on the slice A^T (kx, ky, 0) of rot 0, tilt, psi 0 lie inside, its mirror image outside."""
    from scipy.spatial.transform import Rotation

    n = 32
    mask = wedge_mask(n, tilt - 4, tilt + 4)
    matrix = Rotation.from_euler("ZYZ", [0, tilt, 0], degrees=True).inv().as_matrix()
    for kx in (12.0, -12.0):
        x, _, z = np.rint(matrix.T @ [kx, 0, 0]).astype(int) + n // 2
        assert mask[z, n // 2, x] == 1
        if tilt:
            assert mask[n - z, n // 2, x] == 0 or abs(tilt) < 6


def test_the_whole_space_and_a_single_plane():
    assert wedge_mask(8, -90, 90).min() == 1
    plane = wedge_mask(8, 0, 0)
    assert plane[4].min() == 1  # kz = 0
    assert np.delete(plane, 4, axis=0)[:, :, [0, 1, 2, 3, 5, 6, 7]].max() == 0
    assert plane[:, :, 4].sum() == 8  # of kx = 0 only the tilt axis


def test_a_full_range_of_one_sign_measures_half():
    n = 17  # odd: no Nyquist without a partner
    both = wedge_mask(n, 0, 90) + wedge_mask(n, -90, 0)
    assert (both >= 1).all()
    fraction = wedge_mask(n, 0, 90).mean()
    assert 0.5 < fraction < 0.6


@pytest.mark.parametrize("bounds", [(10, -10), (-91, 0), (0, 90.5)])
def test_an_impossible_range_is_refused(bounds):
    with pytest.raises(ValueError, match="expected -90"):
        wedge_mask(8, *bounds)
