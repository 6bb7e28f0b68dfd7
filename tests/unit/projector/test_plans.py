"""How PostgreSQL answers statements and searches once the tables are big: along the indexes, by its own word."""

import json
from contextlib import closing

import numpy as np
import pytest

from tallystick.blockfile.disk import SystemDisk
from tallystick.clock import SystemClock
from tallystick.compose.library import Ledger
from tallystick.inquiries import reads
from tallystick.journal.files import FileJournalReader
from tallystick.lab import bench_follow
from tallystick.postgresql.statements import translated
from tallystick.projector.postgresql.tables import PostgresReader, PostgresTables
from tallystick.projector.projection import Projection
from tallystick.projector.reading import Reached, Reader
from tallystick.records.commands import COMMANDS_MAX

pytestmark = pytest.mark.service
TRANSFERS = 60_000
"""Of the first half of them every second is of account 1, and none after that, or hardly any."""
ACCOUNTS = 2_000
BIG = ("transfers", "accounts", "resolutions", "notes")
ACCOUNT = (1).to_bytes(16)
HOT = {"account_id": ACCOUNT}
AMOUNTS = {"amount_min": (500).to_bytes(16), "amount_max": (90_000).to_bytes(16)}
QUESTIONS = [
    *(("statement", {**HOT, "limit": limit, **since}) for limit in (1, 100) for since in ({}, {"since_ns": None})),
    *(("balance", {**HOT, **at}) for at in ({}, {"at_ns": None}, {"at_position": 30_000})),
    *(("transfers", {"oldest_first": way, **asked}) for way in (False, True) for asked in (
        {}, HOT, AMOUNTS, {**HOT, **AMOUNTS}, {"code": 7}, {"ledger": 1}, {"user_data_64": 77}, {"user_data_32": 1},
        {"user_data_128": ACCOUNT}, {"metadata": bytes(range(32))}, {"code": 7, "ledger": 1, **AMOUNTS},
        {"since_ns": None}, {**HOT, "code": 7, "user_data_64": 77},
    )),
    *(("accounts", asked) for asked in ({}, {"ledger": 1}, {"code": 2}, {"ledger": 1, "code": 2}, {"user_data_64": 5})),
    ("totals", {}),
]  # fmt: skip


class Recording(PostgresReader):
    """Keeps the plan of each statement that it is asked, as of the moment it is."""

    def __init__(self, *given):
        super().__init__(*given)
        self.plans = []

    def execute(self, statement, values=(), /):
        if statement.startswith(("SELECT", "WITH")):
            explained = b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + translated(statement)
            [plan] = self._connected().execute(explained, values).fetchone()
            self.plans.append((statement, plan[0]["Plan"]))
        return super().execute(statement, values)


def nodes(plan):
    yield plan
    for each in plan.get("Plans", ()):
        yield from nodes(each)


@pytest.fixture(scope="module")
def journal(tmp_path_factory):
    data = tmp_path_factory.mktemp("plans")
    bench_follow.fill(data, TRANSFERS // 2, lambda said: None, accounts=ACCOUNTS, hot=2)
    with Ledger.open(data) as ledger:
        chance = np.random.default_rng(8)
        for made in range(TRANSFERS // 2, TRANSFERS, COMMANDS_MAX):
            ledger.create_transfers(bench_follow._transfers(made, COMMANDS_MAX, ACCOUNTS, 0, chance))
    with closing(FileJournalReader(data / "journal", SystemDisk())) as reader:
        yield reader


def test_a_page_is_read_along_an_index_whatever_is_asked(database, journal):
    with closing(Projection(PostgresTables(database, 0, SystemClock()), journal)) as projection:
        end = projection.catch_up()
        projection.tables.execute("ANALYZE")
        [middle_ns] = projection.tables.execute(
            "SELECT max(decided_at) FROM transfers WHERE seq < ?", [end // 2]
        ).fetchone()
    reached, tables = Reached(), Recording(database, 0, "test", SystemClock())
    reached.move(end)
    rows_max, followed, lasts = 0, 0, []
    with closing(Reader(tables, bytes(32), SystemClock(), reached, journal)) as reader:
        for operation, fields in QUESTIONS:
            fields = {name: middle_ns if value is None else value for name, value in fields.items()}
            answer = reads.decode_read(reader(operation, 1, reads.encode(reads.OPERATIONS[operation](**fields)), 60.0))
            if answer.cursor:  # the page after it is found as fast
                followed += 1
                fields["cursor"] = answer.cursor
                reader(operation, 1, reads.encode(reads.OPERATIONS[operation](**fields)), 60.0)
        for statement, plan in tables.plans:
            for node in nodes(plan):
                assert node["Node Type"] not in ("Seq Scan", "Bitmap Heap Scan") or node["Relation Name"] not in BIG, (
                    statement, json.dumps(plan, indent=1),
                )  # fmt: skip
                assert node["Node Type"] != "Sort" or node["Actual Rows"] <= 1_000, statement
                rows_max = max(rows_max, node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
            if "_sequence, balances FROM transfers" in statement:
                lasts.append(max(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in nodes(plan)))
    assert lasts, "the last line of an account was asked for"
    assert max(lasts) <= 1, "however long ago it was"
    assert followed > 10
    assert len(tables.plans) > 200
    assert rows_max < TRANSFERS / 2, "nothing walks through a whole table"
