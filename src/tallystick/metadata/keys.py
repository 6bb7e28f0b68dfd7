"""The persons' keys: 32 random bytes each, in a file of its own, so that one can be destroyed and no other touched.

No cache, no database, no log of them: a key that is erased must be nowhere. A backup must not hold this folder.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from tallystick.clock import Entropy
from tallystick.errors import Corrupt, Unavailable

KEY_SIZE = 32
_SUFFIX = ".key"


class PersonKeys:
    """The folder of keys. Any number of processes use it."""

    def __init__(self, folder: Path, entropy: Entropy) -> None:
        """The folder is made with the first key."""
        self._folder = folder
        self._entropy = entropy

    def find(self, tenant: int, person: str) -> bytes | None:
        """A person's key; None if there is none, or none any more. Raises `Unavailable`, `Corrupt`."""
        path = self._path(tenant, person)
        try:
            key = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(f"the key in {path} cannot be read: {error.strerror}") from error
        if len(key) != KEY_SIZE or not any(key):
            raise Corrupt(f"{path} holds no key")
        return key

    def obtain_all(self, tenant: int, persons: Iterable[str]) -> dict[str, bytes]:
        """The persons' keys, made where there is none; durable on return. Raises as `find`."""
        found = {person: self.find(tenant, person) for person in dict.fromkeys(persons)}
        made = [self._make(tenant, person) for person, key in found.items() if key is None]
        try:
            for folder in sorted({each for path in made for each in path.parents[:3]}, reverse=True):
                _sync(folder)
        except OSError as error:
            raise Unavailable(f"keys could not be made durable in {self._folder}: {error.strerror}") from error
        return {person: key or self._found(tenant, person) for person, key in found.items()}

    def _found(self, tenant: int, person: str) -> bytes:
        key = self.find(tenant, person)
        if key is None:
            raise Unavailable(f"the key in {self._path(tenant, person)} was destroyed just now")
        return key

    def _make(self, tenant: int, person: str) -> Path:
        """Make a key; its file is synced, the folders above are not."""
        path = self._path(tenant, person)
        draft = path.with_name(f"{path.name}.{self._entropy(8).hex()}")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(self._entropy(KEY_SIZE))
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):  # another process was first: its key is the person's
                os.link(draft, path)
            draft.unlink()
        except OSError as error:
            raise Unavailable(f"no key could be made in {path.parent}: {error.strerror}") from error
        return path

    def destroy(self, tenant: int, person: str) -> bool:
        """Destroy a person's key for good: written over, synced, removed. Durable on return; False if there was none.

        What a disk keeps of bytes that were written over is the disk's; encrypt it.
        """
        path = self._path(tenant, person)
        try:
            with open(path, "r+b") as file:
                file.write(bytes(KEY_SIZE))
                file.flush()
                os.fsync(file.fileno())
            path.unlink()
            _sync(path.parent)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise Unavailable(f"the key in {path} could not be destroyed: {error.strerror}; try again") from error
        return True

    def _path(self, tenant: int, person: str) -> Path:
        name = sha256(f"{tenant}/{person}".encode()).hexdigest()
        return self._folder / name[:2] / name[2:4] / (name[4:] + _SUFFIX)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
