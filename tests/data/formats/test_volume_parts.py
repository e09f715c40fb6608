"""Parts of volumes of every form are those of the whole volume, few files are open, and memory stays flat."""

import gzip
import pickle

import mrcfile
import numpy as np
import pytest

from zoo.data.formats.mrc import read_volume, write_volume
from zoo.data.formats.volume_parts import _MOST_OPEN, VolumeParts
from zoo.errors import ZooError

PART = (slice(2, 7), slice(0, 9), slice(5, 11))


def permuted(path, volume):
    with mrcfile.new(path) as mrc:
        mrc.set_data(volume)
        mrc.header.mapc, mrc.header.mapr, mrc.header.maps = 2, 3, 1


def big_endian_integers(path, volume):
    write_volume(path, volume, 4.0)
    raw = bytearray(path.read_bytes())
    header = np.frombuffer(bytes(raw[:1024]), "<i4").byteswap().tobytes()
    mode = np.array(1, ">i4").tobytes()
    path.write_bytes(header[:12] + mode + header[16:] + (100 * volume).astype(">i2").tobytes())


def em(path, volume):
    header = np.zeros(512, np.uint8)
    header[0], header[3] = 6, 5
    header[4:16] = np.frombuffer(np.array(volume.shape[::-1], "<i4").tobytes(), np.uint8)
    path.write_bytes(header.tobytes() + volume.tobytes())


def packed(path, volume):
    write_volume(path, volume, 4.0)


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (packed, "a.mrc"),
        (packed, "a.mrc.gz"),
        (permuted, "a.mrc"),
        (big_endian_integers, "a.mrc"),
        (em, "a.em"),
    ],
)
def test_a_part_is_that_of_the_whole(tmp_path, write, name):
    volume = np.random.default_rng(0).normal(size=(10, 11, 12)).astype(np.float32)
    write(tmp_path / name, volume)
    if name.endswith(".em"):
        (tmp_path / "b.em.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
    for path in tmp_path.iterdir():
        expected = read_volume(path)[0]
        opened = VolumeParts()
        found = opened.part(str(path), PART)
        np.testing.assert_array_equal(found, expected[PART])
        assert found.dtype == np.float32 and found.flags.writeable and found.base is None
        again = pickle.loads(pickle.dumps(opened))
        assert len(again) == 0
        np.testing.assert_array_equal(again.part(str(path), PART), expected[PART])
        opened.close()
        assert len(opened) == 0


def test_few_are_open_at_once_and_all_can_be_read_again(tmp_path):
    count = _MOST_OPEN + 5
    for number in range(count):
        write_volume(tmp_path / f"{number}.mrc", np.full((8, 8, 8), number), 4.0)
    opened = VolumeParts()
    for number in [*range(count), 0, 3]:
        assert (opened.part(str(tmp_path / f"{number}.mrc"), (slice(0, 2),) * 3) == number).all()
        assert len(opened) <= _MOST_OPEN


def test_what_is_cut_short_is_named(tmp_path):
    write_volume(tmp_path / "a.mrc.gz", np.random.default_rng(0).normal(size=(20, 20, 20)), 4.0)
    whole = (tmp_path / "a.mrc.gz").read_bytes()
    (tmp_path / "a.mrc.gz").write_bytes(whole[: len(whole) // 2])
    em(tmp_path / "a.em", np.ones((6, 6, 6), np.float32))
    (tmp_path / "a.em").write_bytes((tmp_path / "a.em").read_bytes()[:700])
    for name in ("a.mrc.gz", "a.em"):
        with pytest.raises(ZooError, match=f"{name}.*cut short"):
            VolumeParts().part(str(tmp_path / name), (slice(0, 2),) * 3)


def test_no_room_to_unpack_is_one_line(tmp_path, monkeypatch):
    import errno
    import shutil

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    write_volume(tmp_path / "a.mrc.gz", np.ones((8, 8, 8)), 4.0)
    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(ZooError, match="a.mrc.gz: cannot be unpacked into .*TMPDIR"):
        VolumeParts().part(str(tmp_path / "a.mrc.gz"), (slice(0, 2),) * 3)


@pytest.mark.parametrize("ending", ["mrc", "mrc.gz"])
def test_memory_does_not_grow_with_the_number_of_tomograms(tmp_path, measured_python, ending):
    """Twenty more of 16 MB each, read from end to end."""
    code = """
        import resource, sys
        from pathlib import Path
        import numpy as np
        from zoo.data.formats.volume_parts import VolumeParts
        from zoo.data.formats.mrc import write_volume
        folder, count, ending = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
        for number in range(count):
            write_volume(folder / f"{count}_{number}.{ending}", np.zeros((160, 160, 160), np.float32), 4.0)
        opened = VolumeParts()
        for corner in range(0, 160, 32):
            for number in range(count):
                path, part = str(folder / f"{count}_{number}.{ending}"), slice(corner, corner + 32)
                opened.part(path, (part, slice(0, 160), slice(0, 160)))
                opened.part(path, (part, part, part))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    """
    few, many = (float(measured_python(code, tmp_path, count, ending)) for count in (4, 24))
    assert many - few < 100, (few, many)
