"""What ``faml`` and ``fa`` tell a person after each epoch: figures, notices, resolution."""

from __future__ import annotations

import numpy as np
from keras import ops

from zoo.metrics.fsc import resolution_at
from zoo.models.faml.config import is_lost


def figures(model) -> dict[str, float]:
    """The state in numbers, by name: what metrics.csv holds."""
    sigma2 = ops.convert_to_numpy(model.sigma2)[1:]
    found = {
        "epoch": float(ops.convert_to_numpy(model.iteration)) - 1.0,
        "log_likelihood": float(ops.convert_to_numpy(model.log_likelihood)),
        "sigma": float(np.sqrt(np.average(sigma2, weights=model.ball.per_shell[1:]))),
        "zeta_voxels": float(ops.convert_to_numpy(model.zeta)),
        # what fsc_K and resolution_angstrom_K of this row are of; 0: half sets aligned to one average
        "fsc_of_independent_half_sets": float(model.half_sets.are_apart(last_epoch(model))),
    }
    shares, curves = ops.convert_to_numpy(model.alpha), ops.convert_to_numpy(model.fsc)
    for k, (share, curve) in enumerate(zip(shares, curves, strict=True)):
        found[f"alpha_{k + 1}"] = float(share)
        found[f"fsc_{k + 1}"] = float(np.mean(curve[1:]))
        found[f"resolution_angstrom_{k + 1}"] = resolution_angstrom(model, curve)
    return found


def last_epoch(model) -> int:
    """The epoch that the averages are of."""
    return int(ops.convert_to_numpy(model.iteration)) - 1


def fsc_kind(model) -> str:
    """Between what the model's FSC is, in words."""
    return model.half_sets.kind(last_epoch(model))


def fsc_name(model) -> str:
    """The same as the name of a file."""
    apart = model.half_sets.are_apart(last_epoch(model))
    return "fsc_of_independent_half_sets" if apart else "fsc_of_half_sets_aligned_to_one_average"


def resolutions(model, kind: str) -> list[str]:
    """One line for each class: where its FSC, which is of this ``kind``, falls below 0.143."""
    curves = ops.convert_to_numpy(model.fsc)
    return [
        f"class {k + 1}: FSC 0.143 at {resolution_angstrom(model, curve):.1f} Å ({kind})"
        for k, curve in enumerate(curves)
    ]


def resolution_angstrom(model, curve) -> float:
    """Where an FSC ``(s,)`` falls below 0.143, in Å (`zoo.metrics.fsc.resolution_at`); at most the box."""
    found = resolution_at(curve, 0.143, model.voxel_size_angstrom, model.box)
    return min(found.angstrom, model.box * model.voxel_size_angstrom)


def notices(model) -> list[str]:
    """One line for each class that has lost nearly all its subtomograms, or just started again."""
    shares = ops.convert_to_numpy(model.alpha)
    lines = [
        f"class {k + 1} holds {share:.1%} of the subtomograms: it is empty or collapsing"
        for k, share in enumerate(shares)
        if is_lost(share, model.classes)
    ]
    if model.refilled:
        empty, largest = (k + 1 for k in model.refilled)
        lines.append(f"class {empty} lost its subtomograms: it starts again from half of class {largest}")
    return lines
