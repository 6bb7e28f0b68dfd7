"""Witnesses of others, and ours, before our log: they cosign what only grew, and nothing else. Then programs of others
before our witness, which so cosigns a log that is not ours. Skipped aloud where there is no Go.
"""

import base64
import contextlib
import json
import subprocess

import pytest

from tallystick.auditor.asking import HttpWitnesses
from tallystick.auditor.serving import WITNESSED
from tallystick.auditor.witnesses import Gatherer
from tallystick.blockfile.disk import SystemDisk
from tallystick.blockfile.slots import Slots
from tallystick.tlog.auditing import check_whole
from tallystick.tlog.checkpoints import Checkpoint, parse_checkpoint
from tallystick.tlog.keys import Kind, new_key, parse_vkey
from tallystick.tlog.notes import Note, opened, parse_note, parse_signatures, signed
from tallystick.tlog.policies import parse_policy
from tallystick.tlog.submissions import Submission
from tests.judges.foreign import BUILD_S_MAX, WITNESSES, built, ours
from tests.judges.logs import LOG_KEYS, ORIGIN
from tests.unit.tlog.trees import key

pytestmark = [pytest.mark.service, pytest.mark.timeout(BUILD_S_MAX)]  # the first one builds the programs
SMALL, KEPT, SIZE, FORKED_AT = 257, 66_000, 70_000, 40_000
LOGS = [found.verifier for found in LOG_KEYS]
SIZE_TYPE = "text/x.tlog.size"


def ask(witness, old, log, proof=None, checkpoint=None):
    """The witness's answer to a log's checkpoint, sent as our auditor sends it."""
    if proof is None:
        proof = log.reader.growth(old, log.size) if 0 < old < log.size else ()
    return HttpWitnesses().add(witness.url, Submission(old, tuple(proof), checkpoint or log.checkpoint).encode())


def cosigned(witness, log, reply):
    """Whether each of the witness's keys signed the log's checkpoint."""
    note = Note(parse_note(log.checkpoint).text, parse_signatures(reply.body.decode()))
    return reply.status == 200 and len(opened(note, map(parse_vkey, witness.vkeys))) == len(witness.vkeys)


def attacks(witness, log_of, last):
    """Each attack's answer, where the witness cosigned `last` entries; and what ours says, which is as specified."""
    honest = log_of(SIZE)
    stranger = signed(parse_note(honest.checkpoint).text, [key(seed=9)], 1).encode()
    other = signed(Checkpoint("other.example/log", SIZE, bytes(32)).body, [key("other.example/log")], 1).encode()
    yield "rolled back, saying so", 400, ask(witness, last, log_of(65_537))
    yield "rolled back, with the older size", 409, ask(witness, SMALL, log_of(65_537))
    yield "forked", 422, ask(witness, last, log_of(SIZE, 8, FORKED_AT))
    yield "rewritten", 422, ask(witness, last, log_of(SIZE, 9, 0))
    yield "two views of one size", 422, ask(witness, last, log_of(KEPT, 7, 100), ())
    yield "grown without a proof", 422, ask(witness, last, honest, ())
    yield "grown with another's proof", 422, ask(witness, last, honest, log_of(SIZE, 9, 0).reader.growth(last, SIZE))
    yield "signed by a stranger", 403, ask(witness, last, honest, checkpoint=stranger)
    yield "another log", 404, ask(witness, 0, honest, (), other)


@pytest.mark.parametrize("name", WITNESSES)
def test_a_witness_cosigns_what_grew_and_refuses_every_attack_even_after_it_was_killed(name, log_of, tmp_path):
    folder = tmp_path / "witness"
    with WITNESSES[name](folder, LOGS) as witness:
        assert cosigned(witness, log_of(SMALL), ask(witness, 0, log_of(SMALL)))
        assert cosigned(witness, log_of(KEPT), ask(witness, SMALL, log_of(KEPT)))
        for attack, status, reply in attacks(witness, log_of, KEPT):
            assert reply.status == status if name == "ours" else reply.status != 200, (attack, reply)
    # It was killed, not stopped: what it cosigned it must remember.
    with WITNESSES[name](folder, LOGS) as witness:
        reply = ask(witness, SMALL, log_of(SIZE))
        assert (reply.status, reply.content_type, reply.body) == (409, SIZE_TYPE, b"%d\n" % KEPT)
        for attack, _, reply in attacks(witness, log_of, KEPT):
            assert reply.status != 200, (attack, reply)
        assert cosigned(witness, log_of(SIZE), ask(witness, KEPT, log_of(SIZE)))
        assert cosigned(witness, log_of(SIZE), ask(witness, SIZE, log_of(SIZE)))


def test_a_receipt_with_the_cosignatures_of_three_witnesses_satisfies_a_reader_that_is_not_ours(
    torchwood, log_of, tmp_path
):
    log = log_of(SIZE)
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(start(tmp_path / name, LOGS)) for name, start in WITNESSES.items()]
        lines = [f"log {found.vkey}" for found in LOGS]
        members = []
        for witness in running:
            for number, vkey in enumerate(witness.vkeys):
                members.append(f"{witness.name}{number}")
                lines.append(f"witness {members[-1]} {vkey} {witness.url}")
        assert len(members) == 5  # two of them have an ML-DSA-44 key too
        policy = tmp_path / "policy"
        policy.write_text("\n".join([*lines, f"group all-of-them all {' '.join(members)}", "quorum all-of-them", ""]))
        witnessed = Slots(log.audit / WITNESSED, SystemDisk())
        gatherer = Gatherer(parse_policy(policy.read_text()), HttpWitnesses(), log.reader, witnessed)
        assert gatherer.gather() == parse_checkpoint(parse_note(log.checkpoint).text)
    entry, path = tmp_path / "entry", tmp_path / "receipt"
    for index in (0, 65_535, SIZE - 1):
        entry.write_bytes(log.entries[index].tobytes()[2:])
        path.write_bytes(log.reader.receipt(index, lambda found: found, witnessed=True))
        assert judged(torchwood, path, policy, entry)["accepted"]
    good = path.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(good):
        if line.startswith("\N{EM DASH} ".encode()) and ORIGIN.encode() not in line:
            path.write_bytes(b"".join(good[:number] + good[number + 1 :]))  # without one witness
            assert not judged(torchwood, path, policy, entry)["accepted"], line[:40]
    path.write_bytes(b"".join(good))
    entry.write_bytes(log.entries[0].tobytes()[2:])
    assert not judged(torchwood, path, policy, entry)["accepted"]


def judged(torchwood, *words):
    done = subprocess.run([torchwood, "receipt", *words], capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


def test_a_client_that_is_not_ours_understands_every_answer_of_our_witness(log_of, tmp_path):
    program, path = built("witnesses") / "witnesses", tmp_path / "checkpoint"
    with ours(tmp_path / "witness", LOGS) as witness:

        def update(old, checkpoint, proof=()):
            path.write_bytes(checkpoint)
            hashes = [base64.b64encode(found).decode() for found in proof]
            command = [program, witness.url, str(old), path, *hashes]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
            return json.loads(done.stdout)

        small, kept, grown = log_of(SMALL), log_of(KEPT), log_of(SIZE)
        first = update(0, small.checkpoint)
        assert first["error"] == ""
        assert cosigned_lines(witness, small, first["lines"])
        assert update(SMALL, kept.checkpoint, kept.reader.growth(SMALL, KEPT))["error"] == ""
        stale = update(SMALL, grown.checkpoint, grown.reader.growth(SMALL, SIZE))
        assert (stale["error"], stale["size"]) == ("stale", KEPT)
        assert update(KEPT, log_of(65_537).checkpoint)["error"] == "old size invalid"
        assert update(KEPT, grown.checkpoint)["error"] == "invalid proof"
        fork = log_of(SIZE, 8, FORKED_AT)
        assert update(KEPT, fork.checkpoint, fork.reader.growth(KEPT, SIZE))["error"] == "invalid proof"
        assert update(KEPT, log_of(KEPT, 7, 100).checkpoint)["error"] == "invalid proof"
        text = parse_note(grown.checkpoint).text
        assert update(KEPT, signed(text, [key(seed=9)], 1).encode())["error"] == "no valid signature"
        stranger = signed(Checkpoint("other.example/log", 5, bytes(32)).body, [key("other.example/log")], 1)
        assert update(0, stranger.encode())["error"] == "unknown log"
        assert update(KEPT, grown.checkpoint, grown.reader.growth(KEPT, SIZE))["error"] == ""


def cosigned_lines(witness, log, lines):
    note = Note(parse_note(log.checkpoint).text, parse_signatures(lines))
    return len(opened(note, map(parse_vkey, witness.vkeys))) == len(witness.vkeys)


def test_our_witness_cosigns_a_log_that_is_not_ours_and_no_second_history_of_it(binary, torchwood, tmp_path):
    program = built("witnesses") / "posix-oneshot"
    origin = "other.example/log"
    signer = new_key(origin, Kind.ED25519, lambda size: b"o" * size)
    (tmp_path / "key").write_text(signer.skey)
    with ours(tmp_path / "witness", [signer.verifier]) as witness:
        policy = tmp_path / "policy"
        policy.write_text(f"witness w {witness.vkeys[0]} {witness.url}\nquorum w\n")

        def add(folder, first, count, word="entry"):
            entries = tmp_path / f"{folder}-{first}"
            entries.mkdir()
            for number in range(first, first + count):
                (entries / f"{number:06}").write_text(f"{word} {number}")
            words = ["--storage_dir", tmp_path / folder, "--entries", entries / "*", "--private_key", tmp_path / "key"]
            words += ["--witness_policy_file", policy, "--witness_timeout", "5s"]
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run([program, *words], capture_output=True, timeout=15, check=False)
            path = tmp_path / folder / "checkpoint"
            return path.read_bytes() if path.exists() else None

        for first, count in ((0, 300), (300, 40), (340, 1)):
            note = parse_note(add("log", first, count))
            assert len(opened(note, [signer.verifier, parse_vkey(witness.vkeys[0])])) == 2
            checkpoint = parse_checkpoint(note.text)
            assert checkpoint.size == first + count
            check_whole(checkpoint, lambda tile: (tmp_path / "log" / tile.path).read_bytes())
            for judge in ([binary, "fsck"], [binary, "tiles"], [torchwood, "tiles"]):
                command = [*judge, tmp_path / "log", origin, signer.verifier.vkey]
                said = json.loads(subprocess.run(command, capture_output=True, timeout=60, check=True).stdout)
                assert (said["accepted"], said["size"]) == (True, checkpoint.size), said
        assert add("rewritten", 0, 400, "another") is None or not cosigned_by(witness, tmp_path / "rewritten")


def cosigned_by(witness, folder):
    note = parse_note((folder / "checkpoint").read_bytes())
    return any(line.name == parse_vkey(witness.vkeys[0]).name for line in note.signatures)
