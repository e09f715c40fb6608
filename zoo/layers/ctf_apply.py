"""The microscope's contrast transfer function as a layer."""

from zoo.layers.registered import Float32Layer, registered
from zoo.ops.ctf import apply_ctf, ctf_2d

DOMAINS = ("transform", "image")


@registered
class CTFApply(Float32Layer):
    """Slices ``(b, n, n, 2)``, CTF numbers ``(b, 9)`` and Å/pixel ``(b,)`` or ``(b, 1)`` → slices × CTF.

    domain ``image``: takes and gives real images ``(b, n, n, 1)`` instead. The 9 numbers come in the order of
    ``zoo.ops.ctf.COLUMNS``, sign and formula are RELION's. Without a pixel size ``ctf`` is the CTF itself,
    already made: ``(b, n, n)``.
    """

    def __init__(self, domain="transform", **kwargs):
        super().__init__(**kwargs)
        if domain not in DOMAINS:
            raise ValueError(f"domain is one of {', '.join(DOMAINS)}, got {domain!r}")
        self.domain = domain

    def call(self, x, ctf, pixel_size_angstrom=None):
        transfer = ctf if pixel_size_angstrom is None else ctf_2d(ctf, x.shape[1], pixel_size_angstrom)
        return apply_ctf(x, transfer) if self.domain == "image" else x * transfer[..., None]

    def compute_output_shape(self, x_shape, ctf_shape, pixel_size_angstrom_shape=None):
        return x_shape

    def get_config(self):
        return {**super().get_config(), "domain": self.domain}
