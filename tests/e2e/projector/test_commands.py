"""`tally statement`, `tail`, `reconcile` and `rebuild projector`, as commands, on a bank with some payments."""

import csv
import io
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tallystick.cli import main
from tallystick.cli.exits import Exit
from tests.e2e.projector.test_reads import SHOP, Bank, Projector

PAYMENTS = 10


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    bank = Bank(tmp_path_factory.mktemp("bank"))
    accounts = [{"id": id, "ledger": 1, "code": 1} for id in (f"{0xA11CE:032x}", SHOP)]
    while bank.ask("POST", "/v1/accounts", {"accounts": accounts}, idempotency_key="open").status != 200:
        pass
    for amount in range(PAYMENTS - 1):
        bank.pay(amount + 1)
    bank.caught_up()  # one more payment, of 1
    yield bank
    bank.projector.end()
    bank.gateway.stop()
    bank.engine.stop()


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main.run(list(words))
    return code, capsys.readouterr().out


def statement(bank: Bank, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    url = f"http://127.0.0.1:{bank.gateway.port}"
    code, out = run(capsys, "statement", SHOP, "--url", url, "--key", bank.gateway.key, *words)
    assert code == Exit.DONE, out
    return out


def test_a_statement_in_every_form(
    bank: Bank, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tallystick.cli.statement.PAGE", 4)
    total = str(sum(range(1, PAYMENTS)) + 1)
    whole = json.loads(statement(bank, capsys, "--json"))
    assert [line["sequence"] for line in whole["lines"]] == [str(n) for n in range(1, PAYMENTS + 2)]
    assert (whole["opening"]["balance"], whole["closing"]["balance"], whole["cursor"]) == ("0", total, None)
    assert len(json.loads(statement(bank, capsys, "--json", "--limit", "6"))["lines"]) == 6
    table = statement(bank, capsys)
    assert table.count("transfer") == PAYMENTS
    assert total in table.splitlines()[-1]
    rows = list(csv.DictReader(io.StringIO(statement(bank, capsys, "--format", "csv"), newline="")))
    assert [row["sequence"] for row in rows if row["type"] == "transfer"] == [str(n) for n in range(2, PAYMENTS + 2)]
    assert statement(bank, capsys, "--format", "html", "--limit", "2").startswith("<!doctype html>")


def test_what_the_api_says_no_to_is_told(bank: Bank, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{bank.gateway.port}"
    assert main.run(["statement", "f" * 31, "--url", url, "--key", bank.gateway.key]) == Exit.NOT_DONE
    assert main.run(["statement", f"{9:032x}", "--url", url, "--key", bank.gateway.key]) == Exit.NOT_DONE
    assert "no account" in capsys.readouterr().err


def test_tail_shows_every_entry(bank: Bank, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run(capsys, "tail", str(bank.data), "--from", "0", "--no-follow", "--json")
    told = [json.loads(line) for line in out.splitlines()]
    assert code == Exit.DONE
    assert [each["kind"] for each in told] == ["account"] * 2 + ["transfer"] * PAYMENTS
    assert {each["status"] for each in told} == {"created"}
    assert [each["amount"] for each in told[2:4]] == ["1", "2"]
    code, out = run(capsys, "tail", str(bank.data), "-n", "2", "--no-follow")
    assert out.count("\n") == 1  # the last payment and its seal
    assert "a11ce → 50ff" in out
    assert main.run(["tail", str(bank.data), "--from", "999999", "--no-follow"]) == Exit.NOT_DONE
    assert run(capsys, "tail", str(bank.data), "--from", "0", "--no-follow", "--tenant", "8") == (Exit.DONE, "")


def test_reconcile_finds_a_line_that_is_left_out_and_rebuild_brings_it_back(
    bank: Bank, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out = run(capsys, "reconcile", str(bank.data), "--json")
    assert (code, json.loads(out)["difference"]) == (Exit.DONE, None)
    assert main.run(["rebuild", "projector", str(bank.data)]) == Exit.NEEDS_A_PERSON  # it runs
    bank.projector.end()
    connection = sqlite3.connect(bank.data / "projector" / "projection.db")
    connection.execute("DELETE FROM transfers WHERE seq = (SELECT min(seq) FROM transfers)")
    connection.commit()
    connection.close()
    code, out = run(capsys, "reconcile", str(bank.data))
    assert code == Exit.REFUSED
    assert "differs: transfers holds" in out
    code, out = run(capsys, "rebuild", "projector", str(bank.data), "--json")
    assert code == Exit.DONE
    assert json.loads(out)["entries"] > PAYMENTS
    assert run(capsys, "reconcile", str(bank.data))[0] == Exit.DONE
    bank.projector = Projector(bank.data)
    assert main.run(["reconcile", str(tmp_path)]) == Exit.NOT_DONE
    assert main.run(["rebuild", "nonsense", str(bank.data)]) == Exit.NOT_DONE
