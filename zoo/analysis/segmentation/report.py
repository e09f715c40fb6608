"""What a segmentation holds, for a person: volumes and pieces of each class, a picture, a ChimeraX script."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zoo.analysis.figures import new_figure, save_figure
from zoo.analysis.label_figure import label_colours, label_legend
from zoo.analysis.maps import cluster_colour
from zoo.analysis.markers import SEGMENTATION
from zoo.analysis.segmentation.pieces import in_words
from zoo.analysis.segmentation.segment import Segmented
from zoo.data.formats.tomogram_scale import Blocks
from zoo.files import whole_file
from zoo.metrics.overlap import dice, intersection_over_union

_SECTIONS = (0.25, 0.5, 0.75)
_MOST_PIXELS = 700
_OPACITY = 0.5


def write_classes(
    path: Path, names: Sequence[str], found: Segmented, pieces: list[np.ndarray], voxel_size_angstrom: float
) -> list[str]:
    """Write classes.csv, a row for each class; returns a line for a person about each.

    Volumes are in Å³; ``mean_probability`` is that of the class in its own voxels. Where the truth is known
    there are intersection over union and Dice.
    """
    cubic = voxel_size_angstrom**3
    scores = {}
    if found.truth is not None:
        scores = {"iou": intersection_over_union(**found.truth), "dice": dice(**found.truth)}
    lines = []
    with whole_file(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["class", "name", "voxels", "volume_angstrom3", "share", "pieces",
                         "largest_piece_angstrom3", "mean_probability", *scores])  # fmt: skip
        for number, name in enumerate(names):
            count, sizes = int(found.voxels[number]), pieces[number]
            share = count / max(int(found.voxels.sum()), 1)
            known = [len(sizes), f"{sizes[0] * cubic:.6g}" if len(sizes) else "0"] if number else ["", ""]
            numbers = [f"{count * cubic:.6g}", f"{share:.6g}", *known, f"{found.certainty[number]:.4f}"]
            row = [number, name, count, *numbers]
            writer.writerow([*row, *(f"{values[number]:.4f}" for values in scores.values())])
            line = f"{number} {name}: {share:.2%} of the voxels, {count * cubic:.3g} Å³"
            line += f", {in_words(sizes, voxel_size_angstrom)}" if number else ""
            if scores and found.truth is not None and found.truth["true"][number]:
                line += f"; intersection over union with the truth {scores['iou'][number]:.3f}"
            lines.append(line)
    return lines


def save_sections(path: Path, grey: Blocks, labels: Blocks, names: Sequence[str]) -> None:
    """Draw three sections of a tomogram, each beside itself with its classes in colours (PNG)."""
    table = label_colours(len(names) - 1, _OPACITY)
    depth, height, width = grey.shape
    chosen = list(dict.fromkeys(min(int(share * depth), depth - 1) for share in _SECTIONS))
    figure = new_figure(7.2, 3.5 * len(chosen) * min(height / width, 2.0) + 0.6)
    panels = figure.subplots(len(chosen), 2, squeeze=False)
    step = max(max(height, width) // _MOST_PIXELS, 1)
    for row, z in enumerate(chosen):
        section = slice(z, z + 1), slice(0, height), slice(0, width)
        plane = grey.read(section)[0][::step, ::step]
        dark, bright = np.percentile(plane, (0.5, 99.5))
        for column, panel in enumerate(panels[row]):
            panel.set(xticks=[], yticks=[])
            panel.imshow(plane, cmap="gray", vmin=dark, vmax=bright, origin="lower")
            if column:
                classes = labels.read(section)[0][::step, ::step].astype(int)
                panel.imshow(table[classes], origin="lower", interpolation="nearest")
            panel.set_title(f"z = {z}", fontsize="small")
    label_legend(figure, names[1:])
    save_figure(figure, path)


def chimerax_script(
    names: Sequence[str], tomogram: str, folder: str | os.PathLike, levels: bool, depth: int
) -> str:
    """ChimeraX commands: the middle section of the tomogram, and a surface of each class.

    Surfaces are where a class has a probability of 0.5 (``levels``), or of the classes themselves.
    """
    place = os.path.relpath(tomogram, os.path.abspath(folder))
    lines = [f'open "{place}"', "volume #1 style image", f"volume #1 plane z,{depth // 2}"]
    for number, name in enumerate(names[1:], 1):
        model = number + 1
        if levels:
            lines += [f'open "probability_{name}.mrc"']
            surface = f"volume #{model} style surface step 1 level 0.5"
        else:
            lines += [f"open {SEGMENTATION}"]
            surface = f"volume #{model} style surface step 1 level {number - 0.5:g}"
        lines.append(f"{surface} color {cluster_colour(number)}")
    return "\n".join([*lines, "view", ""])
