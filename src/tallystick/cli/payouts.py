"""Sending payouts: many at once over a bounded number of connections, each until its outcome is known."""

import csv
import io
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import msgspec

from tallystick import ids
from tallystick.cli.payout_file import Payout
from tallystick.client.http import Answer, Api
from tallystick.client.requests import Patience, settle
from tallystick.clock import SystemClock, system_entropy
from tallystick.errors import OutcomeUnknown, Unavailable

REPORT_COLUMNS = (
    "line", "batch", "reference", "outcome", "status", "timestamp", "replayed", "transfer_id", "request_id", "detail",
)  # fmt: skip


class Result(StrEnum):
    """What became of one row."""

    CREATED = "created"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    NOT_SENT = "not_sent"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the report."""

    payout: Payout
    result: Result
    status: str = ""
    """The ledger's status, such as `created` or `exceeds_credits`; empty where nothing was decided."""
    timestamp: str = ""
    replayed: bool = False
    """Whether an earlier run of the same row had decided it."""
    detail: str = ""


def body_of(payout: Payout) -> bytes:
    """The request's JSON: the same bytes in every run, since its fingerprint must be the same."""
    fields: dict[str, object] = {
        "id": ids.show(payout.transfer_id),
        "debit_account_id": ids.show(payout.debit_account_id),
        "credit_account_id": ids.show(payout.credit_account_id),
        "amount": str(payout.amount),
        "ledger": payout.ledger,
        "code": payout.code,
    }
    if payout.user_data_128:
        fields["user_data_128"] = ids.show(payout.user_data_128)
    if payout.user_data_64:
        fields["user_data_64"] = str(payout.user_data_64)
    if payout.user_data_32:
        fields["user_data_32"] = payout.user_data_32
    return msgspec.json.encode(fields)


def row_of(payout: Payout, answer: Answer) -> Row:
    """What an answer that is no wait-and-see means for its row."""
    told = answer.json()
    timestamp = str(told.get("timestamp", ""))
    replayed = answer.headers.get("Idempotent-Replayed", "").lower() == "true"
    if answer.status in (200, 201):
        return Row(payout, Result.CREATED, str(told.get("status") or "created"), timestamp, replayed)
    # A problem (RFC 9457): `outcome` is the ledger's status if it decided, else the type says what was wrong.
    status = str(told.get("outcome") or str(told.get("type", "")).rpartition("/")[2] or f"http_{answer.status}")
    return Row(payout, Result.REFUSED, status, timestamp, replayed, str(told.get("detail") or told.get("title") or ""))


class Sender:
    """Sends payouts in the order given. `stop` ends it early; what was not sent then is reported as such."""

    def __init__(self, api: Api, connections: int, patience_s: float) -> None:
        self._api = api
        self._connections = connections
        self._stopped = threading.Event()
        self._patience = Patience(SystemClock(), system_entropy, self._stopped.wait, patience_s)
        self._lock = threading.Lock()
        self.denied: str | None = None
        """Why the gateway refuses the key, which would refuse every other row too."""

    def stop(self) -> None:
        """Send no more; requests under way are finished or given up as unknown."""
        self._stopped.set()

    def send(self, payouts: Sequence[Payout], settled: Callable[[Row], None]) -> list[Row]:
        """Returns a row for each payout, in order. `settled` is called with each as it is known, one at a time."""
        rows: list[Row] = [Row(payout, Result.NOT_SENT) for payout in payouts]
        waiting = iter(range(len(payouts)))

        def work() -> None:
            while not self._stopped.is_set():
                with self._lock:
                    index = next(waiting, None)
                if index is None:
                    return
                rows[index] = self._one(payouts[index])
                with self._lock:
                    settled(rows[index])

        threads = [threading.Thread(target=work) for _ in range(min(self._connections, len(payouts)))]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except KeyboardInterrupt:
            self.stop()
            for thread in threads:
                thread.join()
        return rows

    def _one(self, payout: Payout) -> Row:
        try:
            answer = settle(self._api, "/v1/transfers", body_of(payout), ids.show(payout.request_id), self._patience)
        except OutcomeUnknown as error:
            return Row(payout, Result.UNKNOWN, detail=str(error))
        except Unavailable as error:
            return Row(payout, Result.NOT_SENT, detail=str(error))
        if answer.status in (401, 403):
            self.denied = str(answer.json().get("detail") or f"HTTP {answer.status}")
            self.stop()
            return Row(payout, Result.NOT_SENT, detail=self.denied)
        return row_of(payout, answer)


def summary(rows: Iterable[Row]) -> dict[str, object]:
    """Counts by result and by status."""
    rows = list(rows)
    results = Counter(row.result for row in rows)
    statuses = Counter(row.status for row in rows if row.status)
    return {
        "rows": len(rows),
        **{result.value: results[result] for result in Result},
        "replayed": sum(row.replayed for row in rows),
        "by_status": dict(sorted(statuses.items())),
    }


def write_report(path: Path, rows: Iterable[Row]) -> None:
    """Write the report, whole or not at all: a half-written report might be read as a complete one."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(REPORT_COLUMNS)
    for row in rows:
        payout = row.payout
        writer.writerow(
            [
                payout.line, payout.batch, payout.reference, row.result.value, row.status, row.timestamp,
                "yes" if row.replayed else "no", ids.show(payout.transfer_id), ids.show(payout.request_id), row.detail,
            ]
        )  # fmt: skip
    scratch = path.with_name(f".{path.name}.new")
    scratch.write_text(out.getvalue(), encoding="utf-8")
    os.replace(scratch, path)
