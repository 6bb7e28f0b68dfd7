"""The details of a decision: private, 104 bytes, beside the entries of the same block and covered by its seal.

They are not in the leaf on purpose (ADR 0004): a receipt shows its whole entry, and must not tell a suspect that
they are suspected, nor a customer how many sales a shop makes. The row of a seal holds its 32-byte salt where
others hold the fingerprint.
"""

from enum import IntEnum

import numpy as np

DETAILS_SIZE = 104
VERSION = 2
NO_POSITION = 0xFFFFFFFFFFFFFFFF
"""`…_previous` of an account's first entry."""


class Verdict(IntEnum):
    """What screening says of a command before it is decided."""

    ALLOW = 0
    REVIEW = 1
    REFUSE = 2


DETAILS = np.dtype(
    [
        ("fingerprint", "<u8", (4,)),  # of the request, in the row of its first entry; else zero
        ("debit_sequence", "<u8"),  # dense number of this entry in the debited account, from 1; 0: none moved
        ("debit_previous", "<u8"),  # seq of the entry before it there
        ("credit_sequence", "<u8"),
        ("credit_previous", "<u8"),
        ("pending_seq", "<u8"),  # seq of the pending transfer that this entry resolves; else 0
        ("device_pseudonym", "<u8"),
        ("network_pseudonym", "<u8"),
        ("reasons", "<u8"),  # screening: reason bits
        ("model_version", "<u2"),
        ("score", "<u2"),
        ("count", "<u2"),  # commands of the request, in the row of its first entry
        ("verdict", "u1"),
        ("version", "u1"),  # never zero, so no 512-byte sector of a block is all zero (ADR 0001)
    ]
)
assert DETAILS.itemsize == DETAILS_SIZE
