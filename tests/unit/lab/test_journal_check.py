"""The judge must judge: each fault planted in a journal or in the answers is found, and a good run is passed."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tallystick import statuses
from tallystick.blockfile.disk import SystemDisk
from tallystick.clock import SystemClock
from tallystick.errors import Corrupt
from tallystick.journal.files import FileJournal
from tallystick.lab import journal_check
from tallystick.lab.kills import first_outcomes_s
from tallystick.lab.load import ANSWER
from tallystick.lab.plan import Plan
from tallystick.records.blocks import entry_block
from tallystick.records.commands import Kind, TransferFlag
from tallystick.records.details import DETAILS
from tallystick.records.details import VERSION as DETAILS_VERSION
from tallystick.records.entries import ENTRY, LENGTH_BYTESWAPPED, TRANSFER_WORK, VERSION
from tallystick.statuses import TransferStatus

TENANT = 1
PLAN = Plan(run=77, accounts=5, payments=100)
LOW = (1 << 64) - 1
Rows = npt.NDArray[np.void]


def entries() -> Rows:
    """The plan's payments as the ledger would have decided them, each at its own nanosecond."""
    rows = np.zeros(PLAN.payments, TRANSFER_WORK)
    rows["length"], rows["kind"], rows["version"] = LENGTH_BYTESWAPPED, Kind.TRANSFER, VERSION
    rows["seq"] = np.arange(len(rows))
    rows["timestamp"] = rows["seq"] + 1000
    rows["tenant"] = TENANT
    for index in range(len(rows)):
        payment = PLAN.payment(index)
        refused = payment.amount > 1000
        status = TransferStatus.EXCEEDS_CREDITS if refused else TransferStatus.CREATED
        rows[index]["status"] = statuses.stored(status)
        for name, number in (
            ("id", payment.id),
            ("request_id", payment.id),
            ("debit_account_id", payment.debit_account_id),
            ("credit_account_id", payment.credit_account_id),
            ("amount", payment.amount),
            ("moved", 0 if refused else payment.amount),
        ):
            rows[index][f"{name}_lo"], rows[index][f"{name}_hi"] = number & LOW, number >> 64
    return rows


def answers() -> Rows:
    """What clients were told of them."""
    rows = np.zeros(PLAN.payments, ANSWER)
    decided = entries()
    names = {statuses.stored(status): statuses.name(status) for status in TransferStatus}
    rows["status"] = [names[status] for status in decided["status"].tolist()]
    rows["timestamp"] = decided["timestamp"]
    rows["sent_ns"], rows["answered_ns"], rows["acknowledged"] = 1, 2, True
    return rows


def store(folder: Path, rows: Rows, block_size: int = 30) -> None:
    """Write the entries as a journal in a data folder, with a seal behind each block."""
    journal = FileJournal.open(folder / journal_check.JOURNAL_FOLDER, SystemDisk(), 1 << 20)
    for at in range(0, len(rows), block_size):
        part = rows[at : at + block_size]
        whole = np.zeros(len(part) + 1, TRANSFER_WORK)
        whole[:-1] = part
        whole[-1]["length"], whole[-1]["kind"], whole[-1]["version"] = LENGTH_BYTESWAPPED, Kind.SEAL, VERSION
        tail = journal.tail()
        whole["seq"] = np.arange(tail.next_seq, tail.next_seq + len(whole))
        details = np.zeros(len(whole), DETAILS)
        details["version"] = DETAILS_VERSION
        _, block = entry_block(whole.view(ENTRY), details, {}, tail.next_seq, tail.hash, journal.epoch)
        journal.append(block, tail.next_seq, journal.epoch)
    journal.close()


def judged(told: Rows, decided: Rows) -> journal_check.Verdict:
    return journal_check.compare(PLAN, told, decided, TENANT)


def test_a_good_run_is_passed() -> None:
    verdict = judged(answers(), entries())
    assert (verdict.lost, verdict.doubled, verdict.unknown, verdict.altered) == (0, 0, 0, 0)
    assert verdict.acknowledged == 100
    assert verdict.by_status == {"created": 98, "exceeds_credits": 2}
    assert verdict.sums_match


def test_an_acknowledged_payment_without_entry_is_lost() -> None:
    verdict = judged(answers(), np.delete(entries(), [3, 4]))
    assert verdict.lost == 2
    assert not verdict.sums_match


def test_a_payment_that_nobody_acknowledged_may_be_missing() -> None:
    told = answers()
    told[3]["acknowledged"], told[3]["answered_ns"] = False, 0
    verdict = judged(told, np.delete(entries(), 3))
    assert (verdict.lost, verdict.unknown) == (0, 1)


def test_an_answer_that_was_accepted_only_must_have_its_entry_too() -> None:
    told = answers()
    told[3]["answered_ns"] = 0  # 202 and nothing after
    assert judged(told, np.delete(entries(), 3)).lost == 1


@pytest.mark.parametrize(("column", "value"), [("status", b"exists"), ("timestamp", 5)])
def test_an_answer_that_differs_from_its_entry_counts_as_lost(column: str, value: object) -> None:
    told = answers()
    told[7][column] = value
    assert judged(told, entries()).lost == 1


def test_a_second_entry_of_a_request_is_doubled() -> None:
    decided = entries()
    again = decided[5:6].copy()
    again["status"] = statuses.stored(TransferStatus.EXISTS)
    verdict = judged(answers(), np.concatenate([decided, again]))
    assert verdict.doubled == 1
    assert not verdict.sums_match


def test_a_transfer_created_twice_under_one_id_is_doubled_even_under_another_request() -> None:
    decided = entries()
    decided[6]["id_lo"], decided[6]["id_hi"] = decided[5]["id_lo"], decided[5]["id_hi"]
    verdict = judged(answers(), decided)
    assert verdict.doubled == 1
    assert verdict.altered == 1


@pytest.mark.parametrize("column", ["amount_lo", "debit_account_id_lo", "credit_account_id_hi", "id_lo"])
def test_an_entry_that_is_not_what_was_asked_is_altered(column: str) -> None:
    decided = entries()
    decided[5][column] += 1
    assert judged(answers(), decided).altered == 1


def test_entries_of_other_tenants_and_other_runs_are_none_of_ours() -> None:
    decided = entries()
    decided[3]["tenant"] = TENANT + 1
    decided[4]["request_id_hi"] += 1
    assert judged(answers(), decided).lost == 2


def test_the_fold_adds_up_what_moved_and_only_that() -> None:
    folded = journal_check.fold(entries())
    debits, credits = (sum(pair[side] for pair in folded.values()) for side in (0, 1))
    assert debits == credits == sum(p.amount for p in map(PLAN.payment, range(100)) if p.amount < 1000)
    first = PLAN.payment(0)
    assert first.debit_account_id in folded
    assert first.credit_account_id in folded


def test_the_fold_counts_beyond_64_bits() -> None:
    decided = entries()[:2]
    decided["moved_lo"], decided["moved_hi"] = LOW, 1
    assert sum(pair[0] for pair in journal_check.fold(decided).values()) == 2 * ((1 << 64) + LOW)


def test_the_fold_refuses_what_it_does_not_understand() -> None:
    pending = entries()
    pending[0]["flag_bits_effective"] = 2
    with pytest.raises(Corrupt, match="plain"):
        journal_check.fold(pending)
    moved = entries()
    moved[49]["moved_lo"] = 1
    with pytest.raises(Corrupt, match="refused"):
        journal_check.fold(moved)


class TestFiles:
    def test_a_journal_is_read_whole_and_its_seals_are_told_apart(self, tmp_path: Path) -> None:
        store(tmp_path, entries())
        found = journal_check.read(tmp_path)
        assert (found.entries, found.seals, len(found.transfers)) == (104, 4, 100)
        assert journal_check.end(tmp_path) == 104
        assert judged(answers(), found.transfers).lost == 0

    def test_no_journal_is_an_empty_one(self, tmp_path: Path) -> None:
        found = journal_check.read(tmp_path)
        assert (found.entries, len(found.transfers)) == (0, 0)

    def test_a_stretch_is_counted_by_run(self, tmp_path: Path) -> None:
        store(tmp_path, entries())
        assert journal_check.count(tmp_path, 0, 77) == journal_check.Count(created=98, refused=2, doubled=0)
        assert journal_check.count(tmp_path, 31, 77) == journal_check.Count(created=68, refused=2, doubled=0)
        assert journal_check.count(tmp_path, 0, 78) == journal_check.Count(0, 0, 0)
        assert journal_check.count(tmp_path, 104, 77) == journal_check.Count(0, 0, 0)

    def test_a_transfer_created_twice_is_counted(self, tmp_path: Path) -> None:
        store(tmp_path, np.concatenate([entries(), entries()[:3]]))
        assert journal_check.count(tmp_path, 0, 77).doubled == 3

    def test_a_flipped_bit_is_not_read_over(self, tmp_path: Path) -> None:
        store(tmp_path, entries())
        (segment,) = (tmp_path / journal_check.JOURNAL_FOLDER).glob("0" * 20)
        data = bytearray(segment.read_bytes())
        data[5_000] ^= 1
        segment.write_bytes(data)
        with pytest.raises(Corrupt):
            journal_check.read(tmp_path)


def test_the_first_outcome_after_a_kill_is_one_that_was_decided_after_it() -> None:
    clock = SystemClock()
    kill_ns = clock.wall_ns()
    monotonic_ns = clock.monotonic_ns()
    told = np.zeros(3, ANSWER)
    told["timestamp"] = [kill_ns - 5, kill_ns + 1_000, kill_ns + 2_000]
    # The first was on its way already when the engine died.
    told["answered_ns"] = [monotonic_ns + 1_000_000, monotonic_ns + 1_500_000_000, monotonic_ns + 1_200_000_000]
    (wait_s,) = first_outcomes_s(clock, told, [kill_ns])
    assert wait_s == pytest.approx(1.2, abs=0.01)
    assert first_outcomes_s(clock, told[:1], [kill_ns]) == [float("inf")]


def two_phase(*steps: tuple[int, TransferFlag, int, int]) -> np.ndarray:  # type: ignore[type-arg]
    """Created transfers of account 1 to account 2: id, flags, what moved, id of the pending one."""
    rows = entries()[: len(steps)].copy()
    for row, (number, flags, moved, pending) in zip(rows, steps, strict=True):
        row["id_lo"], row["id_hi"], row["flag_bits_effective"] = number, 0, flags
        row["moved_lo"], row["pending_id_lo"], row["pending_id_hi"] = moved, pending, 0
        resolves = bool(pending)
        for side, account in (("debit", 1), ("credit", 2)):
            row[f"{side}_account_id_lo"] = 0 if resolves else account
            row[f"{side}_account_id_hi"] = 0
    return rows


PENDING, POST, VOID = TransferFlag.PENDING, TransferFlag.POST_PENDING_TRANSFER, TransferFlag.VOID_PENDING_TRANSFER


@pytest.mark.parametrize(
    ("steps", "posted", "pending"),
    [
        ([(1, TransferFlag(0), 100, 0)], 100, 0),
        ([(1, PENDING, 80, 0)], 0, 80),
        ([(1, PENDING, 80, 0), (2, POST, 60, 1)], 60, 0),
        ([(1, PENDING, 80, 0), (2, VOID, 80, 1)], 0, 0),
        ([(1, PENDING, 80, 0), (2, PENDING, 5, 0), (3, POST, 80, 1)], 80, 5),
    ],
)
def test_both_phases_are_folded(steps: list[tuple[int, TransferFlag, int, int]], posted: int, pending: int) -> None:
    assert journal_check.fold_phases(two_phase(*steps)) == {1: [posted, 0, pending, 0], 2: [0, posted, 0, pending]}


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([(1, PENDING, 80, 0), (2, POST, 60, 1), (3, VOID, 80, 1)], "not pending"),
        ([(1, PENDING, 80, 0), (2, POST, 81, 1)], "more than"),
        ([(1, TransferFlag.CLOSING_DEBIT, 80, 0)], "neither"),
    ],
)
def test_what_cannot_be_is_not_folded(steps: list[tuple[int, TransferFlag, int, int]], told: str) -> None:
    with pytest.raises(Corrupt, match=told):
        journal_check.fold_phases(two_phase(*steps))


def test_without_pending_transfers_both_folds_agree() -> None:
    folded = journal_check.fold_phases(entries())
    assert {account: row[:2] for account, row in folded.items()} == journal_check.fold(entries())
    assert not any(any(row[2:]) for row in folded.values())


@pytest.mark.parametrize("column", ["pending_id_lo", "flag_bits"])
def test_an_entry_with_other_flags_than_were_asked_is_altered(column: str) -> None:
    decided = entries()
    decided[5][column] += 1
    assert judged(answers(), decided).altered == 1
