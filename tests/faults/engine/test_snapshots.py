"""Snapshots through power cuts, kills, full disks and I/O errors: every start must find what the journal says.

Each seed is a life story of one engine on the simulated disk. At each start what snapshots, id runs, endings and the
tail gave is compared, row by row, with books made from entry 0.
"""

from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random

import numpy as np
import pytest

from tallystick.blockfile.simulated import Fault, PowerCut, SimulatedDisk
from tallystick.compose.parts import open_files, open_twice
from tallystick.engine.drafts import Delivery
from tallystick.engine.snapshots import Cadence
from tallystick.engine.verification import first_difference
from tallystick.engine.writer import Writer
from tallystick.errors import Damaged, OutcomeUnknown, Unavailable
from tallystick.lab.simulated_clock import SimulatedClock
from tallystick.ledger.books import Counter
from tallystick.records.commands import ACCOUNT_EVENT, CONTROL_EVENT, TRANSFER_EVENT, Kind, Opcode, Side, frame
from tallystick.records.commands import TransferFlag as Flag
from tallystick.statuses import TransferStatus, transient

TRANSIENT = [status for status in TransferStatus if transient(status)]
DATA = Path("/data")
CADENCE = Cadence(rows=6, entries_min=10, entries_max=40, parts_max=4)
FAULTS = [fault for fault in Fault if not fault.name.startswith("READ")]
SECOND = 1_000_000_000


class Silent:
    """A gate for answers nobody waits for."""

    def decided(self, answers, position):
        pass

    def durable(self, positions):
        pass


class Story:
    """One engine, started again and again."""

    def __init__(self, seed):
        self.random = Random(seed)
        self.clock = SimulatedClock()
        self.disk = SimulatedDisk(seed, clock=self.clock)
        self.next_id = 1
        self.pendings = []
        self.parts = None
        self.snapshots_used = 0
        self.said = []

    def start(self):
        """A new process, however often that takes."""
        self.disk.machine.cut_at = None
        for _ in range(50):
            try:
                self.parts = open_files(
                    DATA,
                    self.disk,
                    self.clock,
                    self.random.randbytes,
                    accounts_max=64,
                    window_ids=16,
                    segment_bytes=1 << 16,
                    accept_clock=True,
                    cadence=CADENCE,
                )
            except (OutcomeUnknown, Unavailable, Damaged):
                self.disk = self.disk.kill()
            except PowerCut:
                self.disk = self.disk.cut()
            else:
                break
        self.writer = Writer(self.parts.journal, Silent(), self.random.randbytes)
        self.check()

    def check(self):
        """What the start found is what the journal says. Faults that were planned wait until it is compared."""
        machine = self.disk.machine
        planned, machine.injected = machine.injected, {}
        difference, covered = compare(self.disk.another_process(), self.random.randbytes, self.said.append)
        machine.injected = planned
        assert difference is None
        self.snapshots_used += covered > 0
        decider = self.parts.decider
        assert decider.next_seq == self.parts.journal.end()

    def decide(self, commands):
        """Decide one request, and make it durable."""
        decider = self.parts.decider
        draft = decider.decide([Delivery(commands)], self.parts.timekeeper.after(decider.last_timestamp))
        self.writer.step(draft)

    def live(self, rounds):
        """Decide, write, keep house, in some order, until the power fails or something else does."""
        for _ in range(rounds):
            self.clock.advance(self.random.choice((1_000, SECOND // 10, 2 * SECOND)))
            decider = self.parts.decider
            draft = decider.decide([Delivery(self.request())], self.parts.timekeeper.after(decider.last_timestamp))
            if self.random.random() < 0.3:
                self.keep_house()  # not durable yet
            self.writer.step(draft)
            self.keep_house()

    def keep_house(self):
        for chore in self.parts.chores:
            for _ in range(self.random.choice((0, 1, 3, 30))):
                if not chore():
                    break

    def request(self):
        self.next_id += 1
        kind = self.random.random()
        if self.next_id < 6 or kind < 0.05:
            events = np.zeros(self.random.randint(1, 4), ACCOUNT_EVENT)
            events["id_lo"] = [self.random.randint(1, 50) for _ in events]
            events["ledger"], events["code"] = 1, 1
            return frame(events.tobytes(), Kind.ACCOUNT, self.tenant(), self.next_id, 1)
        if kind < 0.15:
            events = np.zeros(1, CONTROL_EVENT)
            events["account_id_lo"], events["value_lo"] = self.random.randint(1, 50), Side.DEBITS
            events["opcode"] = self.random.choice((Opcode.FREEZE, Opcode.UNFREEZE, Opcode.UNFREEZE))
            return frame(events.tobytes(), Kind.CONTROL, self.tenant(), self.next_id, 1)
        events = np.zeros(self.random.randint(1, 8), TRANSFER_EVENT)
        for at in range(len(events)):
            self.fill(events[at], at)
        return frame(events.tobytes(), Kind.TRANSFER, self.tenant(), self.next_id, 1)

    def tenant(self):
        return 1 if self.random.random() < 0.9 else 2

    def fill(self, event, at):
        number = self.next_id * 10 + at
        event["id_lo"] = number
        event["ledger"], event["code"] = 1, 1
        if self.pendings and self.random.random() < 0.3:
            event["pending_id_lo"] = self.random.choice(self.pendings[-40:])
            event["flag_bits"] = self.random.choice((Flag.POST_PENDING_TRANSFER, Flag.VOID_PENDING_TRANSFER))
            if event["flag_bits"] == Flag.POST_PENDING_TRANSFER:
                event["amount_lo"], event["amount_hi"] = 0xFFFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF
            event["ledger"] = event["code"] = 0
            return
        event["debit_account_id_lo"], event["credit_account_id_lo"] = self.random.sample(range(1, 50), 2)
        event["amount_lo"] = self.random.randint(1, 9)
        if self.random.random() < 0.4:
            event["flag_bits"] = Flag.PENDING
            event["timeout"] = self.random.choice((0, 1, 3, 20))
            self.pendings.append(number)


def compare(disk, entropy, say):
    """The first difference between what a start finds and what the journal says, and where its tail begins."""
    with ExitStack() as stack:
        reader, keeper, saved, anew = open_twice(
            DATA, disk, entropy, accounts_max=64, window_ids=16, shard=0, say=say, stack=stack
        )
        return first_difference(reader, saved, anew, None), keeper.covered


@pytest.mark.parametrize("seed", range(15))
def test_every_start_finds_what_the_journal_says_whatever_went_wrong_before(seed):
    live_through(seed)


@pytest.mark.service
@pytest.mark.parametrize("seed", range(15, 130))
def test_every_start_finds_what_the_journal_says_in_many_more_stories(seed):
    live_through(seed)


def live_through(seed):
    story = Story(seed)
    for _ in range(4):
        story.start()
        if story.random.random() < 0.6:
            story.disk.cut_after(story.random.randint(20, 400))
        else:
            story.disk.inject(story.random.choice(FAULTS), story.random.randint(5, 200))
        with suppress(PowerCut, OutcomeUnknown, Unavailable):
            story.live(story.random.randint(5, 40))
        story.disk = story.disk.cut() if story.random.random() < 0.6 else story.disk.kill()
    story.disk.calm()
    story.start()


def settled(seed=1, rounds=60):
    """A story in which nothing went wrong, its snapshots written."""
    story = Story(seed)
    story.start()
    story.live(rounds)
    while any(chore() for chore in story.parts.chores):
        pass
    return story


def test_starts_do_use_snapshots_merges_and_tails():
    story = settled()
    for _ in range(6):
        story.disk = story.disk.kill()
        story.start()
        story.live(12)
    assert story.snapshots_used == 6
    names = story.disk.list(DATA / "snapshots")
    assert sum(name.startswith("0" * 20) for name in names) >= 2  # a base, and the one before
    assert story.said == []


@pytest.mark.parametrize("operations", range(0, 120, 6))
def test_the_power_may_fail_at_any_write_of_increment_merge_or_endings(operations):
    story = settled(operations, 30)
    story.live(3)
    story.parts.capture_now()
    story.disk.cut_after(operations)
    try:
        for _ in range(3):
            while story.parts.chores[-1]():
                pass
            story.live(4)
            story.parts.capture_now()
    except PowerCut:
        pass
    story.disk = story.disk.cut()
    story.start()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("after", [0, 2, 6])
def test_after_any_fault_of_the_disk_the_snapshot_is_written_at_the_next_attempt_or_start(fault, after):
    story = settled(after)
    story.live(2)
    story.parts.capture_now()
    story.disk.inject(fault, after)
    try:
        while story.parts.chores[-1]():
            pass
    except (Unavailable, OutcomeUnknown):
        if fault in (Fault.SYNC_ERROR, Fault.FOLDER_SYNC_ERROR, Fault.WRITE_ERROR):
            story.disk = story.disk.kill()  # as the housekeeper: the process ends
            story.start()
        while story.parts.chores[-1]():
            pass
    story.disk = story.disk.cut()
    story.start()


@pytest.mark.parametrize("seed", range(10))
def test_a_damaged_part_is_told_left_out_and_made_anew(seed):
    story = settled(seed)
    story.live(5)
    story.disk = story.disk.kill()
    names = [name for name in story.disk.list(DATA / "snapshots") if name.endswith(".books")]
    path = DATA / "snapshots" / story.random.choice(names)
    size = story.disk.open(path).size()
    story.disk.flip_bit(path, story.random.randrange(8 * size))
    story.start()
    story.live(40)
    story.disk = story.disk.kill()
    story.start()
    assert story.snapshots_used >= 1


@pytest.mark.parametrize("seed", range(5))
def test_a_bit_that_falls_over_at_rest_gets_no_good_hash_by_a_merge(seed):
    story = settled(seed)
    names = [name for name in story.disk.list(DATA / "snapshots") if name.endswith(".books")]
    for name in names:
        path = DATA / "snapshots" / name
        story.disk.flip_bit(path, story.random.randrange(8 * 200, 8 * story.disk.open(path).size()))
    story.live(60)
    while any(chore() for chore in story.parts.chores):
        pass
    story.disk = story.disk.kill()
    story.start()


def test_what_was_asked_before_the_snapshot_is_known_after_it_though_no_run_has_its_id():
    story = settled()
    while (commands := story.request())["kind"][0] != Kind.TRANSFER:
        pass
    told = []
    for number in range(3):
        if number == 1:  # with the ids in the window, and in no run
            story.parts.capture_now()
            while story.parts.chores[-1]():
                pass
            story.disk = story.disk.kill()
            story.start()
        if number == 2:  # the same transfers in another request
            commands = commands.copy()
            commands["request_id_lo"] = 1 << 60
        decider = story.parts.decider
        draft = decider.decide([Delivery(commands)], story.parts.timekeeper.after(decider.last_timestamp))
        story.writer.step(draft)
        told.append(draft.answers[0].rows)
    assert told[1]["replayed"].all()
    assert (told[1]["status"] == told[0]["status"]).all()
    spent = (told[0]["status"] == TransferStatus.CREATED) | np.isin(told[0]["status"], TRANSIENT)
    assert spent.any()
    assert np.isin(told[2]["status"][spent], (TransferStatus.EXISTS, TransferStatus.ID_ALREADY_FAILED)).all()


def expiring(decider):
    """When what is pending will expire, by the entry that made it."""
    books = decider.bookkeeper.books
    heap = books.heap[: int(books.counters[Counter.HEAP])]
    seqs = books.pendings.view(np.ndarray)["seq"][heap[:, 2].astype(np.int64)]
    return sorted(zip(seqs.tolist(), heap[:, 0].tolist(), strict=True))


@pytest.mark.parametrize("seed", range(4))
def test_what_is_pending_in_a_snapshot_expires_like_anything_else(seed):
    story = settled(seed)
    accounts, pendings = np.zeros(2, ACCOUNT_EVENT), np.zeros(5, TRANSFER_EVENT)
    accounts["id_lo"], accounts["ledger"], accounts["code"] = (101, 102), 1, 1
    pendings["id_lo"], pendings["timeout"], pendings["flag_bits"] = range(1, 6), (50, 40, 0, 70, 30), Flag.PENDING
    pendings["debit_account_id_lo"], pendings["credit_account_id_lo"] = 101, 102
    pendings["amount_lo"], pendings["ledger"], pendings["code"] = 1, 1, 1
    story.decide(frame(accounts.tobytes(), Kind.ACCOUNT, 3, 1 << 50, 1))
    story.decide(frame(pendings.tobytes(), Kind.TRANSFER, 3, 1 << 51, 1))
    story.parts.capture_now()
    while story.parts.chores[-1]():
        pass
    before = expiring(story.parts.decider)
    assert len(before) >= 4
    story.disk = story.disk.kill()
    story.start()
    decider = story.parts.decider
    assert expiring(decider) == before
    assert decider.next_expiry() == min(at for _, at in before)
    story.clock.advance(3600 * SECOND)
    draft = decider.decide([], story.parts.timekeeper.after(decider.last_timestamp))
    assert (draft.outcome.entries["kind"][:-1] == Kind.EXPIRY).sum() == len(before)
    story.writer.step(draft)
    story.disk = story.disk.kill()
    story.start()
    assert expiring(story.parts.decider) == []


def test_a_snapshot_of_another_journal_is_told_and_not_used():
    story, other = settled(1), settled(2)
    for name in story.disk.list(DATA / "snapshots"):
        if name.endswith(".books"):
            story.disk.remove(DATA / "snapshots" / name)
    for name in other.disk.list(DATA / "snapshots"):
        if name.endswith(".books"):
            source = other.disk.open(DATA / "snapshots" / name)
            story.disk.create(DATA / "snapshots" / name).write(0, [source.read(0, source.size())])
    assert compare(story.disk.another_process(), story.random.randbytes, story.said.append) == (None, 0)
    assert any("another journal" in said for said in story.said)
    story.disk = story.disk.kill()
    story.start()


def test_a_snapshot_beyond_the_journals_end_is_not_used_and_deleted():
    story = settled()
    beyond = DATA / "snapshots" / f"{0:020d}-{story.parts.journal.end() + 10:020d}.books"
    story.disk.create(beyond).write(0, [b"whatever"])
    story.disk = story.disk.kill()
    story.start()
    assert beyond.name not in story.disk.list(DATA / "snapshots")


def test_nothing_is_written_before_the_journal_is_durable_so_far():
    story = settled(3, 40)
    decider = story.parts.decider
    while True:
        draft = decider.decide([Delivery(story.request())], story.parts.timekeeper.after(decider.last_timestamp))
        if draft.outcome is not None:
            break
    story.parts.capture_now()
    before = story.disk.list(DATA / "snapshots")
    assert not story.parts.chores[-1]()
    assert story.disk.list(DATA / "snapshots") == before
    story.writer.step(draft)
    while story.parts.chores[-1]():
        pass
    assert story.disk.list(DATA / "snapshots") != before
