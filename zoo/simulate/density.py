"""Density maps of atomic models: sums of electron-scattering Gaussians on a grid."""

import math

import numpy as np

from zoo.errors import ZooError
from zoo.simulate.resample import resample_map

_SAMPLES_PER_RESOLUTION = 4
_MARGIN_VOXELS = 1
_CUTOFF = 1e-4


def density_from_atoms(
    xyz_angstrom: np.ndarray,
    elements,
    box: int,
    voxel_size_angstrom: float,
    resolution_angstrom: float,
    occupancies: np.ndarray | None = None,
    centre_angstrom: np.ndarray | None = None,
    name: str = "structure",
) -> np.ndarray:
    """Electrostatic density (box, box, box) float32, zyx, of atoms (n, 3) xyz with `elements` (n,) symbols.

    Each atom is its five-Gaussian electron form factor (c4322: International Tables C, 4.3.2.2), blurred so
    that the amplitude at 1 / resolution falls to 1/e (B = 4 resolution^2, the choice of ChimeraX' molmap).
    The sum is made on a grid of at most resolution / 4 and cropped in Fourier space to the voxel asked for.
    `centre_angstrom` (default: the mean of the atoms) comes to voxel box // 2. Atom B factors are not used.
    Raises ZooError without atoms, for unknown elements and for a structure that does not fit into the box.
    """
    import gemmi

    xyz = np.asarray(xyz_angstrom, np.float64).reshape(-1, 3)
    elements = np.asarray(elements)
    if len(xyz) == 0:
        raise ZooError(f"{name}: no atoms; expected an atomic model (are all chains removed?)")
    if not (voxel_size_angstrom > 0 and resolution_angstrom > 0 and box > 0):
        raise ZooError(
            f"{name}: box {box}, voxel {voxel_size_angstrom} Å, resolution {resolution_angstrom} Å; "
            "expected positive numbers"
        )
    centre = xyz.mean(0) if centre_angstrom is None else np.asarray(centre_angstrom, float)
    xyz = xyz - centre
    _check_fit(xyz, box, voxel_size_angstrom, name)

    factor = max(1, math.ceil(_SAMPLES_PER_RESOLUTION * voxel_size_angstrom / resolution_angstrom))
    fine_box, length = factor * box, box * voxel_size_angstrom
    calculator = gemmi.DensityCalculatorE()
    calculator.blur = 4 * resolution_angstrom**2
    # gemmi cuts an atom off where it is below an absolute density: that must fall with the blurred peak
    peak = 2.5 * (4 * math.pi / (calculator.blur + 10)) ** 1.5
    calculator.cutoff = _CUTOFF * peak
    calculator.grid.set_unit_cell(gemmi.UnitCell(length, length, length, 90, 90, 90))
    calculator.grid.set_size(fine_box, fine_box, fine_box)
    # gemmi counts from the corner of the cell: our centre is voxel fine_box // 2
    xyz = xyz + (fine_box // 2) * length / fine_box
    atom = gemmi.Atom()
    atom.b_iso = 0.0
    kinds = {symbol: _element(symbol, name) for symbol in np.unique(elements)}
    occupancies = np.ones(len(xyz)) if occupancies is None else np.asarray(occupancies, float)
    for symbol, kind in kinds.items():
        atom.element = kind
        mine = elements == symbol
        for position, occupancy in zip(xyz[mine].tolist(), occupancies[mine].tolist(), strict=True):
            atom.pos = gemmi.Position(*position)
            atom.occ = occupancy
            calculator.add_atom_density_to_grid(atom)
    fine = np.array(calculator.grid, copy=True).transpose(2, 1, 0)
    if factor == 1:
        return np.ascontiguousarray(fine, np.float32)
    return resample_map(fine, length / fine_box, box, voxel_size_angstrom)


def _element(symbol, name):
    import gemmi

    element = gemmi.Element(str(symbol))
    if element.atomic_number == 0:
        raise ZooError(f"{name}: atom of element {str(symbol)!r}; expected a chemical element")
    return element


def _check_fit(xyz, box, voxel_size_angstrom, name):
    reach = np.abs(xyz).max()
    room = (box / 2 - _MARGIN_VOXELS) * voxel_size_angstrom
    if reach > room:
        needed = math.ceil(2 * (reach / voxel_size_angstrom + _MARGIN_VOXELS) / 2) * 2
        raise ZooError(
            f"{name}: reaches {reach:.0f} Å from the middle of the box, which has room for {room:.0f} Å "
            f"({box} voxels of {voxel_size_angstrom:g} Å); use --box {needed} or larger voxels"
        )
