"""What /metrics shows of other processes: files in `run`, read when asked."""

from prometheus_client.exposition import generate_latest
from prometheus_client.registry import CollectorRegistry

from tallystick.gateway.platform import Platform, ProcessSeen
from tallystick.journal import progress
from tallystick.journal.progress import ProgressFile
from tallystick.lab.simulated_clock import SimulatedClock
from tallystick.measures import file
from tallystick.measures.table import Family

SECOND = 1_000_000_000


class Shown:
    def __init__(self, platform):
        self.collect = platform.metrics


def text(platform):
    registry = CollectorRegistry()
    registry.register(Shown(platform))
    return generate_latest(registry).decode().splitlines()


def test_measures_lag_and_processes_stand_in_one_scrape(tmp_path):
    clock = SimulatedClock()
    families = (
        Family(name="tally_engine_next_seq", meaning="Entries.", kind="gauge"),
        Family(name="tally_engine_wait_seconds", meaning="Wait.", kind="histogram", per_unit=SECOND, bounds=(SECOND,)),
    )
    measures = file.create(tmp_path, "engine", families)
    measures.gauge("tally_engine_next_seq").set(1_000)
    measures.histogram("tally_engine_wait_seconds").note(SECOND // 2)
    measures.histogram("tally_engine_wait_seconds").note(3 * SECOND)
    now = clock.wall_ns()
    said = ProgressFile(
        name="notifier", pid=1, next_seq=400, since_ns=now - 7 * SECOND, written_at_ns=now, trouble="disk"
    )
    progress.write(tmp_path, said)
    seen = [ProcessSeen("engine", True, 3), ProcessSeen("gateway", False, 1)]
    lines = text(Platform(tmp_path, clock, lambda: seen))
    assert {
        "tally_engine_next_seq 1000.0",
        'tally_engine_wait_seconds_bucket{le="1.0"} 1.0',
        'tally_engine_wait_seconds_bucket{le="+Inf"} 2.0',
        "tally_engine_wait_seconds_count 2.0",
        "tally_engine_wait_seconds_sum 3.5",
        'tally_follower_lag_entries{follower="notifier"} 600.0',
        'tally_follower_lag_seconds{follower="notifier"} 7.0',
        'tally_follower_trouble{follower="notifier"} 1.0',
        'tally_process_up{process="engine"} 1.0',
        'tally_process_up{process="gateway"} 0.0',
        'tally_process_starts_total{process="engine"} 3.0',
    } <= set(lines)


def test_without_any_of_it_there_is_nothing_to_show_and_no_error(tmp_path):
    assert not [line for line in text(Platform(tmp_path / "none", SimulatedClock(), list)) if line[:1] != "#"]
