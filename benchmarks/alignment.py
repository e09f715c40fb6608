"""Rotational matching: error and time per pair, both modes, 32³ and 64³, one pair at a time and in batches.

Every pair is a random structure of blobs, turned and shifted exactly, with white noise and a ±60° missing
wedge (SNR = signal variance / noise variance in the box, before the wedge). Single pairs include the
preparation of their template; batches share one template, prepared once, over many subtomograms. Times are
medians; CPU seconds are printed too, as a busy machine spoils the others. The limit of shifts is what the
structure without noise, at the true rotation and with all frequencies, still misses them by.

    python benchmarks/alignment.py [--sizes 32 64] [--snr inf 0.1 0.01] [--bench FOLDER/alignbench.py] [--xla]
        [--threads 1]

--bench takes the pairs from another generator's ``generate`` (arrays x, y, z; centre (n−1)/2; keys templates,
subtomos, wedge, R, t) instead of our own.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from pathlib import Path

import keras
import numpy as np
from keras import ops
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from zoo.ops import fourier
from zoo.ops.matching.match_settings import MODES, MatchSettings
from zoo.ops.matching.rotational_matching import match, prepare_templates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--snr", type=float, nargs="+", default=[float("inf"), 0.1, 0.03, 0.01, 0.003])
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 20], help="sizes of batches")
    parser.add_argument("--xla", action="store_true", help="compile by XLA (always so on JAX)")
    parser.add_argument("--threads", type=int, default=0, help="of a TensorFlow operation; 0: all cores")
    parser.add_argument("--bench", type=Path, help="a file alignbench.py whose generate() gives the pairs")
    options = parser.parse_args()
    print(f"backend {keras.backend.backend()}")
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    print("size  mode       SNR    rotation median  <10°   shift median  (<10°)  ms/pair wall    CPU")
    for size in options.sizes:
        clean = some_pairs(options, size, np.inf)["subtomograms"]
        for snr in options.snr:
            pairs = some_pairs(options, size, snr)
            for mode in options.modes:
                report_pairs(size, mode, snr, pairs, options.xla)
            if np.isfinite(snr):
                missed = np.median(shift_limit(pairs, clean))
                print(f"{size:4d}  limit of shifts {snr:5g}{missed:46.3f}", flush=True)
        for mode in options.modes:
            for batch in options.batch:
                report_batch(size, mode, pairs, batch, options.xla)


def report_pairs(size: int, mode: str, snr: float, pairs: dict, xla: bool) -> None:
    settings = MatchSettings(size, mode)

    def one(template, subtomogram, wedge):
        prepared = prepare_templates(settings, fourier.fft3(template))
        return match(settings, fourier.fft3(subtomogram), wedge, prepared)

    one = compiled(one, xla)
    wedge = pairs["wedge"][None]
    found, times = [], []
    for template, subtomogram in zip(pairs["templates"], pairs["subtomograms"], strict=True):
        result, *spent = timed(one, template[None], subtomogram[None], wedge)
        found.append([ops.convert_to_numpy(part)[0, 0, 0] for part in result[:2]])
        times.append(spent)
    turned, moved = errors(found, pairs)
    right = turned < 10.0
    wall, cpu = np.median(times[1:], axis=0) * 1e3  # the first one compiles
    near = np.median(moved[right]) if right.any() else np.nan
    print(
        f"{size:4d}  {mode:9s}  {snr:5g}  {np.median(turned):12.2f}°  {right.mean():6.0%}"
        f"  {np.median(moved):10.3f}  {near:7.3f}  {wall:12.1f}  {cpu:6.1f}",
        flush=True,
    )


def report_batch(size: int, mode: str, pairs: dict, batch: int, xla: bool) -> None:
    settings = MatchSettings(size, mode)

    def several(subtomograms, wedges, prepared):
        return match(settings, fourier.fft3(subtomograms), wedges, prepared)

    prepare = compiled(lambda template: prepare_templates(settings, fourier.fft3(template)))
    several = compiled(several, xla)
    subtomograms = np.resize(pairs["subtomograms"], (batch, size, size, size))
    wedges = np.repeat(pairs["wedge"][None], batch, axis=0)
    preparing, matching = [], []
    for _ in range(max(4, 24 // batch)):
        prepared, *spent = timed(prepare, pairs["templates"][:1])
        preparing.append(spent)
        _, *spent = timed(several, subtomograms, wedges, prepared)
        matching.append(spent)
    wall, cpu = np.median(matching[1:], axis=0) * 1e3 / batch
    first = np.median(preparing[1:], axis=0)[0] * 1e3
    print(
        f"{size:4d}  {mode:9s}  batch of {batch}, one template, prepared in {first:.0f} ms once:"
        f"{wall:27.1f}  {cpu:6.1f}",
        flush=True,
    )


def some_pairs(options, size: int, snr: float) -> dict:
    if options.bench:
        return foreign_pairs(options.bench, size, options.pairs, snr)
    return own_pairs(size, options.pairs, snr)


def own_pairs(size: int, count: int, snr: float) -> dict:
    """Pairs with exact poses, in this package's conventions: arrays (z, y, x), centre size//2."""
    k = fourier.frequency_grid_3d(size)
    wedge = (np.abs(k[..., 2]) <= np.sqrt(3.0) * np.abs(k[..., 0]) + 1e-9).astype("float32")
    pairs = {"wedge": wedge, "templates": [], "subtomograms": [], "rotations": [], "shifts": []}
    for index in range(count):
        rng = np.random.default_rng([size, index])
        blobs = {
            "centre": 0.3 * size * inside_ball(rng, 25),
            "width": size * rng.uniform(0.035, 0.07, 25),
            "height": rng.uniform(0.4, 1.6, 25),
        }
        rotation, shift = Rotation.random(random_state=index), 0.1 * size * inside_ball(rng, 1)[0]
        signal = density(size, blobs, rotation, shift)
        deviation = 0.0 if np.isinf(snr) else np.sqrt(signal.var() / snr)
        noisy = signal + deviation * rng.normal(size=signal.shape)
        pairs["templates"].append(density(size, blobs, Rotation.identity(), np.zeros(3)))
        pairs["subtomograms"].append(behind(noisy, wedge))
        pairs["rotations"].append(rotation.as_matrix())
        pairs["shifts"].append(shift)
    return {name: np.asarray(values) for name, values in pairs.items()}


def foreign_pairs(path: Path, size: int, count: int, snr: float) -> dict:
    """Pairs of alignbench.py: axes turned to (z, y, x), shifts from the centre (n−1)/2 to n//2."""
    specification = importlib.util.spec_from_file_location("alignbench", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    data = module.generate(size, count, snr)
    apart = np.full(3, size // 2 - (size - 1) / 2)
    return {
        "wedge": np.ascontiguousarray(data["wedge"].T, "float32"),
        "templates": np.ascontiguousarray(data["templates"].swapaxes(1, 3), "float32"),
        "subtomograms": np.ascontiguousarray(data["subtomos"].swapaxes(1, 3), "float32"),
        "rotations": data["R"],
        "shifts": data["t"] - apart + data["R"] @ apart,
    }


def shift_limit(pairs: dict, clean: np.ndarray) -> np.ndarray:
    """Voxels by which the best shift of every subtomogram onto itself without noise misses its place."""
    size = len(pairs["wedge"])
    k = np.stack(np.meshgrid(*[np.fft.fftfreq(size)] * 3, indexing="ij")).reshape(3, -1)
    seen = np.fft.ifftshift(pairs["wedge"]).ravel() * (0 < (k**2).sum(0)) * ((k**2).sum(0) <= 0.25)
    missed = []
    for noisy, still in zip(pairs["subtomograms"], clean, strict=True):
        cross = (np.fft.fftn(noisy).conj() * np.fft.fftn(still)).ravel() * seen
        peak = np.argmax(np.fft.ifftn(cross.conj().reshape((size,) * 3)).real)
        start = np.array(np.unravel_index(peak, (size,) * 3))
        start = np.where(start > size // 2, start - size, start)
        scale = np.abs(cross).sum()

        def against(shift, cross=cross, scale=scale):
            wave = cross * np.exp(-2j * np.pi * (shift @ k))
            return -wave.real.sum() / scale, -(k @ (2.0 * np.pi * wave.imag)) / scale

        found = minimize(against, start, jac=True, method="BFGS", options={"gtol": 1e-9})
        missed.append(np.linalg.norm(found.x))
    return np.array(missed)


def inside_ball(rng, count: int) -> np.ndarray:
    direction = rng.normal(size=(count, 3))
    radius = rng.uniform(size=(count, 1)) ** (1 / 3)
    return radius * direction / np.linalg.norm(direction, axis=1, keepdims=True)


def density(size: int, blobs: dict, rotation: Rotation, shift: np.ndarray) -> np.ndarray:
    centres = rotation.apply(blobs["centre"]) + shift
    x = np.arange(size) - size // 2
    width = 2.0 * blobs["width"][:, None] ** 2
    waves = [np.exp(-((x[None] - centres[:, axis, None]) ** 2) / width) for axis in range(3)]
    return np.einsum("a,ax,ay,az->zyx", blobs["height"], *waves, optimize=True).astype("float32")


def behind(volume: np.ndarray, wedge: np.ndarray) -> np.ndarray:
    return np.fft.ifftn(np.fft.fftn(volume) * np.fft.ifftshift(wedge)).real.astype("float32")


def errors(found: list, pairs: dict) -> tuple[np.ndarray, np.ndarray]:
    """Degrees and voxels between found and true poses."""
    rotations = Rotation.from_matrix(np.stack([rotation for rotation, _ in found]).astype(float))
    turned = (rotations * Rotation.from_matrix(pairs["rotations"]).inv()).magnitude()
    moved = np.stack([shift for _, shift in found]) - pairs["shifts"]
    return np.rad2deg(turned), np.linalg.norm(moved, axis=1)


def compiled(function, xla=False):
    """One graph per shape; XLA on TensorFlow where it is asked for, as it compiles for half a minute."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=xla)
    import jax

    return jax.jit(function)


def timed(function, *arguments):
    """Result on the host's side of the queue, wall and CPU seconds."""
    arguments = [ops.convert_to_tensor(a) if isinstance(a, np.ndarray) else a for a in arguments]
    wall, cpu = time.perf_counter(), time.process_time()
    result = function(*arguments)
    for part in result.values() if isinstance(result, dict) else result:
        ops.convert_to_numpy(part[:1])
    return result, time.perf_counter() - wall, time.process_time() - cpu


if __name__ == "__main__":
    main()
