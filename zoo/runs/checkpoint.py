"""Checkpoints: every variable of an engine in one file, written atomically, restored bit for bit.

The file is a NumPy ``.npz`` (a zip, so each array carries a CRC-32): it reads on both backends,
without Keras, and needs no object graph. ``engine`` is one of the gradient engines: ``variables()``
is a list of (name, Keras variable) in a fixed order, the step counter among them.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo.errors import ZooError
from zoo.files import clear_leftovers, whole_file
from zoo.input_files import existing_file

FORMAT = 1
_NAME = re.compile(r"^step-(\d{8,})\.npz$")
_META = "meta"


@dataclass
class Checkpoint:
    """State of a run after ``step`` steps: arrays by name, in the order of the engine's variables."""

    step: int
    seed: int
    config_hash: str
    arrays: dict[str, np.ndarray]


def collect(engine, config_hash: str = "") -> Checkpoint:
    """The engine's whole state as NumPy arrays.

    Under several workers every one of them must call this (averaged variables are read with a
    collective); only the chief then writes.
    """
    arrays: dict[str, np.ndarray] = {}
    for name, variable in engine.variables():
        if name in arrays:
            raise ValueError(f"two variables of the engine are called {name}")
        arrays[name] = _to_numpy(variable)
    return Checkpoint(int(engine.step_index), int(engine.model.seed), config_hash, arrays)


def apply(checkpoint: Checkpoint, engine, source: str | Path = "checkpoint") -> None:
    """Put a checkpoint's arrays into the engine's variables, in their order.

    Raises ZooError where names or shapes differ: the checkpoint is of another model. Nothing is
    assigned then.
    """
    variables = engine.variables()
    if len(variables) != len(checkpoint.arrays):
        raise ZooError(
            f"{source}: holds {len(checkpoint.arrays)} variables, the model has {len(variables)}; "
            "it was written by another model or configuration"
        )
    for (name, variable), (stored, array) in zip(variables, checkpoint.arrays.items(), strict=True):
        if _canonical(name) != _canonical(stored) or array.shape != tuple(variable.shape):
            raise ZooError(
                f"{source}: has {stored} of shape {array.shape} where the model has {name} of shape "
                f"{tuple(variable.shape)}; it was written by another model or configuration"
            )
    for (_, variable), array in zip(variables, checkpoint.arrays.values(), strict=True):
        variable.assign(array)


def state_hash(engine) -> str:
    """SHA-256 over every variable of the engine: weights, slots, averages and the step."""
    return digest(collect(engine))


def digest(checkpoint: Checkpoint) -> str:
    """SHA-256 over every array of a checkpoint, with its name, type and shape."""
    sha = hashlib.sha256()
    for name, array in checkpoint.arrays.items():
        sha.update(f"{_canonical(name)} {array.dtype} {array.shape}".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


def write(checkpoint: Checkpoint, path: str | Path) -> None:
    """Write a checkpoint so that ``path`` (RUN/checkpoints/step-N.npz) is either the whole file or not there.

    Raises ZooError with one line that names the file and the run where the disk is full.
    """
    path = Path(path)
    names = list(checkpoint.arrays)
    meta = {
        "format": FORMAT,
        "step": checkpoint.step,
        "seed": checkpoint.seed,
        "config_hash": checkpoint.config_hash,
        "names": names,
        "dtypes": [str(checkpoint.arrays[name].dtype) for name in names],
    }
    members = {f"v{i:05d}": _storable(checkpoint.arrays[name]) for i, name in enumerate(names)}
    members[_META] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    folder = path.absolute().parent
    then = f"continue with: zoo-train --resume {folder.parent}" if folder.name == "checkpoints" else ""
    with whole_file(path, then=then) as file:
        np.savez(file, **members)  # type: ignore[arg-type]  # NumPy 2's savez has an option beside the arrays


def read(path: str | Path) -> Checkpoint:
    """Read a checkpoint; raises ZooError where the file is cut short, damaged or something else."""
    path = Path(path)
    try:
        with zipfile.ZipFile(existing_file(path)) as archive:
            meta = json.loads(bytes(_member(archive, _META)).decode())
            if isinstance(meta, dict) and meta.get("format", FORMAT) != FORMAT:
                raise ZooError(f"{path}: has checkpoint format {meta['format']}, this version reads {FORMAT}")
            _check_meta(meta)
            stored = [_member(archive, f"v{i:05d}") for i in range(len(meta["names"]))]
            arrays = {
                name: _restored(array, dtype)
                for name, dtype, array in zip(meta["names"], meta["dtypes"], stored, strict=True)
            }
    except ZooError:
        raise
    except Exception as error:  # damage makes zipfile, zlib, numpy and ast fail each in its own way
        raise ZooError(
            f"{path}: is not a whole checkpoint ({' '.join(str(error).split())}); "
            "remove it to continue from the one before"
        ) from None
    named = _NAME.match(path.name)
    if named and int(named.group(1)) != meta["step"]:
        raise ZooError(
            f"{path}: holds the state after step {meta['step']}: it was renamed; give it back the name "
            f"{path_for('', meta['step'])}, or remove it"
        )
    return Checkpoint(meta["step"], meta["seed"], meta["config_hash"], arrays)


def _check_meta(meta) -> None:
    """Raise ValueError where the description of a checkpoint lacks something or has another type."""
    wanted = {"format": int, "step": int, "seed": int, "config_hash": str, "names": list, "dtypes": list}
    for name, kind in wanted.items():
        if not isinstance(meta, dict) or type(meta.get(name)) is not kind:
            raise ValueError(f"its meta has no {name} of type {kind.__name__}")
    if not all(isinstance(word, str) for word in meta["names"] + meta["dtypes"]):
        raise ValueError("its names and types are not all text")
    if len(set(meta["names"])) != len(meta["names"]) or len(meta["names"]) != len(meta["dtypes"]):
        raise ValueError("its names and types do not agree")


def _member(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    # Bytes first: NumPy would stop where an array ends, short of the checksum if a header is damaged.
    return np.lib.format.read_array(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False)


def path_for(folder: str | Path, step: int) -> Path:
    """Where the checkpoint of ``step`` lies in a folder of checkpoints."""
    return Path(folder) / f"step-{step:08d}.npz"


def steps_in(folder: str | Path) -> list[int]:
    """Steps that have a checkpoint in ``folder``, ascending."""
    folder = Path(folder)
    if not folder.is_dir():
        return []
    return sorted(int(match.group(1)) for entry in folder.iterdir() if (match := _NAME.match(entry.name)))


def latest(folder: str | Path) -> Path | None:
    """The newest checkpoint in ``folder``, or None."""
    steps = steps_in(folder)
    return path_for(folder, steps[-1]) if steps else None


def prune(folder: str | Path, keep: int) -> None:
    """Remove all but the newest ``keep`` checkpoints and what killed writers left."""
    folder = Path(folder)
    for step in steps_in(folder)[:-keep]:
        path_for(folder, step).unlink(missing_ok=True)
    clear_leftovers(folder)


def save(engine, path: str | Path, config_hash: str = "") -> None:
    """Write the engine's whole state to ``path``, atomically."""
    write(collect(engine, config_hash), path)


def restore(engine, path: str | Path, config_hash: str | None = None) -> None:
    """Put the state in ``path`` into ``engine``; ZooError for another model, seed or configuration."""
    checkpoint = read(path)
    if config_hash is not None and checkpoint.config_hash != config_hash:
        raise ZooError(f"{path}: was written with another configuration than this run's config.json")
    if checkpoint.seed != int(engine.model.seed):
        raise ZooError(f"{path}: was written with seed {checkpoint.seed}, this run has {engine.model.seed}")
    apply(checkpoint, engine, source=path)


def _canonical(name: str) -> str:
    """``name`` without the numbers that Keras gives to the second, third … layer of a process."""
    return re.sub(r"_\d+(?=[/_]|$)", "", name)


def _to_numpy(variable) -> np.ndarray:
    import keras

    # A copy: on a CPU the array may be a view of memory that the next step overwrites.
    tensor = keras.ops.convert_to_tensor(variable)
    return np.array(keras.ops.convert_to_numpy(tensor), copy=True)


def _storable(array: np.ndarray) -> np.ndarray:
    """bfloat16 and its kin, which ``.npy`` cannot name, as unsigned integers of the same width."""
    if array.dtype.isbuiltin == 1:
        return array
    return array.view(np.dtype(f"u{array.dtype.itemsize}"))


def _restored(array: np.ndarray, name: str) -> np.ndarray:
    """What `_storable` was given, from what it returned and the name of the type."""
    if str(array.dtype) == name:
        return array
    import ml_dtypes

    kind = getattr(ml_dtypes, name, None)
    if not isinstance(kind, type) or array.dtype != np.dtype(f"u{np.dtype(kind).itemsize}"):
        raise ValueError(f"an array of {array.dtype} is said to be of {name}")
    return array.view(kind)
