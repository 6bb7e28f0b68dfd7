"""`tally bench audit`: the journal made a log, the log computed again, receipts; each against hashing alone.

One journal of entries full of noise is written (not timed). The reference is what no log can do without: the SHA-256 of
each leaf, and of a node for each leaf, of bytes in memory, one core.
"""

import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tallystick.auditor.levels import LevelFiles
from tallystick.auditor.publisher import Publisher
from tallystick.auditor.sequencer import Sequencer
from tallystick.auditor.serving import PUBLISHED, STATE, TREE, LogReader
from tallystick.blockfile.disk import SystemDisk
from tallystick.blockfile.slots import Slots
from tallystick.clock import SystemClock, system_entropy
from tallystick.errors import Invalid
from tallystick.journal.files import FileJournal, FileJournalReader
from tallystick.journal.follow import catch_up
from tallystick.lab.results import Result, median, ratio
from tallystick.records import openings
from tallystick.records.blocks import entry_block
from tallystick.records.commands import Kind
from tallystick.records.details import DETAILS
from tallystick.records.details import VERSION as DETAILS_VERSION
from tallystick.records.entries import ENTRY, ENTRY_SIZE, LEAF_SIZE
from tallystick.records.entries import VERSION as ENTRY_VERSION
from tallystick.signer.keyfile import PAIR
from tallystick.signer.signing import Signing
from tallystick.tlog.auditing import check_whole
from tallystick.tlog.checkpoints import parse_checkpoint
from tallystick.tlog.keys import new_key
from tallystick.tlog.notes import parse_note
from tallystick.tlog.tiles import Tile

CASES = ("sequence", "recompute", "receipt")
ENTRIES = 200_000
BLOCK = 8_000
RECEIPTS = 20_000
ORIGIN = "bench.example/ledger/0"
SEGMENT_BYTES = 67_108_864
REFERENCE = "the hashes alone, in memory"

_clock = SystemClock()
Say = Callable[[str], None]


def run(runs: int, names: list[str], folder: Path | None, say: Say, entries: int = ENTRIES) -> list[Result]:
    """Measure the cases named (none: all), `runs` times each. Raises `Invalid` for a case that is none."""
    if unknown := set(names) - set(CASES):
        raise Invalid("--case", f"no such case: {', '.join(unknown)}; there are {', '.join(map(repr, CASES))}")
    chosen = [name for name in CASES if not names or name in names]
    with tempfile.TemporaryDirectory(prefix="tally-audit-", dir=folder) as place:
        data = Path(place)
        say(f"writing a journal of {entries:,} entries")
        leaves = _journal(data, entries)
        measured: dict[str, list[tuple[float, float, float]]] = {name: [] for name in chosen}
        for number in range(runs):
            say(f"run {number + 1} of {runs}")
            log = _Log(data, data / f"run-{number}")
            # Interleaved, so that a busy moment of the machine meets all of them.
            reference = _hash_alone(leaves)
            sequenced = _timed(log.sequence)
            log.publish()
            for name in chosen:
                if name == "sequence":
                    wall_s, cpu_s = sequenced
                else:
                    wall_s, cpu_s = _timed(log.recompute if name == "recompute" else log.receipts)
                count = RECEIPTS if name == "receipt" else entries
                measured[name].append((count / wall_s, cpu_s / count * 1e6, reference))
            log.close()
    return [_result(name, rows, runs) for name, rows in measured.items()]


def _result(name: str, rows: list[tuple[float, float, float]], runs: int) -> Result:
    rate, reference = median(row[0] for row in rows), median(row[2] for row in rows)
    return Result(
        case=name,
        rate=rate,
        unit="receipts" if name == "receipt" else "leaves",
        cpu_us=median(row[1] for row in rows),
        reference=REFERENCE,
        reference_rate=reference,
        ratio=ratio(rate, reference),
        extra={"runs": runs},
    )


def _timed(work: Callable[[], None]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall_ns, cpu_ns = _clock.monotonic_ns(), _clock.cpu_ns()
    work()
    return (_clock.monotonic_ns() - wall_ns) / 1e9, (_clock.cpu_ns() - cpu_ns) / 1e9


def _journal(data: Path, entries: int) -> npt.NDArray[np.uint8]:
    """Write the journal; returns its leaves, 254 bytes each."""
    journal = FileJournal.open(data / "journal", SystemDisk(), SEGMENT_BYTES)
    rows = np.frombuffer(system_entropy(entries * ENTRY_SIZE), np.uint8).copy().view(ENTRY)
    rows["length"], rows["version"], rows["kind"] = LEAF_SIZE, ENTRY_VERSION, Kind.TRANSFER
    rows["seq"] = np.arange(entries)
    details = np.zeros(BLOCK, DETAILS)
    details["version"] = DETAILS_VERSION
    for first in range(0, entries, BLOCK):
        part, tail = rows[first : first + BLOCK], journal.tail()
        _, block = entry_block(part, details[: len(part)], {}, first, tail.hash, journal.epoch)
        journal.append(block, first, journal.epoch)
    journal.close()
    return rows.view(np.uint8).reshape(-1, ENTRY_SIZE)[:, 2:].copy()


def _hash_alone(leaves: npt.NDArray[np.uint8]) -> float:
    """Leaves a second, of the hashes that a tree of them needs."""
    view = leaves.reshape(-1).data
    node = bytes(65)

    def work() -> None:
        for at in range(0, len(view), LEAF_SIZE):
            sha256(view[at : at + LEAF_SIZE]).digest()
            sha256(node).digest()

    return len(leaves) / _timed(work)[0]


class _Log:
    """An auditor and a signer of one run."""

    def __init__(self, data: Path, folder: Path) -> None:
        disk = SystemDisk()
        disk.make_folder(folder)
        self._journal = FileJournalReader(data / "journal", disk)
        self._levels = LevelFiles(folder / TREE, disk)
        self._sequencer = Sequencer(self._levels, Slots(folder / STATE, disk))
        keys = [new_key(ORIGIN, kind, system_entropy) for kind in PAIR]
        signing = Signing(ORIGIN, lambda: keys, Slots(folder / "signed", disk), _clock)
        self._publisher = Publisher(ORIGIN, self._levels, signing, Slots(folder / PUBLISHED, disk), _clock)
        self._reader = LogReader(folder, disk, self._journal)

    def sequence(self) -> None:
        """The whole journal into durable tiles."""
        catch_up(self._journal, self._sequencer)

    def publish(self) -> None:
        """Sign it."""
        self._publisher.publish()

    def recompute(self) -> None:
        """Every entry hashed again, every tile compared, up to the signed root."""
        data = self._reader.checkpoint()
        assert data is not None
        check_whole(parse_checkpoint(parse_note(data).text), self._read)

    def _read(self, tile: Tile) -> bytes:
        found = self._reader.tile(tile)
        assert found is not None
        return found

    def receipts(self) -> None:
        """Receipts of entries all over the log, each whole: proof, checkpoint, entry."""
        size = self._levels.size
        for number in range(RECEIPTS):
            self._reader.receipt(number * 7_919 % size, openings.pack)

    def close(self) -> None:
        """Let go of files."""
        self._reader.close()
        self._levels.close()
        self._journal.close()
