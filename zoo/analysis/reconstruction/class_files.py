"""The files of one reconstructed class: maps, curves, figures, and what a person should be told of it."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from zoo.analysis.figures import new_figure, save_figure, save_slices
from zoo.analysis.maps import contour_level
from zoo.analysis.reconstruction.refinement import Reconstructed
from zoo.analysis.reconstruction.volume import THRESHOLD, filled_shells
from zoo.data.formats.mrc import write_volume
from zoo.files import whole_file
from zoo.metrics.corrected_fsc import CorrectedFsc, Guinier, corrected_fsc, guinier_fit, sharpened
from zoo.metrics.fsc import resolution_at
from zoo.metrics.mask import density_mask, sphere_mask

_GUINIER_FROM_ANGSTROM = 10.0
_CHANCE = 4.0
_LEAST_SHELL = 2.0


@dataclass
class ClassReport:
    """What reconstruction.json says of a class; resolutions in Å, None where there is none."""

    name: str
    particles: int
    halves: list[int]
    resolution_angstrom: float | None
    unmasked_angstrom: float | None
    given_angstrom: float | None
    start_angstrom: float | None
    bfactor_angstrom2: float
    low_pass_angstrom: float
    level: float
    chance_level: float | None
    rounds: list[dict] = field(default_factory=list)
    chosen_round: int = 0
    lines: list[str] = field(default_factory=list)

    def content(self) -> dict:
        """As JSON holds it."""
        return asdict(self)


def write_class(
    folder: Path,
    name: str,
    found: Reconstructed,
    voxel_size_angstrom: float,
    chance: float | None,
    bfactor_angstrom2: float | None = None,
    mask: np.ndarray | None = None,
) -> ClassReport:
    """Write half maps, unfiltered, filtered and sharpened map, mask, FSC and Guinier plot into ``folder``.

    ``mask`` (box, box, box) None: made from the density. ``bfactor_angstrom2`` None: from the Guinier plot,
    where the resolution allows one.
    """
    folder.mkdir()
    volume, box, voxel = found.volume, found.volume.grid.box, voxel_size_angstrom
    raw = [volume.raw(0), volume.raw(1)]
    whole = volume.raw()
    sizes = [int((found.poses.half == half).sum()) for half in (1, 2)]
    lines = []
    filled = filled_shells(sum(sizes))
    limit = min(filled, volume.grid.radius)
    if filled < volume.grid.radius:
        lines.append(
            f"{sum(sizes)} particles are few for a box of {box}: their slices fill shells up to {filled}, so "
            f"the maps are low-passed at {box * voxel / filled:.3g} Å"
        )
    density = volume.filtered(found.fsc, band=max(2, resolution_at(found.fsc, 0.5).shell / 2))
    mask = _mask_of(density) if mask is None else mask
    curves = corrected_fsc(raw[0], raw[1], mask)
    shell = min(resolution_at(curves.corrected, THRESHOLD).shell, limit)
    resolution = box * voxel / shell if shell >= 1 else None
    low_pass = box * voxel / max(shell, _LEAST_SHELL)
    if resolution is None:
        lines.append("the half maps do not agree in the first shell: nothing is resolved")
    elif shell >= volume.grid.radius:
        lines.append(
            f"the FSC is above {THRESHOLD} up to the last shell: the box of {box} limits the resolution"
        )
    filtered = volume.filtered(found.fsc, band=max(min(shell, limit), _LEAST_SHELL))
    weight = np.sqrt(2 * np.clip(curves.corrected, 0, 1) / (1 + np.clip(curves.corrected, 0, 1)))
    plot = guinier_fit(whole, voxel, _GUINIER_FROM_ANGSTROM, low_pass, weight)
    if bfactor_angstrom2 is None:
        bfactor_angstrom2 = 0.0 if plot is None else min(plot.bfactor_angstrom2, 0.0)
        if plot is None:
            lines.append(
                f"not sharpened: a Guinier plot needs 5 shells beyond {_GUINIER_FROM_ANGSTROM:g} Å, the "
                f"resolution is {low_pass:.3g} Å; --b-factor sets one"
            )
    sharp = sharpened(whole, curves.corrected, voxel, bfactor_angstrom2, low_pass)
    if chance is not None and chance < _CHANCE:
        lines.append(
            f"the poses are at chance: they explain the images no better than the poses of other particles "
            f"({chance:.1f} standard errors); the map means nothing"
        )
    files = {
        "map_half1_unfil": raw[0],
        "map_half2_unfil": raw[1],
        "map_unfil": whole,
        "map": filtered,
        "map_sharpened": sharp,
        "mask": mask,
    }
    for stem, each in files.items():
        write_volume(folder / f"{stem}.mrc", np.asarray(each, np.float32), voxel)
    _write_fsc(folder, curves, found, box * voxel)
    _write_guinier(folder, whole, voxel, plot, weight, bfactor_angstrom2)
    level = contour_level(filtered)
    save_slices(
        folder / "slices.png",
        np.stack([filtered, sharp * _scale(sharp, filtered)]),
        ["map", "sharpened"],
        level,
    )
    return ClassReport(
        name,
        sum(sizes),
        sizes,
        resolution,
        _angstrom(curves.unmasked, box * voxel),
        _angstrom(found.given_fsc, box * voxel),
        None if found.start_shell is None else box * voxel / found.start_shell,
        bfactor_angstrom2,
        low_pass,
        level,
        chance,
        [
            {
                "band_shell": each.band,
                "fsc_0.143_shell": each.shell,
                "turn_deg": each.turn_deg,
                "move_px": each.move_px,
                "drift_deg": each.drift_deg,
                "drift_px": each.drift_px,
            }
            for each in found.rounds
        ],
        found.chosen,
        lines,
    )


def _scale(volume, like):
    spread = volume.std()
    return like.std() / spread if spread > 0 else 1.0


def _mask_of(density: np.ndarray) -> np.ndarray:
    """Soft mask about the density above its contour; a sphere where there is nothing to mask."""
    box = density.shape[0]
    inside = density * sphere_mask(box)
    level = contour_level(inside)
    if not 0 < (inside > level).mean() < 0.5:
        return sphere_mask(box)
    return density_mask(inside, level, max(2.0, 0.02 * box), max(4.0, 0.03 * box)) * sphere_mask(box)


def _angstrom(curve, edge_angstrom) -> float | None:
    shell = resolution_at(curve, THRESHOLD).shell
    return edge_angstrom / shell if shell >= 1 else None


def _write_fsc(folder: Path, curves: CorrectedFsc, found: Reconstructed, edge_angstrom: float) -> None:
    frequency = np.arange(len(curves.unmasked)) / edge_angstrom
    with whole_file(folder / "fsc.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["shell", "frequency_per_angstrom", "fsc_unmasked", "fsc_masked", "fsc_random_phases"]
            + ["fsc_corrected", "fsc_of_given_poses"]
        )
        columns = (curves.unmasked, curves.masked, curves.random, curves.corrected, found.given_fsc)
        for shell in range(1, len(frequency)):
            row = [f"{column[shell]:.6f}" for column in columns]
            writer.writerow([shell, f"{frequency[shell]:.6g}", *row])
    figure = new_figure(6, 4)
    axes = figure.add_subplot()
    names = {"corrected": "black", "masked": "#0072b2", "unmasked": "#009e73", "random": "#d55e00"}
    for name, colour in names.items():
        words = {"random": "masked, random phases", "corrected": "corrected for the mask"}.get(name, name)
        axes.plot(frequency[1:], getattr(curves, name)[1:], color=colour, label=words)
    if found.start_shell is not None:
        axes.axvline(found.start_shell / edge_angstrom, color="grey", linestyle=":", linewidth=1)
        axes.plot(
            frequency[1:], found.given_fsc[1:], color="grey", linestyle="--", linewidth=0.8,
            label="poses as given",
        )  # fmt: skip
        axes.text(
            found.start_shell / edge_angstrom, 0.02, " start shared to here", fontsize="x-small", color="grey"
        )
    axes.axhline(THRESHOLD, color="grey", linewidth=0.8)
    axes.set(xlabel="spatial frequency (1/Å)", ylabel="FSC of independent half maps", ylim=(-0.1, 1.02))
    axes.legend(fontsize="small")
    save_figure(figure, folder / "fsc.png")


def _write_guinier(folder: Path, whole, voxel, plot: Guinier | None, weight, bfactor) -> None:
    nothing = guinier_fit(whole, voxel, np.inf, 2 * voxel, weight)
    shown = plot or nothing
    figure = new_figure(5, 3.5)
    axes = figure.add_subplot()
    if shown is not None:
        good = np.isfinite(shown.log_amplitude) & (shown.inverse_square > 0)
        axes.plot(
            shown.inverse_square[good], shown.log_amplitude[good], ".", color="#0072b2", label="FSC-weighted"
        )
    if plot is not None:
        x = plot.inverse_square[plot.fitted]
        words = f"fit: B = {plot.bfactor_angstrom2:.0f} Å²"
        axes.plot(x, plot.intercept + plot.slope * x, color="#d55e00", label=words)
    axes.set(xlabel="1/d² (1/Å²)", ylabel="ln mean amplitude", title=f"sharpened with B = {bfactor:.0f} Å²")
    axes.legend(fontsize="small")
    save_figure(figure, folder / "guinier.png")
