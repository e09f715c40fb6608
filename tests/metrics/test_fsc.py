import subprocess

import numpy as np
import pytest

from zoo.data.formats.mrc import write_volume
from zoo.errors import ZooError
from zoo.metrics.fsc import fsc, resolution_at
from zoo.simulate.embedded import embedded_maps


def noisy_pair(box=48, noise=0.05, seed=0):
    rng = np.random.default_rng(seed)
    density = embedded_maps(box)[2]
    return [density + noise * rng.normal(size=density.shape) for _ in range(2)]


def test_equal_maps_correlate_fully_and_scale_does_not_matter():
    density = embedded_maps(32)[0] + np.random.default_rng(0).normal(size=(32,) * 3)
    np.testing.assert_allclose(fsc(density, 3 * density), 1, atol=1e-12)
    np.testing.assert_allclose(fsc(density, -density), -1, atol=1e-12)


def test_independent_noise_does_not_correlate():
    a, b = np.random.default_rng(1).normal(size=(2, 64, 64, 64))
    curve = fsc(a, b)
    assert curve.shape == (33,)
    assert np.abs(curve[10:]).max() < 0.1


def test_known_signal_to_noise_gives_the_expected_value():
    # per shell: FSC = SNR / (1 + SNR), here 1 everywhere
    rng = np.random.default_rng(2)
    signal, a, b = rng.normal(size=(3, 64, 64, 64))
    curve = fsc(signal + a, signal + b)[16:]
    np.testing.assert_allclose(curve, 0.5, atol=0.055)  # a shell of 1,600 voxels: 4 standard deviations
    assert curve.mean() == pytest.approx(0.5, abs=0.01)


def test_mask_is_applied_to_both():
    a, b = noisy_pair()
    mask = np.zeros_like(a)
    mask[8:40, 8:40, 8:40] = 1
    np.testing.assert_allclose(fsc(a, b, mask), fsc(a * mask, b * mask))


def test_resolution_is_interpolated_between_shells():
    curve = np.array([1, 1, 1, 0.9, 0.3, 0.1, 0, 0, 0])
    found = resolution_at(curve, 0.6, voxel_size_angstrom=2.0)
    assert found.shell == pytest.approx(3.5)
    assert found.pixels == pytest.approx(16 / 3.5)
    assert found.angstrom == pytest.approx(32 / 3.5)


def test_resolution_at_the_ends():
    assert resolution_at(np.ones(17), 0.5, 3.0).angstrom == pytest.approx(6.0)
    assert resolution_at(np.zeros(17), 0.5).pixels == np.inf
    assert resolution_at(np.ones(17), 0.5, box=33).pixels == pytest.approx(33 / 16)


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (np.ones((8, 8, 8)), np.ones((9, 9, 9)), "one box"),
        (np.ones((8, 8, 9)), np.ones((8, 8, 9)), "cube"),
        (np.full((8, 8, 8), np.nan), np.ones((8, 8, 8)), "finite"),
    ],
)
def test_bad_maps_are_refused(a, b, words):
    with pytest.raises(ZooError, match=words):
        fsc(a, b)


@pytest.mark.relion
@pytest.mark.parametrize("box", [32, 48])
def test_curve_equals_relion_postprocess(tmp_path, box):
    import starfile

    a, b = noisy_pair(box)
    write_volume(tmp_path / "half1_unfil.mrc", a, 3.0)
    write_volume(tmp_path / "half2_unfil.mrc", b, 3.0)
    # relion_postprocess wants a mask for its FSC table; its unmasked column is what is compared
    write_volume(tmp_path / "mask.mrc", np.ones_like(a), 3.0)
    command = "relion_postprocess --i half1_unfil.mrc --mask mask.mrc --angpix 3 --o post/post"
    command += " --autob_lowres 20"
    (tmp_path / "post").mkdir()
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    table = starfile.read(tmp_path / "post" / "post.star")["fsc"]
    theirs = table["rlnFourierShellCorrelationUnmaskedMaps"].to_numpy(float)
    np.testing.assert_allclose(fsc(a, b), theirs, atol=2e-5)
