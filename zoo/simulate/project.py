"""Noise-free projections of a map, in chunks, through the same operations that the models use."""

import numpy as np

# Chunks of one size keep memory flat: about 130 bytes per pixel of a chunk.
_CHUNK_PIXELS = 1 << 20


class Projector:
    """Projections of one map (z, y, x): its padded transform is computed once."""

    def __init__(self, density: np.ndarray, pixel_size_angstrom: float):
        from zoo.ops.slices import padded_transform

        self.box = density.shape[-1]
        self.pixel_size_angstrom = pixel_size_angstrom
        self._transform = padded_transform(np.asarray(density, np.float32))

    def __call__(
        self, euler_deg: np.ndarray, origin_px: np.ndarray | None = None, ctf: np.ndarray | None = None
    ) -> np.ndarray:
        """Images (k, y, x) float32 for RELION angles (k, 3), origins (k, 2) in pixels and CTFs (k, 9).

        A pixel is the sum of the voxels along the beam, times the CTF in Fourier space; the image moves by
        minus the origin, as in RELION.
        """
        chunk = max(1, _CHUNK_PIXELS // self.box**2)
        parts = []
        for start in range(0, len(euler_deg), chunk):
            rows = slice(start, start + chunk)
            parts.append(
                self._chunk(
                    euler_deg[rows],
                    None if origin_px is None else origin_px[rows],
                    None if ctf is None else ctf[rows],
                )
            )
        return np.concatenate(parts)

    def _chunk(self, euler_deg, origin_px, ctf):
        from keras import ops

        from zoo.ops.ctf import ctf_2d
        from zoo.ops.rotations import euler_to_matrix
        from zoo.ops.slices import project_slices

        filters = None
        if ctf is not None:
            filters = ctf_2d(ctf, self.box, np.full(len(ctf), self.pixel_size_angstrom))
        images = project_slices(self._transform, euler_to_matrix(euler_deg), self.box, filters, origin_px)
        return ops.convert_to_numpy(images)
