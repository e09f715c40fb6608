"""Which latent, view, in-plane angle and shift explains an image: search without gradients.

An option beyond the thesis. All images of a batch are compared with slices of the maps of a few latent
codes at once, as one matrix product: views × in-plane angles × shifts on polar Fourier samples, where an
in-plane rotation is a cyclic shift. The best pose of each code is then refined continuously. The
posterior over codes trains the encoder (reweighted wake–sleep, Bornschein & Bengio 2015), the sampled
pose gives the generator a slice to fit (ab-initio search as in cryoDRGN2, Zhong et al. 2021).
"""

from __future__ import annotations

import math

import numpy as np
from keras import ops

from zoo.ops.rotations import quaternion_to_matrix


class PoseSearch:
    """Search grids for one box size.

    ``views`` directions on the sphere, ``in_plane`` angles (even), polar rings at 1 … ``rings`` index
    units, shifts of 0 and ±``shift_pixels`` along x and y (with ``shift_corners`` along both at once
    too). The whole grid of views is turned by a new random rotation in each call, so that no direction
    is privileged. All Fourier coefficients are orthonormal (white noise of variance σ² has variance σ²
    in each).
    """

    def __init__(
        self,
        box: int,
        views: int,
        in_plane: int,
        rings: int,
        shift_pixels: float,
        shift_corners: bool = False,
    ):
        if in_plane % 2:
            raise ValueError(f"in_plane must be even (half of the ring is kept), not {in_plane}")
        if not 1 <= rings < box // 2:
            raise ValueError(f"rings must lie in 1 … {box // 2 - 1} for a box of {box}, not {rings}")
        self.box, self.views, self.in_plane, self.rings = box, views, in_plane, rings
        half = in_plane // 2
        angle = np.arange(in_plane) * (2.0 * math.pi / in_plane)
        radius = np.arange(1, rings + 1, dtype="float64")
        direction = np.stack([np.cos(angle[:half]), np.sin(angle[:half])], axis=-1)
        polar = (radius[:, None, None] * direction[None]).reshape(-1, 2)
        self.polar = polar.astype("float32")
        self.radius = radius.astype("float32")
        # Area that one polar sample stands for, in units of one Cartesian coefficient.
        self.area = (
            np.repeat(radius * (2.0 * math.pi / in_plane), half).reshape(rings, half).astype("float32")
        )
        x = np.arange(box) - box // 2
        pixel = np.stack(np.meshgrid(x, x), axis=-1).reshape(-1, 2)
        phase = -2.0 * math.pi / box * (pixel @ polar.T)
        self.to_polar = (np.concatenate([np.cos(phase), np.sin(phase)], axis=1) / box).astype("float32")
        self.frames = _view_frames(views)
        steps = np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1], [1, 1], [1, -1], [-1, 1], [-1, -1]])
        steps = steps[: (9 if shift_corners else 5) if shift_pixels > 0 else 1]
        self.shifts = (steps * shift_pixels).astype("float32")
        turn = 2.0 * math.pi / box * (self.shifts @ polar.T)
        self.shift_cos, self.shift_sin = np.cos(turn).astype("float32"), np.sin(turn).astype("float32")
        self.rolled = ((np.arange(half)[None] - np.arange(in_plane)[:, None]) % in_plane).astype("int32")
        yx = np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1).reshape(-1, 2)
        kept = ((yx[:, 0] > 0) | ((yx[:, 0] == 0) & (yx[:, 1] > 0))) & ((yx**2).sum(1) <= (box // 2 - 2) ** 2)
        self.half_plane = yx[kept][:, ::-1].astype("float32")
        self.half_plane_index = np.flatnonzero(kept).astype("int32")
        self.half_plane_radius = np.sqrt((self.half_plane**2).sum(1)).astype("float32")

    def search(self, generator, codes, turn, images, ctf_radial, sigma, cutoff, jitter=None, model_error=0.0):
        """Best pose of each code for each image.

        codes ``(k, d)``; turn ``(4,)`` a quaternion; images ``(b, n, n)``; ctf_radial ``(b, rings)``; sigma:
        noise standard deviation; cutoff: largest ring in use (soft edge). jitter ``(b, views·in_plane)`` is
        added to the log-likelihoods before the best pose is taken: with temperature times Gumbel noise the
        pose is a sample of the posterior. model_error: this share of the maps' own power at each ring counts
        as noise too, that of what the maps do not explain yet. Returns the log-likelihood ratio against pure
        noise ``(b, k)``, frames ``(b, k, 2, 3)`` (the first two rows of RELION's A) and the content's shifts
        ``(b, k, 2)`` in pixels.
        """
        rings, half, turns = self.rings, self.in_plane // 2, self.in_plane
        shape = ops.shape(images)
        coefficients = ops.matmul(ops.reshape(images, (shape[0], -1)), self.to_polar)
        re, im = ops.split(coefficients, 2, axis=1)
        frames = ops.matmul(self.frames, quaternion_to_matrix(turn))
        points = ops.reshape(ops.einsum("pa,vac->vpc", self.polar, frames), (1, -1, 3))
        bank_re, bank_im = generator(points, codes)
        maps = codes.shape[0]
        bank_re = ops.reshape(bank_re, (maps, self.views, rings, half))
        bank_im = ops.reshape(bank_im, (maps, self.views, rings, half))
        variance = sigma * sigma
        if model_error:
            variance += model_error * self._expected_power(bank_re, bank_im, ctf_radial)[:, None]
        weight = ops.sigmoid((cutoff + 0.5 - self.radius) * 4.0)[:, None] * self.area / variance
        # Twice the weight: the log-likelihood ratio is 2·Re⟨image, slice⟩ − ‖slice‖².
        scale = ops.reshape(2.0 * ctf_radial[:, :, None] * weight[None], (-1, rings * half))
        re, im = (re * scale)[:, None], (im * scale)[:, None]
        # The content moved by s has the phase −k·s: take it out of the image for every shift.
        shifted = ops.concatenate(
            [re * self.shift_cos - im * self.shift_sin, re * self.shift_sin + im * self.shift_cos], axis=-1
        )
        shifted = ops.reshape(shifted, (-1, 2 * rings * half))

        power = ops.sum((bank_re**2 + bank_im**2) * weight, axis=-1)
        bank = ops.concatenate(
            [self._all_turns(bank_re, bank_re), self._all_turns(bank_im, -bank_im)], axis=-1
        )  # (k·views·turns, 2·rings·half)
        match = ops.reshape(
            ops.matmul(shifted, ops.transpose(bank)), (-1, len(self.shifts), maps, self.views * turns)
        )
        # The energy of a slice does not depend on the shift: take the best shift first, the array is large.
        energy = ops.matmul(ctf_radial**2, ops.transpose(ops.reshape(power, (-1, rings))))
        ratio = ops.reshape(ops.max(match, axis=1), (-1, maps, self.views, turns))
        ratio = ops.reshape(
            ratio - ops.reshape(energy, (-1, maps, self.views, 1)), (-1, maps, self.views * turns)
        )
        value = ops.max(ratio, axis=-1)
        best = ops.argmax(ratio if jitter is None else ratio + jitter[:, None], axis=-1)
        shift_index = ops.argmax(ops.take_along_axis(match, best[:, None, :, None], axis=-1)[..., 0], axis=1)
        angle = ops.cast(best % turns, "float32") * (2.0 * math.pi / turns)
        frame = ops.take(frames, best // turns, axis=0)
        return value, _turned(frame, angle), ops.take(ops.convert_to_tensor(self.shifts), shift_index, axis=0)

    def _expected_power(self, bank_re, bank_im, ctf_radial):
        """Mean power of the maps' slices at each ring ``(rings,)``, as the images of this batch see it."""
        power = ops.mean(bank_re**2 + bank_im**2, axis=(0, 1, 3))
        return ops.stop_gradient(power * ops.mean(ctf_radial**2, axis=0))

    def _ring_power(self, re, im, at):
        """Mean power of slices ``(b, m)`` at each point's ring ``(m,)``."""
        radius = self.half_plane_radius if at is None else self.half_plane_radius[at]
        same = (np.round(radius)[:, None] == np.arange(self.box // 2)[None]).astype("float32")
        to_rings = (same / np.maximum(same.sum(0), 1.0)).astype("float32")
        power = ops.mean(re**2 + im**2, axis=0)
        return ops.stop_gradient(ops.matmul(ops.matmul(power[None], to_rings), same.T)[0])

    def _all_turns(self, first_half, second_half):
        ring = ops.concatenate([first_half, second_half], axis=-1)
        turned = ops.take(ring, self.rolled, axis=3)
        turned = ops.transpose(turned, (0, 1, 3, 2, 4))
        return ops.reshape(turned, (-1, self.rings * self.in_plane // 2))

    def cartesian(self, images_re, images_im):
        """Centred orthonormal transforms ``(b, n, n)`` → the half plane used for fitting ``(b, m)`` each."""
        flat = (-1, self.box * self.box)
        index = self.half_plane_index
        return ops.take(ops.reshape(images_re, flat), index, axis=1), ops.take(
            ops.reshape(images_im, flat), index, axis=1
        )

    def share(self, position: int, size: int) -> np.ndarray:
        """Indices of one of the equal, interleaved shares of about ``size`` of the half plane (0: all)."""
        count = len(self.half_plane)
        shares = max(1, count // size) if size else 1
        order = np.random.default_rng(108).permutation(count)
        return np.sort(order[position % shares :: shares])

    def slices(self, generator, z, frames, shifts, ctf, at=None):
        """CTF-modulated slices (re, im) ``(b, m)`` of z ``(b, d)`` on the half plane; ctf ``(b, m)``.

        ``at``: indices of the half plane's points to look at (default all).
        """
        plane = self.half_plane if at is None else self.half_plane[at]
        points = ops.einsum("ma,bac->bmc", plane, frames)
        re, im = generator(points, z)
        phase = (-2.0 * math.pi / self.box) * ops.matmul(shifts, np.ascontiguousarray(plane.T))
        cos, sin = ops.cos(phase) * ctf, ops.sin(phase) * ctf
        return re * cos - im * sin, re * sin + im * cos

    def weights(self, cutoff, at=None):
        """Soft mask ``(m,)`` of the half plane (or of its points ``at``) up to ``cutoff`` index units."""
        radius = self.half_plane_radius if at is None else self.half_plane_radius[at]
        return ops.sigmoid((cutoff + 0.5 - radius) * 4.0)

    def score(self, generator, codes, frames, shifts, ctf, target, sigma, cutoff, at=None):
        """Log-likelihood of images under each of the codes ``(k, d)`` at given poses → ``(b, k)``.

        Up to a constant; arguments as `refine`'s, sigma the noise's standard deviation.
        """
        if at is not None:
            ctf, target = ops.take(ctf, at, axis=1), [ops.take(part, at, axis=1) for part in target]
        maps, count = codes.shape[0], ops.shape(frames)[0]
        re, im = self.slices(
            generator,
            ops.repeat(codes, count, axis=0),
            ops.tile(frames, (maps, 1, 1)),
            ops.tile(shifts, (maps, 1)),
            ops.tile(ctf, (maps, 1)),
            at,
        )
        points = re.shape[-1]
        re, im = ops.reshape(re, (maps, -1, points)), ops.reshape(im, (maps, -1, points))
        squared = ops.square(target[0][None] - re) + ops.square(target[1][None] - im)
        # A share of the points stands for all of them.
        weight = self.weights(cutoff, at) * (len(self.half_plane) / points) / (sigma * sigma)
        return -ops.transpose(ops.sum(squared * weight, axis=-1))

    def refine(self, generator, z, frames, shifts, ctf, target, cutoff, at=None, sigma=1.0, model_error=0.0):
        """One damped Gauss–Newton step of three rotations and two shifts towards ``target`` (re, im).

        Rotations are differentiated by finite differences, shifts exactly. ``at``: indices of the half
        plane's points to look at (default all); ctf and target are given for all. ``model_error`` as
        `search`'s; without it ``sigma`` does not matter.
        """
        if at is not None:
            ctf, target = ops.take(ctf, at, axis=1), [ops.take(part, at, axis=1) for part in target]
        plane = self.half_plane if at is None else self.half_plane[at]
        mask = self.weights(cutoff, at)
        turned = [frames] + [_rotated(frames, axis, _STEP_RAD) for axis in range(3)]
        stacked = ops.concatenate(turned, axis=0)
        re, im = self.slices(
            generator,
            ops.tile(z, (4, 1)),
            stacked,
            ops.tile(shifts, (4, 1)),
            ops.tile(ctf, (4, 1)),
            at,
        )
        re, im = ops.split(re, 4, axis=0), ops.split(im, 4, axis=0)
        if model_error:
            power = self._ring_power(re[0], im[0], at)
            mask = mask * ops.sqrt(sigma * sigma / (sigma * sigma + model_error * power))
        columns_re = [(re[i] - re[0]) / _STEP_RAD for i in (1, 2, 3)]
        columns_im = [(im[i] - im[0]) / _STEP_RAD for i in (1, 2, 3)]
        for axis in range(2):
            slope = (2.0 * math.pi / self.box) * plane[:, axis]
            columns_re.append(im[0] * slope)
            columns_im.append(-re[0] * slope)
        jacobian_re = ops.stack(columns_re, axis=1) * mask
        jacobian_im = ops.stack(columns_im, axis=1) * mask
        jacobian = ops.concatenate([jacobian_re, jacobian_im], axis=-1)
        residual = ops.concatenate([(target[0] - re[0]) * mask, (target[1] - im[0]) * mask], axis=-1)
        normal = ops.einsum("bim,bjm->bij", jacobian, jacobian)
        slope = ops.einsum("bim,bm->bi", jacobian, residual)
        trace = ops.sum(ops.diagonal(normal, axis1=1, axis2=2), axis=-1)
        damping = (0.02 / 5.0 * trace + 1e-3)[:, None, None] * np.eye(5, dtype="float32")
        move = ops.solve(normal + damping, slope[..., None])[..., 0]
        rotation, shift = move[:, :3], move[:, 3:]
        length = ops.sqrt(ops.sum(rotation**2, axis=-1, keepdims=True) + 1e-12)
        rotation = rotation * ops.minimum(1.0, 0.15 / length)
        frames = orthonormal_frame(frames + _cross(rotation[:, None, :], frames))
        return frames, shifts + ops.clip(shift, -0.6, 0.6)


_STEP_RAD = 0.02
"""Of the finite differences of rotations: far below the angle that a map's finest detail turns away in."""


def orthonormal_frame(frame):
    """Two rows ``(b, 2, 3)`` made orthonormal by Gram–Schmidt."""
    first = frame[:, 0] / ops.sqrt(ops.sum(frame[:, 0] ** 2, axis=-1, keepdims=True) + 1e-12)
    second = frame[:, 1] - ops.sum(first * frame[:, 1], axis=-1, keepdims=True) * first
    second = second / ops.sqrt(ops.sum(second**2, axis=-1, keepdims=True) + 1e-12)
    return ops.stack([first, second], axis=1)


def _view_frames(views: int) -> np.ndarray:
    """Frames ``(v, 2, 3)`` whose normals are a Fibonacci lattice on the sphere."""
    i = np.arange(views) + 0.5
    polar, azimuth = np.arccos(1.0 - 2.0 * i / views), math.pi * (1.0 + math.sqrt(5.0)) * i
    normal = np.stack(
        [np.cos(azimuth) * np.sin(polar), np.sin(azimuth) * np.sin(polar), np.cos(polar)], axis=-1
    )
    helper = np.where(np.abs(normal[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    first = np.cross(helper, normal)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    return np.stack([first, np.cross(normal, first)], axis=1).astype("float32")


def _turned(frame, angle):
    """Frames whose slice is the given one turned by ``angle``: S'(r, θ) = S(r, θ − angle)."""
    cos, sin = ops.cos(angle)[..., None], ops.sin(angle)[..., None]
    first, second = frame[..., 0, :], frame[..., 1, :]
    return ops.stack([cos * first - sin * second, sin * first + cos * second], axis=-2)


def _rotated(frame, axis: int, angle: float):
    unit = np.zeros((1, 1, 3), "float32")
    unit[..., axis] = angle
    return orthonormal_frame(frame + _cross(ops.convert_to_tensor(unit), frame))


def _cross(a, b):
    a, b = ops.broadcast_to(a, ops.shape(b)), b
    return ops.stack(
        [
            a[..., 1] * b[..., 2] - a[..., 2] * b[..., 1],
            a[..., 2] * b[..., 0] - a[..., 0] * b[..., 2],
            a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0],
        ],
        axis=-1,
    )
