"""Averages of classes against the true maps and labels that a simulation left."""

import csv

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from zoo.analysis.class_truth import compare_classes, write_truth
from zoo.data.formats.mrc import write_volume
from zoo.errors import ZooError
from zoo.metrics.alignment import transform_map
from zoo.simulate.embedded import EMBEDDED_EXTENT_ANGSTROM, embedded_maps

BOX, VOXEL = 24, EMBEDDED_EXTENT_ANGSTROM / 24
LABELS = np.repeat([0, 1], 10)


@pytest.fixture(scope="module")
def truths():
    return embedded_maps(BOX)[[0, 2]]


@pytest.fixture
def source(truths, tmp_path):
    for index, volume in enumerate(truths):
        write_volume(tmp_path / "maps" / f"class_{index}.mrc", volume, VOXEL)
    return tmp_path / "subtomograms.star"


def turned(volume, hand=1):
    return transform_map(volume, Rotation.from_rotvec([0.4, -1.1, 0.7]).as_matrix(), (1, 0, -1), hand=hand)


def test_classes_are_named_by_their_labels_and_compared_with_their_maps(truths, source, tmp_path):
    classes = 1 - LABELS
    classes[0] = 0  # one particle of label 0 among those of label 1
    found = compare_classes(np.stack([turned(truths[1]), truths[0]]), classes, LABELS, source, VOXEL)
    assert [(each.number, each.label, each.true_map) for each in found] == [
        (1, 1, "class_1.mrc"),
        (2, 0, "class_0.mrc"),
    ]
    assert found[0].f1 == pytest.approx(20 / 21) and found[1].f1 == pytest.approx(18 / 19)
    assert found[0].correlation > 0.97 and found[1].correlation > 0.99
    assert found[0].fsc_half_angstrom < 2.6 * VOXEL
    assert found[1].line().startswith("class 2: label 0, F1 0.947, correlation 1.000 with class_0.mrc")
    write_truth(found, tmp_path / "truth.csv")
    with open(tmp_path / "truth.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["f1"] == "0.9524" and rows[1]["true_map"] == "class_0.mrc"


def test_a_mirrored_average_is_not_taken_for_the_truth(truths, source):
    mirrored = compare_classes(turned(truths[1], hand=-1)[None], 0 * LABELS, 0 * LABELS + 1, source, VOXEL)
    right = compare_classes(turned(truths[1])[None], 0 * LABELS, 0 * LABELS + 1, source, VOXEL)
    assert mirrored[0].correlation < right[0].correlation - 0.05


def test_an_empty_class_and_one_without_a_label(truths, source):
    maps = np.stack([truths[0], truths[1], np.zeros_like(truths[0]), turned(truths[1])])
    classes = np.where(LABELS == 0, 0, 1)
    classes[:3] = 3
    found = compare_classes(maps, classes, LABELS, source, VOXEL)
    assert [each.label for each in found] == [0, 1, None, None]
    assert found[2].true_map is None and found[2].f1 is None
    assert found[2].line() == "class 3: stands for no label, and its map is empty"
    assert found[3].true_map == "class_1.mrc"  # which it resembles most


def test_labels_alone_maps_alone_and_nothing(truths, source, tmp_path):
    unknown = np.full(20, -1)
    elsewhere = tmp_path / "elsewhere" / "subtomograms.star"
    (only,) = compare_classes(truths[:1], 0 * LABELS, 0 * LABELS, elsewhere, VOXEL)
    assert (only.label, only.f1, only.true_map) == (0, 1.0, None)
    (only,) = compare_classes(truths[1:], 0 * LABELS, unknown, source, VOXEL)
    assert (only.label, only.f1, only.true_map) == (None, None, "class_1.mrc")
    assert compare_classes(truths, LABELS, unknown, elsewhere, VOXEL) == []


def test_true_maps_of_another_extent_are_told(truths, source):
    with pytest.raises(ZooError, match="pad or crop the map"):
        compare_classes(truths, LABELS, LABELS, source, 2 * VOXEL)
