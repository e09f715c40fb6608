"""Training: images per second of one step of `vaegan3d` against a plain PyTorch step of the same networks.

The peer, ``peers/vaegan3d_torch.py``, is eager PyTorch with the same networks, losses and Adams (uniform
camera, no pose search). Before anything is timed it gets our weights and random numbers, and parameter
counts, outputs, losses and gradient norms are compared: a step of other networks would be no comparison.
Both programs then stay open, on the same CPUs and with as many threads, and take turns of a few steps each,
so that a machine that becomes slower does so for both. The median step counts. The batch is in memory:
reading is not part of it. Other programs on the same CPUs spoil the ratio (PyTorch's threads wait for each
other in every operation, and suffer most): the CPU time beside each step shows it, and a line says so.

    python benchmarks/training.py --peer-python /path/to/venv/with/torch/bin/python
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SETTINGS = {
    "uniform_camera, 64 pixels": {},
    "reduced, 32 pixels": {
        "box": 32,
        "voxel_size_angstrom": 10.0,
        "siren_width": 64,
        "filters": (16, 32, 64),
        "encoder_filters": (16, 32, 64),
    },
}
# float32 sums in another order; gradients of the penalty pass through twice as many of them.
TOLERANCES = {"score": 1e-3, "encoding": 1e-3, "clean": 1e-3, "sigma": 1e-3, "loss": 1e-3, "norm": 1e-2}
PEER = Path(__file__).parent / "peers" / "vaegan3d_torch.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--peer-python", default=os.environ.get("ZOO_PEER_PYTHON"), help="Python with PyTorch and NumPy"
    )
    parser.add_argument("--threads", type=int, default=len(available_cpus()))
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--warm-up", type=int, default=2, help="steps that are not timed")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3, help="timed steps of each program in each turn")
    parser.add_argument("--only", choices=[name.split(",")[0] for name in SETTINGS])
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(Path(options.worker), options.threads)
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, available_cpus()[: options.threads])
    for name, overrides in SETTINGS.items():
        if options.only in (None, name.split(",")[0]):
            compare(name, overrides, options)


def available_cpus() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def compare(name: str, overrides: dict, options: argparse.Namespace) -> None:
    from zoo.models.vaegan3d.config import PRESETS

    settings = {**PRESETS["uniform_camera"], **overrides, "batch_size": options.batch_size}
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        (folder / "settings.json").write_text(json.dumps(settings))
        np.savez(folder / "batch.npz", **synthetic_batch(settings))
        threads = str(options.threads)
        ours = [sys.executable, __file__, "--worker", str(folder), "--threads", threads]
        programs = {"zoo": Program("zoo", ours)}
        try:
            if options.peer_python:
                theirs = [options.peer_python, str(PEER), str(folder), threads]
                programs["PyTorch"] = Program("PyTorch", theirs)
            print(f"{name}, batch {options.batch_size}, {threads} threads", flush=True)
            if options.peer_python:
                compare_networks(programs, folder)
            for program in programs.values():
                program.steps(options.warm_up)
            seconds: dict[str, list] = {program: [] for program in programs}
            for _ in range(options.turns):
                for program in programs:
                    seconds[program] += programs[program].steps(options.steps)
        finally:
            for program in programs.values():
                program.close()
    report(seconds, programs, options)


def report(seconds: dict[str, list], programs: dict, options: argparse.Namespace) -> None:
    """seconds: program → (wall-clock, CPU) seconds of each timed step."""
    median = {}
    for program, steps in seconds.items():
        wall, cpu = zip(*steps, strict=True)
        median[program] = statistics.median(wall)
        label = f"{program} {programs[program].ready['version']}"
        rate = options.batch_size / median[program]
        step = f"step {median[program]:.2f} s, {min(wall):.2f} … {max(wall):.2f}"
        print(f"  {label:22s} {rate:8.2f} images/s  ({step}; CPU {statistics.median(cpu):.2f} s)", flush=True)
    if "PyTorch" in median:
        print(f"  ratio {median['PyTorch'] / median['zoo']:.2f} (zoo / PyTorch)")
    else:
        print("  no ratio: give --peer-python (or ZOO_PEER_PYTHON), a Python that has PyTorch")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > options.threads + 1.0:
        print(f"  load average {load:.1f}, of which {options.threads} our own: do not trust these times")


class Program:
    """A worker process: says in one JSON line that it is ready, then runs the steps it is told to."""

    def __init__(self, name: str, command: list[str]):
        self.name = name
        environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "CUDA_VISIBLE_DEVICES": ""}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.ready = self._answer()

    def steps(self, count: int) -> list[list[float]]:
        """Wall-clock and CPU seconds of each of ``count`` steps."""
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            status = self.process.wait()
            raise SystemExit(f"the {self.name} program ended with status {status}; see its message above")
        return json.loads(line)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def compare_networks(programs: dict[str, Program], folder: Path) -> None:
    """Ends the benchmark where the two programs do not train the same networks."""
    ours, theirs = (programs[name].ready["parameters"] for name in ("zoo", "PyTorch"))
    for network, count in ours.items():
        print(f"  parameters of {network:10s} {count:9d} {theirs[network]:9d}")
    if ours != theirs:
        raise SystemExit("the parameter counts differ: these are not the same networks")
    found, expected = np.load(folder / "torch_check.npz"), np.load(folder / "zoo_check.npz")
    worst = {}
    for name in expected.files:
        scale = float(np.abs(expected[name]).max())
        worst[name] = float(np.abs(found[name] - expected[name]).max()) / scale
        if not worst[name] <= TOLERANCES[name.split("_")[-1]]:
            raise SystemExit(f"{name} differs by {worst[name]:.2g} of {scale:.3g}: not the same networks")
    largest = max(worst, key=worst.get)
    print(f"  outputs, losses and gradient norms agree; largest difference {worst[largest]:.1e} ({largest})")


def synthetic_batch(settings: dict) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    count, box = settings["batch_size"], settings["box"]

    def ctf():
        defocus = rng.uniform(10_000.0, 30_000.0, count)
        rest = np.tile([30.0, 300.0, 2.7, 0.1, 0.0, 0.0, 1.0], (count, 1))
        return np.column_stack([defocus, defocus - 300.0, rest]).astype("float32")

    return {
        "image": rng.normal(size=(count, box, box, 1)).astype("float32"),
        "ctf": ctf(),
        "ctf_random": ctf(),
        "pixel_size_angstrom": np.full(count, settings["voxel_size_angstrom"], "float32"),
    }


def worker(folder: Path, threads: int) -> None:
    """Our side, in a process of its own."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    from zoo.engines.choose import get_engine
    from zoo.models.vaegan3d.model import VAEGAN3D

    model = VAEGAN3D(**json.loads((folder / "settings.json").read_text()))
    networks = {
        "critic": model.critic,
        "encoder": model.encoder,
        "generator": model.generator,
        "noise": model.noise_generator,
    }
    variables = {name: network.trainable_variables for name, network in networks.items()}
    disturb([variable for network in variables.values() for variable in network])
    arrays = {f"{name}/{i:03d}": v.numpy() for name in variables for i, v in enumerate(variables[name])}
    np.savez(folder / "weights.npz", **arrays)
    batch = {name: tf.constant(value) for name, value in np.load(folder / "batch.npz").items()}
    np.savez(folder / "zoo_check.npz", **check(model, batch, folder))
    engine = get_engine(model, seed=0)
    counts = {name: sum(int(np.prod(v.shape)) for v in network) for name, network in variables.items()}
    print(json.dumps({"parameters": counts, "version": f"(TensorFlow {tf.__version__})"}), flush=True)
    for line in sys.stdin:
        seconds = []
        for _ in range(int(line)):
            started, cpu = time.perf_counter(), time.process_time()
            logs = {name: float(value) for name, value in engine.step(batch).items()}
            seconds.append((time.perf_counter() - started, time.process_time() - cpu))
            if not all(map(np.isfinite, logs.values())):
                raise SystemExit(f"losses are no longer finite: {logs}")
        print(json.dumps(seconds), flush=True)


def disturb(variables: list) -> None:
    """Biases and scales start at 0 and 1: away from there, a weight in the wrong place would show."""
    rng = np.random.default_rng(1)
    for variable in variables:
        if len(variable.shape) == 1:
            variable.assign_add(rng.normal(scale=0.02, size=variable.shape).astype("float32"))


def check(model, batch: dict, folder: Path) -> dict[str, np.ndarray]:
    """Outputs, losses and gradient norms before the first step; writes the random numbers they come from."""
    import tensorflow as tf

    from zoo.engines.tensorflow_engine import input_gradient, make_draws

    step = tf.constant(0)
    draws = make_draws(model.draw_specs(), 0, 0, len(batch["image"]), 0, 1)
    np.savez(folder / "draws.npz", **{name: value.numpy() for name, value in draws.items()})
    draws.update(model.prepare(batch, draws, step))
    encoding = model._encode(batch["image"], batch["ctf"], batch, training=True)
    ctf = model._ctf(batch["ctf"], batch)
    found = {
        "score": model.critic(batch["image"], training=True)[0][:, 0],
        "encoding": tf.concat(encoding, axis=1),
        "clean": model.clean_images(model.generator, draws["z"], model._rotations(draws["camera_fake"]), ctf),
        "sigma": model.noise_level(draws["z_noise_fake"]),
    }
    for player in ("critic", "encoder", "generator"):
        values = [variable.value for variable in model.player_variables(player)]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            loss, _ = model.player_loss(player, batch, draws, input_gradient, step)
        gradients = tape.gradient(loss, values, unconnected_gradients="zero")
        found[f"{player}_loss"] = loss
        found[f"{player}_gradient_norm"] = tf.linalg.global_norm([tf.convert_to_tensor(g) for g in gradients])
    return {name: value.numpy() for name, value in found.items()}


if __name__ == "__main__":
    main()
