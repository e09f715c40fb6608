"""Template matching: one subtomogram against many templates, beside exhaustive searches with SciPy and pyTME.

In turn, pyTME in a process of its own. All search the same rotations behind a ±60° wedge, zoo and SciPy all
shifts up to an eighth of the box, pyTME all there are. The first peer turns each template by
``scipy.ndimage`` at every rotation and correlates by FFT, as exhaustive matchers do. pyTME (PyPI ``pytme``,
in an environment of its own, whose Python ``--pytme`` names) is such a matcher that runs on a CPU;
pytom-match-pick imports CuPy and needs a GPU. A peer is timed on a few pairs of template and rotation, and
its time for all is that of these times their number. zoo's templates are prepared beforehand (seconds for
that are printed), and its best rotations are refined too, which the peers' are not. Wall and CPU time (user
and system), the least of a few rounds; on a busy machine only the latter means something.

    python benchmarks/matching.py [--templates 1000] [--box 32] [--threads 2] [--pairs 200] [--pytme PYTHON]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy import fft, ndimage

from zoo.analysis.matching.null_maps import OwnMaps
from zoo.data.packing.threads import one_blas_thread
from zoo.data.wedge import wedge_mask
from zoo.ops.matching.prepared_templates import SearchSettings, inside_sphere, prepare
from zoo.ops.matching.template_search import Subtomogram
from zoo.ops.rotation_grid import so3_grid
from zoo.simulate.embedded_complexes import embedded_complexes

_PYTME_MAPS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--templates", type=int, default=1000)
    parser.add_argument("--box", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=200, help="of template and rotation that the peer does")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pytme", help="Python of an environment that has pyTME")
    options = parser.parse_args()
    n, settings = options.box, SearchSettings(options.box)
    complexes = embedded_complexes(n, 384.0 / n).maps
    maps = OwnMaps(complexes, "").maps(0, options.templates)
    wedge = wedge_mask(n, -60, 60)
    volume = seen_through(complexes[3], wedge)
    prepared, spent = timed(lambda: prepare(settings, maps))
    print(f"preparation of {len(maps)} templates, once: {spent[0]:.2f} s, {spent[1]:.2f} s of CPU time")
    grid = so3_grid(settings.step_deg)

    def ours():
        with one_blas_thread():
            return Subtomogram(settings, volume, wedge).match(prepared, options.threads)

    def peers():
        rng = np.random.default_rng(0)
        which = rng.integers(0, len(maps), options.pairs), rng.integers(0, len(grid), options.pairs)
        turned = zip(*which, strict=True)
        return [peer(maps[k], grid[m], volume, wedge, settings) for k, m in turned]

    best = {}
    for _ in range(options.rounds):
        for name, work in (("zoo", ours), ("scipy", peers)):
            found, spent = timed(work)
            best[name] = tuple(map(min, best.get(name, spent), spent))
            if name == "zoo":
                print(f"best template {int(found.scores.argmax())}, the right one is 3")
    pairs = len(maps) * len(grid)
    told(f"zoo, {options.threads} threads", best["zoo"])
    told(f"scipy, from {options.pairs} pairs of {pairs:,}", best["scipy"], pairs / options.pairs, best["zoo"])
    if options.pytme:
        found, spent, count = pytme(options.pytme, maps[:_PYTME_MAPS], volume, wedge, grid, options.pairs)
        print(f"pyTME's best of the first {_PYTME_MAPS} templates: {int(np.argmax(found['scores']))}")
        words = f"pyTME {found['version']}, from {count} pairs of {pairs:,}"
        told(words, spent, pairs / count, best["zoo"])
    print(f"{len(maps)} templates, {len(grid)} rotations, {n}³ voxels")


def told(words, spent, times=1.0, ours=None) -> None:
    """Print wall and CPU seconds of the whole, and how many times ours that is."""
    wall, cpu = (times * each for each in spent)
    ratio = "" if ours is None else f": {wall / ours[0]:,.0f} and {cpu / ours[1]:,.0f} times zoo's"
    print(f"{words}: {wall:,.2f} s, {cpu:,.2f} s of CPU time{ratio}")


def pytme(python, maps, volume, wedge, grid, pairs):
    """What the peer program says, its wall and CPU seconds, and for how many pairs these are."""
    rotations = grid[np.random.default_rng(0).integers(0, len(grid), max(1, pairs // len(maps)))]
    rotations[0] = np.eye(3)  # so that the right template can be found
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "given.npz"
        np.savez(path, maps=maps, volume=volume, wedge=wedge, rotations=rotations)
        program = Path(__file__).parent / "peers" / "pytme_match.py"
        done = subprocess.run([python, program, path], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return found, np.sum(found["seconds"], axis=0), len(maps) * len(rotations)


def peer(template, rotation, volume, wedge, settings) -> float:
    """The best constrained correlation of one turned template over all shifts within the limit."""
    n = len(template)
    middle = np.full(3, n // 2)
    matrix = rotation[::-1, ::-1].T
    turned = ndimage.affine_transform(inside_sphere(template), matrix, middle - matrix @ middle, order=1)
    t = fft.rfftn(turned) * np.fft.ifftshift(wedge)[..., : n // 2 + 1]
    x = fft.rfftn(volume)
    scores = fft.irfftn(x * t.conj(), s=volume.shape)
    norm = np.linalg.norm(fft.irfftn(t, s=volume.shape)) * np.linalg.norm(volume)
    reach = int(settings.max_shift_voxels)
    near = np.r_[0 : reach + 1, n - reach : n]
    return float(scores[np.ix_(near, near, near)].max() / norm)


def seen_through(density, wedge):
    noisy = density + np.random.default_rng(1).normal(0, 3.0, density.shape)
    spectrum = fft.fftshift(fft.fftn(fft.ifftshift(noisy))) * wedge
    return fft.fftshift(fft.ifftn(fft.ifftshift(spectrum)).real)


def timed(work):
    started, cpu = time.perf_counter(), time.process_time()
    found = work()
    return found, (time.perf_counter() - started, time.process_time() - cpu)


if __name__ == "__main__":
    main()
