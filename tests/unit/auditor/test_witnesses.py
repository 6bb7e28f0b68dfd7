"""Cosignatures gathered from real witnesses in process, and from some with flaws; attack 19, where a quorum answers."""

import pytest

from tallystick.auditor.serving import WITNESSED
from tallystick.auditor.witnesses import SIZE, Gatherer, Reply
from tallystick.blockfile.disk import SystemDisk
from tallystick.blockfile.slots import Slots
from tallystick.errors import InvalidProof, Unavailable
from tallystick.tlog import merkle
from tallystick.tlog.keys import Kind
from tallystick.tlog.notes import signed
from tallystick.tlog.policies import believe, parse_policy
from tallystick.tlog.receipts import parse_receipt, verify
from tallystick.witness.cosigning import Cosigner
from tests.unit.auditor.test_auditor import Shard, Time
from tests.unit.tlog.trees import key

KEYS = [key(f"w{number}.example", Kind.ED25519_COSIGNATURE, 40 + number) for number in range(3)]
POLICY = parse_policy(
    f"log {key().verifier.vkey}\n"
    + "".join(f"witness w{at} {found.verifier.vkey} http://w{at}\n" for at, found in enumerate(KEYS))
    + "group two 2 w0 w1 w2\nquorum two\n"
)


class Link:
    """Three real witnesses; `broken` answers in the place of some."""

    def __init__(self, folder):
        self.asked, self.broken = [], {}
        self.witnesses = {}
        for at, found in enumerate(KEYS):
            disk = SystemDisk()
            disk.make_folder(folder / str(at))
            self.witnesses[f"http://w{at}"] = Cosigner(
                lambda: [key().verifier], [found], folder / str(at), disk, Time()
            )

    def add(self, url, body):
        self.asked.append((url, body))
        if url in self.broken:
            return self.broken[url](body)
        reply = self.witnesses[url].add(body)
        return Reply(reply.status, reply.content_type, reply.body)


def down(_body):
    raise Unavailable("nobody there")


@pytest.fixture
def shard(tmp_path):
    return Shard(tmp_path / "shard")


@pytest.fixture
def link(tmp_path):
    return Link(tmp_path / "witnesses")


@pytest.fixture
def gatherer(shard, link):
    slots = Slots(shard.folder / "audit" / WITNESSED, shard.disk)
    return Gatherer(POLICY, link, shard.reader, slots)


def grown(shard, count=300):
    shard.add(count)
    shard.publish()


def test_a_quorum_makes_receipts_witnessed(shard, link, gatherer):
    for size in (300, 600, 900):
        grown(shard)
        assert gatherer.gather().size == size
        receipt = parse_receipt(shard.reader.receipt(size - 1, lambda entry: entry, True))
        believed = verify(receipt, merkle.leaf_hash(receipt.extra), POLICY)
        assert len(believed.signers) == 4
    assert gatherer.gather() is None  # nothing new to ask for
    logged = parse_receipt(shard.reader.receipt(899, lambda entry: entry))
    with pytest.raises(InvalidProof, match="quorum two is not reached"):
        verify(logged, merkle.leaf_hash(logged.extra), POLICY)


def test_only_the_logs_own_signatures_are_sent(shard, link, gatherer):
    grown(shard)
    gatherer.gather()
    assert all(body.count("—".encode()) == 1 for _, body in link.asked)


def test_a_witness_that_knows_more_than_we_remember_is_met_where_it_stands(shard, link, gatherer):
    grown(shard)
    gatherer.gather()
    again = Gatherer(POLICY, link, shard.reader, Slots(shard.folder / "audit" / "other", shard.disk))
    grown(shard)
    assert again.gather().size == 600


@pytest.mark.parametrize(
    "broken",
    [
        down,
        lambda body: Reply(429, "text/plain", b"slow down\n"),
        lambda body: Reply(500, "text/plain", b"\n"),
        lambda body: Reply(200, "text/plain", b""),
        lambda body: Reply(200, "text/plain", b"\xff"),
        lambda body: Reply(200, "text/plain", signed("x\n", [KEYS[1]], 1).signatures[0].line.encode()),
        lambda body: Reply(409, "text/plain", b"5\n"),
        lambda body: Reply(409, SIZE, b"05\n"),
        lambda body: Reply(409, SIZE, b"999999\n"),
        lambda body: Reply(422, "text/plain", b"no\n"),
    ],
)
def test_one_that_fails_is_outvoted_and_two_are_no_quorum(shard, link, gatherer, broken):
    grown(shard)
    link.broken["http://w1"] = broken
    assert gatherer.gather().size == 300
    grown(shard)
    link.broken["http://w2"] = broken
    with pytest.raises(Unavailable, match="no quorum"):
        gatherer.gather()
    with pytest.raises(Unavailable, match="not under a witnessed checkpoint"):
        shard.reader.receipt(599, bytes, True)
    assert shard.reader.receipt(599, bytes)  # logged goes on
    assert shard.reader.receipt(299, bytes, True)  # and what was witnessed stays so
    link.broken.clear()
    assert gatherer.gather().size == 600


def test_a_charset_behind_the_size_is_understood(shard, link, gatherer):
    grown(shard)
    real = link.witnesses["http://w0"]

    def with_charset(body):
        reply = real.add(body)
        return Reply(reply.status, reply.content_type + "; charset=utf-8", reply.body)

    gatherer.gather()
    link.broken = {f"http://w{at}": down for at in (1,)} | {"http://w0": with_charset}
    again = Gatherer(POLICY, link, shard.reader, Slots(shard.folder / "audit" / "other", shard.disk))
    grown(shard)
    assert again.gather().size == 600


def test_a_minority_that_signs_anything_makes_nothing_witnessed(shard, link, gatherer):
    """Attack 19: one compromised witness signs a forked history that the other two refuse."""
    grown(shard)
    gatherer.gather()
    forked = signed(shard.checkpoint().body.replace("300", "299"), [key(), KEYS[0]], 1_700_000_000)
    with pytest.raises(InvalidProof, match=r"quorum two is not reached: w0\.example"):
        believe(forked, POLICY)
