"""Random numbers that depend on seed, stream, step and index alone."""

import numpy as np

from zoo.ops.fourier_volume import generator, uniforms


def test_an_index_has_its_number_in_any_batch():
    whole = uniforms(3, 1, 7, np.arange(100))
    np.testing.assert_array_equal(uniforms(3, 1, 7, np.array([42, 5])), whole[[42, 5]])


def test_numbers_are_uniform_and_unrelated():
    index = np.arange(20000)
    draws = [uniforms(*key, index) for key in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))]
    for draw in draws:
        assert draw.min() >= 0 and draw.max() < 1
        np.testing.assert_allclose(np.histogram(draw, 10, (0, 1))[0] / 2000, 1, atol=0.1)
        assert abs(np.corrcoef(draw[1:], draw[:-1])[0, 1]) < 0.03
    assert np.abs(np.corrcoef(draws) - np.eye(4)).max() < 0.03


def test_generators_of_streams_and_steps_differ():
    first = [generator(seed, *key).random() for seed in (0, 1) for key in ((0, 0), (0, 1), (1, 0))]
    assert len(set(first)) == 6 and generator(1, 0, 1).random() == first[4]
