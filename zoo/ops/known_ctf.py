"""What a known CTF is: the one rule that packing, batches and models share (no Keras needed)."""

CTF_COLUMNS = (
    "defocus_u_angstrom",
    "defocus_v_angstrom",
    "defocus_angle_deg",
    "voltage_kv",
    "cs_mm",
    "amplitude_contrast",
    "phase_shift_deg",
    "bfactor_angstrom2",
    "ctf_scale",
)
"""The CTF parameters, in the order of every 9-vector called ``ctf``."""

_LARGEST = 1e30
_VOLTAGE = CTF_COLUMNS.index("voltage_kv")


def is_known(ctf9):
    """``(..., 9)`` in the order of CTF_COLUMNS → bool ``(...)``: all nine finite, the voltage above 0.

    Everything else means "no CTF" (a factor of 1), never a CTF of 0. Plain operators: NumPy and tensors.
    """
    known = ctf9[..., _VOLTAGE] > 0
    for column in range(len(CTF_COLUMNS)):
        # comparisons are false for NaN, and unlike x - x == 0 no compiler removes them
        known = known & (ctf9[..., column] > -_LARGEST) & (ctf9[..., column] < _LARGEST)
    return known
