import json
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from tallystick import Account, Ledger, Transfer
from tallystick.blockfile.disk import SystemDisk
from tallystick.cli import main
from tallystick.cli.exits import Exit
from tallystick.clock import SystemClock, system_entropy
from tallystick.compose import parts
from tallystick.engine import booktables, idkey
from tallystick.engine.idruns import FileRuns, Label

ACCOUNTS = 40


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A closed folder: 300 transfers, a snapshot of two parts, id runs of 64 ids, and a tail of 100 transfers."""
    monkeypatch.setenv("TALLY_ACCOUNTS_MAX", "1000")
    monkeypatch.setenv("TALLY_WINDOW_IDS", "64")
    data = tmp_path / "data"
    for begin in (0, 100, 200):
        with Ledger.open(data, accounts_max=1000, window_ids=64, segment_bytes=6_291_456) as ledger:
            if not begin:
                ledger.create_accounts([Account(id=number, ledger=1, code=1) for number in range(1, ACCOUNTS + 1)])
            for number in range(begin, begin + 100):
                ledger.create_transfers([transfer(number)])
        if begin < 200:
            with opened(data) as engine:
                take_snapshot(engine)
    return data


@contextmanager
def opened(data):
    """An engine's parts on the folder, without threads, for a test to reach into."""
    engine = parts.open_files(
        data,
        SystemDisk(),
        SystemClock(),
        system_entropy,
        accounts_max=1000,
        window_ids=64,
        segment_bytes=6_291_456,
    )
    with closing(engine):
        yield engine


def take_snapshot(engine):
    engine.capture_now()
    for chore in engine.chores:
        while chore():
            pass


def transfer(number):
    debit = number % ACCOUNTS
    return Transfer(
        id=1_000 + number,
        debit_account_id=debit + 1,
        credit_account_id=(debit + 7) % ACCOUNTS + 1,
        amount=number + 1,
        ledger=1,
        code=1,
    )


def run(capsys, *words):
    code = main.run(list(words))
    told = capsys.readouterr()
    return code, told.out, told.err


def test_what_a_start_begins_with_is_what_the_journal_makes(folder, capsys):
    code, out, _ = run(capsys, "rebuild", "--verify", str(folder), "--json")
    told = json.loads(out)
    assert (code, told["difference"], told["notes"]) == (Exit.DONE, None, [])
    assert told["entries"] == 641
    assert told["started_from"] == 441


def test_verify_changes_nothing(folder, capsys):
    def all_of():
        return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    before = all_of()
    assert run(capsys, "rebuild", "--verify", str(folder))[0] == Exit.DONE
    assert all_of() == before


def test_rebuild_makes_the_same_books_and_verify_agrees(folder, capsys):
    with Ledger.open(folder, accounts_max=1000, window_ids=64) as ledger:
        before = ledger.lookup_accounts(list(range(1, ACCOUNTS + 1)))
    code, out, _ = run(capsys, "rebuild", str(folder))
    assert code == Exit.DONE
    assert "641 entries" in out
    told = json.loads(run(capsys, "rebuild", "--verify", str(folder), "--json")[1])
    assert (told["difference"], told["started_from"]) == (None, 641)
    with Ledger.open(folder, accounts_max=1000, window_ids=64) as ledger:
        assert ledger.lookup_accounts(list(range(1, ACCOUNTS + 1))) == before
        assert [found.id for found in ledger.lookup_transfers([1_000, 1_299])] == [1_000, 1_299]


def newest(folder):
    return sorted((folder / "snapshots").glob("*.books"), key=lambda path: path.name.split("-")[1])[-1]


def test_a_damaged_snapshot_is_told_and_not_used_and_changes_no_balance(folder, capsys):
    path = newest(folder)
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    told = json.loads(run(capsys, "rebuild", "--verify", str(folder), "--json")[1])
    assert told["difference"] is None
    assert path.name in told["notes"][0]
    with Ledger.open(folder, accounts_max=1000, window_ids=64) as ledger:
        total = sum(account.debits_posted for account in ledger.lookup_accounts(list(range(1, ACCOUNTS + 1))))
    assert total == sum(range(1, 301))


def test_a_snapshot_with_a_good_hash_and_a_wrong_balance_is_found_and_named(folder, capsys):
    for path in (folder / "snapshots").glob("*.books"):
        path.unlink()
    with opened(folder) as engine:
        booktables.words(engine.decider.bookkeeper.books.rows)[7, 4] += np.uint64(1)  # memory that failed
        take_snapshot(engine)
    code, out, _ = run(capsys, "rebuild", "--verify", str(folder))
    assert code == Exit.REFUSED
    assert "accounts: row 7 (id 8)" in out
    assert run(capsys, "rebuild", str(folder))[0] == Exit.DONE
    assert run(capsys, "rebuild", "--verify", str(folder))[0] == Exit.DONE


def test_a_missing_id_of_a_run_is_found_and_named(folder, capsys):
    disk = SystemDisk()
    key = idkey.load_or_make(disk, folder / "index" / "key", bytes)
    kept = FileRuns(disk, folder / "index" / "transfers", key)
    run_before = kept.load(1 << 40, sweep=False)[0]
    rows, label = run_before.rows[1:].copy(), run_before.label
    writer = kept.writer(Label(label.first, label.stop, label.level, len(rows), label.bounds))
    writer.add(rows)
    list(writer.finish())
    writer.close()
    code, out, _ = run(capsys, "rebuild", "--verify", str(folder))
    assert code == Exit.REFUSED
    assert "id run" in out
    assert "is not in it" in out


def test_while_an_engine_runs_neither_is_done(folder, capsys):
    with Ledger.open(folder, accounts_max=1000, window_ids=64):
        for words in (["rebuild", "--verify"], ["rebuild"]):
            code, _, err = run(capsys, *words, str(folder))
            assert code == Exit.NEEDS_A_PERSON
            assert "lock" in err


def test_a_folder_without_a_journal_is_refused_and_left_as_it_is(tmp_path, capsys):
    code, _, err = run(capsys, "rebuild", str(tmp_path / "nothing"))
    assert code == Exit.NOT_DONE
    assert "holds no journal" in err
    assert not Path(tmp_path / "nothing").exists()
