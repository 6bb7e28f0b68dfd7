"""The whole shard through power cuts, tears, kills, full disks and I/O errors. Each seed is a life story.

A seed that fails replays exactly: `Simulation(seed).run()`.
"""

from collections import Counter

import pytest

from tallystick.lab.simulated_history import KEY_REUSED
from tallystick.lab.simulation import Simulation
from tallystick.statuses import CREATED, TransferStatus

STORIES = range(300)
MORE_STORIES = range(300, 2_300)  # a minute and a half on one core


@pytest.mark.parametrize("seed", STORIES)
def test_what_was_acknowledged_is_decided_once_and_nothing_seen_is_ever_lost(seed):
    Simulation(seed).run()


@pytest.mark.service
@pytest.mark.parametrize("seed", MORE_STORIES)
def test_what_was_acknowledged_is_decided_once_in_many_more_stories(seed):
    Simulation(seed).run()


def test_a_seed_replays_exactly():
    first, second = Simulation(7), Simulation(7)
    assert first.run() == second.run()
    assert first.fold.hashes == second.fold.hashes
    assert first.history.told == second.history.told


def test_the_stories_have_in_them_what_they_are_about():
    happened, statuses, reused, runs = Counter(), Counter(), 0, 0
    for seed in range(25):
        simulation = Simulation(seed)
        happened.update(simulation.run())
        reused += sum(results is KEY_REUSED for results in simulation.history.told.values())
        for recorded in simulation.fold.requests.values():
            statuses.update(status for _, status in recorded.results)
        decider = simulation.engine.decider
        runs += len(decider.request_index.runs) + len(decider.transfer_index.runs)
    assert happened["cuts"] > 50
    assert happened["starts"] > 100
    assert happened["crashes"] > 1
    assert happened["requests"] > 300
    assert reused > 10
    assert runs > 15  # windows of 16 ids turned over
    refused = (TransferStatus.EXISTS, TransferStatus.ID_ALREADY_FAILED, TransferStatus.DEBIT_ACCOUNT_FROZEN)
    for status in (CREATED, *refused, TransferStatus.EXCEEDS_CREDITS, TransferStatus.REQUEST_EXPIRED):
        assert statuses[status] > 1, status
