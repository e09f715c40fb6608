"""Adaptive polyphase sampling: down-sample by 2 so that a shifted image gives a shifted result.

Chaman & Dokmanić 2021, "Truly shift-invariant convolutional neural networks": of the 4 (8 in 3D)
polyphase components keep the one with the largest L2 norm.
"""

import itertools
import math

from keras import ops

from zoo.ops.matching.order_free_sum import limb_sums
from zoo.ops.padding import cyclic_pad


def polyphase_components(x):
    """``(b, y, x, c)`` or ``(b, z, y, x, c)`` → ``(b, 4 or 8, y/2, x/2, c)``; component = offset bits zyx."""
    sizes = _even_sizes(x)
    rank, channels = len(sizes), x.shape[-1]
    split = [-1]
    for size in sizes:
        split += [size // 2, 2]
    x = ops.reshape(x, (*split, channels))
    order = [0, *range(2, 2 * rank + 1, 2), *range(1, 2 * rank, 2), 2 * rank + 1]
    x = ops.transpose(x, order)
    return ops.reshape(x, (-1, 2**rank, *(size // 2 for size in sizes), channels))


def select_component(components):
    """Components ``(b, m, …, c)`` → int32 ``(b,)``, the one with the largest L2 norm.

    The choice is a function of each component's content up to cyclic shifts, bit for bit: energies are
    summed in fixed point, and equal energies are told apart by further sums that a shift cannot
    change (of squares, and of products with the neighbours). Components that agree in all of them are
    taken as equal, and the first is kept.
    """
    rank = len(components.shape) - 3
    energy = ops.stop_gradient(ops.sum(ops.square(ops.cast(components, "float32")), axis=-1))
    spatial = tuple(range(2, 2 + rank))
    scale = ops.max(energy, axis=(1, *spatial), keepdims=True)
    energy = energy / ops.maximum(scale, 1e-30)
    keys = [energy, energy * energy]
    keys += [energy * energy * ops.roll(energy, 1, axis=axis) for axis in spatial]
    count = math.prod(energy.shape[axis] for axis in spatial)
    candidate = None
    for key in keys:
        for limb in limb_sums(key, spatial, count)[0]:
            allowed = limb if candidate is None else ops.where(candidate, limb, -1)
            candidate = allowed == ops.max(allowed, axis=1, keepdims=True)
    return ops.cast(ops.argmax(ops.cast(candidate, "int32"), axis=1), "int32")


def adaptive_polyphase(x, blur=False, return_choice=False):
    """Half the size of every spatial axis of ``(b, y, x, c)`` or ``(b, z, y, x, c)``; shift-equivariant.

    blur: cyclic binomial filter (1, 2, 1)/4 per axis beforehand (anti-aliasing, Zhang 2019).
    return_choice: also the component kept, ``(b,)``. The gradient flows through the kept pixels only.
    Raises ValueError for a size that is unknown or odd.
    """
    if blur:
        x = binomial_blur(x)
    components = polyphase_components(x)
    choice = select_component(components)
    count = components.shape[1]
    flat = ops.reshape(components, (-1, *components.shape[2:]))
    row = ops.arange(ops.shape(choice)[0], dtype="int32") * count + choice
    kept = ops.take(flat, row, axis=0)
    return (kept, choice) if return_choice else kept


def binomial_blur(x):
    """Cyclic (1, 2, 1)/4 filter along every spatial axis of ``(b, …, c)``."""
    rank = len(x.shape) - 2
    padded = cyclic_pad(x, ((1, 1),) * rank)
    for axis in range(1, rank + 1):
        size = padded.shape[axis] - 2
        low, mid, high = (_window(padded, axis, start, size) for start in range(3))
        padded = 0.25 * (low + high) + 0.5 * mid
    return padded


def phase_offsets(rank):
    """Offsets of the components in pixels, in order: 4 pairs (y, x) or 8 triples (z, y, x)."""
    return list(itertools.product((0, 1), repeat=rank))


def _even_sizes(x):
    sizes = x.shape[1:-1]
    if len(sizes) not in (2, 3) or any(size is None or size % 2 for size in sizes):
        raise ValueError(f"adaptive polyphase takes (b, [z,] y, x, c) of known even size, got {x.shape}")
    return sizes


def _window(x, axis, start, size):
    index = [slice(None)] * len(x.shape)
    index[axis] = slice(start, start + size)
    return x[tuple(index)]
