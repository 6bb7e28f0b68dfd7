"""`tally replay` against a running Tallystick: paid once, however often and however far it runs."""

import json
import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from tallystick.cli import main
from tallystick.cli.exits import Exit
from tallystick.lab import journal_check
from tallystick.lab.instance import Instance, pause, tally
from tallystick.lab.replay import mapping
from tallystick.lab.replay.payments import Reader
from tallystick.lab.replay.rows import open_history

EXAMPLES = Path(__file__).parents[2] / "examples"
ROOT = Path(__file__).parents[3]


@pytest.fixture
def history(tmp_path):
    """A copy of the example, since the progress file stands beside it."""
    for name in ("history.csv", "history.toml"):
        shutil.copy(EXAMPLES / name, tmp_path / name)
    return tmp_path / "history.csv"


def words(instance, history, *more):
    mapped = ("--mapping", str(history.with_suffix(".toml")))
    target = ("--url", instance.url, "--key-file", str(instance.key_file), "--json")
    return ["replay", str(history), *mapped, *target, *more]


def replay(capsys, instance, history, *more):
    code = main.run(words(instance, history, *more))
    return code, json.loads(capsys.readouterr().out)


def name_it(history, name):
    """Make it another history: every row a payment of its own."""
    path = history.with_suffix(".toml")
    path.write_text(path.read_text().replace('"example"', f'"{name}"'))


def payments_of(history):
    meant = mapping.read(history.with_suffix(".toml").read_text())
    reader = Reader(meant, meant.name)
    return [reader.payment(*row) for part in open_history(history).rows(0) for row in part]


def test_every_row_is_paid_once_and_a_second_run_pays_nothing(instance, history, capsys):
    before = len(journal_check.read(instance.folder).transfers)
    code, told = replay(capsys, instance, history)
    assert (code, told["rows"], told["created"], told["replayed"]) == (Exit.DONE, 60, 60, 0)
    rows = payments_of(history)
    assert told["accounts_opened"] == len(
        {each for row in rows for each in (row.debit_account_id, row.credit_account_id)}
    )
    moved = {"EUR": 0, "JPY": 0}
    for row in rows:
        moved[row.currency] += row.amount
    assert told["moved"] == {name: str(amount) for name, amount in moved.items()}
    paid = {row.credit_account_id: 0 for row in rows}
    for row in rows:
        paid[row.credit_account_id] += row.amount
    shown = instance.balances(list(paid))
    assert {account: shown[account][1] for account in paid} == paid

    code, told = replay(capsys, instance, history)
    assert (code, told["rows"], told["skipped"]) == (Exit.DONE, 0, 60)
    code, told = replay(capsys, instance, history, "--again")
    assert (code, told["created"], told["replayed"], told["accounts_opened"]) == (Exit.DONE, 60, 60, 0)
    code, told = replay(capsys, instance, history, "--again", "--batch", "7")
    assert (code, told["created"], told["replayed"]) == (Exit.DONE, 60, 60)
    transfers = journal_check.read(instance.folder).transfers[before:]
    assert (
        len({(row["id_hi"], row["id_lo"]) for row in transfers[transfers["status"] == transfers["status"].max()]}) == 60
    )


@pytest.mark.service  # ten seconds: it is killed in the middle
def test_a_run_that_was_killed_is_gone_on_with(instance, history):
    name_it(history, "killed")
    running = subprocess.Popen([*tally(*words(instance, history, "--speed", "100"))], stdout=subprocess.DEVNULL)
    state = history.with_name("history.csv.replay.json")
    for _ in range(600):
        if state.exists() and json.loads(state.read_text())["rows_done"] >= 10:
            break
        pause(0.05)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    done = json.loads(state.read_text())["rows_done"]
    assert 10 <= done < 60
    finished = subprocess.run([*tally(*words(instance, history))], stdout=subprocess.PIPE, check=True)
    told = json.loads(finished.stdout)
    assert (told["skipped"], told["skipped"] + told["rows"]) == (done, 60)
    shown = instance.balances(sorted({row.credit_account_id for row in payments_of(history)}))
    assert sum(credits for _, credits, _, _ in shown.values()) == sum(row.amount for row in payments_of(history))


def test_rows_start_at_their_own_pace(instance, history, capsys):
    name_it(history, "paced")
    rows = payments_of(history)[:20]
    span_s = (rows[-1].time_ns - rows[0].time_ns) / 1e9
    code, told = replay(capsys, instance, history, "--speed", str(span_s / 2), "--rows", "20")
    assert (code, told["created"]) == (Exit.DONE, 20)
    assert 2.0 <= told["seconds"] < 30


def test_what_cannot_be_understood_is_listed_and_the_rest_is_paid(instance, history, capsys):
    name_it(history, "faulty")
    text = history.read_text().splitlines()
    text[3] = text[3].rpartition(",")[0] + ",XXX"
    text[5] = "T005,never,ada,shop,1.00,EUR"
    history.write_text("\n".join(text) + "\n")
    code, told = replay(capsys, instance, history)
    assert (code, told["created"], told["faults"]) == (Exit.REFUSED, 58, 2)
    assert [fault["row"] for fault in told["first_faults"]] == [3, 5]
    assert "XXX" in told["first_faults"][0]["what"]
    assert "when" in told["first_faults"][1]["what"]


def test_payers_with_an_opening_balance_cannot_go_below_it(instance, history, capsys):
    name_it(history, "limited")
    path = history.with_suffix(".toml")
    path.write_text(path.read_text() + "opening_balance = 15000\n")
    code, told = replay(capsys, instance, history, "--connections", "1")
    assert code == Exit.REFUSED
    assert set(told["refused"]) == {"exceeds_credits"}
    assert told["created"] + told["refused"]["exceeds_credits"] == 60
    again, told_again = replay(capsys, instance, history, "--again", "--connections", "1")
    assert (again, told_again["created"], told_again["refused"]) == (code, told["created"], told["refused"])


def test_check_sends_nothing_and_needs_no_key(history, capsys):
    code = main.run(["replay", str(history), "--mapping", str(history.with_suffix(".toml")), "--check", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (code, told["rows"], told["faults"]) == (Exit.DONE, 60, 0)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--speed", "fast"), "--speed"),
        (("--speed", "0"), "--speed"),
        (("--speed", "2", "--batch", "5"), "--batch"),
    ],
)
def test_options_that_make_no_sense_are_refused(instance, history, capsys, more, says):
    code, told = replay(capsys, instance, history, *more)
    assert code == Exit.NOT_DONE
    assert says in told["error"]


def test_a_missing_column_a_key_that_may_not_pay_and_nobody_there_are_told(instance, history, capsys, monkeypatch):
    code = main.run(["replay", str(history), "--json"])
    assert code == Exit.NOT_DONE
    assert "no column 'payer'" in json.loads(capsys.readouterr().out)["error"]
    history.with_name("bad.key").write_text("sk_of_nobody")
    bad = ["--key-file", str(history.with_name("bad.key"))]
    code = main.run(
        ["replay", str(history), "--mapping", str(history.with_suffix(".toml")), "--url", instance.url, *bad, "--json"]
    )
    assert code == Exit.NOT_DONE
    assert "key" in json.loads(capsys.readouterr().out)["error"]
    code = main.run([*words(instance, history, "--patience", "1"), "--url", "http://127.0.0.1:9"])
    assert code == Exit.NOT_DONE
    assert "nothing answers" in json.loads(capsys.readouterr().out)["error"]


def test_the_mapping_of_the_card_payments_fits_such_a_file(tmp_path, capsys):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    moments = arrow.array([1522540831 * 10**9, 1522540930 * 10**9], arrow.timestamp("ns"))
    table = arrow.table(
        {
            "TRANSACTION_ID": arrow.array([0, 1], arrow.int32()),
            "TX_DATETIME": moments,
            "CUSTOMER_ID": arrow.array([596, 4961], arrow.int32()),
            "TERMINAL_ID": arrow.array([3156, 3412], arrow.int32()),
            "TX_AMOUNT": [57.16, 1108.8500000000001],
        }
    )
    parquet.write_table(table, tmp_path / "card_payments.parquet")
    mapped = ROOT / "examples" / "card_payments.toml"
    code = main.run(["replay", str(tmp_path / "card_payments.parquet"), "--mapping", str(mapped), "--check", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (code, told["rows"], told["accounts"], told["moved"]) == (Exit.DONE, 2, 4, {"EUR": str(5716 + 110885)})


@pytest.mark.service  # an instance of its own
def test_a_replay_lives_through_a_kill_of_the_engine(tmp_path, history, capsys):
    with Instance(tmp_path / "data") as instance:
        killer = threading.Timer(0.5, lambda: instance.kill("engine"))
        killer.start()
        code, told = replay(capsys, instance, history, "--speed", "600", "--connections", "4")
        killer.join()
    assert (code, told["created"], told["unknown"]) == (Exit.DONE, 60, 0)
