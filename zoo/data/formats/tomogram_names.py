"""Which rows of a list of places belong to one tomogram, under the names that programs give it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from zoo.errors import ZooError

# RELION 5 reconstructs TS_01 as rec_TS_01.mrc, Warp TS_1.tomostar as TS_1_10.00Apx.mrc, IMOD as TS_1_rec.mrc
_SUFFIX = re.compile(
    r"(?<=.)\.(mrcs?|rec|st|ali|map|ccp4|em|hdf5?|h5|zarr|tomostar|mdoc|xml|tiff?|eer|gz|bz2)$", re.IGNORECASE
)
_PREFIXES = (re.compile(r"^rec_(?=.)"),)
_ENDINGS = (
    re.compile(r"(?<=.)_\d+(\.\d+)?Apx$"),
    re.compile(r"(?<=.)_(full_)?rec$"),
    re.compile(r"(?<=.)[_.](bin|b)\d+$"),
    re.compile(r"(?<=.)_(Vol|EVN|ODD|half[12]|deconv|corrected|denoised|filtered)$", re.IGNORECASE),
)


def tomogram_stem(name: str) -> str:
    """The name of a tomogram without folders and file suffixes; other dots stay (``TS_01.v2``)."""
    stem = PurePosixPath(str(name).strip().replace("\\", "/")).name
    while (shorter := _SUFFIX.sub("", stem)) != stem:
        stem = shorter
    return stem


def name_variants(name: str) -> set[str]:
    """The stem of a name, and what is left of it without the usual prefixes and endings of programs."""
    found, todo = set(), [tomogram_stem(name)]
    while todo:
        stem = todo.pop()
        if stem and stem not in found:
            found.add(stem)
            todo += [tomogram_stem(pattern.sub("", stem)) for pattern in (*_PREFIXES, *_ENDINGS)]
    return found


def rows_of_tomogram(
    path: str, column: str, names: Sequence, tomogram: str, wanted: str | None = None
) -> np.ndarray:
    """Indices of the rows whose name in ``column`` is that of ``tomogram`` (or ``wanted``, as spelt).

    The same stem counts first, then names that differ by usual prefixes and endings (``rec_``,
    ``_10.00Apx``). Raises ZooError where none matches, and where several names do.
    """
    names = [str(name).strip() for name in names]
    distinct = sorted(set(names))
    if wanted is not None:
        matching = [name for name in distinct if wanted in (name, tomogram_stem(name))]
    else:
        stem = tomogram_stem(tomogram)
        matching = [name for name in distinct if tomogram_stem(name) == stem]
        if not matching:
            variants = name_variants(tomogram)
            matching = [name for name in distinct if variants & name_variants(name)]
    stems = sorted({tomogram_stem(name) for name in matching})
    if len(stems) > 1:
        raise ZooError(
            f"{path}: {column} names {' and '.join(stems[:5])}, and {tomogram_stem(tomogram)} may be each of "
            "them; say which with --tomogram-name"
        )
    if not matching:
        known = ", ".join(sorted({tomogram_stem(name) for name in distinct})[:10])
        sought = wanted if wanted is not None else tomogram_stem(tomogram)
        raise ZooError(
            f"{path}: no row belongs to tomogram {sought}: {column} names {known}; give its tomogram, or the "
            "name of this one in the file with --tomogram-name"
        )
    chosen = set(matching)
    return np.array([row for row, name in enumerate(names) if name in chosen], dtype=np.int64)
