"""The ratio of sets whose signal and noise are known: wedges, turned and shifted, noise alone."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from zoo.data.wedge import wedge_mask
from zoo.errors import ZooError
from zoo.metrics.alignment import transform_map
from zoo.metrics.snr import AlignedSets, pair_correlations, set_snr, snr_of_correlation

BOX = 24


@pytest.mark.parametrize(("correlation", "snr"), [(0.5, 1.0), (0.01, 1 / 99), (0.0, 0.0), (1.0, np.inf)])
def test_ratio_of_a_correlation(correlation, snr):
    assert snr_of_correlation(correlation) == pytest.approx(snr)


@pytest.mark.parametrize("snr", [0.05, 1.0])
def test_a_set_of_known_ratio(snr):
    rng = np.random.default_rng(0)
    signal = (rng.normal(size=3000) + 1j * rng.normal(size=3000)) * snr**0.5
    members = signal + rng.normal(size=(40, 3000)) + 1j * rng.normal(size=(40, 3000))
    found = set_snr(members, np.ones(members.shape, bool))
    assert found.snr == pytest.approx(snr, rel=0.06)
    assert (found.pairs, found.members) == (780, 40)
    assert 0 < found.standard_error < 0.1 * snr + 0.01


def test_only_what_both_members_observed_counts():
    rng = np.random.default_rng(1)
    signal = rng.normal(size=4000) + 1j * rng.normal(size=4000)
    observed = rng.random((2, 4000)) < 0.6
    members = np.where(observed, signal, 1e3)  # what is not observed holds anything
    assert pair_correlations(members, observed)[0, 1] == pytest.approx(1, abs=1e-6)
    assert np.isnan(pair_correlations(members, [observed[0], ~observed[0]])[0, 1])
    with pytest.raises(ZooError, match="same frequencies"):
        set_snr(members, np.stack([observed[0], ~observed[0]]))
    with pytest.raises(ZooError, match="at least 2"):
        set_snr(members[:1], observed[:1])


def in_ball(volume):
    """What of a map lies within the frequencies that are compared."""
    k = np.fft.fftfreq(BOX) * BOX
    inside = k[:, None, None] ** 2 + k[:, None] ** 2 + k**2 <= (BOX // 2 - 1) ** 2
    return np.fft.ifftn(np.fft.fftn(volume) * inside).real


def turned_set(count, snr, seed):
    """Subtomograms with a missing wedge each, turned and shifted; SNR of what the wedge measures is `snr`."""
    rng = np.random.default_rng(seed)
    axis = np.arange(BOX) - BOX // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    places = np.array([[4, 0, 1], [-3, 3, 0], [0, -4, -2], [1, 2, 4.0]])
    signal = sum(np.exp(-((x - p[0]) ** 2 + (y - p[1]) ** 2 + (z - p[2]) ** 2) / 3) for p in places)
    signal = in_ball(signal - signal.mean())
    wedge = wedge_mask(BOX, -60, 60)
    rotations = Rotation.random(count, rng=rng).as_matrix()
    shifts = rng.uniform(-2, 2, (count, 3))
    noise = np.stack([in_ball(v) for v in rng.normal(size=(count, BOX, BOX, BOX))])
    noise *= signal.std() / noise.std() / snr**0.5
    moved = np.stack([transform_map(signal, r, s) for r, s in zip(rotations, shifts, strict=True)])
    spectrum = np.fft.fftn(moved + noise, axes=(1, 2, 3)) * np.fft.ifftshift(wedge)
    volumes = np.fft.ifftn(spectrum, axes=(1, 2, 3)).real.astype("float32")
    return volumes, np.repeat(wedge[None], count, 0), rotations, shifts


@pytest.mark.parametrize("snr", [0.1, 1.0])
def test_subtomograms_at_their_poses(snr):
    volumes, wedges, rotations, shifts = turned_set(12, snr, seed=2)
    aligned, astray = AlignedSets(BOX, 2), AlignedSets(BOX, 1)
    aligned.add(volumes, wedges, rotations, shifts, np.zeros(12, int))
    found = aligned.snr(0)
    assert found.snr == pytest.approx(snr, rel=0.15)
    assert found.pairs == 66
    assert aligned.snr(1) is None
    astray.add(volumes, wedges, rotations.transpose(0, 2, 1), -shifts, np.zeros(12, int))
    assert astray.snr(0).snr < 0.4 * snr


def test_noise_alone_has_none():
    rng = np.random.default_rng(3)
    volumes = rng.normal(size=(12, BOX, BOX, BOX)).astype("float32")
    sets = AlignedSets(BOX, 1)
    rotations = Rotation.random(12, rng=rng).as_matrix()
    sets.add(volumes, np.ones_like(volumes), rotations, rng.uniform(-1, 1, (12, 3)), np.zeros(12, int))
    assert abs(sets.snr(0).snr) < 0.005


@pytest.mark.shared_data
@pytest.mark.slow
def test_forty_real_ribosomes(shared_data, tmp_path):
    """About 0.01, as of the ribosomes of a neuron (Zhao et al. 2018); none with the angles of others."""
    from keras import ops

    from zoo.data.info import DatasetInfo
    from zoo.data.packing.pack_subtomograms import OWN_BOX, pack_subtomograms
    from zoo.data.packing.shards import PackSettings
    from zoo.data.records.numpy_subtomograms import sequential_arrays
    from zoo.ops.rotations import euler_to_matrix

    folder = shared_data / "particles" / "ribosome_tilts_relion5"
    (source,) = folder.glob("*_optimisation_set.star")
    settings = PackSettings(OWN_BOX, dtype="float32", normalisation="none", contrast=1)
    pack_subtomograms(source, tmp_path / "set", settings, processes=1)
    info = DatasetInfo.load(tmp_path / "set")
    true, mixed = AlignedSets(info.box, 1), AlignedSets(info.box, 1)
    for batch in sequential_arrays(info, 10):
        rotations = ops.convert_to_numpy(euler_to_matrix(batch["euler_deg"]))
        shifts = -batch["shift_angstrom"] / info.voxel_size_angstrom
        volumes, wedges, sets = batch["volume"][..., 0], batch["wedge"], np.zeros(len(shifts), int)
        true.add(volumes, wedges, rotations, shifts, sets)
        mixed.add(volumes, wedges, np.roll(rotations, 1, 0), shifts, sets)
    found = true.snr(0)
    assert found.pairs == 780 and 0.005 < found.snr < 0.03
    assert found.snr > 3 * found.standard_error
    assert abs(mixed.snr(0).snr) < 3 * mixed.snr(0).standard_error
