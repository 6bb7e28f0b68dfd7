"""What an `IdIndex` must say, kept as a plain list and dict beside it, and the loop that feeds both."""

import hashlib
from random import Random

import numpy as np

from tallystick.engine.idindex import IdIndex
from tallystick.ledger import windows
from tallystick.ledger.compiled import U64

TENANT = U64(7)
KEY = np.array([0x0123456789ABCDEF, 0xFEDCBA9876543210, 0x0F1E2D3C4B5A6978, 0x8796A5B4C3D2E1F0], "<u8")
LOW = 0xFFFFFFFFFFFFFFFF


def columns(ids):
    return (
        np.array([number & LOW for number in ids], "<u8"),
        np.array([number >> 64 for number in ids], "<u8"),
    )


class Model:
    """An index, the journal it was derived from (`put`: the id at each position) and what was found where."""

    def __init__(self, disk=None, folder=None, window_ids=16, key=KEY):
        self.disk, self.folder, self.window_ids, self.key = disk, folder, window_ids, key
        self.put_at = []
        self.rotations = 0
        self._open()

    def _open(self):
        with np.errstate(over="ignore"):
            self.index = IdIndex(self.key, self.window_ids, self.disk, self.folder, end=len(self.put_at))
        self.count = 0

    def put(self, ids):
        """One block of ids, each at the next position."""
        first = len(self.put_at)
        self.put_at.extend(ids)
        self._enter(first, ids)

    def _enter(self, first, ids):
        lo, hi = columns(ids)
        with np.errstate(over="ignore"):
            if self.index.is_full(self.count):
                self.rotate(first)
            hashes = self.index.hashes(TENANT, lo, hi)
            for place, hashed in enumerate(hashes):
                windows.put(self.index.current, hashed, U64(first + place))
            self.index.note(lo, hi, np.ones(len(ids), bool))
        self.count += len(ids)

    def rotate(self, upto):
        self.index.rotate(upto)
        self.count = 0
        self.rotations += 1

    def step(self, slices=None):
        """So many slices of background work, or all there are."""
        with np.errstate(over="ignore"):
            while slices != 0 and self.index.step():
                slices = None if slices is None else slices - 1

    def start(self, disk=None):
        """End and start again; returns the position from which ids must be entered again."""
        self.index.close()
        self.disk = disk or self.disk
        self._open()
        return self.index.covered

    def replay(self, first):
        """Enter ids from position `first` on, as recovery does."""
        for begin in range(first, len(self.put_at), 8):
            self._enter(begin, self.put_at[begin : begin + 8])

    def reopen(self, disk=None):
        """Start again, and enter what the runs do not have."""
        covered = self.start(disk)
        self.replay(covered)
        return covered

    def found(self, ids):
        """All (id, position) that the index brings up for these."""
        lo, hi = columns(ids)
        with np.errstate(over="ignore"):
            hashes = self.index.hashes(TENANT, lo, hi)
            which, positions = self.index.candidates(hashes, lo, hi, np.ones(len(ids), bool))
        return {(ids[place], position) for place, position in zip(which.tolist(), positions.tolist(), strict=True)}

    def check(self):
        """Everything ever put is found at all its positions, and nowhere else."""
        expected = {(number, position) for position, number in enumerate(self.put_at)}
        assert self.found(self.put_at) == expected

    def levels(self):
        return [label.level for label in self.index.runs]


def random_ids(random, count):
    return [random.getrandbits(128) for _ in range(count)]


def ordered_ids(random, count, at):
    """Like UUIDv7: the time above, noise below."""
    return [((at + k) << 80) | random.getrandbits(80) for k in range(count)]


def digest(seed=1, blocks=40):
    """A short life of an index as one number: compiled and interpreted code must agree on it."""
    random = Random(seed)
    model = Model(window_ids=32)
    for block in range(blocks):
        model.put(random_ids(random, 10) if block % 3 else ordered_ids(random, 10, block * 10))
        model.step(random.randrange(8))
    model.check()
    runs = [(run.first, run.stop, run.level, run.count, *run.bounds.tolist()) for run in model.index.runs]
    state = hashlib.sha256(repr(runs).encode())
    state.update(repr(sorted(model.found(model.put_at + random_ids(random, 200)))).encode())
    state.update(model.index.current.tobytes())
    return state.hexdigest()
