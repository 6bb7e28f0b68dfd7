"""What other implementations made, read and made again byte for byte. tlog.json names where each part comes from."""

import base64
import json
from pathlib import Path

import pytest

from tallystick.errors import InvalidProof
from tallystick.tlog import merkle, tiles
from tallystick.tlog.checkpoints import parse_checkpoint
from tallystick.tlog.keys import Kind, parse_skey, parse_vkey
from tallystick.tlog.notes import opened, parse_note, signed

GOLDEN = json.loads((Path(__file__).parent / "tlog.json").read_text(encoding="utf-8"))
RFC, LOG, NOTES = GOLDEN["rfc6962"], GOLDEN["tessera"], GOLDEN["notes"]
LEAVES = [bytes.fromhex(leaf) for leaf in RFC["leaves"]]


def nodes_of(entries):
    """A tree kept in no tiles: every node hashed from its leaves."""

    def node(level, index):
        if level == 0:
            return merkle.leaf_hash(entries[index])
        return merkle.node_hash(node(level - 1, 2 * index), node(level - 1, 2 * index + 1))

    return node


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_the_reference_tree(size):
    assert merkle.root(size, nodes_of(LEAVES)).hex() == RFC["roots"][size]


@pytest.mark.parametrize(("index", "size", "proof"), RFC["inclusion"])
def test_inclusion_proofs_are_those_of_the_reference(index, size, proof):
    hashes = [bytes.fromhex(found) for found in proof]
    assert merkle.inclusion_proof(index, size, nodes_of(LEAVES)) == hashes
    root = bytes.fromhex(RFC["roots"][size])
    merkle.verify_inclusion(index, size, merkle.leaf_hash(LEAVES[index]), hashes, root)


@pytest.mark.parametrize(("old", "new", "proof"), RFC["consistency"])
def test_consistency_proofs_are_those_of_the_reference(old, new, proof):
    hashes = [bytes.fromhex(found) for found in proof]
    assert merkle.consistency_proof(old, new, nodes_of(LEAVES)) == hashes
    old_root, new_root = (bytes.fromhex(RFC["roots"][size]) for size in (old, new))
    merkle.verify_consistency(old, new, old_root, new_root, hashes)


def test_a_foreign_log_is_read_and_made_again():
    entries = [entry.encode() for entry in LOG["entries"]]
    assert tiles.unpack_bundle(bytes.fromhex(LOG["bundle"]), 15) == entries
    assert tiles.pack_bundle(entries).hex() == LOG["bundle"]
    assert b"".join(merkle.leaf_hash(entry) for entry in entries).hex() == LOG["tile"]
    tree = tiles.TiledTree(15, lambda tile: bytes.fromhex(LOG["tile"])[: 32 * tile.width])
    for size, checkpoint in enumerate(LOG["checkpoints"]):
        note = parse_note(checkpoint.encode())
        assert note.encode().decode() == checkpoint
        assert [signer.key.vkey for signer in opened(note, [parse_vkey(LOG["vkey"])])] == [LOG["vkey"]]
        found = parse_checkpoint(note.text)
        assert (found.origin, found.size) == ("example.com/log/testdata", size)
        assert found.root == merkle.root(size, tree.node)
        assert found.body == note.text


def test_a_foreign_log_key_signs_as_its_owner_did():
    key = parse_skey(LOG["skey"])
    assert key.skey == LOG["skey"]
    assert key.verifier.vkey == LOG["vkey"]
    for checkpoint in LOG["checkpoints"]:
        assert signed(parse_note(checkpoint.encode()).text, [key], 1).encode().decode() == checkpoint


def test_notes_of_go_open_and_are_signed_as_go_does():
    keys = [parse_vkey(key) for key in NOTES["keys"]]
    note = parse_note((NOTES["text"] + "\n" + "".join(NOTES["lines"])).encode())
    assert [signer.key for signer in opened(note, keys)] == keys
    assert [signer.key for signer in opened(note, keys[:1])] == keys[:1]
    assert signed(NOTES["text"], [parse_skey(NOTES["skey"])], 1).signatures[0].line == NOTES["lines"][0]


def test_the_public_checksum_database_is_believed():
    note = parse_note(NOTES["sum_note"].encode() + b"\n")
    with pytest.raises(InvalidProof, match="is no key name"):  # its origin has blanks: none of ours, and not C2SP's
        parse_checkpoint(note.text)
    assert [signer.key.name for signer in opened(note, [parse_vkey(NOTES["sum_vkey"])])] == ["sum.golang.org"]
    assert base64.b64encode(note.signatures[0].key_id) == b"Az3grg=="


@pytest.mark.parametrize("vkey", NOTES["bad_keys"])
def test_keys_that_go_refuses_are_refused(vkey):
    with pytest.raises(InvalidProof):
        parse_vkey(vkey)


def test_a_cosigners_key_is_read():
    key = parse_vkey(GOLDEN["cosignature"]["remora"])
    assert key.kind is Kind.ED25519_COSIGNATURE
    assert key.vkey == GOLDEN["cosignature"]["remora"]
