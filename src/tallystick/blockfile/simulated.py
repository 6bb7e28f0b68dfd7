"""`SimulatedDisk`: a `Disk` in memory, as hostile as a real one, and the same again for the same seed (DESIGN §6).

- A power cut keeps any subset of unsynced sectors, in any order, and any subset of unsynced names and sizes.
- A failed sync leaves the new bytes readable, the next one says good, and at the cut they are gone.
- Every process sees what any has written, synced or not: a reader that ignores the durable end reads what will be
  lost. Registers survive processes, and after a power cut hold any value they ever had.
- `inject` and `chances` bring full disks, I/O errors, short writes and zeros; `flip_bit` and `wipe` damage at rest.

It holds one machine; each `SimulatedDisk` is the view of one process of it. Kill −9 alone proves nothing about
durability: use `cut`.
"""

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from random import Random

from tallystick.blockfile import platter
from tallystick.blockfile.disk import File, Lock, Register, View
from tallystick.blockfile.platter import Cell, Folder, Inode
from tallystick.blockfile.segments import SECTOR
from tallystick.clock import Clock
from tallystick.errors import Corrupt, Fenced, OutcomeUnknown, Unavailable
from tallystick.records.blocks import Bytes


class PowerCut(BaseException):
    """The power failed, or this process was killed: no code of it runs any more. Only a test catches this."""


class Fault(Enum):
    """What can go wrong in one operation."""

    CREATE_FULL = "no room for a file"
    WRITE_FULL = "no room, nothing written"
    WRITE_SHORT = "a part was written, then no room"
    WRITE_ERROR = "some sectors were written, then an I/O error"
    SYNC_ERROR = "a sync fails"
    FOLDER_SYNC_ERROR = "a sync of a folder fails"
    READ_ERROR = "a read fails"
    READ_ZEROS = "a read gives zeros for a sector"


@dataclass
class _Machine:
    """What all processes share."""

    random: Random
    chances: dict[Fault, float]
    clock: Clock | None
    capacity_bytes: int | None
    root: Folder = field(default_factory=Folder)
    locks: dict[Path, object] = field(default_factory=dict)
    injected: dict[Fault, list[int]] = field(default_factory=dict)
    operations: int = 0
    cut_at: int | None = None
    starts: int = 0  # of the machine

    def strikes(self, fault: Fault) -> bool:
        """Whether this operation meets this fault."""
        if counts := self.injected.get(fault):
            self.injected[fault] = [count - 1 for count in counts if count]
            return 0 in counts
        chance = self.chances.get(fault, 0.0)
        return chance > 0 and self.random.random() < chance

    def cuts(self) -> bool:
        """Count an operation that changes something; whether the power fails in it."""
        self.operations += 1
        return self.cut_at is not None and self.operations >= self.cut_at

    def part_of(self, data: bytes) -> bytes:
        """How far a write came that was stopped: whole sectors, since Linux copies page by page."""
        return data[: self.random.randrange(0, len(data) + SECTOR, SECTOR)]

    def has_room(self, more: int) -> bool:
        """Whether so many more bytes fit."""
        if self.capacity_bytes is None:
            return True
        return sum(len(inode.seen) for inode in platter.files(self.root)) + more <= self.capacity_bytes


class SimulatedDisk:
    """One process's view of a simulated machine's disk. Not safe for threads."""

    def __init__(
        self,
        seed: int = 0,
        chances: Mapping[Fault, float] | None = None,
        clock: Clock | None = None,
        capacity_bytes: int | None = None,
        machine: _Machine | None = None,
    ) -> None:
        """A new machine; `chances` are per operation, `clock` stamps files. (`machine` is for `another_process`.)"""
        self.machine = machine or _Machine(Random(seed), dict(chances or {}), clock, capacity_bytes)
        self._start = self.machine.starts
        self._dead = False

    # What a test does to it

    def another_process(self) -> "SimulatedDisk":
        """The view of one more process of the same machine."""
        return SimulatedDisk(machine=self.machine)

    def kill(self) -> "SimulatedDisk":
        """This process dies: its locks are free, its bytes stay. Returns the view of the next process."""
        self._dead = True
        machine = self.machine
        machine.locks = {path: owner for path, owner in machine.locks.items() if owner is not self}
        return self.another_process()

    def cut(self) -> "SimulatedDisk":
        """The power fails: all processes die. Returns the view of the first process after it is back."""
        machine = self.machine
        machine.root.cut(machine.random)
        machine.locks.clear()
        machine.injected.clear()
        machine.cut_at = None
        machine.starts += 1
        return self.another_process()

    def cut_after(self, operations: int) -> None:
        """Let the power fail within the operation after so many that change something: `PowerCut`, then call `cut`."""
        self.machine.cut_at = self.machine.operations + operations + 1

    def inject(self, fault: Fault, after: int = 0) -> None:
        """Let the fault strike once, after so many operations of its sort that it spares."""
        self.machine.injected.setdefault(fault, []).append(after)

    def calm(self) -> None:
        """No more faults but those injected from now on."""
        self.machine.chances.clear()
        self.machine.injected.clear()

    def flip_bit(self, path: Path, bit: int) -> None:
        """Damage at rest: one bit of a file is the other one."""
        inode = self._inode(path)
        for data in (inode.seen, inode.stored):
            if bit // 8 < len(data):  # what was stored may be shorter
                data[bit // 8] ^= 1 << bit % 8

    def wipe(self, path: Path, at: int, size: int) -> None:
        """Damage at rest: zeros."""
        inode = self._inode(path)
        for data in (inode.seen, inode.stored):
            data[at : at + size] = bytes(size)

    def _inode(self, path: Path) -> Inode:
        node = platter.find(self.machine.root, path)
        if not isinstance(node, Inode):
            raise FileNotFoundError(path)
        return node

    # The port

    def make_folder(self, path: Path) -> None:
        folder = self.machine.root
        for name in path.relative_to(path.anchor).parts:
            if name not in folder.seen:
                self._change()
                folder.seen[name] = Folder()
            self._sync_folder(folder, path)
            node = folder.seen[name]
            if not isinstance(node, Folder):
                raise Unavailable(f"cannot create folder {path}: a file is there")
            folder = node

    def list(self, path: Path) -> list[str]:
        self.check_alive()
        node = platter.find(self.machine.root, path)
        return sorted(node.seen) if isinstance(node, Folder) else []

    def create(self, path: Path, *, private: bool = False) -> File:
        self._change()
        folder = platter.parent(self.machine.root, path)
        if folder is None or path.name in folder.seen:
            raise Unavailable(f"cannot create {path}: no folder, or it exists")
        if self.machine.strikes(Fault.CREATE_FULL):
            raise Unavailable(f"cannot create {path}: disk full") from OSError(errno.ENOSPC, "simulated")
        inode = Inode(modified_ns=self._now_ns())
        folder.seen[path.name] = inode
        return _SimulatedFile(self, path, inode)

    def open(self, path: Path, *, writable: bool = False) -> File | None:
        self.check_alive()
        node = platter.find(self.machine.root, path)
        return _SimulatedFile(self, path, node) if isinstance(node, Inode) else None

    def remove(self, path: Path) -> None:
        self._change()
        folder = platter.parent(self.machine.root, path)
        if folder is not None:
            folder.seen.pop(path.name, None)

    def sync_folder(self, path: Path) -> None:
        node = platter.find(self.machine.root, path)
        if not isinstance(node, Folder):
            raise OutcomeUnknown(f"cannot sync folder {path}: it is not there")
        self._sync_folder(node, path)

    def _sync_folder(self, folder: Folder, path: Path) -> None:
        self.check_alive()
        cuts = self.machine.cuts()
        if not cuts and self.machine.strikes(Fault.FOLDER_SYNC_ERROR):
            raise OutcomeUnknown(f"cannot sync folder {path}") from OSError(errno.EIO, "simulated")
        if not cuts or self.machine.random.random() < 0.5:
            folder.sync()
        if cuts:
            raise PowerCut

    def lock(self, path: Path, *, wait: bool = False) -> Lock:
        self.check_alive()
        if path in self.machine.locks:
            if wait:
                raise RuntimeError(f"{path} is held: in one thread, waiting for it would never end")
            raise Fenced(f"another process holds {path}")
        self.machine.locks[path] = self
        return _SimulatedLock(self, path)

    def register(self, path: Path, *, writable: bool = False) -> Register | None:
        self.check_alive()
        node = platter.find(self.machine.root, path)
        if node is None and writable:
            folder = platter.parent(self.machine.root, path)
            if folder is None:
                raise Unavailable(f"cannot map {path}: no folder")
            self._change()
            node = folder.seen[path.name] = Cell()
        return _SimulatedRegister(self, node) if isinstance(node, Cell) else None

    def modified_ns(self, path: Path) -> int | None:
        self.check_alive()
        node = platter.find(self.machine.root, path)
        return node.modified_ns if isinstance(node, Inode) else None

    def free_share(self, path: Path) -> float:
        self.check_alive()
        capacity = self.machine.capacity_bytes
        if capacity is None:
            return 1.0
        return 1 - sum(len(inode.seen) for inode in platter.files(self.machine.root)) / capacity

    def check_alive(self) -> None:
        """Raise `PowerCut` in a process that is dead."""
        if self._dead or self._start != self.machine.starts:
            raise PowerCut

    def _change(self) -> None:
        """An operation that changes something begins; the power may fail before it."""
        self.check_alive()
        if self.machine.cuts():
            raise PowerCut

    def _now_ns(self) -> int:
        return self.machine.clock.wall_ns() if self.machine.clock else 0

    # What open files ask

    def write(self, inode: Inode, path: Path, at: int, data: bytes) -> None:
        """Write to an open file, or fail as the machine's plan says."""
        self.check_alive()
        machine = self.machine
        if machine.cuts():
            inode.write(at, machine.part_of(data))
            raise PowerCut
        if machine.strikes(Fault.WRITE_FULL) or not machine.has_room(at + len(data) - len(inode.seen)):
            raise Unavailable(f"no room to write {path}") from OSError(errno.ENOSPC, "simulated")
        if machine.strikes(Fault.WRITE_SHORT):
            inode.write(at, machine.part_of(data))
            raise OutcomeUnknown(f"cannot write {path}") from OSError(errno.ENOSPC, "simulated")
        if machine.strikes(Fault.WRITE_ERROR):
            for begin in range(0, len(data), SECTOR):
                if machine.random.random() < 0.5:
                    inode.write(at + begin, data[begin : begin + SECTOR])
            raise OutcomeUnknown(f"cannot write {path}") from OSError(errno.EIO, "simulated")
        inode.write(at, data)
        inode.modified_ns = self._now_ns()

    def sync(self, inode: Inode, path: Path) -> None:
        """Sync an open file, or fail as the machine's plan says."""
        self.check_alive()
        machine = self.machine
        if machine.cuts():
            if machine.random.random() < 0.5:
                inode.sync()
            raise PowerCut
        if machine.strikes(Fault.SYNC_ERROR):
            inode.fail_sync(machine.random)
            raise OutcomeUnknown(f"cannot sync {path}") from OSError(errno.EIO, "simulated")
        inode.sync()

    def read(self, inode: Inode, path: Path, at: int, size: int) -> bytes:
        """Read an open file, or fail as the machine's plan says."""
        self.check_alive()
        if self.machine.strikes(Fault.READ_ERROR):
            raise Corrupt(f"cannot read {path}") from OSError(errno.EIO, "simulated")
        data = bytes(inode.seen[at : at + size])
        if data and self.machine.strikes(Fault.READ_ZEROS):
            begin = self.machine.random.randrange(0, len(data), SECTOR)
            rest = data[begin + SECTOR :]
            data = data[:begin] + bytes(len(data) - begin - len(rest)) + rest
        return data


class _SimulatedFile:
    def __init__(self, disk: SimulatedDisk, path: Path, inode: Inode) -> None:
        self._disk = disk
        self._path = path
        self._inode = inode

    def read(self, at: int, size: int) -> bytes:
        return self._disk.read(self._inode, self._path, at, size)

    def write(self, at: int, buffers: Sequence[Bytes]) -> None:
        self._disk.write(self._inode, self._path, at, b"".join(buffers))

    def sync(self) -> None:
        self._disk.sync(self._inode, self._path)

    def size(self) -> int:
        return len(self._inode.seen)

    def view(self, size: int) -> View:
        return _SimulatedView(self._disk.read(self._inode, self._path, 0, size))

    def forget(self, at: int, size: int) -> None:
        """Every read comes from the platter."""

    def close(self) -> None:
        """Nothing to let go of."""


@dataclass(frozen=True, slots=True)
class _SimulatedView:
    memory: Bytes

    def forget(self) -> None:
        pass


class _SimulatedRegister:
    def __init__(self, disk: SimulatedDisk, cell: Cell) -> None:
        self._disk = disk
        self._cell = cell

    def load(self) -> int:
        self._disk.check_alive()
        return self._cell.value

    def store(self, value: int) -> None:
        self._disk.check_alive()
        if self._disk.machine.cuts():
            raise PowerCut
        self._cell.store(value)

    def close(self) -> None:
        """Nothing to let go of."""


class _SimulatedLock:
    def __init__(self, disk: SimulatedDisk, path: Path) -> None:
        self._disk = disk
        self._path = path

    def release(self) -> None:
        if self._disk.machine.locks.get(self._path) is self._disk:
            del self._disk.machine.locks[self._path]
