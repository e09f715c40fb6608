"""A generator of maps, and its inverse, as the nulls of ``zoo-infer match``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

_LOOKED_AT = 64
_BATCH = 16


def pseudo_source(run: Path, regressor: Path | None, seed: int, force: bool):
    """What makes the nulls of a box and voxel size, from two runs that are checked at once.

    The function takes box, voxel size in Å and the templates (k, n, n, n), and gives
    `zoo.analysis.matching.null_maps.GeneratedMaps`. It raises ZooError for a regressor of another generator,
    and for a generator that has collapsed (unless ``force``).
    """
    from zoo.serving.places import check_model

    check_model(run, "generate")
    if regressor is not None:
        check_model(regressor, "encode", "generate")

    def make(box: int, voxel_size_angstrom: float, templates: np.ndarray):
        # Not before: they import Keras.
        from zoo.analysis.matching.null_maps import GeneratedMaps
        from zoo.analysis.pseudo_maps import check_generator, check_same_generator, generated_maps
        from zoo.serving.open_model import open_model
        from zoo.simulate.resample import resample_map

        model = open_model(run, "generate")
        dim = check_generator(model)
        inverse = None if regressor is None else open_model(regressor, "encode", "generate")
        if inverse is not None:
            check_same_generator(inverse, model)

        def generate(latents):
            maps = generated_maps(model, latents, _BATCH)
            return np.stack(
                [resample_map(each, model.voxel_size_angstrom, box, voxel_size_angstrom) for each in maps]
            )

        def encode(maps):
            found = []
            for start in range(0, len(maps), _BATCH):
                turned = [
                    resample_map(each, voxel_size_angstrom, model.box, model.voxel_size_angstrom)
                    for each in maps[start : start + _BATCH]
                ]
                found.append(inverse.apply("encode", {"map": np.stack(turned)[..., None]})["z_mean"])
            return np.concatenate(found)

        words = f"the pseudo-complexes of {run}" + (f", by the latents of {regressor}" if inverse else "")
        source = GeneratedMaps(generate, dim, words, encode if inverse is not None else None, seed)
        _check_variety(run, source.maps(0, _LOOKED_AT), templates, force)
        return source

    return make


def _check_variety(run: Path, samples: np.ndarray, templates: np.ndarray, force: bool) -> None:
    """Raise ZooError where samples are all alike, beside the templates turned at random."""
    from scipy import ndimage
    from scipy.spatial.transform import Rotation

    from zoo.errors import ZooError
    from zoo.metrics.map_sets import collapse_line, pairwise_correlation

    rng = np.random.default_rng(0)
    turned = []
    for density in templates[rng.integers(0, len(templates), _LOOKED_AT)]:
        turn, middle = Rotation.random(rng=rng).as_matrix(), np.full(3, density.shape[-1] // 2)
        turned.append(ndimage.affine_transform(density, turn, middle - turn @ middle, order=1))
    figures = {
        "correlation_samples": pairwise_correlation(samples),
        "correlation_data": pairwise_correlation(np.stack(turned)),
    }
    line = collapse_line(figures)
    if line and not force:
        raise ZooError(f"{run}: {line}: its maps are no null; train it longer, or give --force")
