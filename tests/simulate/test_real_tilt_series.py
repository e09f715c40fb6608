"""A real tilt series against another program: PyTom's reconstruction of the same 41 projections."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from zoo.data.formats.mrc import read_volume
from zoo.simulate.slab import back_project

pytestmark = pytest.mark.shared_data
N = 100


@pytest.fixture(scope="module")
def series(shared_data):
    """Projections (tilts, y, x), their angles, and PyTom's volume."""
    folder = shared_data / "tomograms" / "pytom_p1"
    listed = ElementTree.parse(folder / "projectionList.xml").getroot()
    names = [projection.get("Filename").rsplit("/", 1)[-1] for projection in listed]
    images = np.stack([read_volume(folder / name)[0].reshape(N, N) for name in names])
    angles = np.array([float(projection.get("TiltAngle")) for projection in listed])
    return images, angles, read_volume(folder / "p1.em")[0]


def transform(volume):
    return np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(volume)))


def shell_correlations(first, second, within):
    """Of each Fourier shell up to 48, over the frequencies ``within``."""
    k = np.indices((N,) * 3) - N // 2
    shell = np.rint(np.sqrt((k**2).sum(0))).astype(int)[within]
    first, second = first[within], second[within]

    def summed(values):
        return np.bincount(shell, values, minlength=49)[1:49]

    return summed((first * second.conj()).real) / np.sqrt(
        summed(np.abs(first) ** 2) * summed(np.abs(second) ** 2)
    )


def test_tilts_turn_about_y_the_way_they_do_in_pytom(series):
    images, angles, theirs = series
    kz, _, kx = np.indices((N,) * 3) - N // 2
    measured = np.abs(kz) <= np.tan(np.radians(58.0)) * np.abs(kx)
    theirs = transform(theirs)
    # It was cut out 1.13 voxels further along x.
    moved = np.exp(2j * np.pi * -1.13 * kx / N)
    right, wrong = (transform(back_project(images, sign * angles, N)) * moved for sign in (1, -1))
    found = shell_correlations(right, theirs, measured)
    assert found[:40].min() > 0.85, found.round(2)
    assert np.median(found[:40]) > 0.93
    assert shell_correlations(wrong, theirs, measured)[4:40].max() < 0.3


def test_what_pytom_left_unmeasured_is_what_we_take_for_the_missing_wedge(series):
    _, _, theirs = series
    kz, ky, kx = np.indices((N,) * 3) - N // 2
    power = np.abs(transform(theirs)) ** 2
    shells = (kx**2 + ky**2 + kz**2 > 8**2) & (kx**2 + ky**2 + kz**2 < 45**2)
    inside = shells & (np.abs(kz) <= np.tan(np.radians(60.0)) * np.abs(kx))
    outside = shells & (np.abs(kz) > np.tan(np.radians(65.0)) * np.abs(kx))
    assert power[outside].mean() < 0.02 * power[inside].mean()
