"""One subtomogram against many templates: poses, parity with other ways to score, and exact skipping."""

import numpy as np
import pytest
from scipy import fft, ndimage
from scipy.spatial.transform import Rotation

from zoo.data.wedge import wedge_mask
from zoo.ops.matching.prepared_templates import SearchSettings, inside_sphere, prepare, with_shell_power_of
from zoo.ops.matching.template_search import Subtomogram
from zoo.ops.rotation_grid import so3_grid

N = 24
SETTINGS = SearchSettings(N)


def blobs(seed, rotation=None, shift=(0, 0, 0), n=N):
    """A structure of Gaussian blobs, turned and moved exactly: (n, n, n)."""
    rng = np.random.default_rng(seed)
    centres, widths = rng.normal(0, n / 8, (12, 3)), rng.uniform(n / 26, n / 16, 12)
    centres -= centres.mean(0)
    length = np.linalg.norm(centres, axis=1, keepdims=True)
    centres *= np.minimum(1, 0.32 * n / length)
    if rotation is not None:
        centres = centres @ rotation.T
    centres = centres + np.asarray(shift)
    axis = np.arange(n) - n // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    places = np.stack([x, y, z], -1)[..., None, :] - centres
    return np.exp(-(places**2).sum(-1) / (2 * widths**2)).sum(-1).astype(np.float32)


def seen_through(volume, wedge, noise=0.0, seed=0):
    """A volume with white noise of ``noise`` standard deviations of it, without what the wedge leaves out."""
    rng = np.random.default_rng([seed, 7])
    noisy = volume + noise * volume.std() * rng.normal(size=volume.shape)
    return fft.fftshift(fft.ifftn(fft.ifftshift(fft.fftshift(fft.fftn(fft.ifftshift(noisy))) * wedge)).real)


def score_by_hand(template, volume, wedge, rotation, shift, radius):
    """The constrained correlation on the subtomogram's own grid, of a map turned in real space."""
    n = len(template)
    matrix = rotation[::-1, ::-1]  # of z, y, x
    middle = np.full(3, n // 2)
    turned = ndimage.affine_transform(inside_sphere(template), matrix.T, middle - matrix.T @ middle, order=3)
    k = np.arange(n) - n // 2
    kz, ky, kx = np.meshgrid(k, k, k, indexing="ij")
    ball = (kx**2 + ky**2 + kz**2 <= radius**2) & (kx**2 + ky**2 + kz**2 > 0)
    t, x = (fft.fftshift(fft.fftn(fft.ifftshift(each))) for each in (turned, volume))
    t, x = t * wedge, x * (wedge > 0)
    t = t * np.exp(-2j * np.pi / n * (kx * shift[0] + ky * shift[1] + kz * shift[2]))
    t, x = t[ball], x[ball]
    return (x * t.conj()).real.sum() / np.linalg.norm(t) / np.linalg.norm(x)


@pytest.fixture(scope="module")
def wedge():
    return wedge_mask(N, -60, 60)


@pytest.fixture(scope="module")
def templates():
    return np.stack([blobs(seed) for seed in range(40)])


@pytest.fixture(scope="module")
def prepared(templates):
    return prepare(SETTINGS, templates)


def angle_deg(a, b):
    return np.degrees(np.arccos(np.clip((np.trace(a.T @ b) - 1) / 2, -1, 1)))


@pytest.mark.parametrize(("noise", "turned", "moved", "least"), [(0.3, 1.5, 0.1, 0.95), (3.0, 4.0, 0.3, 0.3)])
def test_the_right_template_and_its_pose_are_found(prepared, wedge, noise, turned, moved, least):
    angles, distances = [], []
    for seed in range(5):
        rotation = Rotation.random(rng=seed).as_matrix()
        shift = np.random.default_rng(seed).uniform(-2, 2, 3)
        volume = seen_through(blobs(seed, rotation, shift), wedge, noise, seed)
        found = Subtomogram(SETTINGS, volume, wedge).match(prepared)
        assert found.scores.argmax() == seed
        assert found.scores[seed] > least
        angles.append(angle_deg(found.rotations[seed], rotation))
        distances.append(np.linalg.norm(found.shifts[seed] - shift))
    assert np.median(angles) < turned, angles
    assert max(distances) < moved, distances


def test_scores_are_those_of_the_definition(templates, prepared, wedge):
    """Any pose, also wrong ones and noise: as on the subtomogram's own grid with the template turned."""
    rng = np.random.default_rng(5)
    volume = seen_through(blobs(3, Rotation.random(rng=9).as_matrix()), wedge, 1.0)
    subtomogram = Subtomogram(SETTINGS, volume, wedge)
    rotations = Rotation.random(20, rng=rng).as_matrix()
    shifts = rng.uniform(-2, 2, (20, 3))
    got = subtomogram.scores_at(prepared[:20], rotations, shifts)
    by_hand = [score_by_hand(template, volume, wedge, rotation, shift, SETTINGS.radius)
               for template, rotation, shift in zip(templates, rotations, shifts, strict=False)]  # fmt: skip
    assert np.abs(got - by_hand).max() < 0.03
    assert np.corrcoef(got, by_hand)[0, 1] > 0.99
    found = subtomogram.match(prepared[:8])
    again = subtomogram.scores_at(prepared[:8], found.rotations, found.shifts)
    np.testing.assert_allclose(found.scores, again, atol=1e-4)


def test_weights_that_are_not_only_0_and_1_count_once(templates, prepared):
    """X = w·T is compared with w·T: nearer to that than to weights that count twice, and near 1."""
    axis = np.arange(N) - N // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    weights = (1 / (1 + (x**2 + y**2 + z**2) / 4)).astype(np.float32)
    once, twice = [], []
    for seed in range(5):
        rotation = Rotation.random(rng=seed).as_matrix()
        volume = seen_through(blobs(seed, rotation), weights)
        subtomogram = Subtomogram(SETTINGS, volume, weights)
        got = float(subtomogram.scores_at(prepared[seed : seed + 1], rotation[None], np.zeros((1, 3)))[0])
        by_hand = [
            score_by_hand(templates[seed], each, weights, rotation, np.zeros(3), SETTINGS.radius)
            for each in (volume, seen_through(volume, weights))
        ]
        twice.append(abs(got - by_hand[1]))
        once.append(abs(got - by_hand[0]))
    assert max(once) < 0.06 and np.mean(once) < np.mean(twice), (once, twice)


def test_no_pose_near_the_best_is_better(templates, prepared, wedge):
    """By hand, over a fine grid of turns and shifts about the pose that was found."""
    volume = seen_through(blobs(2, Rotation.random(rng=2).as_matrix(), (1, 0.4, -1)), wedge, 1.5)
    found = Subtomogram(SETTINGS, volume, wedge).match(prepared[2:3])
    best = max(
        score_by_hand(templates[2], volume, wedge, found.rotations[0] @ turn, found.shifts[0] + move, 8)
        for turn in Rotation.from_rotvec(
            np.radians(6 * np.vstack([np.zeros(3), np.eye(3), -np.eye(3)]))
        ).as_matrix()
        for move in np.vstack([np.zeros(3), np.eye(3), -np.eye(3)])
    )
    assert SETTINGS.radius == 8
    assert best < found.scores[0] + 0.02


def test_as_good_as_the_search_for_few_templates(templates, prepared, wedge):
    """Against `rotational_matching.match`, which turns the templates: its best scores, no lower by 0.01."""
    from keras import ops

    from zoo.ops import fourier
    from zoo.ops.matching.match_settings import MatchSettings
    from zoo.ops.matching.rotational_matching import match, prepare_templates

    settings = MatchSettings(N, "phase")
    volumes = np.stack(
        [
            seen_through(blobs(seed, Rotation.random(rng=seed).as_matrix(), (1, -1, 0.5)), wedge, 1.5, seed)
            for seed in range(3)
        ]
    ).astype(np.float32)
    theirs = match(
        settings,
        fourier.fft3(volumes),
        np.repeat(wedge[None], 3, 0),
        prepare_templates(settings, fourier.fft3(templates[:12])),
    )
    theirs = ops.convert_to_numpy(theirs[2])[..., 0]
    ours = np.stack([Subtomogram(SETTINGS, volume, wedge).match(prepared[:12]).scores for volume in volumes])
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.95
    assert (ours - theirs).mean() > -0.01
    assert (ours.argmax(1) == theirs.argmax(1)).all()


def test_skipping_by_the_bound_changes_nothing(wedge):
    """Rotations and templates that magnitudes rule out: as when everything is computed, one by one."""
    settings = SearchSettings(16, step_deg=40, radius=5, max_shift_voxels=3)
    templates = prepare(settings, np.stack([blobs(seed, n=16) for seed in range(4)]))
    mask = wedge_mask(16, -60, 60)
    for noise in (0.0, 3.0):
        volume = seen_through(blobs(1, Rotation.random(rng=3).as_matrix(), (1, 1, 0), n=16), mask, noise)
        subtomogram = Subtomogram(settings, volume, mask)
        grid = so3_grid(40)
        axis = np.arange(-3, 4)
        shifts = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
        shifts = shifts[(shifts**2).sum(1) <= 9]
        everything = np.array(
            [
                max(
                    subtomogram.scores_at(
                        np.repeat(template[None], len(shifts), 0),
                        np.repeat(rotation[None], len(shifts), 0),
                        shifts @ rotation.T,  # the grid is one of the template's frame
                    ).max()
                    for rotation in grid
                )
                for template in templates
            ]
        )
        found = subtomogram.match_exhaustively(templates)
        np.testing.assert_allclose(found.scores, everything, atol=2e-5)
        assert found.rotations_scored < found.rotations_known or noise > 1
        c = float(np.sort(everything)[-2]) - 1e-4
        some = subtomogram.match_exhaustively(templates, reach=c)
        reached = everything >= c
        np.testing.assert_array_equal(some.scores >= c, reached)
        np.testing.assert_array_equal(some.scores[reached], found.scores[reached])
        assert some.rotations_scored <= found.rotations_scored


def test_threads_and_batches_change_nothing(prepared, wedge):
    subtomogram = Subtomogram(SETTINGS, seen_through(blobs(1), wedge, 1.0), wedge)
    one, two = subtomogram.match(prepared), subtomogram.match(prepared, threads=2)
    np.testing.assert_array_equal(one.scores, two.scores)
    part = subtomogram.match(prepared[33:40])
    np.testing.assert_allclose(part.scores, one.scores[33:40], atol=2e-3)


def test_a_template_takes_the_power_of_another_in_every_shell(prepared):
    got = with_shell_power_of(SETTINGS, prepared[:5], prepared[9])
    shell = np.rint(np.sqrt((SETTINGS.frequencies**2).sum(-1))).astype(int)
    wanted = np.bincount(shell, np.abs(prepared[9, 0]) ** 2)
    for template in got:
        np.testing.assert_allclose(np.bincount(shell, np.abs(template[0]) ** 2), wanted, rtol=1e-3)
    same = with_shell_power_of(SETTINGS, prepared[9:10], prepared[9])
    np.testing.assert_allclose(same[0], prepared[9], rtol=1e-4, atol=1e-7)


def test_turns_are_the_derivatives_that_they_are_called():
    turn = Rotation.from_rotvec([0.0, 0.02, 0.0]).as_matrix()
    before, after = prepare(SETTINGS, np.stack([blobs(4), blobs(4, turn)]))
    change = after[0] - before[0]
    assert np.linalg.norm(change - 0.02 * before[2]) < 0.1 * np.linalg.norm(change)


@pytest.mark.parametrize(
    "values",
    [{"box": 8}, {"box": 32, "radius": 20}, {"box": 32, "step_deg": 1}, {"box": 32, "candidates": 0}],
)
def test_settings_that_cannot_work_are_refused(values):
    with pytest.raises(ValueError, match="got"):
        SearchSettings(**values)


def test_nothing_to_compare_is_refused(wedge):
    with pytest.raises(ValueError, match="nothing in the sphere"):
        prepare(SETTINGS, np.zeros((1, N, N, N)))
    with pytest.raises(ValueError, match="no frequency"):
        Subtomogram(SETTINGS, np.ones((N, N, N)), wedge)


def test_whitening_finds_what_coloured_noise_hides(wedge):
    """Noise that is strong at low frequencies: the right one of 20 is higher above the others; scores stay
    at most 1, and a gain of any kind in the shells of the subtomogram changes nothing."""
    templates = np.stack([blobs(seed) for seed in range(20)])
    k = np.arange(N) - N // 2
    radius = np.sqrt(k**2 + k[:, None] ** 2 + k[:, None, None] ** 2)
    colour = 1 / (0.3 + np.rint(radius)) ** 1.5
    white, plain = SearchSettings(N, whiten=True), SETTINGS
    gains = {settings: [] for settings in (white, plain)}
    for seed in range(4):
        rotation = Rotation.random(rng=seed).as_matrix()
        noise = seen_through(np.random.default_rng(seed).normal(size=(N,) * 3), wedge * colour)
        signal = seen_through(blobs(seed, rotation), wedge)
        volume = signal + 4 * signal.std() / noise.std() * noise
        for settings, found in gains.items():
            scores = Subtomogram(settings, volume, wedge).match(prepare(settings, templates)).scores
            found.append((scores[seed] - np.delete(scores, seed).mean()) / np.delete(scores, seed).std())
    assert np.mean(gains[white]) > np.mean(gains[plain]) + 1, gains
    clean = seen_through(templates[3], wedge)
    found = Subtomogram(white, clean, wedge).match(prepare(white, templates)).scores
    assert found.argmax() == 3 and 0.95 < found[3] <= 1.001
    shells = (1 + np.rint(radius)) ** 0.7
    poses = np.repeat(rotation[None], 20, 0), np.zeros((20, 3))
    found = Subtomogram(white, volume, wedge).scores_at(prepare(white, templates), *poses)
    coloured = Subtomogram(white, seen_through(volume, wedge * shells), wedge * shells)
    np.testing.assert_allclose(coloured.scores_at(prepare(white, templates), *poses), found, atol=0.02)
