"""Subtomograms against templates and nulls, row by row, so that a run that was killed goes on where it was.

In the folder of work: ``plan.json`` (what the run is made of), the prepared templates and draws, and one file
for every few rows. All scores of a row are kept until the end; memory follows neither rows nor draws.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from zoo.analysis.matching.decoys import decoys_of
from zoo.analysis.matching.null_maps import NullMaps
from zoo.data.formats.fourier_weights import whole_of
from zoo.data.packing.resample import fourier_resample
from zoo.data.packing.threads import one_blas_thread
from zoo.errors import ZooError
from zoo.files import whole_file, write_json
from zoo.metrics.alignment import mirror
from zoo.ops.matching.prepared_templates import SearchSettings, prepare, with_shell_power_of
from zoo.ops.matching.template_search import Subtomogram

ROWS_AT_ONCE = 4
_DRAWS_AT_ONCE = 64
_SPARE = 0.25  # of the draws, for those that a template cannot use
_MOST_DRAWS = 8  # times the draws asked for are looked through for some that it can use
_PLAN = "plan.json"


@dataclass(frozen=True)
class NullSettings:
    """How many draws stand against every template, and which are the template itself.

    A draw that scores ``same`` or more on the template's own map is a copy of it. It does not stand against
    it, nor does what is made of that draw.
    """

    count: int = 985
    seed: int = 0
    same: float = 0.95


@dataclass(frozen=True)
class Rows:
    """Scores of some rows: (r, k) of the templates, (r, b) of the draws, (r, 6) of the decoys of the best.

    ``rows`` (r,) are their numbers, ``best`` (r,) the template that scores highest, with its pose: rotation
    (r, 3, 3) and shift (r, 3) in voxels. The score of a decoy that is the template itself, such as the mirror
    image of a ring, is NaN.
    """

    rows: np.ndarray
    known: np.ndarray
    best: np.ndarray
    rotations: np.ndarray
    shifts: np.ndarray
    nulls: np.ndarray
    decoys: np.ndarray


class MatchRun:
    """Templates and draws against the subtomograms of a reader, in a folder of work.

    reader: `zoo.data.formats.volumes.VolumeReader` or one like it; sign: +1 where matter is bright in them.
    templates (k, n, n, n) with their names; ``facts`` is whatever else decides the result. With ``mirror``
    the subtomograms have the other hand: all maps are mirrored in x before they are matched. Raises ZooError
    where the folder holds another run.
    """

    def __init__(
        self,
        work: Path,
        reader: Any,
        sign: int,
        templates: np.ndarray,
        names: list[str],
        source: NullMaps,
        search: SearchSettings,
        settings: NullSettings,
        facts: dict[str, Any] | None = None,
        threads: int = 1,
        mirror: bool = False,
    ):
        self.mirror = mirror
        self.work, self.reader, self.sign = work, reader, sign
        self.templates, self.names = templates, names
        self.source, self.search, self.settings = source, search, settings
        self._threads = threads
        self._kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        plan = {
            "templates": [names, _digest(templates)],
            "null": source.words,
            "search": asdict(search),
            "settings": asdict(settings),
            "rows": [len(reader), _digest(reader.table.uid)],
            "sign": sign,
            "hand": "mirrored" if mirror else "as given",
            **(facts or {}),
        }
        self._begin(json.loads(json.dumps(plan)))
        try:
            self.known = self._prepared(templates)
        except ValueError as error:
            raise ZooError(f"a template cannot be used: {error}") from error

    def _begin(self, plan: dict) -> None:
        path = self.work / _PLAN
        if path.exists():
            try:
                before = json.loads(path.read_text())
            except ValueError:
                before = {}
            if before != plan:
                differs = sorted(key for key in {*plan, *before} if plan.get(key) != before.get(key))
                raise ZooError(
                    f"{self.work.parent}: was begun with other {', '.join(differs)}; give what it was begun "
                    "with to go on, or --overwrite to begin anew"
                )
            return
        self.work.mkdir(parents=True, exist_ok=True)
        write_json(path, plan)

    def run(self, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Match what is not done yet; ``progress`` gets (rows done, rows in all)."""
        total = len(self.reader)
        with one_blas_thread():
            for start in range(0, total, ROWS_AT_ONCE):
                path = self._part(start)
                stop = min(start + ROWS_AT_ONCE, total)
                if not path.exists():
                    self._write(path, self._match_rows(range(start, stop)))
                progress(stop, total)

    def parts(self) -> Iterator[Rows]:
        """What `run` found, a few rows at a time, in order."""
        for start in range(0, len(self.reader), ROWS_AT_ONCE):
            path = self._part(start)
            try:
                with np.load(path, allow_pickle=False) as file:
                    yield Rows(**{name: file[name] for name in Rows.__dataclass_fields__})
            except (OSError, ValueError, KeyError) as error:
                raise ZooError(
                    f"{path}: cannot be read ({error}); delete it and run the command again"
                ) from error

    def left_out(self) -> dict[str, int]:
        """Templates that stood for best, and how many draws were too like each to be its null."""
        found = {}
        for best in sorted(self._best_ones()):
            away = self._away(best)
            last = np.flatnonzero(away)[self.settings.count - 1]
            found[self.names[best]] = int((~away[:last]).sum())
        return found

    def latent_facts(self) -> dict[str, dict[str, float]]:
        """What decided by latents, of every template that stood for best (`NullMaps.facts`)."""
        found = {}
        for best in sorted(self._best_ones()):
            path = self.work / f"latents-{best:05d}.json"
            if path.exists():
                found[self.names[best]] = json.loads(path.read_text())
        return found

    def _best_ones(self) -> set[int]:
        return {int(path.stem.split("-")[1]) for path in self.work.glob("away-*.npy")}

    def _match_rows(self, rows) -> Rows:
        found = [self._match_one(row) for row in rows]
        columns = (np.stack(column) for column in zip(*found, strict=True))
        return Rows(np.array(list(rows)), *columns)

    def _match_one(self, row: int) -> tuple:
        subtomogram = self._subtomogram(row)
        known = subtomogram.match(self.known, self._threads)
        best = int(known.scores.argmax())
        draws, decoys = self._nulls_of(best)
        size = _DRAWS_AT_ONCE * self._threads
        nulls = [
            subtomogram.match(
                with_shell_power_of(self.search, self._draws(draws[start : start + size]), self.known[best]),
                self._threads,
            ).scores
            for start in range(0, len(draws), size)
        ]
        other = np.isfinite(decoys[:, 0, 0])
        simple = np.full(len(decoys), np.nan)
        if other.any():
            simple[other] = subtomogram.match(decoys[other]).scores
        pose = known.rotations[best], known.shifts[best]
        return known.scores, np.int64(best), *pose, np.concatenate(nulls).astype(np.float32), simple

    def _subtomogram(self, row: int) -> Subtomogram:
        box = self.search.box
        volume = self.reader.read([row])[0] * self.sign
        weights = whole_of(self.reader.wedge(row, box))
        if volume.shape[-1] != box:
            volume = fourier_resample(volume, box, 3)
        try:
            return Subtomogram(self.search, volume, weights)
        except ValueError as error:
            raise ZooError(f"{self.reader.where(row)}: cannot be matched: {error}") from error

    def _nulls_of(self, best: int) -> tuple[np.ndarray, np.ndarray]:
        """The draws (b,) that stand against a template, and its decoys, prepared, with its power."""
        if best not in self._kept:
            judged = self._away(best)
            away = np.flatnonzero(judged)
            if len(away) < self.settings.count:
                raise ZooError(
                    f"--count {self.settings.count}: of {len(judged)} draws {len(away)} are not too like "
                    f"{self.names[best]}; give a smaller --count, or more maps"
                )
            try:
                decoys = self._prepared(decoys_of(self.templates[best], self.settings.seed))
            except ValueError as error:
                raise ZooError(f"template {self.names[best]}: {error}") from error
            decoys = with_shell_power_of(self.search, decoys, self.known[best])
            decoys[self._scores_on(best, decoys) >= self.settings.same] = np.nan
            self._kept[best] = (away[: self.settings.count], decoys)
        return self._kept[best]

    def _away(self, best: int) -> np.ndarray:
        """Which of the first draws are no copies of a template nor made of one, (m,) bool; kept in a file.

        As many as are needed for the draws asked for, or eight times these.
        """
        path = self.work / f"away-{best:05d}.npy"
        if path.exists():
            return np.load(path)
        count = self.settings.count
        limit = _MOST_DRAWS * count + _DRAWS_AT_ONCE
        limit = limit if self.source.count is None else min(limit, self.source.count)
        away, stop = np.zeros(0, bool), min(count + max(8, round(_SPARE * count)), limit)
        while True:
            away = np.concatenate([away, self._judged(best, away, stop)])
            if away.sum() >= count or stop == limit:
                break
            stop = min(stop + count, limit)
        if self.source.by_latents:
            write_json(self.work / f"latents-{best:05d}.json", self.source.facts())
        with whole_file(path, "wb") as file:
            np.save(file, away)
        return away

    def _judged(self, best: int, before: np.ndarray, stop: int) -> np.ndarray:
        """`_away` of the draws from ``len(before)`` to ``stop``, those before are judged."""
        start = len(before)
        if self.source.by_latents:
            return np.asarray(self.source.away_from(self.templates[best], start, stop), bool)
        away = np.concatenate([before, np.zeros(stop - start, bool)])
        size = _DRAWS_AT_ONCE * self._threads
        for first in range(start, stop, size):
            numbers = np.arange(first, min(first + size, stop))
            part = with_shell_power_of(self.search, self._draws(numbers), self.known[best])
            away[numbers] = self._scores_on(best, part) < self.settings.same
            for number in numbers.tolist():  # parts are draws before it
                away[number] &= all(away[each] for each in self.source.made_of(number))
        return away[start:]

    def _scores_on(self, best: int, prepared: np.ndarray) -> np.ndarray:
        """How much prepared maps are like a template: their scores on its own map, nothing missing."""
        # two maps without noise: a quick search tells whether they are one
        quick = replace(self.search, step_deg=max(self.search.step_deg, 20.0), candidates=2, whiten=False)
        template = self._as_seen(self.templates[best])
        return (
            Subtomogram(quick, template, np.ones(template.shape, np.float32))
            .match(prepared, self._threads)
            .scores
        )

    def _as_seen(self, maps: np.ndarray) -> np.ndarray:
        """Maps (..., n, n, n) as the subtomograms show them: mirrored in x if these have the other hand."""
        return mirror(maps) if self.mirror else maps

    def _prepared(self, maps: np.ndarray) -> np.ndarray:
        return prepare(self.search, self._as_seen(maps))

    def _draws(self, numbers: np.ndarray) -> np.ndarray:
        """Draws by number, in order, prepared (m, 4, j); made 64 at a time, and kept in files."""
        places, inside = np.divmod(numbers, _DRAWS_AT_ONCE)
        return np.concatenate(
            [self._file_of_draws(int(place))[inside[places == place]] for place in np.unique(places)]
        )

    def _file_of_draws(self, place: int) -> np.ndarray:
        path = self.work / f"draws-{place:05d}.npy"
        if not path.exists():
            start = place * _DRAWS_AT_ONCE
            stop = start + _DRAWS_AT_ONCE
            stop = stop if self.source.count is None else min(stop, self.source.count)
            try:
                prepared = self._prepared(self.source.maps(start, stop))
            except ValueError as error:
                raise ZooError(f"{self.source.words}: from draw {start} on, {error}") from error
            with whole_file(path, "wb") as file:
                np.save(file, prepared)
        return np.load(path, mmap_mode="r")

    def _part(self, start: int) -> Path:
        return self.work / f"rows-{start:08d}.npz"

    def _write(self, path: Path, rows: Rows) -> None:
        with whole_file(path, "wb") as file:
            np.savez(file, **asdict(rows))


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]
