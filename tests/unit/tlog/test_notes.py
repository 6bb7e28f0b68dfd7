"""Notes, checkpoints and cosignatures; and attack 18: notes that no two readers should read differently."""

import pytest

from tallystick.errors import InvalidProof
from tallystick.tlog.checkpoints import Checkpoint, parse_checkpoint
from tallystick.tlog.keys import Kind, SignerKey, VerifierKey, new_key, parse_skey, parse_vkey
from tallystick.tlog.merkle import EMPTY_ROOT
from tallystick.tlog.notes import Note, opened, parse_note, signature, signed
from tests.unit.tlog.trees import ORIGIN, key

LOG = key()
POST_QUANTUM = key(kind=Kind.MLDSA44, seed=2)
WITNESS = key("witness.example/w", Kind.ED25519_COSIGNATURE, 3)
CHECKPOINT = Checkpoint(ORIGIN, 5, bytes(range(32)))
TIME_S = 1_700_000_000


def note_of(text=CHECKPOINT.body, keys=(LOG,)):
    return signed(text, keys, TIME_S)


def refused(data, keys=(LOG,)):
    with pytest.raises(InvalidProof) as error:
        parse_checkpoint(_opened_text(data, keys))
    return str(error.value)


def _opened_text(data, keys):
    note = parse_note(data)
    opened(note, [key.verifier for key in keys])
    return note.text


def resigned(text):
    """What an attacker with the true key, or a careless log, would publish."""
    return note_of(text).encode()


@pytest.mark.parametrize("signer", [LOG, POST_QUANTUM, WITNESS], ids=lambda key: key.kind.name)
def test_each_kind_of_key_signs_and_is_verified(signer):
    note = parse_note(note_of(keys=[signer]).encode())
    (found,) = opened(note, [signer.verifier])
    assert found.key == signer.verifier
    assert found.time_s == (0 if signer is LOG else TIME_S)
    assert parse_skey(signer.skey) == signer
    assert parse_vkey(signer.verifier.vkey) == signer.verifier


@pytest.mark.parametrize("signer", [LOG, POST_QUANTUM, WITNESS], ids=lambda key: key.kind.name)
def test_a_signature_is_good_for_its_text_its_name_and_its_time_alone(signer):
    good = note_of(keys=[signer])
    line = good.signatures[0]
    other = Checkpoint(ORIGIN, 6, CHECKPOINT.root).body
    renamed = VerifierKey("other.example/w", signer.kind, signer.verifier.public)
    flipped = bytes([line.signature[8] ^ 1])
    damaged = type(line)(line.name, line.key_id, line.signature[:8] + flipped + line.signature[9:])
    for note in (Note(other, (line,)), Note(good.text, (damaged,))):
        with pytest.raises(InvalidProof):
            opened(note, [signer.verifier])
    with pytest.raises(InvalidProof, match="no key that is trusted"):
        opened(good, [renamed])
    if signer is not LOG:
        later = type(line)(line.name, line.key_id, (TIME_S + 1).to_bytes(8, "big") + line.signature[8:])
        with pytest.raises(InvalidProof):
            opened(Note(good.text, (later,)), [signer.verifier])


def test_a_cosignature_without_a_time_is_none():
    line = note_of(keys=[WITNESS]).signatures[0]
    with pytest.raises(InvalidProof, match="has no time"):
        opened(
            Note(CHECKPOINT.body, (type(line)(line.name, line.key_id, bytes(8) + line.signature[8:]),)),
            [WITNESS.verifier],
        )
    with pytest.raises(ValueError, match="at 0 s"):
        signature(CHECKPOINT.body, WITNESS, 0)


def test_unknown_signatures_are_ignored_even_under_a_known_name_or_id():
    stranger = key(seed=9)
    namesake = signature(CHECKPOINT.body, stranger, 1)
    collision = type(namesake)("other.example", LOG.verifier.key_id, namesake.signature)
    note = note_of()
    note = Note(note.text, (namesake, collision, *note.signatures))
    assert [signer.key for signer in opened(note, [LOG.verifier])] == [LOG.verifier]


@pytest.mark.parametrize("bad_first", [True, False])
def test_a_known_key_that_fails_beside_one_that_does_not_rejects_the_note(bad_first):
    good = note_of().signatures[0]
    bad = type(good)(good.name, good.key_id, bytes(64))
    lines = (bad, good) if bad_first else (good, bad)
    assert "does not verify" in refused(Note(CHECKPOINT.body, lines).encode())


def test_a_retired_key_signs_nothing_any_more():
    assert "no key that is trusted" in refused(note_of().encode(), keys=[key(seed=7)])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data.replace(b"\n\n", b"\n\n\n"), "no key|does not verify|three lines"),
        (lambda data: data.replace(b"\n", b"\r\n"), "control characters"),
        (lambda data: data.replace(b"\n5\n", b"\n05\n"), "does not verify"),
        (lambda data: data.replace(b"\n5\n", b"\n6\n"), "does not verify"),
        (lambda data: data[:-1], "a blank line"),
        (lambda data: data + b"\n", "signature"),
        (lambda data: data + b"junk\n", "no line of a signature"),
        (lambda data: data.replace("—".encode(), b"-"), "no line of a signature"),
        (lambda data: data.replace(b" log.example", b"  log.example"), "no line of a signature"),
        (lambda data: data.replace(b"log.example/ledger-0 ", b"log+example/ledger-0 "), "no key name"),
        (lambda data: data.replace(b"log.example/ledger-0 ", "log\u00a0example/ledger-0 ".encode()), "no key name"),
        (lambda data: data[:-3] + b"\n", "not base64|another spelling"),
        (lambda data: data.replace(b"\n\n", b"\n"), "a blank line"),
        (lambda data: b"\xff" + data, "UTF-8"),
        (lambda data: data.replace(b"\n5\n", b"\n5\t\n"), "control characters"),
        (lambda data: b"", "a blank line"),
        (lambda data: data.partition(b"\n\n")[0] + b"\n\n", "1 to 100"),
        (lambda data: data * 200_000, "at most"),
    ],
)
def test_a_note_in_any_other_spelling_is_refused(change, said):
    import re

    assert re.search(said, refused(change(note_of().encode())))


@pytest.mark.parametrize(
    "body",
    [
        f"{ORIGIN}\n05\n{CHECKPOINT.body.splitlines()[2]}\n",
        f"{ORIGIN}\n+5\n{CHECKPOINT.body.splitlines()[2]}\n",
        f"{ORIGIN}\n-5\n{CHECKPOINT.body.splitlines()[2]}\n",
        f"{ORIGIN}\n٥\n{CHECKPOINT.body.splitlines()[2]}\n",
        f"{ORIGIN}\n{2**63}\n{CHECKPOINT.body.splitlines()[2]}\n",
        f"{ORIGIN}\n0\n{CHECKPOINT.body.splitlines()[2]}\n",
        f"{ORIGIN}\n5\nAAAA\n",
        f"{ORIGIN}\n5\n{CHECKPOINT.body.splitlines()[2]}=\n",
        f"\n5\n{CHECKPOINT.body.splitlines()[2]}\n",
        f"a+b\n5\n{CHECKPOINT.body.splitlines()[2]}\n",
        f"{CHECKPOINT.body}an extension line\n",
        f"{CHECKPOINT.body}\n",
        f"{ORIGIN}\n5\n",
    ],
)
def test_a_checkpoint_in_any_other_spelling_is_refused_though_the_true_key_signed_it(body):
    refused(resigned(body))


def test_sixteen_signatures_and_a_hundred_are_read_and_a_hundred_and_one_are_not():
    strangers = [signature(CHECKPOINT.body, key("w.example", seed=seed), 1) for seed in range(10, 109)]
    whole = (*strangers, *note_of().signatures)
    assert len(parse_note(Note(CHECKPOINT.body, whole).encode()).signatures) == 100
    assert opened(Note(CHECKPOINT.body, whole), [LOG.verifier])
    assert "1 to 100" in refused(Note(CHECKPOINT.body, (*whole, strangers[0])).encode())


def test_the_text_of_a_note_may_hold_blank_lines_and_ends_at_the_last():
    note = signed("first\n\nsecond\n", [LOG], TIME_S)
    assert parse_note(note.encode()) == note


def test_an_empty_tree_has_one_checkpoint():
    empty = Checkpoint(ORIGIN, 0, EMPTY_ROOT)
    assert parse_checkpoint(_opened_text(resigned(empty.body), [LOG])) == empty


@pytest.mark.parametrize("name", ["", "a+b", "a b", "a\u2003b", "a\nb", "n" * 256])
def test_a_key_has_a_name_that_a_line_can_carry(name):
    with pytest.raises(InvalidProof):
        new_key(name, Kind.ED25519, bytes)


def test_no_other_spelling_of_a_key_is_a_key():
    for text, parse in ((LOG.verifier.vkey, parse_vkey), (LOG.skey, parse_skey)):
        for at in range(len(text)):
            with pytest.raises(InvalidProof):
                parse(text[:at])
            with pytest.raises(InvalidProof):
                parse(text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :])


def test_what_a_key_signs_with_is_in_no_representation_of_it():
    made = new_key(ORIGIN, Kind.ED25519, lambda count: b"\xab" * count)
    assert isinstance(made, SignerKey)
    assert "ab" * 4 not in repr(made)
    assert "\\xab" not in repr(made)
