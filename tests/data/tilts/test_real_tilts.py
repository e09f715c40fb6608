"""Tilt images that others made: 40 real ribosomes with their average, and two states of a 50S with theirs."""

import numpy as np
import pytest
import tilt_sets as sets
from scipy import fft, ndimage
from scipy.spatial.transform import Rotation

from zoo.data.formats.fourier_weights import whole_of
from zoo.data.formats.mrc import read_header, read_raw, read_volume
from zoo.data.formats.star import CTF_FROM_STAR, StarColumns
from zoo.data.formats.star_blocks import read_star_blocks
from zoo.data.formats.tilt_stacks import TiltStackReader
from zoo.data.subtomograms import read_subtomograms
from zoo.data.tilts.backproject import TiltBackprojector
from zoo.ops.ctf_values import ctf_values

pytestmark = [pytest.mark.shared_data]
N = 32
AXIS = np.arange(N) - N // 2
GRID = np.stack(np.meshgrid(AXIS, AXIS, AXIS, indexing="ij")[::-1], axis=-1)
RADIUS = np.linalg.norm(GRID, axis=-1)
AVERAGE = "particles/ribosome_tilts_relion5/warptools_test_box-32_angpix-12_reconstruct.mrc"
RIBOSOMES = "particles/ribosome_tilts_relion5/warptools_test_4-tomos_10-ptcls_box-32_angpix-12"


def space(spectrum):
    return fft.fftshift(fft.ifftn(fft.ifftshift(spectrum))).real


def fsc(a, b):
    """Correlation of two spectra in the shells 1 .. 14."""
    curve = []
    for radius in range(1, 15):
        shell = np.abs(RADIUS - radius) <= 0.5
        lengths = np.linalg.norm(a[shell]) * np.linalg.norm(b[shell])
        curve.append((a[shell] * b[shell].conj()).sum().real / lengths)
    return np.array(curve)


def estimate(sums):
    data, weight = sums
    return data / (weight + 0.05 * weight[RADIUS < 14].mean())


def upside_down(volume):
    """z → −z about voxel N // 2."""
    return np.roll(volume[::-1], 1, axis=0)


@pytest.mark.slow
def test_real_ribosomes_average_to_their_map_from_the_given_poses(shared_data):
    """Their map was mirrored by its authors: the geometry in the files gives the other hand."""
    reader = TiltStackReader(read_subtomograms(shared_data / f"{RIBOSOMES}_optimisation_set.star"))
    assert (len(reader), reader.box) == (40, N)
    assert len(reader.table.tilts.seen(0)) == 34 and reader.headers[0].shape[0] == 37
    matrices = Rotation.from_euler("ZYZ", reader.table.euler_deg(), degrees=True).inv().as_matrix()
    halves = [[0, 0], [0, 0]]
    for row, matrix in enumerate(matrices):
        volume, weight = reader.read([row])[0], whole_of(reader.wedge(row, N))
        # map(x) = subtomogram(Ax), and the same for the weight in Fourier space
        places = np.moveaxis(GRID @ matrix.T, -1, 0)[::-1] + N // 2
        weighted = ndimage.map_coordinates(space(sets.spectrum(volume) * weight), places, order=3)
        halves[row % 2][0] = halves[row % 2][0] + sets.spectrum(weighted)
        halves[row % 2][1] = halves[row % 2][1] + ndimage.map_coordinates(weight**2, places, order=1)
    half = fsc(*map(estimate, halves))
    ours = estimate([one + other for one, other in zip(*halves, strict=True)])
    reference = read_volume(shared_data / AVERAGE)[0]
    theirs = sets.spectrum(upside_down(reference))
    curve = fsc(ours, theirs)
    # measured: half sets 0.88 0.67 0.53 0.47 0.35 ..., against their map 0.97 0.90 0.76 0.73 0.63 0.54 ...
    assert half[2] > 0.4 and half[:9].mean() > 0.35
    assert (curve[:9] > [0.95, 0.85, 0.7, 0.65, 0.55, 0.45, 0.4, 0.45, 0.4]).all(), curve
    # what half sets promise of the whole set's correlation with a map without noise is reached
    promised = np.sqrt(2 * np.clip(half[:9], 0, 1) / (1 + np.clip(half[:9], 0, 1)))
    assert (curve[:9] > promised - 0.15).all(), (curve, promised)
    mirrored = fsc(ours, sets.spectrum(reference))
    assert mirrored[3:9].max() < 0.2
    low = np.exp(-((RADIUS / 4) ** 2))
    sphere = RADIUS < 14
    correlation = np.corrcoef(space(ours * low)[sphere], space(theirs * low)[sphere])[0, 1]
    assert correlation > 0.95


@pytest.mark.slow
def test_simulated_tilts_of_two_states_become_the_right_one(shared_data):
    folder = shared_data / "particles" / "emp10076_tilts_simulated"
    maps = {state: sets.spectrum(read_volume(folder / f"10076_class{state}_32.mrc")[0]) for state in "DE"}
    backprojector = TiltBackprojector(N)
    frequency = backprojector.frequency
    for state, other in ("DE", "ED"):
        path = folder / f"10076_class{state}_32_sim.star"
        block = next(iter(read_star_blocks(path)[0].values()))
        reader = StarColumns(str(path), block, None)
        ctf = np.stack([reader.numbers(*column) for column in CTF_FROM_STAR.values()], axis=1)
        ctf[:, 7] = 0  # rlnCtfBfactor holds the dose here, which was not simulated
        angles = [reader.numbers(f"rlnAngle{name}", 0) for name in ("Rot", "Tilt", "Psi")]
        matrices = Rotation.from_euler("ZYZ", np.stack(angles, axis=1), degrees=True).inv().as_matrix()
        origin = np.stack([reader.numbers(f"rlnOrigin{axis}", 0) for axis in "XY"], axis=1)
        images = -read_raw(read_header(folder / f"10076_class{state}_32_sim.mrcs")).astype(np.float32)
        sums = [0, 0]
        for particle in np.unique(block["rlnGroupName"]):
            rows = np.flatnonzero(block["rlnGroupName"] == particle)
            transfer = ctf_values(ctf[rows], frequency / 13.1)
            lines = backprojector.lines(images[rows]) * np.exp(-2j * np.pi * (origin[rows] @ frequency))
            volume, weight = backprojector.volume(lines * transfer, transfer, matrices[rows])
            weight = whole_of(weight)
            sums = [sums[0] + sets.spectrum(volume) * weight, sums[1] + weight**2]
        own, foreign, mirror = (
            fsc(estimate(sums), spectrum)
            for spectrum in (maps[state], maps[other], sets.spectrum(upside_down(space(maps[state]))))
        )
        # measured: D 0.91 0.97 0.90 0.89 0.82 0.71, E 0.92 0.97 0.89 0.89 0.86 0.67
        assert (own[:6] > [0.88, 0.95, 0.86, 0.86, 0.78, 0.63]).all(), own
        assert (own[2:6] > foreign[2:6] + 0.05).all(), (own, foreign)
        assert (own[2:6] > mirror[2:6] + 0.1).all(), (own, mirror)
