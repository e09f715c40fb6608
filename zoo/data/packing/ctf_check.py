"""Which particles have a CTF: all of it known, none of it, or (refused, unless asked for) a part."""

from __future__ import annotations

import numpy as np

from zoo.data.tables.particle_table import CTF_COLUMNS, FLIPPED, PREMULTIPLIED, ParticleTable
from zoo.errors import ZooError
from zoo.ops.known_ctf import is_known

PARTIAL_CTF = ("refuse", "drop", "ignore")
"""What becomes of particles whose CTF is known in part: refused, left out, or packed as without CTF."""

# limits outside of which a number stands in another unit or is damaged
_LIMITS = {
    "defocus_u_angstrom": (-1e6, 1e6),
    "defocus_v_angstrom": (-1e6, 1e6),
    "voltage_kv": (10.0, 3000.0),
    "cs_mm": (-100.0, 100.0),
    "amplitude_contrast": (-1.0, 1.0),
}


def settle_ctf(table: ParticleTable, partial: str = "refuse") -> tuple[ParticleTable, list[str]]:
    """A table whose ``ctf()`` rows are nine known numbers or nine NaN, and lines about what was found.

    A particle without any defocus has no CTF, whatever the optics table says of the microscope. Where
    something else is missing, not finite or impossible the CTF is known in part; so it is where some
    particles have a CTF and others none. ``partial`` says what becomes of these. Raises ZooError naming the
    column and the number of particles, and for images that were changed by a CTF that is not known.
    """
    if partial not in PARTIAL_CTF:
        raise ZooError(f"--partial-ctf {partial}: expected one of {', '.join(PARTIAL_CTF)}")
    ctf = table.ctf()
    absent = np.isnan(ctf[:, :2]).all(axis=1)
    faults = {name: ~np.isfinite(ctf[:, number]) for number, name in enumerate(CTF_COLUMNS)}
    for name, (low, high) in _LIMITS.items():
        values = ctf[:, CTF_COLUMNS.index(name)]
        with np.errstate(invalid="ignore"):
            faults[name] |= (values < low) | (values > high)
    faults = {name: fault & ~absent for name, fault in faults.items()}
    bad = np.any(list(faults.values()), axis=0)
    assert is_known(ctf[~bad & ~absent]).all()
    notes = []
    if absent.any() and not absent.all():
        faults["defocus_u_angstrom"] = faults["defocus_u_angstrom"] | absent
        bad |= absent
    if bad.any():
        words = _describe(table, faults)
        if partial == "refuse":
            raise ZooError(
                f"{words}; complete the file, or give --partial-ctf drop (leaves these particles out) or "
                "ignore (packs them as without CTF)"
            )
        if partial == "drop":
            if bad.all():
                raise ZooError(f"{words}: --partial-ctf drop would leave no particle; complete the file")
            notes.append(f"left out: {words}")
            table = table.select(~bad)
            ctf, absent, bad = ctf[~bad], absent[~bad], bad[~bad]
        else:
            notes.append(f"packed as without CTF: {words}")
            absent = absent | bad
    if absent.any():
        table = table.select(slice(None))
        for name in CTF_COLUMNS:
            getattr(table, name)[absent] = np.nan
    return table, [*notes, *_found(table, absent), *_state_notes(table, absent)]


def _describe(table: ParticleTable, faults: dict[str, np.ndarray]) -> str:
    name, fault = next((name, fault) for name, fault in faults.items() if fault.any())
    row = int(np.flatnonzero(fault)[0])
    value = getattr(table, name)[row]
    what = f"{name} is {value:g}" if np.isfinite(value) or np.isinf(value) else f"{name} is not known"
    where = table.source.path if table.source else "particle table"
    more = ", ".join(other for other, those in faults.items() if those.any() and other != name)
    also = f" (also {more})" if more else ""
    count = int(np.any(list(faults.values()), axis=0).sum())
    return (
        f"{where}: row {table.source_row[row] + 1}: the CTF is known in part: {what}{also}, in {count} of "
        f"{len(table)} particles"
    )


def _found(table: ParticleTable, absent: np.ndarray) -> list[str]:
    count = len(table)
    if absent.all():
        stated = " (a voltage alone is no CTF)" if _states_voltage(table) else ""
        return [f"CTF: none, the file states no defocus{stated}; images count as not changed by one"]
    known = table.select(~absent)
    voltages = ", ".join(f"{value:g}" for value in np.unique(known.voltage_kv)[:5])
    defocus = np.concatenate([known.defocus_u_angstrom, known.defocus_v_angstrom])
    which = "all" if not absent.any() else f"{len(known)} of {count}"
    hint = ""
    if np.abs(defocus).max() < 100:
        hint = "; that is nearly in focus: is it in micrometres? RELION's defocus is in Å"
    return [
        f"CTF: known for {which} particles: {voltages} kV, defocus {defocus.min():.0f} to "
        f"{defocus.max():.0f} Å{hint}"
    ]


def _states_voltage(table: ParticleTable) -> bool:
    blocks = table.source.blocks if table.source is not None else {}
    names = {str(name) for block in blocks.values() for name in getattr(block, "columns", ())}
    arrays = (getattr(getattr(block, "dtype", None), "names", None) for block in blocks.values())
    names |= {name for array in arrays for name in array or ()}
    return bool(names & {"rlnVoltage", "ctf/accel_kv"})


def _state_notes(table: ParticleTable, absent: np.ndarray) -> list[str]:
    state = table.ctf_state()
    notes = []
    for value, what, done in (
        (FLIPPED, "phase-flipped (rlnCtfDataArePhaseFlipped)", "the phases are flipped back"),
        (PREMULTIPLIED, "CTF-premultiplied (rlnCtfDataAreCtfPremultiplied)", "their CTF is divided out once"),
    ):
        rows = state == value
        if not rows.any():
            continue
        lost = np.flatnonzero(rows & absent)
        if lost.size:
            raise ZooError(
                f"{table.known_source().path}: row {table.source_row[lost[0]] + 1}: the images are {what}, "
                "but their CTF is not known; complete the file, or extract the particles again without"
            )
        notes.append(
            f"{int(rows.sum())} of {len(table)} images are {what}: {done}, so that image = CTF x particle"
        )
    return notes
