"""Noise drawn inside a served function from a seed, so that a caller needs no random numbers."""

from zoo.models.endpoint import Endpoint, Input

SEED = "seed"


def seeded(endpoint: Endpoint) -> Endpoint:
    """The endpoint with all its inputs of the role noise replaced by one int64 ``seed``.

    The draws are stateless (Philox): equal for equal seeds and batch sizes, on every device. An
    endpoint without noise is given back as it is. The batch size is that of the first other input.
    """
    noise = endpoint.of_role("noise")
    if not noise:
        return endpoint
    import tensorflow as tf

    others = {name: each for name, each in endpoint.inputs.items() if name not in noise}
    first = next(iter(others))

    def draw_and_call(**tensors):
        seed = tensors.pop(SEED)
        count = tf.shape(tensors[first])[0]
        for index, name in enumerate(noise):
            spec = endpoint.inputs[name]
            # The index keeps two draws of one call independent of each other.
            pair = tf.stack([seed, tf.constant(index, tf.int64)])
            sizes = [count, *spec.shape[1:]]
            tensors[name] = tf.random.stateless_normal(sizes, pair, dtype=spec.dtype, alg="philox")
        return endpoint.function(**tensors)

    return Endpoint(draw_and_call, {**others, SEED: Input((), "seed", "int64")})
