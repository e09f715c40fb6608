"""F1 of classes that carry no names, against every naming tried by hand."""

from itertools import permutations

import numpy as np
import pytest

from zoo.errors import ZooError
from zoo.metrics.classification import classify_by_label


def f1_by_hand(labels, told, label):
    hits, extra, missed = (
        np.sum((labels == label) & (told == label)),
        np.sum((labels != label) & (told == label)),
        np.sum((labels == label) & (told != label)),
    )
    return 2 * hits / (2 * hits + extra + missed)


def test_names_do_not_matter():
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    scores = classify_by_label(labels, np.array([7, 3, 5])[labels])
    assert scores.label_of == {7: 0, 3: 1, 5: 2}
    assert scores.f1 == {0: 1.0, 1: 1.0, 2: 1.0} and scores.macro_f1 == 1.0


def test_the_naming_with_most_particles_in_common_is_scored():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 3, 200)
    classes = np.where(rng.uniform(size=200) < 0.6, (labels + 1) % 3, rng.integers(0, 3, 200))
    names = max(permutations(range(3)), key=lambda names: np.sum(np.array(names)[classes] == labels))
    told = np.array(names)[classes]
    scores = classify_by_label(labels, classes)
    assert scores.label_of == dict(enumerate(names))
    for label in range(3):
        assert scores.f1[label] == pytest.approx(f1_by_hand(labels, told, label))
    assert 0.4 < scores.macro_f1 < 0.9
    assert scores.macro_f1 == pytest.approx(np.mean(list(scores.f1.values())))


def test_a_class_too_many_and_one_too_few():
    labels = np.repeat([0, 1], 10)
    split = np.concatenate([np.zeros(10), np.ones(6), np.full(4, 2)]).astype(int)
    scores = classify_by_label(labels, split)
    assert scores.label_of == {0: 0, 1: 1}
    assert scores.f1[1] == pytest.approx(2 * 6 / (2 * 6 + 4))
    joined = classify_by_label(labels, np.zeros(20, int))
    assert sorted(joined.f1.values()) == [0.0, pytest.approx(2 / 3)]


def test_unknown_labels_are_left_out():
    assert classify_by_label([0, 1, -1], [1, 0, 0]).macro_f1 == 1.0
    with pytest.raises(ZooError, match="no particle has a known label"):
        classify_by_label([-1, -1], [0, 1])
    with pytest.raises(ZooError, match="one of each per particle"):
        classify_by_label([0, 1], [0])
