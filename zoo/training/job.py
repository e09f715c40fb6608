"""``zoo-train`` from its options to a finished run folder."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import Any

import keras

from zoo.data.records import batches, split
from zoo.errors import ZooError
from zoo.files import describe_write_error, whole_path, write_advice
from zoo.models.base import StartsFromMaps
from zoo.registry import get_entry
from zoo.runs import checkpoint, inputs
from zoo.runs.run_config import check_data
from zoo.runs.run_folder import CONFIG, RunFolder, check_free, free_path
from zoo.runs.run_lock import locked
from zoo.training import settings
from zoo.training.devices import Devices, batches_for, pick_devices
from zoo.training.first_phase import check_start, phase_of, start_folder
from zoo.training.given_maps import set_given_maps
from zoo.training.global_state import global_state_kept
from zoo.training.judge import Judge
from zoo.training.learner import Learner, make_learner
from zoo.training.loop import Loop, Plan
from zoo.training.reporting import Progress
from zoo.training.settings import TrainSettings
from zoo.training.signals import Stopped, stop_at_once
from zoo.training.warm_start import start_from

_PREVIEW_IMAGES = 16
# The preview's batch is the same at every sample, and not the first that the model learns from.
_PREVIEW_SEED = 1_000_003


def train(options: TrainSettings) -> tuple[RunFolder, int]:
    """Train a model, new or resumed; returns its run folder and an exit code (0: finished).

    Raises ZooError for whatever is wrong with the options, the data or the run folder.
    """
    with global_state_kept(), contextlib.ExitStack() as held:
        return _train(options, held)


def _train(options: TrainSettings, held: contextlib.ExitStack) -> tuple[RunFolder, int]:
    devices = pick_devices(options.strategy)
    if options.resume is not None and devices.is_chief:
        RunFolder.open(options.resume, options.model)  # says what is wrong with a folder that is no run
        held.enter_context(locked(options.resume))
    run, opened, resumed = _open_run(options, devices)
    config, plan = run.config, settings.plan_of(run.config)
    done = run.last_step() if resumed else 0
    settings.check_steps_left(run.path, done, plan.steps)

    _set_precision(config["mixed_precision"])
    learner = make_learner(config, opened, devices)
    engine = learner.engine
    begins_alone = config.get("start_from") or phase_of(config) is None
    taken = _start(learner.model, config, devices, run.path) if begins_alone and not done else []
    if devices.is_chief and not resumed:
        # Not before the model is there: a refused hyperparameter leaves no folder behind.
        held.enter_context(locked(run.path))
        run = RunFolder.create(run.path, config, options.overwrite)
    if not begins_alone and not done:
        code = devices.agree(_train_first_phase(run, opened) if devices.is_chief else 0)
        if code:
            if devices.is_chief:
                print(f"stopped in the first phase; continue with: zoo-train --resume {run.path}", flush=True)
            return run, code
        taken = _start(learner.model, config, devices, run.path)
    if done:
        checkpoint.restore(engine, checkpoint.path_for(run.checkpoints, done), run.config_hash())
    if resumed and devices.is_chief:
        # Not before the last check: a refused --resume leaves the run as it was.
        run.write_config()
    held.enter_context(_write_errors(run))
    progress = Progress(plan.steps, done, config["batch_size"], quiet=not devices.is_chief)
    _introduce(progress, run, opened, devices, learner.model, done)
    for line in taken:
        progress.say(line)
    if done < plan.steps and not engine.is_finished:
        signal_number = _run_loop(learner, run, plan, opened, devices, progress, done)
        if signal_number:
            progress.say(
                f"stopped after step {engine.step_index}; continue with: zoo-train --resume {run.path}"
            )
            return run, 128 + signal_number
    try:
        # Workers that wait for the chief are inside TensorFlow, where only a default handler ends them.
        with stop_at_once() if devices.is_chief else contextlib.nullcontext():
            _finish(learner, run, opened, devices, progress)
    except Stopped as stopped:
        progress.say(f"stopped while finishing; finish with: zoo-train --resume {run.path}")
        return run, 128 + stopped.signal_number
    return run, 0


@contextlib.contextmanager
def _write_errors(run: RunFolder):
    """One line for whatever cannot be written into a run folder; it says how to go on."""
    with write_advice(f"continue with: zoo-train --resume {run.path}"):
        try:
            yield
        except OSError as error:
            raise ZooError(describe_write_error(error.filename or run.path, error)) from error


def _open_run(options: TrainSettings, devices: Devices) -> tuple[RunFolder, inputs.Inputs, bool]:
    if options.resume is not None:
        run = RunFolder.open(options.resume, options.model)
        run.config = settings.resumed_config(options, run.config, run.path)
        check_data(run.config["data"], run.path / CONFIG)
        takes = get_entry(run.config["model"]).takes
        return run, inputs.reopen(run.config["data"], takes, options.data), True
    if options.out is not None and devices.is_chief:
        # Before the data are made or read: that may take long.
        check_free(options.out, options.overwrite)
    config, opened = settings.new_config(options)
    config["strategy"] = options.strategy
    config["device"] = devices.description
    path = Path(options.out) if options.out is not None else free_path(f"run-{options.model}")
    return RunFolder(path, config), opened, False


def _set_precision(mixed: bool) -> None:
    if not mixed:
        return
    # bfloat16 keeps float32's range: no loss scaling, which several optimizers would each have to do.
    keras.mixed_precision.set_global_policy("mixed_bfloat16")


def _train_first_phase(run: RunFolder, opened: inputs.Inputs) -> int:
    """Train, or finish, the run that ``run`` begins from, in a folder of its own: resumed as exactly as any.

    Returns the exit code of `train`.
    """
    phase, folder = phase_of(run.config), start_folder(run.config, run.path)
    assert phase is not None and folder is not None
    data = str(opened.first.path)
    if (folder / CONFIG).is_file():
        if RunFolder.open(folder, phase.model).model_file.is_file():
            return 0
        return train(TrainSettings(resume=folder, data=data))[1]
    print(f"first {phase.model}, whose maps, classes and poses {run.config['model']} begins from", flush=True)
    first = TrainSettings(model=phase.model, preset=phase.preset, overrides=dict(phase.values), data=data)
    first.seed, first.out, first.overwrite = run.config["seed"], folder, True
    first.strategy, first.sample_every, first.results = "one", 0, False
    return train(first)[1]


def _start(model, config: dict[str, Any], devices: Devices, run: Path) -> list[str]:
    """What a new run begins from besides its settings; a checkpoint holds it from then on."""
    folder, phase = start_folder(config, run), phase_of(config)
    check_start(config)
    with devices.scope():
        lines = set_given_maps(model) if isinstance(model, StartsFromMaps) else []
        if folder is None:
            return lines
        return lines + start_from(model, config["model"], folder, phase.model if phase else None)


def _introduce(progress: Progress, run: RunFolder, opened, devices: Devices, model, done: int) -> None:
    config = run.config
    progress.say(f"device: {devices.description}")
    for role, info in opened.by_role.items():
        known = config["data"].get("roles", {role: config["data"]})[role]
        where = "embedded" if known["source"] == "embedded" else info.path
        pixel = f"{info.voxel_size_angstrom:.4g} Å/px"
        progress.say(f"{role}: {info.count} {info.kind} of {info.box} px, {pixel} ({where})")
        if note := info.contrast_note():
            progress.say(f"note: {note}")
    for name, value in config.get("suggested", {}).items():
        progress.say(f"setting: {name}={value}, as the embedded data suggest (--set {name}=N for another)")
    # Averages are learned too, though no gradient moves them.
    weights = sum(math.prod(v.shape) for v in model.trainable_variables or model.variables)
    progress.say(f"model: {config['model']}, preset {config['preset']}, {weights:,} weights")
    progress.say(f"run: {run.path}" + (f", continued after step {done}" if done else ""))


def _run_loop(learner: Learner, run: RunFolder, plan: Plan, opened, devices, progress, done: int) -> int:
    config, info = run.config, opened.first
    more = {"held_back": learner.held_back, "with_index": learner.house.numbers_records}
    batches = batches_for(devices, opened.for_model, config["batch_size"], config["seed"], done, **more)
    preview = _preview_function(learner.house, opened, devices) if plan.sample_every else None
    loop = Loop(learner.engine, run, plan, devices, preview, info.voxel_size_angstrom)
    if keras.backend.backend() != "tensorflow":
        return loop.run_steps(batches, progress)
    from zoo.data.records.particle_pipeline import readable_errors

    with readable_errors(info):
        return loop.run_steps(batches, progress)


def _preview_function(model, opened, devices: Devices):
    held: list[dict] = []
    info = opened.first
    judge = Judge(model, info)

    def preview(last: bool) -> dict[str, Any]:
        if not held:
            count = min(_PREVIEW_IMAGES, info.count)
            held.append(next(batches.training_batches(opened.for_model, count, _PREVIEW_SEED, 0)))
        return {**model.preview(held[0]), **judge.figures(last, may_align=devices.is_chief)}

    return preview


def _finish(learner: Learner, run: RunFolder, opened, devices: Devices, progress: Progress) -> None:
    """Write ``model.keras`` and ``export/1`` (the chief), and wait for each other (all)."""
    state = checkpoint.collect(learner.engine, run.config_hash())
    if devices.is_chief:
        if devices.strategy is not None:
            # A model made under a strategy is tied to its devices: write an untied twin.
            learner = make_learner(run.config, opened, Devices("export"))
            checkpoint.apply(state, learner.engine)
        if learner.supervision is not None and (line := learner.supervision.take_best()):
            progress.say(line)
        _save_model(learner.model, run)
        _export(learner.house, run, progress)
        if run.config.get("results", True):
            _write_results(learner, run, opened.first, progress)
        progress.say(f"done: {run.model_file}")
    devices.agree(0)


def _write_results(learner: Learner, run: RunFolder, info, progress: Progress) -> None:
    """What the model found, as files; nothing where it says nothing."""
    from zoo.serving.open_model import RunModel
    from zoo.training.results import write_results

    model, records = learner.house, batches.sequential_batches(info, run.config["batch_size"])
    if learner.held_back is not None:
        records = split.marked(iter(records), run.config["seed"], learner.held_back)
    found = model.results(records, RunModel(model, run.path).apply)
    if found is None:
        return
    for line in write_results(found, info, run.path / "results"):
        progress.say(line)


def _save_model(model, run: RunFolder) -> None:
    then = f"finish with: zoo-train --resume {run.path}"
    with whole_path(run.model_file, ending=".keras", then=then) as temporary:
        model.save(temporary)


def _export(model, run: RunFolder, progress: Progress) -> None:
    if not model.endpoints():
        return
    if keras.backend.backend() != "tensorflow":
        progress.say(f"no SavedModel yet: KERAS_BACKEND=tensorflow zoo-export {run.path} writes one")
        return
    from zoo.serving.export import export_model
    from zoo.serving.open_model import facts_of_run

    then = f"finish with: zoo-train --resume {run.path}"
    facts = facts_of_run(run.path)
    export_model(model, run.path / "export", overwrite=True, then=then, trained_on=facts)
