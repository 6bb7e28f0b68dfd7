"""The `Disk` port: all that block files ask of a file system, and `SystemDisk`, which asks Linux.

It exists so that power cuts can be simulated (`simulated.py`). It knows nothing of blocks. Errors are ours:
`Unavailable` if nothing was written, `OutcomeUnknown` if bytes may have been left, `Corrupt` if stored bytes cannot
be read back, `Fenced` if another process holds a lock.
"""

import contextlib
import errno
import fcntl
import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from tallystick.errors import Corrupt, Fenced, OutcomeUnknown, Unavailable
from tallystick.records.blocks import Bytes

REGISTER_SIZE = 8
_BUFFERS_MAX = 1024  # IOV_MAX of Linux


class File(Protocol):
    """An open file. Reads and writes name their place, so threads may share it."""

    def read(self, at: int, size: int) -> bytes:
        """`size` bytes from `at`, fewer only at the end of the file. Raises `Corrupt` if the disk cannot read."""
        ...

    def write(self, at: int, buffers: Sequence[Bytes]) -> None:
        """All bytes of `buffers`, one after the other, from `at`. **Not durable** before `sync`.

        Raises `Unavailable` if the disk is full and nothing was written, `OutcomeUnknown` for anything else.
        """
        ...

    def sync(self) -> None:
        """Make what was written durable, size included. Raises `OutcomeUnknown`; never to be tried again then."""
        ...

    def size(self) -> int:
        """Bytes the file has."""
        ...

    def view(self, size: int) -> "View":
        """The first `size` bytes as read-only memory, for files that no longer change.

        It may be read from the disk only when touched, and stays valid after `close` and after the name is removed.
        """
        ...

    def forget(self, at: int, size: int) -> None:
        """Let the next read of these bytes come from the disk itself, where the system can: advice, no promise."""
        ...

    def close(self) -> None:
        """Let go of it; no sync is implied."""
        ...


class View(Protocol):
    """A file as memory."""

    @property
    def memory(self) -> Bytes:
        """Its bytes."""
        ...

    def forget(self) -> None:
        """Give back the memory that touching it took; what is touched again is read again."""
        ...


class Register(Protocol):
    """One 64-bit number in memory that processes share, kept in a file.

    It survives the death of processes. After a power cut it may hold any value that was ever stored, or 0.
    """

    def load(self) -> int:
        """The number as stored last by any process."""
        ...

    def store(self, value: int) -> None:
        """Set it, at once for all processes and in one piece. Not durable."""
        ...

    def close(self) -> None:
        """Let go of the memory."""
        ...


class Lock(Protocol):
    """An exclusive lock, held until released or until the process ends."""

    def release(self) -> None:
        """Let others have it."""
        ...


class Disk(Protocol):
    """A file system. New and removed names are durable only after `sync_folder` of the folder they stand in."""

    def make_folder(self, path: Path) -> None:
        """Create it and its parents where missing; durable on return, even if it was there before."""
        ...

    def list(self, path: Path) -> list[str]:
        """Names in a folder, sorted; none if there is no such folder."""
        ...

    def create(self, path: Path, *, private: bool = False) -> File:
        """A new empty file, to read and write; `private`: by its owner alone. Raises `Unavailable` if disk full."""
        ...

    def open(self, path: Path, *, writable: bool = False) -> File | None:
        """A file that exists, or None."""
        ...

    def remove(self, path: Path) -> None:
        """Take the name away; who has the file open may go on reading it. Nothing happens if it is not there."""
        ...

    def sync_folder(self, path: Path) -> None:
        """Make the names in a folder durable. Raises `OutcomeUnknown`."""
        ...

    def lock(self, path: Path, *, wait: bool = False) -> Lock:
        """The exclusive lock named by a file, created if missing. Raises `Fenced` if held, unless told to wait."""
        ...

    def register(self, path: Path, *, writable: bool = False) -> Register | None:
        """The register in a file, created as 0 if writable; None if it is not there and not writable."""
        ...

    def modified_ns(self, path: Path) -> int | None:
        """When the file was last written, nanoseconds since the Unix epoch; None if there is no such file."""
        ...

    def free_share(self, path: Path) -> float:
        """Free part of the file system that holds `path`, 0 to 1."""
        ...


@contextlib.contextmanager
def _nothing_written(what: str, path: Path) -> Iterator[None]:
    """Translate what fails before any byte of a caller was taken."""
    try:
        yield
    except OSError as error:
        raise Unavailable(f"cannot {what} {path}: {error.strerror}") from error


class SystemFile:
    """A file of Linux, by descriptor."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def read(self, at: int, size: int) -> bytes:
        try:
            data = os.pread(self._descriptor, size, at)
            while len(data) < size and (more := os.pread(self._descriptor, size - len(data), at + len(data))):
                data += more
        except OSError as error:
            raise Corrupt(f"cannot read {size} bytes at {at} of {self._path}: {error.strerror}") from error
        return data

    def write(self, at: int, buffers: Sequence[Bytes]) -> None:
        size = sum([memoryview(buffer).nbytes for buffer in buffers])
        written = 0
        while written < size:
            left = _after(buffers, written) if written else buffers
            try:
                written += os.pwritev(self._descriptor, left[:_BUFFERS_MAX], at + written)
            except OSError as error:
                if not written and error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise Unavailable(f"no room to write {self._path}: {error.strerror}") from error
                raise OutcomeUnknown(f"cannot write {self._path} at {at}: {error.strerror}") from error

    def sync(self) -> None:
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise OutcomeUnknown(f"cannot sync {self._path}: {error.strerror}") from error

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def view(self, size: int) -> View:
        with _nothing_written("map", self._path):
            return SystemView(mmap.mmap(self._descriptor, size, access=mmap.ACCESS_READ))

    def forget(self, at: int, size: int) -> None:
        with contextlib.suppress(OSError):
            os.posix_fadvise(self._descriptor, at, size, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _after(buffers: Sequence[Bytes], size: int) -> list[memoryview]:
    """What is left of buffers when `size` bytes of them are taken."""
    left = []
    for buffer in buffers:
        view = memoryview(buffer).cast("B")
        if size < len(view):
            left.append(view[size:])
        size = max(0, size - len(view))
    return left


class SystemView:
    """A memory map. Its pages are the system's own copy of the file, but count as this process's once touched."""

    def __init__(self, mapped: mmap.mmap) -> None:
        self._mapped = mapped
        self.memory: Bytes = memoryview(mapped)

    def forget(self) -> None:
        self._mapped.madvise(mmap.MADV_DONTNEED)


class SystemRegister:
    """Eight bytes of a memory-mapped file; aligned, so loads and stores are never seen in part."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._words = memoryview(memory).cast("Q")

    def load(self) -> int:
        return self._words[0]

    def store(self, value: int) -> None:
        self._words[0] = value

    def close(self) -> None:
        self._words.release()
        self._memory.close()


class SystemLock:
    """A `flock` on a descriptor of its own; the kernel releases it when the process ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class SystemDisk:
    """The file systems of this machine (Linux)."""

    def make_folder(self, path: Path) -> None:
        missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
        with _nothing_written("create folder", path):
            path.mkdir(parents=True, exist_ok=True)
        for folder in reversed([path, *missing[1:]]):
            self.sync_folder(folder.parent)

    def list(self, path: Path) -> list[str]:
        with _nothing_written("list", path):
            try:
                return sorted(os.listdir(path))
            except FileNotFoundError:
                return []

    def create(self, path: Path, *, private: bool = False) -> File:
        mode = 0o600 if private else 0o640
        with _nothing_written("create", path):
            return SystemFile(path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode))

    def open(self, path: Path, *, writable: bool = False) -> File | None:
        with _nothing_written("open", path):
            try:
                return SystemFile(path, os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC))
            except FileNotFoundError:
                return None

    def remove(self, path: Path) -> None:
        with _nothing_written("remove", path):
            path.unlink(missing_ok=True)

    def sync_folder(self, path: Path) -> None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise OutcomeUnknown(f"cannot sync folder {path}: {error.strerror}") from error

    def lock(self, path: Path, *, wait: bool = False) -> Lock:
        with _nothing_written("open lock", path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                raise Fenced(f"another process holds {path}") from error
            raise Unavailable(f"cannot lock {path}: {error.strerror}") from error
        return SystemLock(descriptor)

    def register(self, path: Path, *, writable: bool = False) -> Register | None:
        with _nothing_written("map", path):
            try:
                descriptor = os.open(path, (os.O_RDWR | os.O_CREAT if writable else os.O_RDONLY) | os.O_CLOEXEC, 0o640)
            except FileNotFoundError:
                return None
            try:
                if os.fstat(descriptor).st_size < REGISTER_SIZE:
                    if not writable:
                        return None
                    os.ftruncate(descriptor, REGISTER_SIZE)
                access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
                return SystemRegister(mmap.mmap(descriptor, REGISTER_SIZE, access=access))
            finally:
                os.close(descriptor)

    def modified_ns(self, path: Path) -> int | None:
        with _nothing_written("examine", path):
            try:
                return path.stat().st_mtime_ns
            except FileNotFoundError:
                return None

    def free_share(self, path: Path) -> float:
        with _nothing_written("examine", path):
            found = os.statvfs(path)
        return found.f_bavail / found.f_blocks if found.f_blocks else 1.0
