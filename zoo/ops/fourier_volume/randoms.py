"""Random numbers as pure functions of (seed, stream, step, index): a resumed run draws the same."""

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def generator(seed: int, stream: int, step: int) -> np.random.Generator:
    """Philox keyed with (seed, stream, step): streams tell apart what one step draws for several ends."""
    key = np.array([np.uint64(seed % (1 << 63)), np.uint64((stream << 40) + step)], np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def uniforms(seed: int, stream: int, step: int, index: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1) ``(n,)`` float64, one for each ``index (n,)`` whatever its place in the batch.

    SplitMix64 (Steele, Lea & Flood 2014) of a counter made of index and a key of the rest.
    """
    key = generator(seed, stream, step).integers(0, 1 << 63, dtype=np.uint64)
    with np.errstate(over="ignore"):
        z = key + (np.asarray(index).astype(np.uint64) + np.uint64(1)) * _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
