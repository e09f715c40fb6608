"""Pose refinement finds the pose that made the image."""

import numpy as np
from scipy.spatial.transform import Rotation

from zoo.ops.fourier_volume import FourierGrid, HalfPlane, refine_poses


def setting(blobs, plane, poses, count=40):
    matrices, shifts = (part[:count] for part in poses)
    rng = np.random.default_rng(8)
    ctf = rng.uniform(0.3, 1.0, (count, len(plane))).astype("f4")
    values = (blobs.coefficients(matrices, shifts, plane.points) * ctf).astype("c8")
    grids = FourierGrid(blobs.box).transform(blobs.volume())[None]
    weights = np.full((1, plane.radius + 1), 30.0)
    return matrices, shifts, values, ctf, grids, weights


def degrees_between(frames, matrices):
    whole = np.concatenate([frames, np.cross(frames[:, 0], frames[:, 1])[:, None]], 1)
    cosine = (np.einsum("nij,nij->n", whole, matrices) - 1) / 2
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def test_finds_the_pose_again(blobs, plane, poses):
    matrices, shifts, values, ctf, grids, weights = setting(blobs, plane, poses)
    axis = np.random.default_rng(9).normal(size=(len(matrices), 3))
    off = Rotation.from_rotvec(np.radians(6) * axis / np.linalg.norm(axis, axis=1)[:, None]).as_matrix()
    start = (matrices @ off)[:, :2].astype("f4")
    nobody = np.zeros(len(start), int)
    found = refine_poses(
        grids, nobody, np.arange(len(start)), start, shifts * 0, values, ctf, plane, weights, 9, 12, 4.0
    )
    assert np.median(degrees_between(start.astype(float), matrices)) > 5.5
    error = degrees_between(found.frames.astype(float), matrices)
    assert np.median(error) < 0.3 and error.max() < 1.0  # what linear interpolation leaves
    assert np.abs(found.shifts - shifts).max() < 0.03
    np.testing.assert_allclose(found.loss, (found.residual * weights[0]).sum(1), rtol=1e-6)


def test_no_steps_only_measure(blobs, plane, poses):
    matrices, shifts, values, ctf, grids, weights = setting(blobs, plane, poses, 5)
    frames, which = matrices[:, :2].astype("f4"), np.zeros(5, int)
    found = refine_poses(grids, which, np.arange(5), frames, shifts, values, ctf, plane, weights, 6, 0, 4.0)
    np.testing.assert_array_equal(found.frames, frames)
    power = HalfPlane.shell_means(plane, np.abs(values) ** 2) * plane.per_shell
    assert (found.residual[:, 1:7].sum(1) < 2e-3 * power[:, 1:7].sum(1)).all()
    assert (found.residual[:, 8:] == 0).all()  # beyond the band nothing is looked at


def test_a_candidate_never_ends_worse_than_it_began(blobs, plane, poses):
    matrices, shifts, values, ctf, grids, weights = setting(blobs, plane, poses)
    frames = poses[0][100 : 100 + len(matrices), :2].astype("f4")  # anything but the truth
    arguments = grids, np.zeros(len(frames), int), np.arange(len(frames)), frames, shifts * 0, values, ctf
    before = refine_poses(*arguments, plane, weights, 9, 0, 4.0)
    after = refine_poses(*arguments, plane, weights, 9, 3, 4.0)
    assert (after.loss <= before.loss * (1 + 1e-6)).all()
    assert (after.loss < before.loss - 1).mean() > 0.9
