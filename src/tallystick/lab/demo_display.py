"""How the demo looks: a live table while it runs, a verdict at the end. On something that is no terminal, lines."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from tallystick.clock import SystemClock
from tallystick.journal.progress import Lag
from tallystick.lab.load import PROGRESS_S, Progress
from tallystick.supervise.status import ProcessStatus

if TYPE_CHECKING:
    from tallystick.lab.demo import Report
    from tallystick.lab.demo_day import DayReport

LINE_EVERY = 5
"""Without a terminal one line in so many progress reports is enough."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What there is to see at one moment."""

    progress: Progress
    total: int | None
    """Payments in all, if that is settled."""
    processes: Sequence[ProcessStatus]
    lags: Mapping[str, Lag]
    doing: str
    """What is done to the processes."""


Show = Callable[[Scene], None]


class Display:
    """Tells people what goes on, on `out`."""

    def __init__(self, out: TextIO) -> None:
        self._console = Console(file=out)
        self._clock = SystemClock()

    def say(self, message: str) -> None:
        """One line."""
        self._console.print(f"[bold]·[/bold] {message}", highlight=False)

    @contextmanager
    def live(self) -> Iterator[Show]:
        """A function to call with the latest state, as often as there is one."""
        previous = [0, 0]

        def rate(progress: Progress) -> float:
            now = progress.answered
            step, previous[0] = now - previous[0], now
            return max(0, step) / PROGRESS_S

        if not self._console.is_terminal:

            def line(scene: Scene) -> None:
                progress, now = scene.progress, rate(scene.progress)
                previous[1] += 1
                if previous[1] % LINE_EVERY == 0 or progress.done:
                    waiting = progress.started - progress.answered
                    behind = "".join(f", {name} {each.entries:,} behind" for name, each in scene.lags.items())
                    answered = f"{progress.answered:,} answered, {now:,.0f}/s, p99 {progress.p99_ms:,.0f} ms"
                    self.say(f"{answered}, {waiting:,} waiting{behind}; {scene.doing}")

            yield line
            return
        with Live(console=self._console, refresh_per_second=8) as live:

            def table(scene: Scene) -> None:
                live.update(_table(scene, rate(scene.progress), self._clock.wall_ns()))

            yield table


def _table(scene: Scene, rate: float, now_ns: int) -> Table:
    """The walk, arrow by arrow, then its processes."""
    progress = scene.progress
    table = Table.grid(padding=(0, 2))
    if scene.total is None:
        table.add_row("answered", f"{progress.answered:,}")
    else:
        bar = ProgressBar(scene.total, progress.answered, width=40)
        table.add_row("answered", bar, f"{progress.answered:,} of {scene.total:,}")
    table.add_row("payments", f"{rate:,.0f}/s", f"p50 {progress.p50_ms:,.0f} ms, p99 {progress.p99_ms:,.0f} ms")
    table.add_row("waiting", f"{progress.started - progress.answered:,}", f"{progress.connected:,} connections")
    table.add_row("refused", f"{progress.refused:,}", f"sent again {progress.retried:,}, errors {progress.errors:,}")
    for process in scene.processes:
        table.add_row(process.name, _state(process, now_ns), _behind(scene.lags.get(process.name)))
    table.add_row("on cue", scene.doing)
    return table


def _state(process: ProcessStatus, now_ns: int) -> str:
    if process.pid is None:
        return "down"
    again = f", started again {(now_ns - process.started_at_ns) / 1e9:.0f} s ago" if process.starts > 1 else ""
    return f"pid {process.pid}{again}"


def _behind(lag: Lag | None) -> str:
    return "" if lag is None else f"{lag.entries:,} entries behind, {lag.seconds:.1f} s"


def closing_report(report: "Report") -> None:
    """The verdict, on standard output."""
    console = Console()
    if report.day is not None:
        _day(console, report.day)
    statuses = ", ".join(f"{name} {count:,}" for name, count in report.by_status.items())
    rows = (
        ("acknowledged", f"{report.acknowledged:,} of {report.requests:,} requests", report.acknowledged),
        ("lost", f"{report.lost:,}", not report.lost),
        ("doubled", f"{report.doubled:,}", not report.doubled),
        ("unknown", f"{report.unknown:,}", not report.unknown),
        ("not as asked", f"{report.altered:,}", not report.altered),
        ("answers = entries", f"by status: {statuses}", report.sums_match),
        ("balances = journal", "every account, and debits equal credits" if report.balanced else "NO", report.balanced),
    )
    table = _verdict(rows)
    table.add_row("", "throughput", f"{report.throughput:,.0f} payments/s over {report.connections:,} connections")
    table.add_row("", "latency", f"p50 {report.p50_ms:,.0f} · p95 {report.p95_ms:,.0f} · p99 {report.p99_ms:,.0f} ms")
    cost = f"{report.kill_to_first_outcome_s:.2f} s to the first new outcome, {report.retried:,} payments sent again"
    table.add_row("", "the kill cost", cost)
    table.add_row("", "journal", f"{report.entries:,} entries; all in {report.seconds:.0f} s")
    console.print(table)
    holds = "[bold green]all of it holds[/bold green]"
    console.print(holds if report.ok else "[bold red]it does NOT hold: please report this[/bold red]")


def _day(console: Console, day: "DayReport") -> None:
    """What the day showed, and what each wound cost payments."""
    kinds = ", ".join(f"{name} {count:,}" for name, count in day.kinds.items())
    sound = not (day.lost or day.doubled or day.unknown or day.altered)
    counts = f"lost {day.lost:,}, doubled {day.doubled:,}, unknown {day.unknown:,}, not as asked {day.altered:,}"
    rows = (
        ("a bank's day", f"{day.acknowledged:,} of {day.payments:,} payments acknowledged", day.acknowledged),
        ("", kinds, True),
        ("", counts, sound),
        ("", "balances = journal" if day.balanced else "balances are NOT those of the journal", day.balanced),
        ("", f"p50 {day.p50_ms:,.0f} · p95 {day.p95_ms:,.0f} · p99 {day.p99_ms:,.0f} ms", day.ok),
    )
    console.print(_verdict(rows))
    costs = Table("what was done", "payments due", "p99", "p99 in the calm around it", "ratio", header_style="bold")
    for cost in day.costs:
        done = f"{'SIGSTOP' if cost.what == 'stop' else 'SIGKILL'} {cost.process}"
        costs.add_row(
            *(done, f"{cost.payments:,}", f"{cost.p99_ms:,.0f} ms", f"{cost.p99_calm_ms:,.0f} ms", f"{cost.ratio:.2f}")
        )
    console.print(costs)
    for name, lag in day.lags.items():
        console.print(f"{name}: {_behind(lag)} at the end of the day", highlight=False)


def _verdict(rows: Sequence[tuple[str, str, object]]) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value, good in rows:
        table.add_row("[green]✔[/green]" if good else "[red]✘[/red]", name, value)
    return table
