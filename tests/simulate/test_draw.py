import numpy as np
import pytest
from scipy import stats
from scipy.spatial.transform import Rotation

from zoo.errors import ZooError
from zoo.metrics.views import fourier_completeness
from zoo.simulate.draw import draw_columns, draw_noise
from zoo.simulate.settings import ParticleSettings


def rotations(n, seed=0):
    columns = draw_columns(n, ParticleSettings(n, seed=seed), 1.0)
    euler = np.stack([columns[name] for name in ("rot_deg", "tilt_deg", "psi_deg")], axis=1)
    return Rotation.from_euler("ZYZ", euler, degrees=True).inv()


def test_poses_are_uniform_on_so3():
    found = rotations(20000)
    # the angle of a uniform rotation has density (1 - cos a) / pi: Kolmogorov-Smirnov against it
    test = stats.kstest(found.magnitude(), lambda a: (a - np.sin(a)) / np.pi)
    assert test.pvalue > 0.01
    for axis in range(3):  # each column of the matrix is uniform on the sphere: its z is uniform
        assert stats.kstest(found.as_matrix()[:, 2, axis], stats.uniform(-1, 2).cdf).pvalue > 0.01
    assert fourier_completeness(found.as_matrix()) > 0.97


def test_preferred_views_lie_where_they_should_and_nothing_else_changes():
    settings = ParticleSettings(1, preferred_share=0.8, preferred_within_deg=20)
    columns, plain = draw_columns(20000, settings, 1.0), draw_columns(20000, ParticleSettings(1), 1.0)
    cosine, edge = np.cos(np.radians(columns["tilt_deg"])), np.cos(np.radians(20))
    near = cosine >= edge
    assert near.mean() == pytest.approx(0.8, abs=0.01)
    assert stats.kstest(cosine[near], stats.uniform(edge, 1 - edge).cdf).pvalue > 0.01
    assert stats.kstest(cosine[~near], stats.uniform(-1, 1 + edge).cdf).pvalue > 0.01
    for name in set(columns) - {"tilt_deg"}:
        np.testing.assert_array_equal(columns[name], plain[name])


def test_optics_and_shifts_stay_in_their_ranges():
    settings = ParticleSettings(
        1, defocus_range_angstrom=(5000, 8000), astigmatism_max_angstrom=300, shift_max_px=4, voltage_kv=200
    )
    columns = draw_columns(5000, settings, pixel_size_angstrom=2.5)
    u, v = columns["defocus_u_angstrom"], columns["defocus_v_angstrom"]
    assert 5000 <= ((u + v) / 2).min() < 5010 and 7990 < ((u + v) / 2).max() <= 8000
    assert 0 <= (u - v).min() and 290 < (u - v).max() <= 300
    for axis in "xy":
        shift = columns[f"shift_{axis}_angstrom"]
        assert -10 <= shift.min() < -9.9 and 9.9 < shift.max() <= 10
    assert set(columns["voltage_kv"]) == {200.0}


def test_without_ctf_there_is_no_defocus():
    columns = draw_columns(5, ParticleSettings(5, apply_ctf=False), 1.0)
    assert "defocus_u_angstrom" not in columns
    assert columns["voltage_kv"][0] == 300


def test_more_particles_do_not_change_the_first_ones():
    few, many = (draw_columns(n, ParticleSettings(n, shift_max_px=1), 1.0) for n in (10, 1000))
    for name in few:
        np.testing.assert_array_equal(few[name], many[name][:10])


def test_quantities_and_streams_are_independent():
    columns = draw_columns(5000, ParticleSettings(1, shift_max_px=1), 1.0)
    names = ["rot_deg", "tilt_deg", "psi_deg", "shift_x_angstrom", "shift_y_angstrom", "defocus_u_angstrom"]
    correlation = np.corrcoef([columns[name] for name in names])
    assert np.abs(correlation - np.eye(6)).max() < 0.06
    other = draw_columns(5000, ParticleSettings(1, shift_max_px=1), 1.0, stream=1)
    assert abs(np.corrcoef(columns["rot_deg"], other["rot_deg"])[0, 1]) < 0.06


def test_noise_is_standard_normal_and_belongs_to_its_image():
    noise = draw_noise(np.arange(40), 32, seed=7)
    assert stats.kstest(noise.ravel(), "norm").pvalue > 0.01
    np.testing.assert_array_equal(draw_noise(np.array([30, 3]), 32, seed=7), noise[[30, 3]])
    assert np.abs(np.corrcoef(noise.reshape(40, -1)) - np.eye(40)).max() < 0.15
    assert (draw_noise(np.array([3]), 32, seed=8)[0] != noise[3]).all()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"count": 0}, "--count 0"),
        ({"sigma": -1.0}, "--sigma -1"),
        ({"sigma": float("nan")}, "--sigma nan"),
        ({"snr": 0.0}, "--snr 0"),
        ({"sigma": 1.0, "snr": 1.0}, "both given"),
        ({"defocus_range_angstrom": (20000.0, 10000.0)}, "--defocus 20000 10000"),
        ({"defocus_range_angstrom": (float("nan"), 10000.0)}, "finite"),
        ({"shift_max_px": -1.0}, "--shift -1"),
        ({"preferred_share": 1.5}, "--preferred-share 1.5"),
        ({"preferred_share": float("nan")}, "--preferred-share nan"),
        ({"preferred_within_deg": 0.0}, "--preferred-within 0"),
        ({"preferred_within_deg": 181.0}, "--preferred-within 181"),
        ({"preferred_within_deg": 10.0}, "--preferred-within 10: no views are preferred"),
        ({"astigmatism_max_angstrom": -1.0}, "--astigmatism"),
        ({"voltage_kv": 0.0}, "--voltage 0"),
        ({"cs_mm": float("inf")}, "--cs"),
        ({"amplitude_contrast": 1.0}, "--amplitude-contrast 1"),
        ({"seed": -1}, "--seed -1"),
        ({"scale": False, "scale_each": True}, "exclude each other"),
    ],
)
def test_impossible_settings_are_refused(values, words):
    with pytest.raises(ZooError, match=words):
        ParticleSettings(**({"count": 1} | values))
