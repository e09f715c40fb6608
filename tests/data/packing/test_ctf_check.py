"""A CTF is known, absent, or (refused) known in part; flipped and premultiplied images are brought back."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.data.formats.mrc import write_stack
from zoo.data.info import DatasetInfo
from zoo.data.packing.ctf_check import settle_ctf
from zoo.data.packing.ctf_undo import undo_ctf
from zoo.data.packing.pack_particles import pack_particles
from zoo.data.packing.shards import PackSettings
from zoo.data.particles import read_particles
from zoo.data.records.numpy_particles import load_arrays
from zoo.errors import ZooError
from zoo.ops.ctf_values import ctf_values
from zoo.ops.known_ctf import is_known

BOX, COUNT, PIXEL = 32, 6, 3.0


def write(folder, optics="300 2.7 0.1", defocus=None, more=(), rows=None, images=None, name="p"):
    """A STAR file of COUNT images; ``more`` are optics columns (name, value), ``rows`` columns per row."""
    folder.mkdir(exist_ok=True)
    if images is None:
        images = np.random.default_rng(0).normal(size=(COUNT, BOX, BOX))
    write_stack(folder / f"{name}.mrcs", images, PIXEL)
    columns = ["rlnOpticsGroup", "rlnImagePixelSize"]
    values = ["1", str(PIXEL)]
    if optics:
        columns += ["rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast"]
        values += optics.split()
    columns, values = columns + [key for key, _ in more], values + [str(value) for _, value in more]
    lines = ["data_optics", "", "loop_", *(f"_{key}" for key in columns), " ".join(values), ""]
    rows = dict(rows or {})
    if defocus is not None:
        rows = {"rlnDefocusU": defocus, "rlnDefocusV": [value - 500 for value in defocus], **rows}
    lines += ["data_particles", "", "loop_", "_rlnImageName", "_rlnOpticsGroup", *(f"_{key}" for key in rows)]
    for number in range(len(images)):
        more = " ".join(str(column[number]) for column in rows.values())
        lines.append(f"{number + 1}@{name}.mrcs 1 {more}")
    path = folder / f"{name}.star"
    path.write_text("\n".join([*lines, ""]))
    return path


DEFOCUS = [10000.0 + 500 * number for number in range(COUNT)]


def refuses(path, *parts, partial="refuse"):
    with pytest.raises(ZooError) as error:
        settle_ctf(read_particles(path), partial)
    for part in ("p.star: row", *parts):
        assert part in str(error.value), str(error.value)


def test_a_known_ctf_is_kept_and_told(tmp_path):
    table, notes = settle_ctf(read_particles(write(tmp_path, defocus=DEFOCUS)))
    assert is_known(table.ctf()).all()
    assert notes == ["CTF: known for all particles: 300 kV, defocus 9500 to 12500 Å"]


def test_a_voltage_without_defocus_is_no_ctf(tmp_path):
    table, notes = settle_ctf(read_particles(write(tmp_path)))
    assert np.isnan(table.ctf()).all()
    assert len(notes) == 1 and "no defocus (a voltage alone is no CTF)" in notes[0]
    info = pack_particles(write(tmp_path), tmp_path / "set", PackSettings(BOX), processes=1).info
    assert not info.has_ctf and np.isnan(info.load_ctf()).all()


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e7"])
@pytest.mark.parametrize("column", ["rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle", "rlnPhaseShift"])
def test_one_bad_row_is_refused_by_name(tmp_path, value, column):
    if value == "1e7" and column not in ("rlnDefocusU", "rlnDefocusV"):
        pytest.skip("an angle may be any number")
    values = [value if number == 3 else 12000 for number in range(COUNT)]
    path = write(tmp_path, defocus=DEFOCUS, rows={column: values})
    name = {"U": "defocus_u", "V": "defocus_v", "e": "defocus_angle", "t": "phase_shift"}[column[-1]]
    refuses(path, "row 4", name, "in 1 of 6 particles", "--partial-ctf")
    table, notes = settle_ctf(read_particles(path), "drop")
    assert table.source_row.tolist() == [0, 1, 2, 4, 5] and is_known(table.ctf()).all()
    assert notes[0].startswith("left out: ") and "row 4" in notes[0]
    table, notes = settle_ctf(read_particles(path), "ignore")
    assert is_known(table.ctf()).tolist() == [True, True, True, False, True, True]
    assert np.isnan(table.ctf()[3]).all() and "without CTF" in notes[0]


@pytest.mark.parametrize(
    ("optics", "column"),
    [("", "voltage_kv"), ("300000 2.7 0.1", "voltage_kv"), ("0 2.7 0.1", "voltage_kv"),
     ("300 nan 0.1", "cs_mm"), ("300 2.7 10", "amplitude_contrast"), ("300 2700 0.1", "cs_mm")],
)  # fmt: skip
def test_a_microscope_known_in_part_is_refused(tmp_path, optics, column):
    refuses(write(tmp_path, optics, DEFOCUS), column, "in 6 of 6 particles")
    refuses(write(tmp_path, optics, DEFOCUS), "would leave no particle", partial="drop")


def test_some_particles_without_any_defocus_are_refused(tmp_path):
    rows = {name: [value if number < 4 else "nan" for number in range(COUNT)]
            for name, value in {"rlnDefocusU": 10000, "rlnDefocusV": 9000}.items()}  # fmt: skip
    refuses(write(tmp_path, rows=rows), "row 5", "defocus_u", "in 2 of 6")


def test_packing_says_what_nothing_uses(tmp_path):
    more = [("rlnBeamTiltX", 0.4), ("rlnOddZernike", "[0,0.1]"), ("rlnEvenZernike", "[0,0]"),
            ("rlnMagMat00", 1.03), ("rlnMagMat01", 0), ("rlnMagMat10", 0), ("rlnMagMat11", 1)]  # fmt: skip
    notes = []
    pack_particles(write(tmp_path, defocus=DEFOCUS, more=more), tmp_path / "set", PackSettings(BOX),
                   processes=1, notes=notes.append)  # fmt: skip
    text = "\n".join(notes)
    assert "0.4 mrad, all particles" in text and "rlnOddZernike" in text and "3 % along one" in text
    assert "rlnEvenZernike" not in text
    unit = [(name, value) for name, value in [("rlnMagMat00", 1), ("rlnMagMat11", 1), ("rlnBeamTiltX", 0)]]
    assert read_particles(write(tmp_path, defocus=DEFOCUS, more=unit)).source.notes == []


def test_cryosparc_columns_that_nothing_uses(tmp_path):
    types = [("uid", "<u8"), ("blob/path", "S20"), ("blob/idx", "<u4"), ("ctf/anisomag", "<f4", (4,)),
             ("ctf/tilt_A", "<f4", (2,)), ("ctf/tetra_A", "<f4", (4,))]  # fmt: skip
    array = np.zeros(3, types)
    array["blob/path"], array["uid"] = b"a.mrcs", [1, 2, 3]
    array["ctf/anisomag"][0, 0], array["ctf/tilt_A"][1] = 0.02, 5
    with open(tmp_path / "p.cs", "wb") as file:
        np.save(file, array)
    notes = read_particles(tmp_path / "p.cs").source.notes
    assert len(notes) == 2
    assert "ctf/tilt_A, 1 of 3" in notes[0] and "ctf/anisomag: up to 2 %" in notes[1]


def simulated(tmp_path):
    """Images as recorded (CTF x blob + noise), and their CTF (k, BOX, BOX // 2 + 1)."""
    table = read_particles(write(tmp_path / "raw", defocus=DEFOCUS))
    ky, kx = np.meshgrid(np.fft.fftfreq(BOX), np.fft.rfftfreq(BOX), indexing="ij")
    ctf = ctf_values(table.ctf(), np.stack([kx.ravel(), ky.ravel()]) / PIXEL).reshape(COUNT, *kx.shape)
    axis = np.arange(BOX) - BOX // 2
    blob = 8 * np.exp(-(axis[:, None] ** 2 + 2 * axis**2) / 30)
    noise = np.random.default_rng(1).normal(size=(COUNT, BOX, BOX))
    return np.fft.irfft2(ctf * np.fft.rfft2(np.fft.fftshift(blob)), s=(BOX, BOX)) + noise, ctf


def changed(images, factor):
    return np.fft.irfft2(np.fft.rfft2(images) * factor, s=(BOX, BOX))


def test_flipped_phases_are_flipped_back(tmp_path):
    images, ctf = simulated(tmp_path)
    flipped = changed(images, np.where(ctf < 0, -1, 1))
    one = write(tmp_path / "one", defocus=DEFOCUS, images=images)
    other = write(tmp_path / "other", defocus=DEFOCUS, images=flipped,
                  rows={"rlnCtfDataArePhaseFlipped": [1] * COUNT})  # fmt: skip
    settings = PackSettings(24, dtype="float32")
    notes, packed = [], []
    for path in (one, other):
        folder = path.parent / "set"
        pack_particles(path, folder, settings, processes=1, notes=notes.append)
        packed.append(load_arrays(DatasetInfo.load(folder))["image"])
    assert any("6 of 6 images are phase-flipped" in note for note in notes)
    np.testing.assert_allclose(packed[1], packed[0], atol=1e-3)


def test_premultiplied_images_are_divided_by_their_ctf_once(tmp_path):
    images, ctf = simulated(tmp_path)
    path = write(tmp_path / "other", defocus=DEFOCUS, images=changed(images, ctf),
                 rows={"rlnCtfDataAreCtfPremultiplied": [1, 1, 1, 0, 1, 1]})  # fmt: skip
    table = read_particles(path)
    read = changed(images, ctf).astype(np.float32)
    back = np.fft.rfft2(undo_ctf(read, table))
    np.testing.assert_allclose(back[3], np.fft.rfft2(read[3]), atol=1e-3)  # this one is said to be raw
    strong = np.abs(ctf) > 0.06
    strong[3] = False
    np.testing.assert_allclose(back[strong], np.fft.rfft2(images)[strong], atol=2e-3)
    _, notes = settle_ctf(table)
    assert "5 of 6 images are CTF-premultiplied" in notes[1]


def test_a_flag_without_its_ctf_or_both_flags_are_refused(tmp_path):
    flipped, both = ("rlnCtfDataArePhaseFlipped", 1), ("rlnCtfDataAreCtfPremultiplied", 1)
    refuses(write(tmp_path, more=[flipped]), "phase-flipped", "CTF is not known")
    with pytest.raises(ZooError, match="are both 1"):
        read_particles(write(tmp_path, more=[flipped, both], defocus=DEFOCUS))
