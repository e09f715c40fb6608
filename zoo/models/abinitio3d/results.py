"""What a run found, as data: maps, curves, and a row for each particle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zoo.metrics.fsc import resolution_at
from zoo.models.abinitio3d.config import Config
from zoo.ops import fourier_volume as fv


@dataclass(frozen=True)
class Result:
    """Maps ``(k, n, n, n)``, half maps ``(2, k, n, n, n)`` and FSC of the halves ``(k, n // 2 + 1)``, largest
    class first; ``found`` False, and no maps, where nothing but noise was seen.

    By particle, in the order of ``index``: ``class_number (N,)`` from 0, ``class_probability (N, k)``,
    ``frames (N, 2, 3)``: rows 0 and 1 of RELION's A, ``euler_deg (N, 3)``: rot, tilt, psi,
    ``origin_angstrom (N, 2)``: RELION's (minus the particle's place), ``log_likelihood (N,)``: over that of
    no particle, ``half_set (N,)``: 1 or 2.
    ``resolution_angstrom (k,)``: where the FSC falls below 0.143, NaN where it does so before it tells
    anything (`Config.silent_shell`). ``share (k,)``: explained share of the signal power at low resolution.
    Voxels are ``voxel_size_angstrom`` long; a projection (sum along the beam) has the images' intensities.
    """

    found: bool
    maps: np.ndarray
    half_maps: np.ndarray
    fsc: np.ndarray
    resolution_angstrom: np.ndarray
    share: np.ndarray
    voxel_size_angstrom: float
    class_number: np.ndarray
    class_probability: np.ndarray
    frames: np.ndarray
    euler_deg: np.ndarray
    origin_angstrom: np.ndarray
    log_likelihood: np.ndarray
    half_set: np.ndarray
    evidence: float
    lines: tuple[str, ...] = ()


def result_of(config: Config, state) -> Result:
    """The result of a state, finished or not."""
    found = bool(state["found"])
    order = np.flatnonzero(state["active"]) if found else np.zeros(0, int)
    order = order[np.argsort(-state["members"][order], kind="stable")]
    rank = np.full(config.classes, -1)
    rank[order] = np.arange(len(order))
    # densities such that projections keep the intensities of the images, in a box of fewer pixels
    scale = np.float32(config.map_box / config.box)
    probability = state["table_probability"][:, order]
    frames, shifts = state["table_frame"][:, 0], state["table_shift"][:, 0]
    return Result(
        found=found,
        maps=state["maps"][order] * scale,
        half_maps=state["half_maps"][:, order] * scale,
        fsc=state["fsc"][order],
        resolution_angstrom=np.array([_resolution(config, state["fsc"][k]) for k in order]),
        share=state["share"][order],
        voxel_size_angstrom=config.map_voxel_size_angstrom,
        class_number=rank[state["table_class"][:, 0]].astype(np.int32),
        class_probability=probability,
        frames=frames,
        euler_deg=fv.euler_of_frames(frames) if found else np.zeros((config.count, 3)),
        origin_angstrom=-shifts * np.float32(config.voxel_size_angstrom),
        log_likelihood=state["table_log_likelihood"],
        half_set=(state["table_half"] + 1).astype(np.int32),
        evidence=float(state["evidence"]),
    )


def _resolution(config, curve):
    found = resolution_at(curve, 0.143, config.map_voxel_size_angstrom)
    return found.angstrom if found.shell > config.silent_shell else np.nan
