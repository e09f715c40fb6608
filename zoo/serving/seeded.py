"""Noise drawn inside a served function from a seed, so that a caller needs no random numbers."""

from collections.abc import Callable

SEED = "seed"


def is_noise(argument: str) -> bool:
    """True for arguments that take standard normal noise: ``noise`` and ``…_noise``."""
    return argument == "noise" or argument.endswith("_noise")


def seeded(function: Callable, arguments: dict) -> tuple[Callable, dict]:
    """(function, arguments) of an endpoint with all its noise arguments replaced by one int64 ``seed``.

    The draws are stateless (Philox): equal for equal seeds and batch sizes, on every device. An
    endpoint without noise is given back as it is. The batch size is that of the first argument.
    """
    noise = [name for name in arguments if is_noise(name)]
    if not noise:
        return function, arguments
    import tensorflow as tf

    others = {name: spec for name, spec in arguments.items() if name not in noise}
    first = next(iter(others))

    def draw_and_call(**tensors):
        seed = tensors.pop(SEED)
        count = tf.shape(tensors[first])[0]
        for index, name in enumerate(noise):
            shape, dtype = arguments[name]
            sizes = [count, *shape[1:]]
            # The index keeps two draws of one call independent of each other.
            pair = tf.stack([seed, tf.constant(index, tf.int64)])
            tensors[name] = tf.random.stateless_normal(sizes, pair, dtype=dtype, alg="philox")
        return function(**tensors)

    return draw_and_call, {**others, SEED: ((), "int64")}
