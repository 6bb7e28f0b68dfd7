"""The signer process: `Settings` → a running signer, until SIGTERM or SIGINT.

It reads neither journal nor tree, and answers one question at a time. Its keys and what it signed last stand in the
folder `signer`, which is best given to a user of its own.
"""

import signal
from types import FrameType

import structlog

from tallystick.answers.addresses import address
from tallystick.blockfile.disk import SystemDisk
from tallystick.blockfile.slots import Slots
from tallystick.clock import SystemClock, system_entropy
from tallystick.compose import logs
from tallystick.errors import Corrupt
from tallystick.settings import Settings
from tallystick.signer import keyfile
from tallystick.signer.signing import Signing
from tallystick.signer.sockets import SignerServer

FOLDER, KEYS, SIGNED, LOCK = "signer", "keys", "signed", "lock"
SOCKET = "signer"
LOOK_S = 0.5
"""How often it looks whether it should stop."""

_log = structlog.get_logger("tallystick.compose.signer")


def run(settings: Settings) -> None:
    """Run until told to stop. Raises what ended it; `Fenced` if another signer has the folder."""
    logs.configure("signer")
    stopping = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    disk, clock, folder = SystemDisk(), SystemClock(settings.clock_offset_file), settings.path(FOLDER)
    disk.make_folder(folder)
    folder.chmod(0o700)
    lock = disk.lock(folder / LOCK)
    signed = Slots(folder / SIGNED, disk)
    keys = folder / KEYS
    if signed.value is not None and not keyfile.read(keys):
        raise Corrupt(f"{keys} is missing, though this log was signed before: bring the file back")
    keyfile.create(keys, settings.log_origin_of_shard, system_entropy)
    keys.chmod(0o600)  # one that was restored from a backup
    signing = Signing(settings.log_origin_of_shard, lambda: keyfile.read(keys), signed, clock)
    server = SignerServer(address(settings.data, SOCKET).path, signing)
    _log.info("signer ready", origin=settings.log_origin_of_shard, size=signing.last.size)
    try:
        while not stopping:
            server.serve_one(LOOK_S)
    finally:
        server.close()
        signed.close()
        lock.release()
    _log.info("signer stopped", size=signing.last.size)
