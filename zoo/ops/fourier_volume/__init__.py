"""Volumes as padded Fourier grids: slices, search, refinement, insertion and closed-form solution.

Host code (NumPy, SciPy, kernels compiled by numba) for images whose poses are unknown. Conventions are the
zoo's: RELION's matrices A and slices at Aᵀ(kx, ky, 0), its sign of the CTF, origins at pixel box // 2.
A particle lies ``shift`` pixels from the image's middle, the negative of RELION's origin.
"""

from zoo.ops.fourier_volume.grid import PAD, FourierGrid, resized
from zoo.ops.fourier_volume.half_grid import HalfGrid
from zoo.ops.fourier_volume.half_plane import HalfPlane
from zoo.ops.fourier_volume.insertion import insert
from zoo.ops.fourier_volume.overlay import small_turn
from zoo.ops.fourier_volume.pose_range import poses_near, poses_within
from zoo.ops.fourier_volume.randoms import generator, uniforms
from zoo.ops.fourier_volume.refinement import Refined, refine_poses
from zoo.ops.fourier_volume.search import Bank, Found, decode, search, slice_bank
from zoo.ops.fourier_volume.slices import central_slices
from zoo.ops.fourier_volume.views import (
    euler_of_frames,
    frames_of_euler,
    frames_of_uniforms,
    matrices_of_frames,
    random_rotations,
    shift_grid,
    view_frames,
)
from zoo.ops.fourier_volume.wiener import (
    Solved,
    last_shell,
    low_passed,
    share_low_shells,
    shell_correlation,
    solve,
    solve_halves,
    whitened,
)

__all__ = [
    "PAD",
    "Bank",
    "Found",
    "FourierGrid",
    "HalfGrid",
    "HalfPlane",
    "Refined",
    "Solved",
    "central_slices",
    "decode",
    "euler_of_frames",
    "frames_of_euler",
    "frames_of_uniforms",
    "generator",
    "insert",
    "last_shell",
    "low_passed",
    "matrices_of_frames",
    "poses_near",
    "poses_within",
    "random_rotations",
    "refine_poses",
    "resized",
    "search",
    "share_low_shells",
    "shell_correlation",
    "shift_grid",
    "slice_bank",
    "small_turn",
    "solve",
    "solve_halves",
    "uniforms",
    "view_frames",
    "whitened",
]
