"""What `tally audit` finds, and how it says so: a finding is 1, not to have looked is 3."""

import json
import shutil

import pytest

from tallystick.cli import main
from tallystick.cli.exits import Exit
from tallystick.tlog.notes import parse_note, signed
from tests.judges.logs import LOG_KEYS, make_log
from tests.unit.tlog.trees import key

OLD_S = 1_700_000_000


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """One log at two sizes, and another history of the larger one."""
    place = tmp_path_factory.mktemp("logs")
    return make_log(place / "small", 257), make_log(place / "grown", 300), make_log(place / "forked", 300, 7, 200)


@pytest.fixture
def policy(tmp_path):
    path = tmp_path / "bank.policy"
    path.write_text("".join(f"log {found.verifier.vkey}\n" for found in LOG_KEYS) + "quorum none\n")
    return path


def audit(capsys, *words):
    code = main.run(["audit", *map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


def monitor(capsys, log, policy, kept, *more):
    return audit(capsys, "monitor", log.folder, "--policy", policy, "--kept", kept, *more)


def test_a_monitor_keeps_what_grew_and_is_alarmed_by_whatever_did_not(capsys, logs, policy, tmp_path):
    small, grown, forked = logs
    kept = tmp_path / "kept"
    assert monitor(capsys, small, policy, kept)[0] == Exit.DONE
    code, told = monitor(capsys, grown, policy, kept)
    assert (code, told["old_size"], told["size"]) == (Exit.DONE, 257, 300)
    assert kept.read_bytes() == grown.checkpoint
    for log, why in ((small, "rolled back"), (forked, "two different trees of 300")):
        code, told = monitor(capsys, log, policy, kept)
        assert (code, told["verified"]) == (Exit.REFUSED, False)
        assert why in told["why"]
        assert kept.read_bytes() == grown.checkpoint
    assert not list(tmp_path.glob("*.new"))


def test_a_policy_without_keys_is_not_printed(capsys, tmp_path):
    code, told = audit(capsys, "policy", "--data", tmp_path)
    assert code not in (Exit.DONE, None)
    assert "no keys yet" in told["error"]


def test_an_old_checkpoint_that_is_served_again_is_an_alarm_for_who_asks_how_old_it_is(capsys, logs, policy, tmp_path):
    """Attack 11: nothing is wrong with it but its age."""
    kept, folder = tmp_path / "kept", tmp_path / "log"
    shutil.copytree(logs[1].folder, folder)
    assert monitor(capsys, logs[1], policy, kept, "--age-max", 3600)[0] == Exit.DONE
    text = parse_note(logs[1].checkpoint).text
    (folder / "checkpoint").write_bytes(signed(text, LOG_KEYS, OLD_S).encode())
    words = ("monitor", folder, "--policy", policy, "--kept", kept)
    assert audit(capsys, *words)[0] == Exit.DONE
    code, told = audit(capsys, *words, "--age-max", 3600)
    assert (code, told["verified"]) == (Exit.REFUSED, False)
    assert "ago" in told["why"]
    policy.write_text(f"log {LOG_KEYS[0].verifier.vkey}\nquorum none\n")
    code, told = audit(capsys, *words, "--age-max", 3600)
    assert code == Exit.REFUSED
    assert "ML-DSA-44" in told["why"]


def test_a_policy_that_cannot_be_read_is_no_finding(capsys, logs, policy, tmp_path):
    for words in (("verify-log", logs[0].folder), ("monitor", logs[0].folder, "--kept", tmp_path / "kept")):
        policy.write_text("log what\nquorum none\n")
        code, told = audit(capsys, *words, "--policy", policy)
        assert code == Exit.NOT_DONE
        assert told["error"].startswith("--policy: ")
        assert "line 1" in told["error"]
        assert audit(capsys, *words, "--policy", tmp_path / "nowhere")[0] == Exit.NOT_DONE
        policy.write_text(f"log {LOG_KEYS[0].verifier.vkey}\nquorum none\n")
    assert audit(capsys, "verify-log", tmp_path / "nothing", "--policy", policy)[0] == Exit.NOT_DONE


def test_what_was_kept_and_is_not_believed_is_told_apart_from_the_log(capsys, logs, policy, tmp_path):
    kept = tmp_path / "kept"
    kept.write_bytes(signed(parse_note(logs[0].checkpoint).text, [key(seed=9)], 0).encode())
    code, told = audit(capsys, "consistency", kept, logs[1].folder, "--policy", policy)
    assert code == Exit.REFUSED
    assert told["why"].startswith("what was kept is no checkpoint")


def test_a_whole_log_is_computed_again_and_the_tile_that_differs_is_named(capsys, logs, policy, tmp_path):
    folder = tmp_path / "log"
    shutil.copytree(logs[1].folder, folder)
    code, told = audit(capsys, "verify-log", folder, "--policy", policy)
    assert (code, told["size"], told["grade"]) == (Exit.DONE, 300, "logged")
    data = bytearray((folder / "tile/entries/000").read_bytes())
    data[256 * 7 + 100] ^= 1
    (folder / "tile/entries/000").write_bytes(data)
    code, told = audit(capsys, "verify-log", folder, "--policy", policy)
    assert (code, told["why"]) == (Exit.REFUSED, "entry 7 is not the one in tile/0/000")
