"""The gradients of an `GradientModel` on JAX: one jitted function per step."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import keras
import numpy as np

from zoo.engines.protocol import named_variables


def input_gradient_in(scope: keras.StatelessScope, variables: list):
    """``input_gradient(fn, x)`` → (fn(x), ∂Σfn(x)/∂x), itself differentiable, for use inside ``scope``.

    What ``fn`` assigns (batch statistics) is carried out of the differentiation and into the scope.
    """

    def input_gradient(fn, x):
        values = [scope.get_current_value(variable) for variable in variables]

        def pure(x):
            with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))) as inner:
                y = fn(x)
            after = [inner.get_current_value(variable) for variable in variables]
            changed = {i: new for i, new in enumerate(after) if new is not values[i]}
            return y, changed

        y, pull_back, changed = jax.vjp(pure, x, has_aux=True)
        for i, new in changed.items():
            variables[i].assign(new)
        return y, pull_back(jnp.ones_like(y))[0]

    return input_gradient


def make_draws(specs: dict, seed: int, step, examples: int) -> dict:
    """The step's random numbers, a pure function of (seed, step)."""
    key = jax.random.fold_in(jax.random.key(seed), step)
    draws = {}
    for position, (name, spec) in enumerate(specs.items()):
        shape = (examples, *spec.shape) if spec.per_example else tuple(spec.shape)
        draw = jax.random.normal if spec.kind == "normal" else jax.random.uniform
        draws[name] = draw(jax.random.fold_in(key, position), shape)
    return draws


def train_step(model, variables: list, values: list, batch: dict) -> tuple[list, dict]:
    """One step of all players as a pure function: (new values of ``variables``, logs)."""
    place = {id(variable): i for i, variable in enumerate(variables)}
    values = list(values)
    examples = jax.tree.leaves(batch)[0].shape[0]
    step = values[place[id(model.step_counter)]]

    def scope():
        return keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True)))

    def collect(stateless):
        for i, variable in enumerate(variables):
            new = stateless.get_current_value(variable)
            if new is not None:
                values[i] = new

    draws = make_draws(model.draw_specs(), model.seed, step, examples)
    with scope():
        draws = {**draws, **jax.lax.stop_gradient(model.prepare(batch, draws, step))}
    logs: dict = {}
    for position, player in enumerate(model.players):
        moved = model.player_variables(player)
        where = [place[id(variable)] for variable in moved]

        def loss_of(trained, where=where, player=player, position=position):
            mapping = list(values)
            for i, value in zip(where, trained, strict=True):
                mapping[i] = value
            with keras.StatelessScope(state_mapping=list(zip(variables, mapping, strict=True))) as stateless:
                gradient = input_gradient_in(stateless, variables)
                mine = model.draws_for(position, draws)
                loss, terms = model.player_loss(player, batch, mine, gradient, step)
            side = {}
            for i, variable in enumerate(variables):
                new = stateless.get_current_value(variable)
                if i not in where and new is not None and new is not mapping[i]:
                    side[i] = new
            return loss, (terms, side)

        trained = [values[i] for i in where]
        gradients, (terms, side) = jax.grad(loss_of, has_aux=True)(trained)
        for i, value in side.items():
            values[i] = value
        optimizer = model.player_optimizers[player]
        slots = [place[id(variable)] for variable in optimizer.variables]
        trained, state = optimizer.stateless_apply([values[i] for i in slots], gradients, trained)
        for i, value in zip(where + slots, list(trained) + list(state), strict=True):
            values[i] = value
        logs.update(terms)
    with scope() as stateless:
        model.update_averages()
    collect(stateless)
    values[place[id(model.step_counter)]] = step + 1
    return values, logs


class JaxEngine:
    """Runs training steps of one model; the state stays on the device between steps."""

    def __init__(self, model, seed: int = 0, global_batch: int | None = None):
        self.model = model
        self.global_batch = global_batch
        model.seed = int(seed)
        if not model.is_compiled:
            model.compile(seed=seed)
        self._variables = model.state_variables()
        self._step = jax.jit(
            lambda values, batch: train_step(model, self._variables, values, batch), donate_argnums=0
        )

    def step(self, batch: dict) -> dict:
        """Train on one batch (a dict of arrays); the model's variables hold the new state after it."""
        if "index" in batch:  # rows of a table are few enough for 32 bits
            batch = {**batch, "index": np.asarray(batch["index"]).astype(np.int32)}
        values, logs = self._step([variable.value for variable in self._variables], _numbers(batch))
        for variable, value in zip(self._variables, values, strict=True):
            variable._value = value  # assign() would copy and check shapes of every array in each step
        return logs

    @property
    def step_index(self) -> int:
        """How many steps the model has been trained."""
        return int(self.model.step_counter.value)

    def variables(self) -> list[tuple[str, object]]:
        """(unique name, Keras variable) of everything a checkpoint must hold."""
        return named_variables(self._variables)

    @property
    def is_finished(self) -> bool:
        """Whether the model needs no more steps."""
        return self.model.is_finished

    def notices(self) -> list[str]:
        """What a person should be told since the last call."""
        return self.model.notices()


def _numbers(batch: dict) -> dict:
    """The arrays of a batch, of each role where it has several, that a loss can use."""
    found: dict = {}
    for name, value in batch.items():
        if isinstance(value, dict):
            found[name] = _numbers(value)
            continue
        array = np.asarray(value)
        # uid and source_row are 64-bit identities that JAX would cut to 32 bits; no loss needs them.
        if array.dtype.kind in "fiu" and array.dtype.itemsize <= 4:
            found[name] = jnp.asarray(array)
    return found


def fit(model, x, epochs: int = 1, steps_per_epoch: int | None = None, callbacks=None, verbose="auto"):
    """`keras.Model.fit` for several optimizers on JAX: batches in, callbacks called, History out."""
    engine = JaxEngine(model, seed=model.seed)
    called = keras.callbacks.CallbackList(
        callbacks,
        add_history=True,
        add_progbar=verbose not in (0, "0"),
        model=model,
        verbose=1,
        epochs=epochs,
        steps=steps_per_epoch,
    )
    model.stop_training = False
    called.on_train_begin()
    iterator = iter(x)
    for epoch in range(epochs):
        called.on_epoch_begin(epoch)
        logs: dict = {}
        count = 0
        while steps_per_epoch is None or count < steps_per_epoch:
            batch = next(iterator, None)
            if batch is None:
                if steps_per_epoch is not None and count < steps_per_epoch:
                    model.stop_training = True
                iterator = iter(x)
                break
            called.on_train_batch_begin(count)
            logs = {name: float(value) for name, value in engine.step(batch).items()}
            called.on_train_batch_end(count, logs)
            count += 1
        called.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    called.on_train_end(logs)
    return model.history
