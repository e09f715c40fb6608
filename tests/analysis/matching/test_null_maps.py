"""Maps of the null: decoys of a template, own maps, composites of these, samples of a generator."""

import numpy as np
import pytest
from scipy import fft, ndimage

from zoo.analysis.matching.decoys import DECOYS, decoys_of
from zoo.analysis.matching.null_maps import GeneratedMaps, OwnMaps, check_count
from zoo.errors import ZooError
from zoo.simulate.embedded_complexes import embedded_complexes

N = 24


@pytest.fixture(scope="module")
def known():
    return embedded_complexes(N, 16.0).maps


def test_decoys_are_what_they_are_called(known):
    template = known[12]  # tripod: no symmetry that hides a mirror image
    found = dict(zip(DECOYS, decoys_of(template), strict=True))
    middle = ndimage.center_of_mass(np.where(template > 0.1 * template.max(), template, 0))
    for name in ("sphere", "gaussian", "ellipsoid"):
        assert np.allclose(ndimage.center_of_mass(found[name]), middle, atol=0.3), name
    np.testing.assert_allclose(found["mirrored"][:, :, 1:], template[:, :, :0:-1])
    power = np.abs(fft.fftn(template))
    np.testing.assert_allclose(np.abs(fft.fftn(found["phases_randomised"])), power, rtol=2e-3, atol=1e-2)
    assert abs(np.corrcoef(found["phases_randomised"].ravel(), template.ravel())[0, 1]) < 0.5
    volume = [(found[name] > 0.5 * found[name].max()).sum() for name in ("sphere", "scaled")]
    assert volume[1] / (template > 0.5 * template.max()).sum() == pytest.approx(1.25**3, rel=0.25)


def test_the_ellipsoid_has_the_inertia_of_the_template(known):
    def moments(density):
        dense = np.where(density > 0.1 * density.max(), density, 0).astype(float)
        places = np.argwhere(dense > 0).astype(float)
        return np.sort(np.linalg.eigvalsh(np.cov(places.T, aweights=dense[dense > 0])))

    rod = known[6]
    ellipsoid = decoys_of(rod)[DECOYS.index("ellipsoid")]
    np.testing.assert_allclose(moments(ellipsoid)[2], moments(rod)[2], rtol=0.15)
    assert moments(ellipsoid)[2] > 5 * moments(ellipsoid)[0]


def test_composites_are_new_reproducible_and_inside_the_box(known):
    source = OwnMaps(known, "15 maps", seed=1)
    first, again = source.maps(10, 25), source.maps(12, 20)
    np.testing.assert_array_equal(first[2:10], again)
    np.testing.assert_array_equal(first[:5], known[10:])
    made = first[5:].reshape(10, -1)
    everything = np.concatenate([known.reshape(15, -1), made])
    assert np.abs(np.corrcoef(everything) - np.eye(25)).max() < 0.98
    assert (made.std(axis=1) > 0).all()
    assert not np.array_equal(OwnMaps(known, "", seed=2).maps(15, 16), source.maps(15, 16))


def test_a_count_beyond_the_maps_is_refused(known):
    check_count(985, OwnMaps(known, "15 maps"))
    with pytest.raises(ZooError, match="are 15 maps"):
        check_count(16, OwnMaps(known, "the maps of x", composites=False))
    with pytest.raises(ZooError, match="expected 1 or more"):
        check_count(0, OwnMaps(known, ""))


def test_samples_whose_latents_are_those_of_the_template_are_left_out(known):
    """A generator that shows its latents: a square of values; its inverse reads them off."""
    dim = 6

    def generate(latents):
        maps = np.zeros((len(latents), N, N, N), np.float32)
        maps[:, 4, 4, 4 : 4 + dim] = latents
        return maps

    def encode(maps):  # all turns of the template lie about one point
        noise = np.random.default_rng(int(1e4 * abs(maps).sum()) % 1000).normal(size=(len(maps), dim))
        return np.array([1.5, 1.5, 0, 0, 0, 0]) + 0.3 * noise

    source = GeneratedMaps(generate, dim, "samples", encode, prior=1.0)
    away = source.away_from(known[0], 0, 4000)
    latents = source.latents(0, 4000)
    along = latents[:, :2].sum(1) / np.sqrt(2)  # the direction in which the template lies, 2.1 away
    assert 0 < (~away).sum() < 400
    assert (~away[np.abs(along - 2.12) < 0.2]).all() and away[along < 1].all()
    assert source.density.meaningful and source.facts()["directions"] < dim
    np.testing.assert_array_equal(source.maps(3, 5)[:, 4, 4, 4 : 4 + dim], latents[3:5])
    assert GeneratedMaps(generate, dim, "samples").away_from(known[0], 0, 9).all()
