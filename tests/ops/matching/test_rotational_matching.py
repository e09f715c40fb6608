"""Matching of templates: poses known exactly, equation 1 written out, equivariance, several at once."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy.spatial.transform import Rotation

from zoo.ops import fourier
from zoo.ops.matching import oversampled_transform, phase_search, rotation_bank
from zoo.ops.matching import rotational_matching as matching
from zoo.ops.matching.match_settings import MODES, MatchSettings
from zoo.ops.matching.oversampled_transform import half_ball

N = 24
SMALL = {"step_deg": 20.0, "bandwidth": 12, "search_radius": 4, "magnitude_radius": 6, "candidates": 4}


def positions(seed):
    return np.random.default_rng(seed).uniform(-4.5, 4.5, size=(9, 3))


def blobs(seed=0, rotation=None, shift=(0, 0, 0), n=N):
    """Gaussians of 1.3 voxels, turned about voxel n//2, then shifted (xyz): exact at every pose."""
    centres = positions(seed) if rotation is None else rotation.apply(positions(seed))
    x = np.arange(n) - n // 2
    waves = [np.exp(-((x[None] - (centres[:, i] + shift[i])[:, None]) ** 2) / 3.38) for i in range(3)]
    return np.einsum("ax,ay,az->zyx", *waves).astype("float32")


def wedge(n=N, tilt_deg=60.0):
    k = fourier.frequency_grid_3d(n)
    return (np.abs(k[..., 2]) <= np.tan(np.deg2rad(tilt_deg)) * np.abs(k[..., 0]) + 1e-9).astype("float32")


def matched(settings, volumes, wedges, templates, masks=None):
    prepared = matching.prepare_templates(settings, fourier.fft3(np.stack(templates)), masks)
    found = matching.match(settings, fourier.fft3(np.stack(volumes)), wedges, prepared)
    return [ops.convert_to_numpy(part) for part in found]


def degrees(matrix, rotation):
    return np.rad2deg((Rotation.from_matrix(matrix) * rotation.inv()).magnitude())


POSES = [
    (Rotation.from_rotvec([0.9, -1.4, 0.3]), (1.2, -0.7, 0.5)),
    (Rotation.from_rotvec([-2.0, 0.4, 1.3]), (-0.8, 1.6, -1.1)),
]


@pytest.mark.parametrize("mode", MODES)
def test_finds_known_poses_of_two_templates_behind_a_wedge(mode):
    noise = np.random.default_rng(5).normal(size=(2, N, N, N))
    volumes = [blobs(i, *POSES[i]) + 0.3 * noise[i] for i in range(2)]
    settings = MatchSettings(N, mode, **SMALL)
    rotations, shifts, scores = matched(settings, volumes, np.stack([wedge()] * 2), [blobs(0), blobs(1)])
    assert rotations.shape == (2, 2, 4, 3, 3) and shifts.shape == (2, 2, 4, 3) and scores.shape == (2, 2, 4)
    np.testing.assert_allclose(rotations @ rotations.swapaxes(-1, -2) - np.eye(3), 0.0, atol=1e-5)
    assert (np.diff(scores, axis=-1) <= 0).all()
    for i, (rotation, shift) in enumerate(POSES):
        assert degrees(rotations[i, i, 0], rotation) < 3.0
        np.testing.assert_allclose(shifts[i, i, 0], shift, atol=0.3)
        assert scores[i, i, 0] > scores[i, 1 - i, 0] + 0.05  # the right template wins


def test_noise_in_the_corners_does_not_reach_the_magnitudes():
    corners = np.linalg.norm(fourier.frequency_grid_3d(N), axis=-1) > 0.5
    rotation, shift = POSES[0]
    volumes = []
    for seed in range(6):
        noise = np.random.default_rng(seed).normal(size=(N, N, N))
        volumes.append(blobs(0, rotation, shift) + 3.0 * noise * corners)
    settings = MatchSettings(N, "magnitude", **SMALL)
    rotations, _, _ = matched(settings, volumes, np.ones((6, N, N, N), "float32"), [blobs(0)])
    for found in rotations[:, 0, 0]:
        assert degrees(found, rotation) < 8.0


@pytest.mark.parametrize("mode", MODES)
def test_turning_the_input_turns_the_answer(mode):
    """Without a wedge nothing but the grid tells directions apart."""
    settings = MatchSettings(N, mode, **SMALL)
    turn = Rotation.from_rotvec([0.4, 1.9, -0.7])
    rotation, shift = POSES[0]
    volumes = [blobs(0, rotation, shift), blobs(0, turn * rotation, turn.apply(shift))]
    rotations, shifts, scores = matched(settings, volumes, np.ones((2, N, N, N), "float32"), [blobs(0)])
    assert scores[:, 0, 0].min() > 0.995
    first = Rotation.from_matrix(rotations[0, 0, 0])
    assert degrees(rotations[1, 0, 0], turn * first) < 0.5
    np.testing.assert_allclose(shifts[1, 0, 0], turn.apply(shifts[0, 0, 0]), atol=0.05)


def test_score_is_the_equation_written_out():
    settings = MatchSettings(N, "phase", **SMALL)
    rotation, shift = POSES[0]
    volume = blobs(0, rotation, shift) + 0.5 * np.random.default_rng(1).normal(size=(N, N, N))
    rotations, shifts, scores = matched(settings, [volume], wedge()[None], [blobs(0)])
    k = np.rint(fourier.frequency_grid_3d(N) * N)
    length = (k**2).sum(-1)
    weight = wedge() * ((length > 0) & (length <= settings.refine_radius**2))

    def transform(volume):
        return np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(volume)))

    for c in np.flatnonzero(scores[0, 0] > matching.UNUSED_SCORE)[:2]:
        turned = Rotation.from_matrix(rotations[0, 0, c])
        x, a = transform(volume), transform(blobs(0, turned, shifts[0, 0, c]))
        expected = (weight * x * a.conj()).sum().real
        expected /= np.sqrt((weight * np.abs(x) ** 2).sum() * (weight * np.abs(a) ** 2).sum())
        assert scores[0, 0, c] == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("masked", [False, True])
def test_exhaustive_search_is_brute_force(masked):
    """The maximum over all rotations and shifts of the grids, against a loop of plain sums."""
    settings = MatchSettings(16, "phase", step_deg=40.0, search_radius=3, max_shift_voxels=2.0)
    rng = np.random.default_rng(3)
    template = blobs(0, n=16)[None]
    mask = wedge(16)[None] if masked else None
    prepared = phase_search.prepare_bank(settings, template, mask)
    frequency = half_ball(3)
    spectrum = rng.normal(size=(2, 1, len(frequency))).astype("float32")
    weight = (rng.uniform(size=(1, len(frequency))) > 0.3).astype("float32")
    best = phase_search.candidate_rotations(settings, prepared, *spectrum, weight)[0, 0, 0]

    x = spectrum[0, 0] + 1j * spectrum[1, 0]
    shifts = rotation_bank.shift_grid(2.0, 0.375 * 16 / 3)
    assert len(shifts) > 1
    re, im = oversampled_transform.zoomed_transform(template, 3, phase_search.PAD)
    zoomed = (ops.convert_to_numpy(re) + 1j * ops.convert_to_numpy(im))[0]
    scores = []
    for m, rotation in enumerate(rotation_bank.even_rotations(40.0)[0]):
        place = np.rint(frequency @ rotation * phase_search.PAD).astype(int) + zoomed.shape[-1] // 2
        values = zoomed[tuple(place.T[::-1])]
        seen = np.ones(len(frequency))
        if masked:
            seen = mask.ravel()[rotation_bank.bank_voxel_index(40.0, 3, 16)[m]]
        values = values * seen
        inner = [
            (weight[0] * x * (values * np.exp(-2j * np.pi * frequency @ t / 16)).conj()).sum().real
            for t in shifts
        ]
        power = (weight[0] * np.abs(values) ** 2).sum()
        overlap = (weight[0] * seen**2 * np.abs(x) ** 2).sum() if masked else 1.0
        scores.append(max(inner) / np.sqrt(power * overlap))
    expected = rotation_bank.even_rotations(40.0)[0][int(np.argmax(scores))]
    np.testing.assert_allclose(best, expected, atol=1e-6)


def test_template_with_a_hole_of_its_own_still_matches():
    seen = wedge()
    re, im = fourier.fft3(blobs(0)[None])
    hollow = fourier.ifft3(re * seen, im * seen)[0][0]
    rotation, shift = POSES[1]
    settings = MatchSettings(N, "phase", **SMALL)
    known = matched(settings, [blobs(0, rotation, shift)], seen[None], [hollow], seen[None])
    ignored = matched(settings, [blobs(0, rotation, shift)], seen[None], [hollow])
    assert degrees(known[0][0, 0, 0], rotation) < 4.0
    assert known[2][0, 0, 0] > ignored[2][0, 0, 0] + 0.02  # what neither has seen does not count against it


def test_candidates_are_different_peaks():
    settings = MatchSettings(N, "phase", **{**SMALL, "candidates": 20})
    noise = np.random.default_rng(6).normal(size=(N, N, N))  # has peaks of its own
    rotations, shifts, scores = matched(settings, [blobs(0, *POSES[0]) + noise], wedge()[None], [blobs(0)])
    used = scores[0, 0] > matching.UNUSED_SCORE
    assert 1 < used.sum() < 20 and (np.diff(used.astype(int)) <= 0).all()
    matrices, moved = rotations[0, 0][used], shifts[0, 0][used]
    chord = np.linalg.norm(matrices[:, None] - matrices[None], axis=(-2, -1))
    apart = np.linalg.norm(moved[:, None] - moved[None], axis=-1)
    near = (chord < 0.05) & (apart < 0.02 * N)
    assert near.sum() == used.sum()  # each only itself


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "both"}, "mode is one of magnitude, phase"),
        ({"box": 8}, "box of at least 12"),
        ({"candidates": 51}, "1 to 50"),
        ({"bandwidth": 15}, "bandwidth is even"),
        ({"step_deg": 0.0}, "step_deg"),
        ({"max_shift_voxels": 13.0}, "max_shift_voxels is 0 to box/2"),
        ({"refine_radius": 1}, "refine_radius is at least 2"),
        ({"refine_radius": 4}, "refine_radius is at least search_radius"),
    ],
)
def test_settings_that_cannot_work_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        MatchSettings(**{"box": N, **change})


@pytest.mark.slow
def test_pass_on_jax(repository):
    """The same test on the other backend, in a process of its own."""
    import importlib.util
    import os
    import subprocess
    import sys

    if keras.backend.backend() == "jax" or importlib.util.find_spec("jax") is None:
        pytest.skip("runs from another backend, and needs jax")
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", __file__]
    command += ["-k", "finds_known_poses"]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    result = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:]
    assert "2 passed" in result.stdout
