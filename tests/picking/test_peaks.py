"""Local maxima against scikit-image's, and the choice of those that lie apart against a plain search."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.feature import peak_local_max

from zoo.picking.blocks import plan_blocks
from zoo.picking.peaks import best_apart, local_maxima


@pytest.fixture(scope="module")
def volume():
    noise = np.random.default_rng(3).standard_normal((40, 31, 52), dtype=np.float32)
    return ndimage.gaussian_filter(noise, 1.2)


def whole(volume):
    return tuple(slice(0, side) for side in volume.shape)


def ordered(places):
    return sorted(map(tuple, np.asarray(places).tolist()))


@pytest.mark.parametrize("sign", [1, -1])
def test_maxima_are_those_of_scikit_image(volume, sign):
    places, values = local_maxima(volume, whole(volume), sign)
    expected = peak_local_max(sign * volume, min_distance=1, threshold_abs=0.0, exclude_border=False)
    assert len(places) > 100 and ordered(places) == ordered(expected)
    assert np.array_equal(values, sign * volume[tuple(places.T)])


def test_of_equal_neighbours_one_is_the_maximum():
    volume = np.zeros((7, 7, 7), np.float32)
    volume[2:4, 2:4, 2:4] = 1.0
    places, _ = local_maxima(volume, whole(volume))
    assert ordered(places) == [(2, 2, 2)]
    assert ordered(local_maxima(-volume, whole(volume), -1)[0]) == [(2, 2, 2)]


def test_maxima_of_parts_are_those_of_the_whole(volume):
    together = []
    for block in plan_blocks(volume.shape, 3, 17):
        places, _ = local_maxima(volume[block.read], block.inside)
        together += (places + [each.start for each in block.read]).tolist()
    assert ordered(together) == ordered(local_maxima(volume, whole(volume))[0])


@pytest.mark.parametrize("shape", [(5, 40, 200), (64, 64, 64), (101, 33, 67)])
def test_cores_tile_the_volume_and_have_their_margin(shape):
    margin, side = 6, 32
    count = np.zeros(shape, int)
    blocks = plan_blocks(shape, margin, side)
    for block in blocks:
        count[block.core] += 1
        for core, read, size in zip(block.core, block.read, shape, strict=True):
            assert read.start == 0 or core.start - read.start >= margin
            assert read.stop == size or read.stop - core.stop >= margin
            assert read.stop - read.start <= max(side + margin, 1)
    assert (count == 1).all() and len(blocks) > 1


@pytest.mark.parametrize("count", [None, 7])
def test_the_best_that_lie_apart(count):
    rng = np.random.default_rng(5)
    places = rng.integers(0, 60, (400, 3))
    scores = rng.integers(0, 50, 400).astype(float)  # many are equal
    kept = best_apart(places, scores, 9.0, count)
    expected = []
    for index in sorted(range(400), key=lambda each: (-scores[each], *places[each])):
        if all(np.linalg.norm(places[index] - places[other]) >= 9.0 for other in expected):
            expected.append(index)
    expected = expected if count is None else expected[:count]
    assert [(*places[i], scores[i]) for i in kept] == [(*places[i], scores[i]) for i in expected]


def test_exactly_the_least_distance_is_far_enough():
    places = np.array([[0, 0, 0], [0, 0, 10], [0, 6, 8], [0, 0, 9]])
    assert best_apart(places, np.array([4.0, 3.0, 2.0, 1.0]), 10.0).tolist() == [0, 1]
    assert best_apart(places[:3], np.array([4.0, 1.0, 2.0]), 10.0).tolist() == [0, 2]
