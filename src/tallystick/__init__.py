"""Tallystick: the money core of a neo-bank. `Ledger.open(path)` is the engine as a library; `tally` is the rest.

What a program needs stands here by name. Each is imported when it is first used, so that `tally --help`, and services
that need only a part, do not pay for the whole.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tallystick.compose.library import AsyncLedger, Ledger
    from tallystick.records.changes import AccountBalance, ChangeEvent, ChangeEventType
    from tallystick.records.commands import AccountFlag, Side, TransferFlag
    from tallystick.records.filters import (
        AccountFilter,
        AccountFilterFlag,
        ChangeEventsFilter,
        QueryFilter,
        QueryFilterFlag,
    )
    from tallystick.records.objects import Account, CreateAccountResult, CreateTransferResult, Transfer
    from tallystick.statuses import AccountStatus, ControlStatus, TransferStatus

__all__ = [
    "Account",
    "AccountBalance",
    "AccountFilter",
    "AccountFilterFlag",
    "AccountFlag",
    "AccountStatus",
    "AsyncLedger",
    "ChangeEvent",
    "ChangeEventType",
    "ChangeEventsFilter",
    "ControlStatus",
    "CreateAccountResult",
    "CreateTransferResult",
    "Ledger",
    "QueryFilter",
    "QueryFilterFlag",
    "Side",
    "Transfer",
    "TransferFlag",
    "TransferStatus",
]

_HOMES = {
    "tallystick.compose.library": {"AsyncLedger", "Ledger"},
    "tallystick.records.changes": {"AccountBalance", "ChangeEvent", "ChangeEventType"},
    "tallystick.records.filters": {
        "AccountFilter",
        "AccountFilterFlag",
        "ChangeEventsFilter",
        "QueryFilter",
        "QueryFilterFlag",
    },
    "tallystick.records.commands": {"AccountFlag", "Side", "TransferFlag"},
    "tallystick.records.objects": {"Account", "CreateAccountResult", "CreateTransferResult", "Transfer"},
    "tallystick.statuses": {"AccountStatus", "ControlStatus", "TransferStatus"},
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
