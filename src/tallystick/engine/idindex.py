"""Is this id new? `IdIndex` says at which journal positions an id might stand (DESIGN §5).

    ids ─► current ─► previous ─► id run ─┬─► merged run ─► …
           (tables, in memory)            eight

The window is two generations of a keyed hash table: `current`, into which the kernel itself puts, and the one
before. A generation that closes is made into an immutable, sorted id run in the background (`step`), while its table
goes on answering; eight runs of a level are merged into one of the next. "Might": whoever asks compares with the id
in the entry, so a collision of hashes costs a look, never a wrong answer. Everything here is derived from the
journal, and `covered` says from where its ids must be entered again.

The engine's loop alone calls all but `step`; one other thread may call `step` meanwhile.
"""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tallystick.blockfile.disk import Disk
from tallystick.engine import idprobes, idsorting
from tallystick.engine.idruns import FileRuns, IdRun, Label, MemoryRuns, everything, nothing
from tallystick.engine.idsorting import SLICE_ROWS, Rows
from tallystick.ledger import windows
from tallystick.ledger.compiled import U64
from tallystick.records.commands import COMMANDS_MAX

RUNS_MERGED = 8
PROBES_FORGOTTEN = 131_072
"""Ids looked for, after which the runs' mapped memory is given back: one in a hundred touches a page or two."""
SLICES_FORGOTTEN = 2
"""Slices of a merge, after which that of its sources is: they were read from end to end."""
Job = Generator[None, None, None]
Column = npt.NDArray[np.uint64]


@dataclass(slots=True)
class _Generation:
    """The ids of one table."""

    table: Rows
    first: int  # ids at lower positions are in runs
    bounds: Column  # range of the ids noted
    noted: int


NOWHERE = (np.empty(0, "<i8"), np.empty(0, "<u8"))
"""What `IdIndex.candidates` says where no id might stand anywhere."""


class _Runs(NamedTuple):
    """All runs, oldest first, replaced as a whole: whoever has taken hold of it sees every id once."""

    runs: tuple[IdRun, ...]
    bounds: npt.NDArray[np.uint64]  # a row each

    @classmethod
    def of(cls, runs: tuple[IdRun, ...]) -> "_Runs":
        bounds = np.empty((len(runs), 4), "<u8")
        for place, run in enumerate(runs):
            bounds[place] = run.label.bounds
        return cls(runs, bounds)


class IdIndex:
    """Positions by id, for one kind of id of one shard."""

    def __init__(
        self,
        key: npt.NDArray[np.uint64],
        window_ids: int,
        disk: Disk | None = None,
        folder: Path | None = None,
        end: int = 0,
        sweep: bool = True,
    ) -> None:
        """Over the runs in `folder` (None: in memory only) that `key`, four secret uint64, was used for.

        `window_ids` is how many ids a generation takes before `is_full`; a block more finds room. `end` is the seq
        after the journal's last durable entry: a run past it is discarded, since its entries were lost. `sweep`
        deletes the files of discarded runs.
        """
        self._key = key
        self._window_ids = window_ids
        self._keeper = MemoryRuns() if disk is None or folder is None else FileRuns(disk, folder, key)
        self._published = _Runs.of(tuple(self._keeper.load(end, sweep)))
        slots = windows.slots_for(window_ids + COMMANDS_MAX)
        self._clean = [_touched_table(slots)]
        self._current = self._open_generation()
        self._previous: _Generation | None = None
        self._building: Job | None = None
        self._clearing: Job | None = self._make_spares(slots)  # in the background: start-up does not wait for it
        self._merging: Job | None = None
        self._working = Lock()  # held for each slice of clearing and building, and by `rotate`
        self._publishing = Lock()
        self._which = np.empty(COMMANDS_MAX, "<i8")
        self._positions = np.empty(COMMANDS_MAX, "<u8")
        self._passed = np.empty(COMMANDS_MAX + 1, "<i8")
        self._probed = 0

    @property
    def current(self) -> Rows:
        """The table that takes new ids, for `Books`; another one after each `rotate`."""
        return self._current.table

    @property
    def covered(self) -> int:
        """Below this position every id is in a run; ids from there on must be entered again at start."""
        runs = self._published.runs
        return runs[-1].label.stop if runs else 0

    @property
    def runs(self) -> tuple[Label, ...]:
        """What there is, oldest first."""
        return tuple(run.label for run in self._published.runs)

    @property
    def whole_runs(self) -> tuple[IdRun, ...]:
        """The runs themselves, oldest first."""
        return self._published.runs

    def hashes(self, tenant: Any, ids_lo: Column, ids_hi: Column) -> Column:
        """The keyed hash of each (tenant, id); `tenant` is a uint64."""
        hashes = np.empty(len(ids_lo), "<u8")
        idprobes.hash_all(self._key, U64(tenant), _as_warmed(ids_lo), _as_warmed(ids_hi), hashes)
        return hashes

    def note(self, ids_lo: Column, ids_hi: Column, mask: npt.NDArray[np.bool_]) -> None:
        """Ids that may have been put into `current`, where `mask` says so; more than were put do no harm.

        Call it for every block, before the next `candidates` or `rotate`: the range of a run's ids comes from here.
        Columns must be contiguous and writable: compiled code is warmed for no others.
        """
        current = self._current
        current.noted += int(idprobes.widen(current.bounds, ids_lo, ids_hi, mask))

    def candidates(
        self, hashes: Column, ids_lo: Column, ids_hi: Column, mask: npt.NDArray[np.bool_]
    ) -> tuple[npt.NDArray[np.int64], Column]:
        """For the ids that `mask` marks: (place in the batch, position) of each place where one might stand.

        Every position at which such an id was ever put is among them; in no order, and some perhaps twice.
        """
        count = len(hashes)
        if count >= len(self._passed):
            self._passed = np.empty(count + 1, "<i8")
        if not (hashes.flags.carray and ids_lo.flags.carray and ids_hi.flags.carray and mask.flags.carray):
            hashes, ids_lo, ids_hi, mask = map(_as_warmed, (hashes, ids_lo, ids_hi, mask))
        found = self._probe(hashes, ids_lo, ids_hi, mask)
        if not found:
            return NOWHERE
        if found > len(self._which):
            self._which, self._positions = np.empty(found, "<i8"), np.empty(found, "<u8")
            found = self._probe(hashes, ids_lo, ids_hi, mask)
        return self._which[:found].copy(), self._positions[:found].copy()

    def _probe(self, hashes: Column, ids_lo: Column, ids_hi: Column, mask: npt.NDArray[np.bool_]) -> int:
        """Fill `_which` and `_positions` as far as they go; returns how many candidates there are."""
        which, positions = self._which, self._positions
        published = self._published
        found = int(idprobes.probe_table(self._current.table, hashes, mask, which, positions, 0))
        if self._previous is not None:
            found = int(idprobes.probe_table(self._previous.table, hashes, mask, which, positions, found))
        if not published.runs:
            return found
        reached = np.empty(len(published.runs), np.bool_)
        if not idprobes.reach(published.bounds, ids_lo, ids_hi, mask, reached):
            return found
        self._probed += len(hashes)
        for place in np.flatnonzero(reached).tolist():
            run, bounds = published.runs[place], published.bounds[place]
            found = int(
                idprobes.probe_run(
                    run.rows, run.words, bounds, hashes, ids_lo, ids_hi, mask, self._passed, which, positions, found
                )
            )
        return found

    def is_full(self, count: int, position: int = 0) -> bool:
        """Whether `current`, holding so many ids, must be rotated before it takes another block.

        A generation ends after as many entries, too, of which `position` is the next: ids that are few (a request of
        8,190 transfers has one) would wait for their run for ever, and a start would read all of the journal for them.
        """
        return count >= self._window_ids or position - self._current.first >= self._window_ids

    def rotate(self, upto: int) -> None:
        """Close the current generation, whose ids all stand below position `upto`, and begin an empty one.

        `current` is another table afterwards. What the background should have done by now is done here.
        """
        with self._working:
            while self._building is not None:
                self._advance_building()
            while self._clearing is not None:
                self._clearing = _advance(self._clearing)
            closed = self._current
            if upto <= closed.first:  # a replay of what the runs have: nothing of it is news
                self._clearing = self._clear(closed.table)
            else:
                if self._previous is not None:
                    self._clearing = self._clear(self._previous.table)
                self._previous = closed
                self._building = self._build(closed, upto)
            self._current = self._open_generation(max(upto, closed.first))

    def step(self) -> bool:
        """One slice of background work, a few milliseconds; False if there is no more to do.

        Raises what the disk raises; the work is begun again at the next call.
        """
        if self._probed > PROBES_FORGOTTEN:
            self._probed = 0
            for run in self._published.runs:
                run.forget()
        with self._working:
            if self._clearing is not None:
                self._clearing = _advance(self._clearing)
                return True
            if self._building is not None:
                self._advance_building()
                return True
        if self._merging is None:
            eight = self._mergeable()
            if not eight:
                return False
            self._merging = self._merge(eight)
        # Not under the lock: `rotate` needs no merge to be done, and must not wait for a sync of one.
        merging, self._merging = self._merging, None
        self._merging = _advance(merging)
        return True

    def close(self) -> None:
        """Let go of files, when no other thread steps any more. What was begun is begun again after opening."""
        for job in (self._building, self._clearing, self._merging):
            if job is not None:
                job.close()
        self._building = self._clearing = self._merging = None

    def _open_generation(self, first: int | None = None) -> _Generation:
        return _Generation(self._clean.pop(), self.covered if first is None else first, nothing(), 0)

    def _make_spares(self, slots: int) -> Job:
        for _ in range(2):
            yield from self._clear(np.empty((slots, 2), "<u8"))

    def _clear(self, table: Rows) -> Job:
        yield from idsorting.cleared(table)
        self._clean.append(table)

    def _advance_building(self) -> None:
        """One slice of it. If it fails, it stays to be done, from its beginning: a run left out would lose ids."""
        building, self._building = self._building, None
        try:
            self._building = _advance(building) if building is not None else None
        except BaseException:
            if self._previous is not None:
                self._building = self._build(self._previous, self._current.first)
            raise

    def _build(self, closed: _Generation, stop: int) -> Job:
        """Make a run of a closed generation. Its table stays in use until the next `rotate`."""
        rows = yield from idsorting.sorted_table(closed.table, closed.first, stop)
        # Fewer ids noted than there are: the range is not that of these ids, and would hide some.
        bounds = closed.bounds if closed.noted >= len(rows) else everything()
        writer = self._keeper.writer(Label(closed.first, stop, 0, len(rows), bounds))
        try:
            for begin in range(0, len(rows), SLICE_ROWS):
                writer.add(rows[begin : begin + SLICE_ROWS])
                yield
            run = yield from writer.finish()
        finally:
            writer.close()
        with self._publishing:
            self._published = _Runs.of((*self._published.runs, run))

    def _mergeable(self) -> tuple[IdRun, ...]:
        """The first eight neighbours of one level, or none."""
        runs = self._published.runs
        for begin in range(len(runs) - RUNS_MERGED + 1):
            eight = runs[begin : begin + RUNS_MERGED]
            if len({run.label.level for run in eight}) == 1:
                return eight
        return ()

    def _merge(self, eight: tuple[IdRun, ...]) -> Job:
        """Make one run of eight. Their files go only when the new one is durable."""
        writer = self._keeper.writer(_label_of_all(eight))
        try:
            for number, rows in enumerate(idsorting.merged([run.rows for run in eight])):
                writer.add(rows)
                if number % SLICES_FORGOTTEN == 0:
                    for each in eight:
                        each.forget()
                yield
            run = yield from writer.finish()
        finally:
            writer.close()
            for each in eight:
                each.forget()
        with self._publishing:
            runs = self._published.runs
            begin = runs.index(eight[0])
            self._published = _Runs.of((*runs[:begin], run, *runs[begin + RUNS_MERGED :]))
        yield
        self._keeper.remove(eight)


def _label_of_all(runs: tuple[IdRun, ...]) -> Label:
    bounds = nothing()
    for run in runs:
        lows, highs = run.label.bounds[0::2].copy(), run.label.bounds[1::2].copy()
        if run.label.count:
            idprobes.widen(bounds, lows, highs, np.ones(2, np.bool_))
    labels = [run.label for run in runs]
    return Label(labels[0].first, labels[-1].stop, labels[0].level + 1, sum(label.count for label in labels), bounds)


def _touched_table(slots: int) -> Rows:
    """An empty table whose memory the kernel has given already, so that no block waits for it."""
    table = np.empty((slots, 2), "<u8")
    table.fill(0)
    return table


def _as_warmed(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The column as compiled code was warmed for it: contiguous and writable. Anything else would compile anew."""
    return column if column.flags.carray else column.copy()


def _advance(job: Job) -> Job | None:
    """The job after one more slice; None when that was the last."""
    try:
        next(job)
    except StopIteration:
        return None
    return job
