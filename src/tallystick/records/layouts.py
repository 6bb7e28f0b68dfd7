"""The exact layouts as a page for people: docs/records.md is this module's `page()`, and the tests read that page.

Offsets and sizes come from the dtypes, meanings from the tables here; a field without a meaning is an error.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from tallystick.records import blocks, commands, details, entries, results


@dataclass(frozen=True, slots=True)
class Row:
    """One field: where it stands, how it is stored, what it says."""

    offset: int  # bytes from the start of the record
    size: int  # bytes
    type: str
    field: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Layout:
    """One fixed-size record, field by field without a gap."""

    title: str
    about: str
    size: int  # bytes
    rows: tuple[Row, ...]


_TIMESTAMP_ASKED = "ns; zero, unless the event is imported: then its own past time"
_USER = {
    "user_data_128": "the client's own",
    "user_data_64": "the client's own",
    "user_data_32": "the client's own",
    "ledger": "which ledger (one currency or unit each); not zero",
    "code": "the client's category; not zero",
}

TRANSFER_MEANING = {
    "id": "chosen by the client; unique in its tenant",
    "debit_account_id": "the account that pays",
    "credit_account_id": "the account that is paid",
    "amount": "minor units",
    "pending_id": "the pending transfer that this one posts or voids; else zero",
    **_USER,
    "timeout": "seconds until a pending transfer expires; 0: never",
    "flag_bits": "TigerBeetle's `flags`: linked 1, pending 2, post_pending_transfer 4, void_pending_transfer 8, "
    "balancing_debit 16, balancing_credit 32, closing_debit 64, closing_credit 128, imported 256",
    "timestamp": _TIMESTAMP_ASKED,
}
ACCOUNT_MEANING = {
    "id": "chosen by the client; unique in its tenant",
    "debits_pending": "minor units; zero when asked, the balance when read",
    "debits_posted": "minor units; zero when asked, the balance when read",
    "credits_pending": "minor units; zero when asked, the balance when read",
    "credits_posted": "minor units; zero when asked, the balance when read",
    **_USER,
    "reserved": "zero",
    "flag_bits": "TigerBeetle's `flags`: linked 1, debits_must_not_exceed_credits 2, "
    "credits_must_not_exceed_debits 4, history 8, imported 16, closed 32",
    "timestamp": _TIMESTAMP_ASKED,
}
CONTROL_MEANING = {
    "account_id": "the account it is about; approve and reject: zero",
    "value": "freeze and unfreeze: sides (debits 1, credits 2, both 3); credit limit: minor units; "
    "approve and reject: id of the pending transfer in review",
    "actor": "opaque id of the person who did it",
    "reason": "reason code, the tenant's own",
    "opcode": "1 freeze, 2 unfreeze, 3 credit limit, 4 approve, 5 reject",
    "flag_bits": "linked 1: stands or falls with the next; other bits zero",
    "reserved_64": "zero",
}
SEAL_MEANING = {
    "count": "entries before the seal in its block",
    "details_hash": "SHA-256 of the block's details, the seal's own row with its salt included",
    "positions_hash": "SHA-256 of the block's lane positions",
    "reserved": "zero",
}
FRAME_MEANING = {
    "request_id": "the request it came in",
    "tenant": "whose it is",
    "submitted_at": "ns since the epoch, by the gateway's clock",
    "expires_at": "ns since the epoch; decided later than that, it is refused; 0: never",
    "fingerprint": "SHA-256 of kind, count, events and metadata of the whole request",
    "metadata": "commitment to metadata; zero if there is none",
    "device_pseudonym": "keyed pseudonym of the device; zero if not known",
    "network_pseudonym": "keyed pseudonym of the network; zero if not known",
    "index": "of the command in its request, from 0",
    "count": "commands in the request",
    "kind": "1 transfer, 2 account, 3 control",
    "version": "of this layout: 1",
    "reserved_frame": "zero",
}
ENTRY_MEANING = {
    "length": "254, **big-endian**: what follows is a leaf of the tree, framed as in a C2SP entry bundle",
    "kind": "1 transfer, 2 account, 3 control, 4 seal, 5 expiry (of a pending transfer; its event is a transfer event "
    "with id zero), 6 placement (of the tenant in a shard; its event is a control event whose value is "
    "2 × (shard + 1), and 1 more while the tenant is on its way from there)",
    "version": "of this layout: 1; 2 is the same, of an entry that was decided in another shard and came along with "
    "its tenant",
    "shard": "whose journal this is",
    "status": "what was decided: the low 16 bits of the status; 65,535 is created or applied",
    "flag_bits_effective": "the flags that the ledger acted on; the event keeps those asked",
    "index": "of the command in its request, from 0",
    "timeout_effective": "seconds; the time-out that the ledger acted on",
    "seq": "position in the journal, from 0, without a gap",
    "timestamp": "ns since the epoch, strictly increasing; zero for a seal",
    "event": "the event as asked, or the seal event (above)",
    "moved": "minor units that moved: reserved by a pending transfer, posted by a post, released by a void or expiry",
    "tenant": "whose it is",
    "request_id": "the request it came in; zero for an expiry",
    "submitted_at": "ns since the epoch, by the gateway's clock; of version 2: the newest timestamp before it here",
    "metadata": "commitment to metadata; zero if there is none",
    "nonce": "random, so that nobody can guess a leaf from its hash",
}
DETAILS_MEANING = {
    "fingerprint": "of the request, beside its first entry, else zero; beside a seal the block's salt",
    "debit_sequence": "number of this entry in the debited account, from 1, without a gap; 0: nothing moved there",
    "debit_previous": "seq of the entry before it in that account; 2^64 − 1: it is the first",
    "credit_sequence": "the same for the credited account",
    "credit_previous": "the same for the credited account",
    "pending_seq": "seq of the pending transfer's entry, where this one posts, voids, expires, approves or rejects it; "
    "else 0",
    "device_pseudonym": "keyed pseudonym, as in the command",
    "network_pseudonym": "keyed pseudonym, as in the command",
    "reasons": "screening: reason bits",
    "model_version": "screening: which model decided",
    "score": "screening: its score",
    "count": "commands of the request, beside its first entry; else zero",
    "verdict": "screening: what it said: 0 allow, 1 review, 2 refuse",
    "version": "of this layout: 2",
}
RESULT_MEANING = {
    "timestamp": "ns since the epoch, when it was decided; of `exists`, when the existing one was created",
    "status": "the whole status; 4,294,967,295 is created or applied",
    "replayed": "1: this repeats the outcome of an earlier request with this id; else 0",
}
HEADER_ROWS = (
    ("magic", 8, "bytes", "`TALLYBLK`"),
    ("version", 2, "u16", "of the block format: 2"),
    ("kind", 2, "u16", "1 commands (intake), 2 entries (journal)"),
    ("shard", 2, "u16", "whose block it is"),
    ("reserved", 2, "u16", "zero"),
    ("size", 8, "u64", "bytes of the whole block, this header included"),
    ("epoch", 8, "u64", "of the writer; zero in the intake"),
    ("first", 8, "u64", "journal: seq of the first entry; intake: number of the block in its lane, from 1"),
    ("count", 4, "u32", "commands or entries in the block"),
    ("lanes", 4, "u32", "lane positions that follow; none in the intake"),
    ("lane", 16, "bytes", "id of the lane; zero in the journal"),
    ("previous", 32, "bytes", "hash of the block before; zero for the first block and in the intake"),
    ("hash", 32, "bytes", "SHA-256 of the whole block without these 32 bytes"),
)
LANE_ROWS = (
    ("lane", 16, "bytes", "id of the lane"),
    ("position", 8, "u64", "number of the last block taken from it"),
)


def _type(dtype: np.dtype[np.generic]) -> str:
    if dtype.subdtype is not None:
        return "bytes"
    return f"u{dtype.itemsize * 8}"


def _from_dtype(title: str, about: str, dtype: np.dtype[np.void], meaning: Mapping[str, str]) -> Layout:
    def rows() -> Iterator[Row]:
        assert dtype.fields is not None
        for name, (field, offset, *_) in dtype.fields.items():
            if name.endswith("_hi"):
                continue  # shown with its lower half as one 128-bit field
            if name.endswith("_lo"):
                whole = name.removesuffix("_lo")
                yield Row(offset, 16, "u128", whole, meaning[whole])
            else:
                yield Row(offset, field.itemsize, _type(field), name, meaning[name])

    return Layout(title, about, dtype.itemsize, tuple(rows()))


def _from_rows(title: str, about: str, fields: tuple[tuple[str, int, str, str], ...]) -> Layout:
    rows: list[Row] = []
    offset = 0
    for name, size, kind, meaning in fields:
        rows.append(Row(offset, size, kind, name, meaning))
        offset += size
    return Layout(title, about, offset, tuple(rows))


def layouts() -> tuple[Layout, ...]:
    """Every layout of version 1, in the order of the page."""
    frame = {"event": "transfer, account or control (above)", **FRAME_MEANING}
    return (
        _from_dtype(
            "Transfer event", "TigerBeetle's Transfer, field for field.", commands.TRANSFER_EVENT, TRANSFER_MEANING
        ),
        _from_dtype(
            "Account event", "TigerBeetle's Account, field for field.", commands.ACCOUNT_EVENT, ACCOUNT_MEANING
        ),
        _from_dtype("Control event", "Ours.", commands.CONTROL_EVENT, CONTROL_MEANING),
        _from_dtype(
            "Seal event", "What the last entry of a journal block says of it.", entries.SEAL_EVENT, SEAL_MEANING
        ),
        _from_dtype("Command", "What is asked: an event and the frame around it.", commands.COMMAND, frame),
        _from_dtype(
            "Entry",
            "What was decided. Bytes 2 to 255 are leaf number `seq` of the tree.",
            entries.ENTRY,
            ENTRY_MEANING,
        ),
        _from_dtype(
            "Details", "The private part of a decision, never in a leaf (ADR 0004).", details.DETAILS, DETAILS_MEANING
        ),
        _from_dtype("Result", "What a client gets, one for each command.", results.RESULT, RESULT_MEANING),
        _from_rows("Block header", "The first bytes of every block, in the intake and in the journal.", HEADER_ROWS),
        _from_rows("Lane position", "Between header and entries of a journal block, sorted by lane.", LANE_ROWS),
    )


_HEAD = f"""\
# Records and blocks

<!-- Generated from src/tallystick/records by `make docs`. Do not edit. -->

The bytes that travel and that are kept. Numbers are little-endian and unsigned, unless a row says otherwise; there
is no padding. In code a `u128` field `x` is two `u64` fields, `x_lo` (first) and `x_hi`.

A **command block** is a header and `count` commands ({commands.COMMAND_SIZE} bytes each, at most
{commands.COMMANDS_MAX:,}). A **journal block** is a header, `lanes` lane positions ({blocks.LANE_SIZE} bytes each, at
most {blocks.LANES_MAX:,}), `count` entries ({entries.ENTRY_SIZE} bytes each, at most {blocks.ENTRIES_MAX:,}; the last
is the block's seal) and `count` details ({details.DETAILS_SIZE} bytes each). One SHA-256 covers all of a block but
the 32 bytes that hold it.

## Versions

Every block and every row carries a version. A program reads the versions it knows and refuses any other with a
message that says to upgrade; it never guesses. Bytes once written are never rewritten, so a new layout gets a new
version number and the old one stays readable. Sizes ({commands.COMMAND_SIZE}, {entries.ENTRY_SIZE},
{details.DETAILS_SIZE}, {blocks.HEADER_SIZE}) belong to the block's version: changing one changes that. A reserved
field is zero, and refused where it is not, so that it can be given a meaning later. `kind` and `version` are never
zero, so that no 512 bytes in a row of a block are all zero: that is how a torn block is told from a damaged one
(ADR 0001).
"""


def page() -> str:
    """docs/records.md, whole."""
    parts = [_HEAD]
    for layout in layouts():
        parts.append(f"\n## {layout.title}\n\n{layout.about} {layout.size} bytes.\n")
        parts.append("\n| offset | size | type | field | meaning |\n|---:|---:|---|---|---|\n")
        parts.extend(
            f"| {row.offset} | {row.size} | {row.type} | `{row.field}` | {row.meaning} |\n" for row in layout.rows
        )
    return "".join(parts)
