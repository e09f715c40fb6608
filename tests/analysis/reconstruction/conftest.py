"""Small simulated sets with known poses, and a folder that looks like a finished run with poses."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from zoo.analysis.reconstruction.images import ParticleImages
from zoo.analysis.reconstruction.volume import Poses
from zoo.data.particles import read_particles
from zoo.simulate.classes import ClassMaps
from zoo.simulate.embedded import embedded_classes
from zoo.simulate.particles import simulate_particles
from zoo.simulate.settings import ParticleSettings

BOX, PIXEL, COUNT = 32, 10.0, 600


def simulate(folder, labels=(2,), count=COUNT, **settings):
    """particles.star of some of the embedded states, and its table."""
    classes = embedded_classes(BOX, PIXEL)
    labels = list(labels)
    some = ClassMaps(
        classes.maps[labels], classes.voxel_size_angstrom, tuple(classes.names[k] for k in labels)
    )
    settings = {"sigma": 1.0, "shift_max_px": 1.5, "seed": 4, **settings}
    return simulate_particles(some, folder, ParticleSettings(count, **settings)).star


def frames_of(euler_deg):
    """Rows 0 and 1 of RELION's A."""
    return Rotation.from_euler("ZYZ", euler_deg, degrees=True).inv().as_matrix()[:, :2].astype("f4")


def _poses_of(table, voxel_size_angstrom=PIXEL):
    """The poses of a table, with its half sets."""
    shifts = (-table.shift_angstrom() / voxel_size_angstrom).astype("f4")
    return Poses(frames_of(table.euler_deg()), shifts, np.ones(len(table), "f4"), table.random_subset.copy())


def _angles_between(a, b):
    """Angles (n,) in degrees between frames (n, 2, 3), after one turn of all that lays a on b."""
    full = [np.concatenate([f, np.cross(f[:, 0], f[:, 1])[:, None]], axis=1).astype(float) for f in (a, b)]
    u, _, v = np.linalg.svd(np.einsum("nji,njk->ik", *full))
    common = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
    cosine = (np.einsum("nij,nij->n", full[0] @ common, full[1]) - 1) / 2
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


@pytest.fixture(scope="session")
def star(tmp_path_factory):
    """600 noisy particles (σ = 1) of one state, poses and half sets in the file."""
    return simulate(tmp_path_factory.mktemp("one") / "set")


@pytest.fixture(scope="session")
def clean_star(tmp_path_factory):
    """1,200 particles of the same state with little noise."""
    return simulate(tmp_path_factory.mktemp("clean") / "set", count=1200, sigma=0.2)


@pytest.fixture(scope="session")
def truth(star):
    """The map that they show."""
    from zoo.data.formats.mrc import read_volume

    return read_volume(star.parent / "maps" / "class_0.mrc")[0]


@pytest.fixture
def images(star):
    return ParticleImages(read_particles(star), BOX)


@pytest.fixture(scope="session")
def two_states(tmp_path_factory):
    """300 particles each of two states, packed with a smaller box; (STAR, records)."""
    from zoo.data.packing.pack_particles import pack_particles
    from zoo.data.packing.shards import PackSettings

    folder = tmp_path_factory.mktemp("two")
    star = simulate(folder / "set", (0, 2), 300)
    pack_particles(star, folder / "packed", PackSettings(24, contrast=1), processes=1)
    return star, folder / "packed"


def _fake_run(folder, records, columns):
    """A run folder with results/particles.star of ``columns``; its model is never opened."""
    from zoo.analysis.columns import write_columns
    from zoo.data.info import DatasetInfo
    from zoo.runs.data_source import describe
    from zoo.runs.run_folder import RunFolder

    info = DatasetInfo.load(records)
    run = RunFolder.create(folder, {"model": "abinitio3d", "data": describe(info, records)})
    run.model_file.write_bytes(b"not opened")
    if columns is not None:
        (run.path / "results").mkdir(exist_ok=True)
        write_columns(info, run.path / "results" / "particles.star", columns)
    return run.path


def _true_columns(records, seed=0, turn_deg=0.0):
    """Columns of a run that found the truth, but for turns of as many degrees rms; half sets by parity."""
    from zoo.data.info import DatasetInfo
    from zoo.models.outcome import pose_columns
    from zoo.ops.fourier_volume import euler_of_frames

    info = DatasetInfo.load(records)
    table = info.load_table()
    euler = np.stack([table[name] for name in ("rot_deg", "tilt_deg", "psi_deg")], axis=1)
    turns = np.random.default_rng(seed).normal(size=(info.count, 3)) * np.radians(turn_deg)
    frames = frames_of(euler) @ Rotation.from_rotvec(turns).as_matrix()
    origin = np.stack([table["shift_x_angstrom"], table["shift_y_angstrom"]], axis=1)
    posterior = np.full((info.count, 2), 0.01)
    posterior[np.arange(info.count), table["label"]] = 0.99
    found = {
        "euler_deg": euler_of_frames(frames),
        "origin_angstrom": origin,
        "class": table["label"],
        "posterior": posterior,
    }
    return pose_columns(found, np.arange(info.count) % 2 + 1)


@pytest.fixture(scope="session")
def poses_of():
    return _poses_of


@pytest.fixture(scope="session")
def angles_between():
    return _angles_between


@pytest.fixture(scope="session")
def fake_run():
    return _fake_run


@pytest.fixture(scope="session")
def true_columns():
    return _true_columns
