"""Principal components of projected maps: against Gaussian conditioning, a known way to vary, and none."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from zoo.analysis.choose_rows import Particles
from zoo.analysis.reconstruction.command import Wishes, write_reconstruction
from zoo.analysis.reconstruction.images import ParticleImages
from zoo.analysis.reconstruction.refinement import Refinement, reconstruct
from zoo.analysis.reconstruction.sources import open_place
from zoo.analysis.reconstruction.variability import Basis, _laid_onto, _principal, _Space, vary
from zoo.analysis.reconstruction.variability_files import VariabilityWishes, write_variability
from zoo.data.formats.mrc import read_volume, write_volume
from zoo.data.particles import read_particles
from zoo.errors import ZooError
from zoo.metrics.clustering import clustering_scores
from zoo.metrics.fsc import fsc
from zoo.simulate.classes import classes_from_maps
from zoo.simulate.embedded import embedded_classes
from zoo.simulate.particles import simulate_particles
from zoo.simulate.settings import ParticleSettings

BOX, PIXEL, AMOUNTS = 32, 10.0, np.linspace(-1, 1, 8)


@pytest.fixture(scope="module")
def varying(tmp_path_factory):
    """800 particles with eight amounts of module B, in equal parts: (STAR, what one unit of it is)."""
    folder = tmp_path_factory.mktemp("varying")
    maps = embedded_classes(BOX, PIXEL).maps
    module = maps[2] - maps[1]
    paths = []
    for number, amount in enumerate(AMOUNTS):
        paths.append(folder / f"amount_{number}.mrc")
        write_volume(paths[-1], maps[1] + (1 + amount) * module, PIXEL)
    classes = classes_from_maps([str(path) for path in paths], BOX, PIXEL)
    settings = ParticleSettings(100, sigma=0.7, shift_max_px=1.5, seed=5)
    return simulate_particles(classes, folder / "set", settings).star, module


def analysed(star, poses_of, components, band=10, **settings):
    table = read_particles(star)
    images, poses = ParticleImages(table, BOX), poses_of(table)
    noise = reconstruct(images, poses, Refinement()).noise
    return table, vary(images, poses, noise, components, band, **settings)


def correlation(a, b):
    return float(np.corrcoef(np.ravel(a), np.ravel(b))[0, 1])


def test_the_way_in_which_particles_vary_is_found_and_ranked_first(varying, poses_of):
    star, module = varying
    table, found = analysed(star, poses_of, 2, rounds=10)
    amount = AMOUNTS[table.label]
    assert abs(correlation(found.z[:, 0], amount)) > 0.93
    assert abs(correlation(found.basis.maps[1], module)) > 0.9
    np.testing.assert_allclose(found.z.mean(0), 0, atol=1e-6)
    second = np.cov(found.z.T, bias=True) + found.covariance.mean(0)
    np.testing.assert_allclose(second, np.eye(2), atol=1e-6)
    # one standard deviation of the truth, in the same grey values
    slope = np.polyfit(module.ravel(), found.basis.maps[1].ravel(), 1)[0]
    scale = np.polyfit(embedded_classes(BOX, PIXEL).maps[2].ravel(), found.basis.maps[0].ravel(), 1)[0]
    assert abs(slope) / scale == pytest.approx(amount.std(), rel=0.15)
    low = slice(1, 7)
    assert found.agreement[0, low].mean() > 0.8
    power = (found.basis.maps[1:] ** 2).sum(axis=(1, 2, 3))
    assert power[1] < 0.05 * power[0]  # nothing else varies


def test_particles_that_are_all_alike_have_no_component(star, poses_of):
    _, found = analysed(star, poses_of, 1, rounds=8)
    assert found.agreement[0, 1:11].mean() < 0.5
    assert (found.basis.maps[1] ** 2).sum() < 0.02 * (found.basis.maps[0] ** 2).sum()


def test_coordinates_are_those_of_gaussian_conditioning(star, poses_of):
    table = read_particles(star).select(np.arange(3))
    images, poses = ParticleImages(table, BOX), poses_of(table)
    rng = np.random.default_rng(0)
    space = _Space(images, poses, np.ones((1, images.plane.radius + 1)), 2, 5, None)
    basis = Basis(rng.normal(size=(3, BOX, BOX, BOX)).astype("f4"), np.ones((2, 6)))
    grids = space._grids(basis)
    (batch, values, ctf), *_ = space._batches()
    z, covariance, gain = space._expect(grids, batch.rows, values, ctf)
    from zoo.ops.fourier_volume import central_slices

    for n in range(3):
        row = batch.rows[n]
        parts = [central_slices(g, poses.frames[row : row + 1], space.points)[0] for g in grids]
        count = space.count
        seen = [(p[:count] + 1j * p[count:])[1:] * ctf[n, 1:] for p in parts]
        real = [np.concatenate([s.real, s.imag]).astype(float) for s in seen]
        data = np.concatenate([values[n, 1:].real, values[n, 1:].imag]) - real[0]
        design = np.stack(real[1:], axis=1)
        whole = design @ design.T + 0.5 * np.eye(len(data))  # of E|N|² = 1 half is in each part
        expected = design.T @ np.linalg.solve(whole, data)
        np.testing.assert_allclose(z[n], expected, rtol=2e-3, atol=1e-4)
        np.testing.assert_allclose(
            covariance[n], np.eye(2) - design.T @ np.linalg.solve(whole, design), rtol=5e-3, atol=1e-6
        )
        alone = -data @ data - 0.5 * len(data) * np.log(0.5)
        both = -0.5 * data @ np.linalg.solve(whole, data) - 0.5 * np.linalg.slogdet(whole)[1]
        assert gain[n] == pytest.approx(both - alone, rel=2e-3)


def test_a_basis_laid_onto_its_turned_self_is_the_same():
    rng = np.random.default_rng(1)
    maps = rng.normal(size=(4, 6, 6, 6)).astype("f4")
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turned = Basis(maps.copy(), np.ones((3, 4)))
    turned.maps[1:] = np.einsum("ab,bzyx->azyx", turn, maps[1:])
    np.testing.assert_allclose(_laid_onto(turned, Basis(maps, np.ones((3, 4)))).maps, maps, atol=1e-5)


def test_principal_axes_leave_every_density_as_it_was():
    rng = np.random.default_rng(2)
    basis = Basis(rng.normal(size=(3, 6, 6, 6)).astype("f4"), np.ones((2, 4)))
    z = rng.normal(size=(50, 2)) @ [[2, 0.5], [0, 0.3]] + [1, -2]
    covariance = np.tile(np.eye(2) * 0.1, (50, 1, 1))
    other, y, spread, _ = _principal(basis, z, covariance)
    before = basis.maps[0] + np.tensordot(z, basis.maps[1:], 1)
    after = other.maps[0] + np.tensordot(y, other.maps[1:], 1)
    np.testing.assert_allclose(after, before, atol=1e-4)
    flat = other.maps[1:].reshape(2, -1)
    assert abs(flat[0] @ flat[1]) < 1e-3 * (flat[0] @ flat[0]) and flat[0] @ flat[0] > flat[1] @ flat[1]
    np.testing.assert_allclose(np.cov(y.T, bias=True) + spread.mean(0), np.eye(2), atol=1e-6)


def test_files_are_read_back(varying, tmp_path):
    star, _ = varying
    place, folder = open_place(star, by="none"), tmp_path / "out"
    folder.mkdir()
    lines = write_variability(place, folder, VariabilityWishes(1, 3, rounds=6, resolution_angstrom=40.0))
    assert "800 particles, 1 components up to 40.0 Å" in lines[0]
    table = read_particles(folder / "particles.star")
    latent = Particles("", table, table.source_row, table.uid).column("zooLatent0").astype(float)
    assert abs(correlation(latent, AMOUNTS[table.label])) > 0.9
    np.testing.assert_array_equal(table.uid, read_particles(star).uid)
    content = json.loads((folder / "variability.json").read_text())
    series = content["components"][0]["series"]
    assert [frame["file"] for frame in series] == [f"component_1/frame_0{k}.mrc" for k in (1, 2, 3)]
    first, last = (read_volume(folder / series[k]["file"]) for k in (0, -1))
    component, voxel = read_volume(folder / "component_1.mrc")
    assert voxel == first[1] == PIXEL
    assert correlation(last[0] - first[0], component) > 0.7
    mean = read_volume(folder / "mean.mrc")[0]
    assert (fsc(mean, embedded_classes(BOX, PIXEL).maps[2])[1:8] > 0.9).all()
    assert "open frame_*.mrc vseries true" in (folder / "component_1" / "series.cxc").read_text()
    for name in ("components.png", "coordinates.png", "component_1/series.png"):
        assert (folder / name).read_bytes()[:4] == b"\x89PNG"


def test_two_states_at_known_poses_are_parted(two_states, tmp_path):
    place = open_place(two_states[0], by="none")
    wishes = VariabilityWishes(1, 2, rounds=6, resolution_angstrom=40.0, clusters=2)
    lines = write_variability(place, tmp_path, wishes)
    table = read_particles(tmp_path / "particles.star")
    column = Particles("", table, table.source_row, table.uid).column
    assert clustering_scores(table.label, column("rlnClassNumber").astype(int))["nmi"] > 0.9
    assert (column("rlnMaxValueProbDistribution").astype(float) > 0.5).all()
    assert any("class 1: 3" in line for line in lines) and any("NMI" in line for line in lines)


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"resolution_angstrom": 5.0}, "--resolution 5: expected 21.3 to 107 Å"),
        ({"resolution_angstrom": -1.0}, "--resolution -1"),
        ({"box": 64}, "the images have 32 pixels"),
        ({"clusters": 1}, "--clusters 1: expected 2 or more"),
    ],
)
def test_what_cannot_be_is_one_line(star, tmp_path, wishes, words):
    with pytest.raises(ZooError, match="^[^\n]*$") as error:
        write_variability(open_place(star, by="none"), tmp_path, VariabilityWishes(**wishes))
    assert words in str(error.value)


def test_few_particles_are_refused(star, tmp_path):
    place = open_place(star, by="none")
    place.table = place.table.select(np.arange(50))
    with pytest.raises(ZooError, match="50 particles, expected at least 100"):
        write_variability(place, tmp_path, VariabilityWishes())


@pytest.mark.parametrize(
    "write",
    [
        lambda place, folder: write_variability(place, folder, VariabilityWishes()),
        lambda place, folder: write_reconstruction(place, folder, Wishes()),
    ],
    ids=["variability", "reconstruct"],
)
def test_images_that_were_packed_with_several_pixel_sizes_are_refused(star, tmp_path, write):
    place = open_place(star, by="none")
    place.info = SimpleNamespace(settings={"rescale": True})
    place.table.pixel_size_angstrom = place.table.pixel_size_angstrom * np.linspace(1, 1.1, len(place.table))
    with pytest.raises(ZooError, match="packed with --rescale, images of 10 to 11 Å"):
        write(place, tmp_path)
