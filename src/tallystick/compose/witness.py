"""The witness process: `Settings` → a running witness, until SIGTERM or SIGINT. `tally up` does not start it by itself:
a witness is of use to a bank only where the bank cannot reach.
"""

import signal
import threading

import structlog

from tallystick.blockfile.disk import SystemDisk
from tallystick.clock import SystemClock, system_entropy
from tallystick.compose import logs
from tallystick.errors import Invalid
from tallystick.settings import Settings
from tallystick.signer import keyfile
from tallystick.tlog.keys import VerifierKey
from tallystick.tlog.policies import parse_policy
from tallystick.witness.cosigning import Cosigner
from tallystick.witness.server import WitnessServer

FOLDER, KEYS, LOCK, LOGS = "witness", "keys", "lock", "logs.policy"
LOOK_S = 0.25

_log = structlog.get_logger("tallystick.compose.witness")


def run(settings: Settings) -> None:
    """Run until told to stop. Raises what ended it; `Fenced` if another witness has the folder."""
    logs.configure("witness")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    disk, clock, folder = SystemDisk(), SystemClock(settings.clock_offset_file), settings.path(FOLDER)
    disk.make_folder(folder)
    folder.chmod(0o700)
    lock = disk.lock(folder / LOCK)
    keys = keyfile.create(folder / KEYS, settings.witness_name, system_entropy, keyfile.WITNESS_PAIR)
    path = folder / LOGS

    def watched() -> list[VerifierKey]:
        try:
            return list(parse_policy(path.read_text(encoding="utf-8")).logs)
        except FileNotFoundError as error:
            raise Invalid("", f"{path} is missing: it names the logs, as `tally audit policy` prints them") from error

    watched()
    cosigner = Cosigner(watched, keys, folder, disk, clock)
    server = WitnessServer(settings.witness_host, settings.witness_port, cosigner)
    thread = threading.Thread(target=server.serve_forever, args=(LOOK_S,), name="witness-http", daemon=True)
    thread.start()
    _log.info(
        "witness listening",
        host=settings.witness_host,
        port=server.server_address[1],
        keys=[key.verifier.vkey for key in keys],
    )
    try:
        while not stop.wait(LOOK_S):
            if server.failure is not None:
                raise server.failure
    finally:
        server.shutdown()
        server.server_close()
        cosigner.close()
        lock.release()
    _log.info("witness stopped")
