"""What a server stands on, small enough to fill it and to cut it off: its own disk and network. Linux, and root."""

import ctypes
import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.server import CannotStart, wait_until

CLONE_NEWNET = 0x4000_0000
"""setns(2): the namespace is one of networks."""
LATER_S = 10.0


class SmallDisk:
    """A file system of so many bytes over `folder`, in memory: `fill` it, make `room` again."""

    def __init__(self, folder: Path, size: int) -> None:
        """Raises `CannotStart` where nothing can be mounted."""
        self.folder = folder
        self._filler = folder / "filler"
        _run("mount", "-t", "tmpfs", "-o", f"size={size},mode=711", "tmpfs", str(folder))

    def fill(self, left: int = 0) -> None:
        """Take all that is free but `left` bytes."""
        with self._filler.open("ab") as file:
            while True:
                found = os.statvfs(self.folder)
                try:
                    os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize - left)
                    return
                except OSError as error:
                    if error.errno != errno.ENOSPC:  # the server has just taken some of it
                        raise

    def room(self) -> None:
        """Give it back."""
        self._filler.unlink()

    def __enter__(self) -> "SmallDisk":
        return self

    def __exit__(self, *error: object) -> None:
        # Lazily: a server that was just killed may hold a file yet.
        _run("umount", "--lazy", str(self.folder))


class Network:
    """A network with nothing but 127.0.0.1. What starts, or opens a socket, `inside` stays there; `cut` drops every
    packet in it, connections stay, as if a cable was pulled.
    """

    def __init__(self) -> None:
        """Raises `CannotStart` where there can be none."""
        for program in ("unshare", "nsenter", "ip"):
            if not shutil.which(program):
                raise CannotStart(f"there is no {program}: apt-get install iproute2 util-linux")
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self._path = Path(f"/proc/{self._holder.pid}/ns/net")
        ours = Path("/proc/self/ns/net").readlink()
        try:
            wait_until(
                lambda: self._holder.poll() is not None or self._path.readlink() != ours, LATER_S, "there is no network"
            )
            self.heal()
        except (CannotStart, OSError) as error:
            self.close()
            raise CannotStart(f"no network of its own: {error}") from error

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread, and threads and processes that it starts, are in there; sockets stay where they were made."""
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            with self._path.open() as namespace:
                _enter(namespace.fileno())
            try:
                yield
            finally:
                _enter(outside)
        finally:
            os.close(outside)

    def cut(self) -> None:
        """Nothing arrives any more, and nobody is told."""
        self._link("down")

    def heal(self) -> None:
        """It is as it was; what was sent meanwhile comes when TCP sends it again."""
        self._link("up")

    def _link(self, state: str) -> None:
        _run("nsenter", f"--net={self._path}", "ip", "link", "set", "lo", state)

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()

    def __enter__(self) -> "Network":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotStart(f"{' '.join(command)}: {done.stderr.strip()}")


def _enter(namespace: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)  # os.setns comes with Python 3.12
    if library.setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
