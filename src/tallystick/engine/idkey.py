"""The secret key that ids are hashed with, made once for each data folder.

It is kept, since id runs are sorted by hashes made with it. If its file is lost or damaged, a new one is made: the
runs then do not fit it and are made again from the journal.
"""

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tallystick.blockfile.disk import Disk
from tallystick.clock import Entropy
from tallystick.ledger.hashing import KEY_WORDS

_SIZE = 8 * KEY_WORDS
_CHECK_SIZE = 32


def random_key(entropy: Entropy) -> npt.NDArray[np.uint64]:
    """Four secret uint64."""
    return np.frombuffer(entropy(_SIZE), "<u8").copy()


def load_or_make(disk: Disk, path: Path, entropy: Entropy) -> npt.NDArray[np.uint64]:
    """The key in this file; a new one, durable on return and readable by its owner only, if there is none intact."""
    file = disk.open(path)
    if file is not None:
        data = file.read(0, _SIZE + _CHECK_SIZE + 1)
        file.close()
        if data[_SIZE:] == _check(data[:_SIZE]):
            return np.frombuffer(data[:_SIZE], "<u8").copy()
        disk.remove(path)
    disk.make_folder(path.parent)
    key = random_key(entropy)
    file = disk.create(path, private=True)
    file.write(0, [key.tobytes(), _check(key.tobytes())])
    file.sync()
    file.close()
    disk.sync_folder(path.parent)
    return key


def _check(data: bytes) -> bytes:
    return hashlib.sha256(b"tallystick/id-key-file\0" + data).digest()
