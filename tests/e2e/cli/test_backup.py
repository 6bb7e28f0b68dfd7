"""Backup and restore of a whole Tallystick, with payments flowing meanwhile."""

import json
import subprocess

import numpy as np
import pytest

from tallystick.cli.exits import Exit
from tallystick.clock import system_entropy
from tallystick.compose import backup as compose
from tallystick.lab import journal_check
from tallystick.lab.generator import load_run
from tallystick.lab.instance import TENANT, Instance, tally
from tallystick.lab.kills import ACCOUNTS, fill
from tallystick.lab.load import Config
from tallystick.lab.plan import Plan
from tallystick.settings import LANE_SEGMENT_BYTES_MIN, SEGMENT_BYTES_MIN

RATE = 2_000
SECONDS = 12
STORED = 20_000
"""Transfers before: more than a segment, so that a second backup has one to keep."""


def run(*words):
    """In a process of its own: a backup lowers its priority, which cannot be taken back."""
    done = subprocess.run([*tally(*map(str, words)), "--json"], stdout=subprocess.PIPE, check=False)
    return done.returncode, json.loads(done.stdout)


def paying(instance, payments):
    plan = Plan(run=int.from_bytes(system_entropy(8), "big") >> 1, accounts=ACCOUNTS, payments=payments)
    instance.open_accounts([plan.account_id(number) for number in range(ACCOUNTS)], limited=False)
    fill(instance, plan, STORED)
    config = Config(
        host="127.0.0.1",
        port=instance.port,
        key=instance.key,
        plan=plan,
        connections=64,
        answers=str(instance.folder.parent / "answers.npy"),
        rate=RATE,
    )
    return plan, config


@pytest.mark.service  # a minute: payments must flow for a while
def test_a_backup_made_while_payments_flow_is_the_platform_as_of_its_position(tmp_path):
    copy, restored = tmp_path / "copy", tmp_path / "restored"
    backups = []
    settings = {"segment_bytes": SEGMENT_BYTES_MIN, "lane_segment_bytes": LANE_SEGMENT_BYTES_MIN}
    with Instance(tmp_path / "original", settings=settings) as instance:
        plan, config = paying(instance, RATE * SECONDS)
        with load_run(config) as load:
            for _ in load.lines():
                if load.progress.answered > (len(backups) + 1) * RATE * SECONDS / 5 and len(backups) < 4:
                    code, told = run("backup", copy, "--data", instance.folder)
                    assert code == Exit.DONE, told
                    backups.append(told)
        # On a slow machine the last backup may end after the payments: this one surely comes after it.
        assert instance.settle(instance.api(), "/v1/transfers", late(plan), LATE_KEY).status == 201
        assert {path.name for path in instance.folder.iterdir()} - compose.KEPT - compose.LEFT_OUT <= {"lab.key", "log"}
        answers = np.load(config.answers)
        original = journal_check.read(instance.folder)
    assert journal_check.compare(plan, answers, original.transfers, TENANT).lost == 0
    positions = [told["position"] for told in backups]
    assert positions == sorted(positions)
    assert positions[0] < positions[-1] < original.entries
    assert all(told["kept_bytes"] > 0 for told in backups[1:]), "whole segments were copied again"

    assert run("restore", copy, "--check")[0] == Exit.DONE
    code, told = run("restore", copy, restored)
    assert (code, told["position"]) == (Exit.DONE, positions[-1])
    assert run("restore", copy, restored)[0] == Exit.NOT_DONE
    code, told = run("rebuild", "--verify", restored)
    assert (code, told["entries"], told["difference"]) == (Exit.DONE, positions[-1], None)
    there = journal_check.read(restored)
    rows = original.transfers[original.transfers["seq"] < positions[-1]]
    assert there.transfers.tobytes() == rows.tobytes()

    with Instance(restored) as again:
        accounts = [plan.account_id(number) for number in range(ACCOUNTS)]
        balances = {account: (*pair, 0, 0) for account, pair in journal_check.fold(there.transfers).items()}
        assert again.balances(accounts) == balances
        first = json.loads(again.settle(again.api(), "/v1/transfers", body(plan, 0), key(plan, 0)).body)
        assert first["status"] == "created"
        assert again.settle(again.api(), "/v1/transfers", late(plan), LATE_KEY).status == 201
    later = journal_check.read(restored).transfers
    # Of what was paid twice, the first is known by the copy, the other was paid after its position: it is decided now.
    assert len(later) == len(there.transfers) + 1
    assert f"{later['id_lo'].tolist()[-1]:032x}" == LATE_KEY


LATE_KEY = f"{0x1A7E:032x}"


def late(plan):
    """A payment beside the plan."""
    return body(plan, 0) | {"id": LATE_KEY}


def body(plan, index):
    payment = plan.payment(index)
    return {
        "id": f"{payment.id:032x}",
        "debit_account_id": f"{payment.debit_account_id:032x}",
        "credit_account_id": f"{payment.credit_account_id:032x}",
        "amount": str(payment.amount),
        "ledger": 978,
        "code": 1,
    }


def key(plan, index):
    return f"{plan.payment(index).id:032x}"


@pytest.mark.service
def test_what_moves_away_takes_everything_along_and_starts_no_more(tmp_path):
    data, copy, there = tmp_path / "data", tmp_path / "copy", tmp_path / "there"
    with Instance(data) as instance:
        instance.open_accounts([1, 2], limited=False)
        code, told = run("backup", copy, "--data", data, "--to-move")
        assert code == Exit.NEEDS_A_PERSON
        assert "is in use" in told["error"]
    assert run("backup", copy, "--data", data, "--to-move")[0] == Exit.DONE
    code, told = run("up", "--data", data)
    assert code == Exit.NOT_DONE
    assert "was moved away" in told["error"]
    assert run("restore", copy, there)[0] == Exit.DONE
    with Instance(there) as instance:
        assert instance.balances([1, 2]) == {1: (0, 0, 0, 0), 2: (0, 0, 0, 0)}


def test_what_is_no_backup_and_what_holds_none_is_told(tmp_path):
    code, told = run("backup", tmp_path / "copy", "--data", tmp_path / "none")
    assert code == Exit.NOT_DONE
    assert "holds no journal" in told["error"]
    code, told = run("restore", tmp_path, tmp_path / "there")
    assert code == Exit.NOT_DONE
    assert "holds no backup" in told["error"]
    code, told = run("restore", tmp_path)
    assert "--check" in told["error"]
