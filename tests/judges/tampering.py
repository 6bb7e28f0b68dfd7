"""What is done to a log of any size, and which judges that are not ours must refuse it then.

Each tampering takes the copy of a log and replaces files of it: files are linked to those of the honest log, so they
are never written to.
"""

import base64
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from tallystick.tlog import merkle, tiles
from tallystick.tlog.checkpoints import Checkpoint
from tallystick.tlog.notes import Note, parse_note, signature, signed
from tests.judges.logs import LOG_KEYS, ORIGIN, Log, link_tree
from tests.unit.tlog.trees import key

SIGNED_S = 1_700_000_000


@dataclass(frozen=True)
class Case:
    """A size: the honest log, the others that were signed with its keys, and what somebody kept of before."""

    size: int
    honest: Log
    rewritten: Log | None
    """All of it is another; None if there is only one history of that size."""
    forked: Log | None
    """Its history is the honest one up to before `kept`."""

    @cached_property
    def kept(self) -> int:
        return kept_of(self.size)

    def older(self, size: int) -> bytes:
        """The honest checkpoint of a smaller size, as it was signed then."""
        root = merkle.root(size, tiles.TiledTree(size, self.honest.reader.tile).node)
        return signed(Checkpoint(ORIGIN, size, root).body, LOG_KEYS, SIGNED_S).encode()

    @cached_property
    def number(self) -> int:
        """Of the bundle, and of the level 0 tile, that is tampered with: a full one, if there is one."""
        return min(100, max(0, self.size // 256 - 1))

    def path(self, level: int | str) -> str:
        """Of that tile; above level 0, that of the tile over it."""
        number = self.number if level in (0, "entries") else 0
        count = self.size >> 8 * (level if isinstance(level, int) else 0)
        width = min(256, count - 256 * number)
        return f"tile/{level}/{number:03}" + (f".p/{width}" if width < 256 else "")

    def last(self, level: int | str) -> str:
        """Of the partial tile at the level's end."""
        full, width = divmod(self.size >> 8 * (level if isinstance(level, int) else 0), 256)
        return f"tile/{level}/{full:03}.p/{width}"


Tampering: TypeAlias = Callable[[Path, Case], None]


def kept_of(size: int) -> int:
    """How large the log was when somebody kept its checkpoint."""
    return size - size // 17


def replace(folder: Path, path: str, change: Callable[[bytes], bytes]) -> None:
    data = (folder / path).read_bytes()
    changed = change(data)
    assert changed != data
    (folder / path).unlink()
    (folder / path).write_bytes(changed)


def flipped(at: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + bytes([data[at] ^ 1]) + (data[at + 1 :] if at != -1 else b"")


def swapped(data: bytes) -> bytes:
    return data[256:512] + data[:256] + data[512:]


def boundary(data: bytes) -> bytes:
    """One byte of an entry goes over to the next, both lengths put right: the same bytes otherwise."""
    return b"\0\xff" + data[2:256] + data[258:259] + b"\0\xfd" + data[259:]


def bundle(change: Callable[[bytes], bytes]) -> Tampering:
    return lambda folder, case: replace(folder, case.path("entries"), change)


def tile(level: int, change: Callable[[bytes], bytes]) -> Tampering:
    return lambda folder, case: replace(folder, case.path(level), change)


def partial(level: int | str, change: Callable[[bytes], bytes]) -> Tampering:
    return lambda folder, case: replace(folder, case.last(level), change)


def missing(level: int | str) -> Tampering:
    return lambda folder, case: (folder / case.path(level)).unlink()


def entry_and_level_0(folder: Path, case: Case) -> None:
    """An entry changed, and its hash: as who has the files would do it."""
    replace(folder, case.path("entries"), flipped(50))
    hashes = tiles.leaf_hashes((folder / case.path("entries")).read_bytes(), 256)
    replace(folder, case.path(0), lambda _: hashes)


def entry_and_level_1(folder: Path, case: Case) -> None:
    entry_and_level_0(folder, case)
    _patch(folder, case.path(1), case.number, tiles.tile_root((folder / case.path(0)).read_bytes()))


def entry_and_level_2(folder: Path, case: Case) -> None:
    entry_and_level_1(folder, case)
    _patch(folder, case.path(2), 0, tiles.tile_root((folder / case.path(1)).read_bytes()))


def _patch(folder: Path, path: str, at: int, new: bytes) -> None:
    replace(folder, path, lambda data: data[: at * 32] + new + data[at * 32 + 32 :])


def some_of_another(level: str, most: int) -> Tampering:
    """That many files are another history's, of the same size."""

    def tamper(folder: Path, case: Case) -> None:
        assert case.rewritten is not None
        other, below = case.rewritten.folder, folder / "tile" / level
        paths = sorted(path.relative_to(folder) for path in below.rglob("*") if path.is_file())[:most]
        for path in paths:
            replace(folder, str(path), lambda _, path=path: (other / path).read_bytes())

    return tamper


def checkpoint(change: Callable[[bytes, Case], bytes]) -> Tampering:
    return lambda folder, case: replace(folder, "checkpoint", lambda data: change(data, case))


def body(folder: Path) -> str:
    return parse_note((folder / "checkpoint").read_bytes()).text


def resigned(change: Callable[[str, Case], str], keys: list) -> Tampering:  # type: ignore[type-arg]
    return lambda folder, case: replace(
        folder, "checkpoint", lambda _: signed(change(body(folder), case), keys, SIGNED_S).encode()
    )


def root_edited(data: bytes, _case: Case) -> bytes:
    lines = data.split(b"\n")
    lines[2] = base64.b64encode(bytes(32))
    return b"\n".join(lines)


def signature_edited(data: bytes, _case: Case) -> bytes:
    """One letter of the Ed25519 signature is another."""
    at = data.index(b"\n", data.index(b"\n\n") + 2) - 20
    return data[:at] + (b"B" if data[at : at + 1] == b"A" else b"A") + data[at + 1 :]


def other_root(text: str, case: Case) -> str:
    root = base64.b64encode(merkle.EMPTY_ROOT if case.size else bytes(32)).decode()
    return f"{ORIGIN}\n{case.size}\n{root}\n"


def failing_line_first(folder: Path, _case: Case) -> None:
    """A line of the log's key that does not verify stands before the one that does."""

    def change(data: bytes) -> bytes:
        note = parse_note(data)
        return Note(note.text, (signature(note.text + "x", LOG_KEYS[0], 1), *note.signatures)).encode()

    replace(folder, "checkpoint", change)


def became_forked(folder: Path, case: Case) -> None:
    """The folder holds another history, signed with the true keys."""
    assert case.forked is not None
    shutil.rmtree(folder)
    link_tree(case.forked.folder, folder)


def became_rewritten(folder: Path, case: Case) -> None:
    assert case.rewritten is not None
    shutil.rmtree(folder)
    link_tree(case.rewritten.folder, folder)


def rolled_back(folder: Path, case: Case) -> None:
    """The log as it was before somebody kept its checkpoint, partial tiles of then included."""
    size = case.kept - 1
    replace(folder, "checkpoint", lambda _: case.older(size))
    for found in (*tiles.tiles_of(size), *tiles.bundles_of(size)):
        if not (folder / found.path).exists():
            (folder / found.path).parent.mkdir(parents=True, exist_ok=True)
            content = case.honest.reader.tile(found)
            assert content is not None
            (folder / found.path).write_bytes(content)


def view_kept(case: Case) -> bytes:
    return case.honest.checkpoint


R, P, ANY = "refuses", "passes", "any"
FAR = "passes unless on its path"
"""Of the kept checkpoint: it reads only what its proof needs, which the first level 1 tile is no part of if it is of a
tree that was larger."""
ENTRIES, TWO, FULL, PARTIAL, LEVEL_1, LEVEL_1_ENDS, LEVEL_2, MANY, KEPT, FORK = (
    "an entry",
    "two entries",
    "a full bundle",
    "a partial bundle",
    "level 1",
    "a partial tile of level 1 beside a full one",
    "level 2",
    "two bundles",
    "an older size",
    "two older sizes",
)


def has(size: int, what: str) -> bool:
    """Whether a log of this size has what a tampering needs."""
    return {
        "": True,
        ENTRIES: size >= 1,
        TWO: size >= 2,
        FULL: size >= 256,
        PARTIAL: size % 256 > 0,
        LEVEL_1: size >= 256,
        LEVEL_1_ENDS: size > 65_536 and size // 256 % 256 > 0,
        LEVEL_2: size >= 65_536,
        MANY: size >= 257,
        KEPT: size >= 1,
        FORK: size >= 255,
    }[what]


@dataclass(frozen=True)
class Tampered:
    """What is done, what it needs, and who must refuse it."""

    done: Tampering
    needs: str
    fsck: str
    tiles: str
    """x/mod's tiles, and torchwood."""
    kept: str
    """x/mod from a kept checkpoint."""
    kept_note: Callable[[Case], bytes] = lambda case: case.older(case.kept)


TAMPERED = {
    "entry byte": Tampered(bundle(flipped(50)), ENTRIES, R, R, P),
    "entry byte in the partial bundle": Tampered(partial("entries", flipped(50)), PARTIAL, R, R, P),
    "last entry byte": Tampered(partial("entries", flipped(-1)), PARTIAL, R, R, P),
    "entries swapped": Tampered(bundle(swapped), TWO, R, R, P),
    "entry removed": Tampered(bundle(lambda data: data[256:]), ENTRIES, R, R, P),
    "entry doubled": Tampered(bundle(lambda data: data[:256] + data[:-256]), TWO, R, R, P),
    "boundary moved": Tampered(bundle(boundary), TWO, R, R, P),
    "bundle cut inside an entry": Tampered(bundle(lambda data: data[:-10]), ENTRIES, R, R, P),
    "bundle emptied": Tampered(bundle(lambda data: b""), ENTRIES, R, R, P),
    "bundle missing": Tampered(missing("entries"), ENTRIES, R, R, P),
    "extra entry in a full bundle": Tampered(bundle(lambda data: data + data[:256]), FULL, P, R, P),
    "extra entry in the partial bundle": Tampered(partial("entries", lambda data: data + data[:256]), PARTIAL, P, R, P),
    "level 0 byte": Tampered(tile(0, flipped(20)), ENTRIES, R, R, ANY),
    "level 0 byte in the partial tile": Tampered(partial(0, flipped(20)), PARTIAL, R, R, ANY),
    "level 1 byte": Tampered(tile(1, flipped(20)), LEVEL_1, R, R, ANY),
    "level 1 byte in the partial tile": Tampered(partial(1, flipped(20)), LEVEL_1_ENDS, R, R, ANY),
    "level 2 byte": Tampered(tile(2, flipped(20)), LEVEL_2, R, R, R),
    "level 0 tile missing": Tampered(missing(0), ENTRIES, R, R, ANY),
    "level 1 tile missing": Tampered(missing(1), LEVEL_1, R, R, ANY),
    "level 0 tile too short": Tampered(tile(0, lambda data: data[:-32]), ENTRIES, R, R, ANY),
    "level 0 tile too long": Tampered(tile(0, lambda data: data + data[:32]), FULL, R, R, ANY),
    "partial tile too long": Tampered(partial(0, lambda data: data + data[:32]), PARTIAL, P, R, ANY),
    "up to 50 bundles of another history": Tampered(some_of_another("entries", 50), MANY, R, R, P),
    "all bundles of another history": Tampered(some_of_another("entries", 1_000_000), ENTRIES, R, R, P),
    "all tiles of another history": Tampered(some_of_another("0", 1_000_000), ENTRIES, R, R, ANY),
    "entry and its level 0 tile": Tampered(entry_and_level_0, ENTRIES, R, R, FAR),
    "entry, level 0 and level 1": Tampered(entry_and_level_1, LEVEL_1, R, R, FAR),
    "entry, level 0, level 1 and level 2": Tampered(entry_and_level_2, LEVEL_2, R, R, R),
    "a line that fails before one that does not": Tampered(failing_line_first, "", R, R, R),
    "root edited": Tampered(checkpoint(root_edited), "", R, R, R),
    "size edited": Tampered(
        checkpoint(lambda data, case: data.replace(b"\n%d\n" % case.size, b"\n%d\n" % (case.size ^ 1))), "", R, R, R
    ),
    "signature edited": Tampered(checkpoint(signature_edited), "", R, R, R),
    "signed by a stranger": Tampered(resigned(lambda text, _: text, [key(seed=9)]), "", R, R, R),
    "not signed": Tampered(checkpoint(lambda data, _: data.partition(b"\n\n")[0] + b"\n\n"), "", R, R, R),
    "line ends of Windows": Tampered(checkpoint(lambda data, _: data.replace(b"\n", b"\r\n")), "", R, R, R),
    "two blank lines": Tampered(checkpoint(lambda data, _: data.replace(b"\n\n", b"\n\n\n")), "", R, R, R),
    "another origin": Tampered(resigned(lambda text, _: text.replace(ORIGIN, "other.example"), LOG_KEYS), "", R, R, R),
    "leading zero, signed": Tampered(
        resigned(lambda text, case: text.replace(f"\n{case.size}\n", f"\n0{case.size}\n"), LOG_KEYS[:1]), "", P, R, R
    ),
    "another root, signed": Tampered(resigned(other_root, LOG_KEYS[:1]), "", R, R, R, view_kept),
    "two trees of one size": Tampered(became_rewritten, KEPT, P, P, R, view_kept),
    "rolled back": Tampered(rolled_back, KEPT, P, P, R),
    "forked": Tampered(became_forked, FORK, P, P, R),
    "history rewritten": Tampered(became_rewritten, KEPT, P, P, R),
}
