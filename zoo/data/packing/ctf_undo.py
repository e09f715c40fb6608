"""Images that were phase-flipped or multiplied with their CTF, brought back to CTF x particle."""

from __future__ import annotations

import numpy as np
import scipy.fft

from zoo.data.tables.particle_table import FLIPPED, PREMULTIPLIED, ParticleTable
from zoo.ops.ctf_values import ctf_values

_LEAST = 0.05


def undo_ctf(images: np.ndarray, table: ParticleTable) -> np.ndarray:
    """Images (k, y, x) of the particles of ``table``, in full size, as they were recorded; float32.

    Flipped phases are flipped again, exactly. A premultiplied image holds CTF² x particle + CTF x noise:
    divided by its CTF (where that is above 0.05, less below: nothing is left there) it holds what was
    recorded, if it was multiplied in this box; multiplied in a larger one and cropped, that is nearly so.
    """
    state = table.ctf_state()
    changed = np.flatnonzero(state)
    if not changed.size:
        return images
    box = images.shape[-1]
    ky, kx = np.meshgrid(scipy.fft.fftfreq(box), scipy.fft.rfftfreq(box), indexing="ij")
    grid = np.stack([kx.ravel(), ky.ravel()])
    out = np.array(images, dtype=np.float32)
    ctf = table.ctf()
    for row in changed.tolist():
        values = ctf_values(ctf[row : row + 1], grid / table.pixel_size_angstrom[row])[0].reshape(ky.shape)
        if state[row] == FLIPPED:
            factor = np.where(values < 0, -1.0, 1.0)
        else:
            assert state[row] == PREMULTIPLIED
            factor = values / np.maximum(values**2, _LEAST**2)
        out[row] = scipy.fft.irfft2(scipy.fft.rfft2(images[row]) * factor, s=images.shape[1:])
    return out
