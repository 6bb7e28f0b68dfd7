"""A tenant is decided for in one shard: where journals say that it lives, with all that was decided before."""

from itertools import count
from random import Random

import numpy as np
import pytest

from tallystick.engine import lookups
from tallystick.engine.placing import carry, place, standing
from tallystick.errors import Invalid
from tallystick.lab.shard import Shard
from tallystick.records import carrying
from tallystick.records.carrying import Numbering
from tallystick.records.commands import AccountFlag, Opcode, TransferFlag
from tallystick.records.details import VERSION as DETAILS_VERSION
from tallystick.records.entries import CARRIED, WORK
from tallystick.records.placements import Home
from tallystick.statuses import AccountStatus, RequestStatus
from tests.unit.engine.shard import NOW, accounts, control, transfers

ELSEWHERE = int(RequestStatus.TENANT_ELSEWHERE)
T, OTHER = 5, 9
SECOND = 1_000_000_000


def shard(number, window_ids=64):
    return Shard(window_ids=window_ids, number=number)


def put(here, tenant, home, now):
    draft = place(here.decider, tenant, home, now)
    if draft is not None:
        here.write(draft)
    return draft


def statuses_of(rows):
    return {status for _, status, _ in rows}


def test_nobody_is_elsewhere_before_somebody_was_placed():
    alone = shard(3)
    assert statuses_of(alone.decide([accounts(1, 1, 2, tenant=T)], NOW)) == {0xFFFFFFFF}


def test_a_shard_decides_for_those_placed_in_it_and_for_no_others():
    one = shard(1)
    put(one, T, Home(1), NOW)
    rows = one.decide([accounts(1, 1, 2, tenant=T), accounts(1, 1, 2, tenant=OTHER)], NOW + 10)
    assert [status for _, status, _ in rows] == [0xFFFFFFFF, 0xFFFFFFFF, ELSEWHERE, ELSEWHERE]
    entries = np.concatenate([block.entries.view(WORK) for block in one.journal.read(0)])
    assert set(entries["tenant"][entries["kind"] == 2].tolist()) == {T}


def test_shard_0_decides_for_all_that_nobody_placed():
    zero = shard(0)
    put(zero, T, Home(1), NOW)
    rows = zero.decide([accounts(1, 1, 2, tenant=T), accounts(1, 1, 2, tenant=OTHER)], NOW + 10)
    assert [status for _, status, _ in rows] == [ELSEWHERE, ELSEWHERE, 0xFFFFFFFF, 0xFFFFFFFF]


def test_what_was_refused_because_it_was_elsewhere_is_decided_once_the_tenant_is_there():
    one = shard(1)
    put(one, T, Home(0, moving=True), NOW)
    request = accounts(1, 1, 2, tenant=T)
    assert statuses_of(one.decide([request], NOW + 10)) == {ELSEWHERE}
    put(one, T, Home(1), NOW + 20)
    assert statuses_of(one.decide([request], NOW + 30)) == {0xFFFFFFFF}


def test_a_placement_outlives_a_restart():
    zero = shard(0)
    put(zero, T, Home(1), NOW)
    zero.restart()
    assert statuses_of(zero.decide([accounts(1, 1, tenant=T)], NOW + 10)) == {ELSEWHERE}
    assert put(zero, T, Home(1), NOW + 20) is None


def test_a_tenant_with_accounts_leaves_only_by_a_move():
    zero = shard(0)
    zero.decide([accounts(1, 1, 2, tenant=T)], NOW)
    with pytest.raises(Invalid, match="has accounts in shard 0"):
        place(zero.decider, T, Home(1), NOW + 10)


def test_a_pending_transfer_of_a_tenant_on_its_way_does_not_expire_here():
    zero = shard(0)
    zero.decide([accounts(1, 1, 2, tenant=T), accounts(2, 1, 2, tenant=OTHER)], NOW)
    pending = {"flag_bits": TransferFlag.PENDING, "timeout": 5}
    zero.decide([transfers(3, 1, tenant=T, **pending), transfers(4, 1, tenant=OTHER, **pending)], NOW + 10)
    put(zero, T, Home(0, moving=True), NOW + 20)
    zero.restart()
    zero.decide([], NOW + 10 * SECOND)
    entries = np.concatenate([block.entries.view(WORK) for block in zero.journal.read(0)])
    assert entries["tenant"][entries["kind"] == 5].tolist() == [OTHER]
    put(zero, T, Home(0), NOW + 11 * SECOND)
    zero.decide([], NOW + 12 * SECOND)
    entries = np.concatenate([block.entries.view(WORK) for block in zero.journal.read(0)])
    assert entries["tenant"][entries["kind"] == 5].tolist() == [OTHER, T]


def history(random, here, tenant, requests, now):
    """Requests with some of everything, decided one by one; what each was told."""
    asked = [accounts(1, *range(1, 7), tenant=tenant)]
    told = [here.decide(asked, now)]
    pendings = []
    for number in range(2, requests):
        now += random.randrange(1, 2 * SECOND)
        kind = random.randrange(8)
        sides = dict(zip(("debit_account_id_lo", "credit_account_id_lo"), random.sample(range(1, 8), 2), strict=True))
        if kind == 0:
            request = control(
                number, random.choice([Opcode.FREEZE, Opcode.UNFREEZE]), random.randrange(1, 8), 3, tenant
            )
        elif kind == 1:
            pendings.append(number)
            request = transfers(
                number, number, tenant=tenant, flag_bits=TransferFlag.PENDING, timeout=random.randrange(30), **sides
            )
        elif kind == 2 and pendings:
            flag = random.choice([TransferFlag.POST_PENDING_TRANSFER, TransferFlag.VOID_PENDING_TRANSFER])
            nothing = dict.fromkeys(("debit_account_id_lo", "credit_account_id_lo", "ledger", "code", "amount_lo"), 0)
            amount = {"amount_lo": 10} if flag == TransferFlag.POST_PENDING_TRANSFER else {}
            request = transfers(
                number,
                number,
                tenant=tenant,
                pending_id_lo=random.choice(pendings),
                flag_bits=flag,
                **(nothing | amount),
            )
        elif kind == 3:  # an id that is spent, or perhaps not
            request = transfers(number, random.randrange(2, number + 1), tenant=tenant, **sides)
        elif kind == 4:
            request = accounts(number, random.randrange(1, 8), tenant=tenant)
        elif kind == 5:
            ids = [1_000 * number + at for at in range(3)]
            request = transfers(number, *ids, tenant=tenant, flag_bits=[1, 1, 0], **sides)
        else:
            request = transfers(number, number, tenant=tenant, **sides)
        asked.append(request)
        told.append(here.decide([request], now))
    return asked, told, now


def moved(old, new, tenant, random, now, others=None):
    """Carry a tenant, in blocks of whatever size, while the new shard goes on with what it has: `others`, when."""
    numbering = Numbering()
    for block in old.journal.read(0):
        entries = block.entries.view(WORK)
        chosen = carrying.of_tenant(entries, tenant)
        if not chosen.any():
            continue
        seqs = entries["seq"][chosen].copy()
        made, private = carrying.numbered(entries[chosen], block.details[chosen], numbering)
        first = new.decider.next_seq
        new.write(carry(new.decider, tenant, made, private))
        numbering.note(seqs, first + np.arange(len(seqs), dtype="<u8"))
        if random.random() < 0.3:
            told = new.decide([transfers(random.getrandbits(60), random.getrandbits(60), tenant=OTHER)], now)
            if others is not None:
                others.append(told[0][0])
        now += 10
    return now


@pytest.mark.parametrize("seed", range(6))
def test_a_tenant_that_was_moved_stands_as_it_did_and_is_told_what_it_was_told(seed):
    random = Random(seed)
    old, new = shard(0), shard(1)
    put(new, OTHER, Home(1), NOW)
    new.decide([accounts(1, 1, 2, tenant=OTHER)], NOW + 10)
    old.decide([accounts(1, 1, 2, tenant=OTHER + 1)], NOW)
    asked, told, now = history(random, old, T, 120, NOW + 20)
    for here in (new, old):
        put(here, T, Home(0, moving=True), now + 1)
    now = moved(old, new, T, random, now + 1_000)
    assert standing(old.decider, T)[1:] == standing(new.decider, T)[1:]
    put(new, T, Home(1), now)
    if random.random() < 0.5:
        new.restart()
        assert standing(old.decider, T)[1:] == standing(new.decider, T)[1:]
    put(old, T, Home(1), now)
    for request, rows in zip(asked, told, strict=True):
        again = new.decide([request], now := now + 100)
        assert [row[:2] for row in again] == [row[:2] for row in rows]
        assert all(replayed for _, _, replayed in again)
        assert statuses_of(old.decide([request], now)) == {ELSEWHERE}
    assert lookups.accounts(new.decider, OTHER, [1, 2])[0].shape == (2,)


def imported(request, tenant, *times):
    """A request that imports accounts of these times."""
    ids = [1_000_000 * request + number for number in range(len(times))]
    return accounts(request, *ids, tenant=tenant, flag_bits=AccountFlag.IMPORTED, timestamp=times)


def around(random, times):
    """Some of these times, and some right beside them, in order."""
    chosen = random.sample(times, min(len(times), 8))
    return sorted({time + random.choice((0, 0, 1)) for time in chosen})


@pytest.mark.parametrize("seed", range(6))
def test_imports_meet_in_the_new_shard_what_they_met_in_the_old(seed):
    random = Random(seed)
    old, new, stayed = shard(0), shard(1), shard(0)
    put(new, OTHER, Home(1), NOW)
    new.decide([accounts(1, 1, 2, tenant=OTHER)], NOW + 10)
    now, numbers, others, taken = NOW + 20, count(1), [], []

    def both(one, request):
        nonlocal now
        now += random.randrange(50, 500)
        told = one.decide([request], now)
        assert told == stayed.decide([request], now)
        return told

    first = accounts(next(numbers), 1, 2, tenant=T, flag_bits=AccountFlag.IMPORTED, timestamp=(NOW - 9000, NOW - 8000))
    both(old, first)
    times = [NOW - 7000 + 100 * number for number in range(15)]
    brought = transfers(next(numbers), *range(10, 25), tenant=T, flag_bits=TransferFlag.IMPORTED, timestamp=times)
    taken += [timestamp for timestamp, _, _ in both(old, brought)]
    for number in range(100, 140):
        taken += [timestamp for timestamp, _, _ in both(old, transfers(next(numbers), number, tenant=T))]
    for here in (new, old):
        put(here, T, Home(0, moving=True), now + 1)
    now = moved(old, new, T, random, now + 1_000, others)
    assert standing(old.decider, T)[1:] == standing(new.decider, T)[1:]
    put(new, T, Home(1), now)
    if random.random() < 0.5:
        new.restart()
    statuses = set()
    for number in range(200, 220):
        taken += [timestamp for timestamp, _, _ in both(new, transfers(next(numbers), number, tenant=T))]
        others += [new.decide([transfers(next(numbers), number, tenant=OTHER)], now + 20)[0][0]]
    asked = around(random, taken[:15]) + around(random, taken[15:55]) + around(random, taken[55:])
    statuses |= statuses_of(both(new, imported(next(numbers), T, *asked)))
    assert statuses == {0xFFFFFFFF, AccountStatus.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_REGRESS}
    asked = around(random, others)
    told = new.decide([imported(next(numbers), OTHER, *asked)], now + 1000)
    assert [status != 0xFFFFFFFF for _, status, _ in told] == [time in others for time in asked]


def test_a_copy_tells_when_it_was_decided_and_that_it_is_one():
    old, new = shard(0), shard(1)
    old.decide([accounts(1, 1, 2, tenant=T)], NOW)
    for here in (new, old):
        put(here, T, Home(0, moving=True), NOW + 10 * SECOND)
    moved(old, new, T, Random(1), NOW + 11 * SECOND)
    entries = np.concatenate([block.entries.view(WORK) for block in new.journal.read(0)])
    copies = entries[entries["version"] == CARRIED]
    assert copies["timestamp"].tolist() == [NOW, NOW + 1]
    assert set(copies["shard"].tolist()) == {1}
    assert DETAILS_VERSION == 2  # those of copies, too


def test_nothing_is_carried_to_a_shard_that_was_not_told_of_it():
    old, new = shard(0), shard(1)
    old.decide([accounts(1, 1, 2, tenant=T)], NOW)
    with pytest.raises(Invalid, match="is not on its way"):
        moved(old, new, T, Random(1), NOW + SECOND)
