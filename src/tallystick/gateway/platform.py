"""The whole platform for Prometheus, as far as files in the data folder's `run` tell: engine, followers, processes.

Read when somebody asks, so it costs payments nothing, and a process that is stopped or dead still shows what it was.
Every gateway shows the same: sum over them makes no sense, take the `max`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from tallystick.clock import Clock
from tallystick.journal import progress
from tallystick.measures import file
from tallystick.measures.table import Counted

NEXT_SEQ = "tally_engine_next_seq"


@dataclass(frozen=True, slots=True)
class ProcessSeen:
    """One process under supervision."""

    name: str
    up: bool
    starts: int


@dataclass(frozen=True, slots=True)
class Platform:
    """What stands in the folder `run`."""

    run: Path
    clock: Clock
    processes: Callable[[], Sequence[ProcessSeen]]
    """Those of the machine's supervisor; none where there is no supervisor."""

    def metrics(self) -> Iterator[Metric]:
        """All of it as Prometheus families."""
        measured = file.read(self.run)
        for families in measured.values():
            yield from (shown(counted) for counted in families)
        yield from self._followers(measured)
        yield from self._processes()

    def _followers(self, measured: dict[str, list[Counted]]) -> Iterator[Metric]:
        ends = [
            counted.values[0]
            for families in measured.values()
            for counted in families
            if counted.family.name == NEXT_SEQ
        ]
        entries = GaugeMetricFamily(
            "tally_follower_lag_entries", "Entries a follower has not taken in.", labels=["follower"]
        )
        seconds = GaugeMetricFamily(
            "tally_follower_lag_seconds", "Nothing that it has not taken in is older.", labels=["follower"]
        )
        written = GaugeMetricFamily(
            "tally_follower_seen_timestamp_seconds", "When it last said how far it is.", labels=["follower"]
        )
        trouble = GaugeMetricFamily(
            "tally_follower_trouble", "1: it says why it does not come on; see its log.", labels=["follower"]
        )
        now_ns = self.clock.wall_ns()
        for name, said in progress.read(self.run).items():
            lag = progress.lag(said, max(ends, default=said.next_seq), now_ns)
            entries.add_metric([name], lag.entries)
            seconds.add_metric([name], lag.seconds)
            written.add_metric([name], said.written_at_ns / 1e9)
            trouble.add_metric([name], int(said.trouble != ""))
        yield from (entries, seconds, written, trouble)

    def _processes(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("tally_process_up", "Whether a process of this machine runs.", labels=["process"])
        starts = CounterMetricFamily(
            "tally_process_starts", "Starts of a process since `tally up`; the first one too.", labels=["process"]
        )
        for seen in self.processes():
            up.add_metric([seen.name], int(seen.up))
            starts.add_metric([seen.name], seen.starts)
        yield from (up, starts)


def of_shards(platforms: Sequence[Platform]) -> Iterator[Metric]:
    """What stands in the folders of all shards, by number, each with its number for a label; processes need none."""
    merged: dict[str, Metric] = {}
    for number, platform in enumerate(platforms):
        for metric in platform.metrics():
            into = merged.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
            own = {} if metric.name.startswith("tally_process_") else {"shard": str(number)}
            into.samples += [sample._replace(labels={**sample.labels, **own}) for sample in metric.samples]
    yield from merged.values()


def shown(counted: Counted) -> Metric:
    """A family of a measures file as Prometheus takes it."""
    family, values = counted.family, counted.values
    if family.kind == "counter":
        return CounterMetricFamily(family.name, family.meaning, value=values[0] / family.per_unit)
    if family.kind == "gauge":
        return GaugeMetricFamily(family.name, family.meaning, value=values[0] / family.per_unit)
    buckets, below = [], 0
    for bound, count in zip((*family.bounds, None), values, strict=False):
        below += count
        buckets.append(("+Inf" if bound is None else str(bound / family.per_unit), below))
    return HistogramMetricFamily(family.name, family.meaning, buckets=buckets, sum_value=values[-1] / family.per_unit)
