"""Statements, searches and totals over HTTP: engine, gateway and projector as processes of their own."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from tallystick.inquiries import reads
from tests.e2e.gateway.running import Gateway, Told
from tests.e2e.gateway.test_with_engine import Engine

ALICE, SHOP = f"{0xA11CE:032x}", f"{0x50FF:032x}"
READY_S = 60


class Projector:
    """`tally up projector` on a data folder."""

    def __init__(self, data: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tallystick.cli.main", "up", "projector", "--data", str(data)],
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log: list[dict[str, Any]] = []
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._ready.wait(READY_S), self.log

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(json.loads(line) if line.startswith("{") else {"event": line})
            if self.log[-1]["event"] == "projector ready":
                self._ready.set()
        self._ready.set()

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(20)
        self._reader.join(10)
        return code


class Bank:
    def __init__(self, data: Path) -> None:
        self.data = data
        self.engine = Engine(data)
        self.projector = Projector(data)
        self.gateway = Gateway(data, wait_s=30)
        self.gateway.__enter__()
        self.position = "0"

    def ask(self, method: str, path: str, *rest: Any, **options: Any) -> Told:
        return self.gateway.ask(method, path, *rest, **options)

    def get(self, path: str, **headers: str) -> Any:
        """What a read gives that knows of all that was paid."""
        for _ in range(200):
            told = self.ask("GET", path, None, {name.replace("_", "-"): value for name, value in headers.items()})
            if told.status != 503:
                return told
            time.sleep(0.05)
        raise AssertionError(told)

    def pay(self, amount: int, **changes: Any) -> Told:
        body = {"debit_account_id": ALICE, "credit_account_id": SHOP, "amount": str(amount), "ledger": 1, "code": 1}
        told = self.ask("POST", "/v1/transfers", {**body, **changes})
        assert told.status == 201, told
        return told

    def caught_up(self) -> None:
        """Wait until the projector has all of the journal: its newest transfer is found."""
        id = self.pay(1, code=999).json["id"]
        deadline = time.monotonic() + READY_S
        while id not in [each["id"] for each in self.get("/v1/transfers?limit=1").json["transfers"]]:
            assert time.monotonic() < deadline


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    bank = Bank(tmp_path_factory.mktemp("bank"))
    accounts = [{"id": id, "ledger": 1, "code": code} for id, code in ((ALICE, 1), (SHOP, 2))]
    while bank.ask("POST", "/v1/accounts", {"accounts": accounts}, idempotency_key="open").status != 200:
        pass  # 202: the engine is still starting
    for amount in range(10, 20):
        bank.pay(amount, code=3, user_data_64=amount % 2 + 1, metadata_commitment=f"{amount:064x}")
    bank.caught_up()
    yield bank
    assert bank.projector.end() == 0
    assert bank.gateway.stop() == 0
    bank.engine.stop()


def decoded(told: Told, shape: Any) -> Any:
    assert told.status == 200, told
    assert told.headers["content-type"] == "application/json"
    assert int(told.headers["tally-position"]) > 0
    return msgspec.json.decode(told.body, type=shape, strict=True)


def test_a_statement_page_by_page_by_its_links(bank: Bank) -> None:
    path, lines, closing = f"/v1/accounts/{SHOP}/statement?limit=4", [], None
    while path:
        told = bank.get(path)
        page = decoded(told, reads.StatementOut)
        assert closing is None or page.opening == closing
        lines += page.lines
        closing = page.closing
        link = told.headers.get("link", "")
        path = link[1 : link.index(">")] if link else ""
        assert bool(path) == (page.cursor is not None)
    assert [int(line.sequence) for line in lines] == list(range(1, len(lines) + 1))
    assert [line.amount for line in lines[1:11]] == [str(amount) for amount in range(10, 20)]
    assert lines[1].metadata_commitment == f"{10:064x}"
    assert closing is not None
    assert closing.balance == str(sum(int(line.amount) for line in lines[1:] if line.amount))
    now = bank.ask("GET", f"/v1/accounts/{SHOP}").json
    assert closing.credits_posted == now["credits_posted"]


@pytest.mark.parametrize(("suffix", "accept"), [(".csv", ""), ("", "text/csv"), ("", "text/html;q=0.5, text/csv")])
def test_a_statement_as_csv(bank: Bank, suffix: str, accept: str) -> None:
    told = bank.get(f"/v1/accounts/{SHOP}/statement{suffix}?limit=3", Accept=accept)
    assert told.headers["content-type"].startswith("text/csv")
    assert "cursor=" in told.headers["link"]
    rows = list(csv.DictReader(io.StringIO(told.body.decode(), newline="")))
    assert [row["type"] for row in rows] == ["opening", "open", "transfer", "transfer", "closing"]
    assert rows[-1]["balance"] == "21"


@pytest.mark.parametrize(("suffix", "accept"), [(".html", ""), ("", "text/html"), ("", "text/*")])
def test_a_statement_to_print(bank: Bank, suffix: str, accept: str) -> None:
    told = bank.get(f"/v1/accounts/{SHOP}/statement{suffix}", Accept=accept)
    assert told.headers["content-type"].startswith("text/html")
    assert told.body.startswith(b"<!doctype html>")


def test_balances_now_and_then(bank: Bank) -> None:
    page = decoded(bank.get(f"/v1/accounts/{SHOP}/statement?limit=5"), reads.StatementOut)
    line = page.lines[3]
    for query in (f"at={line.timestamp}", f"at_position={int(line.position) + 1}"):
        then = decoded(bank.get(f"/v1/accounts/{SHOP}/balance?{query}"), reads.BalanceOut)
        assert (then.balances, then.sequence) == (line.balances, line.sequence)
    now = decoded(bank.get(f"/v1/accounts/{SHOP}/balance"), reads.BalanceOut)
    assert int(now.balances.credits_posted) > int(line.balances.credits_posted)
    assert bank.get(f"/v1/accounts/{SHOP}/balance?at=2001-01-01T00:00:00Z").problem == "not_found"


@pytest.mark.parametrize(
    ("query", "amounts"),
    [
        ("amount_min=12&amount_max=14", [14, 13, 12]),
        ("amount=15", [15]),
        ("amount_min=18&code=3&order=oldest", [18, 19]),
        ("user_data_64=2&code=3&amount_max=13", [13, 11]),
        (f"metadata_commitment={17:064x}", [17]),
        (f"account_id={ALICE}&code=3&limit=2", [19, 18]),
        ("ledger=2", []),
        ("code=3&to=2001-01-01", []),
    ],
)
def test_search(bank: Bank, query: str, amounts: list[int]) -> None:
    found = decoded(bank.get(f"/v1/transfers?{query}"), reads.TransfersFound)
    assert [int(each.amount) for each in found.transfers] == amounts


def test_accounts_and_trial_balance(bank: Bank) -> None:
    accounts = decoded(bank.get("/v1/accounts?code=2"), reads.AccountsFound)
    assert [each.id for each in accounts.accounts] == [SHOP]
    [ledger] = decoded(bank.get("/v1/trial-balance"), reads.TotalsOut).ledgers
    assert (ledger.ledger, ledger.accounts, ledger.balanced) == (1, "2", True)
    assert [each.code for each in ledger.codes] == [1, 2]
    assert ledger.debits_posted == ledger.codes[0].debits_posted == accounts.accounts[0].credits_posted


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/transfers?nonsense=1", "nonsense"),
        ("/v1/transfers?limit=1001", "limit"),
        ("/v1/transfers?limit=0", "limit"),
        ("/v1/transfers?limit=1&limit=2", "query"),
        ("/v1/transfers?amount=-1", "amount"),
        ("/v1/transfers?amount=1.5", "amount"),
        ("/v1/transfers?amount_min=5&amount_max=4", "amount_min"),
        ("/v1/transfers?amount=5&amount_max=4", "amount"),
        (f"/v1/transfers?amount={2**128}", "amount"),
        ("/v1/transfers?code=65536", "code"),
        ("/v1/transfers?code=0", "code"),
        ("/v1/transfers?from=yesterday", "from"),
        ("/v1/transfers?to=2026-13-01", "to"),
        ("/v1/transfers?cursor=AAAA", "cursor"),
        ("/v1/transfers?order=up", "order"),
        ("/v1/transfers?metadata_commitment=12", "metadata_commitment"),
        ("/v1/transfers?account_id=xyz", "account_id"),
        ("/v1/accounts?user_data_128=0", "user_data_128"),
        (f"/v1/accounts/{SHOP}/balance?at=1&at_position=1", "at_position"),
        (f"/v1/accounts/{SHOP}/balance?at_position=999999999", "at_position"),
        ("/v1/trial-balance?ledger=0", "ledger"),
    ],
)
def test_what_cannot_be_understood_names_its_field(bank: Bank, path: str, field: str) -> None:
    told = bank.get(path)
    assert (told.status, told.problem, told.json["field"]) == (400, "invalid_field", field)


def test_a_position_is_waited_for_and_one_that_never_was_is_invalid(bank: Bank) -> None:
    position = decoded(bank.get("/v1/transfers"), reads.TransfersFound).position
    assert bank.get("/v1/transfers", Tally_Position=position).status == 200
    told = bank.get("/v1/transfers", Tally_Position=str(10**12))
    assert (told.problem, told.json["field"]) == ("invalid_field", "Tally-Position")
    assert bank.get("/v1/transfers", Tally_Position="x").json["field"] == "Tally-Position"


def test_reads_need_the_scope_and_tenants_are_apart(bank: Bank) -> None:
    unknown = uuid4().hex
    pay_only = bank.gateway.add_key(f"pay only {unknown}", 7, ("pay",))
    other = bank.gateway.add_key(f"other {unknown}", 8)
    for path in (f"/v1/accounts/{SHOP}/statement", "/v1/transfers", "/v1/accounts", "/v1/trial-balance"):
        while (told := bank.ask("GET", path, key=pay_only)).status == 401:
            time.sleep(0.05)  # until the gateway has read the key
        assert told.problem == "forbidden"
        while (told := bank.ask("GET", path, key=other)).status == 401:
            time.sleep(0.05)
        if "statement" in path:
            assert told.problem == "not_found"
        else:
            assert ALICE not in told.body.decode()
            assert told.status == 200


def test_a_projector_that_is_stopped_or_gone_costs_a_read_503_and_payments_nothing(bank: Bank) -> None:
    os.kill(bank.projector.process.pid, signal.SIGSTOP)
    try:
        os.waitid(os.P_PID, bank.projector.process.pid, os.WSTOPPED)  # its other threads go on for a moment
        began = time.monotonic()
        told = bank.ask("GET", "/v1/transfers")
        assert (told.status, told.problem) == (503, "unavailable")
        assert told.headers["retry-after"]
        assert time.monotonic() - began < 15
        id = bank.pay(5).json["id"]
    finally:
        os.kill(bank.projector.process.pid, signal.SIGCONT)
    bank.caught_up()
    assert id in [each["id"] for each in bank.get("/v1/transfers?limit=10").json["transfers"]]
    bank.projector.end(signal.SIGKILL)
    assert bank.ask("GET", "/v1/transfers").problem == "unavailable"
    id = bank.pay(6).json["id"]
    bank.projector = Projector(bank.data)
    bank.caught_up()
    assert id in [each["id"] for each in bank.get("/v1/transfers?limit=10").json["transfers"]]
    page = decoded(bank.get(f"/v1/accounts/{SHOP}/statement?limit=1000"), reads.StatementOut)
    assert [int(line.sequence) for line in page.lines] == list(range(1, len(page.lines) + 1))


def test_a_second_projector_on_the_folder_is_fenced(bank: Bank) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "tallystick.cli.main", "up", "projector", "--data", str(bank.data)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 70
    assert "Fenced" in second.stderr


def test_it_says_how_far_it_is(bank: Bank) -> None:
    from tallystick.journal import progress

    bank.caught_up()
    deadline = time.monotonic() + READY_S
    end = int(bank.get("/v1/transfers").headers["tally-position"])
    while (found := progress.read(bank.data / "run")["projector"]).next_seq < end:
        assert time.monotonic() < deadline
    assert found.pid == bank.projector.process.pid
    assert progress.lag(found, end, found.since_ns).entries == 0
