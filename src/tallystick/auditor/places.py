"""Where a log is copied to as static files: the port, and the folder that keeps its promise. `bucket.py` is the other.

What stands there is for strangers to read, by the paths of c2sp.org/tlog-tiles. `tallystick.conformance.places` is the
suite that every adapter must pass.
"""

import os
from pathlib import Path
from typing import Protocol

from tallystick.errors import Corrupt, Unavailable


class Place(Protocol):
    """Files by path, parts of it separated by `/`. One caller writes; anybody reads."""

    def put_once(self, path: str, content: bytes) -> None:
        """Make the file, which never changes again. One that is there with the same bytes is left alone.

        Raises `Corrupt` if one with other bytes is there, `Unavailable` if it could not be made: ask again.
        """
        ...

    def replace(self, path: str, content: bytes) -> None:
        """Make the file, or put this into its place in one step: no reader sees half. Raises `Unavailable`."""
        ...

    def get(self, path: str) -> bytes | None:
        """What the file holds; None if there is none. Raises `Unavailable`."""
        ...


class Folder:
    """A folder of this machine. Nothing is synced: what a power cut left short is told as one that differs."""

    def __init__(self, folder: Path) -> None:
        """It need not exist yet."""
        self._folder = folder

    def put_once(self, path: str, content: bytes) -> None:
        place = self._made(path)
        draft = place.with_name(place.name + ".new")
        try:
            # Linked whole: who is killed half-way leaves a draft, and never a file that differs for ever.
            draft.write_bytes(content)
            os.link(draft, place)
        except FileExistsError as error:
            if place.read_bytes() != content:
                raise Corrupt(f"{place} holds another tile than the log: of another log, or changed") from error
        except OSError as error:
            raise Unavailable(f"{place} cannot be written: {error.strerror}") from error
        finally:
            draft.unlink(missing_ok=True)

    def replace(self, path: str, content: bytes) -> None:
        place = self._made(path)
        draft = place.with_name(place.name + ".new")
        try:
            draft.write_bytes(content)
            draft.replace(place)
        except OSError as error:
            raise Unavailable(f"{place} cannot be written: {error.strerror}") from error

    def get(self, path: str) -> bytes | None:
        try:
            return (self._folder / path).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(f"{self._folder / path} cannot be read: {error.strerror}") from error

    def _made(self, path: str) -> Path:
        place = self._folder / path
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"{place.parent} cannot be made: {error.strerror}") from error
        return place
