"""Any damaged file is read or refused with ZooError: never another exception, never a hang."""

from __future__ import annotations

import faulthandler
import gzip
import json
import os
import signal

import mrcfile
import numpy as np
import pytest

from zoo.data.formats.coordinates import read_coordinates
from zoo.data.formats.images import ImageReader
from zoo.data.formats.mrc import read_volume, write_stack, write_volume
from zoo.data.formats.structures import read_structure
from zoo.data.formats.volumes import VolumeReader
from zoo.data.info import DatasetInfo
from zoo.data.particles import read_particles, write_particles
from zoo.data.subtomograms import holds_subtomograms, read_subtomograms
from zoo.errors import ZooError

QUICK, SLOW = 60, 2000
WORDS = [
    *(b"nan", b"inf", b"-1", b"1e400", b"9" * 400, b"<NA>", b"None", b"0x10", b"1_0"),
    *(b'"', b"'", b"#", b"\n", b"\r", b"\t", b"_", b"@", b"\0", b"\xff\xfe", b"\xe2\x80\xa8"),
    *(b"loop_", b"data_", b"data_particles\n"),
]
STAR = """data_optics

loop_
_rlnOpticsGroup #1
_rlnImagePixelSize #2
_rlnVoltage #3
_rlnSphericalAberration #4
_rlnAmplitudeContrast #5
1 1.5 300 2.7 0.1

data_particles

loop_
_rlnImageName #1
_rlnOpticsGroup #2
_rlnDefocusU #3
_rlnAngleRot #4
_rlnOriginXAngst #5
_rlnRandomSubset #6
000001@stack.mrcs 1 10000 10 1.5 1
000002@stack.mrcs 1 11000 20 2.5 2
"""
VOLUMES = """data_particles

loop_
_rlnImageName #1
_rlnCtfImage #2
_rlnImagePixelSize #3
_rlnCoordinateX #4
_rlnCoordinateY #5
_rlnCoordinateZ #6
_rlnAngleRot #7
_rlnOriginZAngst #8
a.mrc ctf.mrc 4 10 11 12 30 1
a.mrc ctf.mrc 4 10 11 12 31 2
"""
PDB = """CRYST1   10.000   10.000   10.000  90.00  90.00  90.00 P 1           1
REMARK 350 BIOMOLECULE: 1
REMARK 350 APPLY THE FOLLOWING TO CHAINS: A
REMARK 350   BIOMT1   1  1.000000  0.000000  0.000000        0.00000
REMARK 350   BIOMT2   1  0.000000  1.000000  0.000000        0.00000
REMARK 350   BIOMT3   1  0.000000  0.000000  1.000000        0.00000
ATOM      1  CA  ALA A   1       1.000   1.000   1.000  1.00  0.00           C
ATOM      2  CB  ALA A   1       2.000   1.000   1.000  1.00  0.00           C
END
"""


def em_bytes(volume):
    header = np.zeros(512, np.uint8)
    header[0], header[3] = 6, 5
    header[4:16] = np.frombuffer(np.array(volume.shape[::-1], "<i4").tobytes(), np.uint8)
    return header.tobytes() + volume.astype("<f4").tobytes()


def stack_images(path):
    return ImageReader(read_particles(path)).read(slice(None))


def volumes_of(path):
    holds_subtomograms(path)
    return VolumeReader(read_subtomograms(path)).read(slice(None))


def latents_of(path):
    from zoo.analysis.latent import Latents

    return Latents.load(path)


READERS = {
    "p.star": stack_images,
    "stack.mrcs": stack_images,
    "p.cs": lambda path: read_particles(path),
    "v.star": volumes_of,
    "a.mrc": read_volume,
    "int.mrc": read_volume,
    "a.mrc.gz": read_volume,
    "a.em": read_volume,
    "a.em.gz": read_volume,
    "a.pdb": lambda path: read_structure(path, "1"),
    "picks.csv": lambda path: read_coordinates(path, str(path.parent / "a.mrc")),
    "picks.star": lambda path: read_coordinates(path, str(path.parent / "a.mrc")),
    "info.json": lambda path: DatasetInfo.load(path).verify_files(),
    "table.npz": lambda path: DatasetInfo.load(path.parent).load_table(),
    "l.npz": latents_of,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, packed):
    """Folder with a good file of every kind."""
    folder = tmp_path_factory.mktemp("whole")
    rng = np.random.default_rng(0)
    volume = rng.normal(size=(8, 8, 8)).astype(np.float32)
    write_stack(folder / "stack.mrcs", volume, 1.5)
    for name in ("a.mrc", "a.mrc.gz"):
        write_volume(folder / name, volume, 4.0)
    write_volume(folder / "ctf.mrc", np.ones((8, 8, 8)), 4.0)
    with mrcfile.new(folder / "int.mrc") as mrc:
        mrc.set_data((10 * volume).astype(np.int8))
        mrc.voxel_size = 4.0
    (folder / "a.em").write_bytes(em_bytes(volume))
    (folder / "a.em.gz").write_bytes(gzip.compress(em_bytes(volume)))
    (folder / "p.star").write_text(STAR)
    (folder / "v.star").write_text(VOLUMES)
    write_particles(read_particles(folder / "p.star"), folder / "p.cs")
    (folder / "a.pdb").write_text(PDB)
    (folder / "picks.csv").write_text("x,y,z,rot,tilt,psi,label\n3,4,5,1,2,3,0\n4.5,4,4,1,2,3,1\n")
    (folder / "picks.star").write_text(VOLUMES)
    np.savez_compressed(folder / "l.npz", z_mean=volume[0], label=np.arange(8))
    for path in packed.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    for name, read in READERS.items():
        read(folder / name)
    assert set(READERS) <= {path.name for path in folder.iterdir()}
    assert json.loads((folder / "info.json").read_text())["count"] == 150
    return folder


def mutated(raw: bytes, rng) -> bytes:
    data = bytearray(raw)
    head = len(data) if rng.random() < 0.5 else min(len(data), 1100)  # headers decide most
    for _ in range(rng.integers(1, 4)):
        if not data:
            break
        start = int(rng.integers(0, min(head, len(data))))
        stop = min(start + int(rng.integers(1, 24)), len(data))
        kind = rng.integers(0, 7)
        if kind == 0:
            data[start] = int(rng.integers(0, 256))
        elif kind == 1:
            data[start] ^= 1 << int(rng.integers(0, 8))
        elif kind == 2:
            del data[start:stop]
        elif kind == 3:
            data[start:start] = data[start:stop]
        elif kind == 4:
            data[start:stop] = WORDS[int(rng.integers(0, len(WORDS)))]
        elif kind == 5:
            data[start:stop] = rng.integers(0, 256, stop - start).astype(np.uint8).tobytes()
        else:
            del data[start:]
    return bytes(data)


def fuzz(whole, folder, name, count):
    for path in whole.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    raw, rng = (whole / name).read_bytes(), np.random.default_rng(sum(name.encode()))
    outcomes = {"read": 0, "refused": 0}
    for number in range(count):
        (folder / name).write_bytes(mutated(raw, rng))
        faulthandler.dump_traceback_later(60)
        try:
            READERS[name](folder / name)
            outcomes["read"] += 1
        except ZooError as error:
            outcomes["refused"] += 1
            assert "\n" not in str(error)
        except Exception as error:
            saved = folder / f"bad_{number}_{name}"
            saved.write_bytes((folder / name).read_bytes())
            raise AssertionError(f"{name}, mutation {number} ({saved}): {error!r}") from error
        finally:
            faulthandler.cancel_dump_traceback_later()
    assert outcomes["refused"] > 0, f"{name}: no mutation did any harm"


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_read_or_refused(whole, tmp_path, name):
    fuzz(whole, tmp_path, name, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_many_damaged_files_are_read_or_refused(whole, tmp_path, name):
    fuzz(whole, tmp_path, name, SLOW)


@pytest.mark.parametrize(
    "name", ["f.star", "f.cs", "f.mrcs", "f.mrc", "f.em", "f.pdb", "f.csv", "d/info.json"]
)
def test_a_pipe_is_refused_at_once(tmp_path, name):
    (tmp_path / "d").mkdir()
    os.mkfifo(tmp_path / name)
    reader = {"mrc": read_volume, "em": read_volume, "pdb": read_structure, "json": DatasetInfo.load}
    reader["csv"] = lambda path: read_coordinates(path, "t.mrc")

    def hang(*_):
        raise AssertionError("waits for the pipe")

    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(20)
    try:
        with pytest.raises(ZooError, match="expected a regular file"):
            reader.get(name.rpartition(".")[2], read_particles)(tmp_path / name)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
