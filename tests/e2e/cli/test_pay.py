"""`tally pay` against a real gateway, engine and journal."""

import csv
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tallystick import ids
from tallystick.cli.payout_file import REQUIRED
from tallystick.clock import system_entropy
from tallystick.lab import journal_check
from tallystick.lab.instance import Instance, tally


class Bank:
    """Two accounts of its own on the shared instance: a source without limit and one that must have what it spends."""

    def __init__(self, instance: Instance, folder: Path) -> None:
        self.instance = instance
        self.folder = folder
        self.source, self.shop = (int.from_bytes(system_entropy(15), "big") + 1 for _ in range(2))
        self.batch = system_entropy(4).hex()
        instance.open_accounts([self.source], limited=False)
        instance.open_accounts([self.shop], limited=True)

    def row(self, reference: str, amount: int, back: bool = False) -> list[str]:
        sides = [ids.show(self.shop), ids.show(self.source)] if back else [ids.show(self.source), ids.show(self.shop)]
        return [self.batch, reference, *sides, str(amount), "978", "1"]

    def pay(self, rows: Sequence[Sequence[str]], *words: str) -> tuple[int, dict[str, Any], list[dict[str, str]]]:
        file, report = self.folder / "p.csv", self.folder / "p.report.csv"
        with file.open("w", newline="") as out:
            csv.writer(out).writerows([REQUIRED, *rows])
        where = ["--url", self.instance.url, "--key-file", str(self.instance.key_file)]
        command = [*tally("pay"), str(file), *where, "--json", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100)
        lines = list(csv.DictReader(report.open(newline=""))) if report.exists() else []
        return done.returncode, json.loads(done.stdout), lines

    def received(self) -> int:
        return self.instance.balances([self.shop])[self.shop][1]


@pytest.fixture
def bank(instance: Instance, tmp_path: Path) -> Bank:
    return Bank(instance, tmp_path)


def test_every_row_is_paid_once_however_often_the_file_is_run(bank: Bank) -> None:
    rows = [bank.row(str(n), n) for n in range(1, 101)]
    code, told, report = bank.pay(rows)
    assert (code, told["created"], told["replayed"]) == (0, 100, 0)
    assert bank.received() == 5050
    entries = journal_check.end(bank.instance.folder)
    again, told_again, report_again = bank.pay(rows)
    assert (again, told_again["created"], told_again["replayed"]) == (0, 100, 100)
    assert bank.received() == 5050
    assert journal_check.end(bank.instance.folder) == entries
    assert [line["timestamp"] for line in report_again] == [line["timestamp"] for line in report]
    assert {line["replayed"] for line in report_again} == {"yes"}


def test_a_longer_file_pays_only_what_is_new(bank: Bank) -> None:
    bank.pay([bank.row("1", 5)])
    code, told, _ = bank.pay([bank.row("1", 5), bank.row("2", 7)])
    assert (code, told["created"], told["replayed"]) == (0, 2, 1)
    assert bank.received() == 12


def test_a_refused_row_is_reported_with_its_status_and_the_rest_is_paid(bank: Bank) -> None:
    code, told, report = bank.pay([bank.row("1", 5), bank.row("2", 1_000_000, back=True)])
    assert code == 1
    assert told["by_status"] == {"created": 1, "exceeds_credits": 1}
    assert [(line["line"], line["outcome"], line["status"]) for line in report] == [
        ("2", "created", "created"),
        ("3", "refused", "exceeds_credits"),
    ]
    assert all(int(line["timestamp"]) > 0 for line in report if line["outcome"] == "created")
    assert bank.received() == 5


def test_a_refused_row_stays_refused_when_the_money_has_come(bank: Bank) -> None:
    spend = bank.row("spend", 10, back=True)
    assert bank.pay([spend])[0] == 1
    assert bank.pay([bank.row("fund", 100)])[0] == 0
    code, told, report = bank.pay([spend])
    assert (code, told["replayed"], report[0]["status"]) == (1, 1, "exceeds_credits")


def test_a_reference_used_again_for_another_amount_is_refused_not_paid(bank: Bank) -> None:
    bank.pay([bank.row("1", 5)])
    code, told, _ = bank.pay([bank.row("1", 6)])
    assert (code, told["by_status"]) == (1, {"idempotency_key_reused": 1})
    assert bank.received() == 5


def test_ids_in_the_report_are_those_in_the_journal(bank: Bank) -> None:
    seq = journal_check.end(bank.instance.folder)
    _, _, (line,) = bank.pay([bank.row("1", 5)])
    transfers = journal_check.read(bank.instance.folder).transfers
    (entry,) = transfers[transfers["seq"] >= seq]
    assert ids.parse(line["transfer_id"]) == int(entry["id_hi"]) << 64 | int(entry["id_lo"])
    assert ids.parse(line["request_id"]) == int(entry["request_id_hi"]) << 64 | int(entry["request_id_lo"])
    assert int(line["timestamp"]) == int(entry["timestamp"])


def test_rows_with_all_columns_are_taken_as_they_stand(bank: Bank) -> None:
    file = bank.folder / "full.csv"
    seq = journal_check.end(bank.instance.folder)
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow([*REQUIRED, "user_data_128", "user_data_64", "user_data_32"])
        rows.writerow([*bank.row("1", (1 << 64) + 5), "c" * 32, (1 << 64) - 1, (1 << 32) - 1])
    where = ["--url", bank.instance.url, "--key-file", str(bank.instance.key_file)]
    done = subprocess.run([*tally("pay"), str(file), *where], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "1 of 1 payouts created" in done.stdout
    transfers = journal_check.read(bank.instance.folder).transfers
    (entry,) = transfers[transfers["seq"] >= seq]
    assert (int(entry["amount_hi"]), int(entry["amount_lo"])) == (1, 5)
    assert int(entry["user_data_128_hi"]) == int("c" * 16, 16)
    assert (int(entry["user_data_64"]), int(entry["user_data_32"])) == ((1 << 64) - 1, (1 << 32) - 1)


def test_a_wrong_key_pays_nobody_and_says_what_to_do(bank: Bank) -> None:
    file = bank.folder / "p.csv"
    with file.open("w", newline="") as out:
        csv.writer(out).writerows([REQUIRED, bank.row("1", 5)])
    command = [*tally("pay"), str(file), "--url", bank.instance.url, "--key", "sk_wrong"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3
    assert "nothing was paid" in done.stderr
    assert "check the API key" in done.stderr
    assert bank.received() == 0
