"""A block's details for an authority: the sealed ones pass, and nothing else does."""

import msgspec
import numpy as np
import pytest

from tallystick.errors import InvalidProof
from tallystick.lab.simulated_clock import SimulatedClock
from tallystick.records import disclosures
from tallystick.records.details import DETAILS_SIZE
from tallystick.records.objects import Account, Transfer


@pytest.fixture(scope="module")
def block():
    from tallystick.compose.library import Ledger
    from tallystick.journal.memory import MemoryJournalReader

    ledger = Ledger.in_memory(clock=SimulatedClock())
    ledger.create_accounts([Account(id=1, ledger=1, code=1), Account(id=2, ledger=1, code=1)])
    ledger.create_transfers(
        [Transfer(id=n, debit_account_id=1, credit_account_id=2, amount=n, ledger=1, code=1) for n in (1, 2, 3)]
    )
    (*_, last) = MemoryJournalReader(ledger._callers._parts.journal.kept).read(0)
    ledger.close()
    return last


def seal_of(block):
    return block.entries[-1].tobytes()[2:]


def test_the_details_that_were_sealed_are_shown(block):
    found = disclosures.read(disclosures.disclose(block, b"receipt"))
    first, rows = disclosures.sealed_details(found, seal_of(block))
    assert first == block.header.first
    assert rows.tobytes() == block.details.tobytes()
    assert found.receipt == b"receipt"


@pytest.mark.parametrize("at", [0, DETAILS_SIZE, -1])
def test_a_changed_detail_is_refused(block, at):
    found = disclosures.read(disclosures.disclose(block, b""))
    data = bytearray(found.details)
    data[at] ^= 1
    with pytest.raises(InvalidProof, match="not the ones"):
        disclosures.sealed_details(msgspec.structs.replace(found, details=bytes(data)), seal_of(block))


def test_a_row_left_out_is_refused(block):
    found = disclosures.read(disclosures.disclose(block, b""))
    short = msgspec.structs.replace(found, details=found.details[DETAILS_SIZE:])
    with pytest.raises(InvalidProof, match="outcomes"):
        disclosures.sealed_details(short, seal_of(block))


def test_a_leaf_that_is_no_seal_proves_nothing(block):
    found = disclosures.read(disclosures.disclose(block, b""))
    with pytest.raises(InvalidProof, match="no seal"):
        disclosures.sealed_details(found, block.entries[0].tobytes()[2:])


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"v":2,"details":"","receipt":""}'])
def test_what_is_no_disclosure_is_refused(data):
    with pytest.raises(InvalidProof):
        disclosures.read(data)


def test_a_salt_of_its_own_keeps_details_from_being_guessed(block):
    salt = block.details[-1]["fingerprint"]
    assert np.count_nonzero(salt) == 4
