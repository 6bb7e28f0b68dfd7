"""What a receipt carries beside its proof: the entry, and text that opens the commitment in it."""

import numpy as np
import pytest

from tallystick.errors import InvalidProof
from tallystick.records import commitments, openings
from tallystick.records.commitments import Opening
from tallystick.records.entries import ENTRY

TEXT = {"reference": Opening(b"s" * 32, "Rent, May"), "debtor": Opening(b"t" * 32, "Ada Lovelace")}


def entry_with(commitment):
    rows = np.zeros(1, ENTRY)
    rows["metadata"] = np.frombuffer(commitment, "<u8")
    return rows.tobytes()[2:]


def test_the_text_that_the_entry_commits_to_is_shown():
    commitment = commitments.commit_all(TEXT)
    entry = entry_with(commitment)
    assert openings.commitment_of(entry) == commitment
    extra = openings.pack(entry, TEXT)
    assert openings.unpack(extra) == entry
    assert openings.text(extra) == {"reference": "Rent, May", "debtor": "Ada Lovelace"}


def test_a_receipt_without_text_shows_none():
    entry = entry_with(bytes(32))
    assert openings.pack(entry) == openings.pack(entry, {})
    assert b"text" not in openings.pack(entry)
    assert openings.text(openings.pack(entry)) == {}


@pytest.mark.parametrize("wrong", [{"reference": Opening(b"s" * 32, "Rent, June")}, {**TEXT, "more": TEXT["debtor"]}])
def test_other_text_is_refused(wrong):
    with pytest.raises(InvalidProof):
        openings.text(openings.pack(entry_with(commitments.commit_all(TEXT)), wrong))
    with pytest.raises(InvalidProof):
        openings.text(openings.pack(entry_with(bytes(32)), wrong))


def test_what_the_amounts_mean_is_told_beside_the_entry_and_proven_elsewhere():
    entry = entry_with(bytes(32))
    euro = openings.Currency("EUR", 2, control=17)
    extra = openings.pack(entry, None, euro)
    assert (openings.unpack(extra), openings.currency(extra)) == (entry, euro)
    assert openings.currency(openings.pack(entry)) is None
    for wrong in (extra.replace(b'"scale":2', b'"scale":2.0'), extra.replace(b'"control":17', b'"control":"17"')):
        with pytest.raises(InvalidProof):
            openings.currency(wrong)
