"""What is told of each entry, against a plain reading of histories that the real engine decided."""

from collections import Counter
from functools import cache

import numpy as np
import pytest

from tallystick import telling
from tallystick.errors import Corrupt
from tallystick.records import objects
from tallystick.records.commands import Kind, Opcode, TransferFlag, frame
from tallystick.records.entries import ACCOUNT_WORK, CONTROL_WORK, TRANSFER_WORK, WORK
from tallystick.records.objects import Account
from tallystick.webhooks.types import TABLE, Type
from tests.unit.projector.engine_histories import EngineHistory
from tests.unit.projector.histories import TENANTS

ALWAYS = {"position", "shard", "status", "timestamp"}
FIELDS = {row.type: set(row.fields) for row in TABLE}


@cache
def entries():
    """Entries and details of a history with every flag, reviews, expiries and controls."""
    history = EngineHistory(seed=11, batches=400)
    refused = objects.pack_all([Account(id=9_000, ledger=0, code=1)], objects.pack_account)
    history.shard.decide([frame(refused, Kind.ACCOUNT, TENANTS[0], 10**6, history.now)], history.now + 10_000)
    blocks = list(history.journal.read(0))
    joined = np.concatenate([block.entries.view(np.uint8) for block in blocks]).view(WORK)
    return joined, np.concatenate([block.details.view(np.uint8) for block in blocks]).view(blocks[0].details.dtype)


def plainly(row):
    """The type of one entry, said the long way."""
    kind, status = Kind(int(row["kind"])), int(row["status"])
    created = status == 0xFFFF
    if kind is Kind.SEAL:
        return None
    if kind is Kind.EXPIRY:
        return Type.TRANSFER_EXPIRED
    if kind is Kind.ACCOUNT:
        return Type.ACCOUNT_OPENED if created else None if status == 21 else Type.ACCOUNT_REFUSED
    if kind is Kind.CONTROL:
        if not created:
            return Type.CONTROL_REFUSED
        return {
            Opcode.FREEZE: Type.ACCOUNT_FROZEN,
            Opcode.UNFREEZE: Type.ACCOUNT_UNFROZEN,
            Opcode.CREDIT_LIMIT: Type.ACCOUNT_LIMIT_CHANGED,
            Opcode.APPROVE: Type.REVIEW_APPROVED,
            Opcode.REJECT: Type.REVIEW_REJECTED,
        }[Opcode(int(np.array([row]).view(CONTROL_WORK)["opcode"][0]))]
    if not created:
        return None if status == 46 else Type.TRANSFER_REFUSED
    flags = TransferFlag(int(row["flag_bits_effective"]))
    if TransferFlag.POST_PENDING_TRANSFER in flags:
        return Type.TRANSFER_POSTED
    if TransferFlag.VOID_PENDING_TRANSFER in flags:
        return Type.TRANSFER_VOIDED
    return Type.TRANSFER_PENDING if TransferFlag.PENDING in flags else Type.TRANSFER_CREATED


def all_told():
    work, _ = entries()
    types = telling.types_of(work)
    chosen = np.flatnonzero(types != telling.NONE)
    return work[chosen], telling.told(work[chosen], types[chosen])


def test_every_entry_has_the_type_that_a_plain_reading_gives_it():
    work, _ = entries()
    found = [None if number == telling.NONE else telling.ORDER[number] for number in telling.types_of(work).tolist()]
    wrong = [(int(row["seq"]), told) for row, told in zip(work, found, strict=True) if told is not plainly(row)]
    assert wrong[:3] == []
    missing = set(Type) - {Type.WEBHOOK_TEST} - set(found)
    assert missing == set(), "the history must reach every type, or this test says nothing of it"


def test_what_is_told_names_its_entry_and_what_the_table_says_of_its_type():
    work, found = all_told()
    assert len(found) == len(work) > 1000
    for row, each in zip(work, found, strict=True):
        data = each.data
        assert each.nonce == row["nonce"].tobytes()
        assert (each.seq, each.tenant, each.type) == (int(row["seq"]), int(row["tenant"]), plainly(row))
        assert each.timestamp_ns == int(row["timestamp"])
        assert data["position"] == str(row["seq"])
        assert data["timestamp"] == str(row["timestamp"])
        assert data["status"].islower()
        assert ALWAYS <= set(data) <= ALWAYS | FIELDS[each.type], each
        for name, value in data.items():
            assert not isinstance(value, float)
            if name.endswith("_id"):
                assert len(value) == 32
                assert int(value, 16)
            if name in ("amount", "credit_limit"):
                assert isinstance(value, str)
                assert value.isdigit()


def test_amounts_and_ids_are_those_of_the_entry():
    work, found = all_told()
    checked = Counter()
    for row, each in zip(work, found, strict=True):
        data, alone = each.data, np.array([row])
        if each.type in (Type.TRANSFER_CREATED, Type.TRANSFER_PENDING):
            t = alone.view(TRANSFER_WORK)[0]
            assert data["amount"] == str(int(row["moved_lo"]) | int(row["moved_hi"]) << 64)
            assert data["transfer_id"] == wide(t, "id")
            assert data["debit_account_id"] == wide(t, "debit_account_id")
            assert data["credit_account_id"] == wide(t, "credit_account_id")
        elif each.type in (Type.TRANSFER_POSTED, Type.TRANSFER_VOIDED, Type.TRANSFER_EXPIRED):
            assert data["pending_id"] == wide(alone.view(TRANSFER_WORK)[0], "pending_id")
            assert ("transfer_id" in data) == (each.type is not Type.TRANSFER_EXPIRED)
        elif each.type is Type.TRANSFER_REFUSED:
            t = alone.view(TRANSFER_WORK)[0]
            assert data["amount"] == str(int(t["amount_lo"]) | int(t["amount_hi"]) << 64)
            assert data["status"] != "created"
        elif each.type in (Type.ACCOUNT_OPENED, Type.ACCOUNT_REFUSED):
            assert data["account_id"] == wide(alone.view(ACCOUNT_WORK)[0], "id")
        elif each.type in (Type.REVIEW_APPROVED, Type.REVIEW_REJECTED):
            assert data["pending_id"] == wide(alone.view(CONTROL_WORK)[0], "value")
        elif each.type in (Type.ACCOUNT_FROZEN, Type.ACCOUNT_UNFROZEN):
            side = int(alone.view(CONTROL_WORK)[0]["value_lo"])
            assert data["side"] == {1: "debits", 2: "credits", 3: "both"}[side]
        checked[each.type] += 1
    assert len(checked) == len(Type) - 1


def wide(row, name):
    return f"{int(row[f'{name}_lo']) | int(row[f'{name}_hi']) << 64:032x}"


def test_nothing_of_the_details_is_told():
    work, details = entries()
    types = telling.types_of(work)
    for each in telling.told(work[types != telling.NONE], types[types != telling.NONE]):
        private = {str(details[each.seq][name]) for name in ("debit_previous", "credit_previous", "fingerprint")}
        assert not private & {value for name, value in each.data.items() if name not in ("position", "amount")} - {"0"}
        assert not {"verdict", "score", "reasons", "sequence"} & set(each.data)


def test_an_instant_keeps_its_nanoseconds():
    assert telling.instant(1_614_265_330_000_000_001) == "2021-02-25T15:02:10.000000001Z"
    assert telling.instant(0) == "1970-01-01T00:00:00.000000000Z"


def test_a_status_of_a_newer_program_is_never_guessed():
    work, _ = entries()
    row = work[work["kind"] == Kind.TRANSFER][:1].copy()
    row["status"] = 999
    with pytest.raises(Corrupt, match="upgrade"):
        telling.told(row, telling.types_of(row))
