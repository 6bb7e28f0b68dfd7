"""Every field of every command at 0, 1, 2^32 − 1, 2^63 ± 1, 2^64 − 1 and 2^128 − 1, held against the model."""

import numpy as np
import pytest

from tallystick.engine.drafts import Delivery
from tallystick.lab.agreement import compare_books, compare_entries
from tallystick.lab.model import Model
from tallystick.lab.shard import Shard
from tallystick.records.commands import ACCOUNT_EVENT, CONTROL_EVENT, TRANSFER_EVENT, Kind, Opcode, frame
from tests.properties.agreeing import compare_results
from tests.properties.random_requests import NOW

VALUES = [
    *(0, 1, 2, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32),
    *(2**63 - 1, 2**63, 2**63 + 1, 2**64 - 1, 2**64, 2**64 + 1, 2**127 - 1, 2**127, 2**128 - 2, 2**128 - 1),
]
TRANSFER = {"id": 0, "debit_account_id": 1, "credit_account_id": 2, "amount": 3, "ledger": 1, "code": 1}
ACCOUNT = {"id": 0, "ledger": 1, "code": 1}
CONTROL = {"account_id": 1, "opcode": Opcode.FREEZE, "value": 1}


def fields(dtype):
    """(name, bits) of each, 128-bit ones whole."""
    for name in dtype.names:
        if not name.endswith("_hi"):
            bits = 128 if name.endswith("_lo") else min(64, dtype[name].itemsize * 8)
            yield name.removesuffix("_lo"), bits


def packed(dtype, events):
    rows = np.zeros(len(events), dtype)
    for row, event in zip(rows, events, strict=True):
        for name, value in event.items():
            if f"{name}_lo" in dtype.names:
                row[f"{name}_lo"], row[f"{name}_hi"] = value & 0xFFFFFFFFFFFFFFFF, value >> 64
            else:
                row[name] = value
    return rows.tobytes()


def request(kind, events, number, tenant=1, expires_at=0):
    dtype = {Kind.TRANSFER: TRANSFER_EVENT, Kind.ACCOUNT: ACCOUNT_EVENT, Kind.CONTROL: CONTROL_EVENT}[kind]
    return frame(packed(dtype, events), kind, tenant, number, NOW, expires_at)


class Both:
    """A ledger and its model, which must agree on every batch."""

    def __init__(self):
        self.shard, self.model = Shard(4096, 1000), Model()
        self.now, self.requests = NOW, 0

    def decide(self, kind, events, **options):
        """One request; returns its results."""
        self.requests += 1
        batch = [request(kind, events, self.requests, **options)]
        decided = self.shard.decide(batch, self.now)
        compare_results(batch, decided, self.model.decide(batch, self.now))
        compare_entries(self.shard, self.model)
        self.now += len(decided)
        return decided


@pytest.fixture
def both():
    """With an account at every value, of every sort in turn, and transfers that may exist already."""
    pair = Both()
    flags = [0, 0, 2, 4]
    pair.decide(Kind.ACCOUNT, [{**ACCOUNT, "id": value, "flag_bits": flags[at % 4]} for at, value in enumerate(VALUES)])
    pair.decide(Kind.TRANSFER, [{**TRANSFER, "id": 500 + at, "amount": at} for at in range(3)])
    yield pair
    compare_books(pair.shard, pair.model)


@pytest.mark.parametrize("name_bits", list(fields(TRANSFER_EVENT)), ids=lambda each: each[0])
def test_every_field_of_a_transfer_at_its_boundaries(both, name_bits):
    name, bits = name_bits
    events = []
    for value in (value for value in VALUES if value < 1 << bits):
        events += [
            {**TRANSFER, "id": 1000 + len(events), name: value},
            {**TRANSFER, "id": 501, "amount": 1, name: value},
        ]
    both.decide(Kind.TRANSFER, events)
    both.decide(Kind.TRANSFER, events)  # all of them again: exists, or failed


@pytest.mark.parametrize("name_bits", list(fields(ACCOUNT_EVENT)), ids=lambda each: each[0])
def test_every_field_of_an_account_at_its_boundaries(both, name_bits):
    name, bits = name_bits
    events = []
    for value in (value for value in VALUES if value < 1 << bits):
        events += [{**ACCOUNT, "id": 1000 + len(events), name: value}, {**ACCOUNT, "id": 1, name: value}]
    both.decide(Kind.ACCOUNT, events)
    both.decide(Kind.ACCOUNT, events)


@pytest.mark.parametrize("opcode", Opcode)
@pytest.mark.parametrize("name_bits", list(fields(CONTROL_EVENT)), ids=lambda each: each[0])
def test_every_field_of_a_control_command_at_its_boundaries(both, name_bits, opcode):
    name, bits = name_bits
    for value in (value for value in VALUES if value < 1 << bits):
        both.decide(Kind.CONTROL, [{**CONTROL, "opcode": opcode, name: value}])
        transfer = {**TRANSFER, "id": 2000 + both.requests, "debit_account_id": 2, "credit_account_id": 1}
        both.decide(Kind.TRANSFER, [transfer, {**TRANSFER, "id": 3000 + both.requests}])


@pytest.mark.parametrize("place", range(9))
def test_every_reserved_word_of_a_control_command_must_be_zero(both, place):
    for value in (1, 2**63, 2**64 - 1):
        words = [0] * 9
        words[place] = value
        ((_, status, _),) = both.decide(Kind.CONTROL, [{**CONTROL, "reserved_64": words}])
        assert status == 4  # reserved_field


def test_every_pair_of_amounts_on_every_sort_of_account(both):
    """Debits and credits on accounts with and without limits, carries and overflows included."""
    accounts = [value for value in VALUES if 0 < value < 2**128 - 1]
    number = 10_000
    for limit in (0, 1, 2**64 - 1, 2**64, 2**128 - 1):
        both.decide(Kind.CONTROL, [{"account_id": a, "opcode": Opcode.CREDIT_LIMIT, "value": limit} for a in accounts])
        for first in VALUES:
            events = []
            for at, second in enumerate(VALUES):
                debit, credit = accounts[at % len(accounts)], accounts[(at * 7 + first % 11 + 1) % len(accounts)]
                number += 2
                sides = {"debit_account_id": debit, "credit_account_id": credit}
                events += [
                    {**TRANSFER, **sides, "id": number, "amount": first},
                    {**TRANSFER, **sides, "id": number + 1, "amount": second},
                ]
            both.decide(Kind.TRANSFER, events)


@pytest.mark.parametrize("tenant", [0, 1, 2**32 - 1, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 1])
def test_every_tenant_has_books_of_its_own(both, tenant):
    both.decide(Kind.ACCOUNT, [{**ACCOUNT, "id": 1}, {**ACCOUNT, "id": 7}], tenant=tenant)
    both.decide(
        Kind.TRANSFER, [{**TRANSFER, "id": 500}, {**TRANSFER, "id": 501, "credit_account_id": 7}], tenant=tenant
    )


@pytest.mark.parametrize("number", [1, 2**63, 2**64 - 1, 2**64, 2**127, 2**128 - 2])
def test_requests_of_every_id_are_told_apart(both, number):
    for content in (5, 5, 6):
        batch = [request(Kind.TRANSFER, [{**TRANSFER, "id": 9_000, "amount": content}], number)]
        decided = both.shard.decide(batch, both.now)
        compare_results(batch, decided, both.model.decide(batch, both.now))
        both.now += 1


@pytest.mark.parametrize("expires_at", [1, 2**63 - 1, 2**63, 2**64 - 1, NOW + 100])
def test_every_time_to_expire(both, expires_at):
    for now in (NOW + 99, NOW + 100, NOW + 101, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 100):
        both.now = now
        both.decide(Kind.TRANSFER, [{**TRANSFER, "id": 4000 + both.requests}], expires_at=expires_at)


@pytest.mark.parametrize("start", [2**32 - 3, 2**63 - 3, 2**63, 2**64 - 100])
def test_positions_and_times_past_2_to_the_63(start):
    """Decided only: a journal that long does not fit a test."""
    shard, model = Shard(), Model()
    shard.decider.next_seq = model.next_seq = start
    batch = [
        request(Kind.ACCOUNT, [{**ACCOUNT, "id": 1}, {**ACCOUNT, "id": 2}], 1),
        request(Kind.TRANSFER, [{**TRANSFER, "id": 5}, {**TRANSFER, "id": 5}, {**TRANSFER, "id": 6}], 2),
        request(Kind.TRANSFER, [{**TRANSFER, "id": 6, "amount": 9}], 3),
        request(Kind.TRANSFER, [{**TRANSFER, "id": 6, "amount": 9}], 3),
    ]
    for now in (start, start + 20):
        shard.draft = shard.decider.decide([Delivery(commands) for commands in batch], now)
        decided = [row for answer in shard.draft.answers for row in answer.rows.tolist()]
        compare_results(batch, decided, model.decide(batch, now))
        compare_entries(shard, model)
    compare_books(shard, model)
