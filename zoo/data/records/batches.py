"""Records as NumPy batches: through tf.data where TensorFlow is installed, else read without it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping

import numpy as np

_SEED_OF_ROLE = 1_000_007


def has_tensorflow() -> bool:
    """Whether TensorFlow is installed (it is not imported)."""
    return importlib.util.find_spec("tensorflow") is not None


def pipeline_of(info):
    """The function that makes the tf.data batches of this kind of records."""
    if info.kind == "subtomograms":
        from zoo.data.records.subtomogram_pipeline import subtomogram_batches

        return subtomogram_batches
    from zoo.data.records.particle_pipeline import particle_batches

    return particle_batches


def streams_of(info):
    """As `pipeline_of`, for a DatasetInfo or a dict of them by role: then batches are dicts by role.

    Each role's stream has a seed of its own, so that two of the same kind are not read in step.
    """
    if not isinstance(info, Mapping):
        return pipeline_of(info)
    import tensorflow as tf

    def stream(info, batch_size: int, seed: int, *more, **options):
        parts = {
            role: pipeline_of(each)(each, batch_size, seed + _SEED_OF_ROLE * i, *more, **options)
            for i, (role, each) in enumerate(info.items())
        }
        return tf.data.Dataset.zip(parts)

    return stream


def training_batches(info, batch_size: int, seed: int, start_step: int) -> Iterator[dict[str, np.ndarray]]:
    """Endless shuffled batches from ``start_step`` on, keys as `particle_batches`.

    Of subtomograms: epochs that see each exactly once, ``zoo.data.records.subtomogram_pipeline``.
    """
    if isinstance(info, Mapping) or has_tensorflow() or info.kind == "subtomograms":
        return streams_of(info)(info, batch_size, seed, start_step).as_numpy_iterator()
    from zoo.data.records.numpy_particles import numpy_batches

    return iter(numpy_batches(info, batch_size, seed, start_step))


def sequential_batches(info, batch_size: int) -> Iterator[dict[str, np.ndarray]]:
    """Every record once, in record order (packing shuffled it); the last batch may be smaller."""
    if info.kind == "subtomograms":
        from zoo.data.records.numpy_subtomograms import sequential_arrays

        yield from sequential_arrays(info, batch_size)
        return
    if has_tensorflow():
        from zoo.data.records import particle_pipeline

        yield from particle_pipeline.sequential_batches(info, batch_size).as_numpy_iterator()
        return
    from zoo.data.records.numpy_particles import load_arrays

    arrays = load_arrays(info)
    for start in range(0, info.count, batch_size):
        batch = {name: column[start : start + batch_size] for name, column in arrays.items()}
        yield {**batch, "image": batch["image"].astype(np.float32)}
