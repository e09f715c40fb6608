"""Groups of different pixel size and box come to one: the same particle gives the same packed image."""

import numpy as np
import pytest

from zoo.data.formats.mrc import write_stack
from zoo.data.info import DatasetInfo
from zoo.data.packing.pack_particles import pack_particles
from zoo.data.packing.pack_subtomograms import pack_subtomograms
from zoo.data.packing.resample import fourier_resample, resample_at
from zoo.data.packing.shards import PackSettings
from zoo.data.particles import read_particles, write_particles
from zoo.data.records.numpy_particles import load_arrays
from zoo.errors import ZooError
from zoo.ops.ctf_values import ctf_values

RAW = {"normalisation": "none", "contrast": 1, "dtype": "float32"}
# (box, pixel size): fields of 64, 72 and 80 Å
GROUPS = ((32, 2.0), (48, 1.5), (20, 4.0))
CTF = (12000.0, 11000.0, 25.0, 300.0, 2.7, 0.1, 0.0, 0.0, 1.0)


def beads(box, pixel, seed):
    """Gaussians, wide enough for 4 Å pixels, at places in Å from pixel box // 2."""
    rng = np.random.default_rng(seed)
    axis = (np.arange(box) - box // 2) * pixel
    image = np.zeros((box, box))
    for x, y, height in zip(*rng.uniform(-9, 9, (2, 4)), rng.uniform(1, 2, 4), strict=True):
        image += height * np.exp(-((axis - x) ** 2 + (axis[:, None] - y) ** 2) / (2 * 5.0**2))
    return image


def filtered(image, pixel, sign_only):
    """The image as recorded times what was done to it: its CTF, or the sign of it."""
    box = len(image)
    ky, kx = np.meshgrid(np.fft.fftfreq(box, pixel), np.fft.rfftfreq(box, pixel), indexing="ij")
    values = ctf_values(np.array([CTF]), np.stack([kx.ravel(), ky.ravel()]))[0].reshape(ky.shape)
    factor = np.where(values < 0, -1.0, 1.0) if sign_only else values
    return np.fft.irfft2(np.fft.rfft2(image) * factor, s=image.shape)


def made(folder, flipped=False, sizes=GROUPS):
    """A STAR file of three optics groups, each with the same three particles, shifts and CTFs."""
    folder.mkdir(exist_ok=True)
    optics, rows = [], []
    for group, (box, pixel) in enumerate(sizes, start=1):
        images = np.stack([beads(box, pixel, seed) for seed in range(3)])
        if flipped:
            images = np.stack([filtered(image, pixel, True) for image in images])
        write_stack(folder / f"{group}.mrcs", images, pixel)
        optics.append(f"{group} {pixel} {box} 300 2.7 0.1 {int(flipped)}")
        rows += [f"{n + 1:06d}@{group}.mrcs {group} {n + 1.5} -{n + 2} 12000 11000 25" for n in range(3)]
    names = "rlnOpticsGroup rlnImagePixelSize rlnImageSize rlnVoltage rlnSphericalAberration"
    names += " rlnAmplitudeContrast rlnCtfDataArePhaseFlipped"
    lines = ["data_optics", "", "loop_", *(f"_{name}" for name in names.split()), *optics, ""]
    names = (
        "rlnImageName rlnOpticsGroup rlnOriginXAngst rlnOriginYAngst rlnDefocusU rlnDefocusV rlnDefocusAngle"
    )
    lines += ["data_particles", "", "loop_", *(f"_{name}" for name in names.split()), *rows, ""]
    (folder / "p.star").write_text("\n".join(lines))
    return folder / "p.star"


def packed(source, out, box=16, **settings):
    notes = []
    settings = PackSettings(box, **{**RAW, "rescale": True, **settings})
    pack_particles(source, out, settings, processes=1, notes=notes.append)
    info = DatasetInfo.load(out)
    arrays = load_arrays(info)
    order = np.argsort(arrays["source_row"])
    return info, {name: values[order] for name, values in arrays.items()}, notes


def test_the_same_particle_is_the_same_image_whichever_its_group(tmp_path):
    info, found, notes = packed(made(tmp_path / "s"), tmp_path / "out")
    images = found["image"].reshape(9, 16, 16)
    expected = np.stack([beads(16, 4.0, seed) for seed in range(3)])  # 64 Å in 16 pixels
    for group in range(3):
        np.testing.assert_allclose(images[3 * group :][:3], expected, atol=0.02 * expected.max())
    assert info.voxel_size_angstrom == 4.0
    np.testing.assert_allclose(found["pixel_size_angstrom"], 4.0)
    assert {group["pixel_size_angstrom"] for group in info.optics_groups} == {4.0}
    # in Å, as they were
    np.testing.assert_allclose(found["shift_angstrom"][:, 0], [1.5, 2.5, 3.5] * 3, rtol=1e-6)
    np.testing.assert_allclose(found["ctf"], np.tile(CTF, (9, 1)), rtol=1e-6)
    (told,) = [note for note in notes if note.startswith("rescaled")]
    assert "16 pixels of 4 Å, the field of 64 Å" in told and "3 of 48 pixels at 1.5 Å" in told


def test_flipped_phases_are_flipped_back_in_the_full_box(tmp_path):
    _, found, _ = packed(made(tmp_path / "s", flipped=True), tmp_path / "out")
    _, plain, _ = packed(made(tmp_path / "t"), tmp_path / "plain")
    np.testing.assert_allclose(found["image"], plain["image"], atol=1e-4)


def test_a_finer_box_tells_which_images_hold_less(tmp_path):
    info, _, notes = packed(made(tmp_path / "s"), tmp_path / "out", box=32)
    assert info.voxel_size_angstrom == 2.0
    assert any("images of 4 Å hold nothing beyond 8 Å" in note and "--box 16" in note for note in notes)


def test_what_is_written_back_is_the_file_that_was_packed(tmp_path):
    source = made(tmp_path / "s")
    table = read_particles(source)
    info, *_ = packed(source, tmp_path / "out")
    write_particles(table.select(info.load_table()["source_row"][:5]), tmp_path / "back.star")
    back = read_particles(tmp_path / "back.star")
    assert sorted(set(back.pixel_size_angstrom)) == [1.5, 2.0, 4.0]


def test_one_size_is_packed_as_without_the_option(tmp_path):
    source = made(tmp_path / "s", sizes=((32, 2.0),) * 2)
    _, found, notes = packed(source, tmp_path / "out")
    _, plain, _ = packed(source, tmp_path / "plain", rescale=False)
    np.testing.assert_allclose(found["image"], plain["image"], atol=1e-5)
    assert any("already" in note for note in notes)


@pytest.mark.parametrize(("old", "new"), [(32, 16), (32, 24), (30, 20), (16, 32)])
def test_a_field_that_stays_the_same_is_a_fourier_crop(old, new):
    images = np.random.default_rng(0).normal(size=(2, old, old)).astype(np.float32)
    np.testing.assert_allclose(resample_at(images, old / new, new), fourier_resample(images, new), atol=2e-5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"box": 64}, "--box 64: the field of 64 Å .* give --box 42 or less"),
        ({"pixel_size_angstrom": 2.0}, "--pixel-size 2 says"),
        ({"resample": "lanczos"}, "leave --resample lanczos out"),
        ({"rescale": False}, "bring all to one box size first .zoo-pack --rescale."),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, settings, words):
    with pytest.raises(ZooError, match=words):
        packed(made(tmp_path / "s"), tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_two_sizes_in_one_stack_and_subtomograms_are_refused(tmp_path):
    source = made(tmp_path / "s")
    source.write_text(source.read_text().replace("000002@1.mrcs 1 ", "000002@1.mrcs 2 "))
    with pytest.raises(ZooError, match="row 2: a pixel size of 1.5 Å, but other images of 1.mrcs have 2 Å"):
        packed(source, tmp_path / "out")
    with pytest.raises(ZooError, match="--rescale: is for images"):
        pack_subtomograms(tmp_path / "s", tmp_path / "out", PackSettings(16, rescale=True))
