"""Scores of rows: those of searches done by hand; memory follows neither rows nor draws; verdicts."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from zoo.analysis.matching.decoys import DECOYS, decoys_of
from zoo.analysis.matching.judge import judge
from zoo.analysis.matching.match_run import MatchRun, NullSettings, Rows
from zoo.analysis.matching.null_maps import GeneratedMaps, OwnMaps
from zoo.data.formats.fourier_weights import half_of
from zoo.data.wedge import wedge_mask
from zoo.errors import ZooError
from zoo.metrics.alignment import mirror
from zoo.metrics.p_values import MODELS, p_value
from zoo.ops.matching.prepared_templates import SearchSettings, prepare, with_shell_power_of
from zoo.ops.matching.template_search import Subtomogram
from zoo.simulate.embedded_complexes import embedded_complexes

N = 16
SEARCH = SearchSettings(N, step_deg=40, search_radius=3, radius=5, candidates=2)


class Volumes:
    """As `zoo.data.formats.volumes.VolumeReader`: complexes in noise behind a wedge."""

    def __init__(self, volumes):
        self.volumes, self.box = volumes, volumes.shape[-1]
        self.table = type("Table", (), {"uid": np.arange(len(volumes), dtype=np.uint64)})()

    def __len__(self):
        return len(self.volumes)

    def read(self, rows):
        return self.volumes[rows]

    def wedge(self, row, box):
        return half_of(wedge_mask(box, -60, 60))

    def where(self, row):
        return f"volumes: row {row + 1}"


@pytest.fixture(scope="module")
def maps():
    return embedded_complexes(N, 24.0).maps.astype(np.float32)


def noisy(maps, count, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([-maps[row % 3] + rng.normal(0, 1, maps.shape[1:]) for row in range(count)]).astype("f")


def make(place, maps, count=30, rows=3, source=None, known=3):
    source = source or OwnMaps(maps[4:], "maps", seed=1)
    return MatchRun(
        place, Volumes(noisy(maps, rows)), -1, maps[:known], [f"m{k}" for k in range(known)], source, SEARCH,
        NullSettings(count),
    )  # fmt: skip


def test_nulls_are_searched_as_the_template_is(tmp_path, maps):
    """Every score of a row by hand: same search, the power of the best template in every shell."""
    run = make(tmp_path / "work", maps)
    run.run()
    (part,) = run.parts()
    known, wedge = prepare(SEARCH, maps[:3]), wedge_mask(N, -60, 60)
    draws = prepare(SEARCH, OwnMaps(maps[4:], "", seed=1).maps(0, 64))
    for row in range(3):
        subtomogram = Subtomogram(SEARCH, -run.reader.volumes[row], wedge)
        best = int(part.best[row])
        assert best == row
        np.testing.assert_allclose(part.known[row], subtomogram.match(known).scores, atol=1e-5)
        other = np.flatnonzero(run._away(best))[:30]  # but for what is the template itself
        matched = with_shell_power_of(SEARCH, draws[other], known[best])
        np.testing.assert_allclose(part.nulls[row], subtomogram.match(matched).scores, atol=2e-3)
        decoys = with_shell_power_of(SEARCH, prepare(SEARCH, decoys_of(maps[best])), known[best])
        told = np.isfinite(part.decoys[row])
        np.testing.assert_allclose(part.decoys[row][told], subtomogram.match(decoys).scores[told], atol=2e-3)
        assert not told[DECOYS.index("mirrored")]  # ring and barrels are their own mirror images


def test_a_template_among_the_draws_is_left_out(tmp_path, maps):
    run = make(tmp_path / "work", maps, source=OwnMaps(maps, "all of them", seed=1))
    run.run()
    assert all(count >= 1 for count in run.left_out().values()) and len(run.left_out()) == 3
    assert not any(run._away(template)[template] for template in range(3))


def test_what_is_made_of_the_template_is_left_out(tmp_path, maps):
    """Five maps: half of their composites hold a given one, so that more draws are looked through."""
    few = np.stack([maps[0], *maps[10:14]])
    source = OwnMaps(few, "five maps", seed=1)
    run = make(tmp_path / "work", maps, rows=1, source=source)
    run.run()
    (part,) = run.parts()
    away = run._away(0)
    assert part.best[0] == 0 and part.nulls.shape == (1, 30) and away.sum() >= 30 and len(away) > 38
    holds = np.array([0 in source.made_of(number) for number in range(len(away))])
    assert 0.3 < holds.mean() < 0.7 and not away[holds].any()
    like = np.flatnonzero(~away & ~holds)  # the map itself, and what scores 0.95 on it or is made of that
    assert like[0] == 0
    again = make(tmp_path / "again", maps, rows=1, source=source)  # with other templates: the same draws
    assert (again._away(1)[1:5]).all() and not np.array_equal(again._away(1), away)


def test_two_maps_of_which_one_is_the_template_make_no_null(tmp_path, maps):
    source = OwnMaps(maps[[0, 12]], "two maps", seed=1)
    with pytest.raises(ZooError, match="--count 30: of 304 draws 1 are not too like m0"):
        make(tmp_path / "work", maps, rows=1, source=source).run()


def test_subtomograms_of_the_other_hand(tmp_path, maps):
    """Mirrored subtomograms with --mirror are matched as those of the right hand are without."""

    lumps = embedded_complexes(N, 24.0).names.index("large_lumps")

    class Mirrored(Volumes):
        def read(self, rows):
            return mirror(self.volumes[rows])

    def found(place, reader, mirror):
        search = replace(SEARCH, step_deg=20, candidates=4)
        source, names = OwnMaps(maps[4:10], "", seed=1), ["lumps", "m3"]
        run = MatchRun(
            place, reader, -1, maps[[lumps, 3]], names, source, search, NullSettings(8), mirror=mirror
        )
        run.run()
        return next(run.parts())

    rng = np.random.default_rng(5)
    volumes = -maps[lumps][None] + rng.normal(0, 0.3, (2, N, N, N)).astype("f")
    right = found(tmp_path / "right", Volumes(volumes), False)
    other = found(tmp_path / "other", Mirrored(volumes), True)
    wrong = found(tmp_path / "wrong", Mirrored(volumes), False)
    np.testing.assert_allclose(other.known, right.known, atol=0.02)  # a grid of rotations has a hand
    assert (wrong.known[:, 0] < right.known[:, 0] - 0.05).all(), (wrong.known, right.known)
    assert (other.best == 0).all()
    assert (other.decoys[:, DECOYS.index("mirrored")] < other.known[:, 0]).all()


def test_latents_decide_where_there_are_any(tmp_path, maps):
    rng = np.random.default_rng(0)
    base = maps[4:10]

    def generate(latents):
        return np.stack([np.tensordot(np.exp(row[:6]), base, 1) for row in latents]).astype(np.float32)

    source = GeneratedMaps(generate, 6, "samples", lambda given: 3 + 0.1 * rng.normal(size=(len(given), 6)))
    run = make(tmp_path / "work", maps, source=source)
    run.run()
    assert set(run.left_out().values()) == {0}  # nothing lies at 3, 3, 3, 3, 3, 3
    near = GeneratedMaps(
        generate, 6, "samples", lambda given: 0.5 * rng.normal(size=(len(given), 6)), prior=1.0
    )
    near.count = 38
    with pytest.raises(ZooError, match="--count 30: of 38 draws"):
        make(tmp_path / "other", maps, source=near).run()


@pytest.mark.slow
@pytest.mark.parametrize("more", [{"count": 320}, {"rows": 12}])
def test_memory_follows_neither_draws_nor_rows(tmp_path, maps, more):
    def peak(place, **numbers):
        run = make(place, maps, **numbers)
        tracemalloc.start()
        run.run()
        for _ in run.parts():
            pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    few = {"count": 64, "rows": 2}
    peak(tmp_path / "first", **few)  # tables that are kept are made
    small, large = peak(tmp_path / "small", **few), peak(tmp_path / "large", **{**few, **more})
    assert large < 1.25 * small + 200_000, (small, large)


def test_verdicts_are_those_of_the_scores():
    rng = np.random.default_rng(0)
    nulls = rng.normal(0.3, 0.02, (5, 400)).astype(np.float32)
    decoys = np.full((5, 6), 0.1)
    decoys[2, 0], decoys[3, 3] = 0.9, np.nan
    known = np.array([[0.5, 0.2], [0.1, 0.31], [0.4, 0.3], [0.2, 0.6], [0.3, 0.2]])
    rows = Rows(
        np.arange(5),
        known,
        known.argmax(1),
        np.repeat(np.eye(3)[None], 5, 0),
        np.zeros((5, 3)),
        nulls,
        decoys,
    )
    found = judge([Rows(*(getattr(rows, name)[:3] for name in Rows.__dataclass_fields__)),
                   Rows(*(getattr(rows, name)[3:] for name in Rows.__dataclass_fields__))])  # fmt: skip
    for row in range(5):
        few = decoys[row][np.isfinite(decoys[row])]
        one = p_value(known[row].max(), nulls[row], decoys=few)
        assert found.p_one[row] == one.p and MODELS[found.model[row]] == one.model
        assert found.p[row] == pytest.approx(1 - (1 - one.p) ** 2, rel=1e-6)
        assert found.second[row] == known[row].argmin()
    assert found.beaten_by(2) == ["sphere"] and found.beaten_by(3) == []
    assert (np.argsort(found.q, kind="stable") == np.argsort(found.p, kind="stable")).all()
    np.testing.assert_allclose(found.euler_deg(), 0, atol=1e-9)
    with pytest.raises(ZooError, match="nothing to judge"):
        judge([])
