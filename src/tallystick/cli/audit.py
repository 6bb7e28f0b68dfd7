"""`tally audit`: check receipts and logs without asking the bank to be believed; the log's keys; its export."""

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


Log = Annotated[
    str, typer.Option("--log", metavar="ledger|access|control", help="Which of this shard's logs.", show_default=True)
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
        if text := openings.text(found.extra):
            told["text"] = text
    if not as_json and told["verified"]:
        say(f"tally: entry {told['index']} is in the log {told['origin']}, grade {told['grade']}")
        for name, value in {**told["entry"], **told.get("text", {})}.items():
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
    with _verdict(as_json) as told:
        if kept.exists():
            data, stated = _grown(kept.read_bytes(), log, policy)
        else:
            data = log.checkpoint()
            stated = _stated(_believed(data, policy))
        if age_max_s is not None:
            _check_age(stated["signed_at_s"], age_max_s)
        _keep(kept, data)
        told.update(stated)
    if not as_json and told["verified"]:
        before = f"grew from {told['old_size']}" if "old_size" in told else "is watched from now on,"
        say(f"tally: {told['origin']} {before} to {told['size']} entries; kept in {kept}")
    return _told(told, as_json)


@app.command("export", epilog=EPILOG)
def export(
    where: Annotated[
        str, typer.Argument(metavar="PLACE", help="A folder, or s3://BUCKET/PREFIX; what is there already is kept.")
    ],
    endpoint: Annotated[
        str, typer.Option("--endpoint", envvar="AWS_ENDPOINT_URL", help="The object store's URL, for a bucket.")
    ] = "",
    access_key: Annotated[str, typer.Option("--access-key", envvar="AWS_ACCESS_KEY_ID", help="Who writes there.")] = "",
    secret_file: Annotated[
        Path | None,
        typer.Option("--secret-file", metavar="FILE", help="Holds its secret. Else AWS_SECRET_ACCESS_KEY is."),
    ] = None,
    secret: Annotated[str, typer.Option("--secret", envvar="AWS_SECRET_ACCESS_KEY", hidden=True)] = "",
    region: Annotated[str, typer.Option("--region", envvar="AWS_REGION", help="As the store calls it.")] = "us-east-1",
    data: options.Data = None,
    as_json: options.Json = False,
) -> int:
    """Write the log of this machine as static files (c2sp.org/tlog-tiles), for a mirror, an object store or a judge.

    Tiles first, the checkpoint last; run again, it adds what is new. A file that is there and differs is told, exit
    code 70, and left as it is.

    **Examples**

    - `tally audit export /srv/mirror`
    - `tally audit export s3://bank/ledger/0 --endpoint https://s3.example.com --access-key bank --secret-file s3.key`
    """
    from tallystick.auditor.export import export as write
    from tallystick.compose.auditor import open_log
    from tallystick.compose.exporting import place

    settings = options.settings(data=data)
    to = place(where, endpoint, access_key, secret_file.read_text().strip() if secret_file else secret, region)
    with _progress("tiles written") as progress:
        checkpoint = write(open_log(settings), to, progress)
    if as_json:
        _print({"origin": checkpoint.origin, "size": checkpoint.size, "place": where})
    else:
        say(f"tally: {checkpoint.size} entries of {checkpoint.origin} are in {where}")
    return Exit.DONE


@app.command("policy", epilog=EPILOG)
def show_policy(log: Log = "ledger", data: options.Data = None, as_json: options.Json = False) -> int:
    """Print the policy that believes this machine's log alone. Hand it out; add witnesses by hand.

    **Examples**

    - `tally audit policy > bank.policy`
    """
    keys = _keys(data, log)
    if as_json:
        _print({"log": [key["vkey"] for key in keys], "quorum": "none"})
        return Exit.DONE
    sys.stdout.write("".join(f"log {key['vkey']}\n" for key in keys) + "quorum none\n")
    return Exit.DONE


@app.command("keys", epilog=EPILOG)
def keys(log: Log = "ledger", data: options.Data = None, as_json: options.Json = False) -> int:
    """List the keys that sign this machine's log: public halves only.

    **Examples**

    - `tally audit keys`
    """
    return _show_keys(_keys(data, log), as_json)


@app.command("rotate", epilog=EPILOG)
def rotate(log: Log = "ledger", data: options.Data = None, as_json: options.Json = False) -> int:
    """Add a pair of keys. Old and new sign every checkpoint from now on: hand out the new policy, then `retire`.

    **Examples**

    - `tally audit rotate` then `tally audit policy > bank.policy`
    """
    from tallystick.clock import system_entropy
    from tallystick.compose.acting import note_command
    from tallystick.signer import keyfile

    settings = options.settings(data=data)
    origin = settings.log_origin_of(log)
    note_command(settings, "signer_rotate", origin)
    keyfile.rotate(_key_path(data, log), origin, system_entropy)
    return _show_keys(_keys(data, log), as_json)


@app.command("retire", epilog=EPILOG)
def retire(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="8 hex digits, as `tally audit keys` shows.")],
    log: Log = "ledger",
    data: options.Data = None,
    as_json: options.Json = False,
) -> int:
    """Let one key sign no more. Checkpoints it signed stay valid for those who believe it.

    **Examples**

    - `tally audit retire 1f2e3d4c`
    """
    from tallystick.compose.acting import note_command
    from tallystick.signer import keyfile

    settings = options.settings(data=data)
    note_command(settings, "signer_retire", settings.log_origin_of(log), {"key_id": key_id})
    keyfile.retire(_key_path(data, log), key_id)
    return _show_keys(_keys(data, log), as_json)


@app.command("acts", epilog=EPILOG)
def acts(
    log: Annotated[str, typer.Argument(metavar="access|control", help="Who read what, or who changed what.")],
    after: Annotated[int, typer.Option("--from", min=0, metavar="N", help="Show acts from number N on.")] = 0,
    data: options.Data = None,
    as_json: options.Json = False,
) -> int:
    """Show a log of acts of this machine, each held against its tree: what was changed there is named.

    Acts that are not under a checkpoint yet are shown with `"signed": false`. From afar, `tally audit verify-log` and
    `monitor` take the URL of such a log: /v1/log/access, /v1/log/control.

    **Examples**

    - `tally audit acts control`
    - `tally audit acts access --from 1000 --json`
    """
    from contextlib import closing

    from tallystick.acts.entries import shown
    from tallystick.acts.port import LOGS
    from tallystick.auditor.acts import ACTS_AT_ONCE
    from tallystick.compose.acting import open_acts
    from tallystick.compose.auditor import open_act_log
    from tallystick.errors import Invalid
    from tallystick.tlog.auditing import check_whole
    from tallystick.tlog.checkpoints import parse_checkpoint
    from tallystick.tlog.notes import parse_note
    from tallystick.tlog.tiles import Tile

    if log not in LOGS:
        raise Invalid("log", f"the logs of acts are {' and '.join(LOGS)}")
    settings = options.settings(data=data)
    reader = open_act_log(settings, log)

    def read(tile: Tile) -> bytes:
        found = reader.tile(tile)
        if found is None:
            raise InvalidProof(f"{tile.path} is not there")
        return found

    with _verdict(as_json) as told:
        note = reader.checkpoint()
        checkpoint = parse_checkpoint(parse_note(note).text) if note is not None else None
        size = checkpoint.size if checkpoint is not None else 0
        told["size"] = size
        if checkpoint is not None:
            check_whole(checkpoint, read)
        with closing(open_acts(settings, log)) as found:
            number = after
            while entries := found.read(number, ACTS_AT_ONCE):
                for entry in entries:
                    _print({"number": number, "signed": number < size, **shown(entry)})
                    number += 1
    return _told(told, as_json)


@app.command("reconcile", epilog=EPILOG)
def reconcile(data: options.Data = None, as_json: options.Json = False) -> int:
    """Hold journal, tree, archive and projection of this machine against each other. Beside all that runs.

    Every entry is hashed up to the signed root, the archive must be of this journal, and each row and line of the
    projection is compared. The first difference of each is named; exit code 1.

    **Examples**

    - `tally audit reconcile --data /var/lib/tallystick`
    """
    from tallystick.compose import reconcile as compose

    settings = options.settings(data=data)
    with _progress("entries and tiles") as progress:
        found: dict[str, str | None] = {"tree": compose.tree_difference(settings, progress)}
    found["archive"] = compose.archive_difference(settings)
    with _progress("rows and lines") as progress:
        done = compose.reconcile(settings, progress)
    found["projection"] = done.difference
    if as_json:
        _print({"entries": done.entries, **found})
    else:
        for part, difference in found.items():
            sys.stdout.write(f"{part:>10}  {difference or 'as the journal says'}\n")
    return Exit.REFUSED if any(found.values()) else Exit.DONE


@app.command("erase", epilog=EPILOG)
def erase(
    person: Annotated[str, typer.Argument(metavar="PERSON", help="The opaque id, as `metadata_person` gave it.")],
    tenant: Annotated[int, typer.Option(min=1, help="Whose person it is.")],
    data: options.Data = None,
    as_json: options.Json = False,
) -> int:
    """Erase all text that came with a person's payments: destroys their key, for good. Cannot be taken back.

    Entries, proofs and receipts stay as they are and verify; what the text was, nobody can tell or check any more,
    backups included. The certificate is an entry of the log `control`: what it names is the SHA-256 of `TENANT/PERSON`.
    Without `metadata_person` a person is the id of the debit account, 32 hex digits.

    **Examples**

    - `tally audit erase p-4711 --tenant 1`
    """
    from contextlib import closing
    from hashlib import sha256

    from tallystick.compose.acting import note_command
    from tallystick.compose.texts import open_texts
    from tallystick.metadata.fields import check_person

    check_person(person, "person")
    settings = options.settings(data=data)
    target = f"person:{sha256(f'{tenant}/{person}'.encode()).hexdigest()}"
    note_command(settings, "erase", target, {"tenant": str(tenant)})
    with closing(open_texts(settings)) as texts:
        count = texts.erase(tenant, person)
    certificate = note_command(settings, "erased", target, {"tenant": str(tenant), "texts": str(count)}, "done")
    if as_json:
        _print({"texts": count, "certificate": certificate, "target": target})
    elif count:
        say(f"tally: {count} texts can be read by nobody any more; the certificate is entry {certificate} of control")
    else:
        say(f"tally: there is no text of {person}, tenant {tenant}; that is entry {certificate} of control")
    return Exit.DONE


@app.command("details", epilog=EPILOG)
def details(
    seq: Annotated[int, typer.Argument(min=0, metavar="SEQ", help="Number of an entry; its whole block is written.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to; must not exist.")],
    data: options.Data = None,
    as_json: options.Json = False,
) -> int:
    """Write the private details of the block that holds an entry, for an authority, with the receipt of its seal.

    They hold what screening said, of every payment of the block: hand them to nobody else. It is noted in the log
    `control`.

    **Examples**

    - `tally audit details 48213 --out details.json`
    """
    import os

    from tallystick.compose.acting import note_command
    from tallystick.compose.auditor import open_log
    from tallystick.compose.disclosing import block_of
    from tallystick.records import disclosures, openings

    settings = options.settings(data=data)
    block = block_of(settings, seq)
    receipt = open_log(settings).receipt(block.header.next - 1, openings.pack)
    note_command(settings, "details", str(block.header.first))
    descriptor = os.open(out, os.O_CREAT | os.O_WRONLY | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(disclosures.disclose(block, receipt))
    if as_json:
        _print({"first": block.header.first, "count": block.header.count, "file": str(out)})
    else:
        say(f"tally: the details of entries {block.header.first} to {block.header.next - 1} are in {out}")
    return Exit.DONE


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

    with _verdict(as_json) as told:
        found = disclosures.read(file.read_bytes())
        receipt = receipts.parse_receipt(found.receipt)
        seal = openings.unpack(receipt.extra)
        told.update(_stated(receipts.verify(receipt, leaf_hash(seal), _policy(policy))))
        first, rows = disclosures.sealed_details(found, seal)
        told["details"] = [details_shown(first + number, row) for number, row in enumerate(rows[:-1])]
    if not as_json and told["verified"]:
        say(f"tally: the details of {len(told['details'])} outcomes are those sealed in {told['origin']}")
        for row in told["details"]:
            _print(row)
    return _told(told, as_json)


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
    data = log.checkpoint()
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


def _key_path(data: Path | None, log: str) -> Path:
    from tallystick.acts.port import LOGS
    from tallystick.compose.signer import KEYS, LEDGER, folder_of
    from tallystick.errors import Invalid

    if log not in (LEDGER, *LOGS):
        raise Invalid("log", f"the logs are {', '.join((LEDGER, *LOGS))}")
    return folder_of(options.settings(data=data), log) / KEYS


def _keys(data: Path | None, log: str) -> list[dict[str, str]]:
    from tallystick.signer import keyfile

    return [
        {"key_id": key.verifier.key_id.hex(), "kind": key.kind.name.lower(), "vkey": key.verifier.vkey}
        for key in keyfile.read(_key_path(data, log))
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
