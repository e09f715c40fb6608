"""The maps that particles are projected from: read, brought to one box and voxel, background removed."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zoo.errors import ZooError
from zoo.simulate.density import density_from_atoms
from zoo.simulate.resample import border_level, resample_map

_LARGEST_BOX = 1024  # of a map: 4 GB of float32


@dataclass(frozen=True)
class ClassMaps:
    """True maps (k, box, box, box) float32 of one voxel size, with a name for each."""

    maps: np.ndarray
    voxel_size_angstrom: float
    names: tuple[str, ...]

    def __post_init__(self):
        for density, name in zip(self.maps, self.names, strict=True):
            check_density(density, name)

    @property
    def box(self) -> int:
        return self.maps.shape[1]

    def __add__(self, other: "ClassMaps") -> "ClassMaps":
        if (self.box, self.voxel_size_angstrom) != (other.box, other.voxel_size_angstrom):
            raise ZooError("classes of different box or voxel size cannot be put in one set")
        maps = np.concatenate([self.maps, other.maps])
        return ClassMaps(maps, self.voxel_size_angstrom, self.names + other.names)


def check_density(density: np.ndarray, name: str | os.PathLike) -> None:
    """Raise ZooError for a map with voxels that are not finite, or that are all equal."""
    if not np.isfinite(density).all():
        raise ZooError(f"{name}: holds values that are not finite; expected a density map")
    if np.ptp(density) == 0:
        raise ZooError(f"{name}: all voxels are equal; expected a map with density")


def classes_from_maps(
    paths: Sequence[str | os.PathLike], box: int | None = None, voxel_size_angstrom: float | None = None
) -> ClassMaps:
    """Read maps (MRC, EM) and bring them to `box` and voxel size; their border level becomes 0.

    Without a voxel size the first map keeps its field of view: its voxel size times its box over `box`
    (a Fourier crop). Raises ZooError for maps that are not cubes, that do not state their voxel size, and,
    where no voxel size is given, that are smaller than `box`.
    """
    from zoo.data.formats.mrc import read_volume

    check_box(box)
    maps = []
    for path in paths:
        density, stated = read_volume(path)
        if len(set(density.shape)) != 1:
            raise ZooError(f"{path}: a map of {density.shape} voxels (z, y, x); expected a cube: pad it")
        check_density(density, path)
        size = density.shape[0]
        if voxel_size_angstrom is None:
            if stated <= 0:
                raise ZooError(f"{path}: its header states no voxel size; give --pixel-size in Å")
            if box is not None and box > size:
                raise ZooError(
                    f"{path}: a map of {size} voxels is smaller than --box {box}; choose --box {size} "
                    "or less, or give --pixel-size to place it in a larger box"
                )
            box = size if box is None else box
            voxel_size_angstrom = stated * size / box
        box = size if box is None else box
        # a map whose header is silent is taken to have the voxel size asked for
        own = stated if stated > 0 else voxel_size_angstrom
        density = resample_map(density - border_level(density), own, box, voxel_size_angstrom)
        maps.append(density)
    return ClassMaps(np.stack(maps), float(voxel_size_angstrom), tuple(os.path.basename(p) for p in paths))


@dataclass(frozen=True)
class StructureSource:
    """An atomic model: its file, the assembly to build, and which chains to keep or to leave out."""

    path: str
    assembly: str | None = None
    chains: tuple[str, ...] = ()
    remove_chains: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        name = os.path.basename(self.path)
        kept = f" chains {','.join(self.chains)}" if self.chains else ""
        return name + kept + (f" without {','.join(self.remove_chains)}" if self.remove_chains else "")


def classes_from_structures(
    sources: Sequence[StructureSource],
    box: int,
    voxel_size_angstrom: float,
    resolution_angstrom: float | None = None,
    common_frame: bool = False,
    morph: int | None = None,
) -> ClassMaps:
    """Densities of atomic models at `resolution_angstrom` (default: 2 voxels).

    The middle of all atoms of a file, before chains are chosen, comes to the middle of the box, so that
    intermediates made from one file lie over each other; `common_frame` uses the first file's for all.
    `morph` N makes N conformations, straight lines between the atoms of two aligned models, ends included.
    Raises ZooError for a model without atoms, an unknown chain, one that does not fit into the box, and
    for a morph between models of different atoms.
    """
    check_box(box)
    if not voxel_size_angstrom > 0:
        raise ZooError(f"--voxel {voxel_size_angstrom}: expected a voxel size above 0 Å")
    resolution_angstrom = 2 * voxel_size_angstrom if resolution_angstrom is None else resolution_angstrom
    if not resolution_angstrom > 0:
        raise ZooError(f"--resolution {resolution_angstrom}: expected more than 0 Å")
    read = [_read(source) for source in sources]
    atoms = [each for each, _ in read]
    centres = [read[0][1] if common_frame or morph is not None else centre for _, centre in read]
    positions = [each.positions_angstrom for each in atoms]
    names = [source.name for source in sources]
    if morph is not None:
        _check_morph(atoms, names, morph)
        start, end = positions
        steps = np.linspace(0, 1, morph)
        positions = [(1 - step) * start + step * end for step in steps]
        names = [f"{names[0]} to {names[1]} {step:.3g}" for step in steps]
        atoms, centres = [atoms[0]] * morph, [centres[0]] * morph
    maps = [
        density_from_atoms(
            xyz, each.elements, box, voxel_size_angstrom, resolution_angstrom, _weights(each), centre, name
        )
        for xyz, each, centre, name in zip(positions, atoms, centres, names, strict=True)
    ]
    return ClassMaps(np.stack(maps), float(voxel_size_angstrom), tuple(names))


def check_box(box: int | None) -> None:
    """Raise ZooError unless the box is even and from 8 to 1024 pixels (or not given)."""
    if box is not None and (not 8 <= box <= _LARGEST_BOX or box % 2):
        raise ZooError(f"--box {box}: expected an even number of pixels, 8 or more, at most {_LARGEST_BOX}")


def _read(source):
    """The chosen atoms of a file, and the middle of all of them."""
    from zoo.data.formats.structures import read_structure

    atoms = read_structure(source.path, source.assembly)
    centre = atoms.positions_angstrom.mean(0)
    if source.chains:
        absent = sorted(set(source.chains) - set(atoms.chains.tolist()))
        if absent:
            there = ", ".join(sorted(set(atoms.chains.tolist())))
            raise ZooError(f"{source.path}: chain {absent[0]} is not in the structure; it has {there}")
        atoms = atoms.select(np.isin(atoms.chains, source.chains))
    if source.remove_chains:
        try:
            atoms = atoms.without_chains(source.remove_chains)
        except ZooError as error:
            raise ZooError(f"{source.path}: {error}") from error
    if len(atoms) == 0:
        raise ZooError(f"{source.path}: no atoms are left; choose other --chains or --remove-chains")
    return atoms, centre


def _weights(atoms):
    """Occupancies, or ones where a program wrote zeros throughout."""
    return atoms.occupancies if atoms.occupancies.any() else np.ones(len(atoms))


def _check_morph(atoms, names, morph):
    if morph < 2:
        raise ZooError(f"--morph {morph}: expected 2 or more conformations")
    if len(atoms) != 2:
        raise ZooError(f"--morph needs exactly two --structure, found {len(atoms)}")
    if len(atoms[0]) != len(atoms[1]):
        raise ZooError(
            f"--morph: {names[0]} has {len(atoms[0])} atoms, {names[1]} has {len(atoms[1])}; "
            "expected the same atoms in the same order (choose --chains)"
        )
    differ = np.flatnonzero(atoms[0].elements != atoms[1].elements)
    if len(differ):
        row = differ[0]
        raise ZooError(
            f"--morph: atom {row + 1} is {atoms[0].elements[row]} in {names[0]} and {atoms[1].elements[row]} "
            f"in {names[1]}; expected the same atoms in the same order"
        )
