"""Maps turned about the middle voxel: axes, sense and what comes from outside."""

import numpy as np
from keras import ops
from scipy import ndimage
from scipy.spatial.transform import Rotation

from zoo.ops.turned_maps import turned_maps


def smooth(count, box=16, seed=0):
    rng = np.random.default_rng(seed)
    maps = np.zeros((count, box, box, box), np.float32)
    maps[:, 5:12, 5:12, 5:12] = rng.normal(size=(count, 7, 7, 7))
    return ndimage.gaussian_filter(maps, (0, 1, 1, 1))


def turned(maps, matrices):
    found = turned_maps(maps[..., None].astype("float32"), np.asarray(matrices, "float32"))
    return ops.convert_to_numpy(found)[..., 0]


def test_a_quarter_turn_is_exact():
    """A takes x to y: what lies on +x comes to +y."""
    maps = np.zeros((1, 9, 9, 9), np.float32)
    maps[0, 4, 4, 7] = 1  # x = +3
    quarter = np.array([[[0, -1, 0], [1, 0, 0], [0, 0, 1]]])
    found = turned(maps, quarter)
    assert found[0, 4, 7, 4] == 1 and found.sum() == 1


def test_it_is_what_scipy_interpolates():
    maps, matrices = smooth(3), Rotation.random(3, random_state=1).as_matrix()
    found = turned(maps, matrices)
    for volume, matrix, mine in zip(maps, matrices, found, strict=True):
        zyx = matrix.T[::-1, ::-1]  # the source of a point, in the order of the axes
        offset = 8 - zyx @ np.full(3, 8)
        wanted = ndimage.affine_transform(volume, zyx, offset, order=1, mode="grid-constant")
        np.testing.assert_allclose(mine, wanted, atol=1e-5)


def test_the_identity_changes_nothing():
    maps = smooth(2)
    np.testing.assert_array_equal(turned(maps, np.tile(np.eye(3), (2, 1, 1))), maps)
