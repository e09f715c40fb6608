"""``zoo-train``: train a model, or continue a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo_tools._run import make_app, run

app = make_app("Train a model.")


@app.command()
def train(
    model: Annotated[str | None, typer.Option(help="Which model (zoo models lists them).")] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[ROLE=]DIR",
            help="Folder made by zoo-pack, one for each role of the model; left out: embedded data.",
        ),
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Named set of hyperparameters of the model.")] = None,
    steps: Annotated[int | None, typer.Option(help="Total steps, those before a resume included.")] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Total epochs, for models that learn by them (default 20).")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per step, over all devices.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder to make; left out: run-MODEL.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of weights, data order and noise (default 0).")
    ] = None,
    strategy: Annotated[str, typer.Option(help="Devices: auto, one, mirrored or multiworker.")] = "auto",
    mixed_precision: Annotated[bool, typer.Option("--mixed-precision", help="Compute in 16 bits.")] = False,
    set_values: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Change a hyperparameter (repeatable)."),
    ] = None,
    poses: Annotated[
        str | None,
        typer.Option(
            metavar="find|known",
            help="Poses of the particles: found from nothing, or known from their own file; short for --set "
            "poses=known (abinitio3d, vaegan3d).",
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of hyperparameters (name: value).")] = None,
    resume: Annotated[Path | None, typer.Option(help="Run folder to continue, exactly.")] = None,
    start_from: Annotated[
        Path | None, typer.Option(help="Finished run whose weights start a new one; the box may differ.")
    ] = None,
    sample_every: Annotated[
        int | None, typer.Option(help="Steps between pictures, maps and figures (default 500; 0: none).")
    ] = None,
    checkpoint_every: Annotated[
        int | None, typer.Option(help="Steps between checkpoints (default 500).")
    ] = None,
    log_every: Annotated[
        int | None, typer.Option(help="Steps between rows of metrics.csv (default 10).")
    ] = None,
    results: Annotated[
        bool | None,
        typer.Option("--results/--no-results", help="Write RUN/results/ at the end (default: write it)."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in --out.")] = False,
) -> None:
    """Train a model, or continue a run with --resume.

    zoo-train --model vaegan3d or faml trains on embedded data and needs no files.
    """
    from zoo.errors import ZooError
    from zoo.runs.inputs import parse_data
    from zoo.training.settings import TrainSettings, check_words, parse_assignments

    overrides = parse_assignments(set_values or [])
    if poses is not None:
        if overrides.setdefault("poses", poses) != poses:
            raise ZooError(f"--poses {poses} and --set poses={overrides['poses']}: give one of them")
    options = TrainSettings(
        model=model,
        data=parse_data(data or []),
        preset=preset,
        overrides=overrides,
        config_file=config,
        steps=steps,
        epochs=epochs,
        batch_size=batch_size,
        out=out,
        seed=seed,
        strategy=strategy,
        mixed_precision=mixed_precision,
        resume=resume,
        start_from=start_from,
        sample_every=sample_every,
        checkpoint_every=checkpoint_every,
        log_every=log_every,
        overwrite=overwrite,
        results=results,
    )
    check_words(options)
    # Not before: it imports Keras.
    from zoo.training.allocator import keep_freed_memory
    from zoo.training.job import train as run_job

    keep_freed_memory()  # here and not in train(): it changes the whole process, for good
    _, code = run_job(options)
    raise typer.Exit(code)


def main() -> None:
    """Entry point of ``zoo-train``."""
    run(app, "zoo-train")
