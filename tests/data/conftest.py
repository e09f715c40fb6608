"""Small particle sets with known images, poses and CTFs."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="session")
def make_particles():
    """Function (folder, count, box, ...) → path of a STAR file with bright blobs in noise, and its images."""
    from zoo.data.formats.mrc import write_stack
    from zoo.data.particles import write_particles
    from zoo.data.tables.particle_table import ParticleTable

    def make(folder, count=150, box=24, stacks=2, seed=0, sign=1, name="particles"):
        rng = np.random.default_rng(seed)
        axis = np.arange(box) - box // 2
        blob = np.exp(-(axis[:, None] ** 2 + axis**2) / (2 * (box / 8) ** 2))
        images = (sign * 2 * blob + rng.normal(size=(count, box, box))).astype(np.float32)
        folder.mkdir(parents=True, exist_ok=True)
        stack_index = np.arange(count) * stacks // count
        paths = [str(folder / f"{name}_{stack}.mrcs") for stack in range(stacks)]
        for stack, path in enumerate(paths):
            write_stack(path, images[stack_index == stack], 2.0)
        table = ParticleTable(
            paths,
            {
                "stack_index": stack_index,
                "row_in_stack": np.arange(count) - np.searchsorted(stack_index, stack_index),
                "rot_deg": rng.uniform(-180, 180, count),
                "tilt_deg": rng.uniform(0, 180, count),
                "psi_deg": rng.uniform(-180, 180, count),
                "shift_x_angstrom": rng.normal(size=count),
                "shift_y_angstrom": rng.normal(size=count),
                "defocus_u_angstrom": rng.uniform(1e4, 2e4, count),
                "defocus_v_angstrom": rng.uniform(1e4, 2e4, count),
                "defocus_angle_deg": rng.uniform(0, 90, count),
                "voltage_kv": np.full(count, 300.0),
                "cs_mm": np.full(count, 2.7),
                "amplitude_contrast": np.full(count, 0.1),
                "phase_shift_deg": np.zeros(count),
                "bfactor_angstrom2": np.zeros(count),
                "ctf_scale": np.ones(count),
                "pixel_size_angstrom": np.full(count, 2.0),
                "label": np.arange(count) % 3,
            },
        )
        path = folder / f"{name}.star"
        write_particles(table, path)
        return path, images

    return make


@pytest.fixture(scope="session")
def packed(tmp_path_factory, make_particles):
    """Folder of a packed set: 150 particles of 24 → 16 pixels in 2 shards, float16."""
    from zoo.data.packing.pack_particles import pack_particles
    from zoo.data.packing.shards import PackSettings

    folder = tmp_path_factory.mktemp("packed")
    path, _ = make_particles(folder)
    pack_particles(path, folder / "set", PackSettings(box=16, seed=3), processes=1)
    return folder / "set"
