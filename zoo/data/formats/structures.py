"""Atomic models from PDB and mmCIF files, with biological assemblies, through gemmi."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from zoo.errors import ZooError
from zoo.files import whole_path
from zoo.input_files import existing_file

_PDB_ATOMS = 99_999


@dataclass(frozen=True)
class Atoms:
    """n atoms: positions in Å (n, 3) xyz, element symbols, B-factors in Å², occupancies, chain names."""

    positions_angstrom: np.ndarray
    elements: np.ndarray
    bfactors_angstrom2: np.ndarray
    occupancies: np.ndarray
    chains: np.ndarray

    def __len__(self) -> int:
        return len(self.positions_angstrom)

    def select(self, mask) -> Atoms:
        """The atoms of a boolean mask or of indices, in that order."""
        return Atoms(
            self.positions_angstrom[mask],
            self.elements[mask],
            self.bfactors_angstrom2[mask],
            self.occupancies[mask],
            self.chains[mask],
        )

    def without_chains(self, names) -> Atoms:
        """All atoms but those of the named chains; raises ZooError for a chain that is not there."""
        absent = sorted(set(names) - set(self.chains.tolist()))
        if absent:
            there = ", ".join(sorted(set(self.chains.tolist())))
            raise ZooError(f"chain {absent[0]} is not in the structure; it has {there}")
        return self.select(~np.isin(self.chains, list(names)))


def read_structure(
    path: str | os.PathLike, assembly: str | None = None, hydrogens: bool = False, waters: bool = False
) -> Atoms:
    """Read the first model of a PDB or mmCIF file (gzip too); ``assembly="1"`` builds that assembly.

    Of alternative conformations the first is kept. Hydrogens and waters are left out unless asked
    for. Chains copied by an assembly get names of their own. Raises ZooError for a file without
    atoms, an unknown assembly or a damaged file.
    """
    path = existing_file(path)
    structure = _gemmi_structure(path)
    try:
        return _read_model(path, structure, assembly, hydrogens, waters)
    except UnicodeDecodeError as error:
        raise ZooError(f"{path}: damaged: the name of a chain or atom is no UTF-8 text") from error


def write_moved_structure(
    source: str | os.PathLike,
    path: str | os.PathLike,
    rotation: np.ndarray,
    translation_angstrom: np.ndarray,
    assembly: str | None = None,
) -> str:
    """Write the first model of ``source``, hydrogens and waters too, at rotation @ x + translation_angstrom.

    Rotation (3, 3), translation (3,); anisotropic displacements turn as well. What was true of the old
    place only (unit cell, symmetry, assemblies, remarks) is not written. ``path`` ends in .pdb or .cif; what
    PDB files do not hold (chains of longer names, more than 99,999 atoms) is written as .cif instead.
    Returns the path. Raises ZooError as ``read_structure``.
    """
    import gemmi

    path, source = os.fspath(path), existing_file(source)
    structure = _gemmi_structure(source)
    structure.setup_entities()
    model = structure[0] if assembly is None else _assembly(source, structure, str(assembly))
    model = model.clone()
    shift = gemmi.Vec3(*np.asarray(translation_angstrom, float).tolist())
    model.transform_pos_and_adp(gemmi.Transform(gemmi.Mat33(np.asarray(rotation, float).tolist()), shift))
    moved = gemmi.Structure()
    moved.name = os.path.splitext(os.path.basename(path))[0]
    moved.cell, moved.spacegroup_hm = gemmi.UnitCell(), "P 1"
    moved.add_model(model)
    moved.setup_entities()
    moved.assign_serial_numbers()
    if path.endswith(".pdb") and (
        model.count_atom_sites() > _PDB_ATOMS or max(len(chain.name) for chain in model) > 1
    ):
        path = path.removesuffix(".pdb") + ".cif"
    with whole_path(path) as temporary:
        if path.endswith(".pdb"):
            moved.write_pdb(os.fspath(temporary))
        else:
            moved.make_mmcif_document().write_file(os.fspath(temporary))
    return path


def _gemmi_structure(path: str):
    import gemmi

    try:
        return gemmi.read_structure(path)
    except Exception as error:  # gemmi raises RuntimeError and ValueError, for damaged gzip OSError too
        raise ZooError(f"{path}: not a readable PDB or mmCIF file: {error}") from error


def _read_model(path: str, structure, assembly: str | None, hydrogens: bool, waters: bool) -> Atoms:
    structure.setup_entities()
    if len(structure) == 0 or structure[0].count_atom_sites() == 0:
        raise ZooError(f"{path}: holds no atoms; expected a PDB or mmCIF file with coordinates")
    # The assembly first: it may name the waters' chains, which must still be there.
    model = structure[0] if assembly is None else _assembly(path, structure, str(assembly))
    model.remove_alternative_conformations()
    if not hydrogens:
        model.remove_hydrogens()
    if not waters:
        model.remove_waters()
    return _atoms(path, model)


def _assembly(path: str, structure, name: str):
    import gemmi

    known = [assembly.name for assembly in structure.assemblies]
    if name not in known:
        there = f"it has {', '.join(known)}" if known else "it states none; leave assembly out"
        raise ZooError(f"{path}: assembly {name!r} is not in the file; {there}")
    chosen = structure.assemblies[known.index(name)]
    chains = {chain.name for chain in structure[0]} | {
        residue.subchain for chain in structure[0] for residue in chain
    }
    for generator in chosen.generators:
        lost = [chain for chain in [*generator.chains, *generator.subchains] if chain not in chains]
        if lost:
            raise ZooError(
                f"{path}: assembly {name!r} needs chain {lost[0]}, which is not in the file; "
                "take the complete file, or leave the assembly out"
            )
    try:
        return gemmi.make_assembly(chosen, structure[0], gemmi.HowToNameCopiedChain.AddNumber)
    except Exception as error:  # gemmi raises RuntimeError and ValueError
        raise ZooError(f"{path}: assembly {name!r} cannot be built: {error}") from error


def _atoms(path: str, model) -> Atoms:
    positions, elements, bfactors, occupancies, chains = [], [], [], [], []
    for chain in model:
        for residue in chain:
            for atom in residue:
                positions.append(atom.pos.tolist())
                elements.append(atom.element.name)
                bfactors.append(atom.b_iso)
                occupancies.append(atom.occ)
                chains.append(chain.name)
    if not positions:
        raise ZooError(f"{path}: holds nothing but hydrogens and waters; expected a molecule")
    return Atoms(
        np.array(positions, dtype=np.float64),
        np.array(elements),
        np.array(bfactors, dtype=np.float64),
        np.array(occupancies, dtype=np.float64),
        np.array(chains),
    )
