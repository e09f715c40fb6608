"""What a model makes of every record of a data set: batches in, columns with one row a record out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from zoo.data.kinds import kind_of
from zoo.errors import ZooError

_SAME_SIZE = 0.01


def apply_to_batches(
    apply: Callable[[Mapping[str, np.ndarray]], Mapping[str, Any]],
    batches: Iterable[Mapping[str, np.ndarray]],
    features: Iterable[str],
    batch_size: int,
    kept: Iterable[str] = (),
) -> Iterator[dict[str, np.ndarray]]:
    """What ``apply`` makes of each batch, with the features ``kept`` as they are.

    ``apply`` gets ``features`` of batches of one size only, the last one filled up with copies of its last
    record, so that a compiled function is traced once. Memory holds one batch.
    """
    for batch in batches:
        given = {name: np.asarray(batch[name]) for name in features}
        count = len(next(iter(given.values())))
        missing = batch_size - count
        if missing > 0:
            given = {
                name: np.concatenate([each, np.repeat(each[-1:], missing, axis=0)])
                for name, each in given.items()
            }
        found = {name: np.asarray(values)[:count] for name, values in apply(given).items()}
        yield {**found, **{name: np.asarray(batch[name]) for name in kept}}


def rows_of(
    model, verb: str, info, batch_size: int = 128, kept: Iterable[str] = (), progress=None
) -> dict[str, np.ndarray]:
    """Columns of what an opened model's ``verb`` says of every record of ``info``, in record order.

    ``model`` is what `zoo.serving.open_model` opens; ``progress(done, total)`` is called after each batch.
    Raises ZooError where the model cannot do it, or the records have another box.
    """
    from zoo.data.records.batches import sequential_batches
    from zoo.data.records.particle_pipeline import readable_errors

    require_fit(model, info)
    features, kept = model.features(verb), list(kept)
    batch_size = min(batch_size, info.count) or 1
    parts, done = [], 0
    with readable_errors(info):
        batches = sequential_batches(info, batch_size)
        for part in apply_to_batches(
            lambda batch: model.apply(verb, batch), _with(batches, features, info), features, batch_size, kept
        ):
            parts.append(part)
            done += len(next(iter(part.values())))
            if progress:
                progress(done, info.count)
    if not parts:
        raise ZooError(f"{info.path}: holds no records; pack at least one")
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def require_fit(model, info) -> None:
    """Raise ZooError where records differ in box or kind from what an opened model was trained on.

    Another pixel size, and grey values that were normalised in another way, are told: `fit_notes`.
    """
    if model.box != info.box:
        raise ZooError(
            f"{info.path}: {_noun(info)} of {info.box} pixels, but the model was trained on {model.box}; "
            f"pack them again with --box {model.box}"
        )
    kind = model.trained_on.get("kind")
    if kind is not None and kind != info.kind:
        raise ZooError(f"{info.path}: {info.kind}, but the model was trained on {kind}")


def fit_notes(model, info) -> list[str]:
    """Lines for a person where records differ from those of the training in pixel size or normalisation."""
    return [note for note in (pixel_size_note(model, info), normalisation_note(model, info)) if note]


def normalisation_note(model, info) -> str:
    """A line where grey values were normalised in another way than those of the training, else ""."""
    ours, theirs = model.trained_on.get("normalisation"), info.normalisation.get("method")
    if ours is None or theirs is None or ours == theirs:
        return ""
    return (
        f"{info.path}: packed with --normalisation {theirs}, but the model was trained on data with "
        f"{ours}: their grey values may differ in scale, and what the model says of them means little then. "
        f"Pack with --normalisation {ours} if the values are what the model expects"
    )


def pixel_size_note(model, info) -> str:
    """A line for a person where records have another pixel size than a model was trained on, else ""."""
    ours, theirs = float(model.voxel_size_angstrom), float(info.voxel_size_angstrom)
    if not ours > 0 or abs(theirs / ours - 1) <= _SAME_SIZE:
        return ""
    return (
        f"{info.path}: {info.kind} of {theirs:.4g} Å per pixel, but the model was trained on {ours:.4g} Å: "
        f"a particle is {ours / theirs:.3g} times as large in pixels, and what the model says of it means "
        f"little. Rescale them to {ours:.4g} Å and pack again, or give zoo-pack --pixel-size if their "
        "file is wrong"
    )


def _noun(info) -> str:
    return "images" if kind_of(info).schema.ndim == 2 else "volumes"


def _with(batches, features, info) -> Iterator[dict[str, np.ndarray]]:
    for batch in batches:
        missing = [name for name in features if name not in batch]
        if missing:
            raise ZooError(
                f"{info.path}: {info.kind} have no {', '.join(missing)}, which the model reads; "
                "it was trained on another kind of data"
            )
        yield batch
