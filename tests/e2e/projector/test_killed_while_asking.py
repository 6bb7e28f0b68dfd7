"""A program that pays and asks is killed, again and again: its projection goes on, and equals one made afresh."""

import shutil
import signal
import subprocess
import sys

from tallystick.blockfile.disk import SystemDisk
from tallystick.compose.library import Ledger
from tallystick.journal.files import FileJournalReader
from tallystick.records.filters import AccountFilter, ChangeEventsFilter, QueryFilter
from tests.unit.projector.folding import Folded

SMALL = {"accounts_max": 1_000, "window_ids": 65_536, "segment_bytes": 6_291_456}
PROGRAM = f"""
import itertools, sys
from tallystick import Account, AccountFlag, AccountFilter, ChangeEventsFilter, Ledger, Transfer, TransferFlag
ledger = Ledger.open(sys.argv[1], **{SMALL})
ledger.create_accounts([Account(id=n, ledger=1, code=1, flags=AccountFlag.HISTORY) for n in (1, 2)])
start = int(sys.argv[2])
for first in itertools.count(start, 40):
    fields = dict(debit_account_id=1, credit_account_id=2, amount=3, ledger=1, code=1)
    ledger.create_transfers([Transfer(id=n, flags=TransferFlag.PENDING, **fields) for n in range(first, first + 20)])
    posts = [
        Transfer(id=n + 20, pending_id=n, flags=TransferFlag.POST_PENDING_TRANSFER, **fields)
        for n in range(first, first + 20, 2)
    ]
    ledger.create_transfers(posts)
    ledger.get_change_events(ChangeEventsFilter(limit=1))
    print(len(ledger.get_account_transfers(AccountFilter(account_id=1))), flush=True)
"""


def answers(folder):
    with Ledger.open(folder, **SMALL) as ledger:
        return [
            ledger.query_accounts(QueryFilter()),
            ledger.query_transfers(QueryFilter()),
            ledger.get_account_transfers(AccountFilter(account_id=2)),
            ledger.get_account_balances(AccountFilter(account_id=2)),
            ledger.get_change_events(ChangeEventsFilter()),
        ]


def test_a_projection_that_was_killed_gives_what_the_journal_says(tmp_path):
    folder = tmp_path / "books"
    for round_ in range(1, 3):
        program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder), str(round_ * 100_000)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(8):
            assert program.stdout.readline()
        program.send_signal(signal.SIGKILL)
        program.wait()
        program.stdout.close()
        found = answers(folder)
        reader = FileJournalReader(folder / "journal", SystemDisk())
        folded = Folded(reader)
        reader.close()
        assert found == [
            folded.query_accounts(1, QueryFilter()),
            folded.query_transfers(1, QueryFilter()),
            folded.get_account_transfers(1, AccountFilter(account_id=2)),
            folded.get_account_balances(1, AccountFilter(account_id=2)),
            folded.get_change_events(1, ChangeEventsFilter()),
        ]
        assert len(found[1]) >= 8 * 30 * round_
    shutil.rmtree(folder / "projector")
    assert answers(folder) == found
