"""How the demo looks: a live table while it runs, a verdict at the end. On something that is no terminal, lines."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from tallystick.clock import SystemClock
from tallystick.lab.load import PROGRESS_S, Config, Progress
from tallystick.supervise.status import ProcessStatus

if TYPE_CHECKING:
    from tallystick.lab.demo import Report

Show = Callable[[Progress, Config, Sequence[ProcessStatus], int], None]
LINE_EVERY = 5
"""Without a terminal one line in so many progress reports is enough."""


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

            def line(progress: Progress, config: Config, processes: Sequence[ProcessStatus], killed_ns: int) -> None:
                now = rate(progress)
                previous[1] += 1
                if previous[1] % LINE_EVERY == 0 or progress.done:
                    waiting = progress.started - progress.answered
                    engine = _engine(processes, killed_ns, self._clock)
                    self.say(f"{progress.answered:,} answered, {now:,.0f}/s, {waiting:,} waiting, engine {engine}")

            yield line
            return
        with Live(console=self._console, refresh_per_second=8) as live:

            def table(progress: Progress, config: Config, processes: Sequence[ProcessStatus], killed_ns: int) -> None:
                live.update(_table(progress, config, rate(progress), _engine(processes, killed_ns, self._clock)))

            yield table


def _engine(processes: Sequence[ProcessStatus], killed_ns: int, clock: SystemClock) -> str:
    engine = next((process for process in processes if process.name == "engine"), None)
    if engine is None or engine.pid is None:
        return "down"
    state = f"pid {engine.pid}"
    if killed_ns:
        again = ", started again" if engine.started_at_ns > killed_ns else ""
        state += f", killed {(clock.wall_ns() - killed_ns) / 1e9:.1f} s ago{again}"
    return state


def _table(progress: Progress, config: Config, rate: float, engine: str) -> Table:
    table = Table.grid(padding=(0, 2))
    total = config.plan.payments
    table.add_row("answered", ProgressBar(total, progress.answered, width=40), f"{progress.answered:,} of {total:,}")
    table.add_row("payments", f"{rate:,.0f}/s", f"p50 {progress.p50_ms:,.0f} ms, p99 {progress.p99_ms:,.0f} ms")
    table.add_row("waiting", f"{progress.started - progress.answered:,}", f"{progress.connected:,} connections")
    table.add_row("refused", f"{progress.refused:,}", f"sent again {progress.retried:,}, errors {progress.errors:,}")
    table.add_row("engine", engine)
    return table


def closing_report(report: "Report") -> None:
    """The verdict, on standard output."""
    table = Table.grid(padding=(0, 2))
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
    for name, value, good in rows:
        table.add_row("[green]✔[/green]" if good else "[red]✘[/red]", name, value)
    table.add_row("", "throughput", f"{report.throughput:,.0f} payments/s over {report.connections:,} connections")
    table.add_row("", "latency", f"p50 {report.p50_ms:,.0f} · p95 {report.p95_ms:,.0f} · p99 {report.p99_ms:,.0f} ms")
    cost = f"{report.kill_to_first_outcome_s:.2f} s to the first new outcome, {report.retried:,} payments sent again"
    table.add_row("", "the kill cost", cost)
    table.add_row("", "journal", f"{report.entries:,} entries; all in {report.seconds:.0f} s")
    console = Console()
    console.print(table)
    holds = "[bold green]all of it holds[/bold green]"
    console.print(holds if report.ok else "[bold red]it does NOT hold: please report this[/bold red]")
