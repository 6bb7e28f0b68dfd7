"""The judge: is there any story in which all the answers are honest?

    verdict = check(history)

1. The journal is decided once more by the model (`replay`); every entry must come out the same.
2. Every answer about a request is held against what the model decided. What was acknowledged is in the journal, what
   nothing was written of is not, and each outcome was called new at most once.
3. Real time. An answer that arrived proves that the journal had come so far: whatever was sent later is decided
   behind that, and every later look-up shows at least that. A look-up is honest if the books looked so, all of it at
   once, at some position between what was proved before it was sent and what was asked for before it ended. The
   earliest such position counts as proved by it, which is the mildest assumption, so every fault found is one.
4. Every answer that left the outcome open was followed by one that did not.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tallystick.ids import show
from tallystick.lab.history.calls import (
    SHOWN_ACCOUNT,
    AnyCall,
    LookUpAccounts,
    LookUpRequest,
    LookUpTransfers,
    ReadBlock,
    Submit,
    Told,
)
from tallystick.lab.history.faults import Fault, Unknown, Verdict, Wrong
from tallystick.lab.history.file import History
from tallystick.lab.history.replay import Asked, Decision, Key, Replay
from tallystick.lab.history.versions import FOR_EVER, NEVER_THERE, NOT_THERE, common, earliest
from tallystick.lab.model import Model
from tallystick.records.commands import EVENT_SIZE, TRANSFER_EVENT, fingerprint
from tallystick.records.results import RESULT

_INDEFINITE = frozenset({Told.UNKNOWN, Told.ACCEPTED})
_DURABLE = frozenset({Told.DECIDED, Told.ACCEPTED})


def check(history: History) -> Verdict:
    """Judge a whole history. Raises nothing for what is wrong in it: that is what the verdict is for."""
    return _Check(history).verdict()


@dataclass(slots=True)
class _Request:
    """All that clients did with one request: the same tenant, id and fingerprint."""

    key: Key
    fingerprint: bytes
    first_start_ns: int = FOR_EVER
    told: set[Told] = field(default_factory=set)
    new: int = 0
    """Answers that did not say that they repeat an earlier outcome."""
    indefinite_ns: int = -1
    """End of the last answer that left the outcome open."""
    definite_ns: int = -1
    """End of the last answer that did not."""
    not_decided_ns: int = -1
    """End of the last answer that nothing is known of it."""
    settled_by: str = ""
    """`look-up` or `retry`, whichever first told the outcome after the last answer that did not."""

    @property
    def name(self) -> str:
        """For people."""
        return f"request {show(self.key[1])} of tenant {self.key[0]}"


@dataclass
class _Proofs:
    """How far the journal had come, as calls proved it: position by the instant of the proof."""

    instants: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)

    def before(self, instant: int) -> int:
        """The furthest position proved strictly before `instant`."""
        at = bisect_left(self.instants, instant)
        return self.positions[at - 1] if at else 0

    def add(self, instant: int, position: int) -> None:
        """Instants come in order."""
        self.instants.append(instant)
        self.positions.append(max(position, self.positions[-1] if self.positions else 0))


class _Check:
    """One history on its way to its verdict."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._faults: list[Fault] = []
        self._requests: dict[tuple[Key, bytes], _Request] = {}
        self._digests: dict[int, bytes] = {}
        self._looked_up = 0
        self._proofs = _Proofs()

    def verdict(self) -> Verdict:
        self._gather()
        replay = self._replay = self._decide_again()
        self._read = {
            (first, digest): at for at, (first, digest) in enumerate(zip(replay.firsts, replay.hashes, strict=True))
        }
        self._limits = self._first_asked()
        self._walk()
        self._judge_requests()
        for key, decision in replay.decisions.items():
            asker = self._requests.get((key, decision.fingerprint))
            if asker is None or asker.first_start_ns == FOR_EVER:
                self._wrong(Wrong.NOT_ASKED, f"request {show(key[1])} of tenant {key[0]}, entry {decision.seq}")
        asked = self._requests.values()
        return Verdict(
            calls=len(self._history.calls),
            requests=len(self._requests),
            acknowledged=sum(not _DURABLE.isdisjoint(each.told) for each in asked),
            indefinite=sum(each.indefinite_ns >= 0 for each in asked),
            unknown=self._unknown(),
            entries=replay.next_seq,
            looked_up=self._looked_up,
            by_status=dict(sorted(replay.by_status.items())),
            faults=[*replay.faults, *self._faults],
        )

    def _wrong(self, wrong: Wrong, what: str) -> None:
        self._faults.append(Fault(wrong, what))

    # What was asked

    def _gather(self) -> None:
        for number, call in enumerate(self._history.calls):
            if isinstance(call, LookUpRequest):
                self._note(self._request(call, call.fingerprint), call)
            elif isinstance(call, Submit):
                count = len(call.events) // EVENT_SIZE
                digest = fingerprint(call.kind, count, call.events, call.metadata)
                self._digests[number] = digest
                request = self._request(call, digest)
                request.first_start_ns = min(request.first_start_ns, call.start_ns)
                if call.told is Told.DECIDED:
                    request.new += not np.frombuffer(call.rows, RESULT)["replayed"].any()
                self._note(request, call)

    def _request(self, call: Submit | LookUpRequest, digest: bytes) -> _Request:
        key = (call.tenant, call.request_id)
        return self._requests.setdefault((key, digest), _Request(key, digest))

    @staticmethod
    def _note(request: _Request, call: Submit | LookUpRequest) -> None:
        if isinstance(call, LookUpRequest) and call.told is Told.UNKNOWN:
            return  # it asked, nobody answered: nothing was left open that was not open before
        request.told.add(call.told)
        if call.told in _INDEFINITE:
            request.indefinite_ns = max(request.indefinite_ns, call.end_ns)
            request.settled_by = ""
        elif call.told is Told.NOT_DECIDED:
            request.not_decided_ns = max(request.not_decided_ns, call.end_ns)
        elif call.told is not Told.NOTHING_WRITTEN:  # which tells of one try, not of the others
            request.definite_ns = max(request.definite_ns, call.end_ns)
            request.settled_by = request.settled_by or ("look-up" if isinstance(call, LookUpRequest) else "retry")

    def _decide_again(self) -> Replay:
        asked = Asked()
        for number, digest in self._digests.items():
            call = self._history.calls[number]
            assert isinstance(call, Submit)
            asked.expires_at.setdefault(((call.tenant, call.request_id), digest), set()).add(call.expires_at)
        replay = Replay(asked, Model(review_timeout=self._history.review_timeout_s))
        for block in self._history.blocks:
            replay.take(block)
        return replay

    # Real time

    def _first_asked(self) -> tuple[list[int], list[int]]:
        """Instants in order, and for each the last position at which nothing shows that was first sent from then on."""
        sent = sorted(
            (request.first_start_ns, decision.block)
            for request in self._requests.values()
            if (decision := self._decision(request)) is not None and request.first_start_ns < FOR_EVER
        )
        limits = [block for _, block in sent]
        for at in range(len(limits) - 2, -1, -1):
            limits[at] = min(limits[at], limits[at + 1])
        return [instant for instant, _ in sent], limits

    def _decision(self, request: _Request) -> Decision | None:
        """The journal's decision about this very request, not about another under its id."""
        found = self._replay.decisions.get(request.key)
        return found if found is not None and found.fingerprint == request.fingerprint else None

    def _latest(self, instant: int) -> int:
        """The last position that could be seen at `instant`."""
        instants, limits = self._limits
        at = bisect_right(instants, instant)
        return min(limits[at], self._replay.blocks) if at < len(limits) else self._replay.blocks

    def _walk(self) -> None:
        """Calls and reads in the order in which they ended: each is judged, and proves how far the journal had come."""
        numbered = list(enumerate(self._history.calls))
        steps: list[tuple[int, int, AnyCall | ReadBlock]] = [(call.end_ns, at, call) for at, call in numbered]
        steps += [(read.end_ns, -1, read) for read in self._history.reads]
        steps.sort(key=lambda step: step[:2])
        for end_ns, number, step in steps:
            proved = self._prove(step, number)
            if proved:
                self._proofs.add(end_ns, proved)

    def _prove(self, step: AnyCall | ReadBlock, number: int) -> int:
        """Judge one answer; the position it proves, 0 for none."""
        if isinstance(step, ReadBlock):
            at = self._read.get((step.first, step.hash))
            if at is None:
                self._wrong(Wrong.READ_LOST, f"the block at {step.first} with hash {step.hash.hex()}")
                return 0
            return at + 1
        if step.told in (Told.UNKNOWN, Told.NOTHING_WRITTEN):
            return 0
        if isinstance(step, LookUpAccounts | LookUpTransfers):
            return self._look_up(step)
        digest = step.fingerprint if isinstance(step, LookUpRequest) else self._digests[number]
        return self._answer(step, self._request(step, digest))

    # Answers about requests

    def _answer(self, call: Submit | LookUpRequest, request: _Request) -> int:
        decision = self._replay.decisions.get(request.key)
        if call.told is Told.NOT_DECIDED:
            if decision is not None and self._proofs.before(call.start_ns) > decision.block:
                self._wrong(Wrong.UNDECIDED_AFTER_ALL, f"{request.name}, entry {decision.seq}")
            return 0
        if decision is None:
            if call.told is not Told.ACCEPTED:  # that is judged at the end, once
                self._wrong(Wrong.ACKNOWLEDGED_LOST, f"{request.name} was answered {call.told}")
            return 0
        if call.told is Told.KEY_REUSED:
            if decision.fingerprint == request.fingerprint:
                self._wrong(Wrong.REPLY_DIFFERS, f"{request.name} was told that its id stands for another")
            return decision.block + 1
        if call.told is Told.DECIDED:
            if decision.fingerprint != request.fingerprint:
                self._wrong(Wrong.REPLY_DIFFERS, f"{request.name} was shown the results of another")
            else:
                self._compare(call.rows, request, decision)
            return decision.block + 1
        return 0

    def _compare(self, rows: bytes, request: _Request, decision: Decision) -> None:
        told = [(int(row["timestamp"]), int(row["status"])) for row in np.frombuffer(rows, RESULT)]
        expected = decision.results
        if len(told) != len(expected):
            what = f"{request.name}: {len(told)} results were told, of {len(expected)}"
            self._wrong(Wrong.REPLY_DIFFERS, what)
        for index, (found, due) in enumerate(zip(told, expected, strict=False)):
            # Without the model nobody knows the time of what `exists`.
            if found != due and (decision.by_model or found[1] != due[1]):
                what = f"{request.name}, entry {decision.seq + index}: (timestamp, status) {found} was told, not {due}"
                self._wrong(Wrong.REPLY_DIFFERS, what)
                return

    def _judge_requests(self) -> None:
        """What only the whole history tells about each request."""
        for request in self._requests.values():
            own = self._decision(request)
            if Told.ACCEPTED in request.told and request.key not in self._replay.decisions:
                self._wrong(Wrong.ACKNOWLEDGED_LOST, f"{request.name} was accepted")
            if request.new > 1:
                self._wrong(Wrong.NEW_TWICE, f"{request.name}: {request.new} answers called its outcome new")
            if own is not None:
                if request.told and request.told <= {Told.NOTHING_WRITTEN, Told.NOT_DECIDED}:
                    self._wrong(Wrong.WRITTEN_AFTER_ALL, f"{request.name}, entry {own.seq}")
                proved = self._proofs.before(request.first_start_ns)
                if request.first_start_ns < FOR_EVER and proved > own.block:
                    before = self._replay.firsts[proved - 1]
                    what = f"{request.name}, entry {own.seq}; the block at {before} was known when it was first sent"
                    self._wrong(Wrong.OUT_OF_ORDER, what)
            if self._is_open(request):
                self._wrong(Wrong.UNRESOLVED, request.name)

    def _is_open(self, request: _Request) -> bool:
        """Whether the last answer left the outcome open. "Not decided" settles only what never came to be."""
        own = self._decision(request)
        definite_ns = request.definite_ns if own is not None else max(request.definite_ns, request.not_decided_ns)
        return request.indefinite_ns > definite_ns

    def _unknown(self) -> Unknown:
        found = Counter[str]()
        for request in self._requests.values():
            if Told.UNKNOWN in request.told:
                found["requests"] += 1
                if self._is_open(request):
                    found["unsettled"] += 1
                elif self._decision(request) is None:
                    found["never_written"] += 1
                else:
                    found["by_look_up" if request.settled_by == "look-up" else "by_retry"] += 1
        return Unknown(**{name: found[name] for name in Unknown.__struct_fields__})

    # Look-ups of accounts and transfers

    def _look_up(self, call: LookUpAccounts | LookUpTransfers) -> int:
        if not self._replay.trusted:
            return 0  # the model is not where the journal is; that is a fault already
        self._looked_up += 1
        layout = SHOWN_ACCOUNT if isinstance(call, LookUpAccounts) else TRANSFER_EVENT
        known = self._replay.accounts if isinstance(call, LookUpAccounts) else self._replay.transfers
        size = layout.itemsize
        rows = [call.rows[at : at + size] for at in range(0, len(call.rows), size)]
        shown = {row[:16]: row for row in rows}
        asked = [call.ids[at : at + 16] for at in range(0, len(call.ids), 16)]
        noun = "account" if isinstance(call, LookUpAccounts) else "transfer"
        if len(shown) != len(rows) or not shown.keys() <= set(asked):
            self._wrong(Wrong.NEVER_TRUE, f"a look-up of {noun}s shows one twice, or one that it was not asked for")
            return 0
        low, high = self._proofs.before(call.start_ns), self._latest(call.end_ns)
        together = [(0, FOR_EVER)]
        for raw in asked:
            number = int.from_bytes(raw, "little")
            versions = known.get((call.tenant, number), NEVER_THERE)
            spans = versions.spans(shown.get(raw, NOT_THERE))
            name = f"{noun} {show(number)} of tenant {call.tenant}"
            if not spans:
                lost = versions is NEVER_THERE
                self._wrong(Wrong.SHOWN_LOST if lost else Wrong.NEVER_TRUE, f"{name}: {_told(call, shown[raw])}")
                return 0
            if earliest(spans, low, high) is None:
                stale = spans[0][0] <= high
                what = f"{name} as of {_blocks(spans)} blocks, while between {low} and {high} were decided"
                self._wrong(Wrong.STALE if stale else Wrong.AHEAD, what)
                return 0
            together = common(together, spans)
        proved = earliest(together, low, high)
        if proved is None:
            what = (
                f"{noun}s {_ids(asked)} of tenant {call.tenant} never looked so at once between {low} and {high} blocks"
            )
            self._wrong(Wrong.NEVER_TRUE, what)
            return 0
        return proved


def _told(call: LookUpAccounts | LookUpTransfers, row: bytes) -> str:
    """A row that never was, for people."""
    if isinstance(call, LookUpAccounts):
        event = np.frombuffer(row, SHOWN_ACCOUNT)[0]["event"]
        names = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")
        return ", ".join(f"{name} {int(event[name + '_lo']) | int(event[name + '_hi']) << 64}" for name in names)
    event = np.frombuffer(row, TRANSFER_EVENT)[0]
    return f"amount {int(event['amount_lo']) | int(event['amount_hi']) << 64}, timestamp {int(event['timestamp'])}"


def _blocks(spans: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"{low} to {'now' if high >= FOR_EVER else high}" for low, high in spans[-3:])


def _ids(raws: Sequence[bytes]) -> str:
    return ", ".join(show(int.from_bytes(raw, "little")) for raw in raws[:4])
