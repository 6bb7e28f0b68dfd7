"""The ledger in plain Python: integers, dicts, one command after the other. Slow, and obvious on purpose.

Written from the documents (TigerBeetle's reference and public tests, docs/design.md), not from the kernel: it shares
no arithmetic, no hashing and no ladder with it. Whoever wants to know what Tallystick would decide can ask here and
read why; scenario tables, property tests and `tally torture` hold the kernel against it, result by result.

    requests ─► batches.Model ─► accounts | transfers ─ pendings | controls ─► books      events: a command as a dict
"""

from tallystick.lab.model.batches import Model
from tallystick.lab.model.books import ModelAccount, ModelTransfer
from tallystick.lab.model.decided import Decided, Result
from tallystick.lab.model.events import U128_MAX, Event, Key

__all__ = ["U128_MAX", "Decided", "Event", "Key", "Model", "ModelAccount", "ModelTransfer", "Result"]
