"""The engine as a process: killed in the middle of load, stopped, started twice, crashed by a request."""

import asyncio
import contextlib
import signal

import numpy as np
import pytest

from tallystick.cli.exits import Exit
from tallystick.records.results import RESULT
from tallystick.statuses import CREATED, RequestStatus, TransferStatus
from tests.e2e.engine.running import Engine, gateway_end, intake, replayed
from tests.unit.engine.shard import accounts, fingerprint, transfers

REQUESTS = 20
"""In a block."""


def block(number):
    """Requests and transfers are numbered alike; no two blocks share one."""
    return [transfers(1_000 + number * REQUESTS + k, 1_000 + number * REQUESTS + k) for k in range(REQUESTS)]


def rows_of(results):
    return [(int(row["timestamp"]), int(row["status"])) for row in results]


async def walk_through_kills(data, kills):
    """Submit all the time, kill the engine now and then; returns what was submitted and what was pushed."""
    pushed, submitted = {}, {}
    results = asyncio.Event()

    def on_results(lane, number, rows):
        pushed[number] = np.frombuffer(rows, RESULT)
        results.set()

    end, lane = gateway_end(data, on_results), intake(data).open_lane(control=False)
    end.subscribe(lane.id)
    submitted[lane.submit(accounts(1, 1, 2).tobytes())] = [accounts(1, 1, 2)]
    for kill in range(kills + 1):
        with Engine(data) as engine:
            told = len(pushed)
            while len(pushed) < told + 30:
                requests = block(len(submitted))
                number = lane.submit(b"".join(request.tobytes() for request in requests))
                submitted[number] = requests
                end.ring(lane.id, number)
                results.clear()
                # A push may be lost while the sockets find each other again, so nothing waits for one for long.
                pause_s = 0.02 if number > max(pushed, default=0) + 10 else 0
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(results.wait(), pause_s)
            if kill < kills:
                engine.end(signal.SIGKILL)
                for _ in range(3):  # acknowledged while no engine is there
                    requests = block(len(submitted))
                    submitted[lane.submit(b"".join(request.tobytes() for request in requests))] = requests
            else:
                found = {
                    number: [await end.results(1, whole_id(request), fingerprint(request)) for request in requests]
                    for number, requests in submitted.items()
                }
    end.close()
    return submitted, pushed, found


def whole_id(request):
    return int(request[0]["request_id_lo"])


def test_killed_in_the_middle_of_load_it_loses_nothing_and_doubles_nothing(tmp_path):
    submitted, pushed, found = asyncio.run(walk_through_kills(tmp_path, kills=2))
    replay = replayed(tmp_path)  # which refuses a request, or a transfer, that is there twice
    requests = [request for some in submitted.values() for request in some]
    assert replay.decisions.keys() == {(1, whole_id(request)) for request in requests}
    accounts, created = replay.model.accounts, len(replay.transfers)
    assert created == len(requests) - 1
    assert accounts[1, 1].debits_posted == 10 * created == accounts[1, 2].credits_posted
    for number, some in submitted.items():
        recorded = [row for request in some for row in replay.decisions[1, whole_id(request)].results]
        assert [row for each in found[number] for row in rows_of(each.results)] == recorded
        if number in pushed:
            assert rows_of(pushed[number]) == recorded, number
    assert len(pushed) > 90


def test_a_start_that_fails_leaves_no_word_of_a_crash(tmp_path):
    # With the marker that a kill leaves, it would be counted against requests that nobody can blame.
    (tmp_path / "journal").write_text("no folder")
    failed = Engine(tmp_path)
    assert failed.wait() != Exit.DONE
    assert (tmp_path / "engine" / "crash").read_text() == ""


def test_it_stops_cleanly_when_told_to_and_a_second_one_is_refused(tmp_path):
    lane = intake(tmp_path).open_lane(control=False)
    lane.submit(accounts(1, 1, 2).tobytes())
    crash = tmp_path / "engine" / "crash"
    with Engine(tmp_path) as engine:
        crash.write_text("a crash that no start has counted yet")
        second = Engine(tmp_path)
        assert second.wait() == Exit.NEEDS_A_PERSON
        assert crash.read_text() == "a crash that no start has counted yet"
        crash.write_text("")
        assert "Fenced: another process holds" in second.log[-1]["reason"], second.log
        assert engine.process.poll() is None
        asyncio.run(decided(tmp_path, accounts(1, 1, 2)))
        lane.submit(transfers(10, 100).tobytes())
        assert asyncio.run(decided(tmp_path, transfers(10, 100))) == [CREATED]
        assert engine.end(signal.SIGTERM) == Exit.DONE
        assert engine.log[-1]["event"] == "engine stopped"
    assert crash.read_text() == ""
    assert replayed(tmp_path).next_seq == 5


async def decided(data, request):
    """Ask until the request is decided; returns its statuses."""
    end = gateway_end(data)
    try:
        while True:
            found = await end.results(1, whole_id(request), fingerprint(request))
            if found.status != RequestStatus.NOT_DECIDED:
                return [int(row["status"]) for row in found.results]
    finally:
        end.close()


async def look_up_much(data, others):
    end = gateway_end(data)
    try:
        shown = await end.accounts(1, [2, 9, 1])
        assert [(int(event["id_lo"]), int(event["credits_posted_lo"])) for event, _ in shown] == [(2, 20), (1, 0)]
        assert [int(row["id_lo"]) for row in await end.transfers(1, [101, 5, 100])] == [101, 100]
        assert await end.accounts(2, [1, 2]) == []
        assert (await end.results(1, 10, fingerprint(others))).status == RequestStatus.IDEMPOTENCY_KEY_REUSED
        assert (await end.results(2, 10, b"")).status == RequestStatus.NOT_DECIDED
        return await end.positions()
    finally:
        end.close()


def test_it_answers_look_ups_over_its_sockets(tmp_path):
    lane = intake(tmp_path).open_lane(control=False)
    lane.submit(accounts(1, 1, 2).tobytes())
    lane.submit(transfers(10, 100, 101).tobytes())
    with Engine(tmp_path):
        assert asyncio.run(decided(tmp_path, transfers(10, 100, 101))) == [CREATED] * 2
        assert asyncio.run(look_up_much(tmp_path, transfers(10, 7))) == {lane.id: 2}


CRASHING = """
import os, signal
from tallystick.compose import kernel_cache
kernel_cache.activate(kernel_cache.default_folder())
from tallystick.compose import parts
from tallystick.engine.recovery import recover
from tallystick.ledger import kernel

def judge(work, *rest):
    if any(not refused and t["id_lo"] == 666 for t, refused in zip(work.transfers, work.quarantined)):
        os.kill(os.getpid(), signal.SIGSEGV)
    kernel.decide(work, *rest)

parts.recover = lambda *given, **named: recover(*given, judge=judge, **named)
from tallystick.cli.main import main
main(["up", "engine"])
"""


@pytest.mark.service
def test_a_request_that_crashes_the_process_is_found_and_refused_and_the_others_are_decided(tmp_path):
    lane = intake(tmp_path).open_lane(control=False)
    lane.submit(accounts(1, 1, 2).tobytes())
    lane.submit(b"".join(request.tobytes() for request in (transfers(10, 100), transfers(11, 666), transfers(12, 102))))
    for _ in range(3):
        assert Engine(tmp_path, ("-c", CRASHING)).wait() == -signal.SIGSEGV
        assert "Segmentation fault" in (tmp_path / "engine" / "crash").read_text()
    with Engine(tmp_path, ("-c", CRASHING)):
        assert asyncio.run(decided(tmp_path, transfers(12, 102))) == [CREATED]
        assert asyncio.run(decided(tmp_path, transfers(11, 666))) == [TransferStatus.QUARANTINED]
        assert asyncio.run(decided(tmp_path, transfers(10, 100))) == [CREATED]
