import csv
import threading
from collections import defaultdict
from pathlib import Path

import msgspec
import pytest

from tallystick import ids
from tallystick.cli.payout_file import REQUIRED, Payout, read
from tallystick.cli.payouts import REPORT_COLUMNS, Result, Row, Sender, body_of, row_of, summary, write_report
from tallystick.client.http import Answer
from tallystick.errors import OutcomeUnknown, Unavailable


def payouts(count: int) -> list[Payout]:
    rows = [f"june,{n},{'a' * 32},{'b' * 32},{n},978,7" for n in range(1, count + 1)]
    found, faults = read("\n".join([",".join(REQUIRED), *rows]).encode())
    assert faults == []
    return found


def created(timestamp: int = 5, replayed: bool = False) -> Answer:
    headers = {"Idempotent-Replayed": "true"} if replayed else {}
    return Answer(201, headers, msgspec.json.encode({"status": "created", "timestamp": str(timestamp)}))


def problem(http: int, kind: str, **members: object) -> Answer:
    return Answer(http, {}, msgspec.json.encode({"type": f"/problems/{kind}", "status": http, **members}))


class Ledger:
    """Stands in for a gateway: decides each request id once, and checks that retries are the very same request."""

    def __init__(self, lose_first_answer: bool = False, refuse: frozenset[int] = frozenset()) -> None:
        self.lose_first_answer = lose_first_answer
        self.refuse = refuse
        self.bodies: dict[str, bytes] = {}
        self.tries: dict[str, int] = defaultdict(int)
        self.lock = threading.Lock()
        self.most_at_once = self.at_once = 0

    def ask(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        key = (headers or {})["Idempotency-Key"]
        assert (method, path) == ("POST", "/v1/transfers")
        with self.lock:
            known = key in self.bodies
            assert self.bodies.setdefault(key, body) == body
            self.tries[key] += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.lose_first_answer and self.tries[key] == 1:
                raise OutcomeUnknown("the answer was lost")
            if int(msgspec.json.decode(body)["amount"]) in self.refuse:
                return problem(422, "refused", outcome="exceeds_credits", detail="not enough", timestamp="9")
            return created(replayed=known)
        finally:
            with self.lock:
                self.at_once -= 1


class Always:
    """A gateway that says the same to everyone."""

    def __init__(self, answer: Answer | Exception) -> None:
        self.answer = answer
        self.count = 0

    def ask(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        self.count += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def send(api: object, count: int, connections: int = 4, patience_s: float = 30.0) -> tuple[list[Row], list[Row]]:
    settled: list[Row] = []
    rows = Sender(api, connections, patience_s).send(payouts(count), settled.append)  # type: ignore[arg-type]
    return rows, settled


def test_every_payout_is_sent_once_and_reported_in_the_order_of_the_file() -> None:
    ledger = Ledger()
    rows, settled = send(ledger, 50)
    assert [row.payout.line for row in rows] == list(range(2, 52))
    assert {row.result for row in rows} == {Result.CREATED}
    assert set(ledger.tries.values()) == {1}
    assert len(ledger.tries) == 50
    assert sorted(row.payout.line for row in settled) == list(range(2, 52))
    assert ledger.most_at_once <= 4


def test_a_lost_answer_is_asked_for_again_with_the_same_request() -> None:
    ledger = Ledger(lose_first_answer=True)
    rows, _ = send(ledger, 5)
    assert {row.result for row in rows} == {Result.CREATED}
    assert set(ledger.tries.values()) == {2}
    assert all(row.replayed for row in rows)


def test_a_second_run_pays_nobody_again() -> None:
    ledger = Ledger(refuse=frozenset({3}))
    first, _ = send(ledger, 5)
    second, _ = send(ledger, 5)
    assert [row.result for row in second] == [row.result for row in first]
    assert [row.result for row in first].count(Result.REFUSED) == 1
    assert len(ledger.bodies) == 5


def test_an_outcome_that_never_comes_is_unknown_and_one_that_was_never_sent_is_not_sent() -> None:
    rows, _ = send(Always(Answer(202, {}, b"{}")), 1, patience_s=0.1)
    assert rows[0].result is Result.UNKNOWN
    rows, _ = send(Always(Unavailable("nobody there")), 1, patience_s=0.1)
    assert (rows[0].result, rows[0].detail) == (Result.NOT_SENT, "nobody there")


@pytest.mark.parametrize("http", [401, 403])
def test_a_denied_key_stops_the_run_instead_of_failing_every_row(http: int) -> None:
    denied = Always(problem(http, "unauthenticated", detail="the key is not known here"))
    sender = Sender(denied, 2, 30.0)  # type: ignore[arg-type]
    rows = sender.send(payouts(100), lambda row: None)
    assert denied.count <= 2
    assert sender.denied == "the key is not known here"
    assert {row.result for row in rows} == {Result.NOT_SENT}


def test_a_stop_leaves_the_rest_unsent() -> None:
    ledger = Ledger()
    sender = Sender(ledger, 1, 30.0)  # type: ignore[arg-type]

    def stop_at_three(row: Row) -> None:
        if row.payout.amount == 3:
            sender.stop()

    rows = sender.send(payouts(10), stop_at_three)
    assert [row.result for row in rows] == [Result.CREATED] * 3 + [Result.NOT_SENT] * 7
    assert len(ledger.tries) == 3


def test_the_body_is_the_same_in_every_run() -> None:
    payout = payouts(1)[0]
    assert msgspec.json.decode(body_of(payout)) == {
        "id": ids.show(payout.transfer_id),
        "debit_account_id": "a" * 32,
        "credit_account_id": "b" * 32,
        "amount": "1",
        "ledger": 978,
        "code": 7,
    }
    assert body_of(payout) == body_of(payouts(1)[0])


@pytest.mark.parametrize(
    ("answer", "result", "status"),
    [
        (created(), Result.CREATED, "created"),
        (Answer(200, {}, b'{"status": "exists"}'), Result.CREATED, "exists"),
        (problem(422, "refused", outcome="exceeds_credits"), Result.REFUSED, "exceeds_credits"),
        (problem(422, "idempotency_key_reused"), Result.REFUSED, "idempotency_key_reused"),
        (problem(400, "invalid_field", detail="no"), Result.REFUSED, "invalid_field"),
        (Answer(404, {}, b"<html>not us</html>"), Result.REFUSED, "http_404"),
    ],
)
def test_each_answer_has_its_row(answer: Answer, result: Result, status: str) -> None:
    row = row_of(payouts(1)[0], answer)
    assert (row.result, row.status) == (result, status)


def test_the_report_has_a_line_for_each_row_and_is_replaced_whole(tmp_path: Path) -> None:
    first, second = payouts(2)
    path = tmp_path / "june.report.csv"
    path.write_text("of an earlier run")
    rows = [
        Row(first, Result.CREATED, "created", "17", True),
        Row(second, Result.REFUSED, "exceeds_credits", "18", False, 'not "enough", said the ledger'),
    ]
    write_report(path, rows)
    found = list(csv.DictReader(path.open(newline="")))
    assert list(found[0]) == list(REPORT_COLUMNS)
    assert [line["outcome"] for line in found] == ["created", "refused"]
    assert [line["timestamp"] for line in found] == ["17", "18"]
    assert [line["replayed"] for line in found] == ["yes", "no"]
    assert found[1]["detail"] == 'not "enough", said the ledger'
    assert found[0]["request_id"] == ids.show(first.request_id)
    assert [each.name for each in tmp_path.iterdir()] == ["june.report.csv"]


def test_the_summary_counts_results_and_statuses() -> None:
    first, second = payouts(2)
    rows = [Row(first, Result.CREATED, "created", "1", True), Row(second, Result.NOT_SENT)]
    assert summary(rows) == {
        "rows": 2,
        "created": 1,
        "refused": 0,
        "unknown": 0,
        "not_sent": 1,
        "replayed": 1,
        "by_status": {"created": 1},
    }
