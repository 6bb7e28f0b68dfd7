"""What a witness cosigns and what not, over HTTP and on the simulated disk; attacks 8 to 11 as it meets them."""

import http.client
import threading
from pathlib import Path

import pytest

from tallystick.blockfile.simulated import PowerCut, SimulatedDisk
from tallystick.errors import InvalidProof
from tallystick.tlog import merkle
from tallystick.tlog.checkpoints import Checkpoint, parse_checkpoint
from tallystick.tlog.keys import Kind
from tallystick.tlog.notes import Note, opened, parse_note, parse_signatures, signed
from tallystick.tlog.policies import believe, parse_policy
from tallystick.tlog.submissions import Submission
from tallystick.witness.cosigning import SIZE, Cosigner, place
from tallystick.witness.server import BODY_BYTES_MAX, WitnessServer
from tests.unit.signer.test_signing import checkpoint, forked, proof
from tests.unit.tlog.trees import ORIGIN, key

FOLDER = Path("/witness")
LOG = key()
WITNESS = [key("witness.example/w", Kind.ED25519_COSIGNATURE, 21), key("witness.example/w", Kind.MLDSA44, 22)]
NOW_S = 1_700_000_000


class Wall:
    def wall_ns(self):
        return NOW_S * 1_000_000_000 + 999_999_999

    monotonic_ns = wall_ns


def cosigner(disk=None):
    disk = disk or SimulatedDisk(1)
    disk.make_folder(FOLDER)
    return Cosigner(lambda: [LOG.verifier], WITNESS, FOLDER, disk, Wall())


def submission(old, size, hashes=None, body=None, keys=(LOG,)):
    text = body or checkpoint(size).body
    return Submission(
        old, tuple(proof(old, size) if hashes is None else hashes), signed(text, keys, 1).encode()
    ).encode()


def status(witness, data):
    return witness.add(data).status


def test_a_log_that_grows_is_cosigned_by_both_keys():
    witness = cosigner()
    for old, size in ((0, 0), (0, 1), (1, 255), (255, 256), (256, 600), (600, 600)):
        reply = witness.add(submission(old, size))
        assert reply.status == 200
        note = Note(checkpoint(size).body, parse_signatures(reply.body.decode()))
        found = opened(note, [key.verifier for key in WITNESS])
        assert [(signer.key.kind, signer.time_s) for signer in found] == [
            (Kind.ED25519_COSIGNATURE, NOW_S),
            (Kind.MLDSA44, NOW_S),
        ]


def test_its_cosignatures_make_a_quorum():
    reply = cosigner().add(submission(0, 300))
    note = signed(checkpoint(300).body, [LOG], 1)
    policy = parse_policy(f"log {LOG.verifier.vkey}\nwitness w {WITNESS[0].verifier.vkey}\nquorum w\n")
    with pytest.raises(InvalidProof, match="quorum w is not reached"):
        believe(note, policy)
    whole = Note(note.text, (*note.signatures, *parse_signatures(reply.body.decode())))
    assert believe(whole, policy).checkpoint == checkpoint(300)


FORK, FORK_NODE = forked(600)
EMPTY_WITH_A_ROOT = f"{ORIGIN}\n0\n{checkpoint(5).body.splitlines()[2]}\n"
AFTER_300 = {
    # name: (body, status)
    "stale old size": (submission(200, 600), 409),
    "first contact again": (submission(0, 600, []), 409),
    "old size ahead": (submission(301, 600), 409),
    "old beyond the size": (submission(300, 200, []), 400),
    "rolled back with the small old": (submission(200, 250), 409),
    "no proof": (submission(300, 600, []), 422),
    "proof cut": (submission(300, 600, proof(300, 600)[:-1]), 422),
    "proof too long": (submission(300, 600, [*proof(300, 600), bytes(32)]), 422),
    "fork with its own proof": (
        submission(300, 600, merkle.consistency_proof(300, 600, FORK_NODE), FORK.body),
        422,
    ),
    "same size, other root": (submission(300, 300, [], forked(300)[0].body), 422),
    "same size with a proof": (submission(300, 300, [bytes(32)]), 422),
    "signed by a stranger": (submission(300, 600, keys=[key(seed=9)]), 403),
    "a stranger in the log's name beside nobody": (submission(300, 600, keys=WITNESS), 403),
    "unknown origin": (submission(300, 600, body=checkpoint(600).body.replace(ORIGIN, "other.example")), 404),
    "leading zero in old": (submission(300, 600).replace(b"old 300", b"old 0300"), 400),
    "leading zero in the size": (submission(300, 600, body=checkpoint(600).body.replace("600", "0600")), 400),
    "64 hashes": (submission(300, 600, [bytes(32)] * 64), 400),
    "short hash": (submission(300, 600, [bytes(31)]), 400),
    "an extension line": (submission(300, 600, body=checkpoint(600).body + "more\n"), 400),
    "no blank line": (submission(300, 600).replace(b"\n\n", b"\n", 1), 400),
    "CRLF": (submission(300, 600).replace(b"\n", b"\r\n"), 400),
    "nothing": (b"", 400),
    "no UTF-8": (submission(300, 600) + b"\xff", 400),
}


@pytest.mark.parametrize("name", AFTER_300)
def test_each_request_has_its_answer_and_changes_nothing_unless_it_is_200(name):
    witness = cosigner()
    assert status(witness, submission(0, 300)) == 200
    body, expected = AFTER_300[name]
    reply = witness.add(body)
    assert reply.status == expected, reply.body
    if expected == 409:
        assert (reply.body, reply.content_type) == (b"300\n", SIZE)
    assert status(witness, submission(300, 600)) == 200


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (submission(5, 300), 409),
        (submission(0, 300, [bytes(32)]), 422),
        (submission(0, 0, [], EMPTY_WITH_A_ROOT), 422),
    ],
)
def test_a_first_contact_has_its_rules(body, expected):
    assert status(cosigner(), body) == expected


def test_a_known_key_that_fails_beside_one_that_does_not_is_refused():
    good = signed(checkpoint(300).body, [LOG], 1)
    bad = type(good.signatures[0])(ORIGIN, LOG.verifier.key_id, bytes(64))
    body = Submission(0, (), Note(good.text, (*good.signatures, bad)).encode()).encode()
    assert status(cosigner(), body) == 403


def test_of_equal_requests_at_once_one_is_first():
    witness, found = cosigner(), []
    threads = [threading.Thread(target=lambda: found.append(status(witness, submission(0, 300)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [200, *[409] * 7]


@pytest.mark.parametrize("operations", [0, 1, *(pytest.param(cut, marks=pytest.mark.service) for cut in range(2, 8))])
def test_what_was_cosigned_is_known_after_a_power_cut(operations):
    for seed in range(20):
        disk = SimulatedDisk(seed)
        witness = cosigner(disk)
        assert status(witness, submission(0, 100)) == 200
        disk.cut_after(operations)
        given = 100
        try:
            for size in (200, 300):
                assert status(witness, submission(given, size)) == 200
                given = size
        except PowerCut:
            pass
        again = cosigner(disk.cut())
        last = parse_checkpoint(parse_note(again.last(place(ORIGIN)).body).text)
        assert last.size >= given
        assert last == checkpoint(last.size)
        assert status(again, submission(0, 300, [], forked(300)[0].body)) in (409, 422)


class TestHttp:
    @pytest.fixture
    def server(self):
        server = WitnessServer("127.0.0.1", 0, cosigner())
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
        server.server_close()

    @staticmethod
    def ask(server, method, path, body=b"", headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        found = answer.status, answer.getheader("Content-Type"), answer.read()
        connection.close()
        return found

    def test_the_exact_bytes_that_other_clients_look_for(self, server):
        code, kind, body = self.ask(server, "POST", "/add-checkpoint", submission(0, 300))
        assert (code, kind) == (200, "text/plain; charset=utf-8")
        assert body.startswith("— witness.example/w ".encode())
        assert body.endswith(b"\n")
        assert self.ask(server, "POST", "/add-checkpoint", submission(0, 300)) == (409, "text/x.tlog.size", b"300\n")

    def test_a_connection_serves_many_requests(self, server):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
        for old, size in ((0, 100), (100, 200), (200, 300)):
            connection.request("POST", "/add-checkpoint", submission(old, size))
            answer = connection.getresponse()
            assert (answer.status, bool(answer.read())) == (200, True)
        connection.close()

    def test_the_last_checkpoint_is_there_for_monitors(self, server):
        path = f"/{place(ORIGIN)}/checkpoint"
        assert self.ask(server, "GET", path)[0] == 404
        self.ask(server, "POST", "/add-checkpoint", submission(0, 300))
        code, _, body = self.ask(server, "GET", path)
        assert code == 200
        assert parse_checkpoint(parse_note(body).text) == checkpoint(300)
        opened(parse_note(body), [LOG.verifier])
        opened(parse_note(body), [WITNESS[0].verifier])

    @pytest.mark.parametrize(
        ("method", "path", "headers", "body", "expected"),
        [
            ("POST", "/", {}, b"x", 404),
            ("GET", "/", {}, b"", 404),
            ("GET", "/nothing/checkpoint", {}, b"", 404),
            ("POST", "/add-checkpoint", {"Content-Length": str(BODY_BYTES_MAX + 1)}, b"", 413),
            ("POST", "/add-checkpoint", {"Content-Length": "-1"}, b"", 411),
            ("POST", "/add-checkpoint", {"Content-Length": "1_0"}, b"", 411),
        ],
    )
    def test_what_is_no_request_of_ours(self, server, method, path, headers, body, expected):
        assert self.ask(server, method, path, body, headers)[0] == expected
        assert self.ask(server, "POST", "/add-checkpoint", submission(0, 300))[0] == 200

    def test_big_bodies_are_taken_up_to_the_bound(self, server):
        strangers = [key("other.example", Kind.MLDSA44, seed) for seed in range(30, 46)]
        body = submission(0, 300, keys=[LOG, *strangers])
        assert 50_000 < len(body) < BODY_BYTES_MAX
        assert self.ask(server, "POST", "/add-checkpoint", body)[0] == 200


def test_other_logs_have_checkpoints_of_their_own():
    other = key("other.example/log", seed=31)
    disk = SimulatedDisk(1)
    disk.make_folder(FOLDER)
    witness = Cosigner(lambda: [LOG.verifier, other.verifier], WITNESS, FOLDER, disk, Wall())
    assert status(witness, submission(0, 300)) == 200
    theirs = Checkpoint(other.name, 5, bytes(range(32)))
    assert status(witness, submission(0, 5, [], theirs.body, [other])) == 200
    assert status(witness, submission(0, 5, [], theirs.body, [LOG])) == 403  # one log's key signs for no other
