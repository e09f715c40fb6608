"""What was matched → STAR files, a table of all scores, histograms, a page, a summary."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from scipy import stats

from zoo.analysis.matching.decoys import DECOYS
from zoo.analysis.matching.judge import Verdicts, judge
from zoo.analysis.matching.match_figure import (
    page_head,
    page_row,
    save_histogram,
    save_quantiles,
    small_histogram,
)
from zoo.analysis.matching.match_run import MatchRun
from zoo.analysis.selection import write_selection
from zoo.errors import ZooError
from zoo.files import whole_file, write_json
from zoo.metrics.p_values import MODELS, smaller_than_uniform

STAR, PASSING, TABLE, PAGE, PICTURES, QUANTILES = (
    "matches.star",
    "passing.star",
    "scores.csv",
    "index.html",
    "histograms",
    "quantiles.png",
)

LEAST_FOR_HAND, HAND_LEVEL = 8, 0.05


def check_fdr(fdr: float) -> None:
    """Raise ZooError for a rate that is none."""
    if not 0 < fdr < 1:
        raise ZooError(f"--fdr {fdr:g}: a rate of false discoveries lies between 0 and 1")


def write_report(
    folder: Path, run: MatchRun, fdr: float, pictures: int, voxel_size_angstrom: float, marker: str
) -> tuple[Verdicts, list[str]]:
    """Write everything into ``folder``; returns the `Verdicts` and the lines of the summary."""
    found = judge(run.parts())
    table = run.reader.table
    names = np.array(run.names)
    columns = star_columns(found, run.names, voxel_size_angstrom)
    write_selection(table, table.source_row, folder / STAR, columns)
    called = found.q <= fdr
    if called.any():
        part = {name: values[called] for name, values in columns.items()}
        write_selection(table, table.source_row[called], folder / PASSING, part)
    images = table.image_names()
    lines = summary(found, run, fdr)
    _write_table(folder / TABLE, run, found, images)
    (folder / PICTURES).mkdir(exist_ok=True)
    save_quantiles(folder / QUANTILES, found.p, smaller_than_uniform(found.p))
    with whole_file(folder / PAGE, "w") as page:
        page.write(page_head("Templates and nulls", lines, QUANTILES))
        for scores in run.parts():
            for row, number in enumerate(scores.rows.tolist()):
                best = int(scores.best[row])
                picture = None
                beaten = ", ".join(found.beaten_by(number))
                p, q = f"{found.p[number]:.3g}", f"{found.q[number]:.3g}"
                if number < pictures:
                    picture = f"{PICTURES}/{number + 1:06d}.png"
                    title = (
                        f"{images[number]}: {names[best]}, p = {p} ({MODELS[found.model[number]]}), q = {q}"
                    )
                    save_histogram(
                        folder / picture, scores.nulls[row], scores.known[row], run.names, best,
                        scores.decoys[row], DECOYS, title
                    )  # fmt: skip
                cells = [str(int(table.source_row[number]) + 1), images[number], names[best],
                         f"{found.score[number]:.4f}", p, q]  # fmt: skip
                svg = small_histogram(scores.nulls[row], scores.known[row], best)
                page.write(page_row(cells, picture, svg, beaten, bool(called[number])))
        page.write("</table></html>\n")
    write_json(
        folder / marker,
        {
            "subtomograms": len(found),
            "templates": run.names,
            "nulls": found.nulls,
            "null": run.source.words,
            "fdr": fdr,
            "called": int(called.sum()),
            "left_out": run.left_out(),
            "latents": run.latent_facts(),
            "summary": lines,
        },
    )
    return found, lines


def star_columns(found: Verdicts, names: list[str], voxel_size_angstrom: float) -> dict[str, np.ndarray]:
    """Columns of the STAR file, (n,) each: RELION's pose, and ``zoo…`` for what it has no name for."""
    euler_deg, origin = found.euler_deg(), -found.shifts * voxel_size_angstrom
    columns = {f"rlnAngle{name}": euler_deg[:, axis] for axis, name in enumerate(("Rot", "Tilt", "Psi"))}
    columns |= {f"rlnOrigin{name}Angst": origin[:, axis] for axis, name in enumerate("XYZ")}
    return {
        **columns,
        "rlnClassNumber": found.best + 1,
        "zooTemplate": np.array([name.replace(" ", "_") for name in names])[found.best],
        "zooMatchScore": found.score,
        "zooPValue": found.p,
        "zooQValue": found.q,
        "zooPValueRank": found.p_rank,
        "zooPValueShare": found.p_share,
        "zooPValueFrom": np.array(MODELS)[found.model],
    }


def summary(found: Verdicts, run: MatchRun, fdr: float) -> list[str]:
    """Lines for a person."""
    called = found.q <= fdr
    lines = [
        f"{len(found)} subtomograms, {found.templates} templates, {found.nulls} nulls for each: "
        f"{run.settings.count} of {run.source.words}, and {len(DECOYS)} decoys",
        f"{int(called.sum())} called at a false discovery rate of {100 * fdr:g} % ({PASSING})"
        if called.any()
        else f"none called at a false discovery rate of {100 * fdr:g} %: no {PASSING}",
    ]
    counts = np.bincount(found.best[called], minlength=found.templates)
    if called.any():
        lines.append(
            "called: " + ", ".join(f"{run.names[k]} {counts[k]}" for k in np.argsort(-counts) if counts[k])
        )
    models = np.bincount(found.model, minlength=len(MODELS))
    lines.append(
        "p-values from "
        + ", ".join(f"{name} {count}" for name, count in zip(MODELS, models, strict=True) if count)
        + f"; of the best of {found.templates} templates each (Sidak): ranks of {found.nulls} nulls alone "
        f"say no less than {1 - (1 - 1 / (1 + found.nulls)) ** found.templates:.2g}"
    )
    lines.append(
        f"p-values smaller than uniform ones: p = {smaller_than_uniform(found.p):.2g} by a one-sided "
        f"Kolmogorov-Smirnov test ({QUANTILES})"
    )
    if hint := wrong_hand(found, run.mirror):
        lines.append(hint)
    for number, name in enumerate(DECOYS):
        beats = int((found.beaten[:, number] & called).sum())
        if beats:
            lines.append(f"a decoy scores as high as the best template in {beats} of those called: {name}")
    left = ", ".join(f"{name} {count}" for name, count in run.left_out().items() if count)
    vague = [name for name, facts in run.latent_facts().items() if not facts["meaningful"]]
    if vague:
        lines.append(f"the latents of the turns of {', '.join(vague)} make no density that means something")
    if left:
        lines.append(f"draws that are too like a template are not in its null: {left}")
    return lines


def wrong_hand(found: Verdicts, mirror: bool) -> str:
    """A line where mirror images of the best templates fit better than these (signed ranks), else "".

    The best template was chosen for its score and its mirror image was not, so that by chance the image
    scores less: the test errs on the side of silence.
    """
    told = np.isfinite(found.mirrored_score)
    gain = (found.mirrored_score - found.score)[told]
    if len(gain) < LEAST_FOR_HAND or not gain.any():
        return ""
    if stats.wilcoxon(gain, alternative="greater").pvalue > HAND_LEVEL:
        return ""
    return (
        f"the mirror image of the best template scores {gain.mean():.2g} more on average, and higher in "
        f"{(gain > 0).sum()} of {len(gain)}: the tomograms may have the other hand; try it "
        f"{'without' if mirror else 'with'} --mirror"
    )


def _write_table(path: Path, run: MatchRun, found: Verdicts, images: list[str]) -> None:
    names, table = run.names, run.reader.table
    head = ["row", "subtomogram", "template", "score", "p", "q", "p_rank", "p_share", "p_one", "p_from",
            "tail_fit_p", "second_template", "second_score", "beaten_by"]  # fmt: skip
    with whole_file(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*head, *(f"score:{name}" for name in names), *(f"decoy:{name}" for name in DECOYS)])
        for part in run.parts():
            for row, number in enumerate(part.rows.tolist()):
                second = int(found.second[number])
                values = [found.score, found.p, found.q, found.p_rank, found.p_share, found.p_one]
                writer.writerow(
                    [
                        int(table.source_row[number]) + 1,
                        images[number],
                        names[int(found.best[number])],
                        *(f"{float(each[number]):.6g}" for each in values),
                        MODELS[found.model[number]],
                        f"{found.fit_p[number]:.3g}",
                        names[second] if second >= 0 else "",
                        f"{found.second_score[number]:.6g}",
                        " ".join(found.beaten_by(number)),
                        *(f"{score:.6g}" for score in part.known[row]),
                        *(f"{score:.6g}" for score in part.decoys[row]),
                    ]
                )
