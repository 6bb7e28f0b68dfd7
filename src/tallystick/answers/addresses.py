"""Where the sockets of the engine and of the followers stand: a private folder of the data folder, or a short stand-in.

A Unix socket's path may have 107 bytes (`sun_path` of unix(7), less its closing zero), which a data folder deep in
a file tree exceeds. Then both sides derive the same short folder under the temporary folder from a hash of the data
folder's path.
"""

import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tallystick.errors import Unavailable

PATH_BYTES_MAX = 107


@dataclass(frozen=True, slots=True)
class Address:
    """Where one engine, or one follower, listens."""

    path: Path


def address(data: Path, name: str = "engine") -> Address:
    """The address of the engine (or follower `name`) that keeps its data in `data`, its folder created, mode 0700.

    Raises `Unavailable` if the folder cannot be made, or if the stand-in belongs to somebody else.
    """
    folder = data.resolve() / "run"
    if len(os.fsencode(folder / name)) > PATH_BYTES_MAX:
        digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
        folder = Path(tempfile.gettempdir()) / f"tallystick-{os.getuid()}-{digest}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise Unavailable(f"cannot make the folder of the {name}'s socket, {folder}: {error}") from error
    # Under a shared temporary folder somebody else may have been there first: never talk money to their socket.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise Unavailable(f"{folder} is not a folder of this user: remove it, or set another data folder")
    if found.st_mode & 0o077:
        folder.chmod(0o700)
    return Address(folder / name)
