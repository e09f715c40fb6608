"""Random poses, shifts, optics and noise: pure functions of the seed, whatever the batches."""

import numpy as np

from zoo.simulate.settings import ParticleSettings

# One stream per quantity: adding particles or a quantity changes none of the others.
_STREAMS = (
    "rot",
    "tilt",
    "psi",
    "shift_x",
    "shift_y",
    "defocus",
    "astigmatism",
    "astigmatism_angle",
    "preferred",
)


def draw_columns(n: int, settings: ParticleSettings, pixel_size_angstrom: float, stream: int = 0) -> dict:
    """Columns of a ParticleTable for n particles: poses uniform on SO(3) or with preferred views, origins
    in Å, CTF parameters.

    Without CTF defocus and what follows stay NaN. `stream` gives independent draws of the same kind.
    """
    uniform = {
        name: np.random.default_rng([settings.seed, stream, number]).random(n)
        for number, name in enumerate(_STREAMS)
    }
    columns = {
        "rot_deg": 360 * uniform["rot"] - 180,
        "tilt_deg": np.degrees(np.arccos(_cosine_of_tilt(uniform, settings))),
        "psi_deg": 360 * uniform["psi"] - 180,
    }
    for axis in "xy":
        shift_px = settings.shift_max_px * (2 * uniform[f"shift_{axis}"] - 1)
        columns[f"shift_{axis}_angstrom"] = shift_px * pixel_size_angstrom
    # RELION wants these three for every set, CTF or not
    columns["voltage_kv"] = np.full(n, settings.voltage_kv)
    columns["cs_mm"] = np.full(n, settings.cs_mm)
    columns["amplitude_contrast"] = np.full(n, settings.amplitude_contrast)
    if settings.apply_ctf:
        low, high = settings.defocus_range_angstrom
        mean = low + (high - low) * uniform["defocus"]
        half = settings.astigmatism_max_angstrom * uniform["astigmatism"] / 2
        columns |= {
            "defocus_u_angstrom": mean + half,
            "defocus_v_angstrom": mean - half,
            "defocus_angle_deg": 180 * uniform["astigmatism_angle"],
            "phase_shift_deg": np.zeros(n),
            "bfactor_angstrom2": np.zeros(n),
            "ctf_scale": np.ones(n),
        }
    # what is projected is what the file will say, in numbers that a person can read
    return {name: np.round(values, 6) for name, values in columns.items()}


def _cosine_of_tilt(uniform: dict, settings: ParticleSettings) -> np.ndarray:
    """Even in the cosine means equal areas on the sphere of beam directions."""
    if settings.preferred_share == 0:
        return 1 - 2 * uniform["tilt"]
    edge = np.cos(np.radians(settings.preferred_within_deg))
    preferred = uniform["preferred"] < settings.preferred_share
    return np.where(preferred, 1 - (1 - edge) * uniform["tilt"], edge - (1 + edge) * uniform["tilt"])


def draw_noise(indices: np.ndarray, box: int, seed: int) -> np.ndarray:
    """Standard normal images (k, box, box) float32; image i depends on (seed, indices[i]) alone."""
    noise = np.empty((len(indices), box, box), np.float32)
    for row, index in enumerate(indices):
        # Philox is counter-based: a generator per image costs microseconds and needs no order
        generator = np.random.Generator(np.random.Philox(key=[seed, int(index)]))
        noise[row] = generator.standard_normal((box, box), dtype=np.float32)
    return noise
