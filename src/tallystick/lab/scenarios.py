"""Scenario tables: what a ledger should decide, one command a line, for people who know money and not Python.

    open      world  overdraft
    open      alice
    transfer  t1  world alice 100              -> created
    transfer  t2  alice world 80 pending timeout=1h
    transfer  t3  alice world 21               -> exceeds_credits
    post      t4  t2 60
    balance   alice  posted 40 available 40

`check` runs a table on the real engine, on a memory journal and a clock of its own, in each way of `WAYS`: how
commands are cut into blocks, and whether the engine is restarted between them, must make no difference. Each result
is held against the table and against `lab.model`, timestamps included, and so are all accounts and transfers, as
look-ups show them, after every block; at the end debits must equal credits. What does not come true is an
`AssertionError` that quotes the line; a line that cannot be read is an `Invalid`.

    open NAME [overdraft] [WORD…] [FIELD=NUMBER…]
    transfer NAME DEBIT CREDIT AMOUNT [WORD…] [FIELD=NUMBER…]
    post NAME PENDING [AMOUNT] [WORD…] [FIELD=…]     all of it without AMOUNT      void NAME PENDING [AMOUNT] […]
    freeze | unfreeze NAME [debits | credits | both]            limit NAME AMOUNT
    approve | reject TRANSFER                                   what screening wanted people to see
    request NAME [expires=DURATION] [-> replayed | idempotency_key_reused] … end      one request of several commands
    chain NAME … end                                 the same, each command linked with the next
    balance NAME [posted N] [available N] [debits N] [credits N] [debits_pending N] [credits_pending N] [limit N]
                 [frozen SIDE] [closed yes | no]
    lookup NAME nothing | [amount N] [debit NAME] [credit NAME] [FIELD N]…            account NAME nothing
    advance DURATION | advance until PENDING expires [DURATION]       time passes, and what is due expires
    cut                        what follows is decided in a block of its own
    tenant NAME
    set_balances NAME [FIELD=NUMBER…]       put into the books by hand; not for tables that restart

An account opens with `debits_must_not_exceed_credits` unless it says `overdraft` or another limit. WORD is a flag;
on a transfer also `reviewed` (screening wants people to see it) and `suspicious` (screening refuses it). Fields of
transfers may be `debit=NAME`, `credit=NAME`, `of=PENDING`, `timeout=DURATION`; of imported events `at=N` (N ns after
a day long ago) or `at=now-1ns`. Without `->`, success is expected. Names stand for ids, the same in every tenant; a
number is itself, `max` is 2^128 − 1, and `2^64-1` is worked out. DURATION is a number and ns, us, ms, s, m, h, d, y.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tallystick.lab.agreement import (
    compare_books,
    compare_entries,
    compare_transfers,
    look_up_account,
    look_up_transfer,
    set_balances,
)
from tallystick.lab.model import Event, Model, ModelAccount, Result
from tallystick.lab.scenario_commands import Command, Reader
from tallystick.lab.scenario_shown import hold_balances, hold_transfer
from tallystick.lab.scenario_words import (
    TABLES,
    Line,
    Names,
    duration,
    expected_status,
    lines_of,
    name_of,
    number,
    packed,
)
from tallystick.lab.shard import Shard
from tallystick.records.commands import Kind, frame
from tallystick.records.details import Verdict
from tallystick.statuses import RequestStatus

START_NS = 1_800_000_000_000_000_000
WAYS = ("alone", "together", "restarted")
"""Each request in a block of its own; all that follow each other in one; the first, with a restart after each."""
REVIEW_TIMEOUT_S = 3600


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


def check(
    table: str, accounts_max: int = 256, ways: Sequence[str] = WAYS, pendings_max: int = 256
) -> set[tuple[Kind, str]]:
    """Run a table in every way. Returns which statuses were reached, by kind of command and name."""
    lines = list(lines_of(table))
    if any(line.words[:1] == ["set_balances"] for line in lines):
        ways = [way for way in ways if way != "restarted"]
    reached: set[tuple[Kind, str]] = set()
    for way in ways:
        run = _Run(way, accounts_max, pendings_max)
        try:
            run.run(lines)
        except AssertionError as error:
            error.add_note(f"(each request {way})")
            raise
        reached |= {(told.kind, name_of(told.result.status)) for told in run.told}
    return reached


class _Run:
    """One way through one table."""

    def __init__(self, way: str, accounts_max: int, pendings_max: int) -> None:
        self._way = way
        self._verdicts: dict[tuple[int, int, int], Verdict] = {}
        self._model = Model(accounts_max, pendings_max, self._verdict_of, REVIEW_TIMEOUT_S)
        self._shard = Shard(
            accounts_max, pendings_max=pendings_max, verdict_of=self._verdict_of, review_timeout=REVIEW_TIMEOUT_S
        )
        self._now = START_NS
        self._reader = Reader(lambda: self._now)
        self._tenants = Names()
        self._tenant = 1
        self._waiting: list[Asked] = []
        self._open: tuple[Line, list[Command]] | None = None
        self._nameless = 1 << 100
        self._set_by_hand = False
        self.told: list[Told] = []

    def _verdict_of(self, event: Event) -> Verdict:
        return self._verdicts.get((event["tenant"], event["request_id"], event["index"]), Verdict.ALLOW)

    def run(self, lines: list[Line]) -> None:
        for line in lines:
            verb = line.words[0] if line.words else ""
            step = getattr(self, f"_do_{verb}", None)
            if step is None and not self._reader.reads(verb):
                raise line.invalid("begins with no word of a scenario table")
            try:
                if step is None:
                    self._ask(line)
                else:
                    step(line, line.words[1:])
            except (IndexError, KeyError, ValueError) as error:
                raise line.invalid(f"cannot be read ({error!r})") from error
        if self._open is not None:
            raise self._open[0].invalid("has no end")
        self._settle()
        compare_transfers(self._shard, self._model)
        if not self._set_by_hand:
            self._balanced()

    # Commands

    def _ask(self, line: Line) -> None:
        if any(word.startswith("at=now") for word in line.words):
            self._settle()
        command = self._reader.read(line)
        if self._open is not None:
            self._open[1].append(command)
        else:
            self._queue([command], None, None, 0)

    def _do_request(self, line: Line, words: list[str]) -> None:
        if self._open is not None:
            raise line.invalid("stands inside another request")
        if not words:
            raise line.invalid("has no name")
        self._open = (line, [])

    _do_chain = _do_request

    def _do_end(self, line: Line, words: list[str]) -> None:
        if self._open is None:
            raise line.invalid("ends no request")
        (first, commands), self._open = self._open, None
        if len({command.kind for command in commands}) != 1:
            raise first.invalid("needs commands, all of one kind")
        verb, name, *options = first.words
        if verb == "chain":
            for command in commands[:-1]:
                command.event["flag_bits"] |= 1
        expires_at = 0
        for option in options:
            if not option.startswith("expires="):
                raise first.invalid(f"has no option {option}")
            expires_at = self._now + duration(option.removeprefix("expires="))
        self._queue(commands, name, first, expires_at)

    def _queue(self, commands: list[Command], name: str | None, whole: Line | None, expires_at: int) -> None:
        if name is None:
            self._nameless += 1
            request_id = self._nameless
        else:
            request_id = self._reader.names[Kind.CONTROL].of(name)
        kind = commands[0].kind
        events = packed(kind, [command.event for command in commands])
        rows = frame(events, kind, self._tenant, request_id, self._now, expires_at)
        for index, command in enumerate(commands):
            self._verdicts.setdefault((self._tenant, request_id, index), command.verdict)
        self._waiting.append(Asked(rows, [command.line for command in commands], whole, kind))
        if self._way != "together":
            self._settle()

    # Everything else

    def _do_tenant(self, line: Line, words: list[str]) -> None:
        self._tenant = 1 + self._tenants.of(words[0]) % (1 << 64)

    def _do_cut(self, line: Line, words: list[str]) -> None:
        self._settle()

    def _do_advance(self, line: Line, words: list[str]) -> None:
        self._settle()
        if words[0] == "until":
            pending = self._model.transfers.get((self._tenant, self._reader.names[Kind.TRANSFER].of(words[1])))
            if pending is None or not pending.expires_at or words[2] != "expires":
                raise line.invalid("names no pending transfer that expires")
            then = pending.expires_at + (duration(words[3]) if words[3:] else 0)
            if then < self._now:
                raise line.invalid("lies in the past")
            self._now = then
        else:
            self._now += duration(words[0])
        self._decide([])

    def _do_set_balances(self, line: Line, words: list[str]) -> None:
        self._settle()
        key = (self._tenant, self._reader.names[Kind.ACCOUNT].of(words[0]))
        values = {name: number(value) for name, _, value in (word.partition("=") for word in words[1:])}
        set_balances(self._shard, self._model, key, values)
        self._set_by_hand = True

    def _do_balance(self, line: Line, words: list[str]) -> None:
        self._settle()
        found = self._look_up_account(words[0])
        if found is None:
            raise line.fail("there is no such account")
        hold_balances(line, words[1:], found)

    def _do_account(self, line: Line, words: list[str]) -> None:
        self._settle()
        if words[1] != "nothing":
            raise line.invalid("says neither a balance nor nothing")
        if self._look_up_account(words[0]) is not None:
            raise line.fail("there is such an account")

    def _do_lookup(self, line: Line, words: list[str]) -> None:
        self._settle()
        key = (self._tenant, self._reader.names[Kind.TRANSFER].of(words[0]))
        shown = look_up_transfer(self._shard, key)
        hold_transfer(line, words[1:], shown, self._reader.names[Kind.ACCOUNT])

    def _look_up_account(self, name: str) -> ModelAccount | None:
        return look_up_account(self._shard, (self._tenant, self._reader.names[Kind.ACCOUNT].of(name)))

    # Deciding

    def _settle(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._decide(waiting)

    def _decide(self, waiting: list[Asked]) -> None:
        requests = [asked.commands for asked in waiting]
        decided = self._shard.decide(requests, self._now)
        predicted = self._model.decide(requests, self._now)
        at = 0
        for asked in waiting:
            for place, line in enumerate(asked.lines):
                self._judge(line, asked, decided[at + place], predicted[at + place])
            at += len(asked.lines)
        compare_entries(self._shard, self._model)
        compare_books(self._shard, self._model)
        self._now += len(self._model.entries)
        if self._way == "restarted" and self._model.entries:
            self._shard.restart()
            compare_books(self._shard, self._model)

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
        for key in self._model.accounts:
            found = look_up_account(self._shard, key)
            if found is None:
                raise AssertionError(f"the ledger lost account {key}")
            of = (key[0], found.ledger)
            posted, pending = found.debits_posted - found.credits_posted, found.debits_pending - found.credits_pending
            sums[of] = sums.get(of, 0) + posted + (pending << 200)
        if any(sums.values()):
            raise AssertionError(f"debits are not credits, by tenant and ledger: {sums}")
