"""A volume whose voxels say what a tomogram shows there: whole numbers, with a name for each."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from zoo.data.formats.tomogram_blocks import TomogramBlocks
from zoo.errors import ZooError
from zoo.files import whole_file

BACKGROUND = "background"
MOST_LABELS = 128
_SAME_VOXEL = 0.01
_AROUND_VOXELS = 4


class LabelVolume:
    """Labels of the voxels of one tomogram: numbers 0 to 127 of a file → classes 0, 1, ... with ``names``.

    ``names_of`` names numbers; numbers of one name are one class, number 0 is the background unless it has a
    name. Without it the names are those of ``STEM.names.txt`` beside the file, or ``class_1`` and so on.
    ``numbers`` (128,) is the class of each number, ``counts`` (classes,) their voxels; ``contrast_sign`` is 1
    where what is labelled is brighter than the background around it, else -1, and 0 where there is no
    background. Everything is read when it is opened. Raises ZooError for another size or voxel than the
    tomogram's, for values that are no whole numbers, and where all voxels are of one class.
    """

    def __init__(self, path: str | os.PathLike, tomogram: TomogramBlocks, names_of: Mapping[int, str] | None):
        self._blocks = TomogramBlocks(path)
        self.path = self._blocks.path
        self._check_geometry(tomogram)
        counts = self._look()
        self.numbers, self.names = _classes(self.path, np.flatnonzero(counts), names_of)
        self.counts = np.bincount(self.numbers, counts, len(self.names)).astype(np.int64)
        if np.count_nonzero(self.counts) < 2:
            raise ZooError(
                f"{self.path}: all voxels are {self.names[0]}; expected labels of more than one kind"
            )
        self.contrast_sign = self._contrast(tomogram)

    def part(self, inside: tuple[slice, slice, slice]) -> np.ndarray:
        """Classes of a part of the tomogram (z, y, x), int8."""
        return self.numbers[self._blocks.read(inside).astype(np.intp)].astype(np.int8)

    def close(self) -> None:
        """Let go of the file; it is opened again when needed."""
        self._blocks.close()

    def _check_geometry(self, tomogram: TomogramBlocks) -> None:
        ours, theirs = (" x ".join(map(str, each.shape[::-1])) for each in (self._blocks, tomogram))
        if self._blocks.shape != tomogram.shape:
            raise ZooError(
                f"{self.path}: labels of {ours} voxels, the tomogram {tomogram.path} has {theirs}; give the "
                "labels of this tomogram, at its binning"
            )
        sizes = self._blocks.voxel_size_angstrom, tomogram.voxel_size_angstrom
        if min(sizes) > 0 and abs(sizes[0] / sizes[1] - 1) > _SAME_VOXEL and sizes[0] != 1:
            raise ZooError(
                f"{self.path}: voxels of {sizes[0]:.4g} Å, those of {tomogram.path} have {sizes[1]:.4g}; "
                "give the labels of this tomogram, at its binning"
            )

    def _section(self, z: int) -> tuple[slice, slice, slice]:
        return slice(z, z + 1), slice(0, self._blocks.shape[1]), slice(0, self._blocks.shape[2])

    def _look(self) -> np.ndarray:
        """Voxels (128,) of each number."""
        counts = np.zeros(MOST_LABELS)
        for z in range(self._blocks.shape[0]):
            found = self._blocks.read(self._section(z)).ravel()
            whole = np.isfinite(found) & (found == np.rint(found)) & (found >= 0) & (found < MOST_LABELS)
            if not whole.all():
                first = int(np.flatnonzero(~whole)[0])
                y, x = divmod(first, self._blocks.shape[2])
                raise ZooError(
                    f"{self.path}: voxel {x}, {y}, {z} (x, y, z from 0) is {found[first]:g}; labels are "
                    f"whole numbers from 0 to {MOST_LABELS - 1}"
                )
            counts += np.bincount(found.astype(np.intp), minlength=MOST_LABELS)
        return counts

    def _contrast(self, tomogram: TomogramBlocks) -> int:
        """The side of their surroundings, not of the whole with its padding, that labelled voxels are on."""
        difference, weight = 0.0, 0
        for z in range(self._blocks.shape[0]):
            labelled = self.part(self._section(z))[0] > 0
            if not labelled.any():
                continue
            around = ndimage.binary_dilation(labelled, iterations=_AROUND_VOXELS) & ~labelled
            values = tomogram.read(self._section(z))[0]
            finite = np.isfinite(values)  # what is not is refused where it is packed
            labelled, around = labelled & finite, around & finite
            if not labelled.any() or not around.any():
                continue
            count = int(labelled.sum())
            difference += count * float(values[labelled].mean() - values[around].mean())
            weight += count
        return 0 if not weight else 1 if difference >= 0 else -1


def parse_label_names(words: str) -> dict[int, str]:
    """``"1=membrane,2=ribosome"`` → {1: "membrane", 2: "ribosome"}; ZooError for anything else."""
    found: dict[int, str] = {}
    for word in words.split(","):
        number, equals, name = word.partition("=")
        if not equals or not number.strip().isdecimal() or int(number) in found or int(number) >= MOST_LABELS:
            raise ZooError(
                f"--label-names {words}: expected number=name for each label once, such as "
                "1=membrane,2=ribosome"
            )
        found[int(number)] = _good_name(name.strip(), f"--label-names {words}")
    return found


def names_file(path: str | os.PathLike) -> Path:
    """Where the names of the labels in the volume ``path`` stand: ``STEM.names.txt`` beside it."""
    path = Path(path)
    stem = path.name.removesuffix(".gz")
    return path.with_name(f"{Path(stem).stem}.names.txt")


def write_names(path: str | os.PathLike, names: Sequence[str]) -> None:
    """Write the names of labels 0, 1, ... beside the label volume ``path``: a number and a name a line."""
    with whole_file(names_file(path), "w") as file:
        file.writelines(f"{number} {name}\n" for number, name in enumerate(names))


def check_label_names(names: Sequence[str], where: str | os.PathLike) -> tuple[str, ...]:
    """``names`` of labels 0, 1, ... as a tuple; ZooError where two are alike, or one cannot be a name."""
    good = tuple(_good_name(str(name), str(where)) for name in names)
    if len(set(good)) < len(good):
        raise ZooError(
            f"{where}: labels of voxels are called {', '.join(good)}; expected a name of its own each"
        )
    return good


def _read_names(path: Path) -> dict[int, str] | None:
    if not path.is_file():
        return None
    found: dict[int, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split(maxsplit=1)
        if not words:
            continue
        if len(words) < 2 or not words[0].isdecimal() or int(words[0]) >= MOST_LABELS:
            raise ZooError(f"{path}: line {number}: {line[:60]!r}, expected a label's number and its name")
        found[int(words[0])] = _good_name(words[1].strip(), f"{path}: line {number}")
    return found


def _classes(path: str, present: np.ndarray, names_of: Mapping[int, str] | None):
    """Class (128,) of each number, and the names of the classes; class 0 is the background."""
    stated = _read_names(names_file(path)) if names_of is None else dict(names_of)
    known = {} if stated is None else stated
    unknown = [number for number in present.tolist() if number and number not in known]
    if unknown and stated is not None:
        where = names_file(path) if names_of is None else "--label-names"
        raise ZooError(
            f"{path}: holds label {unknown[0]}, which {where} does not name; name it "
            f"({unknown[0]}=background leaves it out)"
        )
    known = {0: BACKGROUND, **{number: f"class_{number}" for number in unknown}, **known}
    names = list(dict.fromkeys([BACKGROUND, *(known[number] for number in sorted(known))]))
    classes = np.zeros(MOST_LABELS, np.intp)
    for number, name in known.items():
        classes[number] = names.index(name)
    return classes, tuple(names)


def _good_name(name: str, where: str) -> str:
    if not name or len(name) > 60 or not name.isprintable() or set(name) & set(",=/\\"):
        raise ZooError(f"{where}: {name!r} is no name for a label; expected a word without , = and /")
    return name
