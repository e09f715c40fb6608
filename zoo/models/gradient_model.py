"""Models that learn by gradients: one or several players, each with its own loss and optimizer."""

from __future__ import annotations

import keras
from keras import ops

from zoo.engines import choose
from zoo.engines.draws import Draw
from zoo.models.base import ZooModel


class GradientModel(ZooModel):
    """A Keras model whose training step updates several players in turn.

    A subclass builds its networks in ``__init__`` and defines ``players``, ``player_variables``,
    ``player_loss``, ``draw_specs`` and ``make_optimizers``; it may define ``prepare`` (work
    without gradients that several players share) and ``update_averages``. Losses are written in
    keras.ops only; a gradient engine (`zoo.engines`) differentiates them on TensorFlow or JAX.
    """

    learns = "players"
    players: tuple[str, ...] = ()
    losses_are_shares: bool = False  # a replica's loss is its part of the sum over replicas, not its own mean

    def __init__(self, name: str | None = None, seed: int = 0):
        super().__init__(name=name, seed=seed)
        self.player_optimizers: dict[str, keras.optimizers.Optimizer] = {}

    def player_variables(self, player: str) -> list:
        """The trainable variables that ``player`` moves."""
        raise TypeError(f"{type(self).__name__} does not say which variables {player!r} moves")

    def player_loss(self, player: str, batch: dict, draws: dict, input_gradient, step) -> tuple:
        """(scalar loss, dict of scalars to log) of one player.

        ``input_gradient(fn, x)`` gives (fn(x), gradient of its sum with respect to x), for
        gradient penalties; ``step`` is the integer step as a tensor.
        """
        raise TypeError(f"{type(self).__name__} has no loss for {player!r}")

    def draw_specs(self) -> dict[str, Draw]:
        """The random numbers that one step needs."""
        return {}

    def prepare(self, batch: dict, draws: dict, step) -> dict:
        """Tensors that several players share, computed once a step without gradients."""
        return {}

    def draws_for(self, position: int, draws: dict) -> dict:
        """What the player at ``position`` of ``players`` sees of the draws and of what `prepare` gave.

        All of it by default; a player that is updated several times in a step may see others each time.
        """
        return draws

    def update_averages(self) -> None:
        """Move the averaged weights towards the trained ones, at the end of a step."""

    def make_optimizers(self) -> dict[str, keras.optimizers.Optimizer]:
        """One new optimizer per player."""
        raise TypeError(f"{type(self).__name__} makes no optimizers")

    def compile(self, optimizers: dict | None = None, seed: int | None = None, run_eagerly: bool = False):
        """Give each player its optimizer (``make_optimizers`` where ``optimizers`` is None).

        Raises ValueError where ``optimizers`` lacks a player, TypeError for an option of another name.
        """
        super().compile(optimizer=None, loss=None, run_eagerly=run_eagerly, jit_compile=False)
        chosen = optimizers if optimizers is not None else self.make_optimizers()
        missing = [player for player in self.players if player not in chosen]
        if missing:
            raise ValueError(
                f"no optimizer for {', '.join(missing)}; the players are {', '.join(self.players)}"
            )
        if seed is not None:
            self.seed = int(seed)
        for player in self.players:
            optimizer = keras.optimizers.get(chosen[player])
            optimizer.build(self.player_variables(player))
            # An attribute each, so that Keras saves the slots with the model.
            setattr(self, f"{player}_optimizer", optimizer)
            self.player_optimizers[player] = optimizer

    def get_compile_config(self) -> dict:
        """What ``compile_from_config`` needs to rebuild the optimizers of a saved model."""
        if not self.player_optimizers:
            return {}
        serialize = keras.saving.serialize_keras_object
        return {
            "seed": self.seed,
            "optimizers": {name: serialize(optimizer) for name, optimizer in self.player_optimizers.items()},
        }

    def compile_from_config(self, config: dict) -> None:
        """Rebuild the optimizers of a saved model."""
        if not config:
            return
        deserialize = keras.saving.deserialize_keras_object
        optimizers = {name: deserialize(value) for name, value in config["optimizers"].items()}
        self.compile(optimizers=optimizers, seed=config.get("seed"))

    @property
    def is_compiled(self) -> bool:
        """Whether every player has its optimizer."""
        return bool(self.player_optimizers)

    def train_step(self, batch):
        """One step of all players (TensorFlow; called by Keras' ``fit``)."""
        return choose.train_step_function(self)(batch)

    def fit(self, x=None, **arguments):
        """Keras' ``fit``; on JAX an equal loop, since Keras' own knows one optimizer only.

        ``x`` yields batches (dicts of arrays). Returns a keras.callbacks.History.
        """
        if not self.is_compiled:
            self.compile()
        if keras.backend.backend() == "jax":
            return choose.fit_function()(self, x, **arguments)
        return super().fit(x, **arguments)

    def state_variables(self) -> list:
        """All variables that a checkpoint must hold, each once, in a fixed order."""
        seen: set[int] = set()
        ordered = []
        candidates = list(self.variables)
        for player in self.players:
            if player in self.player_optimizers:
                candidates += list(self.player_optimizers[player].variables)
        for variable in candidates:
            if id(variable) not in seen:
                seen.add(id(variable))
                ordered.append(variable)
        return ordered


def gradient_penalty(critic, real, fake, mix, input_gradient, target: float = 1.0):
    """Mean of (‖∇D(x̂)‖₂ − 1)² at x̂ = mix·real + (1 − mix)·fake, one norm per example.

    ``real``, ``fake``: (b, …); ``mix``: (b, 1) in [0, 1). Gulrajani et al. 2017, equation 3.
    """
    mix = ops.reshape(mix, (-1,) + (1,) * (len(real.shape) - 1))
    between = mix * real + (1.0 - mix) * fake
    _, gradient = input_gradient(critic, between)
    gradient = ops.reshape(gradient, (ops.shape(gradient)[0], -1))
    norm = ops.sqrt(ops.sum(gradient * gradient, axis=-1) + 1e-12)
    return ops.mean(ops.square(norm - target))
