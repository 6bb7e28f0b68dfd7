"""The archive in an object store: each addition an object that never changes, and a record that names the last one.

    <first>-<next>-<hash>    what was added, behind the name of the object before it
    state                    the name of the last one that counts, and how far that goes

An object counts once the record names it, or one after it. One whose writer was killed before that is named by nobody
and harms nobody: what comes next has another name, or the same name and the same bytes. Nothing is listed, so that a
store must only be able to put, replace and get.
"""

import struct
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Protocol

from tallystick.archive import history
from tallystick.archive.port import Archived, ArchivedActs
from tallystick.errors import Corrupt
from tallystick.records.blocks import (
    HEADER_SIZE,
    EntryBlock,
    buffers_of,
    pack_positions,
    parse,
    parse_header,
    unpack_positions,
)

STATE = "state"
_MAGIC = b"TALLYARC"
_HEAD = struct.Struct("<8sH")
_RECORD = struct.Struct("<QH32s")  # entries or acts, length of the name, hash or root
_LENGTH = struct.Struct(">H")
_NUMBER = struct.Struct("<Q")  # of the first act of an object


class Store(Protocol):
    """Objects by path."""

    def put_once(self, path: str, content: bytes) -> None:
        """Make the object, which never changes again. **Durable on return.** The same bytes may be put again.

        Raises `Corrupt` if it is there with others, `Unavailable` if it could not be done, or is not known.
        """
        ...

    def replace(self, path: str, content: bytes) -> None:
        """Make the object, or put this into its place in one step. **Durable on return.** Raises `Unavailable`."""
        ...

    def get(self, path: str) -> bytes | None:
        """What it holds; None if there is none. Raises `Unavailable`."""
        ...


class _Chain:
    """Objects that each name the one before, and the record of the last. What they hold is the caller's."""

    def __init__(self, store: Store, below: str) -> None:
        self._store = store
        self._below = below

    def last(self) -> tuple[int, bytes, str, bytes]:
        """How far it reaches, a hash, the name of the last object, and what else the record holds; zeros at first."""
        value = self._store.get(f"{self._below}/{STATE}")
        if value is None:
            return 0, b"", "", b""
        try:
            record, digest = value[:-32], value[-32:]
            if sha256(record).digest() != digest:
                raise ValueError("its hash")
            end, length, found = _RECORD.unpack_from(record)
            name = record[_RECORD.size : _RECORD.size + length].decode()
        except (struct.error, ValueError) as error:
            raise Corrupt(f"the archive's record {self._below}/{STATE} is damaged: {error}") from error
        return end, found, name, record[_RECORD.size + length :]

    def add(self, content: bytes, before: str, first: int, end: int, digest: bytes, more: bytes = b"") -> str:
        """Add an object after the one called `before`; returns its name. **Durable on return.**"""
        data = _HEAD.pack(_MAGIC, len(before)) + before.encode() + content
        name = f"{first:020d}-{end:020d}-{sha256(data).hexdigest()[:16]}"
        self._store.put_once(f"{self._below}/{name}", data)
        record = _RECORD.pack(end, len(name), digest) + name.encode() + more
        self._store.replace(f"{self._below}/{STATE}", record + sha256(record).digest())
        return name

    def contents(self, last: str, begin: int) -> Iterator[bytes]:
        """What the objects hold, in order, from the one with entry `begin` to `last`."""
        names: list[str] = []
        name = last
        while name:
            names.append(name)
            if int(name[:20]) <= begin:
                break
            name = self._object(name)[0]
        for each in reversed(names):
            yield self._object(each)[1]

    def _object(self, name: str) -> tuple[str, bytes]:
        data = self._store.get(f"{self._below}/{name}")
        if data is None:
            raise Corrupt(f"the archive's object {self._below}/{name} is missing")
        magic, length = _HEAD.unpack_from(data) if len(data) >= _HEAD.size else (b"", 0)
        if magic != _MAGIC or sha256(data).hexdigest()[:16] != name[-16:]:
            raise Corrupt(f"the archive's object {self._below}/{name} is damaged")
        return data[_HEAD.size : _HEAD.size + length].decode(), data[_HEAD.size + length :]


class ObjectArchive:
    """As `port.Archive`, and `port.ArchiveReader`. What keeps a second writer away is the auditor's own lock."""

    def __init__(self, store: Store, below: str) -> None:
        """`below`: the path that all its objects begin with. Nothing is asked yet."""
        self._below = below
        self._chain = _Chain(store, below)
        self._known: tuple[Archived, str] | None = None

    def end(self) -> Archived:
        return self._last()[0]

    def read(self, seq: int) -> Iterator[EntryBlock]:
        end, last = self._last()
        if seq > end.next_seq:
            raise Corrupt(f"the archive {self._below} ends at entry {end.next_seq}; entry {seq} is not in it")
        return self._blocks(seq, end, last) if seq < end.next_seq else iter(())

    def add(self, blocks: Sequence[EntryBlock]) -> None:
        end, last = self._known or self._last()
        fresh = history.fresh(blocks, end, self._below)
        if not fresh:
            return
        self._known = None  # until it is done, what the store has is to be found out
        header = fresh[-1].header
        after = Archived(header.next, header.hash, fresh[-1].positions)
        content = b"".join(part for block in fresh for part in buffers_of(block))
        last = self._chain.add(content, last, end.next_seq, after.next_seq, after.hash, pack_positions(after.positions))
        self._known = after, last

    def close(self) -> None:
        """Nothing is kept open."""

    def _last(self) -> tuple[Archived, str]:
        next_seq, digest, name, positions = self._chain.last()
        return (Archived(next_seq, digest, unpack_positions(positions)) if name else Archived()), name

    def _blocks(self, seq: int, end: Archived, last: str) -> Iterator[EntryBlock]:
        expected: int | None = None
        previous = b""
        for content in self._chain.contents(last, seq):
            at = 0
            while at < len(content):
                header = parse_header(content[at : at + HEADER_SIZE])
                block = parse(content[at : at + header.size])
                if not isinstance(block, EntryBlock):
                    raise Corrupt(f"a block of a lane is no part of the archive {self._below}")
                if expected is not None and (header.first, header.previous) != (expected, previous):
                    raise Corrupt(f"{self._below}: block {header.first} does not continue the one before it")
                expected, previous = header.next, header.hash
                at += header.size
                if header.first >= seq:
                    yield block
                elif header.next > seq:
                    raise Corrupt(f"{self._below}: no block begins with entry {seq}, but one with {header.first}")
        if (expected, previous) != (end.next_seq, end.hash):
            raise Corrupt(f"{self._below}: the blocks end at entry {expected}, not at {end.next_seq}")


class ObjectActArchive:
    """As `port.ActArchive`, and `port.ActArchiveReader`; `below` as for `ObjectArchive`."""

    def __init__(self, store: Store, below: str) -> None:
        self._below = below
        self._chain = _Chain(store, below)

    def end(self) -> ArchivedActs:
        count, root, name, _ = self._chain.last()
        return ArchivedActs(count, root) if name else ArchivedActs()

    def read(self, first: int) -> Iterator[list[bytes]]:
        count, _, last, _ = self._chain.last()
        if first >= count:
            return
        found = first
        for content in self._chain.contents(last, first):
            entries, number = [], _NUMBER.unpack_from(content)[0]
            at = _NUMBER.size
            while at < len(content):
                length = _LENGTH.unpack_from(content, at)[0]
                if number >= first:
                    entries.append(content[at + _LENGTH.size : at + _LENGTH.size + length])
                number, at = number + 1, at + _LENGTH.size + length
            found += len(entries)
            yield entries
        if found != count:
            raise Corrupt(f"{self._below} holds acts up to {found}; {count} were archived")

    def add(self, entries: Sequence[bytes], root: bytes) -> None:
        count, _, last, _ = self._chain.last()
        content = _NUMBER.pack(count) + b"".join(_LENGTH.pack(len(entry)) + entry for entry in entries)
        self._chain.add(content, last, count, count + len(entries), root)

    def close(self) -> None:
        """Nothing is kept open."""
