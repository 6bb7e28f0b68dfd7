"""`tally torture`: break everything at once, and see whether every answer was true."""

from pathlib import Path
from typing import Annotated

import typer

from tallystick.cli import options
from tallystick.cli.exits import EPILOG, Exit

app = typer.Typer(
    help="Hurt a platform of its own in every way, then check every answer it gave.",
    epilog=EPILOG,
    rich_markup_mode="markdown",
)


@app.callback(invoke_without_command=True)
def torture(
    context: typer.Context,
    seconds: Annotated[float, typer.Option(min=1, help="How long clients and wounds go on.")] = 60.0,
    seed: Annotated[int | None, typer.Option(min=0, help="What is asked and what is hurt; else a new one.")] = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="FOLDER", help="Keep the data there; else in a folder that goes.")
    ] = None,
    history: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The history file; else tally-torture-SEED.jsonl here, or in --data."),
    ] = None,
    journal: options.OnServer = "files",
    intake: options.OnBroker = "files",
    server: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=COMMAND",
            help="Hurt this server, too: {} in its command becomes kill, start, pause, unpause. May be repeated.",
        ),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Start a platform with two gateways, use it and hurt it at the same time, then judge every answer.

    Clients pay over HTTP in every way there is, retry, race each other, freeze and look up, while processes are killed,
    stopped and continued, the clock jumps and the disk is full. Then all is quiet: every answer that left something
    open is resolved by look-up, on a broker also by sending the same request again, the journal is read, and a model of
    the ledger decides all of it once more. Each answer must be what the model says, each look-up true at some moment
    between what was known before it and what was asked after it. Exit code 0 only if nothing was lost, doubled or
    contradicted.

    The seed fixes what is asked and hurt, not the machine's timing: a failing run is kept as its history file.

    **Examples**

    - `tally torture --seconds 20`
    - `tally torture --seconds 600 --seed 7 --data ./torture-data --json`
    - `tally torture --journal postgresql://tally@127.0.0.1/postgres --server "postgresql=docker {} my-postgresql"`
    - `tally torture check tally-torture-7.jsonl` judges a history once more
    """
    if context.invoked_subcommand is not None:
        return Exit.DONE
    from tallystick.lab.torture import run as lab
    from tallystick.lab.torture.servers import named

    whole = lab.run(seconds, seed, data, history, as_json, journal, intake, named(server or []))
    return Exit.DONE if whole else Exit.REFUSED


@app.command("check", epilog=EPILOG)
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A history file.")],
    as_json: options.Json = False,
) -> int:
    """Judge a history file once more, offline: nothing but the file is needed.

    Exit code 0 only if nothing was lost, doubled or contradicted.
    """
    from tallystick.lab.torture import run as lab

    return Exit.DONE if lab.check_file(file, as_json) else Exit.REFUSED
