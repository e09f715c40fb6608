"""Between maps, their transforms, central slices and images.

A transform is a real array whose last axis is (re, im), centred at N//2.
"""

from keras import ops

from zoo.layers.registered import Float32Layer, registered
from zoo.ops import fourier, slices

SOURCES = ("map", "transform")


@registered
class FourierSlice(Float32Layer):
    """Map ``(b, n, n, n, 1)`` and A ``(b, 3, 3)`` → central slices ``(b, n, n, 2)``.

    source ``map`` (default): the real map is zero-padded to pad·n and corrected for the interpolation, as
    RELION does. source ``transform``: the input is a transform ``(b, n, n, n, 2)``, cut as it is. A map
    of batch 1 serves all rotations.
    """

    def __init__(self, source="map", pad=2, **kwargs):
        super().__init__(**kwargs)
        if source not in SOURCES:
            raise ValueError(f"source is one of {', '.join(SOURCES)}, got {source!r}")
        self.source, self.pad = source, pad

    def call(self, volume, rotations):
        if self.source == "map":
            transform = slices.padded_transform(volume[..., 0], self.pad)
        else:
            transform = volume[..., 0], volume[..., 1]
        re, im = slices.central_slice(transform, rotations, volume.shape[-2])
        return ops.stack([re, im], axis=-1)

    def compute_output_shape(self, volume_shape, rotations_shape):
        return (rotations_shape[0], *volume_shape[2:4], 2)

    def get_config(self):
        return {**super().get_config(), "source": self.source, "pad": self.pad}


@registered
class VolumeAssembly(Float32Layer):
    """Transform ``(b, n, n, n, 2)`` → real map ``(b, n, n, n, 1)`` by the inverse transform.

    The transform is made Hermitian (its other part would be imaginary) and, with mask, zero beyond
    Nyquist's sphere, as slices are.
    """

    def __init__(self, mask=True, **kwargs):
        super().__init__(**kwargs)
        self.mask = bool(mask)

    def call(self, transform):
        if self.mask:
            transform = transform * fourier.radial_mask_3d(transform.shape[-2])[..., None]
        return slices.volume_from_fourier(transform[..., 0], transform[..., 1])[..., None]

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 1)

    def get_config(self):
        return {**super().get_config(), "mask": self.mask}


@registered
class ImageAssembly(Float32Layer):
    """Slices ``(b, n, n, 2)`` → real images ``(b, n, n, 1)`` by the inverse transform, made Hermitian."""

    def call(self, transform):
        return fourier.ifft2(transform[..., 0], transform[..., 1])[0][..., None]

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 1)
