"""Open whatever a person calls a model: a run folder, an exported SavedModel, a pretrained name."""

import zipfile
from pathlib import Path

import numpy as np

from zoo.errors import ZooError


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
    """A trained Keras model for use: ``encode`` and ``density`` run as compiled graphs on NumPy arrays."""

    def __init__(self, model, path=""):
        self.keras_model = model
        self.path = path
        self.name = model.name
        self.latent_dim = int(model.latent_dim)
        self.box = int(model.box)
        self.voxel_size_angstrom = float(model.voxel_size_angstrom)
        self._encode = compiled(lambda images, ctf: model.encode(images, ctf))
        self._density = compiled(lambda z: model.density(z))

    def encode(self, images, ctf) -> dict[str, np.ndarray]:
        """Latents of images (b, y, x, 1) with CTFs (b, 9): ``z_mean``, ``z_logvar`` (b, d)."""
        return self._encode(np.asarray(images, np.float32), np.asarray(ctf, np.float32))

    def density(self, z) -> np.ndarray:
        """Maps (b, n, n, n) in z, y, x of latents z (b, d)."""
        return self._density(np.asarray(z, np.float32))


def open_model(place):
    """The model at `place` with ``encode``, ``density``, ``latent_dim``, ``box``, ``voxel_size_angstrom``.

    `place` is a run folder of zoo-train, a SavedModel folder of zoo-export (DIR or DIR/1), or the name
    of a pretrained model. Raises ZooError if it is none of them, or its model has no latent space.
    """
    path = Path(place)
    if not path.exists():
        from zoo.serving.pretrained import list_pretrained, load_pretrained

        known = list_pretrained()
        if str(place) in known:
            return load_pretrained(str(place))
        raise ZooError(
            f"{place}: no such folder; expected a run folder of zoo-train, a folder of zoo-export, "
            f"or a pretrained model ({', '.join(known) or 'none here'})"
        )
    saved = saved_model_folder(path)
    if saved is not None:
        from zoo.serving.served import ServedModel

        return ServedModel(saved)
    return RunModel(load_run_model(path), path)


def saved_model_folder(path: Path) -> Path | None:
    """`path` or its newest version folder if that holds a SavedModel, else None."""
    from zoo.serving.pretrained import versions

    if (path / "saved_model.pb").is_file():
        return path
    if path.is_dir() and (found := versions(path)):
        return path / str(found[-1])
    return None


def load_finished(path, model_name=None):
    """The Keras model that a finished run left; raises ZooError if there is none or another."""
    import keras

    from zoo.registry import get_entry
    from zoo.runs.run_folder import RunFolder

    run = RunFolder.open(path, model_name)
    get_entry(run.config["model"])  # imports the class, so that Keras knows it
    if not run.model_file.is_file():
        raise ZooError(
            f"{path}: has no {run.model_file.name} yet; let the run finish with zoo-train --resume {path}"
        )
    try:
        return keras.saving.load_model(run.model_file, compile=False)
    except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile) as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ZooError(
            f"{run.model_file}: Keras cannot load it ({first_line}); resume the run to write it anew"
        ) from error


def load_run_model(path):
    """The Keras model of a run folder; raises ZooError if it is not one or the model has no latent space."""
    model = load_finished(path)
    missing = [
        name
        for name in ("encode", "density", "latent_dim", "box", "voxel_size_angstrom", "endpoints")
        if not hasattr(model, name)
    ]
    if missing:
        raise ZooError(
            f"{path}: its model {type(model).__name__} has no {', '.join(missing)}; "
            "expected a model with a latent space, such as vaegan3d"
        )
    return model


def open_data_of(place, data=None):
    """DatasetInfo of the folder `data`, or, for None, of the records that the run `place` was trained on.

    Raises ZooError if it is no packed data set, or `data` is None and `place` is no run folder.
    """
    if data is not None:
        from zoo.runs.data_source import open_data

        return open_data(data, None)
    if not (Path(place) / "config.json").is_file():
        raise ZooError(
            f"{place}: is not a run folder, so it names no data; pass --data DIR (made by zoo-pack)"
        )
    from zoo.runs.data_source import reopen_data
    from zoo.runs.run_folder import RunFolder

    return reopen_data(RunFolder.open(place).config, None)
