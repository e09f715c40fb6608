"""Intersection over union and Dice, by hand and against scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, jaccard_score

from zoo.errors import ZooError
from zoo.metrics.overlap import dice, intersection_over_union, overlap_counts, overlap_figures


def test_the_scores_are_scikit_learns():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 4, (6, 7, 8))
    found = np.where(rng.random(true.shape) < 0.6, true, rng.integers(0, 4, true.shape))
    counts = overlap_counts(found, true, 4)
    wanted = jaccard_score(true.ravel(), found.ravel(), average=None)
    np.testing.assert_allclose(intersection_over_union(**counts), wanted)
    np.testing.assert_allclose(dice(**counts), f1_score(true.ravel(), found.ravel(), average=None))


def test_counts_of_parts_add_up_and_absent_classes_have_no_score():
    true, found = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0])
    parts = [overlap_counts(found[part], true[part], 3) for part in (slice(0, 2), slice(2, 5))]
    sums = {name: parts[0][name] + parts[1][name] for name in parts[0]}
    whole = overlap_counts(found, true, 3)
    assert all(np.array_equal(sums[name], whole[name]) for name in whole)
    np.testing.assert_allclose(intersection_over_union(**whole), [1 / 3, 2 / 4, np.nan])
    figures = overlap_figures(**whole, names=["background", "membrane", "bead"])
    assert figures == pytest.approx({"iou_background": 1 / 3, "iou_membrane": 0.5,
                                     "dice_background": 0.5, "dice_membrane": 2 / 3})  # fmt: skip
    with pytest.raises(ZooError, match="shape"):
        overlap_counts(found, true[:4], 3)
