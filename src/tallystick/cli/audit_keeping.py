"""`tally audit`, for who keeps the log, on its machine: keys, exports, acts, details, erasures, anchors."""

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tallystick.cli import options
from tallystick.cli.audit import app, print_row, progress_bar, told_as, verdict
from tallystick.cli.exits import EPILOG, Exit
from tallystick.cli.options import say
from tallystick.errors import InvalidProof

if TYPE_CHECKING:
    from tallystick.auditor.serving import LogReader
    from tallystick.settings import Settings

__all__ = ["app"]

Log = Annotated[
    str, typer.Option("--log", metavar="ledger|access|control", help="Which of this shard's logs.", show_default=True)
]


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
    log: Log = "ledger",
    data: options.Data = None,
    shard: options.Shard = None,
    as_json: options.Json = False,
) -> int:
    """Write a log of this machine as static files (c2sp.org/tlog-tiles), for a mirror, an object store or a judge.

    Tiles first, the checkpoint last; run again, it adds what is new. A file that is there and differs is told, exit
    code 70, and left as it is.

    **Examples**

    - `tally audit export /srv/mirror`
    - `tally audit export /srv/mirror-control --log control`
    - `tally audit export s3://bank/ledger/0 --endpoint https://s3.example.com --access-key bank --secret-file s3.key`
    """
    from tallystick.auditor.export import export as write
    from tallystick.compose.exporting import place

    settings = options.settings(data=data, shard=shard)
    to = place(where, endpoint, access_key, secret_file.read_text().strip() if secret_file else secret, region)
    with progress_bar("tiles written") as progress:
        checkpoint = write(_opened(settings, log), to, progress)
    if as_json:
        print_row({"origin": checkpoint.origin, "size": checkpoint.size, "place": where})
    else:
        say(f"tally: {checkpoint.size} entries of {checkpoint.origin} are in {where}")
    return Exit.DONE


@app.command("policy", epilog=EPILOG)
def show_policy(
    log: Log = "ledger", data: options.Data = None, shard: options.Shard = None, as_json: options.Json = False
) -> int:
    """Print the policy that believes this machine's log alone. Hand it out; add witnesses by hand.

    **Examples**

    - `tally audit policy > bank.policy`
    """
    from tallystick.errors import Unavailable

    keys = _keys(data, shard, log)
    if not keys:  # such a policy would believe nobody
        raise Unavailable("no keys yet: start `tally up`, or wait until its signer has made them")
    if as_json:
        print_row({"log": [key["vkey"] for key in keys], "quorum": "none"})
        return Exit.DONE
    sys.stdout.write("".join(f"log {key['vkey']}\n" for key in keys) + "quorum none\n")
    return Exit.DONE


@app.command("keys", epilog=EPILOG)
def keys(
    log: Log = "ledger", data: options.Data = None, shard: options.Shard = None, as_json: options.Json = False
) -> int:
    """List the keys that sign this machine's log: public halves only.

    **Examples**

    - `tally audit keys`
    """
    return _show_keys(_keys(data, shard, log), as_json)


@app.command("rotate", epilog=EPILOG)
def rotate(
    log: Log = "ledger", data: options.Data = None, shard: options.Shard = None, as_json: options.Json = False
) -> int:
    """Add a pair of keys. Old and new sign every checkpoint from now on: hand out the new policy, then `retire`.

    **Examples**

    - `tally audit rotate` then `tally audit policy > bank.policy`
    """
    from tallystick.clock import system_entropy
    from tallystick.compose.acting import note_command
    from tallystick.signer import keyfile

    settings = options.settings(data=data, shard=shard)
    origin = settings.log_origin_of(log)
    note_command(settings, "signer_rotate", origin)
    keyfile.rotate(_key_path(data, shard, log), origin, system_entropy)
    return _show_keys(_keys(data, shard, log), as_json)


@app.command("retire", epilog=EPILOG)
def retire(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="8 hex digits, as `tally audit keys` shows.")],
    log: Log = "ledger",
    data: options.Data = None,
    shard: options.Shard = None,
    as_json: options.Json = False,
) -> int:
    """Let one key sign no more. Checkpoints it signed stay valid for those who believe it.

    **Examples**

    - `tally audit retire 1f2e3d4c`
    """
    from tallystick.compose.acting import note_command
    from tallystick.signer import keyfile

    settings = options.settings(data=data, shard=shard)
    note_command(settings, "signer_retire", settings.log_origin_of(log), {"key_id": key_id})
    keyfile.retire(_key_path(data, shard, log), key_id)
    return _show_keys(_keys(data, shard, log), as_json)


@app.command("acts", epilog=EPILOG)
def acts(
    log: Annotated[str, typer.Argument(metavar="access|control", help="Who read what, or who changed what.")],
    after: Annotated[int, typer.Option("--from", min=0, metavar="N", help="Show acts from number N on.")] = 0,
    data: options.Data = None,
    shard: options.Shard = None,
    as_json: options.Json = False,
) -> int:
    """Show a log of acts of this machine, each held against its tree: what was changed there is named.

    Acts that are not under a checkpoint yet are shown with `"signed": false`. From afar, `tally audit verify-log` and
    `monitor` take the URL of such a log: /v1/log/access, /v1/log/control.

    **Examples**

    - `tally audit acts control`
    - `tally audit acts access --from 1000 --json`
    """
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
    settings = options.settings(data=data, shard=shard)
    reader = open_act_log(settings, log)

    def read(tile: Tile) -> bytes:
        found = reader.tile(tile)
        if found is None:
            raise InvalidProof(f"{tile.path} is not there")
        return found

    with verdict(as_json) as told:
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
                    print_row({"number": number, "signed": number < size, **shown(entry)})
                    number += 1
    return told_as(told, as_json)


@app.command("reconcile", epilog=EPILOG)
def reconcile(data: options.Data = None, shard: options.Shard = None, as_json: options.Json = False) -> int:
    """Hold journal, tree, archive and projection of this machine against each other. Beside all that runs.

    Every entry is hashed up to the signed root, the archive must be of this journal, and each row and line of the
    projection is compared. The first difference of each is named; exit code 1.

    **Examples**

    - `tally audit reconcile --data /var/lib/tallystick`
    """
    from tallystick.compose import reconcile as compose

    settings = options.settings(data=data, shard=shard)
    with progress_bar("entries and tiles") as progress:
        found: dict[str, str | None] = {"tree": compose.tree_difference(settings, progress)}
    found["archive"] = compose.archive_difference(settings)
    with progress_bar("rows and lines") as progress:
        done = compose.reconcile(settings, progress)
    found["projection"] = done.difference
    if as_json:
        print_row({"entries": done.entries, **found})
    else:
        for part, difference in found.items():
            sys.stdout.write(f"{part:>10}  {difference or 'as the journal says'}\n")
    return Exit.REFUSED if any(found.values()) else Exit.DONE


@app.command("anchor", epilog=EPILOG)
def anchor(
    url: Annotated[str, typer.Argument(metavar="URL", help="Of a time-stamping authority (RFC 3161).")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to keep it: best not on this machine.")],
    log: Log = "ledger",
    data: options.Data = None,
    shard: options.Shard = None,
    as_json: options.Json = False,
) -> int:
    """Have a stranger's clock stamp the checkpoint of now (RFC 3161); once a day, from cron or a timer.

    Wants `pip install tallystick[anchors]`. `tally audit check-anchor` checks it, and so does `openssl ts -verify`.

    **Examples**

    - `tally audit anchor https://freetsa.example/tsr /mnt/anchors`
    """
    from tallystick.auditor import anchors
    from tallystick.errors import Unavailable
    from tallystick.tlog.checkpoints import parse_checkpoint
    from tallystick.tlog.notes import parse_note

    settings = options.settings(data=data, shard=shard)
    checkpoint = _opened(settings, log).checkpoint()
    if checkpoint is None:
        raise Unavailable("no checkpoint is published yet: start `tally up`, or wait a second")
    size = parse_checkpoint(parse_note(checkpoint).text).size
    path = anchors.store(folder, size, checkpoint, anchors.ask(url, checkpoint))
    if as_json:
        print_row({"size": size, "file": str(path)})
    else:
        say(f"tally: the checkpoint of {size} entries is stamped; {path}")
    return Exit.DONE


@app.command("erase", epilog=EPILOG)
def erase(
    person: Annotated[str, typer.Argument(metavar="PERSON", help="The opaque id, as `metadata_person` gave it.")],
    tenant: Annotated[int, typer.Option(min=1, help="Whose person it is.")],
    data: options.Data = None,
    shard: options.Shard = None,
    as_json: options.Json = False,
) -> int:
    """Erase all text that came with a person's payments: destroys their key, for good. Cannot be taken back.

    Entries, proofs and receipts stay as they are and verify; what the text was, nobody can tell or check any more,
    backups included. The certificate is an entry of the log `control`: what it names is the SHA-256 of `TENANT/PERSON`.
    Without `metadata_person` a person is the id of the debit account, 32 hex digits.

    **Examples**

    - `tally audit erase p-4711 --tenant 1`
    """
    from hashlib import sha256

    from tallystick.compose.acting import note_command
    from tallystick.compose.texts import open_texts
    from tallystick.metadata.fields import check_person

    check_person(person, "person")
    settings = options.settings(data=data, shard=shard)
    target = f"person:{sha256(f'{tenant}/{person}'.encode()).hexdigest()}"
    note_command(settings, "erase", target, {"tenant": str(tenant)})
    with closing(open_texts(settings)) as texts:
        count = texts.erase(tenant, person)
    certificate = note_command(settings, "erased", target, {"tenant": str(tenant), "texts": str(count)}, "done")
    if as_json:
        print_row({"texts": count, "certificate": certificate, "target": target})
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
    shard: options.Shard = None,
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

    settings = options.settings(data=data, shard=shard)
    block = block_of(settings, seq)
    receipt = open_log(settings).receipt(block.header.next - 1, openings.pack)
    note_command(settings, "details", str(block.header.first))
    descriptor = os.open(out, os.O_CREAT | os.O_WRONLY | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(disclosures.disclose(block, receipt))
    if as_json:
        print_row({"first": block.header.first, "count": block.header.count, "file": str(out)})
    else:
        say(f"tally: the details of entries {block.header.first} to {block.header.next - 1} are in {out}")
    return Exit.DONE


def _key_path(data: Path | None, shard: int | None, log: str) -> Path:
    from tallystick.compose.signer import KEYS, folder_of

    _check_known(log)
    return folder_of(options.settings(data=data, shard=shard), log) / KEYS


def _opened(settings: "Settings", log: str) -> "LogReader":
    from tallystick.compose.auditor import open_act_log, open_log

    _check_known(log)
    return open_log(settings) if log == "ledger" else open_act_log(settings, log)


def _check_known(log: str) -> None:
    from tallystick.acts.port import LOGS
    from tallystick.compose.signer import LEDGER
    from tallystick.errors import Invalid

    if log not in (LEDGER, *LOGS):
        raise Invalid("log", f"the logs are {', '.join((LEDGER, *LOGS))}")


def _keys(data: Path | None, shard: int | None, log: str) -> list[dict[str, str]]:
    from tallystick.signer import keyfile

    return [
        {"key_id": key.verifier.key_id.hex(), "kind": key.kind.name.lower(), "vkey": key.verifier.vkey}
        for key in keyfile.read(_key_path(data, shard, log))
    ]


def _show_keys(found: list[dict[str, str]], as_json: bool) -> int:
    if as_json:
        print_row(found)
        return Exit.DONE
    if not found:
        say("tally: no keys yet; the first start of `tally up` makes them")
    for key in found:
        sys.stdout.write(f"{key['key_id']}  {key['kind']:<8}  {key['vkey'][:60]}…\n")
    return Exit.DONE
