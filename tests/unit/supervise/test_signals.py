import signal
import subprocess

from tallystick.supervise.signals import Signals


def test_what_is_started_meanwhile_may_write_to_a_terminal_that_stops_background_groups() -> None:
    before = signal.getsignal(signal.SIGTTOU)
    with Signals():
        status = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True, check=True).stdout
    ignored = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigIgn"))
    assert ignored >> (signal.SIGTTOU - 1) & 1
    assert signal.getsignal(signal.SIGTTOU) == before
