"""The transpose of slicing: images back into Fourier grids (gridding)."""

import numpy as np

from zoo.kernels import kernel
from zoo.ops.fourier_volume.grid import PAD
from zoo.ops.fourier_volume.slices import MATH
from zoo.ops.fourier_volume.threads import in_ranges


@kernel(fastmath=MATH)
def _insert(sums, group, mine, images, frames, shifts, weights, values, ctf, points, turn):
    middle, count = sums.shape[0] // 2, points.shape[0]
    for n in range(group.shape[0]):
        if group[n] != mine or weights[n] == 0:
            continue
        i, frame = images[n], frames[n]
        for p in range(count):
            angle = turn * (points[p, 0] * shifts[n, 0] + points[p, 1] * shifts[n, 1])
            weight = ctf[i, p] * weights[n]
            cosine, sine = np.cos(angle) * weight, np.sin(angle) * weight
            re = values[i, p].real * cosine - values[i, p].imag * sine
            im = values[i, p].real * sine + values[i, p].imag * cosine
            weight *= ctf[i, p]
            kx, ky = points[p, 0] * PAD, points[p, 1] * PAD
            x = kx * frame[0, 0] + ky * frame[1, 0] + middle
            y = kx * frame[0, 1] + ky * frame[1, 1] + middle
            z = kx * frame[0, 2] + ky * frame[1, 2] + middle
            ix, iy, iz = int(x), int(y), int(z)
            fx, fy, fz = np.float32(x - ix), np.float32(y - iy), np.float32(z - iz)
            for dz in range(2):
                share_z = fz if dz else 1 - fz
                for dy in range(2):
                    share_y = share_z * (fy if dy else 1 - fy)
                    for dx in range(2):
                        share = share_y * (fx if dx else 1 - fx)
                        cell = sums[iz + dz, iy + dy, ix + dx]
                        cell[0] += re * share
                        cell[1] += im * share
                        cell[2] += weight * share


def insert(sums, group, images, frames, shifts, weights, values, ctf, points, box) -> None:
    """Add images to ``sums (g, side, side, side, 3)`` float32: re and im of Σ w·C·X, and Σ w·C².

    Candidate n is image ``images[n]`` (a row of values and ctf ``(b, >= m)``) in pose ``frames[n]`` (2, 3),
    with its particle ``shifts[n]`` (2,) pixels from the image's middle, of weight ``weights[n]``; it goes to
    grid ``group[n]``. points ``(m, 2)``: those to insert; ``box``: pixels that shifts and points refer to.
    Only half of each slice is inserted: the solver adds the conjugates.
    """
    arrays = images, frames, shifts, weights, values, ctf, points, np.float32(2 * np.pi / box)
    in_ranges(lambda a, b: _insert(sums[a], group, a, *arrays), len(sums), 1)
