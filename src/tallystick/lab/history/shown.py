"""How a look-up shows what the model holds: the bytes that an honest answer has."""

import struct

from tallystick.lab.history.calls import SHOWN_ACCOUNT
from tallystick.lab.model import Model
from tallystick.records import objects
from tallystick.records.commands import AccountFlag, TransferFlag

_EXTRA = struct.Struct("<16sII")


def account(model: Model, key: tuple[int, int]) -> bytes | None:
    """A `SHOWN_ACCOUNT` row; None if there is no such account."""
    found = model.accounts.get(key)
    if found is None:
        return None
    event = objects.pack_account(
        objects.Account(
            id=key[1],
            ledger=found.ledger,
            code=found.code,
            flags=AccountFlag(found.flags),
            debits_pending=found.debits_pending,
            debits_posted=found.debits_posted,
            credits_pending=found.credits_pending,
            credits_posted=found.credits_posted,
            user_data_128=found.user_data[0],
            user_data_64=found.user_data[1],
            user_data_32=found.user_data[2],
            timestamp=found.created_at,
        )
    )
    row = event + _EXTRA.pack(found.credit_limit.to_bytes(16, "little"), found.frozen, 0)
    assert len(row) == SHOWN_ACCOUNT.itemsize
    return row


def transfer(model: Model, key: tuple[int, int]) -> bytes | None:
    """A `TRANSFER_EVENT` row, `amount` what moved; None if no such transfer was created."""
    found = model.transfers.get(key)
    if found is None:
        return None
    shown = found.shown()
    flags = TransferFlag(shown.pop("flag_bits"))
    return objects.pack_transfer(objects.Transfer(flags=flags, **shown))
