import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from zoo.errors import ZooError
from zoo.metrics.alignment import align_maps, mirror, transform_map
from zoo.metrics.fsc import fsc, resolution_at
from zoo.simulate.embedded import embedded_maps


def remaining_error(alignment, rotation, shift, hand):
    """Angle in degrees and distance in pixels between the found pose and the inverse of the true one."""
    found = alignment.rotation @ np.diag([alignment.hand, 1, 1])
    both = Rotation.from_matrix(found @ rotation @ np.diag([hand, 1, 1]))
    return np.degrees(both.magnitude()), np.linalg.norm(found @ shift + alignment.shift_px)


@pytest.mark.parametrize(("seed", "hand", "noise"), [(0, 1, 0.0), (1, -1, 0.0), (2, -1, 1.0)])
def test_random_pose_shift_and_hand_are_found(seed, hand, noise):
    rng = np.random.default_rng(seed)
    reference = embedded_maps(32)[seed]
    rotation = Rotation.random(random_state=seed).as_matrix()
    shift = rng.uniform(-2, 2, 3)
    moving = transform_map(reference, rotation, shift, hand)
    moving = moving + noise * reference.std() * rng.normal(size=moving.shape)
    alignment = align_maps(moving, reference)
    angle, distance = remaining_error(alignment, rotation, shift, hand)
    assert alignment.hand == hand
    assert angle < 1.5
    assert distance < 0.1
    if noise == 0:
        assert alignment.correlation > 0.999
        assert resolution_at(fsc(alignment.aligned, reference), 0.9).pixels < 2.5


def test_hand_is_decided_by_all_shells():
    """Lowest shells of the mirror, and a symmetry: 14 poses of the wrong hand come first."""
    box = 32
    x = np.arange(box) - box // 2
    density = 0.0
    for centre, width in (((6.0, 0.0, 3.5), 1.2), ((4.0, 0.0, 7.0), 1.2), ((6.0, 1.2, 4.5), 0.8)):
        for turn in Rotation.create_group("D7"):
            lumps = [np.exp(-((x - c) ** 2) / (2 * width**2)) for c in turn.apply(centre)]
            density = density + np.einsum("x,y,z->zyx", *lumps)
    k = np.fft.fftfreq(box) * box
    low = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2) <= 6.5
    transform, mirrored = np.fft.fftn(density), np.fft.fftn(mirror(density))
    mixed = np.fft.ifftn(np.where(low, mirrored, transform)).real
    moving = transform_map(mixed, Rotation.from_rotvec([0.4, -0.8, 0.3]).as_matrix(), (0.7, -0.3, 0.4))
    alignment = align_maps(moving, density)
    assert alignment.hand == 1
    assert alignment.correlation > 0.93  # 0.86 for the mirror


def test_one_hand_only_where_the_mirror_is_not_allowed():
    reference = embedded_maps(24)[2]
    alignment = align_maps(mirror(reference), reference, allow_mirror=False)
    assert alignment.hand == 1
    assert alignment.correlation < 0.95


def test_another_class_correlates_less_than_the_right_one():
    maps = embedded_maps(24)
    moving = transform_map(maps[2], Rotation.random(random_state=5).as_matrix())
    right, wrong = (align_maps(moving, maps[k], allow_mirror=False).correlation for k in (2, 0))
    assert right > 0.995
    assert wrong < 0.9


def test_transform_moves_a_blob_where_the_formula_says():
    volume = np.zeros((32, 32, 32))
    z, y, x = np.mgrid[:32, :32, :32] - 16
    volume = np.exp(-((x - 5) ** 2 + (y + 3) ** 2 + (z - 2) ** 2) / 4)
    rotation = Rotation.from_euler("ZYX", [40, -20, 75], degrees=True).as_matrix()
    moved = transform_map(volume, rotation, (1.5, -2.0, 0.5), hand=-1)
    centre = [(moved * axis).sum() / moved.sum() for axis in (x, y, z)]
    np.testing.assert_allclose(centre, rotation @ [-5, -3, 2] + [1.5, -2.0, 0.5], atol=1e-3)


@pytest.mark.parametrize("box", [15, 16])
def test_mirror_twice_is_nothing_and_keeps_the_centre(box):
    volume = np.random.default_rng(0).normal(size=(box,) * 3)
    np.testing.assert_array_equal(mirror(mirror(volume)), volume)
    np.testing.assert_array_equal(mirror(volume)[:, :, box // 2], volume[:, :, box // 2])


@pytest.mark.parametrize(
    ("moving", "reference", "words"),
    [
        (np.ones((16, 16, 16)), np.random.default_rng(0).normal(size=(16,) * 3), "constant"),
        (np.zeros((16, 16, 8)), np.zeros((16, 16, 16)), "cube"),
        (np.eye(3)[None].repeat(3, 0), np.eye(3)[None].repeat(3, 0), "at least 8"),
    ],
)
def test_bad_maps_are_refused(moving, reference, words):
    with pytest.raises(ZooError, match=words):
        align_maps(moving, reference)
