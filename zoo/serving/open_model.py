"""Open whatever a person calls a model: a run folder, an exported SavedModel, a pretrained name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from zoo.errors import ZooError
from zoo.models.base import EpochModel, ZooModel
from zoo.models.capabilities import Aligns, Segments, latent_dim_of, verbs_of
from zoo.serving.places import check_model, finished_run, open_data_of, refuse_verbs, saved_model_folder

__all__ = ["RunModel", "open_data_of", "open_model", "saved_model_folder"]


def compiled(function):
    """`function` of arrays as one graph of Keras' backend, NumPy arrays out.

    TensorFlow: ``tf.function``; JAX: ``jax.jit``; other backends: as it is. Nested dicts are kept.
    """
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        graph = tf.function(function, autograph=False, reduce_retracing=True)
    elif backend == "jax":
        import jax

        graph = jax.jit(function)
    else:
        graph = function

    def call(*arrays):
        outputs = graph(*(keras.ops.convert_to_tensor(array) for array in arrays))
        return keras.tree.map_structure(keras.ops.convert_to_numpy, outputs)

    return call


class RunModel:
    """A trained Keras model for use: what it can do runs as compiled graphs on NumPy arrays.

    ``verbs`` names what it can do, ``features(verb)`` what that reads of a batch; ``trained_on`` says what is
    known of its data (`facts_of_run`), ``segments`` what `Segments` knows of its classes (empty of others).
    """

    def __init__(self, model, path="", trained_on=None):
        self.keras_model = model
        self.trained_on = trained_on or {}
        self.path = path
        self.name = model.name
        self.box = int(model.box)
        self.voxel_size_angstrom = float(model.voxel_size_angstrom)
        self.latent_dim = latent_dim_of(model)
        self.verbs = verbs_of(model)
        self.segments = model.segments() if isinstance(model, Segments) else {}
        self._compiled: dict[tuple[str, ...], Callable] = {}

    def features(self, verb: str) -> list[str]:
        """The features of a batch that a verb reads; raises ZooError if the model cannot do it."""
        refuse_verbs(self.path, self.name, self.verbs, verb)
        return list(self.keras_model.endpoints()[verb].inputs)

    def apply(self, verb: str, batch) -> dict[str, np.ndarray]:
        """What the model makes of a batch (dict of arrays), by name; it may use more than ``features``."""
        names = self.features(verb)
        names += [name for name in self.keras_model.also_reads.get(verb, ()) if name in batch]
        key = (verb, *names)
        if key not in self._compiled:
            model, function = self.keras_model, self.keras_model.endpoints()[verb].function
            if isinstance(model, Aligns) and isinstance(model, EpochModel) and verb == Aligns.verb:
                # Templates of averages are the same for all batches: made once, outside the graph.
                prepared = model.prepare_alignment(names)

                def function(**given):
                    return model.align(given, prepared)

            self._compiled[key] = compiled(lambda *arrays: function(**dict(zip(names, arrays, strict=True))))
        return self._compiled[key](*(np.asarray(batch[name], np.float32) for name in names))

    def encode(self, images, ctf) -> dict[str, np.ndarray]:
        """Latents of images (b, y, x, 1) with CTFs (b, 9): ``z_mean``, ``z_logvar`` (b, d)."""
        return self.apply("encode", {"image": images, "ctf": ctf})

    def density(self, z) -> np.ndarray:
        """Maps (b, n, n, n) in z, y, x of latents z (b, d)."""
        return self.apply("density", {"z": z})["density"]


def open_model(place, *verbs: str):
    """The model at `place`, with ``verbs``, ``apply(verb, batch)``, ``box`` and ``voxel_size_angstrom``.

    `place` is a run folder of zoo-train, a SavedModel folder of zoo-export (DIR or DIR/1), or the name
    of a pretrained model. Raises ZooError if it is none of them, or its model can do none of `verbs`.
    """
    path = Path(place)
    check_model(place)
    if not path.exists():
        from zoo.serving.pretrained import load_pretrained

        return _able(load_pretrained(str(place)), place, verbs)
    # A run folder speaks for itself: no SavedModel that somebody put into it is taken for its model.
    saved = None if (path / "config.json").is_file() else saved_model_folder(path)
    if saved is not None:
        from zoo.serving.served import ServedModel

        return _able(ServedModel(saved), place, verbs)
    return _able(RunModel(load_run_model(path), path, facts_of_run(path)), place, verbs)


def _able(model, place, verbs):
    refuse_verbs(place, model.name, model.verbs, *verbs)
    return model


def load_finished(path, model_name=None):
    """The Keras model that a finished run left; raises ZooError if there is none or another."""
    import keras

    from zoo.registry import get_entry

    run = finished_run(path, model_name)
    cls = get_entry(run.config["model"]).cls
    # A class of the zoo is registered with Keras when it is imported; a person's own need not be.
    known = {} if keras.saving.get_registered_name(cls) != cls.__name__ else {cls.__name__: cls}
    try:
        return keras.saving.load_model(run.model_file, custom_objects=known, compile=False)
    except Exception as error:  # zipfile, zlib, h5py and Keras fail each in its own way
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ZooError(
            f"{run.model_file}: Keras cannot load it ({first_line}); resume the run to write it anew"
        ) from error


def load_run_model(path) -> ZooModel:
    """The model of a run folder; raises ZooError if it is none, or not written for the zoo."""
    model = load_finished(path)
    if not isinstance(model, ZooModel):
        raise ZooError(
            f"{path}: its model {type(model).__name__} is a Keras model of its own: load {path}/model.keras "
            "with keras.saving.load_model; the zoo's commands ask a zoo.models.base.ZooModel"
        )
    return model


def facts_of_run(path) -> dict:
    """What the records of a run were like, of what decides whether others mean the same to its model."""
    from zoo.runs.run_folder import RunFolder

    data = RunFolder.open(path).config.get("data", {})
    first = next(iter(data["roles"].values())) if "roles" in data else data
    names = ("kind", "normalisation", "contrast_sign", "circle_radius_pixels")
    return {name: first[name] for name in names if first.get(name) is not None}
