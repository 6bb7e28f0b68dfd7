"""The `tally` command. Imports little at the top, so that `tally --help` is quick: commands import what they need."""

import sys
from typing import Annotated, Any

import typer

from tallystick.cli import (
    audit_keeping,
    backup,
    bench,
    currency,
    demo,
    doctor,
    key,
    listen,
    migrate,
    pay,
    rebuild,
    reconcile,
    replay,
    services,
    shard,
    simulate,
    statement,
    tail,
    torture,
    up,
)
from tallystick.cli.exits import EPILOG, Exit, fail
from tallystick.errors import Corrupt, Fenced, OutcomeUnknown, TallystickError

app = typer.Typer(
    name="tally",
    help="The money core of a neo-bank: a ledger that loses nothing, doubles nothing and can prove it.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.command("up", epilog=EPILOG)(up.up)
app.add_typer(key.app, name="key")
app.add_typer(currency.app, name="currency")
app.add_typer(shard.app, name="shard")
app.add_typer(services.app, name="services")
app.command("pay", epilog=EPILOG)(pay.pay)
app.command("listen", epilog=EPILOG)(listen.listen)
app.command("trigger", epilog=EPILOG)(listen.trigger)
app.add_typer(bench.app, name="bench")
app.add_typer(audit_keeping.app, name="audit")
app.command("demo", epilog=EPILOG)(demo.demo)
app.command("rebuild", epilog=EPILOG)(rebuild.rebuild)
app.command("reconcile", epilog=EPILOG)(reconcile.reconcile)
app.command("statement", epilog=EPILOG)(statement.statement)
app.command("tail", epilog=EPILOG)(tail.tail)
app.command("backup", epilog=EPILOG)(backup.backup)
app.command("restore", epilog=EPILOG)(backup.restore)
app.command("migrate", epilog=EPILOG)(migrate.migrate)
app.command("doctor", epilog=EPILOG)(doctor.doctor)
app.command("replay", epilog=EPILOG)(replay.replay)
app.command("seed", epilog=EPILOG)(replay.seed)
app.add_typer(torture.app, name="torture")
app.command("simulate-faults", epilog=EPILOG)(simulate.simulate_faults)

# Typer brings click as a private module or as a dependency, depending on its version; a public error's base tells.
USAGE_ERROR: Any = typer.BadParameter.__bases__[0]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(version("tallystick") + "\n")
        raise typer.Exit


@app.callback()
def tally(
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where in Tallystick an unexpected error came from.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """The money core of a neo-bank: a ledger that loses nothing, doubles nothing and can prove it."""


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit with its code."""
    words = sys.argv[1:] if arguments is None else arguments
    sys.exit(run(words))


def run(words: list[str]) -> int:
    """Run one command; returns its exit code. Every failure becomes one line that says what to do next."""
    as_json = "--json" in words
    try:
        code = app(words, prog_name="tally", standalone_mode=False)
        # Typer itself makes this code of a KeyboardInterrupt, and says nothing.
        return fail("interrupted", Exit.INTERRUPTED, as_json) if code == Exit.INTERRUPTED else int(code or 0)
    except USAGE_ERROR as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "tally"
        message = error.format_message()
        return fail(f"{message} See `{path} --help`.", Exit.USAGE, as_json) if message else Exit.USAGE
    except (KeyboardInterrupt, typer.Abort):
        return fail("interrupted", Exit.INTERRUPTED, as_json)
    except (Corrupt, Fenced) as error:
        return fail(str(error), Exit.NEEDS_A_PERSON, as_json)
    except OutcomeUnknown as error:
        return fail(str(error), Exit.UNKNOWN, as_json)
    except TallystickError as error:
        return fail(str(error), Exit.NOT_DONE, as_json)
    except BrokenPipeError:
        return Exit.NOT_DONE
    except OSError as error:
        return fail(_told(error), Exit.NOT_DONE, as_json)
    except Exception as error:
        if "--traceback" in words:
            raise
        hint = "this is a fault in Tallystick: please report it, with what `tally --traceback …` shows"
        return fail(f"unexpected {type(error).__name__}: {error}; {hint}", Exit.NOT_DONE, as_json)


def _told(error: OSError) -> str:
    """An operating system error without its number: `payouts.csv: no such file or directory`."""
    reason = (error.strerror or str(error)).lower()
    return f"{error.filename}: {reason}" if error.filename else reason


if __name__ == "__main__":
    main()
