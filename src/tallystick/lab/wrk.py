"""wrk, the native load generator of Debian's package of that name, with a script that makes every id unique."""

import shutil
import subprocess
from importlib import resources

import msgspec

from tallystick.errors import Unavailable
from tallystick.lab.plan import Plan

TIMEOUT_S = 30


class WrkRun(msgspec.Struct, frozen=True):
    """What one run of wrk counted."""

    duration_us: int
    requests: int
    """Answers, whatever their status."""
    connect: int
    read: int
    write: int
    status: int
    """Answers above 399."""
    timeout: int
    p50_us: int
    p95_us: int
    p99_us: int

    @property
    def answered(self) -> int:
        """Answers that acknowledged what was sent."""
        return self.requests - self.status

    @property
    def errors(self) -> int:
        """Everything that went wrong."""
        return self.connect + self.read + self.write + self.status + self.timeout


def find() -> str:
    """Where wrk is. Raises `Unavailable` if it is not installed."""
    path = shutil.which("wrk")
    if path is None:
        raise Unavailable("this bench needs the load generator wrk: apt-get install wrk")
    return path


def run(
    url: str, key: str, accounts: Plan, mode: str, connections: int, seconds: float, ids_run: int = 0, batch: int = 1
) -> WrkRun:
    """Load `url` for so long. `mode` is bare, noop, single, json or binary; ids have `ids_run` as their upper half."""
    script = resources.files("tallystick.lab") / "wrk.lua"
    with resources.as_file(script) as path:
        command = [find(), "-t1", f"-c{connections}", f"-d{round(seconds)}s", f"--timeout={TIMEOUT_S}s", "-s"]
        words = [mode, key, f"{ids_run:016x}", f"{accounts.run:016x}", str(accounts.accounts), str(batch)]
        done = subprocess.run([*command, str(path), url, "--", *words], capture_output=True, check=False)
    lines = done.stdout.decode(errors="replace").strip().splitlines()
    if done.returncode != 0 or not lines:
        told = done.stderr.decode(errors="replace").strip() or done.stdout.decode(errors="replace").strip()
        raise Unavailable(f"wrk ended with code {done.returncode}: {told}")
    return msgspec.json.decode(lines[-1], type=WrkRun)
