"""What is drawn and said of p-values and hands."""

from types import SimpleNamespace

import numpy as np
import pytest

from zoo.analysis.matching import match_figure
from zoo.analysis.matching.match_figure import save_quantiles, uniform_quantiles
from zoo.analysis.matching.match_report import wrong_hand


def test_the_band_holds_uniform_values_in_order():
    draws = np.sort(np.random.default_rng(0).random((4000, 30)), axis=1)
    mean, low, high = uniform_quantiles(30)
    np.testing.assert_allclose(mean, draws.mean(axis=0), atol=0.01)
    inside = ((draws > low) & (draws < high)).mean(axis=0)
    assert (abs(inside - 0.95) < 0.02).all(), inside


def test_the_picture_shows_every_p_value_in_order(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(match_figure, "save_figure", lambda figure, path: shown.append((figure, path)))
    p = np.random.default_rng(1).random(50) ** 2
    save_quantiles(tmp_path / "q.png", p, 3.2e-4)
    ((figure, path),) = shown
    (axes,) = figure.get_axes()
    x, y = axes.get_lines()[1].get_data()
    np.testing.assert_array_equal(y, np.sort(p))
    np.testing.assert_allclose(x, np.arange(1, 51) / 51)
    assert "3.2e-04" in axes.get_title() or "0.00032" in axes.get_title()
    assert axes.get_xscale() == axes.get_yscale() == "log" and path.name == "q.png"


@pytest.mark.parametrize(("better", "said"), [(19, True), (10, False), (0, False)])
def test_a_wrong_hand_is_told(better, said):
    score, other = np.full(22, 0.3), np.full(22, 0.2)
    other[:better], other[20:] = 0.4, np.nan
    line = wrong_hand(SimpleNamespace(score=score, mirrored_score=other), False)
    assert (f"higher in {better} of 20" in line and line.endswith("with --mirror")) if said else line == ""
    if said:
        line = wrong_hand(SimpleNamespace(score=score, mirrored_score=other), True)
        assert line.endswith("without --mirror")
