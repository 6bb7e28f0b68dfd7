"""The whole shard through power cuts, tears, kills, full disks and I/O errors. Each seed is a life story.

A seed that fails replays exactly: `tally simulate-faults --seed S` shows its story.
"""

from collections import Counter

import pytest

from tallystick.clock import SystemClock
from tallystick.lab import simulation_seeds
from tallystick.lab.history.calls import LookUpAccounts, LookUpRequest, LookUpTransfers, Submit, Told
from tallystick.lab.simulation import Simulation
from tallystick.statuses import TransferStatus

STORIES = range(200)
FRESH_S = 120.0


@pytest.mark.parametrize("seed", STORIES[:100])
def test_what_was_acknowledged_is_decided_once_and_nothing_seen_is_ever_lost(seed):
    Simulation(seed).run()


@pytest.mark.service
@pytest.mark.parametrize("seed", STORIES[100:])
def test_what_was_acknowledged_is_decided_once_in_many_more_stories(seed):
    Simulation(seed).run()


@pytest.mark.parametrize("seed", STORIES[:10])
def test_a_broker_whose_answers_are_lost_changes_nothing_of_that(seed):
    Simulation(seed, broker=True).run()


@pytest.mark.service
def test_nor_does_it_in_many_stories_and_they_have_in_them_what_they_are_about():
    happened = Counter()
    for seed in STORIES:
        happened.update(Simulation(seed, broker=True).run())
    assert happened["submits unknown"] > 100
    assert happened["cuts"] > 200
    assert happened["requests"] > 1_000


@pytest.mark.parametrize("seed", [179575699304589])
def test_stories_that_found_a_fault_end_well(seed):
    """Killed while it decided, then two starts on a full disk: that was taken for a crash."""
    Simulation(seed).run()


def test_a_seed_replays_exactly():
    lines = [], []
    first, second = Simulation(7, lines[0].append), Simulation(7, lines[1].append)
    assert first.run() == second.run()
    assert first.history == second.history
    assert lines[0] == lines[1]
    assert len(lines[0]) > 50


@pytest.fixture(scope="module")
def stories():
    lived = []
    for seed in range(50):
        simulation = Simulation(seed)
        lived.append((simulation, simulation.run()))
    return lived


def test_the_stories_have_in_them_what_they_are_about(stories):
    happened, runs = Counter(), 0
    for simulation, counts in stories:
        happened.update(counts)
        decider = simulation.engine.decider
        runs += len(decider.request_index.runs) + len(decider.transfer_index.runs)
    assert happened["cuts"] > 50
    assert happened["starts"] > 80
    assert happened["crashes"] > 1
    assert happened["requests"] > 250
    assert happened["messages lost"] > 100
    assert runs > 10  # windows of 16 ids turned over


def test_clients_get_every_kind_of_answer(stories):
    told = Counter()
    for simulation, _ in stories:
        told.update((type(call), call.told) for call in simulation.history.calls)
    kinds = (Told.DECIDED, Told.KEY_REUSED, Told.ACCEPTED, Told.NOTHING_WRITTEN, Told.UNKNOWN)
    for kind in ((Submit, told) for told in kinds):
        assert told[kind] > 1, kind
    for kind in ((LookUpRequest, Told.DECIDED), (LookUpRequest, Told.NOT_DECIDED), (LookUpRequest, Told.KEY_REUSED)):
        assert told[kind] > 1, kind
    assert told[LookUpAccounts, Told.SHOWN] > 50
    assert told[LookUpTransfers, Told.SHOWN] > 20


def test_what_is_asked_is_decided_in_many_ways(stories):
    statuses = Counter()
    for simulation, _ in stories:
        statuses.update(simulation.verdict.by_status)
    for status in (
        TransferStatus.CREATED,
        TransferStatus.EXISTS,
        TransferStatus.ID_ALREADY_FAILED,
        TransferStatus.LINKED_EVENT_FAILED,
        TransferStatus.LINKED_EVENT_CHAIN_OPEN,
        TransferStatus.REQUEST_EXPIRED,
        TransferStatus.EXCEEDS_CREDITS,
        TransferStatus.PENDING_TRANSFER_ALREADY_POSTED,
        TransferStatus.PENDING_TRANSFER_EXPIRED,
        TransferStatus.DEBIT_ACCOUNT_ALREADY_CLOSED,
        TransferStatus.DEBIT_ACCOUNT_FROZEN,
        TransferStatus.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_REGRESS,
        TransferStatus.REFUSED_BY_SCREENING,
    ):
        assert statuses[f"transfer {status.name.lower()}"] > 1, status
    assert statuses["expiry created"] > 5
    assert statuses["account quarantined"] + statuses["transfer quarantined"] > 1
    assert statuses["control applied"] > 10
    assert len(statuses) > 50


@pytest.mark.service
@pytest.mark.timeout(4 * FRESH_S)
@pytest.mark.parametrize(("intake", "seconds"), [("files", FRESH_S), ("broker", FRESH_S / 4)])
def test_fresh_seeds_end_as_well_as_the_fixed_ones(intake, seconds):
    first = SystemClock().wall_ns() // 1_000_000_000 * 100_000
    words = f"--intake {intake} --from {first} --seconds {seconds:.0f}"
    print(f"tally simulate-faults {words}")  # pytest shows it where it failed
    report = simulation_seeds.run(
        first, simulation_seeds.SEEDS_MAX, seconds, lambda report: None, broker=intake == "broker"
    )
    assert report.failures == {}
    assert report.seeds > 4 * seconds
