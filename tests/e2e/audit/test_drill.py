"""The drill of docs/backup.md: the data folder is lost, and a backup rolls forward."""

import json
import os
import shutil
import subprocess

import pytest

from tallystick import ids
from tallystick.gateway import auth
from tallystick.lab.instance import Instance, pause, tally
from tallystick.lab.plan import CODE, LEDGER
from tests.conformance.objectstore import BUILD_S_MAX, KEYS, store

__all__ = ["store"]

DEADLINE_S = 60.0


def run(*words):
    done = subprocess.run([*tally(), *map(str, words), "--json"], capture_output=True, text=True, timeout=180)
    return done.returncode, json.loads(done.stdout or "null"), done.stderr


def until(holds):
    for _ in range(round(DEADLINE_S / 0.05)):
        if found := holds():
            return found
        pause(0.05)
    raise AssertionError(f"did not happen within {DEADLINE_S} s")


def pay(instance, api, number):
    body = {
        "id": ids.show(number),
        "debit_account_id": ids.show(1),
        "credit_account_id": ids.show(2),
        "amount": "7",
        "ledger": LEDGER,
        "code": CODE,
    }
    assert instance.settle(api, "/v1/transfers", body).status == 201


def checkpoint_over(api, number):
    """A checkpoint that covers this transfer, and its receipt."""
    path = f"/v1/transfers/{ids.show(number)}/receipt"
    receipt = until(lambda: (answer := api.ask("GET", path)).status == 200 and answer.body)
    return api.ask("GET", "/v1/log/checkpoint").body, receipt


def noted_and_signed(data, api, of=1):
    """A currency is set, and the acts of the log `control` are under a checkpoint then."""
    code, _, said = run("currency", "set", str(LEDGER), "EUR", "--data", data)
    assert code == 0, said

    def signed():
        done = subprocess.run(
            [*tally("audit", "acts", "control", "--data", str(data), "--json")], capture_output=True, text=True
        )
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        return done.returncode == 0 and rows[-1]["verified"] and len(rows) > of and rows[-2]["signed"] and rows[:-1]

    return until(signed)


def lose_and_restore(original, restored, backup):
    """The disk with the data folder is gone. The signer has one of its own, so its memory is of today."""
    os.rename(original, original.with_name("lost"))
    code, told, _ = run("restore", backup, restored)
    assert (code, told["rolled_forward"]) == (0, None)
    shutil.rmtree(restored / "signer")
    shutil.copytree(original.with_name("lost") / "signer", restored / "signer")
    return told["position"]


@pytest.fixture(params=["folder", "bucket"])
def archive(request, tmp_path, monkeypatch):
    """As `TALLY_ARCHIVE`."""
    if request.param == "folder":
        return str(tmp_path / "archive")
    (tmp_path / "secret").write_text(KEYS.secret_key)
    monkeypatch.setenv("TALLY_ARCHIVE_ENDPOINT", request.getfixturevalue("store"))
    monkeypatch.setenv("TALLY_ARCHIVE_ACCESS_KEY", KEYS.access_key)
    monkeypatch.setenv("TALLY_ARCHIVE_SECRET_FILE", str(tmp_path / "secret"))
    return "s3://log/the drill/ledger"


@pytest.mark.timeout(BUILD_S_MAX)
def test_a_backup_of_yesterday_rolls_forward_and_the_log_goes_on_without_a_fork(tmp_path, archive):
    original, restored, backup = (tmp_path / name for name in ("data", "restored", "backup"))
    with Instance(original, settings={"archive": archive}) as instance:
        api = instance.api()
        instance.open_accounts([1, 2], limited=False)
        pay(instance, api, 100)
        checkpoint_over(api, 100)  # auditor and signer, which start behind payments, are there by now
        assert run("backup", backup, "--data", original)[0] == 0
        for number in range(101, 120):
            pay(instance, api, number)
        kept, receipt = checkpoint_over(api, 119)
        acts = noted_and_signed(original, api)
        policy = subprocess.run([*tally("audit", "policy", "--data", str(original))], capture_output=True, check=True)
    for name, data in (("kept", kept), ("receipt", receipt), ("policy", policy.stdout)):
        (tmp_path / name).write_bytes(data)
    position = lose_and_restore(original, restored, backup)

    # Without its archive it must not start: other entries would get the numbers of those that were signed.
    alone = subprocess.run(
        [*tally("up", "engine", "--data", str(restored))], capture_output=True, text=True, timeout=180, check=False
    )
    assert alone.returncode == 70
    assert "deciding on would fork it" in alone.stderr

    with Instance(restored, settings={"archive": archive}) as instance:
        api = instance.api()
        assert instance.balances([2])[2][1] == 20 * 7, "a payment did not come back"
        more = noted_and_signed(restored, api, of=len(acts) + 1)
        assert [row["at"] for row in more[:-1]] == [row["at"] for row in acts], "an act did not come back"
        pay(instance, api, 200)
        after, _ = checkpoint_over(api, 200)
        assert int(after.split(b"\n")[1]) > int(kept.split(b"\n")[1]) > position
        key = auth.make_key(os.urandom)
        auth.add_key(restored / "keys.json", key, 1, "judge", [auth.AUDIT], 1)
        (tmp_path / "key").write_text(key)
        log = [instance.url + "/v1/log", "--policy", tmp_path / "policy", "--key-file", tmp_path / "key"]
        until(lambda: run("audit", "verify-log", *log)[0] == 0)
        for old in ("kept", "receipt"):
            code, told, _ = run("audit", "consistency", tmp_path / old, *log)
            assert (code, told["verified"]) == (0, True)

    # The archive of the restored platform goes on, and a second drill finds all of it there.
    code, told, said = run("restore", backup, tmp_path / "again", "--archive", archive)
    assert code == 0, said
    assert told["position"] + told["rolled_forward"] >= int(after.split(b"\n")[1])
