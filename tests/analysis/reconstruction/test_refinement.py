"""Local refinement of poses: it finds them again, its halves share nothing, and noise stays noise."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from zoo.analysis.reconstruction import refinement as module
from zoo.analysis.reconstruction.images import ParticleImages
from zoo.analysis.reconstruction.refinement import Refinement, chance_level, reconstruct
from zoo.analysis.reconstruction.volume import Poses, band_of, filled_shells
from zoo.metrics.fsc import fsc, resolution_at

BOX = 32


def shaken(poses, turn_deg, move_px, seed=0):
    rng = np.random.default_rng(seed)
    turns = Rotation.from_rotvec(rng.normal(size=(len(poses.half), 3)) * np.radians(turn_deg)).as_matrix()
    frames = (poses.frames @ turns).astype("f4")
    shifts = (poses.shifts + rng.normal(size=poses.shifts.shape) * move_px).astype("f4")
    return Poses(frames, shifts, poses.weights, poses.half)


def test_true_poses_give_the_map(images, truth, poses_of):
    poses = poses_of(images.table)
    found = reconstruct(images, poses, Refinement())
    map_ = found.volume.filtered(found.fsc)
    assert resolution_at(fsc(map_, truth), 0.5).pixels < 2.6
    # in the grey units of the map that was projected
    low = fsc(map_, truth)[1:6]
    assert (low > 0.99).all()
    assert np.vdot(map_, truth) / np.vdot(truth, truth) == pytest.approx(1, abs=0.08)
    # the FSC of the halves foretells that to the truth: C_ref = sqrt(2 F/(1 + F))
    half = np.clip(found.fsc, 0, 1)
    assert (
        np.abs(np.sqrt(2 * half / (1 + half)) - fsc(found.volume.raw(), truth, found.volume.mask))[2:12].max()
        < 0.08
    )
    assert np.array_equal(found.poses.frames, poses.frames)


def test_refinement_finds_shaken_poses_again(images, truth, poses_of, angles_between):
    poses = poses_of(images.table)
    start = shaken(poses, 4.0, 0.6)
    before = reconstruct(images, start, Refinement())
    found = reconstruct(images, start, Refinement(8, largest_shift_px=8.0))
    angle = np.median(angles_between(start.frames, poses.frames))
    left = np.median(angles_between(found.poses.frames, poses.frames))
    assert angle > 5 and left < 0.5 * angle
    assert found.rounds[found.chosen].shell > before.rounds[0].shell + 1
    a, b = (resolution_at(fsc(r.volume.filtered(r.fsc), truth), 0.5).pixels for r in (before, found))
    assert b < a - 0.2
    assert len(found.rounds) < 9  # it ends by itself
    assert (found.gain > 0).mean() > 0.99


def test_a_half_is_refined_without_a_look_at_the_other(images, poses_of, angles_between):
    """Other images in the second half change nothing in the first but the band and the common frame."""
    poses = shaken(poses_of(images.table), 3.0, 0.3)
    settings = Refinement(1, largest_shift_px=8.0)
    found = reconstruct(images, poses, settings)
    broken = poses.copy()
    second = poses.half == 2
    broken.frames[second] = shaken(poses, 2.0, 0.3, seed=9).frames[second]
    bands = [module.band_of(reconstruct(images, p, Refinement()).fsc) for p in (poses, broken)]
    other = reconstruct(images, broken, settings)
    change = angles_between(found.poses.frames[~second], other.poses.frames[~second])
    # regularisation follows the FSC of both: the same optimum to a fraction of its uncertainty
    assert np.median(change) < 0.6, bands
    assert np.array_equal(found.poses.half, poses.half)


def noise_images(star, tmp_path):
    """The table of a set whose images are noise."""
    import shutil

    import mrcfile

    from zoo.data.particles import read_particles

    shutil.copytree(star.parent, tmp_path / "noise")
    with mrcfile.open(tmp_path / "noise" / "particles.mrcs", "r+") as file:
        file.data[...] = np.random.default_rng(0).normal(size=file.data.shape)
    return ParticleImages(read_particles(tmp_path / "noise" / "particles.star"), BOX)


def test_what_one_model_made_of_noise_is_forgotten(star, tmp_path, poses_of):
    """Noise refined against one map of all images correlates between halves; refined apart it does not."""
    images = noise_images(star, tmp_path)
    poses, groups = poses_of(images.table), module.NoiseGroups(images)
    noise, still = groups.power(), Refinement(largest_shift_px=8.0)

    def silent(*_):
        pass

    for _ in range(6):
        volume, _ = module._pass(images, groups, noise, poses, None, still, silent, "")
        both = module._references(volume, np.full(BOX // 2 + 1, 0.9), 10).mean(0)
        against = module._Against(np.stack([both, both]), 10)
        module._pass(images, groups, noise, poses, against, still, silent, "")
    given = reconstruct(images, poses, Refinement())
    assert given.fsc[6:11].mean() > 0.5  # so far can one model fool the FSC
    found = reconstruct(images, poses, Refinement(8, True, 5, 8.0, seed=1))
    assert found.start_shell == 5
    assert np.array_equal(found.given_fsc, given.fsc)
    assert np.abs(found.fsc[6:]).max() < 0.2
    assert chance_level(images, found) < 4


def test_forgetting_costs_real_particles_nothing(images, poses_of):
    poses = shaken(poses_of(images.table), 1.0, 0.1)
    kept = reconstruct(images, poses, Refinement())
    found = reconstruct(images, poses, Refinement(12, True, None, 8.0, seed=1))
    assert found.start_shell >= 5
    assert band_of(found.fsc) > found.start_shell + 3
    assert found.rounds[found.chosen].shell > kept.rounds[0].shell - 0.7


def test_poses_at_chance_are_told_from_real_ones(images, poses_of):
    poses = poses_of(images.table)
    real = reconstruct(images, poses, Refinement())
    assert chance_level(images, real) > 10
    rng = np.random.default_rng(1)
    poses.frames = Rotation.random(len(poses.half), rng=rng).as_matrix()[:, :2].astype("f4")
    assert chance_level(images, reconstruct(images, poses, Refinement())) < 4


def test_bits_are_the_same_again(images, poses_of):
    poses = shaken(poses_of(images.table), 2.0, 0.3)
    settings = Refinement(2, True, 6, 8.0, seed=2)
    a, b = (reconstruct(images, poses, settings) for _ in range(2))
    assert np.array_equal(a.poses.frames, b.poses.frames)
    assert np.array_equal(a.volume.sums[0], b.volume.sums[0])


def test_band_of_a_curve():
    assert band_of(np.array([1, 0.9, 0.5, 0.1, 0.3])) == 2
    assert band_of(np.array([1, 0.9, 0.5, 0.2, 0.3])) == 4
    assert band_of(np.array([1, 0.1, 0.5])) == 0
    assert filled_shells(20) == 10
