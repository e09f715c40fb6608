import csv

import numpy as np
import pytest

from zoo.analysis.view_report import views_of, write_views


def even(count, seed=0):
    rng = np.random.default_rng(seed)
    rot, psi = rng.uniform(-180, 180, (2, count))
    return np.stack([rot, np.degrees(np.arccos(rng.uniform(-1, 1, count))), psi], axis=1)


def crowded(count, share, seed=1):
    """Views of which a share lies within 20 degrees of z."""
    euler = even(count, seed)
    mine = np.arange(count) < share * count
    rng = np.random.default_rng(seed + 1)
    euler[mine, 1] = np.degrees(np.arccos(rng.uniform(np.cos(np.radians(20)), 1, mine.sum())))
    return euler


def halves(missing_deg=0.0, box=16):
    """Two half maps that agree but within so many degrees of z."""
    rng = np.random.default_rng(3)
    full, half = np.fft.fftfreq(box), np.fft.rfftfreq(box)
    kz, ky, kx = np.meshgrid(full, full, half, indexing="ij")
    radius = np.sqrt(kx**2 + ky**2 + kz**2)
    hole = np.abs(kz) > np.cos(np.radians(missing_deg)) * radius + 1e-9
    shared, *alone = (np.fft.rfftn(rng.normal(size=(box,) * 3)) for _ in range(3))
    return np.stack(
        [np.fft.irfftn(np.where(hole, part, shared), s=(box,) * 3, axes=(0, 1, 2)) for part in alone]
    )


def test_even_views_are_not_worth_a_line():
    views = views_of("map", even(5000), halves(), 2.0)
    assert views.even and views.completeness > 0.9 and views.crowded < 0.08
    # both halves are the same: Nyquist everywhere
    assert views.best_angstrom == views.worst_angstrom == pytest.approx(4.0)


def test_uneven_views_and_the_direction_that_they_do_not_resolve_are_told():
    views = views_of("map", crowded(5000, 0.8), halves(missing_deg=40), 2.0)
    assert not views.even and views.crowded == pytest.approx(0.8, abs=0.03)
    assert abs(views.axis[2]) > np.cos(np.radians(5))
    assert views.best_angstrom == pytest.approx(4.0) and views.worst_angstrom > 8.0
    assert abs(views.worst_axis[2]) > np.cos(np.radians(25))
    line = views.line()
    told = f"map: views are uneven, {views.crowded:.0%} within 20 degrees of one axis (6% if they were even)"
    assert line.startswith(told)
    assert "FSC 0.143 by direction: 4.0 Å in the best" in line


def test_maps_without_halves_have_views_alone_and_few_particles_none():
    views = views_of("map", crowded(500, 0.9), None, 2.0)
    assert np.isnan(views.worst_angstrom) and "by direction" not in views.line()
    assert views_of("map", even(99), None, 2.0) is None


def test_table_and_picture_are_written(tmp_path):
    lines = write_views(
        {"core": even(400), "full": crowded(400, 0.8), "few": even(20)}, {"core": halves()}, 2.0, tmp_path
    )
    assert len(lines) == 1 and lines[0].startswith("full: views are uneven")
    with open(tmp_path / "views.csv") as file:
        core, full = csv.DictReader(file)
    assert core["map"] == "core" and core["particles"] == "400" and float(core["worst_angstrom"]) == 4.0
    assert full["worst_angstrom"] == "" and float(full["share_within_20_deg"]) > 0.75
    assert (tmp_path / "views.png").read_bytes().startswith(b"\x89PNG")
    assert write_views({"few": even(20)}, {}, 2.0, tmp_path / "none") == []
