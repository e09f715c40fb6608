"""Histograms of the null with the templates in it: as pictures, and small ones in a page."""

from __future__ import annotations

from html import escape

import numpy as np

from zoo.analysis.figures import new_figure, save_figure

_NULL, _BEST, _OTHER, _LEVEL = "#56b4e9", "#d55e00", "#555555", "#009e73"
_LABELLED = 10
_BINS = 40
_WIDTH, _HEIGHT = 260, 60


def save_histogram(path, nulls, known, names, best: int, decoys, decoy_names, title: str) -> None:
    """Scores of the nulls (b,) as a histogram, those of the templates (k,) as lines.

    The ten highest templates have their name and rank, ``best`` is drawn in red, the score that one null in a
    hundred reaches in green, decoys as small triangles on the axis.
    """
    nulls, known = np.asarray(nulls, float), np.asarray(known, float)
    figure = new_figure(8.0, 4.4)
    axes = figure.add_subplot()
    axes.hist(nulls, bins=_BINS, color=_NULL, label=f"{len(nulls)} nulls")
    top = axes.get_ylim()[1] * 1.9
    axes.set_ylim(0, top)
    axes.axvline(np.quantile(nulls, 0.99), color=_LEVEL, label="1 % of the nulls")
    order = np.argsort(-known)
    for place, number in enumerate(order):
        colour = _BEST if number == best else _OTHER
        axes.axvline(known[number], color=colour, linestyle="--", linewidth=1.4 if number == best else 0.7)
        if place < _LABELLED:
            rank = 1 + int((nulls >= known[number]).sum()) + int((known > known[number]).sum())
            axes.annotate(
                f"{names[number]} ({rank})",
                (known[number], top * (0.985 - 0.052 * place)),
                textcoords="offset points",
                xytext=(3, 0),
                va="top",
                fontsize=7,
                color=colour,
            )
    decoys = np.asarray(decoys, float)  # NaN: the template itself, not drawn
    axes.plot(
        decoys, np.full(len(decoys), 0.012 * top), "^", color="#cc79a7", markersize=5, label="decoys: "
        + ", ".join(decoy_names)
    )  # fmt: skip
    low, high = min(nulls.min(), known.min()), max(nulls.max(), known.max())
    axes.set_xlim(low - 0.03 * (high - low), high + 0.22 * (high - low))
    axes.set(xlabel="constrained correlation", ylabel="nulls", title=title)
    axes.title.set_fontsize(9)
    figure.legend(loc="outside lower center", ncols=3, fontsize=6, frameon=False)
    save_figure(figure, path)


def save_quantiles(path, p, smaller: float) -> None:
    """p-values (n,) in order against those that n uniform ones would have: a Q-Q plot, logarithmic.

    Points below the line are smaller than uniform: something is there, or the null is too weak. The band
    holds 19 of 20 uniform ones at each place. ``smaller``: `zoo.metrics.p_values.smaller_than_uniform`.
    """
    expected, low, high = uniform_quantiles(len(p))
    figure = new_figure(5.2, 5.0)
    axes = figure.add_subplot()
    axes.fill_between(expected, low, high, color=_NULL, alpha=0.3, linewidth=0, label="95 % of uniform ones")
    axes.plot(expected, expected, color=_OTHER, linewidth=0.8)
    axes.plot(expected, np.sort(p), ".", color=_BEST, markersize=5, label=f"{len(p)} subtomograms")
    axes.set(xscale="log", yscale="log", xlabel="p-values if nothing were there", ylabel="p-values found",
             title=f"smaller than uniform? One-sided Kolmogorov-Smirnov: p = {smaller:.2g}")  # fmt: skip
    axes.title.set_fontsize(9)
    axes.legend(fontsize=7, frameon=False)
    save_figure(figure, path)


def uniform_quantiles(count: int):
    """Means of ``count`` uniform values in order, and the 2.5 and 97.5 % points of each: (n,), (n,), (n,)."""
    from scipy.stats import beta

    place = np.arange(1, count + 1)
    low, high = beta.ppf([[0.025], [0.975]], place, count + 1 - place)
    return place / (count + 1.0), low, high


def small_histogram(nulls, known, best: int) -> str:
    """The same without words, as SVG for a page."""
    nulls, known = np.asarray(nulls, float), np.asarray(known, float)
    low, high = float(min(nulls.min(), known.min())), float(max(nulls.max(), known.max()))
    span = max(high - low, 1e-9)
    counts, edges = np.histogram(nulls, bins=_BINS, range=(low, low + span))

    def x(value):
        return (value - low) / span * (_WIDTH - 4) + 2

    bars = "".join(
        f'<rect x="{x(left):.1f}" y="{_HEIGHT - bar:.1f}" width="{_WIDTH / _BINS:.1f}" height="{bar:.1f}"/>'
        for left, bar in zip(edges[:-1], counts / max(counts.max(), 1) * (_HEIGHT - 8), strict=True)
        if bar > 0
    )
    lines = "".join(
        f'<line x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{0 if at == best else 20}" y2="{_HEIGHT}" '
        f'stroke="{_BEST if at == best else _OTHER}" stroke-width="{2 if at == best else 0.5}"/>'
        for at, value in enumerate(known)
    )
    level = x(float(np.quantile(nulls, 0.99)))
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}"><g fill="{_NULL}">{bars}</g>{lines}'
        f'<line x1="{level:.1f}" x2="{level:.1f}" y1="8" y2="{_HEIGHT}" stroke="{_LEVEL}"/></svg>'
    )


def page_head(title: str, lines: list[str], picture: str) -> str:
    """The beginning of the page: title, lines of the summary, a picture by its name, head of the table."""
    words = "".join(f"<p>{escape(line)}</p>" for line in lines)
    head = "".join(
        f"<th>{each}</th>"
        for each in ("row", "subtomogram", "template", "score", "p", "q", "nulls and templates", "beaten by")
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>'
        "body{font:14px sans-serif;margin:2em}td,th{padding:2px 10px;text-align:left;border-bottom:"
        f"1px solid #ddd}}.no{{color:#888}}</style><h1>{escape(title)}</h1>{words}"
        f'<p><img src="{escape(picture)}" alt="p-values against uniform ones" width="400"></p>'
        "<p>Blue: scores of the nulls; red: the best template, grey: the others; green: what one null in a "
        "hundred reaches.</p>"
        f"<table><tr>{head}</tr>\n"
    )


def page_row(cells: list[str], picture: str | None, svg: str, beaten: str, called: bool) -> str:
    """A row of the page; ``picture`` is the name of the large histogram, where there is one."""
    row = [escape(cell) for cell in cells]
    shown = f'<a href="{escape(picture)}">{svg}</a>' if picture else svg
    body = "".join(f"<td>{cell}</td>" for cell in [*row, shown, escape(beaten)])
    return f'<tr class="{"yes" if called else "no"}">{body}</tr>\n'
