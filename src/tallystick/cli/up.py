"""`tally up`: start everything on this machine and keep it running, or run one process."""

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from tallystick.cli import options
from tallystick.cli.exits import Exit
from tallystick.cli.options import say
from tallystick.errors import Corrupt, Fenced, Invalid, TallystickError

if TYPE_CHECKING:
    from tallystick.settings import Settings
    from tallystick.supervise.supervisor import Event


def up(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[engine|gateway|projector|notifier|signer|auditor|relay]",
            help="Run only this process, here in the foreground.",
        ),
    ] = None,
    data: options.Data = None,
    shard: Annotated[int | None, typer.Option(help="Number of the shard. [env TALLY_SHARD; 0]")] = None,
    shards: Annotated[
        int | None, typer.Option(help="How many shards, each with an engine and followers. [env TALLY_SHARDS; 1]")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on. [env TALLY_HTTP_HOST; 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on. [env TALLY_HTTP_PORT; 7400]")] = None,
    gateways: Annotated[
        int | None, typer.Option(help="How many gateways, on ports one after the other. [env TALLY_GATEWAYS; 1]")
    ] = None,
    accept_clock: Annotated[
        bool | None,
        typer.Option("--accept-clock", help="Start although the clock is over 24 h ahead of the last entry."),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Start everything and keep it running; with a name, run that one process in the foreground.

    What ends is started again: at once, then ever later up to a second, followers up to ten. Ctrl-C or SIGTERM stops
    everything cleanly. Logs go to standard error. `FOLDER/run/supervisor.json` tells the pids. With `--json` each start
    and end of a process is one JSON object on standard output.

    **Examples**

    - `tally up` everything, data in ./tally-data
    - `tally up --data /var/lib/tallystick --port 8080`
    - `tally up --gateways 2` two gateways before one engine, here on ports 7400 and 7401
    - `tally up --shards 4` four engines behind one address, each with tenants of its own (`tally shard`)
    - `tally up projector` statements, search and totals alone, for a machine that already runs the rest
    - `tally up engine --shard 3` one process, for systemd or a container
    """
    from tallystick.settings import keep_to_one_thread

    keep_to_one_thread()  # first: NumPy is loaded by what follows
    settings = options.settings(
        data=data,
        shard=shard,
        shards=shards,
        http_host=host,
        http_port=port,
        gateways=gateways,
        accept_clock=accept_clock,
    )
    from tallystick.compose import up as compose

    if name is not None:
        known = {**compose.PROCESSES, **compose.ALONE}
        if name not in known:
            raise Invalid("", f"no process is called {name!r}; there are {', '.join(known)}")
        return _run_one(name, settings)
    if not as_json:
        last = settings.http_port + settings.gateways - 1
        ports = f"{settings.http_port}" if settings.gateways == 1 else f"{settings.http_port} to {last}"
        say(f"tally: data in {settings.data}, http://{settings.http_host}:{ports}; Ctrl-C stops")
        if not settings.keys_path.exists():
            say("tally: no API key yet, so nobody gets in; `tally key new NAME` makes one")
    orderly = compose.supervise(settings, _report_json if as_json else _report)
    return Exit.DONE if orderly else Exit.NEEDS_A_PERSON


def _run_one(name: str, settings: "Settings") -> int:
    """One process. It reports to a log, not to a person, so what was not expected is logged whole."""
    import structlog

    from tallystick.compose import up as compose

    try:
        compose.run_one(name, settings)
    except (Corrupt, Fenced) as error:
        return _needs_a_person(name, error)
    except Invalid as error:
        if not error.field.startswith("TALLY_"):
            raise
        return _needs_a_person(name, error)  # another start reads the same setting
    except TallystickError:
        raise
    except Exception:
        trace = structlog.processors.format_exc_info(None, "error", {"exc_info": True})["exception"]
        say(json.dumps({"process": name, "event": "failed", "exception": trace}))
        return Exit.NOT_DONE
    return Exit.DONE


def _needs_a_person(name: str, error: TallystickError) -> int:
    say(json.dumps({"process": name, "event": "needs_a_person", "reason": f"{type(error).__name__}: {error}"}))
    return Exit.NEEDS_A_PERSON


def _report_json(event: "Event") -> None:
    from dataclasses import asdict

    sys.stdout.write(json.dumps(asdict(event)) + "\n")
    sys.stdout.flush()


def _report(event: "Event") -> None:
    say(f"tally: {event.name} {_told(event)}")


def _told(event: "Event") -> str:
    """An event as a person would say it."""
    if event.event == "started":
        return f"started (pid {event.pid})"
    if event.event == "could_not_start":
        return f"could not be started; trying again in {event.restart_in_s:.1f} s"
    if event.event == "killed":
        return "did not stop in time and was killed"
    code = event.exit_code or 0
    how = f"ended by signal {-code}" if code < 0 else f"ended with code {code}"
    how += f" after {event.ran_s:.1f} s"
    if event.event == "needs_a_person":
        return f"{how} and is not started again: read its log above, then start `tally up` anew"
    if event.restart_in_s is None:
        return how
    return how + ("; starting it again" if not event.restart_in_s else f"; again in {event.restart_in_s:.1f} s")
