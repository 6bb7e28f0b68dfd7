"""`tally replay FILE` and `tally seed`: a transaction history drives the platform, one's own or one that is made.

Both are safe to run twice.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tallystick.cli import options
from tallystick.cli.exits import Exit, fail
from tallystick.cli.options import say
from tallystick.errors import Invalid

if TYPE_CHECKING:
    from tallystick.lab.replay.driver import Driver, Tally
    from tallystick.lab.replay.mapping import Mapping
    from tallystick.lab.replay.payments import Reader
    from tallystick.lab.replay.rows import History

SAVED_EVERY_NS = 1_000_000_000
FAULTS_SHOWN = 10
ACCOUNTS_SHOWN = 3
SEED_BATCH = 500


def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE.csv|FILE.parquet", help="The history, in the order of time.")],
    mapping: Annotated[
        Path | None,
        typer.Option(
            "--mapping", metavar="FILE.toml", help="What its columns mean; else they are called by our names."
        ),
    ] = None,
    speed: Annotated[
        str, typer.Option(metavar="N|max", help="Times real time: 1, 60, 0.5; or as fast as it goes.")
    ] = "max",
    rows: Annotated[int | None, typer.Option(min=1, help="Only so many rows, from the first.")] = None,
    batch: Annotated[int, typer.Option(min=1, max=8190, help="Rows a request, with --speed max.")] = 1,
    connections: Annotated[
        int, typer.Option(min=1, max=256, help="Requests under way at once; 1 keeps the order.")
    ] = 16,
    patience: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="How long to ask for the outcome of one request.")
    ] = 60.0,
    again: Annotated[bool, typer.Option("--again", help="From the first row, whatever was done before.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only read the rows; send nothing.")] = False,
    url: options.Url = options.DEFAULT_URL,
    key: options.ApiKey = None,
    key_file: options.KeyFile = None,
    as_json: options.Json = False,
) -> int:
    """Pay every row of a transaction history, at its own pace, at a multiple of it, or as fast as it goes.

    Accounts are opened as they appear, in this API key's tenant. Request ids are made from the rows, so whatever is
    sent again is paid once; `FILE.replay.json` remembers how far it came, and the next run goes on there. A mapping
    names the columns (docs/replay.md). Rows that cannot be understood are listed and left out. Parquet needs pyarrow:
    `pip install "tallystick[parquet]"`.

    Exit code 0 if every row was paid, now or before; 1 if some were refused or could not be understood; 2 if it
    did not come to its end, or outcomes are not known: run it again.

    **Examples**

    - `tally replay history.csv` columns `id`, `payer`, `payee`, `amount`, `time`
    - `tally replay card_payments.parquet --mapping card_payments.toml --speed 3600` an hour in a second
    - `tally replay history.csv --check --json` look, but send nothing
    """
    from tallystick.lab.replay import mapping as mappings
    from tallystick.lab.replay.payments import Reader
    from tallystick.lab.replay.rows import open_history

    text = mapping.read_text(encoding="utf-8") if mapping else ""
    meant = mappings.read(text)
    times = _times(speed)
    if times and batch > 1:
        raise Invalid("--batch", "rows that start one by one cannot share a request; leave it out, or --speed")
    history = open_history(file)
    _refuse_missing(history, meant)
    name = meant.name or file.stem
    reader = Reader(meant, name)
    if check:
        return _check(history, reader, rows, as_json)
    secret = options.api_key(key, key_file)

    from tallystick.client.http import Api
    from tallystick.clock import SystemClock, system_entropy
    from tallystick.lab.replay import driver, progress

    clock = SystemClock()
    state = file.with_name(f"{file.name}.replay.json")
    marks = f"{url}\n{text}\n{file.stat().st_size}\n{hashlib.sha256(secret.encode()).hexdigest()}"
    fingerprint = hashlib.sha256(marks.encode()).hexdigest()
    skip = 0 if again else progress.read(state, name, fingerprint)
    if skip and not as_json:
        say(f"tally: going on after {skip:,} rows of an earlier run; --again begins at the first")
    api = Api(url, secret, connections)
    pace = driver.Pace(times, batch, connections, patience)
    running = driver.Driver(api, reader, name, meant.accounts, pace, clock, system_entropy)
    began_ns = clock.monotonic_ns()
    saved_ns = 0

    def save(tally: "Tally") -> None:
        progress.write(state, progress.State(name, fingerprint, tally.watermark.at))

    total = min(rows or history.count or 0, history.count or rows or 0) or None
    try:
        with _bar(total, skip, as_json) as show:

            def shown(tally: "Tally") -> None:
                nonlocal saved_ns
                show(tally)
                if clock.monotonic_ns() - saved_ns > SAVED_EVERY_NS:
                    saved_ns = clock.monotonic_ns()
                    save(tally)

            tally = running.run(history, skip, rows, shown)
        save(tally)
    finally:
        api.close()
    return _report(running, tally, skip, (clock.monotonic_ns() - began_ns) / 1e9, as_json)


def _times(speed: str) -> float:
    if speed == "max":
        return 0.0
    try:
        times = float(speed)
    except ValueError:
        times = -1.0
    if not 0 < times < 1e9:
        raise Invalid("--speed", f"must be a number above zero, or max, not {speed!r}")
    return times


def _refuse_missing(history: "History", mapping: "Mapping") -> None:
    columns = mapping.columns
    optional = [name for name in (columns.currency, columns.code) if name]
    for name in (columns.payer, columns.payee, columns.amount, columns.time, *optional):
        if name not in history.columns:
            there = ", ".join(history.columns)
            raise Invalid("", f"the history has no column {name!r}; it has {there}. A --mapping names what they mean")


def _check(history: "History", reader: "Reader", until: int | None, as_json: bool) -> int:
    accounts: set[int] = set()
    moved: dict[str, int] = {}
    faults: list[tuple[int, str]] = []
    count = unclear = 0
    for part in history.rows(0):
        for number, row in part:
            if until is not None and number >= until:
                break
            count += 1
            try:
                payment = reader.payment(number, row)
            except Invalid as error:
                unclear += 1
                if len(faults) < FAULTS_SHOWN:
                    faults.append((number, str(error)))
                continue
            accounts |= {payment.debit_account_id, payment.credit_account_id}
            moved[payment.currency] = moved.get(payment.currency, 0) + payment.amount
    told = {
        "rows": count,
        "accounts": len(accounts),
        "moved": _texts(moved),
        "faults": unclear,
        "first_faults": _rows(faults),
    }
    if as_json:
        sys.stdout.write(json.dumps(told) + "\n")
    else:
        _say_faults(faults, unclear)
        sys.stdout.write(f"{count:,} rows between {len(accounts):,} accounts, {_money(moved)}; {unclear:,} faults\n")
    return Exit.REFUSED if unclear else Exit.DONE


def _report(running: "Driver", tally: "Tally", skipped: int, seconds: float, as_json: bool) -> int:
    from tallystick.lab.results import percentiles_ms

    refused = sum(tally.refused.values())
    code = Exit.DONE
    if tally.unknown or running.failure:
        code = Exit.UNKNOWN
    elif refused or tally.faults_count:
        code = Exit.REFUSED
    if running.failure and not tally.created and not refused:
        return fail(f"nothing was paid: {running.failure}", Exit.NOT_DONE, as_json)
    p50, p95, p99 = percentiles_ms(tally.latencies_ns) if tally.latencies_ns else (None, None, None)
    told: dict[str, object] = {
        "rows": tally.rows,
        "skipped": skipped,
        "created": tally.created,
        "replayed": tally.replayed,
        "refused": dict(sorted(tally.refused.items())),
        "unknown": tally.unknown,
        "faults": tally.faults_count,
        "first_faults": _rows(tally.faults[:FAULTS_SHOWN]),
        "accounts_opened": tally.accounts,
        "moved": _texts(tally.moved),
        "seconds": round(seconds, 3),
        "rows_a_second": round(tally.rows / seconds, 1) if seconds else 0.0,
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
        "late_s_max": round(tally.late_ns_max / 1e9, 3),
        "failure": running.failure,
        "exit_code": int(code),
    }
    if as_json:
        sys.stdout.write(json.dumps(told) + "\n")
        return code
    _say_faults(tally.faults, tally.faults_count)
    parts = [
        f"{tally.created:,} of {tally.rows:,} rows paid, {_money(tally.moved)}, {tally.accounts:,} accounts opened"
    ]
    if tally.replayed:
        parts.append(f"{tally.replayed:,} decided in an earlier run")
    parts += [f"{count:,} {status}" for status, count in sorted(tally.refused.items())]
    if tally.unknown:
        parts.append(f"{tally.unknown:,} not known")
    times = f"{seconds:.1f} s, {told['rows_a_second']:,} a second"
    if p50 is not None:
        times += f", p50 {p50:.1f} ms, p99 {p99:.1f} ms"
    if tally.late_ns_max:
        times += f", at most {tally.late_ns_max / 1e9:.2f} s late"
    sys.stdout.write(f"{'; '.join(parts)}\n{times}\n")
    if code is Exit.UNKNOWN:
        say(f"tally: not all is known ({running.failure or 'no answer in time'}); run it again: nobody is paid twice")
    return code


def _say_faults(faults: list[tuple[int, str]], count: int) -> None:
    for number, what in faults[:FAULTS_SHOWN]:
        say(f"row {number + 1:,}: {what}")
    if count > FAULTS_SHOWN:
        say(f"and {count - FAULTS_SHOWN:,} more that cannot be understood")


def _rows(faults: list[tuple[int, str]]) -> list[dict[str, object]]:
    return [{"row": number + 1, "what": what} for number, what in faults]


def _texts(moved: "dict[str, int]") -> dict[str, str]:
    """Amounts as strings of minor units, as the API gives them."""
    return {currency: str(amount) for currency, amount in sorted(moved.items())}


def _money(moved: "dict[str, int]") -> str:
    return " and ".join(f"{amount:,} minor units of {name}" for name, amount in sorted(moved.items())) or "no money"


@contextmanager
def _bar(total: int | None, skip: int, quiet: bool) -> "Iterator[Callable[[Tally], None]]":
    """A progress bar that counts rows."""
    from rich.progress import MofNCompleteColumn

    from tallystick.cli.progress import bar

    with bar("replaying", quiet, MofNCompleteColumn()) as progress:
        yield lambda tally: progress(skip + tally.rows, total or 0)


def seed(
    number: Annotated[int, typer.Option("--seed", min=0, help="Another number, another bank.")] = 1,
    customers: Annotated[int, typer.Option(min=1, max=100_000, help="Customers of the bank.")] = 100,
    days: Annotated[int, typer.Option(min=1, max=3_650, help="Days of history.")] = 30,
    patience: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="How long to ask for an outcome.")] = 60.0,
    url: options.Url = options.DEFAULT_URL,
    key: options.ApiKey = None,
    key_file: options.KeyFile = None,
    as_json: options.Json = False,
) -> int:
    """Make a small bank in this API key's tenant: customers, employers, shops, and what they paid each other.

    Salaries, rent, shopping, friends, the bank's fee, in euro. The same numbers make the same accounts and payments,
    with the same ids, so running it again changes nothing. Exit code 0 if all of it stands, made now or before.

    **Examples**

    - `tally seed`
    - `tally seed --seed 7 --customers 1000 --days 90`
    - `tally seed --json` with the ids of some accounts
    """
    secret = options.api_key(key, key_file)
    from tallystick import ids
    from tallystick.cli.progress import bar
    from tallystick.client.http import Api
    from tallystick.clock import SystemClock, system_entropy
    from tallystick.lab import seeding
    from tallystick.lab.replay.driver import Driver, Pace
    from tallystick.lab.replay.payments import Reader

    size = seeding.Size(customers, days)
    meant = seeding.mapping(number, size)
    reader = Reader(meant, meant.name)
    history = seeding.SeededHistory(number, size)
    api = Api(url, secret, 1)
    try:
        pace = Pace(speed=0.0, batch=SEED_BATCH, connections=1, patience_s=patience)
        driver = Driver(api, reader, meant.name, meant.accounts, pace, SystemClock(), system_entropy)
        with bar("paying", as_json) as progress:
            tally = driver.run(history, 0, None, lambda tally: progress(tally.rows, history.count or 0))
    finally:
        api.close()
    whole = tally.created == tally.rows == history.count
    if driver.failure and not tally.created:
        return fail(f"nothing was made: {driver.failure}", Exit.NOT_DONE, as_json)
    euro = meant.of(meant.currency)
    names = [*map(seeding.customer, range(min(ACCOUNTS_SHOWN, customers))), seeding.FEES]
    some = {name: ids.show(reader.account_id(meant.accounts.payer, name, euro)) for name in names}
    code = Exit.DONE if whole else Exit.UNKNOWN if tally.unknown or driver.failure else Exit.REFUSED
    told = {
        "payments": tally.created,
        "replayed": tally.replayed,
        "refused": dict(tally.refused),
        "accounts_opened": tally.accounts,
        "accounts": some,
        "failure": driver.failure,
        "exit_code": int(code),
    }
    if as_json:
        sys.stdout.write(json.dumps(told) + "\n")
        return code
    before = f", {tally.replayed:,} of them before" if tally.replayed else ""
    sys.stdout.write(f"{tally.created:,} payments{before}, {tally.accounts:,} accounts opened. Some of them:\n")
    for name, account in some.items():
        sys.stdout.write(f"  {account}  {name}\n")
    if not whole:
        reason = driver.failure or ", ".join(f"{count:,} {status}" for status, count in tally.refused.items())
        options.say(f"tally: not all of it stands ({reason or 'no answer in time'}); run it again")
    return code
