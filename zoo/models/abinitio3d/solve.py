"""The whole reconstruction as one function, on arrays in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from zoo.errors import ZooError
from zoo.models.abinitio3d.abinitio import AbInitio
from zoo.models.abinitio3d.config import Config
from zoo.models.abinitio3d.results import Result
from zoo.models.abinitio3d.state import give_halves, give_poses, initial_state
from zoo.models.given_poses import GivenPoses
from zoo.ops.fourier_volume import generator

_ORDER = 9  # stream of random numbers


def reconstruct(
    images: np.ndarray,
    ctf: np.ndarray,
    pixel_size_angstrom,
    config: Config | None = None,
    seed: int = 0,
    say: Callable[[str], None] | None = None,
    poses: GivenPoses | None = None,
    half_set: np.ndarray | None = None,
) -> Result:
    """Maps, classes and poses from images ``(N, y, x)`` with CTFs ``(N, 9)`` (order of zoo.ops.ctf.COLUMNS).

    Pixels in Å: one number, or ``(N,)``. Box, pixel size and count of the configuration are taken from the
    images. ``say`` is told each line of the run's log. ``poses``: those of the images, if the configuration
    has ``poses="known"``; ``half_set (N,)``: 1 or 2, else drawn. Raises ZooError for arrays that do not fit.
    """
    images = np.asarray(images)
    if images.ndim != 3 or images.shape[1] != images.shape[2]:
        raise ZooError(f"images {images.shape}: expected square images (N, y, x)")
    ctf = np.asarray(ctf)
    if ctf.shape != (len(images), 9):
        raise ZooError(f"ctf {ctf.shape}: expected one row of 9 for each of the {len(images)} images")
    if not np.isfinite(images).all():
        row = int(np.flatnonzero(~np.isfinite(images).all(axis=(1, 2)))[0])
        raise ZooError(f"image {row} holds values that are not finite; leave it out")
    pixels = np.broadcast_to(np.asarray(pixel_size_angstrom, np.float64), (len(images),))
    sizes = np.abs(pixels / np.median(pixels) - 1)
    if not (sizes * images.shape[-1] / 2 < 0.5).all():
        row = int(sizes.argmax())
        raise ZooError(
            f"image {row} has pixels of {pixels[row]:.5g} Å, most have {np.median(pixels):.5g} Å: expected "
            "one size; bring them to one box and pixel size"
        )
    config = dataclasses.replace(
        config or Config(),
        box=images.shape[-1],
        count=len(images),
        voxel_size_angstrom=float(np.median(pixels)),
        seed=seed,
    )
    run = AbInitio(config, initial_state(config))
    if half_set is not None:
        if np.shape(half_set) != (len(images),) or not np.isin(half_set, (1, 2)).all():
            raise ZooError(
                f"half_set {np.shape(half_set)}: expected 1 or 2 for each of the {len(images)} images"
            )
        give_halves(run.state, half_set)
    if config.poses == "known" and poses is not None:
        give_poses(run.state, config, poses)
    lines: list[str] = []
    prepared = None
    for step, rows in enumerate(epochs(config)):
        if run.finished:
            break
        if prepared is None:
            prepared = run.prepare()
        batch = {"image": images[rows], "ctf": ctf[rows], "pixel_size_angstrom": pixels[rows], "index": rows}
        run.add(run.e_step(batch, prepared))
        if run.ends_update(step):
            run.m_step()
            prepared = None
            for line in run.lines[len(lines) :]:
                lines.append(line)
                if say is not None:
                    say(line)
    return dataclasses.replace(run.results(), lines=tuple(lines))


def epochs(config: Config) -> Iterator[np.ndarray]:
    """Rows of batch after batch, each epoch in an order of its own: a function of (seed, epoch)."""
    epoch = 0
    while True:
        order = generator(config.seed, _ORDER, epoch).permutation(config.count)
        for start in range(0, config.count, config.batch_size):
            yield order[start : start + config.batch_size]
        epoch += 1
