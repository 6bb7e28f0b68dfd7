"""One block of the journal with its private details, to hand to an authority."""

from contextlib import closing

from tallystick.blockfile.disk import SystemDisk
from tallystick.compose.journals import Place
from tallystick.errors import Invalid
from tallystick.records.blocks import EntryBlock
from tallystick.settings import Settings


def block_of(settings: Settings, seq: int) -> EntryBlock:
    """The block that holds entry `seq`, verified. Raises `Invalid` if there is none yet, `Corrupt`."""
    with closing(Place.of(settings).reader(SystemDisk())) as journal:
        if seq >= journal.end():
            raise Invalid("seq", f"the journal of {settings.data} has {journal.end()} entries; {seq} is none of them")
        return next(iter(journal.read(seq)))
