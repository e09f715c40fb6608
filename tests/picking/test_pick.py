"""Picking: scikit-image's blobs as oracle, blocks against the whole, what is left out, bad input."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.feature import blob_dog

from zoo.data.formats.mrc import write_volume
from zoo.data.formats.tomogram_blocks import TomogramBlocks
from zoo.errors import ZooError
from zoo.picking.pick import pick_particles
from zoo.picking.settings import PickSettings, settings_for_diameter

SMALL = PickSettings(smooth_voxels=1.0, sigma_voxels=2.0, distance_voxels=4.0)
SHAPE = (60, 84, 72)


def scene(shape=SHAPE, count=30, radius=3.5, seed=0, noise=1.0):
    """Balls at known places (n, 3) xyz, 5 or more apart from faces and 9 from each other, in noise."""
    rng = np.random.default_rng(seed)
    volume = rng.standard_normal(shape, dtype=np.float32) * np.float32(noise)
    grid = np.ogrid[tuple(slice(side) for side in shape)]
    centres = []
    while len(centres) < count:
        centre = np.array([rng.integers(5, side - 5) for side in shape])
        if all(np.linalg.norm(centre - other) >= 9 for other in centres):
            centres.append(centre)
            distance = np.sqrt(sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)))
            volume += 2 * np.clip(radius + 0.5 - distance, 0, 1).astype(np.float32)
    return volume, np.array(centres)[:, ::-1]


@pytest.fixture(scope="module")
def balls():
    return scene()


@pytest.fixture
def written(tmp_path):
    def write(volume, name="t.mrc"):
        write_volume(tmp_path / name, volume, 10.0)
        return TomogramBlocks(tmp_path / name)

    return write


def ordered(places):
    return sorted(map(tuple, np.asarray(places).astype(int).tolist()))


def nearest(places, centres):
    return np.linalg.norm(places[:, None] - centres[None], axis=2).min(axis=1)


def test_all_balls_are_found_and_nothing_else(balls, written):
    volume, centres = balls
    picks = pick_particles(written(volume), SMALL)
    best = picks.places_voxel[: len(centres)]
    assert nearest(centres, best).max() < 2 and nearest(best, centres).max() < 2
    assert (np.diff(picks.scores) <= 0).all() and picks.scores[-1] >= 4
    assert picks.contrast_sign == 1 and "bright (+1)" in picks.contrast


def test_peaks_are_the_blobs_of_scikit_image(written):
    volume, _ = scene((64, 64, 64), 20, seed=2)
    settings = PickSettings(1.5, 3.0, 1.2, distance_voxels=1.0, threshold=2.0)
    picks = pick_particles(written(volume), settings)
    smooth = ndimage.gaussian_filter(volume.astype(np.float64), 1.5)
    # Its scale-normalised response is ours times 1 / (ratio - 1); the threshold of ours as its number:
    response = ndimage.gaussian_filter(smooth, 3.0) - ndimage.gaussian_filter(smooth, 3.6)
    middle = np.median(response)
    least = (middle + 2.0 * 1.4826 * np.median(np.abs(response - middle))) / 0.2
    blobs = blob_dog(smooth, 3.0, 3.0, sigma_ratio=1.2, threshold=least, overlap=1.0, exclude_border=False)
    assert len(picks) > 40 and ordered(picks.places_voxel[:, ::-1]) == ordered(blobs[:, :3])


@pytest.mark.parametrize("side", [32, 45])
def test_blocks_equal_the_whole(balls, written, side):
    tomogram = written(balls[0] + 100)
    settings = PickSettings(0.8, 1.2, distance_voxels=3.0, threshold=1.5)
    whole = pick_particles(tomogram, settings)
    parts = pick_particles(tomogram, settings, block_side=side)
    assert whole.blocks == 1 and parts.blocks > 8 and len(whole) > 100
    assert abs(parts.peaks - whole.peaks) <= 2  # rounding decides between neighbours, and about 0
    assert ordered(parts.places_voxel) == ordered(whole.places_voxel)
    by_place = [np.lexsort(each.places_voxel.T) for each in (parts, whole)]
    np.testing.assert_allclose(parts.scores[by_place[0]], whole.scores[by_place[1]], rtol=1e-4)
    assert parts.contrast == whole.contrast


def test_the_sign_is_measured(balls, written):
    volume, _ = balls
    bright = pick_particles(written(volume), SMALL)
    dark = pick_particles(written(-volume), SMALL)
    assert dark.contrast_sign == -1 and "dark (-1)" in dark.contrast
    assert np.array_equal(bright.places_voxel, dark.places_voxel)
    given = pick_particles(written(-volume), PickSettings(1, 2, distance_voxels=4, contrast=-1))
    assert given.contrast == "as given" and np.array_equal(given.places_voxel, bright.places_voxel)


def test_noise_is_seldom_sure_of_a_sign(written):
    settings = PickSettings(1, 2, distance_voxels=4, threshold=0)
    unsure = 0
    for seed in range(20):
        noise = np.random.default_rng(seed).standard_normal((48, 48, 48), dtype=np.float32)
        notes = pick_particles(written(noise), settings).notes
        unsure += any("the contrast sign is not sure" in note for note in notes)
    assert unsure >= 17  # one in twenty is expected to look sure


def test_padding_is_not_noise(balls, written):
    volume, _ = balls
    padded = np.zeros((60, 84, 160), np.float32)
    padded[:, :, 44:116] = volume
    picks = pick_particles(written(padded), SMALL)
    assert any("taken as padding" in note for note in picks.notes)
    plain = pick_particles(written(volume), SMALL)
    inner = [each for each in ordered(plain.places_voxel) if 12 < each[0] < 60]
    moved = [each for each in ordered(picks.places_voxel - [44, 0, 0]) if 12 < each[0] < 60]
    assert len(set(inner) & set(moved)) >= 0.9 * max(len(inner), len(moved))


def test_mask_edge_count_and_distance(balls, written):
    volume, _ = balls
    tomogram = written(volume)
    everything = pick_particles(tomogram, SMALL)
    half = np.zeros(SHAPE, np.float32)
    half[:, :, :36] = 1
    masked = pick_particles(tomogram, SMALL, written(half, "mask.mrc"))
    assert (masked.places_voxel[:, 0] < 36).all() and len(masked) > 10
    for block_side in (320, 40):
        same = pick_particles(tomogram, SMALL, written(half, "mask.mrc"), block_side=block_side)
        assert np.array_equal(same.places_voxel, masked.places_voxel)
    inner = pick_particles(tomogram, PickSettings(1, 2, distance_voxels=4, exclude_edge_voxels=16))
    assert len(inner) < len(everything)
    assert ((inner.places_voxel >= 16) & (inner.places_voxel < np.array(SHAPE[::-1]) - 16)).all()
    few = pick_particles(tomogram, PickSettings(1, 2, distance_voxels=4, count=5))
    assert np.array_equal(few.places_voxel, everything.places_voxel[:5])
    many = pick_particles(tomogram, PickSettings(1, 2, distance_voxels=4, count=5000))
    assert len(many) == len(everything) and any("--count 5000" in note for note in many.notes)
    apart = pick_particles(tomogram, PickSettings(1, 2, distance_voxels=25)).places_voxel
    gaps = np.linalg.norm(apart[:, None] - apart[None], axis=2)[np.triu_indices(len(apart), 1)]
    assert gaps.min() >= 25


def test_a_diameter_makes_balls_of_that_size_respond_most():
    from zoo.picking.response import difference_of_gaussians

    diameter, voxel = 160.0, 10.0
    grid = np.ogrid[tuple(slice(-32, 33) for _ in range(3))]
    distance = np.sqrt(sum(g**2 for g in grid))
    ball = np.clip(diameter / voxel / 2 + 0.5 - distance, 0, 1).astype(np.float32)
    fitting = settings_for_diameter(PickSettings(), diameter, voxel)
    assert fitting.radius_voxel == pytest.approx(8.0)
    assert fitting.smooth_voxels == pytest.approx(0.4 * fitting.sigma_voxels)
    assert fitting.distance_voxels == pytest.approx(2 * fitting.sigma_voxels)

    def height(factor):
        # scale-normalised: of Gaussians of equal ratio
        widths = tuple(factor * width for width in fitting.widths_voxel)
        return difference_of_gaussians(ball.copy(), widths)[32, 32, 32]

    assert height(1.0) > height(0.85) and height(1.0) > height(1.18)


def test_compressed_and_plain_read_the_same(balls, written):
    volume, _ = balls
    plain, packed = written(volume), written(volume, "t.mrc.gz")
    part = (slice(3, 50), slice(10, 80), slice(0, 60))
    assert np.array_equal(plain.read(part), volume[part]) and np.array_equal(packed.read(part), volume[part])
    picks = pick_particles(packed, SMALL)
    assert np.array_equal(picks.places_voxel, pick_particles(plain, SMALL).places_voxel)


def refused(*arguments, **options):
    with pytest.raises(ZooError) as caught:
        pick_particles(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_bad_input(balls, written):
    volume, _ = balls
    assert "one section is an image" in refused(written(volume[:1]), SMALL)
    thin = refused(written(volume[:6]), PickSettings())
    assert "72 x 84 x 6 voxels, expected at least 10" in thin
    edge = PickSettings(1, 2, exclude_edge_voxels=30)
    assert "--exclude-edge 30 leaves nothing" in refused(written(volume), edge)
    assert "all equal" in refused(written(np.full(SHAPE, 3.0, np.float32)), SMALL)
    high = refused(written(volume), PickSettings(1, 2, threshold=1e5))
    assert "no peak scores 100000 or more (the best of" in high and "--threshold" in high
    tomogram = written(volume)
    assert "give its own mask" in refused(tomogram, SMALL, written(volume[:30], "m.mrc"))
    assert "no voxel exceeds 0.5" in refused(tomogram, SMALL, written(np.zeros(SHAPE, np.float32), "m.mrc"))


def test_values_that_are_not_finite_are_placed(balls, tmp_path):
    import mrcfile

    volume = balls[0].copy()
    volume[20, 30, 40] = np.nan
    volume[21, 30, 40] = np.inf
    with mrcfile.new(tmp_path / "nan.mrc") as file:
        file.set_data(volume)
        file.voxel_size = 10.0
    said = refused(TomogramBlocks(tmp_path / "nan.mrc"), SMALL)
    assert "nan.mrc: voxel 40, 30, 20 (x, y, z from 0) is NaN or infinite, and 1 more" in said


MEMORY = """
import resource, sys
from zoo.data.formats.tomogram_blocks import TomogramBlocks
from zoo.picking.pick import pick_particles
from zoo.picking.settings import PickSettings
side, sigma, *paths = sys.argv[1:]
settings = PickSettings(0.4 * float(sigma), float(sigma), distance_voxels=2 * float(sigma))
for path in paths:
    pick_particles(TomogramBlocks(path), settings, block_side=int(side))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def write_repeated(path, shape, pattern):
    """A tomogram of any size without holding it: sections of ``pattern`` in turn."""
    from zoo.data.formats.mrc import StackWriter

    with StackWriter(path, shape[1:], 10.0) as writer:
        for start in range(0, shape[0], len(pattern)):
            writer.write(pattern[: min(len(pattern), shape[0] - start)])


@pytest.mark.slow
def test_memory_does_not_grow_with_the_tomogram(tmp_path, measured_python):
    pattern, _ = scene((40, 256, 256), 60)
    for name, sections in (("small.mrc", 40), ("large.mrc", 400)):  # 10 and 100 MiB
        write_repeated(tmp_path / name, (sections, 256, 256), pattern)
    said = measured_python(MEMORY, 96, 1.5, tmp_path / "small.mrc", tmp_path / "large.mrc")
    small, large = map(int, said.split())
    assert large - small < 30


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_four_gigabytes_take_less_than_one_and_a_half(tmp_path, measured_python):
    pattern = np.tile(scene((64, 256, 256), 30, radius=8.0)[0], (1, 4, 4))
    write_repeated(tmp_path / "t.mrc", (1024, 1024, 1024), pattern)
    assert (tmp_path / "t.mrc").stat().st_size > 4 << 30
    assert int(measured_python(MEMORY, 320, 5, tmp_path / "t.mrc", timeout=7200)) <= 1500
