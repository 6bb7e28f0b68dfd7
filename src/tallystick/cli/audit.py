"""`tally audit`: check receipts and logs without asking the bank to be believed; the log's keys; its export."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tallystick.cli import options
from tallystick.cli.exits import EPILOG, Exit
from tallystick.cli.options import say
from tallystick.errors import InvalidProof

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
    from tallystick.cli.entry_shown import shown
    from tallystick.records import openings
    from tallystick.tlog import receipts
    from tallystick.tlog.merkle import leaf_hash

    with _verdict(as_json) as told:
        found = receipts.parse_receipt(receipt.read_bytes())
        entry = openings.unpack(found.extra)
        believed = receipts.verify(found, leaf_hash(entry), _policy(policy))
        told.update({**_stated(believed), "index": found.index, "entry": shown(entry)})
    if not as_json and told["verified"]:
        say(f"tally: entry {told['index']} is in the log {told['origin']}, grade {told['grade']}")
        for name, value in told["entry"].items():
            sys.stdout.write(f"{name:>18}  {value}\n")
    return _told(told, as_json)


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
    with _verdict(as_json) as told:
        believed = _believed(log.checkpoint(), policy)
        with _progress("entries checked") as progress:
            check_whole(believed.checkpoint, log.read, progress)
        told.update(_stated(believed))
    if not as_json and told["verified"]:
        say(f"tally: all {told['size']} entries of {told['origin']} come to the signed root; grade {told['grade']}")
    return _told(told, as_json)


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
    with _verdict(as_json) as told:
        told.update(_grown(kept.read_bytes(), log, policy)[1])
    if not as_json and told["verified"]:
        say(f"tally: {told['origin']} grew from {told['old_size']} to {told['size']} entries, and only grew")
    return _told(told, as_json)


@app.command("monitor", epilog=EPILOG)
def monitor(
    source: Source,
    policy: PolicyFile,
    kept: Annotated[
        Path, typer.Option("--kept", metavar="FILE", help="The last checkpoint that was good; replaced by this one.")
    ],
    key: LogKey = None,
    key_file: options.KeyFile = None,
    as_json: options.Json = False,
) -> int:
    """Keep watch: check the log's checkpoint against the last good one, and keep it. For cron and alerts.

    Exit code 1 is an alarm: a signature fails, or the log did not only grow. 3: nobody answered. Keep the file where
    the bank cannot write.

    **Examples**

    - `tally audit monitor https://bank.example/v1/log --policy bank.policy --kept last.checkpoint || page-somebody`
    """
    log = _source(source, key, key_file)
    with _verdict(as_json) as told:
        if kept.exists():
            data, stated = _grown(kept.read_bytes(), log, policy)
        else:
            data = log.checkpoint()
            stated = _stated(_believed(data, policy))
        scratch = kept.with_name(kept.name + ".new")
        scratch.write_bytes(data)
        scratch.replace(kept)
        told.update(stated)
    if not as_json and told["verified"]:
        before = f"grew from {told['old_size']}" if "old_size" in told else "is watched from now on,"
        say(f"tally: {told['origin']} {before} to {told['size']} entries; kept in {kept}")
    return _told(told, as_json)


@app.command("export", epilog=EPILOG)
def export(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to; what is there already is kept.")],
    data: options.Data = None,
    as_json: options.Json = False,
) -> int:
    """Write the log of this machine as static files (c2sp.org/tlog-tiles), for a mirror, an object store or a judge.

    **Examples**

    - `tally audit export /srv/mirror`
    """
    from tallystick.auditor.export import export as write
    from tallystick.compose.auditor import open_log

    settings = options.settings(data=data)
    with _progress("tiles written") as progress:
        checkpoint = write(open_log(settings), folder, progress)
    if as_json:
        _print({"origin": checkpoint.origin, "size": checkpoint.size, "folder": str(folder)})
    else:
        say(f"tally: {checkpoint.size} entries of {checkpoint.origin} are in {folder}")
    return Exit.DONE


@app.command("policy", epilog=EPILOG)
def show_policy(data: options.Data = None, as_json: options.Json = False) -> int:
    """Print the policy that believes this machine's log alone. Hand it out; add witnesses by hand.

    **Examples**

    - `tally audit policy > bank.policy`
    """
    keys = _keys(data)
    if as_json:
        _print({"log": [key["vkey"] for key in keys], "quorum": "none"})
        return Exit.DONE
    sys.stdout.write("".join(f"log {key['vkey']}\n" for key in keys) + "quorum none\n")
    return Exit.DONE


@app.command("keys", epilog=EPILOG)
def keys(data: options.Data = None, as_json: options.Json = False) -> int:
    """List the keys that sign this machine's log: public halves only.

    **Examples**

    - `tally audit keys`
    """
    return _show_keys(_keys(data), as_json)


@app.command("rotate", epilog=EPILOG)
def rotate(data: options.Data = None, as_json: options.Json = False) -> int:
    """Add a pair of keys. Old and new sign every checkpoint from now on: hand out the new policy, then `retire`.

    **Examples**

    - `tally audit rotate` then `tally audit policy > bank.policy`
    """
    from tallystick.clock import system_entropy
    from tallystick.signer import keyfile

    settings = options.settings(data=data)
    keyfile.rotate(_key_path(data), settings.log_origin_of_shard, system_entropy)
    return _show_keys(_keys(data), as_json)


@app.command("retire", epilog=EPILOG)
def retire(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="8 hex digits, as `tally audit keys` shows.")],
    data: options.Data = None,
    as_json: options.Json = False,
) -> int:
    """Let one key sign no more. Checkpoints it signed stay valid for those who believe it.

    **Examples**

    - `tally audit retire 1f2e3d4c`
    """
    from tallystick.signer import keyfile

    keyfile.retire(_key_path(data), key_id)
    return _show_keys(_keys(data), as_json)


def _policy(path: Path) -> "Policy":
    from tallystick.tlog.policies import parse_policy

    return parse_policy(path.read_text(encoding="utf-8"))


def _believed(data: bytes, policy: Path) -> "Believed":
    from tallystick.tlog.notes import parse_note
    from tallystick.tlog.policies import believe

    return believe(parse_note(data), _policy(policy))


def _grown(kept: bytes, log: "LogSource", policy: Path) -> tuple[bytes, dict[str, Any]]:
    """The log's checkpoint, if it adds to the kept one (a checkpoint, or a receipt that holds one)."""
    from tallystick.tlog.auditing import check_growth
    from tallystick.tlog.receipts import HEADER, parse_receipt

    if kept.startswith(HEADER.encode()):
        kept = parse_receipt(kept).checkpoint.encode()
    old, data = _believed(kept, policy), log.checkpoint()
    new = _believed(data, policy)
    check_growth(old.checkpoint, new.checkpoint, log.read)
    return data, {**_stated(new), "old_size": old.checkpoint.size}


def _stated(believed: "Believed") -> dict[str, Any]:
    checkpoint = believed.checkpoint
    return {
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "grade": "witnessed" if believed.witnessed else "logged",
        "keys": [f"{signer.key.name}+{signer.key.key_id.hex()}" for signer in believed.signers],
    }


@contextmanager
def _verdict(as_json: bool) -> Iterator[dict[str, Any]]:
    """What was found; a check that does not hold is a finding, not a failure to look."""
    told: dict[str, Any] = {"verified": False}
    try:
        yield told
        told["verified"] = True
    except InvalidProof as error:
        told["why"] = str(error)
        if not as_json:
            say(f"tally: NOT VERIFIED: {error}")


def _told(told: dict[str, Any], as_json: bool) -> int:
    if as_json:
        _print(told)
    return Exit.DONE if told["verified"] else Exit.REFUSED


def _print(row: Any) -> None:
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()


def _source(where: str, key: str | None, key_file: Path | None) -> "LogSource":
    from tallystick.client.logs import source

    return source(where, options.api_key(key, key_file) if key or key_file else "")


def _key_path(data: Path | None) -> Path:
    from tallystick.compose.signer import FOLDER, KEYS

    return options.settings(data=data).path(FOLDER, KEYS)


def _keys(data: Path | None) -> list[dict[str, str]]:
    from tallystick.signer import keyfile

    return [
        {"key_id": key.verifier.key_id.hex(), "kind": key.kind.name.lower(), "vkey": key.verifier.vkey}
        for key in keyfile.read(_key_path(data))
    ]


def _show_keys(found: list[dict[str, str]], as_json: bool) -> int:
    if as_json:
        _print(found)
        return Exit.DONE
    if not found:
        say("tally: no keys yet; the first start of `tally up` makes them")
    for key in found:
        sys.stdout.write(f"{key['key_id']}  {key['kind']:<8}  {key['vkey'][:60]}…\n")
    return Exit.DONE


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
