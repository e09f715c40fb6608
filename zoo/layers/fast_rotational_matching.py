"""Templates found in subtomograms: rotations and shifts with their scores."""

from keras import ops

from zoo.layers.registered import Float32Layer, registered
from zoo.ops import fourier
from zoo.ops.matching.match_settings import MODES, MatchSettings
from zoo.ops.matching.rotational_matching import match, prepare_templates


@registered
class FastRotationalMatching(Float32Layer):
    """Subtomograms ``(b, n, n, n, 1)``, wedges ``(b, n, n, n)``, templates ``(1, k, n, n, n)`` → candidates.

    Gives rotations ``(b, k, c, 3, 3)``, shifts ``(b, k, c, 3)`` in voxels (xyz) and constrained correlations
    ``(b, k, c)``, best first: subtomogram(x) = template(Rᵀ(x − n//2 − t) + n//2). A fourth input
    ``(1, k, n, n, n)`` says where the templates themselves were observed. Wedges and masks are centred at
    frequency n//2. mode ``phase`` or ``magnitude`` and the other settings are those of
    `zoo.ops.matching.match_settings`; the scores have gradients. Unused places score −2.
    """

    def __init__(
        self,
        mode="phase",
        candidates=8,
        max_shift_voxels=None,
        step_deg=13.0,
        bandwidth=16,
        search_radius=5,
        refine_radius=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if mode not in MODES:
            raise ValueError(f"mode is one of {', '.join(MODES)}, got {mode!r}")
        self.settings = {
            "mode": mode,
            "candidates": candidates,
            "max_shift_voxels": max_shift_voxels,
            "step_deg": step_deg,
            "bandwidth": bandwidth,
            "search_radius": search_radius,
            "refine_radius": refine_radius,
        }

    def call(self, subtomograms, wedges, templates, template_masks=None):
        settings = MatchSettings(box=templates.shape[-1], **self.settings)
        masks = None if template_masks is None else template_masks[0]
        prepared = prepare_templates(settings, fourier.fft3(templates[0]), masks)
        found = match(settings, fourier.fft3(subtomograms[..., 0]), wedges, prepared)
        return tuple(ops.cast(part, self.compute_dtype) for part in found)

    def compute_output_shape(
        self, subtomograms_shape, wedges_shape, templates_shape, template_masks_shape=None
    ):
        shape = (subtomograms_shape[0], templates_shape[1], self.settings["candidates"])
        return (*shape, 3, 3), (*shape, 3), shape

    def get_config(self):
        return {**super().get_config(), **self.settings}
