"""What a simulated disk holds: the bytes everyone sees, the bytes that were stored, and what lies between.

Pure but for its seeded randomness. `simulated.py` puts the `Disk` port on it.
"""

from dataclasses import dataclass, field
from pathlib import Path, PurePath
from random import Random
from typing import TypeAlias

from tallystick.blockfile.segments import SECTOR

_STORES_MAX = 1024


@dataclass(eq=False)
class Inode:
    """A file. `seen` is what any process reads; `stored` survives a power cut for sure.

    `unsynced` holds, by sector, every version written since the last sync: each may reach the disk at any time.
    """

    seen: bytearray = field(default_factory=bytearray)
    stored: bytearray = field(default_factory=bytearray)
    unsynced: dict[int, list[bytes]] = field(default_factory=dict)
    modified_ns: int = 0

    def write(self, at: int, data: bytes) -> None:
        """Change what is seen, zeros filling a gap."""
        end = at + len(data)
        if end > len(self.seen):
            self.seen.extend(bytes(end - len(self.seen)))
        self.seen[at:end] = data
        for sector in range(at // SECTOR, -(-end // SECTOR)):
            self.unsynced.setdefault(sector, []).append(bytes(self.seen[sector * SECTOR : (sector + 1) * SECTOR]))

    def sync(self) -> None:
        """Store what was written since the last sync, and the size. What a failed sync dropped is not among it."""
        self._grow(len(self.seen))
        for sector, versions in self.unsynced.items():
            self._store(sector, versions[-1])
        self.unsynced.clear()

    def fail_sync(self, random: Random) -> None:
        """As Linux: some sectors are stored, the others dropped, all read as written, and the next sync says good."""
        self._grow(random.choice((len(self.stored), len(self.seen))))
        for sector, versions in self.unsynced.items():
            if random.random() < 0.3:
                self._store(sector, versions[-1])
        self.unsynced.clear()

    def cut(self, random: Random) -> None:
        """Power fails: any version of any unsynced sector may be there, and any size between."""
        self._grow(random.choice((len(self.stored), len(self.seen), random.randint(len(self.stored), len(self.seen)))))
        keep = random.choice((0.0, 0.5, 0.9, 1.0))
        for sector, versions in self.unsynced.items():
            if random.random() < keep:
                self._store(sector, versions[-1] if random.random() < 0.8 else random.choice(versions))
        self.unsynced.clear()
        self.seen = bytearray(self.stored)

    def _grow(self, size: int) -> None:
        if size > len(self.stored):
            self.stored.extend(bytes(size - len(self.stored)))

    def _store(self, sector: int, data: bytes) -> None:
        room = self.stored[sector * SECTOR : (sector + 1) * SECTOR]
        self.stored[sector * SECTOR : sector * SECTOR + len(room)] = data[: len(room)].ljust(len(room), b"\0")


@dataclass(eq=False)
class Cell(Inode):
    """The file of a register. Any value it ever had may be the one a power cut leaves."""

    value: int = 0
    values: list[int] = field(default_factory=lambda: [0])

    def store(self, value: int) -> None:
        """Set it."""
        self.value = value
        self.values.append(value)
        if len(self.values) > _STORES_MAX:
            del self.values[1::2]

    def cut(self, random: Random) -> None:
        self.value = random.choice((self.values[0], random.choice(self.values), self.values[-1]))
        self.values = [0, self.value]


@dataclass(eq=False)
class Folder:
    """Names. Those of `stored` survive a power cut; each difference to `seen` may or may not."""

    seen: dict[str, "Inode | Folder"] = field(default_factory=dict)
    stored: dict[str, "Inode | Folder"] = field(default_factory=dict)

    def sync(self) -> None:
        """Store the names as seen."""
        self.stored = dict(self.seen)

    def cut(self, random: Random) -> None:
        """Power fails, here and in all that stays."""
        for name in sorted(self.seen.keys() | self.stored.keys()):
            there, before = self.seen.get(name), self.stored.get(name)
            kept = there if there is before or random.random() < 0.5 else before
            if kept is None:
                self.stored.pop(name, None)
            else:
                self.stored[name] = kept
                kept.cut(random)
        self.seen = dict(self.stored)


Node: TypeAlias = Inode | Folder


def find(root: Folder, path: PurePath) -> Node | None:
    """What stands at a path, seen from any process."""
    node: Node | None = root
    for name in path.parts[1 if path.anchor else 0 :]:
        node = node.seen.get(name) if isinstance(node, Folder) else None
    return node


def files(folder: Folder) -> list[Inode]:
    """All files below a folder."""
    found: list[Inode] = []
    for node in folder.seen.values():
        found.extend(files(node) if isinstance(node, Folder) else [node])
    return found


def parent(root: Folder, path: Path) -> Folder | None:
    """The folder a path stands in."""
    node = find(root, path.parent)
    return node if isinstance(node, Folder) else None
