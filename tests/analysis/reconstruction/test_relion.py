"""RELION reconstructs our maps from our files, and agrees with our FSC and sharpening of our half maps."""

import subprocess

import numpy as np
import pytest

from zoo.analysis.reconstruction.command import Wishes, write_reconstruction
from zoo.analysis.reconstruction.sources import open_place
from zoo.data.formats.mrc import read_volume
from zoo.data.formats.star_blocks import read_star_blocks
from zoo.metrics.fsc import fsc

pytestmark = pytest.mark.relion


def relion(command, folder):
    # relion_postprocess writes its files and fails then where no program makes a PDF of them
    return subprocess.run(command.split(), cwd=folder, capture_output=True, text=True)


def reconstructed(star):
    """Reconstruction beside the stack, where RELION finds its images."""
    folder = star.parent / "ours"
    folder.mkdir()
    write_reconstruction(open_place(star), folder, Wishes(bfactor_angstrom2=-500.0))
    return folder


@pytest.fixture(scope="module")
def clean(clean_star):
    return reconstructed(clean_star)


@pytest.fixture(scope="module")
def noisy(star):
    return reconstructed(star)


@pytest.mark.parametrize("half", [None, 1, 2])
def test_relion_reconstructs_our_maps_from_our_star(clean, half, truth):
    words = "" if half is None else f" --subset {half}"
    relion(f"relion_reconstruct --i ours/particles.star --ctf --o back{half}.mrc{words}", clean.parent)
    back = read_volume(clean.parent / f"back{half}.mrc")[0]
    name = "map_unfil.mrc" if half is None else f"map_half{half}_unfil.mrc"
    mine = read_volume(clean / "class_1" / name)[0]
    assert fsc(back, mine)[1:13].min() > 0.99
    assert (fsc(mine, truth)[1:15] > fsc(back, truth)[1:15] - 0.01).all()
    # in the same grey units
    assert np.vdot(mine, back) / np.vdot(back, back) == pytest.approx(1, abs=0.1)


@pytest.mark.slow
def test_relion_is_no_nearer_to_the_truth_in_noise(noisy, truth):
    relion("relion_reconstruct --i ours/particles.star --ctf --o back.mrc", noisy.parent)
    back, mine = (
        read_volume(noisy.parent / "back.mrc")[0],
        read_volume(noisy / "class_1" / "map_unfil.mrc")[0],
    )
    assert fsc(back, mine)[1:9].min() > 0.98
    assert (fsc(mine, truth)[1:15] > fsc(back, truth)[1:15] - 0.01).all()


@pytest.mark.slow
def test_relion_postprocess_agrees_with_our_fsc(noisy):
    home = noisy / "class_1"
    command = "relion_postprocess --i map_half1_unfil.mrc --mask mask.mrc --angpix 10 --adhoc_bfac -500"
    relion(command + " --o post --force_mask", home)
    blocks, _ = read_star_blocks(str(home / "post.star"))
    theirs = blocks["fsc"]
    rows = np.genfromtxt(home / "fsc.csv", delimiter=",", names=True)

    def column(name):
        return theirs[name].astype(float).to_numpy()[1:17]

    for ours, relions in (("unmasked", "UnmaskedMaps"), ("masked", "MaskedMaps")):
        expected = column(f"rlnFourierShellCorrelation{relions}")
        np.testing.assert_allclose(rows[f"fsc_{ours}"], expected, atol=2e-3)
    random = column("rlnCorrectedFourierShellCorrelationPhaseRandomizedMaskedMaps")
    assert np.abs(rows["fsc_random_phases"] - random).max() < 0.2  # other random numbers
    corrected = column("rlnFourierShellCorrelationCorrected")
    assert np.abs(rows["fsc_corrected"] - corrected).max() < 0.05
    sharp, post = (read_volume(home / name)[0] for name in ("map_sharpened.mrc", "post.mrc"))
    # RELION takes the mean of the half maps, ours weighs what each has seen
    assert fsc(sharp, post)[1:11].min() > 0.995
    amplitudes = [np.abs(np.fft.rfftn(each))[0, 0, 1:11] for each in (sharp, post)]
    ratio = amplitudes[0] / amplitudes[1]
    np.testing.assert_allclose(ratio / ratio[0], 1, atol=0.1)
