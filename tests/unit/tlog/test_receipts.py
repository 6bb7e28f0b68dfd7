"""A receipt verifies for its entry, under its policy, and in no other form."""

import base64

import pytest

from tallystick.errors import InvalidProof
from tallystick.tlog import merkle
from tallystick.tlog.checkpoints import Checkpoint
from tallystick.tlog.notes import parse_note, signed
from tallystick.tlog.policies import parse_policy
from tallystick.tlog.receipts import EXTRA_BYTES_MAX, Receipt, parse_receipt, verify
from tests.unit.tlog import trees
from tests.unit.tlog.trees import ORIGIN, key

SIZE, INDEX = 300, 260
TREE = trees.tree(SIZE)
LEAF = merkle.leaf_hash(trees.entry(INDEX))
POLICY = parse_policy(f"log {key().verifier.vkey}\nquorum none\n")
CHECKPOINT = Checkpoint(ORIGIN, SIZE, merkle.root(SIZE, TREE.node))


def receipt(extra=b"opening", checkpoint=CHECKPOINT, signer=None):
    proof = merkle.inclusion_proof(INDEX, SIZE, TREE.node)
    return Receipt(INDEX, tuple(proof), signed(checkpoint.body, [signer or key()], 1), extra)


def refused(data):
    with pytest.raises(InvalidProof) as error:
        verify(parse_receipt(data), LEAF, POLICY)
    return str(error.value)


@pytest.mark.parametrize("extra", [b"", b"opening", bytes(EXTRA_BYTES_MAX)])
def test_a_receipt_verifies_as_it_was_written(extra):
    data = receipt(extra).encode()
    found = parse_receipt(data)
    assert found == receipt(extra)
    assert found.encode() == data
    assert verify(found, LEAF, POLICY).checkpoint == CHECKPOINT


def test_a_receipt_is_for_its_entry_alone():
    with pytest.raises(InvalidProof, match="not in the tree"):
        verify(receipt(), merkle.leaf_hash(trees.entry(INDEX + 1)), POLICY)


def test_more_extra_than_others_can_read_is_not_written():
    with pytest.raises(ValueError, match="room for 49146"):
        receipt(bytes(EXTRA_BYTES_MAX + 1)).encode()


def lines_swapped(data):
    lines = data.split(b"\n")
    lines[3], lines[4] = lines[4], lines[3]
    return b"\n".join(lines)


def without_line(number):
    return lambda data: b"\n".join(line for at, line in enumerate(data.split(b"\n")) if at != number)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b"@v1", b"@v2"),
        lambda data: data.replace(b"index 260", b"index 261"),
        lambda data: data.replace(b"index 260", b"index 300"),
        lambda data: data.replace(b"index 260", b"index -1"),
        lambda data: data.replace(b"index 260", b"index 0260"),
        lambda data: data.replace(b"index 260", b"index +260"),
        lambda data: data.replace(b"index 260", b"INDEX 260"),
        lambda data: data.replace(b"\n300\n", b"\n301\n"),
        lambda data: data.replace(b"\n\n", b"\n", 1),
        lambda data: data.replace(b"\n\n", b"\n\n\n", 1),
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: data[:-1],
        lambda data: data + b"junk\n",
        lambda data: data.replace(b"extra b3BlbmluZw==", b"extra "),
        lambda data: data.replace(b"extra b3BlbmluZw==", b"extra !"),
        lambda data: data.replace(b"extra b3BlbmluZw==\n", b"extra b3BlbmluZw==\nextra b3BlbmluZw==\n"),
        lambda data: data.replace(b"extra b3BlbmluZw==\nindex 260", b"index 260\nextra b3BlbmluZw=="),
        lambda data: data.replace(b"extra b3BlbmluZw==", b"extra " + base64.b64encode(bytes(EXTRA_BYTES_MAX + 1))),
        lines_swapped,
        without_line(2),
        without_line(3),
        without_line(5),
        lambda data: data.replace(b"\n\n", b"\n" + base64.b64encode(bytes(32)) + b"\n\n", 1),
        lambda data: data.replace(b"\n\n", b"\n" + (base64.b64encode(bytes(32)) + b"\n") * 60 + b"\n", 1),
        lambda data: data.replace(b"\n\n", b"\nAAAA\n\n", 1),
        lambda data: b"",
    ],
)
def test_a_receipt_in_any_other_form_is_refused(change):
    data = receipt().encode()
    assert change(data) != data
    refused(change(data))


def test_a_receipt_under_another_key_or_another_history_is_refused():
    assert "no key that is trusted" in refused(receipt(signer=key(seed=9)).encode())
    forked = Checkpoint(ORIGIN, SIZE, bytes(32))
    assert "not in the tree" in refused(receipt(checkpoint=forked).encode())


def test_a_receipt_holds_its_checkpoint_verbatim():
    data = receipt().encode()
    assert parse_note(data.partition(b"\n\n")[2]) == receipt().checkpoint
