"""The gradients of an `GradientModel` on TensorFlow: one device or a tf.distribute strategy."""

from __future__ import annotations

import tensorflow as tf

from zoo.engines.protocol import named_variables


def train_step(model, batch: dict) -> dict[str, tf.Tensor]:
    """One step of all players of ``model``; returns what they log (means over the replica's batch).

    Works in a single-device or a replica context. Optimizers sum gradients over replicas, so each
    replica's mean loss is divided by their number (unless the model's ``losses_are_shares`` already); the
    sum is then the gradient of the global mean.
    """
    context = tf.distribute.get_replica_context()
    replicas = context.num_replicas_in_sync
    replica = context.replica_id_in_sync_group
    step = tf.convert_to_tensor(model.step_counter)
    examples = tf.shape(tf.nest.flatten(batch)[0])[0]
    draws = make_draws(model.draw_specs(), model.seed, step, examples, replica, replicas)
    shared = {
        name: tf.nest.map_structure(tf.stop_gradient, x)
        for name, x in model.prepare(batch, draws, step).items()
    }
    draws = {**draws, **shared}
    logs: dict[str, tf.Tensor] = {}
    for position, player in enumerate(model.players):
        variables = model.player_variables(player)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for variable in variables:
                tape.watch(variable.value)
            mine = model.draws_for(position, draws)
            loss, terms = model.player_loss(player, batch, mine, input_gradient, step)
            scaled = tf.cast(loss, tf.float32) / (1 if model.losses_are_shares else replicas)
        gradients = tape.gradient(scaled, [v.value for v in variables], unconnected_gradients="zero")
        model.player_optimizers[player].apply(gradients, variables)
        # What is logged is averaged over replicas afterwards.
        logs.update({name: x * replicas if model.losses_are_shares else x for name, x in terms.items()})
    model.update_averages()
    model.step_counter.assign(step + 1)
    return logs


def input_gradient(fn, x):
    """(fn(x), ∂Σfn(x)/∂x), itself differentiable."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = fn(x)
    return y, tape.gradient(y, x)


def make_draws(specs: dict, seed: int, step, examples, replica, replicas: int) -> dict:
    """The step's random numbers, a pure function of (seed, step).

    Philox gives equal numbers with and without XLA. Per-example numbers are drawn for the global
    batch on every replica and cut, so that R replicas see what one device would have seen.
    """
    draws = {}
    for position, (name, spec) in enumerate(specs.items()):
        key = tf.stack([tf.constant(seed, tf.int32), tf.cast(step, tf.int32) * len(specs) + position])
        shape = tf.constant(spec.shape, tf.int32)
        if spec.per_example:
            shape = tf.concat([[examples * replicas], shape], axis=0)
        draw = tf.random.stateless_normal if spec.kind == "normal" else tf.random.stateless_uniform
        values = draw(shape, seed=key, alg="philox")
        if spec.per_example:
            values = values[replica * examples : (replica + 1) * examples] if replicas > 1 else values
            values = tf.ensure_shape(values, (None, *spec.shape))
        draws[name] = values
    return draws


class TensorFlowEngine:
    """Runs training steps of one model; ``step(batch)`` is one step of all players."""

    def __init__(self, model, seed: int = 0, strategy=None, global_batch: int | None = None):
        self.model = model
        self.strategy = strategy
        self.global_batch = global_batch
        model.seed = int(seed)
        if not model.is_compiled:
            model.compile(seed=seed)
        self._function = tf.function(
            self._distributed if strategy is not None else self._single,
            reduce_retracing=True,
            autograph=False,
        )

    def _single(self, batch):
        return train_step(self.model, batch)

    def _distributed(self, batch):
        logs = self.strategy.run(train_step, args=(self.model, batch))
        return {name: self.strategy.reduce("MEAN", value, axis=None) for name, value in logs.items()}

    def step(self, batch: dict) -> dict[str, tf.Tensor]:
        """Train on one batch (a dict of tensors, or of PerReplica values under a strategy)."""
        return self._function(batch)

    @property
    def step_index(self) -> int:
        """How many steps the model has been trained."""
        return int(self.model.step_counter.numpy())

    def variables(self) -> list[tuple[str, object]]:
        """(unique name, Keras variable) of everything a checkpoint must hold."""
        return named_variables(self.model.state_variables())

    @property
    def is_finished(self) -> bool:
        """Whether the model needs no more steps."""
        return self.model.is_finished

    def notices(self) -> list[str]:
        """What a person should be told since the last call."""
        return self.model.notices()
