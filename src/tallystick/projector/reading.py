"""What the projector answers to gateways: balances, statements, searches, totals; each from one moment of the tables.

A reader has tables of its own, read only, and each answer one transaction, so it sees one commit of the follower
and holds up none. A question that names a position waits for it a little. Every statement may be interrupted when the
time of its asker is over.
"""

import threading
from collections.abc import Callable
from typing import Any

import msgspec

from tallystick.clock import Clock
from tallystick.errors import Corrupt, Invalid, Unavailable
from tallystick.inquiries import reads
from tallystick.inquiries.port import NotFound
from tallystick.inquiries.reads import POSITION_WAIT_S, Asked, Read
from tallystick.journal.port import JournalReader
from tallystick.projector import columns, cursors, lines, printing
from tallystick.projector.finding import AMOUNT_KEY_MAX, Sought, page
from tallystick.projector.port import Tables
from tallystick.projector.searching import Condition, Wanted
from tallystick.projector.shown import ACCOUNT, TRANSFER
from tallystick.records.commands import AccountFlag, Side, TransferFlag
from tallystick.records.endings import Ending

SEARCH_S = 0.1
"""How long a page of a search may take before it ends early."""
_FROZEN = {0: "none", Side.DEBITS: "debits", Side.CREDITS: "credits", Side.BOTH: "both"}
_STATES = {
    int(Ending.OPEN): "open",
    int(Ending.POSTED): "posted",
    int(Ending.VOIDED): "voided",
    int(Ending.EXPIRED): "expired",
}
_encoder = msgspec.json.Encoder()


class Reached:
    """The position that the follower has committed, for readers who wait for one."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._position = 0

    def move(self, position: int) -> None:
        """The follower is there now."""
        if position != self._position:
            with self._changed:
                self._position = position
                self._changed.notify_all()

    def wait(self, position: int, seconds: float) -> bool:
        """Whether it is there, after waiting so long at most."""
        with self._changed:
            return self._changed.wait_for(lambda: self._position >= position, seconds)


class Reader:
    """One worker's connection. See `inquiries.port.Handler`."""

    def __init__(self, tables: Tables, key: bytes, clock: Clock, reached: Reached, journal: JournalReader) -> None:
        """`key` signs cursors; the `tables` become this reader's, and the `journal`, for its end."""
        self._tables = tables
        self._key = key
        self._clock = clock
        self._reached = reached
        self._journal = journal

    def close(self) -> None:
        """Let go of tables and journal."""
        self._tables.close()
        self._journal.close()

    def __call__(self, operation: str, tenant: int, body: bytes, left_s: float) -> bytes:
        """See `inquiries.port.Handler`."""
        answer = _ANSWERS.get(operation)
        if answer is None:
            raise Invalid("operation", f"{operation} is none of the projector's")
        try:
            asked = reads.decode_asked(operation, body)
        except msgspec.DecodeError as error:
            raise Invalid("", f"the question cannot be understood: {error}") from error
        began_ns = self._clock.monotonic_ns()
        self._wait(asked.position, min(left_s, POSITION_WAIT_S))
        left_s -= (self._clock.monotonic_ns() - began_ns) / 1e9
        with self._tables.telling(), self._tables.at_one_moment(max(left_s, 0.0)):
            [position] = self._tables.execute("SELECT next_seq FROM cursor").fetchone()
            if position < asked.position:  # what was reached and not on disk yet may be lost with the database's server
                raise Unavailable(f"position {asked.position} is not reached again yet; try again")
            return reads.encode(answer(self, _Moment(self._tables, tenant, position), asked))

    def _wait(self, position: int, seconds: float) -> None:
        if position and not self._reached.wait(position, 0):
            end = self._journal.end()
            if position > end:
                raise Invalid("Tally-Position", f"is past the journal's end, {end}")
            if not self._reached.wait(position, seconds):
                raise Unavailable(f"position {position} is not reached yet; try again")

    def _elapsed_since(self) -> Callable[[], float]:
        began_ns = self._clock.monotonic_ns()
        return lambda: (self._clock.monotonic_ns() - began_ns) / 1e9

    def _continued(self, moment: "_Moment", asked: Asked) -> tuple[bytes, int, int | None]:
        """The question in bytes, the position that its pages are of, and the place where this one begins."""
        question = reads.encode(msgspec.structs.replace(asked, cursor="", limit=1, position=0))
        if not asked.cursor:
            return question, moment.position, None
        position, place = cursors.read(self._key, moment.tenant, question, asked.cursor)
        if position > moment.position:
            raise Unavailable(f"position {position} is not reached again yet; try again")
        return question, position, place

    def balance(self, moment: "_Moment", asked: reads.BalanceAsked) -> Read:
        """Balances of one account."""
        account = moment.account(asked.account_id)
        position = moment.position
        if asked.at_position is not None:
            if asked.at_position > position:
                raise Invalid("at_position", f"is past the end, {position}")
            position = asked.at_position
        elif asked.at_ns is not None:
            position = lines.first_from(moment.tables, position, asked.at_ns + 1)
        if account.seq >= position:
            raise NotFound(f"account {asked.account_id.hex()} was opened later")
        sequence, balances = lines.last_before(moment.tables, account, position)
        out = reads.BalanceOut(
            account_id=asked.account_id.hex(),
            ledger=account.ledger,
            code=account.code,
            position=str(position),
            sequence=str(sequence),
            balances=printing.balances(balances),
        )
        return Read(moment.position, "", _encoder.encode(out))

    def statement(self, moment: "_Moment", asked: reads.StatementAsked) -> Read:
        """A page of an account's lines."""
        account = moment.account(asked.account_id)
        question, position, place = self._continued(moment, asked)
        tables = moment.tables
        until = asked.until_ns
        end = position if until is None else lines.first_from(tables, position, until)
        first = lines.first_from(tables, end, asked.since_ns) if place is None and asked.since_ns else place or 0
        sequence, opening = lines.last_before(tables, account, first)
        found = lines.between(tables, account, first, end, asked.limit + 1)
        if found and found[0].sequence != sequence + 1:
            raise Corrupt(f"line {sequence} of account {asked.account_id.hex()} is followed by {found[0].sequence}")
        following = found[asked.limit :]
        last = found[-1].sequence if found else sequence
        if end == moment.position and not following and last != account.lines:
            raise Corrupt(f"line {last} of account {asked.account_id.hex()} is the last one found, not {account.lines}")
        cursor = cursors.make(self._key, moment.tenant, question, position, following[0].seq) if following else ""
        out = printing.statement(
            asked.account_id, account, position, sequence, opening, found[: asked.limit], cursor or None
        )
        return Read(position, cursor, printing.as_media(asked.media, out, _encoder))

    def transfers(self, moment: "_Moment", asked: reads.TransfersAsked) -> Read:
        """A page of transfers."""
        question, position, place = self._continued(moment, asked)
        tables, tenant = moment.tables, moment.tenant
        end = position if asked.until_ns is None else lines.first_from(tables, position, asked.until_ns)
        first = lines.first_from(tables, end, asked.since_ns) if asked.since_ns else 0
        if place is not None:
            first, end = (max(first, place), end) if asked.oldest_first else (first, min(end, place))
        sought = _sought_transfers(moment, asked)
        found = page(
            tables, tenant, sought, _TRANSFER, (first, end), asked.limit, asked.oldest_first,
            self._elapsed_since(), SEARCH_S,
        )  # fmt: skip
        cursor = "" if found.place is None else cursors.make(self._key, tenant, question, position, found.place)
        shown = [_transfer(row) for row in found.rows]
        out = reads.TransfersFound(transfers=shown, position=str(position), cursor=cursor or None)
        return Read(position, cursor, _encoder.encode(out))

    def accounts(self, moment: "_Moment", asked: reads.AccountsAsked) -> Read:
        """A page of accounts."""
        question, position, place = self._continued(moment, asked)
        conditions = _own_conditions("accounts", moment.tenant, asked)
        sought = Sought("accounts", conditions, [], [])
        found = page(
            moment.tables, moment.tenant, sought, _ACCOUNT, (place or 0, position), asked.limit, True,
            self._elapsed_since(), SEARCH_S,
        )  # fmt: skip
        cursor = "" if found.place is None else cursors.make(self._key, moment.tenant, question, position, found.place)
        shown = [_account(row, moment, position) for row in found.rows]
        out = reads.AccountsFound(accounts=shown, position=str(position), cursor=cursor or None)
        return Read(position, cursor, _encoder.encode(out))

    def totals(self, moment: "_Moment", asked: reads.TotalsAsked) -> Read:
        """Trial balances."""
        rows = moment.tables.execute(
            "SELECT * FROM totals WHERE tenant = ? AND (? = 0 OR ledger = ?) ORDER BY ledger, code",
            (columns.to_signed(moment.tenant), asked.ledger, asked.ledger),
        ).fetchall()
        out = reads.TotalsOut(ledgers=printing.ledgers(rows), position=str(moment.position))
        return Read(moment.position, "", _encoder.encode(out))


class _Moment:
    """What one answer sees: a tenant's rows as of the cursor."""

    def __init__(self, tables: Tables, tenant: int, position: int) -> None:
        self.tables = tables
        self.tenant = tenant
        self.position = position

    def account(self, account_id: bytes) -> lines.Account:
        """The account. Raises `NotFound`."""
        found = lines.account(self.tables, self.tenant, account_id)
        if found is None:
            raise NotFound(f"this tenant has no account {account_id.hex()}")
        return found


_ANSWERS: dict[str, Callable[[Reader, _Moment, Any], Read]] = {
    "balance": Reader.balance,
    "statement": Reader.statement,
    "transfers": Reader.transfers,
    "accounts": Reader.accounts,
    "totals": Reader.totals,
}
_TRANSFER = Wanted(f"{TRANSFER.columns}, t.debit_sequence, t.credit_sequence, t.metadata, t.ending", TRANSFER.joins)
_ACCOUNT = Wanted(ACCOUNT.columns, ACCOUNT.joins)


def _own_conditions(table: str, tenant: int, asked: reads.TransfersAsked | reads.AccountsAsked) -> list[Condition]:
    signed = columns.to_signed(tenant)
    values: dict[str, Any] = {
        "user_data_128": asked.user_data_128,
        "user_data_64": columns.to_signed(asked.user_data_64),
        "user_data_32": asked.user_data_32,
        "code": asked.code,
        "ledger": asked.ledger,
    }
    return [
        Condition(f"{table}_by_{field}", f"t.tenant = ? AND t.{field} = ?", (signed, value))
        for field, value in values.items()
        if value
    ]


def _sought_transfers(moment: _Moment, asked: reads.TransfersAsked) -> Sought:
    tenant = columns.to_signed(moment.tenant)
    conditions = _own_conditions("transfers", moment.tenant, asked)
    if asked.metadata:
        terms = "t.tenant = ? AND t.metadata = ?"
        conditions.append(Condition("transfers_by_metadata", terms, (tenant, asked.metadata)))
    sides: list[Condition] = []
    if asked.account_id:
        seq = moment.account(asked.account_id).seq
        sides = [Condition(f"transfers_by_{side}", f"t.{side} = ?", (seq,)) for side in ("debit", "credit")]
    filters: list[tuple[str, tuple[Any, ...]]] = []
    amounts = None
    if asked.amount_min or asked.amount_max:
        least = asked.amount_min or bytes(16)
        most = asked.amount_max or b"\xff" * 16
        keys = tuple(min(int.from_bytes(each, "big"), AMOUNT_KEY_MAX) for each in (least, most))
        filters.append(("t.amount BETWEEN ? AND ?", (least, most)))
        if keys[0] == keys[1]:
            terms = "t.tenant = ? AND t.amount_key = ?"
            conditions.append(Condition("transfers_by_amount", terms, (tenant, keys[0])))
        else:
            amounts = (keys[0], keys[1])
    return Sought("transfers", conditions, sides, filters, amounts)


def _hex(blob: bytes | None) -> str:
    return (blob or bytes(16)).hex()


def _flags(bits: int, flags: type[AccountFlag] | type[TransferFlag]) -> list[str]:
    return [str(flag.name).lower() for flag in flags if bits & flag]


def _transfer(row: tuple[Any, ...]) -> reads.TransferFound:
    (
        seq, number, debit, credit, amount, pending, own, u64, u32, timeout, ledger, code, flags, timestamp,
        debit_sequence, credit_sequence, metadata, ending,
    ) = row  # fmt: skip
    return reads.TransferFound(
        id=number.hex(),
        debit_account_id=debit.hex(),
        credit_account_id=credit.hex(),
        amount=str(int.from_bytes(amount, "big")),
        pending_id=_hex(pending),
        user_data_128=_hex(own),
        user_data_64=str(columns.unsigned(u64)),
        user_data_32=columns.unsigned(u32),
        timeout=timeout,
        ledger=ledger,
        code=code,
        flags=_flags(flags, TransferFlag),
        timestamp=str(timestamp),
        position=str(seq),
        debit_sequence=str(debit_sequence),
        credit_sequence=str(credit_sequence),
        metadata_commitment=msgspec.UNSET if metadata is None else metadata.hex(),
        state=_STATES.get(ending, msgspec.UNSET),
    )


def _account(row: tuple[Any, ...], moment: _Moment, position: int) -> reads.AccountFound:
    seq, number, _, _, _, _, own, u64, u32, ledger, code, flags, timestamp, limit, frozen = row
    # Of the first page's position, though later pages come from a later commit.
    account = lines.Account(seq, ledger, code, timestamp, 0)
    sequence, balances = lines.last_before(moment.tables, account, position)
    return reads.AccountFound(
        id=number.hex(),
        debits_pending=str(balances[0]),
        debits_posted=str(balances[1]),
        credits_pending=str(balances[2]),
        credits_posted=str(balances[3]),
        user_data_128=_hex(own),
        user_data_64=str(columns.unsigned(u64)),
        user_data_32=columns.unsigned(u32),
        ledger=ledger,
        code=code,
        flags=_flags(flags, AccountFlag),
        timestamp=str(timestamp),
        credit_limit=str(int.from_bytes(limit, "big")),
        frozen=_FROZEN[frozen],
        sequence=str(sequence),
    )
