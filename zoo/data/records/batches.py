"""Records as NumPy batches: through tf.data where TensorFlow is installed, else read without it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping

import numpy as np

from zoo.data.kinds import kind_of

_SEED_OF_ROLE = 1_000_007


def has_tensorflow() -> bool:
    """Whether TensorFlow is installed (it is not imported)."""
    return importlib.util.find_spec("tensorflow") is not None


def pipeline_of(info):
    """The function that makes the tf.data batches of this kind of records."""
    return kind_of(info).batches


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


def training_batches(
    info, batch_size: int, seed: int, start_step: int, **options
) -> Iterator[dict[str, np.ndarray]]:
    """Endless shuffled batches from ``start_step`` on, keys as `zoo.data.records.pipeline.record_batches`.

    Of subtomograms: epochs that see each exactly once; these need TensorFlow.
    """
    if isinstance(info, Mapping) or has_tensorflow() or kind_of(info).schema.whole_epochs:
        return streams_of(info)(info, batch_size, seed, start_step, **options).as_numpy_iterator()
    return iter(kind_of(info).numpy_batches(info, batch_size, seed, start_step))


def sequential_batches(info, batch_size: int) -> Iterator[dict[str, np.ndarray]]:
    """Every record once, in record order (packing shuffled it); the last batch may be smaller."""
    kind = kind_of(info)
    if has_tensorflow() and kind.schema.ndim == 2:  # parsing many small records is faster there
        from zoo.data.records.pipeline import sequential_records

        yield from sequential_records(info, batch_size).as_numpy_iterator()
        return
    yield from kind.sequential_batches(info, batch_size)
