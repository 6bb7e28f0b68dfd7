"""What the model says of a command: to whoever asked, and for ever."""

from dataclasses import dataclass

from tallystick.lab.model.events import Key
from tallystick.records.commands import Kind
from tallystick.statuses import Status


@dataclass(frozen=True, slots=True)
class Result:
    """What is told about one command. `timestamp` is ns."""

    timestamp: int
    status: Status
    replayed: bool = False


@dataclass(slots=True)
class Decided:
    """An entry that the model made: its position, what moved, its numbers on both sides (0 where none moved)."""

    seq: int
    timestamp: int
    """ns, the decision's."""
    kind: Kind
    status: Status
    moved: int = 0
    debit: Key = (0, 0)
    credit: Key = (0, 0)
    pending_seq: int = 0
    """Position of the pending transfer that it resolves."""
    flags: int = 0
    """Effective ones of a transfer that was created."""
    timeout: int = 0
    """Seconds; the effective one of a transfer that was created."""

    def is_not(self, status: Status) -> None:
        """It is taken back, or was never done: only its place and its status stay."""
        self.status, self.moved, self.debit, self.credit, self.pending_seq = status, 0, (0, 0), (0, 0), 0
        self.flags = self.timeout = 0
