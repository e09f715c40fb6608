"""The generator's maps are real, and its slices are the projections of those maps."""

import keras
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from zoo.models.vaegan3d.fourier_generator import FourierGenerator
from zoo.models.vaegan3d.model import VAEGAN3D

OPTIONS = [
    {"initialisation": "thesis", "coordinate_grid": True},
    {"initialisation": "positions", "coordinate_grid": False, "shell_amplitude": True, "film_layers": "all"},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_opposite_frequencies_are_conjugate(options):
    generator = FourierGenerator(16, 3, width=8, **options)
    generator.build()
    rng = np.random.default_rng(0)
    # The three planes through the origin are where a half space ends: include points on them.
    k = rng.uniform(-7, 7, size=(1, 40, 3)).astype("float32")
    k[0, :10, 2] = 0.0
    k[0, :5, 1] = 0.0
    z = rng.normal(size=(2, 3)).astype("float32")
    re, im = (keras.ops.convert_to_numpy(x) for x in generator(k, z))
    re_minus, im_minus = (keras.ops.convert_to_numpy(x) for x in generator(-k, z))
    np.testing.assert_allclose(re, re_minus, atol=1e-5)
    np.testing.assert_allclose(im, -im_minus, atol=1e-5)
    assert np.abs(im).max() > 1e-3


def test_projection_of_the_density_equals_the_slice(small):
    model = VAEGAN3D.from_data(None, "tiny", **{**small, "box": 32, "search_rings": 4})
    rng = np.random.default_rng(1)
    z = rng.normal(size=(3, 2)).astype("float32")
    # Angles of the grid itself: the map's transform is then known exactly where the slice needs it.
    angles = np.array([[0.0, 0.0, 0.0], [0.0, 90.0, 0.0], [90.0, 90.0, 0.0]], "float32")
    images = keras.ops.convert_to_numpy(model.project(z, angles))[..., 0]
    maps = keras.ops.convert_to_numpy(model.density(z))
    matrices = Rotation.from_euler("ZYZ", angles, degrees=True).inv().as_matrix()
    k = np.arange(-12, 13)
    kx, ky = np.meshgrid(k, k)
    inside = kx**2 + ky**2 < 13**2
    kx, ky = kx[inside], ky[inside]
    for image, volume, a in zip(images, maps, matrices, strict=True):
        image_ft = np.fft.fft2(np.fft.ifftshift(image))[ky, kx]
        xyz = np.rint(kx[:, None] * a[0] + ky[:, None] * a[1]).astype(int)
        volume_ft = np.fft.fftn(np.fft.ifftshift(volume))[xyz[:, 2], xyz[:, 1], xyz[:, 0]]
        np.testing.assert_allclose(image_ft, volume_ft, atol=2e-3 * np.abs(volume_ft).max())


def test_unknown_options_are_refused():
    with pytest.raises(ValueError, match="initialisation"):
        FourierGenerator(16, 2, initialisation="zeros")
    with pytest.raises(ValueError, match="film_layers"):
        FourierGenerator(16, 2, film_layers="some")


def test_latent_changes_the_map():
    generator = FourierGenerator(16, 2, width=16, initialisation="positions", coordinate_grid=False)
    generator.build()
    maps = keras.ops.convert_to_numpy(generator.density(np.array([[0.0, 0.0], [2.0, -1.0]], "float32")))
    assert np.isrealobj(maps) and maps.shape == (2, 16, 16, 16)
    assert np.abs(maps[0] - maps[1]).max() > 0.05 * np.abs(maps[0]).max()


@pytest.mark.parametrize("options", [*OPTIONS, {"initialisation": "positions", "coordinate_grid": False}])
def test_weights_of_a_smaller_box_make_the_same_particle(options):
    """Half the voxel size in the same field of view: the same coefficients. Twice the field: half of them.

    A wider network says the same, but can learn more.
    """
    sizes = ((16, 16), (32, 16), (32, 24))
    small, fine, wide = (FourierGenerator(box, 2, width=width, **options) for box, width in sizes)
    for generator in (small, fine, wide):
        generator.build()
    fine.start_from(small, 1.0)
    wide.start_from(small, 0.5)
    k = np.random.default_rng(0).integers(-2, 3, size=(1, 60, 3)).astype("float32")
    z = np.array([[0.4, -1.0], [1.0, 0.2]], "float32")
    want = keras.ops.convert_to_numpy(small(k, z))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(fine(k, z)), want, atol=1e-5)
    # Amplitudes per shell are linear between shells, so those of the wider box agree nearly.
    loose = 0.03 * np.abs(want).max() if options.get("shell_amplitude") else 1e-5
    np.testing.assert_allclose(2.0 * keras.ops.convert_to_numpy(wide(2 * k, z)), want, atol=loose)
    if options.get("shell_amplitude"):
        # Beyond the other's last shells nothing was learned, and hardly anything is said.
        inside, beyond = (np.abs(fine(r * k / 4.0, z)).mean() for r in (5.0, 12.0))
        assert beyond < 0.5 * inside


def test_weights_of_another_network_are_refused():
    narrow, wide = FourierGenerator(16, 2, width=8), FourierGenerator(16, 2, width=16)
    deep = FourierGenerator(16, 2, width=16, hidden_layers=3)
    for generator in (narrow, wide, deep):
        generator.build()
    with pytest.raises(ValueError, match="its width is 16, more than 8"):
        narrow.start_from(wide, 1.0)
    with pytest.raises(ValueError, match="its hidden_layers is 3, not 2"):
        wide.start_from(deep, 1.0)
