"""Maps that a generator makes of latent vectors: pseudo-complexes, drawn by seed.

``model`` is what `zoo.serving.open_model.open_model` gives for a run or an exported model that can
``generate``: its signature takes ``latents`` (b, d) and gives ``map`` (b, n, n, n).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from zoo.errors import ZooError

LATENTS = "latents"
_SAME = 0.03  # RMS difference of one generator's maps on two machines or in 16 bits, as a share of their RMS


def check_generator(model) -> int:
    """The number of coordinates of a latent vector of ``model``.

    Raises ZooError where it cannot make maps of latent vectors alone.
    """
    if model.features("generate") != [LATENTS]:
        takes = ", ".join(model.features("generate"))
        raise ZooError(
            f"{model.path}: {model.name} generates from {takes}; name a run of a model that makes maps of "
            "latents, such as wgan3d"
        )
    return int(model.latent_dim)


def draw_latents(count: int, latent_dim: int, seed: int) -> np.ndarray:
    """``count`` latent vectors (count, latent_dim) float32, standard normal.

    The first of a larger count are those of a smaller one.
    """
    return np.random.default_rng(seed).standard_normal((count, latent_dim)).astype(np.float32)


def generated_maps(model, latents: np.ndarray, batch_size: int = 16) -> Iterator[np.ndarray]:
    """Maps (n, n, n) float32 of latents (k, d), one after the other; a batch of them is in memory at once.

    Raises ZooError for latents of another size, and for a map that is not finite.
    """
    size, latents = check_generator(model), np.asarray(latents, np.float32)
    if latents.ndim != 2 or latents.shape[1] != size:
        raise ZooError(f"latents of shape {latents.shape}, but {model.path} takes (count, {size})")
    for start in range(0, len(latents), batch_size):
        maps = model.apply("generate", {LATENTS: latents[start : start + batch_size]})["map"]
        if not np.isfinite(maps).all():
            raise ZooError(f"{model.path}: a generated map is not finite; the run has diverged, take another")
        yield from np.asarray(maps, np.float32)


def generate_maps(model, count: int, seed: int = 0, batch_size: int = 16) -> np.ndarray:
    """``count`` maps (count, n, n, n) float32, the same for the same ``seed``; errors as `generated_maps`."""
    latents = draw_latents(count, check_generator(model), seed)
    return np.stack(list(generated_maps(model, latents, batch_size)))


def check_same_generator(regressor, generator) -> None:
    """Raise ZooError unless ``regressor`` is the inverse of ``generator`` and of no other.

    A regressor holds the generator that it inverts: both make the same maps of the same latents.
    """
    latents = draw_latents(2, check_generator(generator), 0)
    same = check_generator(regressor) == latents.shape[1] and regressor.box == generator.box
    if same:
        ours, theirs = (np.stack(list(generated_maps(each, latents))) for each in (regressor, generator))
        same = bool(np.linalg.norm(ours - theirs) < _SAME * np.linalg.norm(theirs))
    if not same:
        raise ZooError(
            f"{regressor.path}: inverts another generator than {generator.path}; train one with "
            f"zoo-train --model regressor3d --start-from {generator.path}"
        )
