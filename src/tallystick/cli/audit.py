"""`tally audit`, for strangers: check receipts, logs and details without asking the bank to be believed."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tallystick.cli import options
from tallystick.cli.exits import EPILOG, Exit
from tallystick.cli.options import say
from tallystick.errors import Invalid, InvalidProof

if TYPE_CHECKING:
    from tallystick.client.logs import LogSource
    from tallystick.tlog.policies import Believed, Policy

app = typer.Typer(
    help="Check receipts and the audit log; its keys and its export.", no_args_is_help=True, epilog=EPILOG
)

PolicyFile = Annotated[
    Path,
    typer.Option("--policy", metavar="FILE", help="Which log keys and witnesses are believed (c2sp.org/tlog-policy)."),
]
Source = Annotated[
    str, typer.Argument(metavar="URL|FOLDER", help="Where the log is served, such as http://127.0.0.1:7400/v1/log.")
]
LogKey = Annotated[
    str | None, typer.Option("--key", envvar="TALLY_API_KEY", help="API key with the scope `audit`; prefer --key-file.")
]


@app.command("verify", epilog=EPILOG)
def verify(
    receipt: Annotated[Path, typer.Argument(metavar="RECEIPT", help="As /v1/transfers/{id}/receipt gave it.")],
    policy: PolicyFile,
    as_json: options.Json = False,
) -> int:
    """Check a receipt, offline: that its entry is in a log that the policy believes. Shows what the entry says.

    **Examples**

    - `tally audit verify payment.tlog-proof --policy bank.policy`
    """
    from msgspec.structs import asdict

    from tallystick.cli.entry_shown import shown
    from tallystick.records import openings
    from tallystick.tlog import receipts
    from tallystick.tlog.merkle import leaf_hash

    with verdict(as_json) as told:
        found = receipts.parse_receipt(receipt.read_bytes())
        entry = openings.unpack(found.extra)
        believed = receipts.verify(found, leaf_hash(entry), _policy(policy))
        told.update({**_stated(believed), "index": found.index, "entry": shown(entry)})
        if text := openings.text(found.extra):
            told["text"] = text
        if currency := openings.currency(found.extra):
            told["currency"] = asdict(currency)
    if not as_json and told["verified"]:
        say(f"tally: entry {told['index']} is in the log {told['origin']}, grade {told['grade']}")
        for name, value in {**told["entry"], **told.get("text", {})}.items():
            sys.stdout.write(f"{name:>18}  {value}\n")
        if said := told.get("currency"):
            about = "{code}, {scale} digits behind the point, says act {control} of the log control".format(**said)
            sys.stdout.write(f"{'currency':>18}  {about}\n")
    return told_as(told, as_json)


@app.command("verify-log", epilog=EPILOG)
def verify_log(
    source: Source,
    policy: PolicyFile,
    key: LogKey = None,
    key_file: options.KeyFile = None,
    as_json: options.Json = False,
) -> int:
    """Compute a whole log again from its entries, and compare every tile and the signed root.

    A history that was rewritten and signed again with the true key passes: for that keep an older checkpoint
    (`consistency`, `monitor`), or believe witnesses.

    **Examples**

    - `tally audit verify-log http://127.0.0.1:7400/v1/log --policy bank.policy --key-file audit.key`
    - `tally audit verify-log /srv/mirror --policy bank.policy --json`
    """
    from tallystick.tlog.auditing import check_whole

    log = _source(source, key, key_file)
    with verdict(as_json) as told:
        believed = _believed(_served(log, policy), policy)
        with progress_bar("entries checked") as progress:
            check_whole(believed.checkpoint, log.read, progress)
        told.update(_stated(believed))
    if not as_json and told["verified"]:
        say(f"tally: all {told['size']} entries of {told['origin']} come to the signed root; grade {told['grade']}")
    return told_as(told, as_json)


@app.command("consistency", epilog=EPILOG)
def consistency(
    kept: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint that was kept, or a receipt's.")],
    source: Source,
    policy: PolicyFile,
    key: LogKey = None,
    key_file: options.KeyFile = None,
    as_json: options.Json = False,
) -> int:
    """Check that a log only grew since a checkpoint that was kept: no rewrite, fork, rollback or second view.

    **Examples**

    - `tally audit consistency january.checkpoint http://127.0.0.1:7400/v1/log --policy bank.policy`
    """
    log = _source(source, key, key_file)
    with verdict(as_json) as told:
        told.update(_grown(kept.read_bytes(), log, policy)[1])
    if not as_json and told["verified"]:
        say(f"tally: {told['origin']} grew from {told['old_size']} to {told['size']} entries, and only grew")
    return told_as(told, as_json)


@app.command("monitor", epilog=EPILOG)
def monitor(
    source: Source,
    policy: PolicyFile,
    kept: Annotated[
        Path, typer.Option("--kept", metavar="FILE", help="The last checkpoint that was good; replaced by this one.")
    ],
    age_max_s: Annotated[
        float | None,
        typer.Option(
            "--age-max",
            metavar="SECONDS",
            min=1,
            help="Alarm, too, if nobody signed that lately; an idle log does in 600.",
        ),
    ] = None,
    key: LogKey = None,
    key_file: options.KeyFile = None,
    as_json: options.Json = False,
) -> int:
    """Keep watch: check the log's checkpoint against the last good one, and keep it. For cron and alerts.

    Exit code 1 is an alarm: a signature fails, or the log did not only grow; with `--age-max` also a checkpoint that is
    old, as one that is served again and again to hide what came after. 3: nobody answered. Keep the file where the bank
    cannot write: it is durable before this says that all is well.

    **Examples**

    - `tally audit monitor https://bank.example/v1/log --policy bank.policy --kept last.checkpoint || page-somebody`
    - `tally audit monitor https://bank.example/v1/log --policy bank.policy --kept last.checkpoint --age-max 900 --json`
    """
    log = _source(source, key, key_file)
    with verdict(as_json) as told:
        if kept.exists():
            data, stated = _grown(kept.read_bytes(), log, policy)
        else:
            data = _served(log, policy)
            stated = _stated(_believed(data, policy))
        if age_max_s is not None:
            _check_age(stated["signed_at_s"], age_max_s)
        _keep(kept, data)
        told.update(stated)
    if not as_json and told["verified"]:
        before = f"grew from {told['old_size']}" if "old_size" in told else "is watched from now on,"
        say(f"tally: {told['origin']} {before} to {told['size']} entries; kept in {kept}")
    return told_as(told, as_json)


@app.command("check-details", epilog=EPILOG)
def check_details(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="As `tally audit details` wrote it.")],
    policy: PolicyFile,
    as_json: options.Json = False,
) -> int:
    """Check details that were handed over, offline: that they are those of a block whose seal is in the log.

    **Examples**

    - `tally audit check-details details.json --policy bank.policy`
    """
    from tallystick.cli.entry_shown import details_shown
    from tallystick.records import disclosures, openings
    from tallystick.tlog import receipts
    from tallystick.tlog.merkle import leaf_hash

    with verdict(as_json) as told:
        found = disclosures.read(file.read_bytes())
        receipt = receipts.parse_receipt(found.receipt)
        seal = openings.unpack(receipt.extra)
        told.update(_stated(receipts.verify(receipt, leaf_hash(seal), _policy(policy))))
        first, rows = disclosures.sealed_details(found, seal)
        told["details"] = [details_shown(first + number, row) for number, row in enumerate(rows[:-1])]
    if not as_json and told["verified"]:
        say(f"tally: the details of {len(told['details'])} outcomes are those sealed in {told['origin']}")
        for row in told["details"]:
            print_row(row)
    return told_as(told, as_json)


@app.command("check-anchor", epilog=EPILOG)
def check_anchor(
    stamp: Annotated[Path, typer.Argument(metavar="STAMP", help="The .tsr file; its .checkpoint stands beside it.")],
    roots: Annotated[Path, typer.Option("--roots", metavar="PEM", help="Certificates of authorities to believe.")],
    policy: PolicyFile,
    as_json: options.Json = False,
) -> int:
    """Check an anchor: when a time-stamping authority saw a checkpoint that the policy believes.

    Then hold the log against that checkpoint: `tally audit consistency`.

    **Examples**

    - `tally audit check-anchor /mnt/anchors/00000000000000048213.tsr --roots tsa.pem --policy bank.policy`
    """
    from tallystick.auditor import anchors

    checkpoint = stamp.with_suffix(anchors.CHECKPOINT).read_bytes()
    with verdict(as_json) as told:
        at = anchors.verify(stamp.read_bytes(), checkpoint, roots.read_bytes())
        told.update({**_stated(_believed(checkpoint, policy)), "stamped_at": at.isoformat()})
    if not as_json and told["verified"]:
        say(f"tally: {told['origin']} had {told['size']} entries at {told['stamped_at']}")
    return told_as(told, as_json)


def _policy(path: Path) -> "Policy":
    from tallystick.tlog.policies import parse_policy

    try:
        return parse_policy(path.read_text(encoding="utf-8"))
    except (InvalidProof, UnicodeDecodeError) as error:
        # Not a finding about the log: nothing was looked at.
        raise Invalid("--policy", f"{path}: {error}") from error


def _believed(data: bytes, policy: Path) -> "Believed":
    from tallystick.tlog.notes import parse_note
    from tallystick.tlog.policies import believe

    return believe(parse_note(data), _policy(policy))


def _served(log: "LogSource", policy: Path) -> bytes:
    """The log's checkpoint, of the grade that the policy asks for."""
    from tallystick.tlog.policies import NONE

    return log.checkpoint(_policy(policy).quorum != NONE)


def _grown(kept: bytes, log: "LogSource", policy: Path) -> tuple[bytes, dict[str, Any]]:
    """The log's checkpoint, if it adds to the kept one (a checkpoint, or a receipt that holds one)."""
    from tallystick.tlog.auditing import check_growth
    from tallystick.tlog.receipts import HEADER, parse_receipt

    try:
        if kept.startswith(HEADER.encode()):
            kept = parse_receipt(kept).checkpoint.encode()
        old = _believed(kept, policy)
    except InvalidProof as error:
        raise InvalidProof(f"what was kept is no checkpoint that this policy believes: {error}") from error
    data = _served(log, policy)
    new = _believed(data, policy)
    check_growth(old.checkpoint, new.checkpoint, log.read)
    return data, {**_stated(new), "old_size": old.checkpoint.size}


def _check_age(signed_at_s: int | None, most_s: float) -> None:
    """Raise `InvalidProof` unless a key of the policy whose signatures have a time signed so lately."""
    from tallystick.clock import SystemClock

    if signed_at_s is None:
        raise InvalidProof("no signature with a time: the policy needs the log's ML-DSA-44 key, or a witness")
    age_s = SystemClock().wall_ns() / 1e9 - signed_at_s
    if age_s > most_s:
        raise InvalidProof(f"the checkpoint was last signed {age_s:,.0f} s ago: the log stands still, or is withheld")


def _keep(path: Path, data: bytes) -> None:
    """Replace what is kept, durably: a monitor that forgot would believe what it sees next."""
    scratch = path.with_name(path.name + ".new")
    with scratch.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _stated(believed: "Believed") -> dict[str, Any]:
    checkpoint = believed.checkpoint
    return {
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "grade": "witnessed" if believed.witnessed else "logged",
        "signed_at_s": max((signer.time_s for signer in believed.signers), default=0) or None,
        "keys": [f"{signer.key.name}+{signer.key.key_id.hex()}" for signer in believed.signers],
    }


@contextmanager
def verdict(as_json: bool) -> Iterator[dict[str, Any]]:
    """What was found; a check that does not hold is a finding, not a failure to look."""
    told: dict[str, Any] = {"verified": False}
    try:
        yield told
        told["verified"] = True
    except InvalidProof as error:
        told["why"] = str(error)
        if not as_json:
            say(f"tally: NOT VERIFIED: {error}")


def told_as(told: dict[str, Any], as_json: bool) -> int:
    """The exit code of a verdict, which is printed where JSON is wanted."""
    if as_json:
        print_row(told)
    return Exit.DONE if told["verified"] else Exit.REFUSED


def print_row(row: Any) -> None:
    """One line of JSON."""
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()


def _source(where: str, key: str | None, key_file: Path | None) -> "LogSource":
    from tallystick.client.logs import source

    return source(where, options.api_key(key, key_file) if key or key_file else "")


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
