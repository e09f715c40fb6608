"""New averages, class shares, noise and spread of shifts from the sums of an expectation step.

Equations 10–13 of Zhao et al. (FAML), and a Wiener filter in the place of equation 10's filling.
"""

import numpy as np
from keras import ops

ZETA_FLOOR = 0.5  # voxels: where all shifts are 0 the exponent of equation 15 would be 0/0
_TINY = 1e-20
_LEAST_SHARE = 0.1
_EMPTY = 1e-6


def shell_mean(weights, shell_table, per_shell):
    """Values ``(k, j)`` → the mean of their shell, at each frequency ``(k, j)``."""
    return ops.matmul(ops.matmul(weights, shell_table) / per_shell, shell_table.T)


def _at_least_a_share(weights, shell_table, per_shell):
    return ops.maximum(weights, _LEAST_SHARE * shell_mean(weights, shell_table, per_shell))


def with_shell_sums(weights, expected, shell_table):
    """Weights ``(..., j)`` scaled so that each shell sums to ``expected (..., s)``.

    A rotation keeps the sum of w² in a shell, reading w² between voxels does not: where a CTF rises steeply
    the straight line lies above, in the first shell by half, and averages would be too weak by as much.
    """
    found = ops.matmul(weights, shell_table)
    scale = ops.where(found > _TINY, expected / ops.maximum(found, _TINY), 1.0)
    return weights * ops.matmul(scale, shell_table.T)


def filled_averages(sums, weights, current, members):
    """Equation 10: mean of what was observed, the missing part filled from the current average.

    sums ``(k, j)`` = Σ P·ν·R⁻¹(w·X) (re or im), weights ``(k, j)`` = Σ P·ν·R⁻¹w², current ``(k, j)``,
    members ``(k,)`` = N·α. A class without members keeps its average.
    """
    members = members[:, None]
    filled = sums + (members - weights) * current
    return ops.where(members > _TINY, filled / ops.maximum(members, _TINY), current)


def weighted_averages(sums, weights, shell_table, per_shell, missing=0.0):
    """Σ P·ν·R⁻¹(w·X) / (Σ P·ν·R⁻¹w² + σ²/τ²) ``(k, j)``, pulled to 0 where hardly anything was observed.

    missing: σ²/τ² ``(k, j)`` of a Wiener filter. Beside the edge of a wedge the sums are what interpolation
    left there, so weights below a tenth of their shell's mean count as that.
    """
    return sums / ops.maximum(_at_least_a_share(weights, shell_table, per_shell) + missing, _EMPTY)


def pooled(sums, members, strength):
    """Sums ``(k, j)`` with those of all classes added, in the proportion of the members ``(k,)``.

    ``strength`` 0 leaves classes alone, at a large one all averages are the same. Holds classes together
    while none is reliable (the regularisation of Scheres et al. 2009, Structure 17, that the paper names).
    """
    share = members / ops.maximum(ops.sum(members), _TINY)
    return sums + strength * share[:, None] * ops.sum(sums, axis=0, keepdims=True)


def split_class(sums, empty, largest):
    """An ``empty`` class gets the sums of the second half set of the ``largest``, which keeps the first.

    sums ``(2, k, j)`` by half set → the same, in which both classes have the halves of the largest, for their
    FSC; and the sums of new averages ``(k, j)``.
    """
    classes = sums.shape[1]
    source, share = np.arange(classes), np.ones((2, classes, 1), "float32")
    source[empty] = largest
    share[:, empty, 0], share[:, largest, 0] = (0.0, 1.0), (1.0, 0.0)
    sums = ops.take(sums, source, axis=1)
    return sums, ops.sum(sums * share, axis=0)


def split_members(members, empty, largest):
    """Members ``(k,)`` where two classes share theirs evenly."""
    both = np.zeros(members.shape[0], "float32")
    both[[empty, largest]] = 0.5
    return members * (both == 0.0) + both * ops.sum(members * (both > 0.0))


def class_shares(members):
    """Equation 11: α ``(k,)`` from the sums of posteriors ``(k,)``."""
    return members / ops.maximum(ops.sum(members), _TINY)


def noise_variance(residuals, seen, count, current, per_shell, white):
    """Equation 12: σ² ``(s,)`` per shell; one value for all with ``white``, as in the paper.

    residuals ``(s,)`` = Σ P·ν·|w·R A − X|², seen ``(s,)`` = how many values were observed, count = N
    subtomograms, per_shell ``(s,)`` frequencies; what was not observed counts with the current σ².
    """
    missing = ops.maximum(count * per_shell - seen, 0.0)
    total, values = residuals + missing * current, count * per_shell
    if white:
        total, values = ops.sum(total), ops.sum(values)
    new = total / ops.maximum(values, _TINY) + ops.zeros_like(current)
    return ops.where(new > _TINY, new, current)


def shift_spread(squares, count):
    """Equation 13: ζ in voxels from Σ P·ν·|t|², not below ``ZETA_FLOOR``."""
    return ops.maximum(ops.sqrt(squares / ops.maximum(3.0 * count, _TINY)), ZETA_FLOOR)


def shell_correlation(a, b, shell_table):
    """FSC ``(k, s)`` of two sets of transforms, each (re, im) ``(k, j)``; 0 in a shell without power."""
    cross = ops.matmul(a[0] * b[0] + a[1] * b[1], shell_table)
    power = ops.matmul(a[0] ** 2 + a[1] ** 2, shell_table) * ops.matmul(b[0] ** 2 + b[1] ** 2, shell_table)
    return ops.where(power > 0.0, cross / ops.sqrt(ops.maximum(power, 1e-37)), 0.0)


def reliable_fsc(sums, shell_table, per_shell):
    """FSC ``(k, s)`` of what two half sets tell, for ``wiener_weights``: whitened, less its error.

    sums: ``re``, ``im`` and ``weights`` ``(2, k, j)``. Divided by the root of their weights all sums of a
    shell are equally noisy; in averages the few frequencies seen least would outweigh the others. Where
    nothing is common to the halves the FSC is as often above 0 as below, and noise would be let through: 1.4
    standard errors are taken off, (1 − FSC²)/√n of n complex values.
    """
    weights = sums["weights"]
    halves = []
    for half in (0, 1):
        seen = _at_least_a_share(weights[half], shell_table, per_shell)
        root = ops.sqrt(ops.maximum(seen, _EMPTY))
        halves.append([sums[part][half] / root for part in ("re", "im")])
    fsc = shell_correlation(*halves, shell_table)
    return fsc - (1.0 - fsc**2) / ops.sqrt(per_shell)


def wiener_weights(fsc, weights, shell_table, per_shell):
    """σ²/τ² ``(k, j)`` from the FSC ``(k, s)`` of half sums and the mean weight of each shell.

    Signal over noise of the whole average is 2·FSC/(1 − FSC) (Scheres 2012, RELION); shells whose FSC is not
    above 0 are left out.
    """
    fsc = ops.clip(fsc, 0.0, 0.999)
    ssnr = ops.maximum(2.0 * fsc / (1.0 - fsc), 1e-4)
    return shell_mean(weights, shell_table, per_shell) * ops.matmul(1.0 / ssnr, shell_table.T)
