"""What may follow a journal's tail: the check that every adapter makes before it appends. Pure."""

from tallystick.errors import Fenced
from tallystick.journal.port import Tail
from tallystick.records.blocks import LANE_SIZE, Bytes, Header, parse_header, unpack_positions


def continued(tail: Tail, block: list[Bytes], expected_seq: int, epoch: int, shard: int) -> tuple[Header, Tail]:
    """The block's header, and the tail that the journal has after it.

    Raises `Fenced` if the caller expected another end; `ValueError` if the block, as buffers from `entry_block`, was
    not made to follow `tail` in this epoch and shard: a bug, nothing was written.
    """
    if expected_seq != tail.next_seq:
        raise Fenced(f"the journal ends at {tail.next_seq}, not {expected_seq}: another writer appended")
    header = parse_header(block[0])
    if (header.first, header.epoch, header.shard, header.previous) != (expected_seq, epoch, shard, tail.hash):
        raise ValueError(f"block {header.first} of epoch {header.epoch} was not made to follow entry {tail.next_seq}")
    if header.size != sum(map(len, block)) or len(block[1]) != header.lanes * LANE_SIZE:
        raise ValueError(f"block {header.first}: its buffers are not as entry_block made them")
    return header, Tail(header.next, header.hash, header.epoch, unpack_positions(block[1]))
