"""Scores of templates and nulls → a p-value and a q-value for every subtomogram."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from zoo.analysis.matching.decoys import DECOYS
from zoo.analysis.matching.match_run import Rows
from zoo.errors import ZooError
from zoo.metrics.p_values import MODELS, fit_tail, of_best, p_value, q_values


@dataclass(frozen=True)
class Verdicts:
    """One value for each of n subtomograms, in the order of the table.

    ``p`` is for the best of all templates; ``p_one`` the same without regard to there being several,
    ``p_rank`` (1 + #{c0 >= c}) / (1 + B) and ``p_share`` #{c0 >= c} / B of the best alone. ``model`` says
    where ``p`` comes from (`zoo.metrics.p_values.MODELS`), ``fit_p`` how well a tail fits. ``beaten`` (n, 6)
    tells which decoys score as high; ``second`` the next best template, -1 where there is none;
    ``mirrored_score`` that of the mirror image of the best, NaN where that is the template itself.
    """

    best: np.ndarray
    score: np.ndarray
    p: np.ndarray
    q: np.ndarray
    p_one: np.ndarray
    p_rank: np.ndarray
    p_share: np.ndarray
    model: np.ndarray
    fit_p: np.ndarray
    beaten: np.ndarray
    second: np.ndarray
    second_score: np.ndarray
    rotations: np.ndarray
    shifts: np.ndarray
    mirrored_score: np.ndarray
    templates: int
    nulls: int

    def __len__(self) -> int:
        return len(self.p)

    def euler_deg(self) -> np.ndarray:
        """RELION's rot, tilt and psi (n, 3)."""
        import warnings

        from scipy.spatial.transform import Rotation

        with warnings.catch_warnings():  # where tilt is 0 only rot + psi is known, and one of them is made 0
            warnings.filterwarnings("ignore", message="Gimbal lock")
            return Rotation.from_matrix(self.rotations).inv().as_euler("ZYZ", degrees=True)

    def beaten_by(self, row: int) -> list[str]:
        """The decoys that score as high as the best template of a row."""
        return [name for name, beats in zip(DECOYS, self.beaten[row], strict=True) if beats]


def judge(parts: Iterable[Rows]) -> Verdicts:
    """p- and q-values of what `MatchRun.parts` yields; only scores of a few rows are in memory at once."""
    columns: dict[str, list] = {name: [] for name in Verdicts.__dataclass_fields__}
    templates = nulls = 0
    for part in parts:
        templates, nulls = part.known.shape[1], part.nulls.shape[1] + part.decoys.shape[1]
        for row in range(len(part.rows)):
            for name, value in _one(part, row).items():
                columns[name].append(value)
    if not columns["score"]:
        raise ZooError("no subtomograms: nothing to judge")
    arrays = {name: np.array(values) for name, values in columns.items() if values}
    arrays["p"] = of_best(arrays["p_one"], templates)
    return Verdicts(**arrays, q=q_values(arrays["p"]), templates=templates, nulls=nulls)


def _one(part: Rows, row: int) -> dict:
    known, best = part.known[row], int(part.best[row])
    score, nulls, decoys = float(known[best]), part.nulls[row], part.decoys[row]
    tail = fit_tail(nulls)
    found = p_value(score, nulls, tail, decoys[np.isfinite(decoys)])
    others = np.delete(known, best)
    second = int(others.argmax()) if len(others) else -1
    return {
        "best": best,
        "score": score,
        "p_one": found.p,
        "p_rank": found.rank,
        "p_share": found.share,
        "model": MODELS.index(found.model),
        "fit_p": tail.fit_p,
        "beaten": decoys >= score,
        "second": second + (second >= best) if second >= 0 else -1,
        "second_score": float(others[second]) if second >= 0 else np.nan,
        "rotations": part.rotations[row],
        "shifts": part.shifts[row],
        "mirrored_score": float(decoys[DECOYS.index("mirrored")]),
    }
