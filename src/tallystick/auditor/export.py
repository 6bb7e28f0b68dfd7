"""The log as a folder of static files, as c2sp.org/tlog-tiles lays it out: for object stores, mirrors and judges."""

from collections.abc import Callable
from itertools import chain
from pathlib import Path

from tallystick.auditor.serving import LogReader
from tallystick.errors import Corrupt, Unavailable
from tallystick.tlog.checkpoints import Checkpoint, parse_checkpoint
from tallystick.tlog.notes import parse_note
from tallystick.tlog.tiles import bundles_of, tiles_of


def export(log: LogReader, folder: Path, progress: Callable[[int, int], None] | None = None) -> Checkpoint:
    """Write the log as it is published now to `folder`; the checkpoint last. Files that are there are kept: tiles never
    change, so exporting again adds what is new. Nothing is synced.

    Raises `Unavailable` if no checkpoint is published yet, `Corrupt` if a file that is there holds something else.
    """
    data = log.checkpoint()
    if data is None:
        raise Unavailable("no checkpoint is published yet: start `tally up`, or wait a second")
    checkpoint = parse_checkpoint(parse_note(data).text)
    tiles = [*chain(tiles_of(checkpoint.size), bundles_of(checkpoint.size))]
    for number, tile in enumerate(tiles, 1):
        content = log.tile(tile)
        if content is None:
            raise Corrupt(f"{tile.path} is not there")
        _write_once(folder / tile.path, content)
        if progress is not None:
            progress(number, len(tiles))
    folder.mkdir(parents=True, exist_ok=True)  # an empty log has no tiles
    (folder / "checkpoint.new").write_bytes(data)
    (folder / "checkpoint.new").replace(folder / "checkpoint")
    return checkpoint


def _write_once(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError as error:
        if path.read_bytes() != content:
            raise Corrupt(f"{path} holds another tile than the log: it is of another log, or was changed") from error
