"""What is reconstructed: particles with poses, classes and half sets, from any place that has them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from zoo.analysis.choose_rows import Particles
from zoo.analysis.cluster_report import load_clusters
from zoo.analysis.markers import CLUSTERS
from zoo.analysis.reconstruction.halves import Halves, choose_halves
from zoo.analysis.reconstruction.images import Grey
from zoo.data.info import INFO_NAME, DatasetInfo
from zoo.data.kinds import kind_of, require_kind
from zoo.data.packing.ctf_check import settle_ctf
from zoo.data.packing.pack_particles import require_pixel_size
from zoo.data.particles import read_particles
from zoo.data.reopen import SourceRecord, reopen_source, require_same_rows
from zoo.data.tables.particle_table import ParticleTable
from zoo.errors import ZooError

RUN_POSES = Path("results") / "particles.star"
KNOWN, NONE = "known", "none"
_SUFFIXES = (".star", ".cs")


@dataclass
class Found:
    """n particles: ``table`` of their source file with ``euler_deg`` (n, 3) and ``origin_angstrom`` (n, 2).

    ``group`` (n,): class of each from 0, or -1; ``names`` of the groups; ``probability`` (n,) of the class;
    ``halves``; ``grey``: how the images become those that were packed; ``one_model``: all poses come from one
    run, so that the half sets share their start; ``run_box`` of its images, 0 where there is no run.
    """

    place: str
    table: ParticleTable
    euler_deg: np.ndarray
    origin_angstrom: np.ndarray
    group: np.ndarray
    names: list[str]
    probability: np.ndarray
    halves: Halves
    grey: Grey
    one_model: bool = False
    run_box: int = 0
    info: DatasetInfo | None = None
    lines: list[str] = field(default_factory=list)


def kind_of_place(place) -> str:
    """ "run", "records", "clusters" or "file"; raises ZooError for anything else."""
    path = Path(place)
    if path.is_dir():
        for name, kind in (("config.json", "run"), (CLUSTERS, "clusters"), (INFO_NAME, "records")):
            if (path / name).is_file():
                return kind
        raise ZooError(
            f"{path}: holds no config.json (zoo-train), {CLUSTERS} (zoo-infer cluster) or {INFO_NAME} "
            "(zoo-pack); name a run, clusters, records or a particle file"
        )
    if path.suffix.lower() in _SUFFIXES:
        return "file"
    if not path.exists():
        raise ZooError(f"{path}: no such file or folder; name a run, clusters, records, .star or .cs")
    raise ZooError(f"{path}: is no .star or .cs file, so it has no poses")


def open_place(
    place,
    info=None,
    aligned=None,
    source=None,
    stacks=None,
    poses=None,
    by: str | None = None,
    new_halves: bool = False,
    seed: int = 0,
    contrast: int = 0,
) -> Found:
    """The particles of a run, of clusters, of packed records or of a file, with the poses to start from.

    ``info`` is the DatasetInfo of a run; ``aligned()`` gives what its model's align says of all records, for
    runs without results. ``poses``: a file with poses of the same images, or "known" for those of the source
    file. ``by`` names the column of the classes ("none": one map). Raises ZooError where there are no poses.
    """
    kind, path = kind_of_place(place), Path(place)
    grey, lines, one_model, run_box = Grey(contrast or 1), [], False, 0
    group_of: Particles | None = None
    if kind in ("run", "records"):
        info = DatasetInfo.load(path) if kind == "records" else info
        require_kind(info, "particles")
        whole = reopen_source(info, source, stacks)
        packed = info.load_table()
        order = np.argsort(packed["source_row"])
        rows, uid = packed["source_row"][order], packed["uid"][order]
        if kind == "run":
            run_box = info.box
            if poses is None and (path / RUN_POSES).is_file():
                poses, one_model = path / RUN_POSES, True
    elif kind == "clusters":
        latents, cluster = load_clusters(path)
        origin = SourceRecord.from_text(str(latents.origin or latents.source))
        whole = origin.read(source, stacks)
        require_same_rows(whole, latents.uid, latents.source_row)
        order = np.argsort(latents.source_row)
        rows, uid = latents.source_row[order], latents.uid[order]
    else:
        if source is not None:
            raise ZooError(f"{path}: is the particle file itself; --source is for runs, clusters and records")
        whole = read_particles(path, stacks=stacks)
        rows, uid = whole.source_row, whole.uid
    if kind_of(whole).schema.ndim != 2:
        raise ZooError(f"{path}: holds {whole.kind}, expected 2D particle images")
    table = whole.select(np.searchsorted(whole.source_row, rows))
    require_pixel_size(table)
    table, notes = settle_ctf(table, (info.settings if info else {}).get("partial_ctf") or "refuse")
    if len(table) != len(rows):
        raise ZooError(f"{path}: {len(rows) - len(table)} particles have no whole CTF; complete the file")
    lines += [*notes, *table.known_source().notes]
    if info is not None:
        radius = info.normalisation.get("circle_radius_pixels")
        share = (radius or 0.375 * info.box) / info.box
        grey = Grey(contrast or info.contrast_sign, str(info.normalisation.get("method") or "none"), share)
    elif not contrast:
        grey = Grey(table.known_source().stated_contrast_sign or 1)

    posed, words = table, str(table.known_source().path)
    if poses is not None and str(poses) != KNOWN:
        posed, words = _poses_of(Path(poses), uid), str(poses)
    if kind == "run" and poses is None:
        if aligned is None:
            raise ZooError(
                f"{path}: its model gives no pose of a particle (it has no {RUN_POSES} and cannot align); "
                "name a run that does, such as one of abinitio3d, or poses with --poses FILE (or known)"
            )
        found = aligned()
        order = np.argsort(packed["source_row"])
        euler, origin_a = found["euler_deg"][order], found["origin_angstrom"][order]
        stated, one_model = table.random_subset, True
        group, names = found["class"][order].astype(int), None
        probability = found["posterior"][order].max(1)
    else:
        euler, origin_a = _known_poses(posed, words)
        stated = posed.random_subset
        group_of = Particles(words, posed, posed.source_row, posed.uid)
        probability = np.ones(len(table))
        if one_model and _has(group_of, "rlnMaxValueProbDistribution"):
            probability = np.clip(group_of.column("rlnMaxValueProbDistribution").astype(float), 0, 1)
        names = None
        if kind == "clusters" and by is None:
            group = cluster[order]
            names = [f"cluster_{k:02d}" for k in range(group.max() + 1)]
        else:
            group, names = _groups(group_of, by)
    if names is None:
        names = [f"class_{k + 1}" for k in range(int(group.max()) + 1)]
    if table.random_subset.any() and (one_model or not stated.any()):
        # a person's own half sets, whatever a run split by: what its poses know is forgotten
        stated, words = table.random_subset, str(table.known_source().path)
    halves = choose_halves(stated, uid, seed, words, new_halves)
    left = int((group < 0).sum())
    if left:
        lines.append(f"{left:,} particles belong to no class and are left out")
    return Found(
        str(path),
        table,
        np.asarray(euler, float),
        np.asarray(origin_a, float),
        np.asarray(group, int),
        names,
        np.asarray(probability, float),
        halves,
        grey,
        one_model,
        run_box,
        info,
        lines,
    )


def _poses_of(path: Path, uid: np.ndarray) -> ParticleTable:
    """Rows of a file of poses in the order of ``uid``; ZooError where one is missing."""
    table = read_particles(path)
    order = np.argsort(table.uid, kind="stable")
    at = order[np.minimum(np.searchsorted(table.uid, uid, sorter=order), len(table) - 1)]
    lost = np.flatnonzero(table.uid[at] != uid)
    if len(lost):
        raise ZooError(
            f"{path}: has no pose of {len(lost)} of {len(uid)} particles (the first is particle "
            f"{lost[0] + 1}); it must name the same images"
        )
    return table.select(at)


def _known_poses(table: ParticleTable, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Angles and origins; a file without origins has them at 0, as RELION takes it."""
    euler, origin = table.euler_deg(), table.shift_angstrom()
    lost = np.flatnonzero(~np.isfinite(euler).all(axis=1))
    if len(lost) == len(euler):
        raise ZooError(
            f"{where}: has no poses (rlnAngleRot, rlnAngleTilt, rlnAnglePsi or alignments3D/pose); name a "
            "run of abinitio3d, or a file with poses of these images with --poses FILE"
        )
    if len(lost):
        raise ZooError(
            f"{where}: row {table.source_row[lost[0]] + 1} has no pose ({len(lost)} of {len(euler)} have "
            "none); complete the file or select the others with zoo-infer select"
        )
    if not np.isfinite(origin).any():
        origin = np.zeros_like(origin)
    table_lost = np.flatnonzero(~np.isfinite(origin).all(axis=1))
    if len(table_lost):
        raise ZooError(
            f"{where}: row {table.source_row[table_lost[0]] + 1} has no origin, others have; "
            "complete the file"
        )
    return euler, origin


def _has(particles: Particles, name: str) -> bool:
    try:
        particles.column(name)
    except ZooError:
        return False
    return True


def _groups(particles: Particles, by: str | None) -> tuple[np.ndarray, list[str]]:
    """Class of each particle by a column: the one asked for, zooCluster, rlnClassNumber, or all in one."""
    if by == NONE:
        return np.zeros(len(particles), int), ["map"]
    if by is None:
        by = next((name for name in ("zooCluster", "rlnClassNumber") if _has(particles, name)), None)
        if by is None:
            return np.zeros(len(particles), int), ["map"]
    values = particles.column(by)
    try:
        numbers = values.astype(np.int64)
        if (numbers != values.astype(float)).any():
            raise ValueError
    except (ValueError, TypeError):
        raise ZooError(f"{particles.place}: {by} holds no whole numbers, so it names no classes") from None
    present = [int(number) for number in np.unique(numbers) if number >= 0]
    if not present:
        raise ZooError(f"{particles.place}: no particle has a class in {by}")
    group = np.full(len(numbers), -1)
    for place, number in enumerate(present):
        group[numbers == number] = place
    word = "cluster_{:02d}" if by == "zooCluster" else "class_{}"
    return group, [word.format(number) for number in present]
