"""The generator's maps are real, and its slices are the projections of those maps."""

import keras
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from zoo.models.vaegan3d.fourier_generator import FourierGenerator
from zoo.models.vaegan3d.model import VAEGAN3D
from zoo.ops import fourier

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


@pytest.mark.parametrize("box", [12, 15])
@pytest.mark.parametrize("options", OPTIONS)
def test_density_in_parts_is_the_whole_transform_seen_at_once(options, box):
    generator = FourierGenerator(box, 2, width=8, **options)
    generator.build()
    z = np.random.default_rng(4).normal(size=(2, 2)).astype("float32")
    points = (fourier.frequency_grid_3d(box) * box).reshape(1, -1, 3)
    inside = fourier.radial_mask_3d(box)
    re, im = (keras.ops.reshape(part, (2, box, box, box)) * inside for part in generator(points, z))
    want = keras.ops.convert_to_numpy(fourier.ifft3(*fourier.hermitian(re * box, im * box, rank=3))[0])
    # 100 at a time: many rounds of the loop, the last one cut short.
    found = keras.ops.convert_to_numpy(generator.density(z, chunk=100))
    np.testing.assert_allclose(found, want, atol=2e-6 * np.abs(want).max())
    assert np.abs(want).max() > 1e-4


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="reads TensorFlow's graph")
@pytest.mark.parametrize("options", OPTIONS)
def test_graph_of_the_density_is_as_large_for_every_box(options):
    import tensorflow as tf

    nodes, sizes = set(), set()
    for box in (16, 40, 96):
        generator = FourierGenerator(box, 2, width=8, **options)
        generator.build()
        function = tf.function(generator.density, input_signature=[tf.TensorSpec((None, 2))])
        graph = function.get_concrete_function().graph.as_graph_def()
        nodes.add(len(graph.node) + sum(len(part.node_def) for part in graph.library.function))
        sizes.add(graph.ByteSize() // 1000)
    assert len(nodes) == 1 and max(nodes) < 2000, nodes
    # Nothing that grows with the box is written into it either.
    assert max(sizes) < 300 and max(sizes) - min(sizes) <= 1, sizes


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX compiles with XLA anyway")
def test_density_compiles_with_xla():
    import tensorflow as tf

    generator = FourierGenerator(16, 2, width=8, **OPTIONS[1])
    generator.build()
    z = tf.constant([[0.5, -1.0]])
    found = tf.function(generator.density, jit_compile=True)(z)
    want = keras.ops.convert_to_numpy(generator.density(z))
    np.testing.assert_allclose(found, want, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize("options", OPTIONS)
def test_weights_of_files_from_before_it_had_layers_are_read(options):
    """They lay in the generator itself, in the order of today; films came one after the other."""
    source, target = (FourierGenerator(12, 2, width=8, hidden_layers=2, **options) for _ in range(2))
    for generator in (source, target):
        generator.build()
    rng = np.random.default_rng(5)
    source.set_weights([rng.normal(size=w.shape) for w in source.get_weights()])
    old = source.get_weights()
    films = source.films
    for i, variable in enumerate(source.weights):
        if variable is source.mapping.film.kernel or variable is source.mapping.film.bias:
            parts = old[i].reshape(*old[i].shape[:-1], 2, films, 8)
            old[i] = np.concatenate([parts[..., f, :] for f in range(films)], axis=-2).reshape(old[i].shape)
    target.load_own_variables({str(i): value for i, value in enumerate(old)})
    for layer in target._flatten_layers(include_self=False):
        layer.load_own_variables({})  # the file holds nothing of theirs
    for mine, theirs in zip(target.get_weights(), source.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    with pytest.raises(ValueError, match="3 stored weights, expected"):
        target.load_own_variables({str(i): value for i, value in enumerate(old[:3])})


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
