"""The judge passes an honest history, and finds and names each fault that is planted in one."""

from typing import Any

import msgspec
import numpy as np
import pytest

from tallystick.lab.history.calls import Told
from tallystick.lab.history.faults import Unknown, Verdict, Wrong
from tallystick.records.commands import Kind, TransferFlag
from tallystick.records.details import DETAILS
from tallystick.records.entries import TRANSFER_WORK, WORK
from tallystick.records.results import RESULT
from tallystick.statuses import TransferStatus
from tests.unit.lab.history.story import ALICE, SHOP, WORLD, Story, freeze, pending, post, transfer, void


def wrongs(verdict: Verdict) -> set[Wrong]:
    return {fault.wrong for fault in verdict.faults}


@pytest.fixture
def story() -> Story:
    """Three payments, one of them refused, one in a chain of two; two look-ups between them."""
    story = Story()
    story.asks(1, Kind.TRANSFER, transfer(11, WORLD, ALICE, 70))
    story.looks_up(ALICE, SHOP)
    story.asks(2, Kind.TRANSFER, transfer(12, ALICE, SHOP, 30) + transfer(13, ALICE, SHOP, 5))
    story.asks(3, Kind.TRANSFER, transfer(14, ALICE, 999, 1))
    story.looks_up_transfers(11, 12, 14)
    story.looks_up(WORLD, ALICE, SHOP)
    return story


def call(story: Story, request_id: int) -> Any:
    return next(each for each in story.history.calls if getattr(each, "request_id", None) == request_id)


def test_an_honest_history_passes(story: Story) -> None:
    payment = call(story, 1)
    story.retries(payment)
    doubtful = story.submit(story.tick(), 9, Kind.TRANSFER, transfer(19, WORLD, SHOP, 1), Told.UNKNOWN)
    story.asks_about(doubtful, Told.NOT_DECIDED)
    story.asks_about(payment, Told.DECIDED, payment.rows)
    story.submit(story.tick(), 1, Kind.TRANSFER, transfer(18, WORLD, SHOP, 1), Told.KEY_REUSED)
    story.reads()
    verdict = story.verdict()
    assert verdict.faults == []
    assert verdict.ok
    assert (verdict.acknowledged, verdict.indefinite, verdict.requests) == (4, 1, 6)
    assert (verdict.entries, verdict.looked_up) == (11, 3)
    assert verdict.by_status == {
        "account created": 3,
        "transfer created": 3,
        "transfer credit_account_not_found": 1,
    }


def two_phase() -> Story:
    """A pending transfer that is posted in part, one that is voided, one that expires by itself."""
    story = Story()
    for number, timeout in ((1, 0), (2, 0), (3, 5)):
        story.asks(number, Kind.TRANSFER, pending(10 + number, WORLD, SHOP, 60, timeout))
    story.looks_up(WORLD, SHOP)
    story.asks(4, Kind.TRANSFER, post(14, 11, 20))
    story.asks(5, Kind.TRANSFER, void(15, 12))
    story.looks_up_transfers(11, 14, 15)
    story.passes(6)
    story.looks_up(WORLD, SHOP)
    return story


def test_posts_voids_and_expiries_pass() -> None:
    verdict = two_phase().verdict()
    assert verdict.faults == []
    assert verdict.by_status == {"account created": 3, "expiry created": 1, "transfer created": 5}
    assert verdict.looked_up == 3


def test_an_expiry_that_did_not_happen_is_found() -> None:
    story = two_phase()
    del story.history.blocks[-1]
    story.asks(6, Kind.TRANSFER, transfer(16, WORLD, SHOP, 1))
    renumbered(story)
    assert wrongs(story.verdict()) == {Wrong.JOURNAL_DIFFERS}


def test_a_balance_that_still_shows_what_expired_is_stale() -> None:
    story = two_phase()
    before = story.history.calls[-1]
    story.reads()
    story.looks_up(WORLD, SHOP)
    assert story.verdict().ok
    reserved = bytearray(before.rows)
    reserved[16] = 60  # debits_pending of the first
    reserved[152 + 48] = 60  # credits_pending of the second
    story.replace(story.history.calls[-1], rows=bytes(reserved))
    assert wrongs(story.verdict()) == {Wrong.STALE}


def test_a_chain_of_which_half_was_done_is_found() -> None:
    story = Story()
    chain = transfer(11, WORLD, SHOP, 5, flags=TransferFlag.LINKED) + transfer(12, WORLD, 999, 5)
    story.asks(1, Kind.TRANSFER, chain)
    assert story.verdict().by_status["transfer linked_event_failed"] == 1
    entries = np.frombuffer(story.history.blocks[-1].entries, TRANSFER_WORK).copy()
    entries["status"][0], entries["moved_lo"][0] = 0xFFFF, 5
    story.history.blocks[-1] = msgspec.structs.replace(story.history.blocks[-1], entries=entries.tobytes())
    assert Wrong.JOURNAL_DIFFERS in wrongs(story.verdict())


def test_a_flag_that_the_ledger_acted_on_and_should_not_is_found() -> None:
    story = two_phase()
    entries = np.frombuffer(story.history.blocks[1].entries, TRANSFER_WORK).copy()
    entries["flag_bits_effective"][0] = 0
    story.history.blocks[1] = msgspec.structs.replace(story.history.blocks[1], entries=entries.tobytes())
    assert wrongs(story.verdict()) == {Wrong.JOURNAL_DIFFERS}


def test_an_altered_status_in_one_reply_is_found(story: Story) -> None:
    payment = call(story, 2)
    rows = np.frombuffer(payment.rows, RESULT).copy()
    rows["status"][1] = TransferStatus.EXCEEDS_CREDITS
    story.replace(payment, rows=rows.tobytes())
    verdict = story.verdict()
    assert wrongs(verdict) == {Wrong.REPLY_DIFFERS}
    assert (verdict.lost, verdict.doubled, verdict.contradicted) == (0, 0, 1)


def test_an_altered_timestamp_in_one_reply_is_found(story: Story) -> None:
    payment = call(story, 1)
    rows = np.frombuffer(payment.rows, RESULT).copy()
    rows["timestamp"] += np.uint64(1)
    story.replace(payment, rows=rows.tobytes())
    assert wrongs(story.verdict()) == {Wrong.REPLY_DIFFERS}


def test_a_retry_that_gets_another_outcome_is_found(story: Story) -> None:
    payment = call(story, 3)
    rows = np.frombuffer(payment.rows, RESULT).copy()
    rows["status"] = TransferStatus.CREATED
    story.retries(payment, rows.tobytes())
    assert wrongs(story.verdict()) == {Wrong.REPLY_DIFFERS}


def test_results_of_another_payment_are_found(story: Story) -> None:
    story.submit(story.tick(), 1, Kind.TRANSFER, transfer(18, WORLD, SHOP, 1), Told.DECIDED, call(story, 1).rows)
    assert wrongs(story.verdict()) == {Wrong.REPLY_DIFFERS}


def test_a_dropped_entry_is_found(story: Story) -> None:
    blocks = story.history.blocks
    entries = np.delete(np.frombuffer(blocks[2].entries, WORK), 1)
    blocks[2] = msgspec.structs.replace(blocks[2], entries=entries.tobytes())
    verdict = story.verdict()
    assert Wrong.JOURNAL_GAP in wrongs(verdict)
    assert verdict.lost


def renumbered(story: Story) -> None:
    """Make the journal dense again, as a platform would have it that never knew of what is gone."""
    seq = 0
    for at, block in enumerate(story.history.blocks):
        entries = np.frombuffer(block.entries, WORK).copy()
        entries["seq"] = np.arange(seq, seq + len(entries))
        story.history.blocks[at] = msgspec.structs.replace(block, first=seq, entries=entries.tobytes())
        seq += len(entries)


def test_a_payment_that_was_acknowledged_and_is_gone_is_lost(story: Story) -> None:
    del story.history.blocks[3]
    renumbered(story)
    verdict = story.verdict()
    assert wrongs(verdict) == {Wrong.ACKNOWLEDGED_LOST}
    assert (verdict.lost, verdict.doubled, verdict.contradicted) == (1, 0, 0)


def test_a_payment_that_was_only_accepted_and_is_gone_is_lost(story: Story) -> None:
    accepted = story.submit(story.tick(), 8, Kind.TRANSFER, transfer(18, WORLD, SHOP, 1), Told.ACCEPTED)
    story.asks_about(accepted, Told.NOT_DECIDED)
    assert wrongs(story.verdict()) == {Wrong.ACKNOWLEDGED_LOST}


def test_a_request_decided_twice_is_doubled(story: Story) -> None:
    last = story.history.blocks[-1]
    story.history.blocks.append(last)
    entries = np.frombuffer(last.entries, WORK).copy()
    entries["timestamp"][0] += np.uint64(5_000)
    story.history.blocks[-1] = msgspec.structs.replace(last, entries=entries.tobytes())
    renumbered(story)
    verdict = story.verdict()
    assert wrongs(verdict) == {Wrong.DECIDED_TWICE}
    assert verdict.doubled == 1


def test_an_outcome_called_new_twice_is_doubled(story: Story) -> None:
    payment = call(story, 1)
    story.submit(story.tick(), 1, Kind.TRANSFER, payment.events, Told.DECIDED, payment.rows)
    verdict = story.verdict()
    assert wrongs(verdict) == {Wrong.NEW_TWICE}
    assert verdict.doubled == 1


def test_requests_decided_in_the_wrong_order_are_found() -> None:
    story = Story()
    story.asks(1, Kind.TRANSFER, transfer(11, WORLD, ALICE, 70))
    story.asks(2, Kind.TRANSFER, transfer(12, WORLD, ALICE, 30))
    first, second = call(story, 1), call(story, 2)
    # The journal stays as it is; but the second was sent, and answered, before the first was sent.
    story.replace(first, start_ns=second.end_ns + 1, end_ns=second.end_ns + 2)
    assert Wrong.OUT_OF_ORDER in wrongs(story.verdict())


def test_swapped_blocks_are_found(story: Story) -> None:
    blocks = story.history.blocks
    blocks[1], blocks[2] = blocks[2], blocks[1]
    renumbered(story)
    assert wrongs(story.verdict()) == {Wrong.JOURNAL_DIFFERS, Wrong.OUT_OF_ORDER}


def test_an_outcome_that_the_rules_do_not_give_is_found(story: Story) -> None:
    """Such as a freeze that was forgotten: every answer agrees with the journal, and all of them are wrong."""
    story.asks(4, Kind.CONTROL, freeze(ALICE))
    payment = story.asks(5, Kind.TRANSFER, transfer(15, ALICE, SHOP, 1))
    rows = np.frombuffer(payment.rows, RESULT).copy()
    assert rows["status"][0] == TransferStatus.DEBIT_ACCOUNT_FROZEN
    rows["status"] = TransferStatus.CREATED
    story.replace(payment, rows=rows.tobytes())
    entries = np.frombuffer(story.history.blocks[-1].entries, TRANSFER_WORK).copy()
    entries["status"][0], entries["moved_lo"][0] = 0xFFFF, 1
    story.history.blocks[-1] = msgspec.structs.replace(story.history.blocks[-1], entries=entries.tobytes())
    assert wrongs(story.verdict()) == {Wrong.JOURNAL_DIFFERS}


def test_an_amount_that_moved_and_should_not_is_found(story: Story) -> None:
    entries = np.frombuffer(story.history.blocks[1].entries, TRANSFER_WORK).copy()
    entries["moved_lo"][0] += np.uint64(1)
    story.history.blocks[1] = msgspec.structs.replace(story.history.blocks[1], entries=entries.tobytes())
    assert wrongs(story.verdict()) == {Wrong.JOURNAL_DIFFERS}


def test_an_event_changed_on_its_way_is_found(story: Story) -> None:
    entries = np.frombuffer(story.history.blocks[1].entries, TRANSFER_WORK).copy()
    entries["user_data_64"][0] = 7
    story.history.blocks[1] = msgspec.structs.replace(story.history.blocks[1], entries=entries.tobytes())
    assert Wrong.ALTERED in wrongs(story.verdict())


def test_details_changed_under_their_seal_are_found(story: Story) -> None:
    details = np.frombuffer(story.history.blocks[1].details, DETAILS).copy()
    details["score"][0] = 7
    story.history.blocks[1] = msgspec.structs.replace(story.history.blocks[1], details=details.tobytes())
    assert wrongs(story.verdict()) >= {Wrong.ALTERED}


def test_a_request_that_nobody_made_is_found(story: Story) -> None:
    story.history.calls.remove(call(story, 3))
    assert Wrong.NOT_ASKED in wrongs(story.verdict())


def test_a_look_up_that_shows_less_than_an_earlier_answer_is_stale(story: Story) -> None:
    early = story.history.calls[2]
    story.replace(story.history.calls[-1], rows=early.rows, ids=early.ids)  # type: ignore[union-attr]
    verdict = story.verdict()
    assert wrongs(verdict) == {Wrong.STALE}
    assert verdict.contradicted == 1


def test_a_look_up_that_shows_less_than_an_earlier_look_up_is_stale() -> None:
    story = Story()
    before = story.looks_up(SHOP)
    payment = story.asks(1, Kind.TRANSFER, transfer(11, WORLD, SHOP, 70))
    seen, late = story.looks_up(SHOP), story.looks_up(SHOP)
    # The client of the payment heard only after both.
    story.replace(payment, end_ns=late.end_ns + 1)
    assert story.verdict().ok
    story.replace(late, rows=before.rows)
    assert wrongs(story.verdict()) == {Wrong.STALE}
    assert seen.rows != before.rows


def test_a_look_up_that_overlaps_a_payment_may_show_either() -> None:
    story = Story()
    before = story.looks_up(SHOP)
    payment = story.asks(1, Kind.TRANSFER, transfer(11, WORLD, SHOP, 70))
    during = story.looks_up(SHOP)
    story.replace(during, start_ns=payment.start_ns, end_ns=payment.end_ns)
    assert story.verdict().ok
    story.replace(story.history.calls[-1], rows=before.rows)
    assert story.verdict().ok


def test_a_look_up_that_shows_what_is_asked_for_only_later_is_found(story: Story) -> None:
    early, late = story.history.calls[2], story.history.calls[-1]
    story.replace(early, rows=late.rows, ids=late.ids)  # type: ignore[union-attr]
    assert wrongs(story.verdict()) == {Wrong.AHEAD}


def test_a_balance_that_never_was_is_found(story: Story) -> None:
    shown = bytearray(story.history.calls[-1].rows)
    shown[32] += 1  # debits_posted of the first account
    story.replace(story.history.calls[-1], rows=bytes(shown))
    verdict = story.verdict()
    assert wrongs(verdict) == {Wrong.NEVER_TRUE}
    assert "debits_posted 71" in verdict.faults[0].what


def test_half_of_a_payment_seen_is_found() -> None:
    """Each balance was true at some moment, but never both at once."""
    story = Story()
    before = story.looks_up(ALICE, SHOP)
    payment = story.asks(1, Kind.TRANSFER, transfer(11, ALICE, SHOP, 70))
    after = story.looks_up(ALICE, SHOP)
    story.replace(after, start_ns=payment.start_ns, end_ns=payment.end_ns)
    assert story.verdict().ok
    story.replace(story.history.calls[-1], rows=before.rows[:152] + after.rows[152:])
    assert wrongs(story.verdict()) == {Wrong.NEVER_TRUE}


def test_a_transfer_that_was_shown_and_is_gone_is_lost(story: Story) -> None:
    ghost = story.looks_up_transfers(11)
    row = ghost.rows.replace((11).to_bytes(16, "little"), (77).to_bytes(16, "little"), 1)
    story.replace(ghost, rows=row, ids=(77).to_bytes(16, "little"))
    verdict = story.verdict()
    assert wrongs(verdict) == {Wrong.SHOWN_LOST}
    assert verdict.lost == 1


def test_a_transfer_that_a_look_up_no_longer_finds_is_found(story: Story) -> None:
    missing = story.looks_up_transfers(11)
    story.replace(missing, rows=b"")
    assert wrongs(story.verdict()) == {Wrong.STALE}


def test_an_outcome_that_is_forgotten_again_is_found(story: Story) -> None:
    story.asks_about(call(story, 1), Told.NOT_DECIDED)
    assert Wrong.UNDECIDED_AFTER_ALL in wrongs(story.verdict())


def test_a_block_that_a_reader_saw_and_that_is_gone_is_lost(story: Story) -> None:
    read = story.reads()
    story.history.reads[-1] = msgspec.structs.replace(read, hash=bytes(32))
    verdict = story.verdict()
    assert wrongs(verdict) == {Wrong.READ_LOST}
    assert verdict.lost == 1


def test_a_request_that_was_written_although_nothing_was_is_found(story: Story) -> None:
    story.asks(7, Kind.TRANSFER, transfer(17, WORLD, SHOP, 1), Told.NOTHING_WRITTEN)
    assert wrongs(story.verdict()) == {Wrong.WRITTEN_AFTER_ALL}


def test_a_try_that_came_to_nothing_does_not_deny_another_that_was_taken(story: Story) -> None:
    payment = call(story, 1)
    story.submit(story.tick(), 1, Kind.TRANSFER, payment.events, Told.NOTHING_WRITTEN)
    assert story.verdict().ok


def test_an_indefinite_answer_that_nobody_resolved_is_found(story: Story) -> None:
    doubtful = story.asks(7, Kind.TRANSFER, transfer(17, WORLD, SHOP, 1), Told.UNKNOWN)
    assert wrongs(story.verdict()) == {Wrong.UNRESOLVED}
    early = story.asks_about(doubtful, Told.NOT_DECIDED)  # it is in the journal, so that settles nothing
    assert Wrong.UNRESOLVED in wrongs(story.verdict())
    story.history.calls.remove(early)
    story.asks_about(doubtful, Told.DECIDED, _rows(story, 7))
    assert story.verdict().ok


def test_it_is_counted_how_each_unknown_outcome_was_found_out(story: Story) -> None:
    sent = [(each, transfer(10 + each, WORLD, SHOP, 1)) for each in (6, 7, 8)]
    looked_up, retried, _ = (story.asks(id, Kind.TRANSFER, event, Told.UNKNOWN) for id, event in sent)
    never = story.submit(story.tick(), 9, Kind.TRANSFER, transfer(19, WORLD, SHOP, 1), Told.UNKNOWN)
    story.asks_about(looked_up, Told.DECIDED, _rows(story, 6))
    story.retries(retried, _rows(story, 7))
    story.asks_about(never, Told.NOT_DECIDED)
    assert story.verdict().unknown == Unknown(requests=4, by_look_up=1, by_retry=1, never_written=1, unsettled=1)


def _rows(story: Story, request_id: int) -> bytes:
    entry = next(
        row
        for block in story.history.blocks
        for row in np.frombuffer(block.entries, WORK)
        if row["request_id_lo"] == request_id
    )
    rows = np.zeros(1, RESULT)
    rows["timestamp"], rows["status"], rows["replayed"] = entry["timestamp"], TransferStatus.CREATED, 1
    return rows.tobytes()


def test_a_key_said_to_be_reused_that_was_not_is_found(story: Story) -> None:
    payment = call(story, 1)
    story.submit(story.tick(), 1, Kind.TRANSFER, payment.events, Told.KEY_REUSED)
    assert wrongs(story.verdict()) == {Wrong.REPLY_DIFFERS}
