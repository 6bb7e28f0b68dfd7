"""The signer process: `Settings` → a running signer, until SIGTERM or SIGINT.

It reads neither journal nor tree, and answers one question at a time. Its keys and what it signed last stand in the
folder `signer`, which is best given to a user of its own.
"""

import signal
from pathlib import Path
from types import FrameType

import structlog

from tallystick.acts.port import LOGS
from tallystick.answers.addresses import address
from tallystick.blockfile.disk import SystemDisk
from tallystick.blockfile.slots import Slots
from tallystick.clock import SystemClock, system_entropy
from tallystick.compose import logs
from tallystick.errors import Corrupt
from tallystick.settings import Settings
from tallystick.signer import keyfile
from tallystick.signer.several import Several
from tallystick.signer.signing import Signing
from tallystick.signer.sockets import SignerServer

FOLDER, KEYS, SIGNED, LOCK = "signer", "keys", "signed", "lock"
SOCKET, LEDGER = "signer", "ledger"
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
    signings = {settings.log_origin_of(log): _signing(settings, log, disk, clock) for log in (LEDGER, *LOGS)}
    server = SignerServer(address(settings.data, SOCKET).path, Several(signings))
    for origin, signing in signings.items():
        _log.info("signer ready", origin=origin, size=signing.last.size)
    try:
        while not stopping:
            server.serve_one(LOOK_S)
    finally:
        server.close()
        lock.release()
    _log.info("signer stopped")


def folder_of(settings: Settings, log: str) -> Path:
    """Where the keys and the memory of one log stand."""
    return settings.path(FOLDER) if log == LEDGER else settings.path(FOLDER, log)


def _signing(settings: Settings, log: str, disk: SystemDisk, clock: SystemClock) -> Signing:
    """The signing of one log; its keys are made at its first start."""
    folder, origin = folder_of(settings, log), settings.log_origin_of(log)
    disk.make_folder(folder)
    folder.chmod(0o700)
    signed, keys = Slots(folder / SIGNED, disk), folder / KEYS
    if signed.value is not None and not keyfile.read(keys):
        raise Corrupt(f"{keys} is missing, though this log was signed before: bring the file back")
    keyfile.create(keys, origin, system_entropy)
    keys.chmod(0o600)  # one that was restored from a backup
    return Signing(origin, lambda: keyfile.read(keys), signed, clock)
