"""What a bench says: one shape for every case, as JSON for machines or a table for people.

Knows nothing of what was measured. Every case names the reference that was timed in the same run, so that a slow
or busy machine slows both and the ratio stays comparable.
"""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One case of a bench: medians of at least five runs unless the case says otherwise."""

    case: str
    rate: float
    """Units a second of wall time."""
    unit: str
    cpu_us: float | None
    """CPU time of all processes measured, in microseconds a unit."""
    reference: str
    """What the case is held against, timed in the same run."""
    reference_rate: float | None
    ratio: float | None
    """`rate / reference_rate`."""
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    extra: dict[str, Any] = msgspec.field(default_factory=dict)
    """Further measures of this case; in JSON they stand beside the fields above."""

    def flat(self) -> dict[str, Any]:
        """The fields in order, then what is extra."""
        fields: dict[str, Any] = msgspec.structs.asdict(self)
        extra = fields.pop("extra")
        return {**fields, **extra}


def median(values: Iterable[float]) -> float:
    """The middle value. Raises `statistics.StatisticsError` if there is none."""
    return float(statistics.median(values))


def ratio(rate: float, reference_rate: float | None) -> float | None:
    """`rate` against its reference; None where there is no reference to divide by."""
    return rate / reference_rate if reference_rate else None


def percentiles_ms(latencies_ns: Sequence[int]) -> tuple[float, float, float]:
    """p50, p95 and p99 in milliseconds, each the smallest latency that this share of all does not exceed."""
    if not latencies_ns:
        raise ValueError("no latencies: nothing was measured")
    ordered = sorted(latencies_ns)
    ranks = (-(-len(ordered) * share // 100) - 1 for share in (50, 95, 99))
    p50, p95, p99 = (ordered[rank] / 1e6 for rank in ranks)
    return p50, p95, p99


def to_json(results: Sequence[Result]) -> str:
    """The results as a JSON list of flat objects."""
    return msgspec.json.format(msgspec.json.encode([result.flat() for result in results]), indent=2).decode()


def render(results: Sequence[Result], as_json: bool, console: Console | None = None) -> None:
    """Print the results to standard output: one JSON list, or a table with the extras of each case below it."""
    console = console or Console()
    if as_json:
        console.file.write(to_json(results) + "\n")
        console.file.flush()
        return
    console.print(_table(results))
    for result in results:
        against = f"against {result.reference}"
        if result.reference_rate is not None:
            against += f" {result.reference_rate:,.0f}/s"
        known = {name: value for name, value in result.extra.items() if value is not None}
        told = [against, *(f"{name.replace('_', ' ')} {_shown(value)}" for name, value in known.items())]
        console.print(f"[bold]{result.case}[/bold]: {' · '.join(told)}", highlight=False)


def _table(results: Sequence[Result]) -> Table:
    table = Table(header_style="bold", show_edge=False, pad_edge=False, box=box.SIMPLE_HEAD)
    table.add_column("case", no_wrap=True)
    for heading in ("rate", "CPU µs", "ratio", "p50", "p95", "p99 ms"):
        table.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        table.add_row(
            result.case,
            f"{result.rate:,.0f} {result.unit}/s",
            _number(result.cpu_us, 2),
            _number(result.ratio, 2),
            _number(result.p50_ms, 2),
            _number(result.p95_ms, 2),
            _number(result.p99_ms, 2),
        )
    return table


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _shown(value: object) -> str:
    return f"{value:,.3f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
