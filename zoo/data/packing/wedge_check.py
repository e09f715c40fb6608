"""Does the missing wedge that is stated lie where the data have no power? Compared, and told where not."""

from __future__ import annotations

import numpy as np
import scipy.fft

from zoo.data.formats.fourier_weights import whole_of
from zoo.data.formats.volumes import VolumeReader

_BYTES = 128 << 20
_MOST = 16
_LEAST_SHELL = 3
_MEASURED = 0.05  # of the largest weight in the shell: the rings of a CTF are not the wedge
_CONTRADICTED = 0.5
_FULL = 0.7


def check_wedges(reader: VolumeReader) -> list[str]:
    """Lines about wedges that the power of the subtomograms contradicts; none where they agree.

    Power outside a wedge is measured per shell, relative to that inside, over a few subtomograms; so are its
    mirror image (tilts of the other sign), the wedge of tilts about x, and the file with its corner in the
    middle. Where the data fit one of these twice as well it is named.
    """
    count = max(min(len(reader), _MOST, _BYTES // (4 * reader.box**3)), min(len(reader), 3))
    shells = _shells(reader.box)
    totals: dict[str, np.ndarray] = {}
    without_wedge, cut_shells = 0, 0
    for index in np.linspace(0, len(reader) - 1, count).round().astype(int).tolist():
        weight = whole_of(reader.wedge(index, reader.box))
        inside = _measured(weight, shells)
        share = np.bincount(shells[inside], minlength=shells.max() + 1) / np.bincount(shells.ravel())
        shown = share[_LEAST_SHELL : reader.box // 2 - 1]
        if not shown.size or ((shown > 0.02) & (shown < 0.98)).mean() < 0.3:  # a tiny box has no shells
            without_wedge += 1
            cut_shells += bool((shown <= 0.02).any())
            continue
        power = _power(reader.read([index])[0], shells)
        for name, mask in _candidates(inside).items():
            totals[name] = totals.get(name, 0.0) + _outside(power, mask, shells, reader.box)
    notes = []
    if cut_shells:
        notes.append(
            f"the wedge of {cut_shells} of {count} subtomograms looked at leaves out whole shells of "
            "frequencies and no wedge: is it a mask in real space, or has it DC in the corner?"
        )
    if totals:
        notes += _compare({name: total[0] / max(total[1], 1e-30) for name, total in totals.items()})
    return notes


def _compare(found: dict[str, float]) -> list[str]:
    """What the power outside over that inside says, of the wedge as given and of its alternatives."""
    given = found.pop("given")
    best = min(found, key=lambda name: found[name])
    numbers = f"power outside over inside: {given:.2f} as given, {found[best]:.2f} so"
    if given > 0.1 and found[best] < _CONTRADICTED * given:
        what = {
            "mirrored": "the data contradict the sign of the tilts: their missing wedge is the mirror image. "
            "Give the range negated (IMOD and AreTomo count so: --tilt-convention imod), or mirror "
            "the mask",
            "about x": "the data contradict the axis of the tilts: their missing wedge is that of tilts "
            "about x, expected y. Turn the volumes, or give a mask",
            "corner": "the data contradict the layout of the wedge file: it seems to have DC in the corner, "
            "expected in the middle. Shift it by half the box",
        }[best]
        return [f"{what} ({numbers})"]
    if given > _FULL:
        return [
            f"the subtomograms have as much power outside the wedge as inside ({given:.2f}): either their "
            "noise was added after the reconstruction, or the wedge is not theirs"
        ]
    return []


def _candidates(inside: np.ndarray) -> dict[str, np.ndarray]:
    mirrored = inside[:, :, ::-1]
    if inside.shape[0] % 2 == 0:
        mirrored = np.roll(mirrored, 1, axis=2)
    return {
        "given": inside,
        "mirrored": mirrored,
        "about x": inside.transpose(0, 2, 1),
        "corner": np.fft.ifftshift(inside),
    }


def _measured(weight: np.ndarray, shells: np.ndarray) -> np.ndarray:
    largest = np.zeros(shells.max() + 1)
    np.maximum.at(largest, shells.ravel(), weight.ravel())
    return (weight > _MEASURED * largest[shells]) & (weight > 1e-3 * weight.max())


def _power(volume: np.ndarray, shells: np.ndarray) -> np.ndarray:
    """Power of every frequency over the mean of its shell; a Hann window keeps edges out of the wedge."""
    n = volume.shape[0]
    window = np.hanning(n + 2)[1:-1].astype(np.float32)
    tapered = (volume - volume.mean()) * window[:, None, None] * window[:, None] * window
    power = np.abs(scipy.fft.fftshift(scipy.fft.fftn(tapered))) ** 2
    mean = np.bincount(shells.ravel(), power.ravel()) / np.bincount(shells.ravel())
    return power / np.maximum(mean, 1e-30)[shells]


def _outside(power: np.ndarray, inside: np.ndarray, shells: np.ndarray, box: int) -> np.ndarray:
    """Mean power outside and inside, over shells that have both, added up: (2,)."""
    sums = []
    for mask in (~inside, inside):
        count = np.bincount(shells[mask], minlength=shells.max() + 1)
        total = np.bincount(shells[mask], power[mask], minlength=shells.max() + 1)
        sums.append((total, count))
    (out, out_count), (within, within_count) = sums
    both = (out_count >= 4) & (within_count >= 4)
    both[:_LEAST_SHELL] = False
    both[box // 2 - 1 :] = False
    if not both.any():
        return np.array([1.0, 1.0])
    size = (out_count + within_count)[both]
    pairs = ((out, out_count), (within, within_count))
    return np.array([(size * total[both] / number[both]).sum() for total, number in pairs])


def _shells(box: int) -> np.ndarray:
    axis = np.arange(box) - box // 2
    return np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2).round().astype(np.int64)
