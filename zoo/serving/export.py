"""Write a model as a SavedModel whose named signatures work where `zoo` is not installed."""

import errno
import json
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from zoo.errors import ZooError
from zoo.files import whole_folder
from zoo.models.capabilities import Segments, latent_dim_of, verbs_of
from zoo.serving.checksums import crc32_of_files
from zoo.serving.places import METADATA, export_target
from zoo.serving.seeded import seeded


def export_model(
    model,
    out_dir,
    version: int = 1,
    overwrite: bool = False,
    then: str = "",
    trained_on: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``OUT_DIR/VERSION/``, a SavedModel with one signature per entry of ``model.endpoints()``.

    ``endpoints()`` gives name → `zoo.models.endpoint.Endpoint`. Inputs of the role noise are drawn inside the
    signature from one argument ``seed`` (see `zoo.serving.seeded`). Only the variables that the signatures
    use are written (no critic, no optimizer). ``trained_on`` says what its data were like. The folder appears
    whole or not at all. Returns its path.

    Raises ZooError if the version exists (unless `overwrite`), Keras does not run on TensorFlow, or it cannot
    be written (`then` says there how to go on).
    """
    target = export_target(out_dir, version, overwrite)
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise ZooError(
            f"a SavedModel is written by TensorFlow, but Keras runs on {backend}; weights are "
            "the same on both, so export the same run with KERAS_BACKEND=tensorflow"
        )
    with whole_folder(target, "saved_model.pb", overwrite, then=then) as partial:
        endpoints = {name: seeded(endpoint) for name, endpoint in model.endpoints().items()}
        _write(endpoints, partial)
        _write_metadata(model, endpoints, partial, dict(trained_on or {}))
    return target


def _write(endpoints: dict, folder: Path) -> None:
    import tensorflow as tf
    from keras.export import ExportArchive

    archive = ExportArchive()
    for name, endpoint in endpoints.items():
        specs = {
            key: tf.TensorSpec(each.shape, each.dtype, name=key) for key, each in endpoint.inputs.items()
        }
        traced = tf.function(endpoint.function, autograph=False)
        traced.get_concrete_function(**specs)
        archive.add_endpoint(name, traced)
    # No debug info: it would carry the paths of this machine's source files.
    try:
        archive.write_out(
            str(folder), options=tf.saved_model.SaveOptions(save_debug_info=False), verbose=False
        )
    except tf.errors.OpError as error:
        # TensorFlow writes by itself: the same faults of a disk under other names.
        number = {
            tf.errors.RESOURCE_EXHAUSTED: errno.ENOSPC,
            tf.errors.OUT_OF_RANGE: errno.EFBIG,
            tf.errors.PERMISSION_DENIED: errno.EACCES,
        }.get(error.error_code)
        words = os.strerror(number) if number else str(error.message).strip().splitlines()[0]
        raise OSError(number or errno.EIO, words) from error


def _write_metadata(model, endpoints: dict, folder: Path, trained_on: dict) -> None:
    import tensorflow as tf

    signatures = {
        name: {key: [list(each.shape), each.dtype] for key, each in endpoint.inputs.items()}
        for name, endpoint in endpoints.items()
    }
    metadata = {
        "model": type(model).__name__,
        "config": keras.saving.serialize_keras_object(model)["config"],
        "latent_dim": latent_dim_of(model),
        "verbs": verbs_of(model),
        "segments": model.segments() if isinstance(model, Segments) else {},
        "trained_on": trained_on,
        "box": int(model.box),
        "voxel_size_angstrom": float(model.voxel_size_angstrom),
        "signatures": signatures,
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": {
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
            "python": platform.python_version(),
        },
    }
    metadata["crc32"] = crc32_of_files(folder)  # TensorFlow checks the variables, but not the graph
    path = folder / METADATA
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")


def describe_signatures(folder) -> str:
    """The signatures of an exported model as text, one line each."""
    signatures = json.loads((Path(folder) / METADATA).read_text(encoding="utf-8"))["signatures"]

    def spell(shape, dtype):
        return f"{dtype} ({', '.join('b' if size is None else str(size) for size in shape)})"

    return "\n".join(
        f"  {name}: " + ", ".join(f"{key} {spell(*spec)}" for key, spec in arguments.items())
        for name, arguments in signatures.items()
    )
