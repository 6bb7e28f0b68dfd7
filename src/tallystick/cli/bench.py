"""`tally bench`: measure it here. Each bench starts what it needs, and every rate has a reference from the same run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tallystick.cli import options
from tallystick.cli.exits import EPILOG, Exit
from tallystick.cli.options import say

if TYPE_CHECKING:
    from tallystick.lab.results import Result

app = typer.Typer(help="Measure rates, latencies and CPU on this machine.", no_args_is_help=True, epilog=EPILOG)

Runs = Annotated[int, typer.Option(min=1, help="Runs; each result is the median. Below 5, take it for a glance.")]
Folder = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="FOLDER", exists=True, file_okay=False, help="Put the data in a folder there, then delete it."
    ),
]


@app.command("ledger", epilog=EPILOG)
def ledger(
    runs: Runs = 5,
    case: Annotated[list[str] | None, typer.Option(help="Only this case; may be repeated.")] = None,
    data: Folder = None,
    journal: options.OnServer = "files",
    as_json: options.Json = False,
) -> int:
    """The engine in process on synced block files, against the same bytes appended raw with fdatasync.

    With `--journal postgresql://…` its journal is there, and the reference is pgbench's TPC-B on the same server.

    Cases: `8,190 a batch`, `8,190 a batch, random ids`, `1,000 a batch`, `100 a batch`, `1 a batch`,
    `256 coroutines`, `256 threads`.

    **Examples**

    - `tally bench ledger`
    - `tally bench ledger --case "8,190 a batch" --runs 3 --json`
    - `tally bench ledger --case "8,190 a batch" --journal "postgresql://tally@127.0.0.1/postgres"`
    """
    from tallystick.lab import bench_ledger
    from tallystick.lab.results import render

    render(bench_ledger.run(runs, case or [], data, say, journal), as_json)
    return Exit.DONE


@app.command("intake", epilog=EPILOG)
def intake(
    runs: Runs = 5,
    case: Annotated[list[str] | None, typer.Option(help="Only this case; may be repeated.")] = None,
    kafka: Annotated[str | None, typer.Option(metavar="URL", help="A Kafka, as TALLY_INTAKE has it.")] = None,
    rabbitmq: Annotated[str | None, typer.Option(metavar="URL", help="A RabbitMQ, as TALLY_INTAKE has it.")] = None,
    data: Folder = None,
    as_json: options.Json = False,
) -> int:
    """Single requests of 256 callers at once, packed as they wait, until each is acknowledged; against bare fdatasync.

    Topics and queues of names of their own are made, and left there.

    Cases: `files`, and `kafka` and `rabbitmq` where their URL is given.

    **Examples**

    - `tally bench intake`
    - `tally bench intake --kafka kafka://127.0.0.1:9092/bench --rabbitmq rabbitmq://127.0.0.1/bench --json`
    """
    from tallystick.lab import bench_intake
    from tallystick.lab.results import render

    intakes = {"files": "files"} | {name: url for name, url in (("kafka", kafka), ("rabbitmq", rabbitmq)) if url}
    render(bench_intake.run(runs, case or [], intakes, data, say), as_json)
    return Exit.DONE


@app.command("http", epilog=EPILOG)
def http(
    runs: Runs = 5,
    seconds: Annotated[float, typer.Option(min=1, help="How long each case is loaded in each run.")] = 4.0,
    case: Annotated[list[str] | None, typer.Option(help="Only this case; may be repeated.")] = None,
    data: Folder = None,
    journal: options.OnServer = "files",
    intake: options.OnBroker = "files",
    as_json: options.Json = False,
) -> int:
    """Payments over HTTP, each waiting for its durable outcome, against a no-op route of the same server.

    Cases: `no-op route`, `64 connections`, `256 connections`, `1,000 connections`, `10,000 connections`,
    `5,000 arrivals/s`, `json batch`, `binary batch`, `binary batch of 1,000`. Needs the load generator wrk (`apt-get
    install wrk`). CPU is that of engine, gateway and supervisor together. With `--journal postgresql://…` journals are
    there, and pgbench's TPC-B on that server is measured beside (`of_pgbench`); with `--intake` requests wait at a
    broker. Exit code 1 if a payment was lost or doubled.

    **Examples**

    - `tally bench http`
    - `tally bench http --case "64 connections" --case "binary batch" --runs 3`
    - `tally bench http --json > http.json`
    """
    from tallystick.lab import bench_http
    from tallystick.lab.results import render

    results = bench_http.run(runs, seconds, case or [], data, say, journal, intake)
    render(results, as_json)
    faults = sum(result.extra.get("lost", 0) + result.extra.get("doubled", 0) for result in results)
    return Exit.REFUSED if faults else Exit.DONE


@app.command("shards", epilog=EPILOG)
def shards(
    runs: Runs = 5,
    seconds: Annotated[float, typer.Option(min=1, help="How long each case is loaded in each run.")] = 4.0,
    case: Annotated[list[str] | None, typer.Option(help="Only this case; may be repeated.")] = None,
    data: Folder = None,
    as_json: options.Json = False,
) -> int:
    """The same load on platforms with 1, 2 and 4 shards here: transfers a second, cores used, CPU a transfer.

    Binary batches of 8,190 over 8 connections in all, to a tenant in each shard. Cases: `1 shard`, `2 shards`,
    `4 shards`; the first that is measured is the reference. Needs the load generator wrk (`apt-get install wrk`). Exit
    code 1 if a payment was lost or doubled.

    **Examples**

    - `tally bench shards`
    - `tally bench shards --runs 3 --json`
    """
    from tallystick.lab import bench_shards
    from tallystick.lab.results import render

    results = bench_shards.run(runs, seconds, case or [], data, say)
    render(results, as_json)
    return Exit.REFUSED if sum(each.extra["lost"] + each.extra["doubled"] for each in results) else Exit.DONE


@app.command("restart", epilog=EPILOG)
def restart(
    kills: Annotated[int, typer.Option(min=1, help="How often the engine is killed.")] = 20,
    entries: Annotated[int, typer.Option(min=0, help="Entries stored before the first kill.")] = 1_000_000,
    data: Folder = None,
    journal: options.OnServer = "files",
    intake: options.OnBroker = "files",
    as_json: options.Json = False,
) -> int:
    """Kill the engine under load again and again: how long until the next payment is decided, and is any lost?

    Exit code 1 if a payment was lost, doubled, altered or left without outcome.

    **Examples**

    - `tally bench restart`
    - `tally bench restart --kills 3 --entries 100000 --json`
    """
    from tallystick.lab import kills as lab
    from tallystick.lab.results import render

    results = lab.run(kills, entries, data, say, journal, intake)
    render(results, as_json)
    faults = sum(result.extra[name] for result in results for name in ("lost", "doubled", "unknown", "altered"))
    return Exit.REFUSED if faults else Exit.DONE


@app.command("failover", epilog=EPILOG)
def failover(
    kills: Annotated[int, typer.Option(min=1, help="Kills of each case.")] = 5,
    case: Annotated[list[str] | None, typer.Option(help="Only this case; may be repeated.")] = None,
    journal: options.OnServer = "files",
    intake: options.OnBroker = "files",
    database: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COMMAND",
            help="A server of the journal: {} in it becomes kill, promote, start. In the order of the URL's hosts.",
        ),
    ] = None,
    broker: Annotated[
        list[str] | None,
        typer.Option(metavar="COMMAND", help="A broker of the intake: {} in it becomes kill, start. One each."),
    ] = None,
    data: Folder = None,
    as_json: options.Json = False,
) -> int:
    """Kill what has a second one, under load, again and again: how long is nothing decided, and is any payment lost?

    Cases, each if what it needs is named: `engine` (the active one of two engines on one journal in PostgreSQL, 5 s at
    most), `postgresql` (the primary of a synchronous standby, 15 s), `kafka` (one broker of three, 6 s). The time is a
    client's, from one outcome to the next. Then every request is sent again under its id, and must get the answer it
    got; and the journal is read. Exit code 1 if a payment was lost, doubled, altered or left without outcome, or it
    took longer. A server that is started after a kill of the primary must come back as the other's synchronous standby.

    **Examples**

    - `tally bench failover --journal postgresql://db/postgres --intake rabbitmq://mq/bench` the case `engine`
    - `tally bench failover --case kafka --intake kafka://k1,k2,k3/bench --broker "docker {} k1" --broker "docker {} k2"
      --broker "docker {} k3"`
    """
    from tallystick.lab import bench_failover
    from tallystick.lab.results import render

    servers = bench_failover.Servers(journal, intake, database or (), broker or ())
    results = bench_failover.run(kills, case or [], servers, data, say)
    render(results, as_json)
    names = ("lost", "doubled", "unknown", "altered", "told_otherwise")
    faults = sum(result.extra[name] for result in results for name in names)
    return Exit.DONE if not faults and all(result.extra["holds"] for result in results) else Exit.REFUSED


@app.command("sdk", epilog=EPILOG)
def sdk(
    runs: Runs = 5,
    seconds: Annotated[float, typer.Option(min=1, help="How long each case is loaded in each run.")] = 4.0,
    kills: Annotated[int, typer.Option(min=1, help="How often the gateway is killed.")] = 10,
    case: Annotated[list[str] | None, typer.Option(help="Only this case; may be repeated.")] = None,
    data: Folder = None,
    journal: options.OnServer = "files",
    intake: options.OnBroker = "files",
    as_json: options.Json = False,
) -> int:
    """1,000 coroutines call `pay()` of the Python SDK at once; then also while the gateway is killed at random.

    Cases: `1,000 coroutines` (against the same calls with an HTTP request each), `gateway killed`. CPU is that of
    engine, gateway and supervisor together. Exit code 1 if a payment was lost, doubled or left without outcome.

    **Examples**

    - `tally bench sdk`
    - `tally bench sdk --case "gateway killed" --kills 3 --json`
    """
    from tallystick.lab import bench_sdk
    from tallystick.lab.results import render

    results = bench_sdk.run(runs, seconds, kills, case or [], data, say, journal, intake)
    render(results, as_json)
    faults = sum(result.extra[name] for result in results for name in ("lost", "doubled", "unknown"))
    return Exit.REFUSED if faults else Exit.DONE


@app.command("spike", epilog=EPILOG)
def spike(
    payments: Annotated[int, typer.Option(min=1, max=60_000, help="Payments that come at once.")] = 10_000,
    rate: Annotated[float, typer.Option(min=1, help="Payments a second before, meanwhile and after.")] = 1_000.0,
    seconds: Annotated[float, typer.Option(min=6, help="How long the steady rate goes on.")] = 20.0,
    data: Folder = None,
    journal: options.OnServer = "files",
    intake: options.OnBroker = "files",
    as_json: options.Json = False,
) -> int:
    """Thousands of payments in the same moment, against a steady rate: the queue, and who feels it, over time.

    Latencies count from when a payment should have started. `answered_s` is how long until the last of them was
    answered, `steady_felt_it_s` until others were served as before; with `--json`, `over_time` has both in slices of
    half a second. Exit code 1 if a payment was lost or doubled.

    **Examples**

    - `tally bench spike`
    - `tally bench spike --payments 2000 --rate 500 --seconds 10 --json`
    """
    from tallystick.lab import bench_spike
    from tallystick.lab.results import render

    results = bench_spike.run(payments, rate, seconds, data, say, journal, intake)
    if not as_json:
        _say_over_time(results)
    render(results, as_json)
    faults = sum(result.extra.get(name, 0) for result in results for name in ("lost", "doubled", "unknown"))
    return Exit.REFUSED if faults else Exit.DONE


def _say_over_time(results: "list[Result]") -> None:
    """The slices as lines, a bar for the queue, and out of what the table tells."""
    for result in results:
        moments = result.extra.pop("over_time", [])
        most = max((moment["undecided"] or 0 for moment in moments), default=0) or 1
        for moment in moments:
            queue, p99 = moment["undecided"], moment["steady_p99_ms"]
            bar = "█" * round(40 * (queue or 0) / most)
            shown = "–" if p99 is None else f"{p99:,.1f} ms"
            say(f"{moment['s']:>6.1f} s  others p99 {shown:>12}  queue {queue if queue is not None else '–':>7} {bar}")


@app.command("backup", epilog=EPILOG)
def backup(
    pairs: Annotated[int, typer.Option(min=1, help="Pairs of stretches, without and with a backup.")] = 5,
    rate: Annotated[float, typer.Option(min=1, help="Payments a second.")] = 2_000.0,
    seconds: Annotated[float, typer.Option(min=1, help="How long each stretch is.")] = 5.0,
    entries: Annotated[int, typer.Option(min=0, help="Entries stored before.")] = 500_000,
    mb_s: Annotated[float, typer.Option("--mb-s", min=0, help="As of `tally backup`.")] = 0,
    data: Folder = None,
    as_json: options.Json = False,
) -> int:
    """A backup while payments flow: do they feel it, how fast is it, and is what is restored what was there?

    The last backup is restored elsewhere, compared with `tally rebuild --verify`, and its entries with the original's,
    byte by byte up to its position. Exit code 1 if they differ, or a payment was lost or doubled.

    **Examples**

    - `tally bench backup`
    - `tally bench backup --pairs 1 --seconds 3 --entries 50000 --json`
    """
    from tallystick.lab import bench_backup
    from tallystick.lab.results import render

    results = bench_backup.run(pairs, rate, seconds, entries, mb_s, data, say)
    render(results, as_json)
    extra = results[0].extra
    whole = extra["equal_up_to_its_position"] and not extra["lost"] + extra["doubled"] + extra["unknown"]
    return Exit.DONE if whole else Exit.REFUSED


@app.command("size", epilog=EPILOG)
def size(
    entries: Annotated[int, typer.Option(min=100_000, help="Transfers made; a multiple of 50,000.")] = 10_000_000,
    case: Annotated[list[str] | None, typer.Option(help="Only this case; may be repeated.")] = None,
    data: Folder = None,
    as_json: options.Json = False,
) -> int:
    """Is it as fast, and as small, with many entries behind it? Filled once, then started, rebuilt and compared.

    Cases: `late window` (CPU of the last 50,000 transfers against the second 50,000), `memory` (what each further
    transfer keeps, over the second half), `start` (from nothing to the first durable outcome), `rebuild`, `verify`.
    10 M transfers take 3.6 GB of disk. Exit code 1 if the rebuilt books differ.

    **Examples**

    - `tally bench size`
    - `tally bench size --entries 1000000 --case start --case rebuild --json`
    """
    from tallystick.lab import bench_size
    from tallystick.lab.results import render

    results = bench_size.run(entries, case or [], data, say)
    render(results, as_json)
    return Exit.REFUSED if any(result.extra.get("difference") for result in results) else Exit.DONE


@app.command("follow", epilog=EPILOG)
def follow(
    runs: Annotated[int, typer.Option(min=1, help="Runs; each result is the median.")] = 3,
    case: Annotated[list[str] | None, typer.Option(help="Only this case; may be repeated.")] = None,
    entries: Annotated[int, typer.Option(min=10_000, help="Transfers of the case `projector`.")] = 1_000_000,
    webhooks: Annotated[int, typer.Option(min=1, help="Webhooks of the case `notifier`.")] = 50_000,
    data: Folder = None,
    services: options.OnServices = "files",
    as_json: options.Json = False,
) -> int:
    """What followers make of the journal, each against a reference that does no more than it must.

    Cases: `projector` (from entry 0 into new tables, on one core, against reading the same blocks; then again, killed
    three times on its way), `notifier` (webhooks to a receiver on this machine, each signed, sent, checked and written
    down, against the same client posting as many bytes and keeping nothing). Exit code 1 if the tables differ from the
    journal, 3 if a webhook was lost. With `--services postgresql://…` the followers keep their tables there.

    **Examples**

    - `tally bench follow`
    - `tally bench follow --case projector --entries 100000 --runs 1 --json`
    - `tally bench follow --services "postgresql://tally@127.0.0.1/postgres"`
    """
    from tallystick.errors import Invalid
    from tallystick.lab import bench_follow, bench_notifier
    from tallystick.lab.results import render

    cases = (*bench_follow.CASES, bench_notifier.CASE)
    if unknown := set(case or ()) - set(cases):
        raise Invalid("--case", f"no such case as {min(unknown)!r}; there are {', '.join(map(repr, cases))}")
    chosen = case or cases
    names = [name for name in chosen if name in bench_follow.CASES]
    results = bench_follow.run(entries, runs, names, data, say, services)
    if bench_notifier.CASE in chosen:
        results.append(bench_notifier.run(runs, webhooks, data, say, services))
    render(results, as_json)
    return Exit.REFUSED if any(result.extra.get("difference") for result in results) else Exit.DONE


@app.command("statement", epilog=EPILOG)
def statement(
    entries: Annotated[int, typer.Option(min=10_000, help="Transfers in the journal.")] = 10_000_000,
    case: Annotated[list[str] | None, typer.Option(help="Only this case; may be repeated.")] = None,
    data: Folder = None,
    as_json: options.Json = False,
) -> int:
    """Pages of a statement and searches over HTTP, with many entries behind them. Every tenth is one account's.

    Cases: `statement page` (100 lines, from any moment of that account's life), `search` (by amount, account, code,
    user data, several at once, and what nothing meets). 10 M entries take 8 GB of disk and some minutes.

    **Examples**

    - `tally bench statement`
    - `tally bench statement --entries 1000000 --case "statement page" --json`
    """
    from tallystick.lab import bench_statement
    from tallystick.lab.results import render

    render(bench_statement.run(entries, case or [], data, say), as_json)
    return Exit.DONE


@app.command("isolation", epilog=EPILOG)
def isolation(
    pairs: Annotated[
        int, typer.Option(min=1, help="Pairs of stretches, with and without; below 10 for a glance.")
    ] = 10,
    seconds: Annotated[float, typer.Option(min=1, help="How long each stretch takes.")] = 4.0,
    case: Annotated[list[str] | None, typer.Option(help="Only this case; may be repeated.")] = None,
    data: Folder = None,
    journal: options.OnServer = "files",
    intake: options.OnBroker = "files",
    relay: Annotated[
        str, typer.Option(metavar="URL", help="A broker, as TALLY_RELAY has it: the relay has its cases, too.")
    ] = "",
    as_json: options.Json = False,
) -> int:
    """What a follower that is stopped, killed again and again, or far behind costs the payments: p99 with and without.

    Cases: `projector stopped`, `projector killed`, `projector behind`, `notifier stopped`, `notifier killed`,
    `notifier behind`; with `--relay` also `relay stopped`, `relay killed`, `relay behind`, which sends to a topic or an
    exchange of a name of its own, and leaves it there.
    Exit code 1 if the median ratio of a case is above 1.10, or what nine of ten pairs without a difference stay below.

    **Examples**

    - `tally bench isolation`
    - `tally bench isolation --pairs 3 --seconds 2 --case "projector stopped" --json`
    """
    from tallystick.lab import bench_isolation
    from tallystick.lab.results import render

    results = bench_isolation.run(pairs, seconds, case or [], data, say, journal, intake, relay)
    render(results, as_json)
    return Exit.DONE if all(result.extra["holds"] for result in results) else Exit.REFUSED


@app.command("audit", epilog=EPILOG)
def audit(
    runs: Runs = 5,
    case: Annotated[list[str] | None, typer.Option(help="Only this case; may be repeated.")] = None,
    rate: Annotated[float, typer.Option(min=1, help="Payments a second of `payments` and `latency`.")] = 2_000.0,
    seconds: Annotated[float, typer.Option(min=1, help="How long a stretch of those is.")] = 5.0,
    data: Folder = None,
    as_json: options.Json = False,
) -> int:
    """The audit log: how fast it is made, checked and proven, what it costs payments, and when a receipt is there.

    On one core, 200,000 entries, against their hashes alone: `sequence` (journal to durable tiles), `recompute` (every
    entry hashed again, every tile compared), `receipt` (proof, checkpoint and entry, all over the log). On a platform:
    `payments` (the engine's CPU with auditor and signer against without, in as many pairs as runs), `latency` (from a
    payment's answer to its receipt, logged and witnessed). Exit code 1 if one of these two is above its bound.

    **Examples**

    - `tally bench audit`
    - `tally bench audit --case receipt --runs 3 --json`
    """
    from tallystick.errors import Invalid
    from tallystick.lab import bench_audit, bench_receipts
    from tallystick.lab.results import render

    cases = (*bench_audit.CASES, *bench_receipts.CASES)
    if unknown := set(case or ()) - set(cases):
        raise Invalid("--case", f"no such case as {min(unknown)!r}; there are {', '.join(map(repr, cases))}")
    chosen = case or cases
    results = []
    if alone := [name for name in bench_audit.CASES if name in chosen]:
        results += bench_audit.run(runs, alone, data, say)
    if "payments" in chosen:
        results.append(bench_receipts.cost(runs, rate, seconds, data, say))
    if "latency" in chosen:
        results += bench_receipts.latency(rate, seconds, data, say)
    render(results, as_json)
    return Exit.DONE if all(result.extra.get("holds", True) for result in results) else Exit.REFUSED
