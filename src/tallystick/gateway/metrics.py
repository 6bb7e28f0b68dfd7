"""What this gateway counts, for Prometheus. Plain integers on the hot path, rendered only when somebody asks."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Protocol

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SUBMIT_BUCKETS_S = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0)
_COMMANDS_BUCKETS = (1, 4, 16, 64, 256, 1024, 4096, 8190)


class ScrubSeen(Protocol):
    """What is known of the journal's scrub (`engine.scrub`)."""

    @property
    def scrubbed(self) -> int:
        """Entries read again in the round at hand."""
        ...

    @property
    def completed_at_ns(self) -> int:
        """When the last round ended; 0: none yet."""
        ...

    @property
    def damaged(self) -> int:
        """1 + the entry that could not be read; 0: all is well."""
        ...


class Metrics(Collector):
    """Counters of one gateway process."""

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        """By route name and HTTP status class (2, 4, 5)."""
        self.commands_acknowledged: Counter[str] = Counter()
        """Durable commands by lane sort (payments, control)."""
        self.lanes_abandoned = 0
        self.pushes_late = 0
        """Blocks whose push was missing for 250 ms after they were durable."""
        self.pushes_lost = 0
        """Blocks whose results had to be asked for, request by request."""
        self.undecided: Callable[[], dict[str, tuple[int, float]]] = dict
        """By lane sort: undecided commands, and the age of the oldest in seconds."""
        self.scrub: Callable[[], ScrubSeen | None] = lambda: None
        """How far the engine has read the journal again, and whether it found damage."""
        self.platform: Callable[[], Iterator[Metric]] = lambda: iter(())
        """What is known of the other processes (`gateway.platform`)."""
        self._registry = CollectorRegistry(auto_describe=False)
        self._submit_s = Histogram(
            "tally_gateway_submit_seconds",
            "Time to make one command block durable.",
            ["lane"],
            buckets=_SUBMIT_BUCKETS_S,
            registry=self._registry,
        )
        self._block_commands = Histogram(
            "tally_gateway_block_commands",
            "Commands that shared one block, and so one sync.",
            ["lane"],
            buckets=_COMMANDS_BUCKETS,
            registry=self._registry,
        )
        self._series: dict[str, tuple[Histogram, Histogram]] = {}
        self._registry.register(self)

    def submitted(self, lane: str, commands: int, seconds: float) -> None:
        """A block became durable."""
        self.commands_acknowledged[lane] += commands
        series = self._series.get(lane)
        if series is None:  # found once a lane: each look-up of a series costs as much as counting in it
            series = self._series[lane] = (self._submit_s.labels(lane), self._block_commands.labels(lane))
        series[0].observe(seconds)
        series[1].observe(commands)

    def collect(self) -> Iterator[Metric]:
        """The plain counters as Prometheus families."""
        answers = CounterMetricFamily(
            "tally_gateway_answers", "HTTP answers by route and status class.", labels=["route", "status"]
        )
        for (route, status), count in self.answers.items():
            answers.add_metric([route, f"{status}xx"], count)
        yield answers
        acknowledged = CounterMetricFamily(
            "tally_gateway_commands_acknowledged", "Commands durable in the intake.", labels=["lane"]
        )
        for lane, count in self.commands_acknowledged.items():
            acknowledged.add_metric([lane], count)
        yield acknowledged
        undecided = GaugeMetricFamily("tally_gateway_undecided", "Commands not known to be decided.", labels=["lane"])
        oldest = GaugeMetricFamily(
            "tally_gateway_oldest_undecided_seconds", "Age of the oldest undecided command.", labels=["lane"]
        )
        for lane, (count, age_s) in self.undecided().items():
            undecided.add_metric([lane], count)
            oldest.add_metric([lane], age_s)
        yield undecided
        yield oldest
        for name, meaning, count in (
            ("lanes_abandoned", "Lanes given up because a submit ended unknown.", self.lanes_abandoned),
            ("pushes_late", "Blocks whose results were not pushed within 250 ms.", self.pushes_late),
            ("pushes_lost", "Blocks whose results had to be asked for.", self.pushes_lost),
        ):
            yield CounterMetricFamily(f"tally_gateway_{name}", meaning, value=count)

        if (scrub := self.scrub()) is not None:
            for name, meaning, number in (
                ("scrubbed_entries", "Entries of the journal read again in the round at hand.", scrub.scrubbed),
                ("completed_timestamp_seconds", "When the last round ended; 0: none yet.", scrub.completed_at_ns / 1e9),
                ("damaged", "1: a block of the journal cannot be read. Page a person.", int(scrub.damaged > 0)),
                ("damaged_entry", "The entry at which that block begins, if there is one.", max(0, scrub.damaged - 1)),
            ):
                yield GaugeMetricFamily(f"tally_scrub_{name}", meaning, value=number)
        yield from self.platform()

    def render(self) -> bytes:
        """The exposition text."""
        return generate_latest(self._registry)
