"""The compiled kernel decides what the model decides, command by command, to the nanosecond."""

from collections import Counter

import numpy as np

from tallystick.lab.model import Model
from tallystick.lab.shard import Shard
from tallystick.records.commands import COMMAND, Kind
from tallystick.statuses import AccountStatus, ControlStatus, RequestStatus, TransferStatus
from tests.properties.random_requests import NOW, RandomRequests
from tests.scenarios.test_precedence import LATER_ACCOUNTS, LATER_CONTROLS, LATER_IN_EVERY_TABLE, LATER_TRANSFERS

COMMANDS = 200_000


def whole(rows, name):
    return [lo | hi << 64 for lo, hi in zip(rows[f"{name}_lo"].tolist(), rows[f"{name}_hi"].tolist(), strict=True)]


def compare_results(batch, decided, predicted):
    found = [(one.timestamp, int(one.status), int(one.replayed)) for one in predicted]
    if decided != found:
        at = next(at for at, (ours, theirs) in enumerate(zip(decided, found, strict=True)) if ours != theirs)
        command = np.concatenate(batch)[at]
        raise AssertionError(f"ledger {decided[at]}, model {predicted[at]}, command {at} of its batch: {command}")


def compare_entries(shard, model):
    """What moved, and how the accounts number it."""
    outcome = shard.draft.outcome
    if outcome is None:
        assert model.entries == []
        return
    entries, details = outcome.transfers.view(np.ndarray)[:-1], outcome.details.view(np.ndarray)[:-1]
    assert entries["seq"].tolist() == [made.seq for made in model.entries]
    assert whole(entries, "moved") == [made.moved for made in model.entries]
    for side in ("debit", "credit"):
        numbered = [getattr(made, side) for made in model.entries]
        assert details[f"{side}_sequence"].tolist() == [sequence for sequence, _ in numbered]
        moved = np.array([sequence > 0 for sequence, _ in numbered])
        previous = [position for sequence, position in numbered if sequence > 0]
        assert details[f"{side}_previous"][moved].tolist() == previous


def compare_books(shard, model):
    rows = shard.decider.bookkeeper.books.rows.view(np.ndarray)[: shard.decider.bookkeeper.count()]
    names = ("debits_posted", "credits_posted", "credit_limit")
    columns = [rows["tenant"].tolist(), whole(rows, "id"), *(whole(rows, name) for name in names)]
    columns += [rows[name].tolist() for name in ("frozen", "sequence", "previous", "created_at", "flag_bits")]
    ours = {(tenant, number): rest for tenant, number, *rest in zip(*columns, strict=True)}
    theirs = {
        key: [
            account.debits_posted,
            account.credits_posted,
            account.credit_limit,
            account.frozen,
            account.sequence,
            account.previous,
            account.created_at,
            account.flags,
        ]
        for key, account in model.accounts.items()
    }
    assert ours == theirs
    assert not rows["debits_pending_lo"].any()
    assert not rows["touched"].any()


def run(seed, commands, **shard):
    """Decide random requests by both; how often each (kind, status) was met."""
    stream = RandomRequests(seed)
    shard, model = Shard(8192, **shard), Model()
    now, met = NOW, Counter()
    for batch in stream.batches(stream.take(commands)):
        decided = shard.decide(batch, now)
        compare_results(batch, decided, model.decide(batch, now))
        compare_entries(shard, model)
        kinds = np.concatenate(batch).view(COMMAND)["kind"].tolist()
        met.update((kind, status) for kind, (_, status, _) in zip(kinds, decided, strict=True))
        now += len(decided) + 1000
    compare_books(shard, model)
    return met


def test_kernel_and_model_agree_on_200_000_random_commands():
    met = run(1, COMMANDS, window_ids=20_000)
    assert sum(met.values()) >= COMMANDS
    for kind, table, later in (
        (Kind.TRANSFER, TransferStatus, LATER_TRANSFERS),
        (Kind.ACCOUNT, AccountStatus, LATER_ACCOUNTS | {"too_many_accounts"}),
        (Kind.CONTROL, ControlStatus, LATER_CONTROLS),
    ):
        unmet = {status.name.lower() for status in table if not met[kind, int(status)]}
        assert unmet == later | LATER_IN_EVERY_TABLE, f"the stream is too tame, or a later version came: {kind.name}"
    assert met[Kind.TRANSFER, TransferStatus.CREATED] > COMMANDS // 20
    assert met[Kind.TRANSFER, RequestStatus.IDEMPOTENCY_KEY_REUSED] > 100


def test_kernel_and_model_agree_while_every_block_turns_the_window_over():
    run(2, 5_000, window_ids=16)
