"""How torture looks: a live line while it runs, a verdict at the end. On something that is no terminal, lines."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tallystick.clock import SystemClock

if TYPE_CHECKING:
    from tallystick.lab.torture.clients import Tally
    from tallystick.lab.torture.run import Report
    from tallystick.lab.torture.servers import ServerWounds
    from tallystick.lab.torture.wounds import Wounds

LINE_EVERY_NS = 5_000_000_000


class Display:
    """Tells people what goes on, on `out`."""

    def __init__(self, out: TextIO) -> None:
        self._console = Console(file=out)

    def say(self, message: str) -> None:
        """One line."""
        self._console.print(f"[bold]·[/bold] {message}", highlight=False)

    @contextmanager
    def live(self, seconds: float, clock: SystemClock) -> "Iterator[Callable[[Tally, Wounds, ServerWounds], None]]":
        """A function to call several times a second with the latest state."""
        started_ns = clock.monotonic_ns()
        told_ns = started_ns
        if self._console.is_terminal:
            columns = (BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
            with Progress(*columns, console=self._console) as progress:
                task = progress.add_task("", total=seconds)

                def bar(tally: "Tally", wounds: "Wounds", servers: "ServerWounds") -> None:
                    passed_s = (clock.monotonic_ns() - started_ns) / 1e9
                    progress.update(task, completed=passed_s, description=_line(tally, wounds, servers))

                yield bar
            return

        def line(tally: "Tally", wounds: "Wounds", servers: "ServerWounds") -> None:
            nonlocal told_ns
            now_ns = clock.monotonic_ns()
            if now_ns - told_ns >= LINE_EVERY_NS:
                told_ns = now_ns
                self.say(f"{(now_ns - started_ns) / 1e9:.0f} of {seconds:.0f} s: {_line(tally, wounds, servers)}")

        yield line

    def verdict(self, report: "Report") -> None:
        """What was found."""
        self.say(f"{report.calls:,} calls: {report.requests:,} requests, {report.look_ups:,} look-ups of money")
        self.say(f"{report.acknowledged:,} requests acknowledged, {report.indefinite:,} once left open")
        unknown = report.unknown
        self.say(
            f"{unknown.requests:,} outcomes once unknown: settled by look-up {unknown.by_look_up:,}, by retry "
            f"{unknown.by_retry:,}, never written {unknown.never_written:,}, unsettled {unknown.unsettled:,}"
        )
        if report.wounds:
            self.say("wounds: " + ", ".join(f"{kind} {count:,}" for kind, count in report.wounds.items()))
        for name, kinds in report.servers.items():
            self.say(f"{name}: " + ", ".join(f"{kind} {count:,}" for kind, count in kinds.items()))
        self.say(f"{report.entries:,} entries decided once more by the model; {len(report.by_status)} kinds of outcome")
        for told in report.shortfalls:
            self.say(f"[yellow]{told}[/yellow]")
        for told in report.unexpected:
            self.say(f"[red]not understood:[/red] {told}")
        for fault in report.faults:
            self.say(f"[red]{fault.wrong}[/red]: {fault.what}")
        self.say(f"seed {report.seed}, history {report.history}")
        counts = f"lost {report.lost}, doubled {report.doubled}, contradicted {report.contradicted}"
        mark = "[green]✔[/green]" if report.ok else "[red]✘[/red]"
        self._console.print(f"{mark} {counts}", highlight=False)


def _line(tally: "Tally", wounds: "Wounds", servers: "ServerWounds") -> str:
    told = f"{tally.calls:,} calls, {tally.decided:,} outcomes, {tally.indefinite:,} left open, {wounds.kills:,} kills"
    return "; ".join([told, *(latest for latest in (wounds.latest, servers.latest) if latest)])
