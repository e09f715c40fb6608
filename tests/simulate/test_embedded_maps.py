import subprocess
import sys

import numpy as np
import pytest

from zoo.errors import ZooError
from zoo.metrics.alignment import align_maps, mirror
from zoo.metrics.fsc import fsc, resolution_at
from zoo.simulate.embedded import EMBEDDED_EXTENT_ANGSTROM, cache_folder, embedded_beads, embedded_maps


def test_same_maps_every_time_and_in_the_form_promised():
    maps = embedded_maps(32)
    assert maps.shape == (3, 32, 32, 32)
    assert maps.dtype == np.float32
    assert maps.max() == 1
    assert maps.min() >= 0
    np.testing.assert_array_equal(maps, embedded_maps(32, EMBEDDED_EXTENT_ANGSTROM / 32))


def test_geometry_is_the_same_in_every_process():
    code = "from zoo.simulate.embedded import embedded_maps; print(repr(float(embedded_maps(16).sum())))"
    other = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert float(other.stdout) == pytest.approx(float(embedded_maps(16).sum()), rel=1e-6)


def test_modules_add_to_a_common_core_with_substantial_mass():
    core, with_a, with_b = embedded_maps(32).astype(float)
    assert (with_a - core).min() > -1e-6
    assert (with_b - with_a).min() > -1e-6
    assert (with_a - core).sum() > 0.25 * core.sum()
    assert (with_b - with_a).sum() > 0.25 * core.sum()


def test_size_is_that_of_a_ribosome_with_room_in_the_box():
    xyz = np.concatenate([beads for beads, _ in embedded_beads()])
    span = np.linalg.norm(xyz[:, None] - xyz[None], axis=-1).max()
    assert 200 < span < 260
    for density in embedded_maps(32):
        faces = [density[0], density[-1], density[:, 0], density[:, -1], density[..., 0], density[..., -1]]
        assert max(face.max() for face in faces) < 1e-3


def test_detail_reaches_the_finest_shells():
    # texture down to 2-3 pixels: shells there hold measurable power, not only numerical zeros
    for density in embedded_maps(32):
        power = np.abs(np.fft.fftn(density)) ** 2
        k = np.fft.fftfreq(32)
        radius = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + k**2)
        low = power[(radius > 0.05) & (radius < 0.1)].mean()
        assert power[(radius > 0.33) & (radius < 0.4)].mean() > 1e-6 * low


def test_boxes_show_the_same_particle():
    small, large = embedded_maps(32)[2], embedded_maps(64)[2]
    cropped = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(large)))[16:48, 16:48, 16:48]
    cropped = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(cropped))).real
    assert fsc(small, cropped)[:11].min() > 0.99


@pytest.mark.parametrize("number", [0, 1, 2])
def test_no_symmetry_and_no_likeness_to_the_mirror_image(number):
    density = embedded_maps(32)[number]
    other_hand = align_maps(mirror(density), density, allow_mirror=False, candidates=6)
    assert other_hand.correlation < 0.95
    assert resolution_at(fsc(other_hand.aligned, density), 0.5).pixels > 5
    for turn in range(3):
        half_turn = np.rot90(density, 2, axes=[(0, 1), (0, 2), (1, 2)][turn])
        assert np.corrcoef(half_turn.ravel(), density.ravel())[0, 1] < 0.8


def test_classes_differ_in_nearly_every_view():
    maps = embedded_maps(32).astype(float)
    from zoo.simulate.draw import draw_columns
    from zoo.simulate.project import Projector
    from zoo.simulate.settings import ParticleSettings

    columns = draw_columns(200, ParticleSettings(200), 10.0)
    euler = np.stack([columns[name] for name in ("rot_deg", "tilt_deg", "psi_deg")], axis=1)
    views = [Projector(density, 10.0)(euler) for density in maps]
    spread = views[2].std()
    for a, b in ((0, 1), (1, 2)):
        distance = np.sqrt(((views[a] - views[b]) ** 2).mean(axis=(1, 2)))
        assert np.quantile(distance, 0.05) > 0.15 * spread


def test_cache_folder_follows_argument_then_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "env"))
    assert cache_folder() == tmp_path / "env"
    assert cache_folder(tmp_path / "argument") == tmp_path / "argument"
    monkeypatch.delenv("ZOO_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "cryozoo"


def test_unwritable_cache_is_one_line(tmp_path):
    from zoo.simulate.embedded import embedded_dataset

    (tmp_path / "file").write_text("")
    with pytest.raises(ZooError, match="ZOO_CACHE"):
        embedded_dataset(cache_dir=tmp_path / "file")
