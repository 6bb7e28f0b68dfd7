"""What all processes of a simulated machine share: disk, time, messages, randomness, and the history they make."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tallystick.blockfile.simulated import SimulatedDisk
from tallystick.intake.files import FileIntake
from tallystick.lab.history.file import History
from tallystick.lab.simulated_broker import BrokerIntake, SimulatedBroker
from tallystick.lab.simulated_clock import SimulatedClock
from tallystick.lab.simulated_post import Post

DATA = Path("/data")
JOURNAL, INTAKE = DATA / "journal", DATA / "intake"
LANE_SEGMENT_BYTES = 4_096


@dataclass
class World:
    """One machine. `disk` is any process's view of it."""

    random: Random
    clock: SimulatedClock
    disk: SimulatedDisk
    history: History
    post: Post
    story: Callable[[str], None] | None = None
    """Hears every line of the story; None: nobody reads it."""
    window_ids: int = 16
    """Ids in a generation of the id windows: so few that they become runs, and runs are merged."""
    broker: SimulatedBroker | None = None
    """What carries the lanes; None: files on the disk."""
    poison: tuple[int, int] | None = None
    """Tenant and id of the request that crashes whoever decides it."""
    _instants: int = field(default=0, init=False)

    def instant(self) -> int:
        """A number greater than all before: what `start_ns` and `end_ns` of a call are here."""
        self._instants += 1
        return self._instants

    def say(self, text: str, *values: object) -> None:
        """A line of the story: `text` formatted with the values."""
        if self.story is not None:
            passed_s = (self.clock.monotonic_ns()) / 1e9
            self.story(f"{self._instants:5} {passed_s:10.3f} s  " + text.format(*values))

    def intake(self, disk: SimulatedDisk) -> FileIntake | BrokerIntake:
        """The lanes, as a process sees them."""
        if self.broker is not None:
            return BrokerIntake(self.broker)
        return FileIntake(INTAKE, disk, self.clock, self.random.randbytes, LANE_SEGMENT_BYTES, retention_s=0)
