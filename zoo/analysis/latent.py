"""Latent coordinates of every particle of a data set, and the file that keeps them."""

from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np

from zoo.analysis.rows import rows_of
from zoo.data.kinds import kind_of
from zoo.errors import ZooError
from zoo.files import whole_path
from zoo.models.capabilities import EncodesByLikelihood

ARRAYS = {
    "z_mean": np.float32,
    "z_logvar": np.float32,
    "uid": np.uint64,
    "source_row": np.int64,
    "label": np.int64,
}


@dataclass
class Latents:
    """Latent coordinates of n particles, row i being particle i of the data set.

    ``z_mean``, ``z_logvar`` (n, d); ``uid``, ``source_row``, ``label`` (n,), the label −1 where it
    is not known; ``source`` is the particle file that ``source_row`` counts in, ``origin`` how it was
    read (text of a `zoo.data.reopen.SourceRecord`). ``way`` says whether ``z_mean`` is an encoder's or by
    likelihood ("" where nobody says).
    """

    z_mean: np.ndarray
    z_logvar: np.ndarray
    uid: np.ndarray
    source_row: np.ndarray
    label: np.ndarray
    source: str = ""
    model: str = ""
    origin: str = ""
    way: str = ""
    extra: dict = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.z_mean)

    @property
    def size(self) -> int:
        """The number d of latent coordinates."""
        return self.z_mean.shape[1]

    @property
    def labels_known(self) -> bool:
        """True if at least two classes are labelled."""
        return len(np.unique(self.label[self.label >= 0])) > 1

    def save(self, path) -> None:
        """Write all columns to one compressed ``.npz``, whole or not at all."""
        columns = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "extra"}
        with whole_path(path) as partial, open(partial, "wb") as file:
            np.savez_compressed(file, **columns, **self.extra)

    @classmethod
    def load(cls, path) -> "Latents":
        """Read what `save` wrote; other ``.npz`` columns go to ``extra``.

        Raises ZooError if the file is absent, not an ``.npz``, or lacks a column.
        """
        path = Path(path)
        if not path.is_file():
            raise ZooError(f"{path}: no such file; expected latents written by zoo-infer encode")
        try:
            with np.load(path, allow_pickle=False) as archive:
                columns = {name: archive[name] for name in archive.files}
        except Exception as error:  # NumPy, zipfile and zlib each have their own ways to fail
            raise ZooError(
                f"{path}: not an .npz of plain arrays ({error}); expected latents written by zoo-infer encode"
            ) from error
        return cls(**_checked(columns, path))


def _checked(columns: dict, path) -> dict:
    if "z_mean" not in columns:
        raise ZooError(
            f"{path}: holds {sorted(columns)}, expected a column z_mean (n, d); "
            "write it with zoo-infer encode"
        )
    z = columns["z_mean"]
    if z.ndim != 2 or z.dtype.kind != "f" or not len(z):
        raise ZooError(f"{path}: z_mean is {z.dtype} of shape {z.shape}, expected floats (n, d) with n > 0")
    if not np.isfinite(z).all():
        row = int(np.flatnonzero(~np.isfinite(z).all(axis=1))[0])
        raise ZooError(f"{path}: z_mean row {row} is not finite; encode with a run that has not diverged")
    n = len(z)
    # A person may bring latents of his own: only z_mean is needed to write maps.
    columns.setdefault("z_logvar", np.zeros_like(z))
    columns.setdefault("uid", np.zeros(n))
    columns.setdefault("source_row", np.full(n, -1))
    columns.setdefault("label", np.full(n, -1))
    for name, dtype in ARRAYS.items():
        if len(columns[name]) != n:
            raise ZooError(f"{path}: {name} has {len(columns[name])} rows, expected {n} as z_mean")
        columns[name] = columns[name].astype(dtype, copy=False)
    text = {name: str(columns.pop(name, "")) for name in ("source", "model", "origin", "way")}
    known = {name: columns.pop(name) for name in ARRAYS}
    return {**known, **text, "extra": columns}


def check_npz_name(path) -> None:
    """Raise ZooError unless `path` ends in ``.npz``."""
    if Path(path).suffix.lower() != ".npz":
        raise ZooError(
            f"{path}: latents are written as .npz; name the file {Path(path).with_suffix('.npz').name}"
        )


def check_latent_size(latents: Latents, model, origin) -> None:
    """Raise ZooError unless the latents have as many coordinates as the model expects."""
    if latents.size != model.latent_dim:
        raise ZooError(
            f"{origin}: latents of {latents.size} coordinates, but the model has "
            f"{model.latent_dim}; encode the data set with this run"
        )


WAYS = ("auto", "encoder", "likelihood")


def way_of(model, way: str = "auto") -> str:
    """``encoder`` or ``likelihood``: how an opened model's latents are had; ``auto`` takes the better one.

    Raises ZooError for another word, and for the likelihood where the model has no maps to compare with.
    """
    if way not in WAYS:
        raise ZooError(f"--by {way}: expected one of {', '.join(WAYS)}")
    keras_model = getattr(model, "keras_model", None)
    able = isinstance(keras_model, EncodesByLikelihood) and keras_model.has_likelihood
    if way == "likelihood" and not able:
        raise ZooError(
            f"--by likelihood: {model.path or model.name} has no states to compare images with (an export "
            "never has); give the run folder of a model that began from a reconstruction, or --by encoder"
        )
    return "likelihood" if able and way != "encoder" else "encoder"


def encode_dataset(model, info, batch_size: int = 128, progress=None, way: str = "encoder") -> Latents:
    """Latents of all records of a packed data set, in the order of its records.

    `model` is what `open_model` opens and encodes; `info` is a `zoo.data.info.DatasetInfo`;
    `progress(done, total)` is called after each batch. With the ``way`` likelihood (`way_of`) the encoder's
    own latents are in ``extra`` as ``z_mean_encoder`` and ``z_logvar_encoder``, and so are ``state (n,)``,
    from 0, and ``posterior (n, k)``. Raises ZooError if the box differs or a latent is not finite.
    """
    # Records of maps have names instead of labels; the table has both.
    labelled = any(each.in_batches == "label" for each in kind_of(info).schema.fields)
    kept = ("uid", "source_row", "label") if labelled else ("uid", "source_row")
    columns = rows_of(model, "encode", info, batch_size, kept, progress)
    columns.setdefault("label", np.asarray(info.load_table()["label"]))
    more: dict = {}
    if way == "likelihood":
        found = likelihood_rows(model, info, batch_size, progress)
        more = {f"{name}_encoder": columns[name] for name in ("z_mean", "z_logvar")}
        more |= {"state": found["class"], "posterior": found["posterior"]}
        columns |= {name: found[name] for name in ("z_mean", "z_logvar")}
    if not np.isfinite(columns["z_mean"]).all():
        row = int(np.flatnonzero(~np.isfinite(columns["z_mean"]).all(axis=1))[0])
        raise ZooError(
            f"{info.path}: particle {row} got a latent that is not finite; "
            "the run has diverged or the image holds NaN (zoo-pack --check)"
        )
    from zoo.data.reopen import SourceRecord

    columns = {name: np.asarray(columns[name]).astype(dtype) for name, dtype in ARRAYS.items()}
    origin = SourceRecord.of(info).to_text()
    return Latents(**columns, source=source_path(info), model=model.name, origin=origin, way=way, extra=more)


def likelihood_rows(model, info, batch_size: int = 128, progress=None) -> dict[str, np.ndarray]:
    """What `EncodesByLikelihood.encode_by_likelihood` says of every record of ``info``, in record order."""
    from zoo.data.records.batches import sequential_batches

    features, parts, done = model.keras_model.likelihood_features, [], 0
    for batch in sequential_batches(info, batch_size):
        parts.append(model.keras_model.encode_by_likelihood({name: batch[name] for name in features}))
        done += len(parts[-1]["z_mean"])
        if progress:
            progress(done, info.count)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def source_path(info) -> str:
    """The particle file that a data set was packed from ("" if it does not say)."""
    return str(info.source.get("path", ""))
