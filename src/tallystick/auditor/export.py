"""The log as static files, as c2sp.org/tlog-tiles lays it out: for object stores, mirrors and judges."""

from collections.abc import Callable
from itertools import chain

from tallystick.auditor.places import Place
from tallystick.auditor.serving import LogReader
from tallystick.errors import Corrupt, Unavailable
from tallystick.tlog.checkpoints import Checkpoint, parse_checkpoint
from tallystick.tlog.notes import parse_note
from tallystick.tlog.tiles import bundles_of, tiles_of


def export(log: LogReader, place: Place, progress: Callable[[int, int], None] | None = None) -> Checkpoint:
    """Write the log as it is published now to `place`; the checkpoint last. Files that are there are kept: tiles never
    change, so exporting again adds what is new.

    Raises `Unavailable` if no checkpoint is published yet or the place cannot be written, `Corrupt` if a file that is
    there holds something else.
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
        place.put_once(tile.path, content)
        if progress is not None:
            progress(number, len(tiles))
    place.replace("checkpoint", data)
    return checkpoint
