"""What is drawn and said of p-values and hands."""

from types import SimpleNamespace

import numpy as np

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


def hands(gain):
    score = np.full(len(gain), 0.3)
    return SimpleNamespace(score=score, mirrored_score=score + gain)


def test_a_wrong_hand_is_told_and_a_right_one_is_not():
    """Few large gains among many small losses say it as well as most do: where the signal is weak."""
    gain = np.concatenate([np.linspace(0.02, 0.07, 12), np.linspace(-0.012, 0.012, 20), [np.nan, np.nan]])
    line = wrong_hand(hands(gain), False)
    assert f"higher in {(gain > 0).sum()} of 32" in line and line.endswith("with --mirror")
    assert wrong_hand(hands(gain), True).endswith("without --mirror")
    assert wrong_hand(hands(-gain), False) == ""
    assert wrong_hand(hands(gain[:7]), False) == ""  # too few
    for nothing in (np.zeros(20), np.full(20, np.nan)):  # all templates are their own mirror images
        assert wrong_hand(hands(nothing), False) == ""


def test_noise_seldom_says_that_the_hand_is_wrong():
    """The best of two templates against one mirror image: below the level, for the best was chosen."""
    rng = np.random.default_rng(0)
    said = [bool(wrong_hand(hands(rng.normal(size=40) - rng.normal(size=(2, 40)).max(axis=0)), False))
            for _ in range(200)]  # fmt: skip
    assert np.mean(said) < 0.02
