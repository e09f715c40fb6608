"""Half sets: a function of (seed, uid) alone, a person's own first, and what is refused."""

import numpy as np
import pytest

from zoo.analysis.reconstruction.halves import choose_halves, drawn_halves
from zoo.errors import ZooError

UID = np.random.default_rng(0).integers(0, 2**63, 1000).astype(np.uint64)


def test_drawn_halves_are_the_same_in_every_selection():
    whole = drawn_halves(UID, 3)
    rows = np.random.default_rng(1).permutation(1000)[:200]
    assert np.array_equal(drawn_halves(UID[rows], 3), whole[rows])
    assert not np.array_equal(drawn_halves(UID, 4), whole)
    assert set(whole) == {1, 2} and 430 < (whole == 1).sum() < 570


def test_a_persons_own_halves_are_kept_and_can_be_drawn_anew():
    stated = np.arange(1000) % 2 + 1
    kept = choose_halves(stated, UID, 0, "a.star")
    assert np.array_equal(kept.half, stated) and kept.words == "rlnRandomSubset of a.star"
    drawn = choose_halves(stated, UID, 5, "a.star", draw=True)
    assert np.array_equal(drawn.half, drawn_halves(UID, 5)) and "seed 5" in drawn.words
    assert "seed 0" in choose_halves(np.zeros(1000), UID, 0, "a.star").words


def test_halves_of_some_particles_only_are_refused():
    stated = np.arange(1000) % 2 + 1
    stated[7] = 0
    with pytest.raises(ZooError, match=r"a.star: particle 8 has half set 0 \(1 of 1000.*--new-halves"):
        choose_halves(stated, UID, 0, "a.star")


def test_halves_of_very_different_size_are_refused():
    stated = np.where(np.arange(1000) < 900, 1, 2)
    with pytest.raises(ZooError, match="a.star: half sets of 900 and 100 particles.*--new-halves"):
        choose_halves(stated, UID, 0, "a.star")
    choose_halves(stated, UID, 0, "a.star", draw=True)
