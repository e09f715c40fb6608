"""A raw subtomogram of a ribosome, whose orientation another program's template matching had found."""

import numpy as np
import pytest
from keras import ops
from scipy.spatial.transform import Rotation

from zoo.data.formats.mrc import read_volume
from zoo.ops import fourier
from zoo.ops.matching.match_settings import MODES, MatchSettings
from zoo.ops.matching.rotational_matching import match, prepare_templates

pytestmark = pytest.mark.shared_data
N = 100
# pl.xml: PyTom's Z1, X, Z2 turn the reference about z, then x, then z.
PYTOM = Rotation.from_euler("ZXZ", [31.9059309718, 55.9848442302, -161.334518687], degrees=True)


@pytest.fixture(scope="module")
def found(shared_data):
    """Best rotation, shift and score in each mode."""
    particle, _ = read_volume(shared_data / "tomograms" / "pytom_ribosome" / "particle_0.em")
    template, _ = read_volume(shared_data / "maps" / "ribosome_average_pytom.em.gz")
    k = fourier.frequency_grid_3d(N)
    wedge = (np.abs(k[..., 2]) <= np.tan(np.radians(60.0)) * np.abs(k[..., 0]) + 1e-9).astype("float32")
    best = {}
    for mode in MODES:
        settings = MatchSettings(N, mode)
        prepared = prepare_templates(settings, fourier.fft3(template[None]))
        result = match(settings, fourier.fft3(particle[None]), wedge[None], prepared)
        matrix, shift, score = (ops.convert_to_numpy(part)[0, 0, 0] for part in result)
        best[mode] = Rotation.from_matrix(matrix.astype(float)), shift, float(score)
    return best


def degrees(first, second):
    return np.rad2deg((first * second.inv()).magnitude())


def test_both_modes_climb_the_same_peak(found):
    (first, at, score), (second, there, other) = (found[mode] for mode in MODES)
    assert degrees(first, second) < 5.0
    assert np.linalg.norm(at - there) < 0.5
    assert score == pytest.approx(other, abs=0.005) and score > 0.25


@pytest.mark.parametrize("mode", MODES)
def test_it_lies_as_template_matching_had_found(found, mode):
    """By a coarse grid of angles: of 200 random rotations one is as near."""
    assert degrees(found[mode][0], PYTOM) < 25.0
