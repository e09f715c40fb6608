"""Which gradient engine runs a model's training step: TensorFlow's or JAX's.

The glue between `zoo.models` (losses, written once in keras.ops) and `zoo.training` (gradients).
"""

from typing import Any


def get_engine(
    model,
    *,
    seed: int = 0,
    strategy: Any = None,
    global_batch: int | None = None,
    examples: int | None = None,
):
    """The engine that trains ``model`` on the Keras backend in use.

    ``seed`` fixes every random number of the run; ``strategy`` is a tf.distribute.Strategy or
    None; ``global_batch`` is the number of examples in one step over all replicas (None: read
    from the first batch); ``examples`` is the number of records of an epoch, for models that learn
    by epochs. Raises ZooError for a backend without an engine, or a strategy on JAX.
    """
    import keras

    from zoo.errors import ZooError

    backend = keras.backend.backend()
    if model.learns == "epochs":
        if backend != "tensorflow" and not model.on_host:
            raise ZooError(f"{type(model).__name__} is trained with KERAS_BACKEND=tensorflow, not {backend}")
        if model.on_host and strategy is not None:
            raise ZooError(f"{type(model).__name__} runs on the processor alone; give --strategy one")
        from zoo.engines.epoch_engine import EpochEngine

        return EpochEngine(model, seed, examples, global_batch, strategy)
    if backend == "tensorflow":
        from zoo.engines.tensorflow_engine import TensorFlowEngine

        return TensorFlowEngine(model, seed=seed, strategy=strategy, global_batch=global_batch)
    if backend == "jax":
        if strategy is not None:
            raise ZooError(
                "a tf.distribute strategy was asked for, but Keras runs on JAX; set KERAS_BACKEND=tensorflow"
            )
        from zoo.engines.jax_engine import JaxEngine

        return JaxEngine(model, seed=seed, global_batch=global_batch)
    raise ZooError(
        f"Keras runs on {backend!r}, which has no gradient engine; set KERAS_BACKEND to tensorflow or jax"
    )


def train_step_function(model):
    """The function that Keras' own ``fit`` calls as ``train_step`` on the TensorFlow backend."""
    from zoo.engines.tensorflow_engine import train_step

    return lambda batch: train_step(model, batch)


def fit_function():
    """The loop that stands in for Keras' ``fit`` on the JAX backend, which assumes one optimizer."""
    from zoo.engines.jax_engine import fit

    return fit
