"""Cyclic padding: the image continues at its opposite edge."""

from keras import ops


def cyclic_pad(x, widths):
    """Pad the axes after the batch: ``widths`` is ((before, after), …), one pair per spatial axis.

    ``(b, y, x, c)`` or ``(b, z, y, x, c)``; a width may exceed the size of its axis.
    """
    for axis, (before, after) in enumerate(widths, start=1):
        x = _pad_axis(x, axis, before, after)
    return x


def same_widths(kernel_size):
    """Widths that keep the size under a stride-1 convolution: ((k−1)//2, k//2) per axis."""
    return tuple(((k - 1) // 2, k // 2) for k in kernel_size)


def _pad_axis(x, axis, before, after):
    if before < 0 or after < 0:
        raise ValueError(f"padding widths are 0 or more, got ({before}, {after})")
    size = x.shape[axis]
    parts = []
    if before % size:
        parts.append(_cut(x, axis, size - before % size, size))
    parts += [x] * (before // size + 1 + after // size)
    if after % size:
        parts.append(_cut(x, axis, 0, after % size))
    return ops.concatenate(parts, axis=axis) if len(parts) > 1 else x


def _cut(x, axis, start, stop):
    index = [slice(None)] * len(x.shape)
    index[axis] = slice(start, stop)
    return x[tuple(index)]
