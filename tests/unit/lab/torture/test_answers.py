"""Each answer of the gateway is understood for what it is, and what it shows is packed field by field."""

import json
import struct
from typing import Any

import numpy as np
import pytest

from tallystick.client.http import Answer
from tallystick.lab.history.calls import SHOWN_ACCOUNT, Told
from tallystick.lab.torture import answers
from tallystick.records.commands import TRANSFER_EVENT, Kind, Side, TransferFlag
from tallystick.statuses import AccountStatus, ControlStatus, TransferStatus


def answer(status: int, body: Any = None, **headers: str) -> Answer:
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(body).encode())


def result(timestamp: int, status: int, replayed: int = 0) -> bytes:
    return struct.pack("<QII", timestamp, status, replayed)


REFUSED = {"type": "/problems/refused", "status": 422, "outcome": "exceeds_credits", "timestamp": "7"}
REUSED = {"type": "/problems/idempotency_key_reused", "status": 422}


@pytest.mark.parametrize(
    ("given", "told", "rows"),
    [
        (answer(201, {"status": "created", "timestamp": "5"}), Told.DECIDED, result(5, TransferStatus.CREATED)),
        (answer(200, {"status": "exists", "timestamp": "5"}), Told.DECIDED, result(5, TransferStatus.EXISTS)),
        (answer(422, REFUSED), Told.DECIDED, result(7, TransferStatus.EXCEEDS_CREDITS)),
        (answer(422, REUSED), Told.KEY_REUSED, b""),
        (answer(202, {}), Told.ACCEPTED, b""),
        (answer(429, {}), Told.NOTHING_WRITTEN, b""),
        (answer(503, {}), Told.NOTHING_WRITTEN, b""),
        (answer(500, {}), Told.UNKNOWN, b""),
        (answer(504, {}), Told.UNKNOWN, b""),
    ],
)
def test_an_answer_about_one_transfer(given: Answer, told: Told, rows: bytes) -> None:
    assert answers.submitted(given, Kind.TRANSFER, False, False) == (told, rows)


def test_a_repeated_outcome_says_so() -> None:
    given = answer(201, {"status": "created", "timestamp": "5"}, Idempotent_Replayed="true")
    assert answers.submitted(given, Kind.TRANSFER, False, False)[1] == result(5, TransferStatus.CREATED, 1)


def test_statuses_are_read_by_the_table_of_their_kind() -> None:
    exists, applied = {"status": "exists", "timestamp": "5"}, {"status": "applied", "timestamp": "6"}
    assert answers.submitted(answer(200, exists), Kind.ACCOUNT, False, False)[1] == result(5, AccountStatus.EXISTS)
    assert answers.submitted(answer(200, applied), Kind.CONTROL, False, False)[1] == result(6, ControlStatus.APPLIED)


def test_a_batch_has_a_row_for_each() -> None:
    rows = [{"status": "created", "timestamp": "5"}, {"status": "exceeds_debits", "timestamp": "6"}]
    told = answers.submitted(answer(200, {"results": rows}), Kind.TRANSFER, True, False)
    assert told == (Told.DECIDED, result(5, TransferStatus.CREATED) + result(6, TransferStatus.EXCEEDS_DEBITS))


def test_a_binary_batch_is_taken_as_it_is() -> None:
    raw = result(5, TransferStatus.CREATED, 1)
    assert answers.submitted(Answer(200, {}, raw), Kind.TRANSFER, True, True) == (Told.DECIDED, raw)


@pytest.mark.parametrize("given", [answer(400, {}), answer(404, {}), answer(422, {"type": "/problems/other"})])
def test_an_objection_is_no_answer_that_these_clients_expect(given: Answer) -> None:
    with pytest.raises(answers.Unexpected):
        answers.submitted(given, Kind.TRANSFER, False, False)


def test_results_that_were_asked_for() -> None:
    decided = answer(200, {"results": [{"status": "created", "timestamp": "5"}]})
    assert answers.request(decided, Kind.TRANSFER) == (Told.DECIDED, result(5, TransferStatus.CREATED, 1))
    assert answers.request(answer(202, {}), Kind.TRANSFER) == (Told.NOT_DECIDED, b"")
    assert answers.request(answer(422, REUSED), Kind.TRANSFER) == (Told.KEY_REUSED, b"")
    assert answers.request(answer(503, {}), Kind.TRANSFER) == (Told.UNKNOWN, b"")


ACCOUNT = {
    "id": f"{5:032x}",
    "debits_pending": "1",
    "debits_posted": str((1 << 127) + 2),
    "credits_pending": "3",
    "credits_posted": "4",
    "user_data_128": f"{6:032x}",
    "user_data_64": "7",
    "user_data_32": 8,
    "ledger": 9,
    "code": 10,
    "flags": ["history", "closed"],
    "timestamp": "11",
    "credit_limit": "12",
    "frozen": "both",
}


def test_an_account_that_is_shown() -> None:
    told, rows = answers.accounts(answer(200, {"accounts": [ACCOUNT]}))
    assert (told, answers.accounts(answer(200, ACCOUNT))) == (Told.SHOWN, (Told.SHOWN, rows))
    row = np.frombuffer(rows, SHOWN_ACCOUNT)[0]
    event, extra = row["event"], row["extra"]
    assert (event["id_lo"], event["debits_pending_lo"], event["debits_posted_lo"], event["debits_posted_hi"]) == (
        5,
        1,
        2,
        1 << 63,
    )
    assert (event["credits_pending_lo"], event["credits_posted_lo"], event["user_data_128_lo"]) == (3, 4, 6)
    assert (event["user_data_64"], event["user_data_32"], event["ledger"], event["code"]) == (7, 8, 9, 10)
    assert (event["flag_bits"], event["timestamp"]) == (8 | 32, 11)
    assert (extra["credit_limit_lo"], extra["frozen"]) == (12, Side.BOTH)


def test_what_is_not_there_is_shown_as_nothing() -> None:
    assert answers.accounts(answer(404, {})) == (Told.SHOWN, b"")
    assert answers.transfers(answer(200, {"transfers": []})) == (Told.SHOWN, b"")
    assert answers.transfers(answer(503, {})) == (Told.UNKNOWN, b"")


def test_a_transfer_that_is_shown() -> None:
    shown = {
        "id": f"{1:032x}",
        "debit_account_id": f"{2:032x}",
        "credit_account_id": f"{3:032x}",
        "amount": "4",
        "pending_id": f"{5:032x}",
        "user_data_128": f"{6:032x}",
        "user_data_64": "7",
        "user_data_32": 8,
        "timeout": 9,
        "ledger": 10,
        "code": 11,
        "flags": ["linked", "post_pending_transfer"],
        "timestamp": "12",
    }
    row = np.frombuffer(answers.transfers(answer(200, {"transfers": [shown]}))[1], TRANSFER_EVENT)[0]
    names = ("id", "debit_account_id", "credit_account_id", "amount", "pending_id", "user_data_128")
    assert [int(row[f"{name}_lo"]) for name in names] == [1, 2, 3, 4, 5, 6]
    rest = ("user_data_64", "user_data_32", "timeout", "ledger", "code")
    assert [int(row[name]) for name in rest] == [7, 8, 9, 10, 11]
    assert row["flag_bits"] == TransferFlag.LINKED | TransferFlag.POST_PENDING_TRANSFER
    assert row["timestamp"] == 12
