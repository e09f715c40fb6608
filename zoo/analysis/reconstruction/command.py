"""Everything of one reconstruction: from what was found at a place to a folder of maps and particle files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo.analysis.maps import write_overlay_script
from zoo.analysis.markers import RECONSTRUCTION
from zoo.analysis.reconstruction.class_files import ClassReport, write_class
from zoo.analysis.reconstruction.images import ParticleImages
from zoo.analysis.reconstruction.particle_columns import Said, write_particle_files
from zoo.analysis.reconstruction.refinement import Refinement, chance_level, reconstruct
from zoo.analysis.reconstruction.same_stack import require_same_images
from zoo.analysis.reconstruction.sources import Found
from zoo.analysis.reconstruction.volume import Poses
from zoo.data.formats.images import ImageReader
from zoo.data.formats.mrc import read_volume
from zoo.data.packing.pixel_sizes import check_pixel_sizes
from zoo.errors import ZooError
from zoo.ops.fourier_volume import euler_of_frames, frames_of_euler

_LEAST_BOX = 8
_FEWEST = 2  # particles of each half
_SHIFT_SHARE = 0.25  # of the box: as far as a particle may move from the middle


@dataclass(frozen=True)
class Wishes:
    """What a person asks for. ``box`` None: that of the images; ``rounds`` None: refine poses of a run, not
    those of a file; ``start_angstrom`` None: found from the FSC; ``bfactor_angstrom2`` None: from the map."""

    box: int | None = None
    rounds: int | None = None
    start_angstrom: float | None = None
    bfactor_angstrom2: float | None = None
    mask: Path | None = None
    seed: int = 0

    def check(self) -> None:
        """Raise ZooError for a number that cannot be."""
        if self.start_angstrom is not None and not self.start_angstrom > 0:
            raise ZooError(f"--start-resolution {self.start_angstrom:g}: expected a positive number of Å")
        if self.bfactor_angstrom2 is not None and not abs(self.bfactor_angstrom2) <= 1e4:
            raise ZooError(f"--b-factor {self.bfactor_angstrom2:g}: expected Å² between -10000 and 10000")


def choose_box(found: Found, own: int, box: int | None) -> int:
    """The box of the maps, even, at most that of the images and at least that of the run."""
    if box is None:
        return own - own % 2
    if box > own:
        raise ZooError(f"--box {box}: the images have {own} pixels; a larger box holds nothing more")
    if box < _LEAST_BOX or box % 2:
        raise ZooError(f"--box {box}: expected an even number from {_LEAST_BOX} to {own}")
    if box < found.run_box:
        raise ZooError(
            f"--box {box}: the run saw images of {found.run_box} pixels; a smaller box would lose what its "
            "poses know, choose that or a larger one"
        )
    return box


def open_images(found: Found, box: int | None, say: Callable[[str], None]) -> tuple[int, float]:
    """The box of the maps, ``box`` where it is given, and their voxel size in Å.

    ``say`` hears what a person should know of pixel sizes. Raises ZooError for stacks of several pixel sizes,
    for images that are not those that were packed, and as `choose_box`.
    """
    pixels = found.table.pixel_size_angstrom
    if found.info is not None and found.info.settings.get("rescale") and np.ptp(pixels) > 1e-4 * pixels.max():
        raise ZooError(
            f"{found.place}: packed with --rescale, images of {pixels.min():.5g} to {pixels.max():.5g} Å; "
            "stacks of one pixel size are reconstructed: select one optics group"
        )
    reader = ImageReader(found.table)
    for line in check_pixel_sizes(found.table, reader.headers, reader.box):
        say(f"note: {line}")
    chosen = choose_box(found, reader.box, box)
    if found.info is not None:
        require_same_images(found.info, found.table)
    return chosen, float(np.median(pixels)) * reader.box / chosen


def poses_at(found: Found, rows: np.ndarray, weights: np.ndarray, voxel_size_angstrom: float) -> Poses:
    """Poses of some particles in voxels, each counted by its weight."""
    shifts = -found.origin_angstrom[rows] / voxel_size_angstrom
    return Poses(
        frames_of_euler(found.euler_deg[rows]),
        shifts.astype(np.float32),
        np.asarray(weights, np.float32),
        found.halves.half[rows],
    )


def teller(
    progress: Callable[[int, int], None], say: Callable[[str], None], before: str = ""
) -> Callable[[int, int, str], None]:
    """What hears (done, total, words) of every batch: new words are said, numbers are progress."""
    last = ""

    def tell(done: int, total: int, words: str) -> None:
        nonlocal last
        if words != last:
            last = words
            say(f"{before}{words}")
        progress(done, total)

    return tell


def write_reconstruction(
    found: Found,
    folder: Path,
    wishes: Wishes,
    progress: Callable[[int, int], None] = lambda done, total: None,
    say: Callable[[str], None] = lambda text: None,
) -> list[ClassReport]:
    """Write into ``folder`` (which exists): a folder by class, particles.star or .cs, maps.cxc and
    reconstruction.json; returns what was found of each class.

    ``progress(done, total)`` hears of images, ``say`` of the steps.
    """
    wishes.check()
    box, voxel = open_images(found, wishes.box, say)
    mask = None if wishes.mask is None else _read_mask(wishes.mask, box, voxel)
    gain = np.zeros(len(found.table))
    said = Said(
        found.euler_deg.copy(),
        found.origin_angstrom.copy(),
        found.group + 1,
        found.probability,
        found.halves.half,
        gain,
    )
    rounds = (12 if found.one_model else 0) if wishes.rounds is None else wishes.rounds
    start = None if wishes.start_angstrom is None else max(2, round(box * voxel / wishes.start_angstrom))
    forget = found.one_model or start is not None
    reports, done = [], np.zeros(len(found.table), bool)
    for number, name in enumerate(found.names):
        rows = np.flatnonzero(found.group == number)
        half = found.halves.half[rows]
        sizes = [int((half == which).sum()) for which in (1, 2)]
        if min(sizes) < _FEWEST:
            say(f"{name}: left out: {sizes[0]} and {sizes[1]} particles in its halves, {_FEWEST} are needed")
            continue
        table = found.table.select(rows)
        images = ParticleImages(table, box, found.grey)
        poses = poses_at(found, rows, found.probability[rows], voxel)
        largest = float(max(_SHIFT_SHARE * box, np.abs(poses.shifts).max()))
        settings = Refinement(rounds, forget, start, largest, wishes.seed)
        result = reconstruct(images, poses, settings, teller(progress, say, f"{name}: "))
        chance = chance_level(images, result, wishes.seed)
        report = write_class(folder / name, name, result, voxel, chance, wishes.bfactor_angstrom2, mask)
        if rounds:
            said.euler_deg[rows] = euler_of_frames(result.poses.frames)
            said.origin_angstrom[rows] = -result.poses.shifts * voxel
        gain[rows] = result.gain
        done[rows] = True
        write_particle_files(folder / name, table, said.of(rows))
        reports.append(report)
        del result, images
    if not reports:
        raise ZooError(
            f"{found.place}: no class has {_FEWEST} particles in each half: nothing to reconstruct"
        )
    rows = np.flatnonzero(done)
    write_particle_files(folder, found.table.select(rows), said.of(rows))
    paths = [folder / report.name / "map.mrc" for report in reports]
    write_overlay_script(folder / "maps.cxc", paths, float(np.median([report.level for report in reports])))
    content = {
        "place": found.place,
        "source": found.table.known_source().path,
        "box": box,
        "voxel_size_angstrom": voxel,
        "half_sets": found.halves.words,
        "contrast_sign": found.grey.sign,
        "classes": [report.content() for report in reports],
    }
    (folder / RECONSTRUCTION).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return reports


def report_lines(reports: list[ClassReport], found: Found) -> list[str]:
    """What a person reads at the end, a line for each class and one for each remark."""
    lines = [f"half sets: {found.halves.words}"]
    for each in reports:
        words = f"{each.resolution_angstrom:.2f} Å" if each.resolution_angstrom else "nothing resolved"
        free = f"{each.unmasked_angstrom:.2f} Å" if each.unmasked_angstrom else "none"
        lines.append(
            f"{each.name}: {each.particles:,} particles ({each.halves[0]:,} + {each.halves[1]:,}), {words} "
            f"at FSC 0.143, corrected for the mask (without mask {free})"
        )
        if each.start_angstrom:
            given = f"{each.given_angstrom:.2f} Å" if each.given_angstrom else "none"
            lines.append(
                f"{each.name}: halves refined apart, they share their start up to {each.start_angstrom:.0f} "
                f"Å; FSC 0.143 of the poses as the run gave them: {given}"
            )
        lines += [f"{each.name}: {line}" for line in each.lines]
    if found.one_model and not any(each.start_angstrom for each in reports):
        lines.append(
            "the poses come from one run and were not refined apart here: so far the FSC is the run's"
        )
    return lines


def _read_mask(path: Path, box: int, voxel_size_angstrom: float) -> np.ndarray:
    mask, voxel = read_volume(path)
    if mask.shape != (box, box, box):
        raise ZooError(f"{path}: a mask of {mask.shape} voxels, expected a cube of {box}; resample it")
    if voxel > 0 and abs(voxel / voxel_size_angstrom - 1) > 0.01:
        raise ZooError(f"{path}: voxels of {voxel:g} Å, the maps have {voxel_size_angstrom:g} Å; resample it")
    if mask.min() < 0 or mask.max() > 1 or not mask.any():
        raise ZooError(f"{path}: values from {mask.min():g} to {mask.max():g}, a mask has 0 to 1 and some 1")
    return mask
