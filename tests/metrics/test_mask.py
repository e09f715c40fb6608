import numpy as np

from zoo.metrics.mask import density_mask, sphere_mask


def test_sphere_is_one_inside_zero_outside_and_falls_between():
    mask = sphere_mask(32, radius_px=8, edge_px=4)
    assert mask.dtype == np.float32
    line = mask[16, 16, 16:]
    np.testing.assert_array_equal(line[:9], 1)
    np.testing.assert_allclose(line[12:], 0, atol=1e-7)
    assert line[10] == np.float32(0.5)
    assert (np.diff(line) <= 0).all()


def test_sphere_without_edge_is_binary_and_centred():
    mask = sphere_mask(17, radius_px=3, edge_px=0)
    assert set(np.unique(mask)) == {0.0, 1.0}
    np.testing.assert_allclose(np.argwhere(mask).mean(0), 8)


def test_density_mask_grows_the_shape_by_the_distance_asked_for():
    density = np.zeros((20, 20, 20))
    density[10, 10, 10] = 1
    mask = density_mask(density, 0.5, extend_px=3, edge_px=2)
    assert mask[10, 10, 13] == 1
    assert 0 < mask[10, 10, 14] < 1
    assert mask[10, 10, 15] == 0
