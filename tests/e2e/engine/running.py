"""An engine process of its own on a data folder, and what a gateway does with it."""

import json
import os
import signal
import subprocess
import sys
import threading

from tallystick.answers.addresses import address
from tallystick.answers.gatewayend import GatewayEnd
from tallystick.blockfile.disk import SystemDisk
from tallystick.clock import SystemClock, system_entropy
from tallystick.intake.files import FileIntake
from tallystick.journal.files import FileJournalReader
from tallystick.lab.history.calls import Block
from tallystick.lab.history.replay import Asked, Replay

SMALL = {"segment_bytes": 6_291_456, "lane_segment_bytes": 4_194_304, "accounts_max": 1_000, "window_ids": 256}
COMMAND = ("-m", "tallystick.cli.main", "up", "engine")


class Engine:
    """`tally up engine`; use it as a context. Waits until it is ready unless told otherwise."""

    def __init__(self, data, command=COMMAND, **settings):
        self.data = data
        self.log = []
        environment = {
            f"TALLY_{name.upper()}": str(value) for name, value in (SMALL | {"data": data} | settings).items()
        }
        self.process = subprocess.Popen(
            [sys.executable, *command], env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True
        )
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            try:
                self.log.append(json.loads(line))
            except ValueError:
                self.log.append({"event": line})
            if self.log[-1].get("event") == "engine ready":
                self._ready.set()
        self._ready.set()

    def wait_until_ready(self):
        assert self._ready.wait(60)
        assert self.process.poll() is None, self.log
        return self

    def end(self, number=signal.SIGKILL):
        """Send a signal; returns the exit code once it ended."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def wait(self):
        code = self.process.wait(60)
        self._reader.join(10)
        return code

    def close(self):
        self.end()

    def __enter__(self):
        return self.wait_until_ready()

    def __exit__(self, *_):
        self.end()


def intake(data):
    """The lanes, as a gateway has them."""
    return FileIntake(data / "intake", SystemDisk(), SystemClock(), system_entropy, SMALL["lane_segment_bytes"], 1e9)


def gateway_end(data, on_results=lambda lane, number, rows: None, timeout_s=30.0):
    """A gateway's end of the sockets, on the running event loop."""
    return GatewayEnd(address(data), system_entropy, on_results, timeout_s)


def replayed(data):
    """The journal, every block verified and decided again by the model, which must come to the same."""
    reader, replay = FileJournalReader(data / "journal", SystemDisk()), Replay(Asked())
    for block in reader.read(0):
        header = block.header
        replay.take(
            Block(
                first=header.first,
                hash=header.hash,
                entries=block.entries.tobytes(),
                details=block.details.tobytes(),
            )
        )
    reader.close()
    assert replay.faults == []
    return replay
