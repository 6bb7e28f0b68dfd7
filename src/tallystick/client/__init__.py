"""The Python SDK (docs/sdk.md), and the HTTP that our own tools use.

What is named here is the SDK's surface; the modules below may change. Names are imported when they are first used:
the command line needs neither client, and would wait for aiohttp at each start.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tallystick.client.asynchronous import AsyncClient
    from tallystick.client.failures import ApiProblem, StillUnknown
    from tallystick.client.notifications import Notification, verify_webhook
    from tallystick.client.reading import (
        AccountFilter,
        Balances,
        Line,
        ListedAccount,
        ListedTransfer,
        TransferFilter,
    )
    from tallystick.client.synchronous import Client
    from tallystick.client.values import (
        Account,
        Condition,
        Leg,
        Limit,
        NewAccount,
        NewPayment,
        NewTransfer,
        Outcome,
        PaidLeg,
        Part,
        Payment,
        PaymentOutcome,
        Reversal,
        Transfer,
    )
    from tallystick.errors import (
        Invalid,
        InvalidProof,
        OutcomeUnknown,
        TallystickError,
        Unavailable,
    )

_HOMES = {
    "Account": "tallystick.client.values",
    "AccountFilter": "tallystick.client.reading",
    "ApiProblem": "tallystick.client.failures",
    "AsyncClient": "tallystick.client.asynchronous",
    "Balances": "tallystick.client.reading",
    "Client": "tallystick.client.synchronous",
    "Condition": "tallystick.client.values",
    "Invalid": "tallystick.errors",
    "InvalidProof": "tallystick.errors",
    "Leg": "tallystick.client.values",
    "Limit": "tallystick.client.values",
    "Line": "tallystick.client.reading",
    "ListedAccount": "tallystick.client.reading",
    "ListedTransfer": "tallystick.client.reading",
    "NewAccount": "tallystick.client.values",
    "NewPayment": "tallystick.client.values",
    "NewTransfer": "tallystick.client.values",
    "Notification": "tallystick.client.notifications",
    "Outcome": "tallystick.client.values",
    "OutcomeUnknown": "tallystick.errors",
    "PaidLeg": "tallystick.client.values",
    "Part": "tallystick.client.values",
    "Payment": "tallystick.client.values",
    "PaymentOutcome": "tallystick.client.values",
    "Reversal": "tallystick.client.values",
    "StillUnknown": "tallystick.client.failures",
    "TallystickError": "tallystick.errors",
    "Transfer": "tallystick.client.values",
    "TransferFilter": "tallystick.client.reading",
    "Unavailable": "tallystick.errors",
    "verify_webhook": "tallystick.client.notifications",
}

__all__ = [
    "Account",
    "AccountFilter",
    "ApiProblem",
    "AsyncClient",
    "Balances",
    "Client",
    "Condition",
    "Invalid",
    "InvalidProof",
    "Leg",
    "Limit",
    "Line",
    "ListedAccount",
    "ListedTransfer",
    "NewAccount",
    "NewPayment",
    "NewTransfer",
    "Notification",
    "Outcome",
    "OutcomeUnknown",
    "PaidLeg",
    "Part",
    "Payment",
    "PaymentOutcome",
    "Reversal",
    "StillUnknown",
    "TallystickError",
    "Transfer",
    "TransferFilter",
    "Unavailable",
    "verify_webhook",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
