"""What stories on the simulated disk have in common: trouble at some write, how a life ends, and what is left of it."""

from collections.abc import Callable
from random import Random

from tallystick.blockfile.simulated import Fault, PowerCut, SimulatedDisk
from tallystick.errors import OutcomeUnknown, Unavailable

WRITE_FAULTS = [fault for fault in Fault if not fault.name.startswith("READ")]


class Time:
    """A clock that moves by a second each time it is looked at, so that a checkpoint is always due."""

    def __init__(self) -> None:
        self.now_ns = 1_700_000_000_000_000_000

    def wall_ns(self) -> int:
        self.now_ns += 1_000_000_000
        return self.now_ns

    monotonic_ns = wall_ns


def trouble(disk: SimulatedDisk, random: Random, calls: int, faults: int = 20) -> None:
    """A power cut within so many calls, or one of `faults` calls fails: stored or not, told or not."""
    if random.random() < 0.6:
        disk.cut_after(random.randint(0, calls))
    else:
        disk.inject(random.choice(WRITE_FAULTS), random.randint(0, faults))


def lived(disk: SimulatedDisk, random: Random, live: Callable[[], None]) -> tuple[SimulatedDisk, bool]:
    """Live until it ends; the disk as the next life finds it, calm again, and whether this one ended well."""
    good = False
    try:
        live()
        good = True
        left = disk.kill()
    except (OutcomeUnknown, Unavailable):
        left = disk.kill() if random.random() < 0.5 else disk.cut()
    except PowerCut:
        left = disk.cut()
    left.calm()
    left.machine.cut_at = None
    return left, good
