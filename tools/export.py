"""``zoo-export``: a run becomes a SavedModel that works where the zoo is not installed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo_tools._run import make_app, run

app = make_app("Write the model of a run as a SavedModel: signatures encode, generate, project and density.")


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of zoo-train.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder of versions; RUN/export by default.")
    ] = None,
    version: Annotated[int, typer.Option(help="Version number; the SavedModel is DIR/VERSION/.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the version if it exists.")] = False,
) -> None:
    """Write DIR/1/, to be used with tf.saved_model.load, saved_model_cli or TensorFlow Serving."""
    from zoo.serving.places import export_target, finished_run

    out = out or folder / "export"
    finished_run(folder)
    export_target(out, version, overwrite)
    # Not before: they import Keras.
    from zoo.serving.export import describe_signatures, export_model
    from zoo.serving.open_model import facts_of_run, load_run_model

    written = export_model(load_run_model(folder), out, version, overwrite, trained_on=facts_of_run(folder))
    print(f"wrote {written}")
    print(describe_signatures(written))


def main() -> None:
    """Entry point of ``zoo-export``."""
    run(app, "zoo-export")
