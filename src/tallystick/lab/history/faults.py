"""What can be wrong with a history, by name; and the verdict."""

from enum import StrEnum

import msgspec


class Wrong(StrEnum):
    """A kind of fault. Each counts as something lost, something doubled, or something contradicted."""

    ACKNOWLEDGED_LOST = "acknowledged, but not in the journal"
    SHOWN_LOST = "shown by a look-up, but not in the journal"
    READ_LOST = "a block that a reader saw is not in the journal"
    JOURNAL_GAP = "the journal is not dense"
    DECIDED_TWICE = "one request, decided twice"
    NEW_TWICE = "two answers both say that the outcome is new"
    REPLY_DIFFERS = "an answer is not what the model decides"
    JOURNAL_DIFFERS = "an entry is not what the model decides"
    ALTERED = "an entry is not what was asked"
    NOT_ASKED = "nobody asked for a request in the journal"
    WRITTEN_AFTER_ALL = "answered that nothing was written, but it was"
    OUT_OF_ORDER = "sent after another's outcome was known, but decided before it"
    STALE = "a look-up shows less than was known when it was sent"
    AHEAD = "a look-up shows what was asked for only after it"
    NEVER_TRUE = "a look-up shows what never was"
    UNDECIDED_AFTER_ALL = "an outcome was told, and later is not decided"
    UNRESOLVED = "what became of an indefinite answer was never found out"


_LOST = {Wrong.ACKNOWLEDGED_LOST, Wrong.SHOWN_LOST, Wrong.READ_LOST, Wrong.JOURNAL_GAP}
_DOUBLED = {Wrong.DECIDED_TWICE, Wrong.NEW_TWICE}


class Fault(msgspec.Struct, frozen=True):
    """One thing that is wrong, with where to look: ids in hex, entries by seq."""

    wrong: Wrong
    what: str


class Unknown(msgspec.Struct, frozen=True, kw_only=True):
    """Requests of which somebody was once told that nobody knows what became of them, and how that was found out."""

    requests: int
    by_look_up: int
    """Decided: a look-up of the request told it."""
    by_retry: int
    """Decided: the answer to the same request, sent again, told it."""
    never_written: int
    """Not decided, now or ever: a look-up told so, and the journal agrees."""
    unsettled: int
    """None of that: each is a fault."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the check of a history found."""

    calls: int
    requests: int
    """Requests that clients made, by tenant, id and fingerprint."""
    acknowledged: int
    """Requests that some answer called durable or decided."""
    indefinite: int
    """Requests with an answer that did not tell the outcome."""
    unknown: Unknown
    """Of these, those that may have been written, and may not."""
    entries: int
    looked_up: int
    """Look-ups whose answers were judged."""
    by_status: dict[str, int]
    """Entries by kind and status."""
    faults: list[Fault]

    @property
    def lost(self) -> int:
        """Faults by which something is gone."""
        return sum(fault.wrong in _LOST for fault in self.faults)

    @property
    def doubled(self) -> int:
        """Faults by which something counts twice."""
        return sum(fault.wrong in _DOUBLED for fault in self.faults)

    @property
    def contradicted(self) -> int:
        """All other faults: somebody was told what is not so."""
        return len(self.faults) - self.lost - self.doubled

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults
