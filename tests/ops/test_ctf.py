"""The CTF against RELION's own programs, and at its edges."""

import subprocess

import mrcfile
import numpy as np
import pytest
from keras import ops
from scipy import constants

from zoo.ops.ctf import COLUMNS, apply_ctf, ctf_2d, electron_wavelength_angstrom


def numpy(x):
    return ops.convert_to_numpy(x)


# defocus u, v, angle, kV, Cs, contrast, phase shift, B, scale; Å/pixel
MICROSCOPES = [
    ((12000, 12000, 0, 300, 2.7, 0.1, 0, 0, 1), 1.5),
    ((12000, 9000, 35, 200, 2.0, 0.1, 20, 0, 1), 1.5),
    ((30000, 31500, -70, 300, 2.7, 0.07, 90, 0, 1), 2.2),
    ((-5000, -5000, 110, 120, 1.4, 0.2, 0, 0, 1), 3.0),  # the program takes a negative v for "as u"
    ((8000, 7000, 45, 300, 0.01, 0.0, 0, 0, 1), 1.1),
]


@pytest.mark.relion
@pytest.mark.parametrize("case", MICROSCOPES)
def test_equals_relion_ctf_toolbox(case, tmp_path):
    values, pixel = case
    u, v, angle, kv, cs, contrast, phase, _, _ = map(str, values)
    command = ["relion_ctf_toolbox", "--simulate", "ctf.mrc", "--angpix", str(pixel), "--box", "64"]
    command += ["--kV", kv, "--Q0", contrast, "--Cs", cs, "--phase_shift", phase]
    command += ["--defU", u, "--defV", v, "--defAng", angle]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    with mrcfile.open(tmp_path / "ctf.mrc", permissive=True) as file:
        expected = file.data
    found = numpy(ctf_2d(np.array([values]), 64, np.array([pixel])))[0]
    # The program draws the column −N/2 from +N/2, which astigmatism tells apart: leave that column out.
    assert np.abs(found - expected)[1:, 1:].max() < 1e-3
    assert np.abs(found - expected).mean() < 1e-4
    assert expected.min() < -0.5


def formula(values, n, pixel):
    """The definition in float64, with azimuth and atan2, one frequency at a time."""
    u, v, angle, kv, cs, w, phase, b, scale = values
    wavelength = 12.2643247 / np.sqrt(1e3 * kv * (1 + 0.978466e-6 * 1e3 * kv))
    k = (np.arange(n) - n // 2) / n / pixel
    ky, kx = np.meshgrid(k, k, indexing="ij")
    s2, azimuth = kx**2 + ky**2, np.arctan2(ky, kx)
    defocus = 0.5 * (u + v) + 0.5 * (u - v) * np.cos(2 * (azimuth - np.radians(angle)))
    gamma = -np.pi * wavelength * defocus * s2 + 0.5 * np.pi * cs * 1e7 * wavelength**3 * s2**2
    gamma += -np.radians(phase) - np.arctan(w / np.sqrt(1 - w**2))
    return -np.sin(gamma) * np.exp(-b * s2 / 4) * scale


@pytest.mark.parametrize("n", [32, 33])
def test_is_the_written_formula_with_b_factor_and_scale(n):
    batch = [
        ((12000, 9000, 35, 200, 2.0, 0.1, 20, 80, 0.9), 1.5),
        ((25000, 26000, 5, 300, 2.7, 0.07, 0, -20, 1.2), 2),
    ]
    found = numpy(ctf_2d(np.array([b[0] for b in batch]), n, np.array([b[1] for b in batch])))
    for image, (values, pixel) in zip(found, batch, strict=True):
        np.testing.assert_allclose(image, formula(values, n, pixel), atol=5e-4)


def test_small_frequencies_have_the_amplitude_contrast_and_sign_of_relion():
    values = np.array([[15000, 15000, 0, 300, 2.7, 0.1, 0, 0, 1]])
    assert numpy(ctf_2d(values, 64, np.array([1.0])))[0, 32, 32] == pytest.approx(0.1, abs=1e-6)
    # Underfocus: −sin γ with γ < 0 rises above 0 from the origin (cryoDRGN's is the negative).
    assert numpy(ctf_2d(values, 64, np.array([1.0])))[0, 32, 33] > 0.1


def test_wavelength_at_300_kv():
    found = float(numpy(electron_wavelength_angstrom(ops.convert_to_tensor(300.0))))
    # h/√(2meV(1 + eV/2mc²)) with CODATA constants.
    h, m, e, c = constants.h, constants.m_e, constants.e, constants.c
    exact = h / np.sqrt(2 * m * e * 3e5 * (1 + e * 3e5 / (2 * m * c**2))) * 1e10
    assert found == pytest.approx(exact, rel=1e-4)


def test_apply_filters_in_fourier_space():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, 16, 16)).astype("float32")
    values = np.array([[9000, 8000, 30, 300, 2.7, 0.1, 0, 50, 1]] * 2)
    ctf = numpy(ctf_2d(values, 16, np.array([2.0, 3.0])))
    expected = np.fft.ifft2(np.fft.fft2(images) * np.fft.ifftshift(ctf, (1, 2))).real
    np.testing.assert_allclose(numpy(apply_ctf(images, ctf)), expected, atol=1e-5)
    np.testing.assert_allclose(numpy(apply_ctf(images[..., None], ctf))[..., 0], expected, atol=1e-5)


def test_gradients_are_finite_for_pure_amplitude_contrast_and_at_the_origin(gradients):
    values = np.array([[9000, 8000, 30, 300, 2.7, 1.0, 0, 50, 1], [0, 0, 0, 300, 0, 0, 0, 0, 1]], "float32")
    pixel = np.array([2.0, 3.0], "float32")
    (for_values, for_pixel), _ = gradients(lambda v, p: ops.sum(ctf_2d(v, 8, p)), [values, pixel])
    assert np.isfinite(for_values).all() and np.isfinite(for_pixel).all()


def test_columns_are_the_tables():
    assert len(COLUMNS) == 9 and COLUMNS[0] == "defocus_u_angstrom" and COLUMNS[-1] == "ctf_scale"
