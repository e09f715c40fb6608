"""The search finds the latent, view, in-plane angle and shift that an image was made with."""

import keras
import numpy as np
import pytest

from zoo.models.vaegan3d.fourier_generator import FourierGenerator
from zoo.models.vaegan3d.pose_search import PoseSearch, orthonormal_frame
from zoo.ops.rotations import quaternion_to_matrix

BOX = 32


@pytest.fixture(scope="module")
def scene():
    """A generator whose maps are smooth, and noise-free images of known codes, frames and shifts."""
    keras.utils.set_random_seed(0)
    generator = FourierGenerator(
        BOX, 2, width=32, initialisation="positions", coordinate_grid=False, shell_amplitude=True
    )
    generator.build()
    search = PoseSearch(BOX, views=192, in_plane=36, rings=8, shift_pixels=1.0)
    rng = np.random.default_rng(5)
    count = 24
    frames = np.linalg.qr(rng.normal(size=(count, 3, 3)))[0][:, :2].astype("float32")
    codes = np.array([[-1.5, 0.5], [1.5, 1.0], [0.0, -2.0]], "float32")
    chosen = rng.integers(0, 3, count)
    shifts = rng.uniform(-1.0, 1.0, size=(count, 2)).astype("float32")
    ctf = np.full((count, len(search.half_plane)), 0.7, "float32")
    re, im = search.slices(generator, codes[chosen], frames, shifts, ctf)
    plane = np.zeros((count, BOX * BOX), "complex128")
    plane[:, search.half_plane_index] = keras.ops.convert_to_numpy(re) + 1j * keras.ops.convert_to_numpy(im)
    spectrum = plane.reshape(count, BOX, BOX)
    spectrum += np.roll(spectrum[:, ::-1, ::-1], 1, axis=(1, 2)).conj()
    images = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(spectrum, axes=(1, 2)), norm="ortho"), axes=(1, 2))
    assert np.abs(images.imag).max() < 1e-4 * np.abs(images.real).max()
    return generator, search, images.real.astype("float32"), codes, chosen, frames, shifts, ctf


def _angle_deg(a, b):
    full = [np.concatenate([x, np.cross(x[:, 0], x[:, 1])[:, None]], axis=1) for x in (a, b)]
    trace = np.einsum("bij,bij->b", *full)
    return np.degrees(np.arccos(np.clip((trace - 1.0) / 2.0, -1.0, 1.0)))


def test_search_and_refinement_find_what_made_the_image(scene):
    generator, search, images, codes, chosen, frames, shifts, ctf = scene
    radial = np.full((len(images), search.rings), 0.7, "float32")
    turn = np.array([0.9, 0.1, -0.3, 0.2], "float32")
    ratio, found, moved = search.search(generator, codes, turn, images, radial, 1.0, 8.0)
    ratio, found, moved = (keras.ops.convert_to_numpy(x) for x in (ratio, found, moved))
    best = ratio.argmax(1)
    assert (best == chosen).mean() > 0.9
    rows = np.arange(len(images))
    frame, shift = found[rows, chosen], moved[rows, chosen]
    coarse = _angle_deg(frame, frames)
    # Views are 15 degrees apart, in-plane angles 10: half the spacing, and a margin for the shift's error.
    assert np.median(coarse) < 12.0
    plane = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(images, axes=(1, 2)), norm="ortho"), axes=(1, 2))
    flat = plane.reshape(len(images), -1)[:, search.half_plane_index]
    target = (flat.real.astype("float32"), flat.imag.astype("float32"))
    for _ in range(10):
        frame, shift = search.refine(generator, codes[chosen], frame, shift, ctf, target, 12.0)
    frame, shift = keras.ops.convert_to_numpy(frame), keras.ops.convert_to_numpy(shift)
    fine = _angle_deg(frame, frames)
    # An untrained map jumps where the half spaces meet, so a few images keep a small error.
    assert np.median(fine) < 0.5
    assert (fine < 3.0).mean() > 0.8
    assert np.median(np.abs(shift - shifts)) < 0.05


def test_log_likelihood_ratio_equals_a_direct_sum(scene):
    """One code, brute force: 2·Re⟨image, slice⟩ − ‖slice‖² over the same polar samples."""
    generator, search, images, codes, _, _, _, _ = scene
    radial = np.random.default_rng(0).uniform(0.3, 1.0, size=(2, search.rings)).astype("float32")
    turn = np.array([0.5, -0.4, 0.6, 0.3], "float32")
    ratio, found, moved = search.search(generator, codes[:1], turn, images[:2], radial, 1.3, 30.0)
    ratio, found, moved = (keras.ops.convert_to_numpy(x)[:, 0] for x in (ratio, found, moved))
    x = np.arange(BOX) - BOX // 2
    xy = np.stack(np.meshgrid(x, x), axis=-1).reshape(-1, 2)
    weight = search.area.reshape(-1) / 1.3**2
    modulation = np.repeat(radial, search.in_plane // 2, axis=1)
    for i in range(2):
        coefficient = np.exp(-2j * np.pi / BOX * (search.polar @ xy.T)) @ images[i].reshape(-1) / BOX
        points = (search.polar @ found[i]).astype("float32")[None]
        re, im = (keras.ops.convert_to_numpy(v)[0] for v in generator(points, codes[:1]))
        model = modulation[i] * (re + 1j * im) * np.exp(-2j * np.pi / BOX * (search.polar @ moved[i]))
        expected = (weight * (2.0 * (coefficient.conj() * model).real - np.abs(model) ** 2)).sum()
        assert ratio[i] == pytest.approx(expected, rel=2e-3, abs=1e-2)


def test_frames_stay_orthonormal():
    frame = np.random.default_rng(0).normal(size=(5, 2, 3)).astype("float32")
    out = keras.ops.convert_to_numpy(orthonormal_frame(frame))
    np.testing.assert_allclose(np.einsum("bik,bjk->bij", out, out), np.tile(np.eye(2), (5, 1, 1)), atol=1e-5)


@pytest.mark.parametrize("arguments", [{"in_plane": 9, "rings": 4}, {"in_plane": 8, "rings": 16}])
def test_grids_that_cannot_be_are_refused(arguments):
    with pytest.raises(ValueError):
        PoseSearch(BOX, views=10, shift_pixels=1.0, **arguments)


def test_jitter_moves_the_pose_but_not_the_likelihood(scene):
    """No jitter and zeros agree; where the jitter outweighs the images, it alone decides the pose."""
    generator, search, images, codes, _, _, _, _ = scene
    radial = np.full((4, search.rings), 0.7, "float32")
    turn = np.array([0.5, -0.4, 0.6, 0.3], "float32")
    arguments = (generator, codes, turn, images[:4], radial, 1.0, 8.0)
    plain = [keras.ops.convert_to_numpy(x) for x in search.search(*arguments)]
    poses = search.views * search.in_plane
    zeros = search.search(*arguments, jitter=np.zeros((4, poses), "float32"))
    for a, b in zip(plain, zeros, strict=True):
        np.testing.assert_array_equal(a, keras.ops.convert_to_numpy(b))
    jitter = np.zeros((4, poses), "float32")
    jitter[:, 7 * search.in_plane] = 1e6
    value, frames, _ = (keras.ops.convert_to_numpy(x) for x in search.search(*arguments, jitter=jitter))
    np.testing.assert_array_equal(value, plain[0])
    np.testing.assert_allclose(frames, np.broadcast_to(frames[:1, :1], frames.shape), atol=1e-6)
    # View 7 of the turned grid, not turned in the plane.
    matrix = keras.ops.convert_to_numpy(quaternion_to_matrix(turn))
    np.testing.assert_allclose(frames[0, 0], search.frames[7] @ matrix, atol=1e-5)


def test_score_is_the_squared_distance_to_each_code(scene):
    """The code that made the image has distance 0; the others what a direct sum says."""
    generator, search, _, codes, chosen, frames, shifts, ctf = scene
    target = search.slices(generator, codes[chosen], frames, shifts, ctf)
    arguments = (generator, codes, frames, shifts, ctf, target, 1.3, 30.0)
    score = keras.ops.convert_to_numpy(search.score(*arguments))
    assert (score.argmax(1) == chosen).all()
    for k in range(len(codes)):
        other = search.slices(generator, np.repeat(codes[k : k + 1], len(frames), 0), frames, shifts, ctf)
        squared = sum(
            keras.ops.convert_to_numpy((a - b) ** 2).sum(1) for a, b in zip(target, other, strict=True)
        )
        np.testing.assert_allclose(score[:, k], -squared / 1.3**2, rtol=1e-3, atol=1e-3)
    half = np.sort(np.concatenate([search.share(0, 100), search.share(1, 100)]))
    some = keras.ops.convert_to_numpy(search.score(*arguments, at=half))
    apart = score < -1.0
    # A share of the points stands for all of them.
    np.testing.assert_allclose(some[apart], score[apart], rtol=0.5)


def test_shares_cover_the_half_plane_once():
    search = PoseSearch(BOX, views=10, in_plane=8, rings=4, shift_pixels=0.0)
    count = len(search.half_plane)
    shares = [search.share(i, count // 3) for i in range(3)]
    assert sorted(np.concatenate(shares)) == list(range(count))
    np.testing.assert_array_equal(search.share(2, 0), np.arange(count))


@pytest.mark.parametrize(("pixels", "corners", "count"), [(0.0, False, 1), (1.5, False, 5), (1.5, True, 9)])
def test_shifts_are_a_cross_or_a_square(pixels, corners, count):
    search = PoseSearch(BOX, views=10, in_plane=8, rings=4, shift_pixels=pixels, shift_corners=corners)
    assert len(np.unique(search.shifts, axis=0)) == count
    assert np.abs(search.shifts).max() == pixels


def test_refinement_on_a_share_of_the_points_finds_the_pose(scene):
    generator, search, _, codes, chosen, frames, shifts, ctf = scene
    target = search.slices(generator, codes[chosen], frames, shifts, ctf)
    rng = np.random.default_rng(3)
    frame = np.asarray(orthonormal_frame((frames + rng.normal(0, 0.05, frames.shape)).astype("float32")))
    before = np.median(_angle_deg(frame, frames))
    shift = shifts
    for i in range(6):
        at = search.share(i, 150)
        frame, shift = search.refine(generator, codes[chosen], frame, shift, ctf, target, 12.0, at)
    assert np.median(_angle_deg(keras.ops.convert_to_numpy(frame), frames)) < 0.1 * before


def test_model_error_finds_a_pose_beside_an_unexplained_part(scene):
    """A lump that no map has, at low frequencies and stronger than the rest: the outer rings still know."""
    generator, search, images, codes, chosen, frames, shifts, ctf = scene
    lump = np.exp(-((np.arange(BOX) - BOX // 2 - 5.0) ** 2) / (2 * 4.0**2))
    lump = np.outer(lump, lump).astype("float32")
    lump *= 1.5 * np.linalg.norm(images, axis=(1, 2)).mean() / np.linalg.norm(lump)
    radial = np.full((len(images), search.rings), 0.7, "float32")
    turn = np.array([0.9, 0.1, -0.3, 0.2], "float32")
    rows, right = np.arange(len(images)), {}
    for share in (0.0, 0.3):
        arguments = (generator, codes, turn, images + lump, radial, 0.1, 8.0)
        _, found, moved = search.search(*arguments, model_error=share)
        found, moved = (keras.ops.convert_to_numpy(x) for x in (found, moved))
        right[share] = (_angle_deg(found[rows, chosen], frames) < 20.0).mean()
    assert right[0.0] < 0.5 and right[0.3] > 0.9, right


def test_model_error_leaves_what_explains_everything(scene):
    """Refinement of a pose that fits stays where it is; its weights only change the way there."""
    generator, search, _, codes, chosen, frames, shifts, ctf = scene
    target = search.slices(generator, codes[chosen], frames, shifts, ctf)
    start = np.asarray(orthonormal_frame(frames + 0.02)).astype("float32")
    before = np.median(_angle_deg(start, frames))
    frame, shift = start, shifts
    for _ in range(6):
        frame, shift = search.refine(
            generator, codes[chosen], frame, shift, ctf, target, 12.0, None, 0.5, 0.3
        )
    assert np.median(_angle_deg(keras.ops.convert_to_numpy(frame), frames)) < 0.1 * before
    assert np.median(np.abs(keras.ops.convert_to_numpy(shift) - shifts)) < 0.02
