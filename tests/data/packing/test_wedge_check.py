"""Wedges that the power of the data contradicts are told: sign, axis, layout, masks in real space."""

import mrcfile
import numpy as np
import pytest

from zoo.data.formats.fourier_weights import half_of
from zoo.data.formats.mrc import read_volume, write_volume
from zoo.data.formats.volumes import VolumeReader
from zoo.data.info import DatasetInfo
from zoo.data.packing.pack_subtomograms import VolumeOptions, pack_subtomograms
from zoo.data.packing.shards import PackSettings
from zoo.data.packing.wedge_check import check_wedges
from zoo.data.records.numpy_subtomograms import read_packed
from zoo.data.subtomograms import read_subtomograms
from zoo.data.wedge import wedge_mask
from zoo.errors import ZooError

BOX, LOW, HIGH = 24, -42.0, 60.0


def noise(seed, mask=None):
    volume = np.random.default_rng(seed).normal(size=(BOX,) * 3)
    if mask is None:
        return volume
    return np.fft.ifftn(np.fft.fftn(volume) * np.fft.ifftshift(mask)).real


@pytest.fixture(params=[24, 25], ids=["even", "odd"])
def folder(tmp_path, request):
    """Six subtomograms of noise with the wedge of tilts from LOW to HIGH."""
    global BOX
    BOX = request.param
    for number in range(6):
        write_volume(tmp_path / "set" / f"{number}.mrc", noise(number, wedge_mask(BOX, LOW, HIGH)), 10.0)
    return tmp_path


def told(folder, **options):
    return check_wedges(VolumeReader(read_subtomograms(folder / "set", **options)))


def mask_file(folder, mask):
    write_volume(folder / "wedge.mrc", mask.astype(np.float32), 10.0)
    return folder / "wedge.mrc"


def test_the_right_wedge_says_nothing(folder):
    assert told(folder, tilt_range_deg=(LOW, HIGH)) == []
    assert told(folder, wedge=mask_file(folder, wedge_mask(BOX, LOW, HIGH))) == []
    assert told(folder) == []  # no wedge is stated: another note says so


def test_a_wedge_of_the_other_sign(folder):
    (note,) = told(folder, tilt_range_deg=(-HIGH, -LOW))
    assert "contradict the sign of the tilts" in note and "--tilt-convention imod" in note


def test_a_wedge_about_x(folder):
    (note,) = told(folder, wedge=mask_file(folder, wedge_mask(BOX, LOW, HIGH).transpose(0, 2, 1)))
    assert "contradict the axis of the tilts" in note


def test_a_wedge_file_with_dc_in_the_corner(folder):
    (note,) = told(folder, wedge=mask_file(folder, np.fft.ifftshift(wedge_mask(BOX, LOW, HIGH))))
    assert "DC in the corner" in note and "layout" in note


def test_a_mask_of_real_space(folder):
    axis = np.arange(BOX) - BOX // 2
    ball = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2) < BOX / 4
    (note,) = told(folder, wedge=mask_file(folder, ball))
    assert "is it a mask in real space" in note


def test_data_without_a_wedge(folder):
    for number in range(6):
        write_volume(folder / "set" / f"{number}.mrc", noise(number), 10.0)
    (note,) = told(folder, tilt_range_deg=(LOW, HIGH))
    assert "as much power outside the wedge as inside" in note


def test_a_ctf_volume_with_rings_says_nothing(folder):
    axis = np.arange(BOX) - BOX // 2
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    ctf = np.abs(np.sin(radius)) * wedge_mask(BOX, LOW, HIGH)
    assert told(folder, wedge=mask_file(folder, ctf)) == []
    (note,) = told(folder, wedge=mask_file(folder, np.abs(np.sin(radius)) * wedge_mask(BOX, -HIGH, -LOW)))
    assert "contradict the sign" in note


def test_tilts_of_imod_are_negated(folder):
    notes = []
    settings = PackSettings(BOX, dtype="float32")
    for name, convention in (("one", "imod"), ("two", "relion")):
        tilts = (-HIGH, -LOW) if convention == "imod" else (LOW, HIGH)
        options = VolumeOptions(tilt_range_deg=tilts, tilt_convention=convention)
        pack_subtomograms(folder / "set", folder / name, settings, options, processes=1, notes=notes.append)
    assert not notes
    sets = [read_packed(DatasetInfo.load(folder / name)) for name in ("one", "two")]
    first, second = (next(iter(records))["wedge"] for records in sets)
    np.testing.assert_array_equal(first, second)
    with pytest.raises(ZooError, match="--tilt-convention imod: is the sign of --tilt-range"):
        options = VolumeOptions(tilt_convention="imod")
        pack_subtomograms(folder / "set", folder / "bad", settings, options, processes=1)
    with pytest.raises(ZooError, match="--partial-ctf drop: is for images"):
        partial = PackSettings(BOX, partial_ctf="drop")
        pack_subtomograms(folder / "set", folder / "bad", partial, processes=1)
    with pytest.raises(ZooError, match="--tilt-convention warp: expected one of relion, imod"):
        options = VolumeOptions(tilt_range_deg=(-40, 40), tilt_convention="warp")
        pack_subtomograms(folder / "set", folder / "bad", settings, options, processes=1)


def test_ctf_volumes_beside_subtomograms_are_their_wedges(folder):
    wedge = wedge_mask(BOX, LOW, HIGH).astype(np.float32)
    for number in range(6):
        write_volume(folder / "set" / f"{number}_ctf.mrc", wedge, 10.0)
    write_volume(folder / "set" / "mask.mrc", np.ones((BOX,) * 3), 10.0)
    table = read_subtomograms(folder / "set")
    assert len(table) == 6 and table.stack_names == [f"{i}.mrc" for i in range(6)]
    assert [path.rpartition("/")[2] for path in table.wedge_paths] == [f"{i}_ctf.mrc" for i in range(6)]
    assert "mask.mrc" in table.source.notes[0] and "CTF volumes beside" in table.source.notes[1]
    np.testing.assert_array_equal(VolumeReader(table).wedge(3, BOX), half_of(wedge))
    (folder / "set" / "2_ctf.mrc").unlink()
    with pytest.raises(ZooError, match="2.mrc and 0 other volumes have no CTF volume"):
        read_subtomograms(folder / "set")


def test_warp_names_its_ctf_volumes_otherwise(folder):
    for number in range(6):
        (folder / "set" / f"{number}.mrc").rename(folder / "set" / f"ts_00{number}_10.00A.mrc")
        write_volume(folder / "set" / f"ts_00{number}_ctf_10.00A.mrc", np.ones((BOX,) * 3), 10.0)
    table = read_subtomograms(folder / "set")
    assert len(table) == 6 and len(table.wedge_paths) == 6


def test_a_mask_under_another_name_is_refused(folder):
    write_volume(folder / "set" / "9.mrc", wedge_mask(BOX, LOW, HIGH).astype(np.float32), 10.0)
    with pytest.raises(ZooError, match=r"row 7 \(9.mrc\): .*it is a mask"):
        VolumeReader(read_subtomograms(folder / "set")).read(slice(None))


def test_one_optics_group_is_premultiplied(tmp_path):
    global BOX
    BOX = 24
    axis = np.arange(BOX) - BOX // 2
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    ctf = np.cos(radius / 3).astype(np.float32)
    truth = noise(0)
    spectrum = np.fft.fftshift(np.fft.fftn(truth))

    def back(factor):
        return np.fft.ifftn(np.fft.ifftshift(spectrum * factor)).real

    write_volume(tmp_path / "raw.mrc", back(ctf), 10.0)
    write_volume(tmp_path / "pre.mrc", back(ctf**2), 10.0)
    with mrcfile.new(tmp_path / "ctf.mrc") as mrc:
        mrc.set_data(ctf)
    with mrcfile.new(tmp_path / "ctf2.mrc") as mrc:
        mrc.set_data(ctf**2)
    (tmp_path / "p.star").write_text(
        "data_optics\n\nloop_\n_rlnOpticsGroup\n_rlnImagePixelSize\n_rlnImageDimensionality\n"
        "_rlnCtfDataAreCtfPremultiplied\n1 10 3 0\n2 10 3 1\n\ndata_particles\n\nloop_\n_rlnImageName\n"
        "_rlnCtfImage\n_rlnOpticsGroup\nraw.mrc ctf.mrc 1\npre.mrc ctf2.mrc 2\n"
    )
    reader = VolumeReader(read_subtomograms(tmp_path / "p.star"))
    volumes = reader.read([0, 1])
    weights = [reader.wedge(index, BOX) for index in (0, 1)]
    np.testing.assert_allclose(weights[1], weights[0], atol=0.05)  # both |CTF|: neither is squared again
    assert np.corrcoef(volumes[0].ravel(), volumes[1].ravel())[0, 1] > 0.99
    assert np.std(volumes[1]) == pytest.approx(np.std(volumes[0]), rel=0.05)
    assert read_volume(tmp_path / "pre.mrc")[0].std() < 0.9 * volumes[1].std()
