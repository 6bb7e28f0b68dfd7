"""`tally simulate-faults`: thousands of life stories of a whole shard, each with its own disasters."""

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tallystick.cli import options
from tallystick.cli.exits import Exit

SAY_EVERY_S = 10.0
"""Without a terminal: a line now and then."""

if TYPE_CHECKING:
    from tallystick.lab.simulation_seeds import Report


class Lanes(StrEnum):
    """What carries the intake's lanes."""

    FILES = "files"
    BROKER = "broker"


def simulate_faults(
    seeds: Annotated[int, typer.Option(min=1, help="How many stories.")] = 3_000,
    first: Annotated[int, typer.Option("--from", min=0, metavar="S", help="The first seed.")] = 0,
    seconds: Annotated[
        float | None, typer.Option(min=1, help="As many stories as fit into this time, instead of --seeds.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, metavar="S", help="Only this one, told step by step as it happens.")
    ] = None,
    intake: Annotated[
        Lanes, typer.Option(help="Lanes in files of the machine, or on a broker that is away now and then.")
    ] = Lanes.FILES,
    as_json: options.Json = False,
) -> int:
    """Live through many short stories of gateways, engine and a follower, on a machine that fails on purpose.

    All run in one thread on a simulated disk, clock and network, with tiny windows, segments and snapshots, so that
    in a minute there are more power cuts, torn writes, kills, full disks, lost messages and clock jumps than in years.
    Each story ends before a checker: a model of the ledger decides the whole journal again, and every answer, look-up
    and block that somebody saw is held against that. A seed that fails always fails the same way: `--seed` shows how.
    Exit code 0 only if nothing was wrong in any.

    **Examples**

    - `tally simulate-faults`
    - `tally simulate-faults --seconds 120 --from 1000000 --json`
    - `tally simulate-faults --seed 42`
    - `tally simulate-faults --intake broker`
    """
    broker = intake is Lanes.BROKER
    if seed is not None:
        return _one(seed, as_json, broker)
    import msgspec

    report = _with_progress(first, seeds, seconds, broker)
    if as_json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        _tell(report, " --intake broker" if broker else "")
    return Exit.DONE if report.ok else Exit.REFUSED


def _one(seed: int, as_json: bool, broker: bool) -> int:
    from tallystick.compose import kernel_cache

    kernel_cache.activate(kernel_cache.default_folder())
    import msgspec

    from tallystick.lab import simulation_seeds as lab

    def line(words: str) -> None:
        (sys.stderr if as_json else sys.stdout).write(words + "\n")

    lived = lab.live(seed, line, broker)
    if as_json:
        sys.stdout.write(msgspec.json.encode(lived).decode() + "\n")
    else:
        sys.stdout.write(f"\nseed {seed}: {lived.failure or 'nothing is wrong'}\n")
    return Exit.REFUSED if lived.failure else Exit.DONE


def _with_progress(first: int, seeds: int, seconds: float | None, broker: bool) -> "Report":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from tallystick.lab import simulation_seeds as lab

    console = Console(stderr=True)
    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}")]
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal) as progress:
        said = [0.0]
        task = progress.add_task(f"stories from seed {first}", total=seconds or seeds, told="")

        def show(report: lab.Report) -> None:
            told = f"{report.seeds:,} stories, {len(report.failures):,} failed, {report.stories_a_minute:,.0f} a minute"
            progress.update(task, completed=report.seconds if seconds else report.seeds, told=told)
            if not console.is_terminal and report.seconds >= said[0] + SAY_EVERY_S:
                said[0] = report.seconds
                options.say(told)

        return lab.run(first, seeds if seconds is None else lab.SEEDS_MAX, seconds, show, broker=broker)


def _tell(report: "Report", words: str) -> None:
    happened = ", ".join(f"{name} {count:,}" for name, count in report.happened.items())
    out = sys.stdout.write
    out(f"{report.seeds:,} stories from seed {report.first_seed}, {report.stories_a_minute:,.0f} a minute\n")
    out(f"in them: {happened}; {len(report.by_status)} kinds of outcomes\n")
    for seed, failure in sorted(report.failures.items()):
        out(f"seed {seed} FAILED: {failure}\n  tally simulate-faults --seed {seed}{words}\n")
    out("nothing is wrong in any\n" if report.ok else f"{len(report.failures):,} of them FAILED\n")
