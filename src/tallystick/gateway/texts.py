"""Text that comes with payments, on every way in: checked where it stands, kept before the payment is submitted.

So an acknowledged payment never has a commitment to a text that was lost. A text whose payment is then refused stays
kept; nothing names it, and it goes with its person's key.
"""

import asyncio
from collections.abc import Iterable, Sequence

from msgspec import UNSET, UnsetType

from tallystick import ids
from tallystick.errors import Invalid
from tallystick.gateway import shapes
from tallystick.gateway.calls import Call
from tallystick.metadata.fields import check_fields, check_person
from tallystick.metadata.store import Text
from tallystick.records.commitments import COMMITMENT_SIZE

NONE = bytes(COMMITMENT_SIZE)


def of_transfer(asked: shapes.TransferIn, promise: bytes, request_id: int, index: int, at: str = "") -> Text | None:
    """The text of a transfer, if it has any. `promise`: the commitment that it has itself; `at`: the path to it in the
    body. Raises `Invalid`."""
    if asked.metadata is not UNSET and promise:
        raise Invalid(at + "metadata_commitment", "cannot stand beside metadata, whose commitment is made here")
    return found(asked.metadata, asked.metadata_person, asked.debit_account_id, request_id, index, at)


def found(
    fields: dict[str, str] | UnsetType,
    person: str | UnsetType,
    debit: str | UnsetType,
    request_id: int,
    index: int = 0,
    at: str = "",
) -> Text | None:
    """The text that these fields of a body are, if any; whose it is is the account `debit`'s if nobody is named.

    Raises `Invalid`.
    """
    if fields is UNSET:
        if person is not UNSET:
            raise Invalid(at + "metadata_person", "means something only beside metadata")
        return None
    check_fields(fields, at + "metadata")
    if person is not UNSET:
        check_person(person, at + "metadata_person")
    elif debit is not UNSET:
        person = ids.show(ids.parse(debit))
    else:
        raise Invalid(at + "metadata_person", "is missing, and there is no debit account to take in its place")
    return Text(person, request_id, index, fields)


async def keep(call: Call, texts: Sequence[Text]) -> list[bytes]:
    """Keep them, durably; returns their commitments. Raises `Unavailable`: then none was kept."""
    if not texts:
        return []
    return await asyncio.to_thread(call.service.texts.keep, call.principal.tenant, texts)


def joined(promises: Iterable[bytes]) -> bytes:
    """The commitments of a request's events, as its commands take them: 32 bytes each, or nothing if all have none."""
    several = list(promises)
    return b"".join(one or NONE for one in several) if any(several) else b""
