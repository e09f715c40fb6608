"""How well a classification agrees with known classes, each found class standing for one of them."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import f1_score
from sklearn.metrics.cluster import contingency_matrix

from zoo.metrics.clustering import labelled


@dataclass(frozen=True)
class Classification:
    """``label_of``: found class → label that it stands for; ``f1``: label → F1; ``macro_f1``: their mean."""

    label_of: dict[int, int]
    f1: dict[int, float]
    macro_f1: float


def classify_by_label(labels, classes) -> Classification:
    """Match found `classes` (n,) with true `labels` (n,) one to one, by most particles in common, and score.

    F1 = 2·TP / (2·TP + FP + FN) of each label (van Rijsbergen 1979). Classes beyond the number of labels
    stand for none: their particles are missed. A label without a class has F1 0. Rows with label < 0
    (unknown) are left out. Raises ZooError if the lengths differ or no label is known.
    """
    labels, classes = labelled(labels, classes)
    kinds, found = np.unique(labels), np.unique(classes)
    rows, columns = linear_sum_assignment(contingency_matrix(labels, classes), maximize=True)
    label_of = {int(found[column]): int(kinds[row]) for row, column in zip(rows, columns, strict=True)}
    told = np.array([label_of.get(int(each), -1) for each in classes])
    scores = f1_score(labels, told, labels=kinds, average=None, zero_division=0.0)
    f1 = {int(label): float(score) for label, score in zip(kinds, scores, strict=True)}
    return Classification(label_of, f1, float(np.mean(scores)))
