"""Do the engine and the model agree? Entries, details, accounts, pending transfers, held against each other.

What differs is an `AssertionError` that says what the two have. Used by scenario tables and property tests.
"""

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

import numpy as np

from tallystick.engine import lookups
from tallystick.lab.model import Decided, Key, Model, ModelAccount
from tallystick.lab.shard import Shard
from tallystick.ledger.books import Counter, find_in_books
from tallystick.ledger.compiled import U64
from tallystick.records.commands import ACCOUNT_EVENT, Kind
from tallystick.records.details import NO_POSITION
from tallystick.records.endings import Ending
from tallystick.statuses import STORED_MASK

_LOW = 0xFFFFFFFFFFFFFFFF
_LOOKED_UP = 4000
"""Ids in one look-up."""
_FIELDS = ("tenant", "created_at", "ledger", "code", "flag_bits", "user_data_64", "user_data_32")
_OURS = ("frozen", "sequence", "previous")
_WHOLE = ("id", "user_data_128", "debits_pending", "debits_posted", "credits_pending", "credits_posted", "credit_limit")


def whole(rows: Any, name: str) -> list[int]:
    """A column of 128-bit fields."""
    return [lo | hi << 64 for lo, hi in zip(rows[f"{name}_lo"].tolist(), rows[f"{name}_hi"].tolist(), strict=True)]


def compare_entries(shard: Shard, model: Model) -> None:
    """The block that was decided last is the one that the model made: every entry, what it moved, how it counts."""
    made = model.entries
    outcome = shard.draft.outcome
    count = 0 if outcome is None else len(outcome.entries) - 1
    if count != len(made):
        expiries = sum(each.kind is Kind.EXPIRY for each in made)
        raise AssertionError(f"the model makes {len(made)} entries ({expiries} expiries), the engine {count}")
    if outcome is None:
        return
    entries, details = outcome.entries.view(np.ndarray)[:-1], outcome.details.view(np.ndarray)[:-1]
    created = [int(each.status) == 0xFFFFFFFF for each in made]
    transfers = [done and each.kind is Kind.TRANSFER for done, each in zip(created, made, strict=True)]
    columns: dict[str, tuple[list[int], list[int]]] = {
        "seq": (entries["seq"].tolist(), [each.seq for each in made]),
        "timestamp": (entries["timestamp"].tolist(), [each.timestamp for each in made]),
        "kind": (entries["kind"].tolist(), [int(each.kind) for each in made]),
        "status": (entries["status"].tolist(), [int(each.status) & STORED_MASK for each in made]),
        "moved": (whole(entries, "moved"), [each.moved for each in made]),
        "pending_seq": (_where(created, details["pending_seq"]), _where(created, [each.pending_seq for each in made])),
        "flags": (_where(transfers, entries["flag_bits_effective"]), _where(transfers, [each.flags for each in made])),
        "timeout": (_where(transfers, entries["timeout_effective"]), _where(transfers, [e.timeout for e in made])),
    }
    for side in ("debit", "credit"):
        numbered = [getattr(each, side) for each in made]
        moved = [sequence > 0 for sequence, _ in numbered]
        columns[f"{side}_sequence"] = (details[f"{side}_sequence"].tolist(), [sequence for sequence, _ in numbered])
        previous = _where(moved, details[f"{side}_previous"])
        columns[f"{side}_previous"] = (previous, _where(moved, [position for _, position in numbered]))
    for name, (ours, theirs) in columns.items():
        if ours != theirs:
            _complain(name, ours, theirs, made)


def _where(chosen: list[bool], values: Any) -> list[int]:
    listed = values.tolist() if isinstance(values, np.ndarray) else values
    return [value if is_chosen else 0 for is_chosen, value in zip(chosen, listed, strict=True)]


def _complain(name: str, ours: list[int], theirs: list[int], made: list[Decided]) -> None:
    at = next(at for at, (one, other) in enumerate(zip(ours, theirs, strict=True)) if one != other)
    raise AssertionError(f"entry {at} of its block has {name} {ours[at]}, the model {theirs[at]}: {made[at]}")


def compare_books(shard: Shard, model: Model) -> None:
    """Every account is as the model has it, and so many pending transfers are open."""
    count = shard.decider.bookkeeper.count()
    rows = shard.decider.bookkeeper.books.rows.view(np.ndarray)[:count]
    columns = {name: rows[name].tolist() for name in (*_FIELDS, *_OURS, "touched")}
    columns |= {name: whole(rows, name) for name in _WHOLE}
    ours = {}
    for at in range(count):
        row = {name: column[at] for name, column in columns.items()}
        ours[row.pop("tenant"), row.pop("id")] = row
    theirs = {key: _as_row(account) for key, account in model.accounts.items()}
    if ours.keys() != theirs.keys():
        raise AssertionError(f"only one of the two has the accounts {sorted(ours.keys() ^ theirs.keys())}")
    for key, row in theirs.items():
        if ours[key] != row:
            differ = {name: (ours[key][name], row[name]) for name in row if ours[key][name] != row[name]}
            raise AssertionError(f"account {key} (engine, model): {differ}")
    opened = sum(one is not None and one.ending is Ending.OPEN for one in model.transfers.values())
    books = shard.decider.bookkeeper.books
    rows_used = books.pendings.view(np.ndarray)[: int(books.counters[Counter.PENDINGS])]
    ours_open = int((rows_used["ending"] == Ending.OPEN).sum())
    if ours_open != opened:
        raise AssertionError(f"{ours_open} pending transfers are open, {opened} by the model")


def _as_row(account: ModelAccount) -> dict[str, int]:
    plain = {name: getattr(account, name) for name in (*_WHOLE[2:], *_OURS, "created_at", "ledger", "code")}
    own = dict(zip(("user_data_128", "user_data_64", "user_data_32"), account.user_data, strict=True))
    return {**plain, **own, "flag_bits": account.flags, "touched": 0}


def look_up_account(shard: Shard, key: Key) -> ModelAccount | None:
    """What a look-up shows, as the model would have it; our counting left out."""
    shown, extra = lookups.accounts(shard.decider, key[0], [key[1]])
    if not len(shown):
        return None
    one: Mapping[str, Any] = {name: shown[name][0] for name in ACCOUNT_EVENT.names or ()}
    own = (whole(shown, "user_data_128")[0], int(one["user_data_64"]), int(one["user_data_32"]))
    names = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")
    return ModelAccount(
        created_at=int(one["timestamp"]),
        ledger=int(one["ledger"]),
        code=int(one["code"]),
        flags=int(one["flag_bits"]),
        user_data=own,
        **{name: whole(shown, name)[0] for name in names},
        credit_limit=whole(extra, "credit_limit")[0],
        frozen=int(extra["frozen"][0]),
        previous=NO_POSITION,
    )


def look_up_transfer(shard: Shard, key: Key) -> dict[str, int] | None:
    """What a look-up shows of a transfer."""
    found = lookups.transfers(shard.decider, key[0], [key[1]])
    if not len(found):
        return None
    return dict(zip(_field_names(found), next(_rows(found)), strict=True))


def _field_names(rows: Any) -> list[str]:
    return [name.removesuffix("_lo") for name in rows.dtype.names or () if not name.endswith("_hi")]


def _rows(rows: Any) -> Iterator[tuple[int, ...]]:
    names = [name for name in rows.dtype.names or () if not name.endswith("_hi")]
    columns = [whole(rows, name[:-3]) if name.endswith("_lo") else rows[name].tolist() for name in names]
    return zip(*columns, strict=True)


def compare_transfers(shard: Shard, model: Model) -> None:
    """A look-up shows every transfer as the model has it, and none that was refused."""
    keys = sorted(model.transfers)
    for begin in range(0, len(keys), _LOOKED_UP):
        for tenant, group in groupby(keys[begin : begin + _LOOKED_UP], key=lambda key: key[0]):
            ids = [number for _, number in group]
            found = lookups.transfers(shard.decider, tenant, ids)
            names = _field_names(found)
            ours = {row[0]: dict(zip(names, row, strict=True)) for row in _rows(found)}
            for number in ids:
                transfer = model.transfers[tenant, number]
                theirs = None if transfer is None else transfer.shown()
                if ours.get(number) != theirs:
                    key = (tenant, number)
                    raise AssertionError(f"transfer {key} is shown as {ours.get(number)}, by the model as {theirs}")


def set_balances(shard: Shard, model: Model, key: Key, values: Mapping[str, int]) -> None:
    """Put balances into both books by hand; what a restart forgets. For tables that start near an overflow."""
    books = shard.decider.bookkeeper.books
    row = int(find_in_books(books, U64(key[0]), U64(key[1] & _LOW), U64(key[1] >> 64)))
    for name, value in values.items():
        books.rows[f"{name}_lo"][row], books.rows[f"{name}_hi"][row] = value & _LOW, value >> 64
        setattr(model.accounts[key], name, value)
