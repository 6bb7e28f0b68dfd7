"""Scenario tables: what a ledger should decide, one command a line, for people who know money and not Python.

    open      world  overdraft
    open      alice
    transfer  t1  world alice 100  -> created
    transfer  t2  alice world 101  -> exceeds_credits
    balance   alice  posted 100 available 100

`check` runs a table on the real engine, on a memory journal and a clock of its own, in each way of `WAYS`: how
commands are cut into blocks, and whether the engine is restarted between them, must make no difference. Each result
is held against the table and against `lab.model`, timestamps included; at the end debits must equal credits. What
does not come true is an `AssertionError` that quotes the line; a line that cannot be read is an `Invalid`.

    open NAME [overdraft] [WORD…] [FIELD=NUMBER…]
    transfer NAME DEBIT CREDIT AMOUNT [WORD…] [FIELD=NUMBER…]
    freeze | unfreeze NAME [debits | credits | both]            limit NAME AMOUNT
    request NAME [expires=DURATION] [-> replayed | idempotency_key_reused] … end      one request of several commands
    balance NAME [posted N] [available N] [debits N] [credits N] [limit N] [frozen SIDE]
    lookup NAME amount N | nothing                              account NAME nothing
    tenant NAME                                                 advance DURATION

An account opens with `debits_must_not_exceed_credits` unless it says `overdraft` or another limit. WORD is a flag.
Without `->`, success is expected. Names stand for ids, the same in every tenant; a number is itself, `max` is
2^128 − 1, and `2^64-1` is worked out. DURATION is a number and ns, us, ms, s, m, h or d.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tallystick.engine import lookups
from tallystick.lab.model import Model, Result
from tallystick.lab.scenario_words import (
    SIDES,
    TABLES,
    Line,
    Names,
    duration,
    expected_status,
    lines_of,
    name_of,
    number,
    packed,
    side,
    whole_field,
)
from tallystick.lab.shard import Shard
from tallystick.records.commands import EVENTS, AccountFlag, Kind, Opcode, Side, TransferFlag, frame
from tallystick.statuses import RequestStatus

START_NS = 1_800_000_000_000_000_000
WAYS = ("alone", "together", "restarted")
"""Each request in a block of its own; all that follow each other in one; the first, with a restart after each."""
_LIMITS = AccountFlag.DEBITS_MUST_NOT_EXCEED_CREDITS | AccountFlag.CREDITS_MUST_NOT_EXCEED_DEBITS


@dataclass(frozen=True)
class Asked:
    """One request of a table: its commands, and the line that says what becomes of each."""

    commands: npt.NDArray[np.void]
    lines: list[Line]
    whole: Line | None
    kind: Kind


@dataclass(frozen=True)
class Told:
    """What was answered about one command of a table."""

    line: Line
    kind: Kind
    result: Result


def check(table: str, accounts_max: int = 256, ways: Sequence[str] = WAYS) -> set[tuple[Kind, str]]:
    """Run a table in every way. Returns which statuses were reached, by kind of command and name."""
    lines = list(lines_of(table))
    reached: set[tuple[Kind, str]] = set()
    for way in ways:
        run = _Run(way, accounts_max)
        try:
            run.run(lines)
        except AssertionError as error:
            error.add_note(f"(each request {way})")
            raise
        reached |= {(told.kind, name_of(told.result.status)) for told in run.told}
    return reached


class _Run:
    """One way through one table."""

    def __init__(self, way: str, accounts_max: int) -> None:
        self._way = way
        self._shard = Shard(accounts_max)
        self._model = Model(accounts_max=accounts_max)
        self._now = START_NS
        self._names = {kind: Names() for kind in (Kind.ACCOUNT, Kind.TRANSFER, Kind.CONTROL)}
        self._tenants = Names()
        self._tenant = 1
        self._waiting: list[Asked] = []
        self._open: tuple[Line, list[tuple[Line, Kind, dict[str, int]]]] | None = None
        self._nameless = 1 << 100
        self.told: list[Told] = []

    def run(self, lines: list[Line]) -> None:
        for line in lines:
            verb = line.words[0] if line.words else ""
            step = getattr(self, f"_do_{verb}", None)
            if step is None:
                raise line.invalid("begins with no word of a scenario table")
            try:
                step(line, line.words[1:])
            except (IndexError, KeyError, ValueError) as error:
                raise line.invalid(f"cannot be read ({error!r})") from error
        if self._open is not None:
            raise self._open[0].invalid("has no end")
        self._settle()
        self._balanced()

    # Commands

    def _do_open(self, line: Line, words: list[str]) -> None:
        event = {"id": self._names[Kind.ACCOUNT].of(words[0]), "ledger": 1, "code": 1}
        flags = AccountFlag(0)
        for word in words[1:]:
            if "=" in word:
                self._set(event, Kind.ACCOUNT, word)
            elif word != "overdraft":
                flags |= AccountFlag[word.upper()]
        if not flags & _LIMITS and "overdraft" not in words:
            flags |= AccountFlag.DEBITS_MUST_NOT_EXCEED_CREDITS
        self._ask(line, Kind.ACCOUNT, {"flag_bits": int(flags), **event})

    def _do_transfer(self, line: Line, words: list[str]) -> None:
        accounts = self._names[Kind.ACCOUNT]
        event = {
            "id": self._names[Kind.TRANSFER].of(words[0]),
            "debit_account_id": accounts.of(words[1]),
            "credit_account_id": accounts.of(words[2]),
            "amount": number(words[3]),
            "ledger": 1,
            "code": 1,
        }
        flags = TransferFlag(0)
        for word in words[4:]:
            if "=" in word:
                self._set(event, Kind.TRANSFER, word)
            else:
                flags |= TransferFlag[word.upper()]
        self._ask(line, Kind.TRANSFER, {"flag_bits": int(flags), **event})

    def _do_freeze(self, line: Line, words: list[str]) -> None:
        self._control(line, Opcode.FREEZE, words, side(words[1:]))

    def _do_unfreeze(self, line: Line, words: list[str]) -> None:
        self._control(line, Opcode.UNFREEZE, words, side(words[1:]))

    def _do_limit(self, line: Line, words: list[str]) -> None:
        self._control(line, Opcode.CREDIT_LIMIT, words, number(words[1]))

    def _control(self, line: Line, opcode: Opcode, words: list[str], value: int) -> None:
        event = {"account_id": self._names[Kind.ACCOUNT].of(words[0]), "opcode": int(opcode), "value": int(value)}
        for word in words[1:]:
            if "=" in word:
                self._set(event, Kind.CONTROL, word)
        self._ask(line, Kind.CONTROL, event)

    def _set(self, event: dict[str, int], kind: Kind, word: str) -> None:
        name, _, value = word.partition("=")
        name = "flag_bits" if name == "flags" else name
        names = EVENTS[kind].names or ()
        if name not in names and f"{name}_lo" not in names:
            raise ValueError(f"a {kind.name.lower()} has no field {name}")
        event[name] = number(value)

    def _do_request(self, line: Line, words: list[str]) -> None:
        if self._open is not None:
            raise line.invalid("stands inside another request")
        self._open = (line, [])

    def _do_end(self, line: Line, words: list[str]) -> None:
        if self._open is None:
            raise line.invalid("ends no request")
        (first, commands), self._open = self._open, None
        kinds = {kind for _, kind, _ in commands}
        if len(kinds) != 1:
            raise first.invalid("needs commands, all of one kind")
        name, *options = first.words[1:]
        expires_at = 0
        for option in options:
            if not option.startswith("expires="):
                raise first.invalid(f"has no option {option}")
            expires_at = self._now + duration(option.removeprefix("expires="))
        self._queue([one for one, _, _ in commands], kinds.pop(), [e for _, _, e in commands], name, first, expires_at)

    def _ask(self, line: Line, kind: Kind, event: dict[str, int]) -> None:
        if self._open is not None:
            self._open[1].append((line, kind, event))
        else:
            self._queue([line], kind, [event], None, None, 0)

    def _queue(
        self,
        lines: list[Line],
        kind: Kind,
        events: list[dict[str, int]],
        name: str | None,
        whole: Line | None,
        expires_at: int,
    ) -> None:
        if name is None:
            self._nameless += 1
            request_id = self._nameless
        else:
            request_id = self._names[Kind.CONTROL].of(name)
        commands = frame(packed(kind, events), kind, self._tenant, request_id, self._now, expires_at)
        self._waiting.append(Asked(commands, lines, whole, kind))
        if self._way != "together":
            self._settle()

    # Everything else

    def _do_tenant(self, line: Line, words: list[str]) -> None:
        self._tenant = 1 + self._tenants.of(words[0]) % (1 << 64)

    def _do_advance(self, line: Line, words: list[str]) -> None:
        self._settle()
        self._now += duration(words[0])

    def _do_balance(self, line: Line, words: list[str]) -> None:
        self._settle()
        found = self._look_up_account(words[0])
        if found is None:
            raise line.fail("there is no such account")
        shown, extra = found
        debits, credits, limit = (
            whole_field(shown, "debits_posted"),
            whole_field(shown, "credits_posted"),
            whole_field(extra, "credit_limit"),
        )
        said = {
            "debits": debits,
            "credits": credits,
            "posted": credits - debits,
            "available": credits - debits + limit,
            "limit": limit,
        }
        for name, value in zip(words[1::2], words[2::2], strict=True):
            if name == "frozen":
                if int(extra["frozen"]) != SIDES[value]:
                    raise line.fail(f"frozen is {Side(int(extra['frozen']))!r}")
            elif said[name] != (-number(value[1:]) if value.startswith("-") else number(value)):
                raise line.fail(f"{name} is {said[name]}")

    def _do_account(self, line: Line, words: list[str]) -> None:
        self._settle()
        if words[1] != "nothing":
            raise line.invalid("says neither a balance nor nothing")
        if self._look_up_account(words[0]) is not None:
            raise line.fail("there is such an account")

    def _do_lookup(self, line: Line, words: list[str]) -> None:
        self._settle()
        found = lookups.transfers(self._shard.decider, self._tenant, [self._names[Kind.TRANSFER].of(words[0])])
        if words[1] == "nothing":
            if len(found):
                raise line.fail("there is such a transfer")
        elif words[1] != "amount":
            raise line.invalid("says neither amount nor nothing")
        elif len(found) != 1 or whole_field(found[0], "amount") != number(words[2]):
            raise line.fail(f"found {[whole_field(row, 'amount') for row in found]}")

    def _look_up_account(self, name: str) -> tuple[Any, Any] | None:
        shown, extra = lookups.accounts(self._shard.decider, self._tenant, [self._names[Kind.ACCOUNT].of(name)])
        return (shown[0], extra[0]) if len(shown) else None

    # Deciding

    def _settle(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        requests = [asked.commands for asked in waiting]
        decided = self._shard.decide(requests, self._now)
        predicted = self._model.decide(requests, self._now)
        self._now += len(decided) + 1
        at = 0
        for asked in waiting:
            for place, line in enumerate(asked.lines):
                self._judge(line, asked, decided[at + place], predicted[at + place])
            at += len(asked.lines)
        if self._way == "restarted":
            self._shard.restart()

    def _judge(self, line: Line, asked: Asked, row: tuple[int, int, int], predicted: Result) -> None:
        timestamp, status, replayed = row
        if status == RequestStatus.IDEMPOTENCY_KEY_REUSED:
            result = Result(timestamp, RequestStatus.IDEMPOTENCY_KEY_REUSED)
        else:
            result = Result(timestamp, TABLES[asked.kind](status), bool(replayed))
        self.told.append(Told(line, asked.kind, result))
        expected = asked.whole.expected if asked.whole else None
        if expected == "idempotency_key_reused":
            if result.status is not RequestStatus.IDEMPOTENCY_KEY_REUSED:
                raise line.fail(f"the request got {name_of(result.status)}, not {expected}")
        else:
            if expected not in (None, "replayed"):
                raise asked.whole.invalid("expects neither replayed nor idempotency_key_reused")  # type: ignore[union-attr]
            if result.replayed != (expected == "replayed"):
                raise line.fail("was decided again" if expected else "was not decided: it repeats an earlier request")
            if name_of(result.status) != expected_status(line, asked.kind):
                raise line.fail(f"got {name_of(result.status)}")
        if result != predicted:
            raise line.fail(f"the ledger said {result}, its model {predicted}")

    def _balanced(self) -> None:
        sums: dict[tuple[int, int], int] = {}
        books = self._shard.decider.bookkeeper.books
        for row in books.rows.view(np.ndarray)[: self._shard.decider.bookkeeper.count()]:
            key = (int(row["tenant"]), int(row["ledger"]))
            sums[key] = sums.get(key, 0) + whole_field(row, "debits_posted") - whole_field(row, "credits_posted")
        if any(sums.values()):
            raise AssertionError(f"debits are not credits, by tenant and ledger: {sums}")
