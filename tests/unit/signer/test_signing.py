"""What the signer signs and what it never does; attacks 7 to 10 where they would need its signature."""

from pathlib import Path

import pytest

from tallystick.blockfile.simulated import Fault, PowerCut, SimulatedDisk
from tallystick.blockfile.slots import Slots
from tallystick.errors import Corrupt, Invalid, InvalidProof, OutcomeUnknown
from tallystick.signer import keyfile
from tallystick.signer.port import Stale
from tallystick.signer.signing import Signing
from tallystick.tlog import merkle
from tallystick.tlog.checkpoints import Checkpoint, parse_checkpoint
from tallystick.tlog.keys import Kind
from tallystick.tlog.notes import opened
from tests.unit.tlog import trees
from tests.unit.tlog.trees import ORIGIN, key

FOLDER = Path("/signer")
KEYS = [key(), key(kind=Kind.MLDSA44, seed=2)]
TREE = trees.tree(600)
OTHER = merkle.leaf_hash(b"another history")


class Wall:
    def wall_ns(self):
        return 1_700_000_000_999_999_999

    monotonic_ns = wall_ns


def signing(disk, origin=ORIGIN):
    disk.make_folder(FOLDER)
    return Signing(origin, lambda: KEYS, Slots(FOLDER / "signed", disk), Wall())


def checkpoint(size):
    return Checkpoint(ORIGIN, size, merkle.root(size, TREE.node))


def proof(old, new):
    return merkle.consistency_proof(old, new, TREE.node) if old else []


def forked(size):
    """Another history of the same size, with a proof of its own for whoever believes it."""
    leaves = [trees.leaves(size)[at : at + 32] for at in range(0, size * 32, 32)]
    leaves[3] = OTHER

    def node(level, index):
        return (
            leaves[index]
            if level == 0
            else merkle.node_hash(node(level - 1, 2 * index), node(level - 1, 2 * index + 1))
        )

    return Checkpoint(ORIGIN, size, merkle.root(size, node)), node


def test_a_growing_tree_is_signed_by_every_key():
    signer = signing(SimulatedDisk(1))
    old = 0
    for size in (0, 1, 255, 256, 257, 600, 600):
        note = signer.sign(old, proof(old, size), checkpoint(size))
        assert parse_checkpoint(note.text) == checkpoint(size)
        signers = opened(note, [key.verifier for key in KEYS])
        assert [(found.key.kind, found.time_s) for found in signers] == [
            (Kind.ED25519, 0),
            (Kind.MLDSA44, 1_700_000_000),
        ]
        old = size


def test_nothing_is_signed_that_does_not_add_to_the_last():
    signer = signing(SimulatedDisk(1))
    signer.sign(0, [], checkpoint(300))
    fork, node = forked(600)
    cases = [
        (300, proof(300, 600)[:-1], checkpoint(600)),
        (300, [], checkpoint(600)),
        (300, proof(300, 600), fork),
        (300, merkle.consistency_proof(300, 600, node), fork),
        (300, [], forked(300)[0]),
        (300, proof(200, 300), checkpoint(200)),
        (300, proof(300, 600), Checkpoint("other.example", 600, checkpoint(600).root)),
    ]
    for case in cases:
        with pytest.raises(InvalidProof):
            signer.sign(*case)
    assert signer.last == checkpoint(300)
    assert signer.sign(300, proof(300, 600), checkpoint(600))


@pytest.mark.parametrize("old", [0, 299, 301, 600])
def test_who_begins_elsewhere_is_told_where_the_signer_stands(old):
    signer = signing(SimulatedDisk(1))
    signer.sign(0, [], checkpoint(300))
    with pytest.raises(Stale) as stale:
        signer.sign(old, [], checkpoint(600))
    assert stale.value.size == 300


def test_a_first_tree_needs_no_proof_and_takes_none():
    with pytest.raises(InvalidProof, match="nothing to prove"):
        signing(SimulatedDisk(1)).sign(0, [OTHER], checkpoint(5))
    with pytest.raises(InvalidProof, match="one root"):
        signing(SimulatedDisk(1)).sign(0, [], Checkpoint(ORIGIN, 0, OTHER))


@pytest.mark.parametrize("operations", range(8))
def test_a_restarted_signer_knows_every_signature_it_gave(operations):
    for seed in range(20):
        disk = SimulatedDisk(seed)
        signer = signing(disk)
        signer.sign(0, [], checkpoint(100))
        disk.cut_after(operations)
        given = 100
        try:
            signer.sign(100, proof(100, 200), checkpoint(200))
            given = 200
            signer.sign(200, proof(200, 300), checkpoint(300))
            given = 300
        except PowerCut:
            pass
        again = signing(disk.cut())
        assert again.last.size >= given
        assert again.last == checkpoint(again.last.size)


def test_what_cannot_be_remembered_is_not_signed():
    disk = SimulatedDisk(1)
    signer = signing(disk)
    signer.sign(0, [], checkpoint(100))
    disk.inject(Fault.SYNC_ERROR)
    with pytest.raises(OutcomeUnknown):
        signer.sign(100, proof(100, 200), checkpoint(200))


def test_a_signer_serves_one_log():
    disk = SimulatedDisk(1)
    signing(disk).sign(0, [], checkpoint(5))
    with pytest.raises(Corrupt, match="a log needs its own folder"):
        signing(disk.kill(), "other.example")


class TestKeys:
    def test_a_log_begins_with_a_pair_and_keeps_it(self, tmp_path):
        path = tmp_path / "signer" / "keys"
        keys = keyfile.create(path, ORIGIN, lambda count: b"a" * count)
        assert [found.kind for found in keys] == [Kind.ED25519, Kind.MLDSA44]
        assert keyfile.create(path, ORIGIN, lambda count: b"b" * count) == keys == keyfile.read(path)
        assert path.stat().st_mode & 0o777 == 0o600

    def test_old_and_new_keys_both_sign_until_the_old_ones_are_retired(self, tmp_path):
        path = tmp_path / "keys"
        old = keyfile.create(path, ORIGIN, lambda count: b"a" * count)
        both = keyfile.rotate(path, ORIGIN, lambda count: b"b" * count)
        assert both[:2] == old
        assert len(both) == 4
        for retired in old:
            keyfile.retire(path, retired.verifier.key_id.hex())
        assert keyfile.read(path) == both[2:]

    def test_the_last_key_that_every_reader_knows_stays(self, tmp_path):
        path = tmp_path / "keys"
        first = keyfile.create(path, ORIGIN, lambda count: b"a" * count)[0]
        with pytest.raises(Invalid, match="rotate first"):
            keyfile.retire(path, first.verifier.key_id.hex())
        with pytest.raises(Invalid, match="no key 'ffffffff' signs"):
            keyfile.retire(path, "ffffffff")

    def test_keys_of_another_log_are_not_mixed_in(self, tmp_path):
        path = tmp_path / "keys"
        keyfile.create(path, ORIGIN, lambda count: b"a" * count)
        with pytest.raises(Invalid, match="are of"):
            keyfile.rotate(path, "other.example", lambda count: b"b" * count)

    def test_a_damaged_key_file_needs_a_person_and_shows_no_key(self, tmp_path):
        path = tmp_path / "keys"
        keyfile.create(path, ORIGIN, lambda count: b"a" * count)
        text = path.read_text()
        path.write_text(text.replace("YWFh", "YWFi"))
        with pytest.raises(Corrupt) as error:
            keyfile.read(path)
        assert "YWF" not in str(error.value)
