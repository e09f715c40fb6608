"""Template matching: one subtomogram against many templates, beside an exhaustive search with SciPy.

In one process, in turn. Both search the same rotations and all shifts up to an eighth of the box behind a
±60° wedge. The peer turns each template by ``scipy.ndimage`` at every rotation and correlates by FFT, as
exhaustive matchers do; it is timed on a few pairs of template and rotation, and its time for all is that of
these times their number. zoo's templates are prepared beforehand (seconds for that are printed), and its best
rotations are refined too, which the peer's are not. Wall and CPU time; on a busy machine only the latter
means something.

    python benchmarks/matching.py [--templates 1000] [--box 32] [--threads 2] [--pairs 200]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from scipy import fft, ndimage

from zoo.analysis.matching.null_maps import OwnMaps
from zoo.data.packing.threads import one_blas_thread
from zoo.data.wedge import wedge_mask
from zoo.ops.matching.prepared_templates import SearchSettings, inside_sphere, prepare
from zoo.ops.matching.template_search import Subtomogram
from zoo.ops.rotation_grid import so3_grid
from zoo.simulate.embedded_complexes import embedded_complexes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--templates", type=int, default=1000)
    parser.add_argument("--box", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=200, help="of template and rotation that the peer does")
    parser.add_argument("--rounds", type=int, default=3)
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
    whole = len(maps) * len(grid) / options.pairs
    theirs = [whole * spent for spent in best["scipy"]]
    print(f"zoo   {best['zoo'][0]:10.2f} s, {best['zoo'][1]:10.2f} s of CPU time ({options.threads} threads)")
    print(f"scipy {theirs[0]:10.0f} s, {theirs[1]:10.0f} s of CPU time (from {options.pairs} pairs of "
          f"{len(maps) * len(grid):,})")  # fmt: skip
    ratio = theirs[1] / best["zoo"][1]
    print(f"ratio {ratio:.0f} in CPU time: {len(maps)} templates, {len(grid)} rotations, {n}³ voxels")


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
