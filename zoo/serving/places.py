"""Where a model lies that a person names, and where one may be written: checked without importing Keras."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from zoo.errors import ZooError
from zoo.files import finish_folders_in
from zoo.registry import get_entry
from zoo.runs.run_folder import CONFIG, RunFolder

METADATA = Path("assets.extra") / "zoo.json"  # of a SavedModel; TensorFlow Serving leaves this folder alone


def check_model(place, *verbs: str) -> None:
    """Raise ZooError where `place` is no finished run, no SavedModel and no name of a pretrained model.

    Also where its model can do not all of ``verbs``, as far as that is known without its class.
    """
    path = Path(place)
    finish_exports(path)
    if path.exists():
        saved = None if (path / CONFIG).is_file() else saved_model_folder(path)
        if saved is not None:
            _check_saved(saved, verbs)
            return
        name = finished_run(path).config["model"]
        able = () if ":" in name else get_entry(name).verbs
        if able:  # of a class of a person's own it is only known when it is imported
            refuse_verbs(place, name, able, *verbs)
        return
    from zoo.serving.pretrained import list_pretrained

    known = list_pretrained()
    if str(place) not in known:
        raise ZooError(
            f"{place}: no such folder; expected a run folder of zoo-train, a folder of zoo-export, "
            f"or a pretrained model ({', '.join(known) or 'none here'})"
        )
    _check_saved(saved_model_folder(known[str(place)]) or path, verbs)


def _check_saved(folder: Path, verbs: Iterable[str]) -> None:
    try:
        known = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        name, able = known["model"], list(known["signatures"])
    except (OSError, ValueError, KeyError, TypeError):
        return  # a damaged one has words of its own when it is opened
    refuse_verbs(folder, name, able, *verbs)


def refuse_verbs(place, name: str, able: Iterable[str], *verbs: str) -> None:
    """Raise ZooError naming what the model ``name`` at ``place`` cannot do of ``verbs``."""
    able = list(able)
    missing = [verb for verb in verbs if verb not in able]
    if missing:
        known = ", ".join(able) or "nothing"
        raise ZooError(f"{place}: {name} cannot {' or '.join(missing)}; it can {known}")


def finish_exports(path: Path) -> None:
    """Let an export at `path` or in it, whose process died while it replaced another, take its place."""
    for folder in (path.parent, path):
        finish_folders_in(folder, "saved_model.pb")


def finished_run(path, model_name: str | None = None) -> RunFolder:
    """The run at `path`; raises ZooError where it is none, another model's, or not finished."""
    run = RunFolder.open(path, model_name)
    if not run.model_file.is_file():
        raise ZooError(
            f"{path}: has no {run.model_file.name} yet; let the run finish with zoo-train --resume {path}"
        )
    return run


def saved_model_folder(path: Path) -> Path | None:
    """`path` or its newest version folder if that holds a SavedModel, else None."""
    from zoo.serving.pretrained import versions

    if (path / "saved_model.pb").is_file():
        return path
    if path.is_dir() and (found := versions(path)):
        return path / str(found[-1])
    return None


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

    return reopen_data(RunFolder.open(place).config, None, place)


def export_target(out_dir, version: int = 1, overwrite: bool = False) -> Path:
    """Where `export_model` would write; raises ZooError if it must not."""
    if int(version) != version or not 1 <= version < 2**63:
        raise ZooError(f"version {version} is not a whole number from 1; TensorFlow Serving takes no other")
    out_dir = Path(out_dir).absolute()
    if out_dir.exists() and not out_dir.is_dir():
        raise ZooError(f"{out_dir}: is a file, expected a folder to export to; name another one")
    target = out_dir / str(int(version))
    if target.exists() and not overwrite:
        raise ZooError(f"{target}: exists; pass --overwrite, or --version {int(version) + 1} to keep both")
    return target
