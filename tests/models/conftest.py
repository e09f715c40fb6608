import numpy as np
import pytest

SMALL = {
    "box": 16,
    "voxel_size_angstrom": 20.0,
    "siren_width": 16,
    "gabor_filters": 4,
    "gabor_kernel": 5,
    "filters": (4, 8),
    "encoder_filters": (4, 8),
    "noise_filters": 4,
    "batch_size": 4,
    "adversarial_batch": 0,
    "encoder_batch": 0,
}
SMALL_SEARCH = {"search_codes": 2, "search_views": 12, "search_in_plane": 8, "search_rings": 4}


@pytest.fixture
def small():
    """Overrides that make any preset of vaegan3d small enough for a test."""
    return dict(SMALL)


@pytest.fixture
def small_search():
    """The same for a preset with pose search."""
    return {**SMALL, **SMALL_SEARCH}


@pytest.fixture
def particle_batch():
    """A function (count, box) → one batch as the pipeline yields it, NumPy arrays."""

    def make(count=4, box=16, seed=0):
        rng = np.random.default_rng(seed)
        ctf = np.tile(
            np.array([[15000.0, 14000.0, 20.0, 300.0, 2.7, 0.1, 0.0, 0.0, 1.0]], "float32"), (count, 1)
        )
        return {
            "image": rng.normal(size=(count, box, box, 1)).astype("float32"),
            "ctf": ctf,
            "ctf_random": ctf[::-1].copy(),
            "pixel_size_angstrom": np.full(count, 20.0, "float32"),
            "label": np.zeros(count, "int32"),
        }

    return make
