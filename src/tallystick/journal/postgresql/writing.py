"""The one writer of a shard: holds its row, appends blocks, says that it lives, takes over from one that does not."""

import os
import socket

from tallystick.errors import Corrupt, Fenced, OutcomeUnknown, Unavailable
from tallystick.journal.port import Tail
from tallystick.journal.postgresql.reading import PostgresJournalReader, session
from tallystick.journal.tails import continued
from tallystick.postgresql.sessions import ANSWER_S_MAX
from tallystick.records.blocks import HEADER_SIZE, LANE_SIZE, Bytes, Header, parse_header, unpack_positions

LEASE_S = 3.0
"""How long a writer may say nothing before another may take its place."""
_LOCK_CLASS = 0x74616C6C
"""Of the advisory locks, one a shard, that a writer's session holds as long as it lives: "tall"."""

ALIVE_S = 1.0
"""A writer that says something so long after another came is alive: what a dead one has sent has arrived by then."""
AGAIN_S = 0.1
STUCK_S = 5.0
"""After a dead writer's lease, how long its session may take to end."""

_MAKE = "insert into tallystick.writers (shard) values (%b) on conflict do nothing"
_LOCK = "select pg_try_advisory_lock(%b, %b), extract(epoch from clock_timestamp())::float from pg_sleep(%b)"
_HOLDER = "select holder, extract(epoch from beat_at)::float from tallystick.writers where shard = %b"
_END_OLD = """
select pg_terminate_backend(session) from tallystick.writers join pg_stat_activity on pid = session
 where shard = %b and backend_start = began_at and beat_at < clock_timestamp() - make_interval(secs => %b)
"""
_STANDS = "select epoch, next_seq, journal::text from tallystick.writers where shard = %b for update"
_TAKE = """
update tallystick.writers set epoch = %b, holder = %b, session = pg_backend_pid(), beat_at = clock_timestamp(),
       began_at = (select backend_start from pg_stat_activity where pid = pg_backend_pid()) where shard = %b
"""
_LAST = f"""
select next, substring(body from 1 for {HEADER_SIZE} + lanes * {LANE_SIZE})
  from tallystick.blocks where shard = %b order by first desc limit 1
"""
_APPEND = """
with writer as (
    update tallystick.writers set next_seq = %b, beat_at = clock_timestamp()
     where shard = %b and epoch = %b and next_seq = %b returning shard)
insert into tallystick.blocks (shard, first, next, lanes, hash, body) select shard, %b, %b, %b, %b, %b from writer
"""
_DURABLE = "update tallystick.writers set durable_seq = %b where shard = %b and epoch = %b and durable_seq < %b"
_BEAT = "update tallystick.writers set beat_at = clock_timestamp() where shard = %b and epoch = %b"


class PostgresJournal(PostgresJournalReader):
    """The writer. One thread may append while others read; `beat` may have its own."""

    def __init__(self, url: str, shard: int = 0, lease_s: float = LEASE_S, answer_s_max: float = ANSWER_S_MAX) -> None:
        """Take the shard and raise its epoch. What an earlier writer left unknown is settled when this returns.

        Raises `Fenced` while another writer lives and has said so within `lease_s`; one that has not (paused, or its
        machine is gone) has its session ended. `Unavailable` if the server is not there or not fit, `OutcomeUnknown`
        if it does not say whether the epoch is ours, `Corrupt` if the last block is not that of this shard.
        """
        super().__init__(url, shard, f"tallystick engine {shard}, reading", answer_s_max)
        self._spent = False
        self._writes = session(url, f"tallystick engine {shard}", answer_s_max)
        # What is noted is told again soon, or by the next writer: it need not wait for a disk.
        self._notes = session(url, f"tallystick engine {shard}, notes", answer_s_max, waits=False)
        try:
            self._take(lease_s)
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls, url: str, shard: int = 0, lease_s: float = LEASE_S) -> "PostgresJournal":
        """The journal of this shard in the database, begun if there is none."""
        return cls(url, shard, lease_s)

    def _take(self, lease_s: float) -> None:
        shard, holder = self._shard, f"{socket.gethostname()}, pid {os.getpid()}"
        if not self._writes.read(_HOLDER, (shard,)):
            self._writes.write(_MAKE, (shard,))
        self._hold(lease_s)
        with self._writes.together() as cursor:
            stands = cursor.execute(_STANDS, (shard,)).fetchone() or (0, 0, "")
            last = cursor.execute(_LAST, (shard,)).fetchone()
            header = parse_header(last[1]) if last is not None else None
            if (header.next if header else 0) != stands[1] or (header and header.shard != shard):
                raise Corrupt(f"{self._place}: its last block does not end at {stands[1]}, where its writer stood")
            self._epoch = max(int(stands[0]), header.epoch if header else 0) + 1
            cursor.execute(_TAKE, (self._epoch, holder, shard))
        # Committed, on each standby that commits wait for, too: so is all that stood there before, whoever left it.
        self.identity = str(stands[2])
        self._tail = Tail()
        if last is not None and header is not None:
            self._tail = Tail(header.next, header.hash, header.epoch, unpack_positions(last[1][HEADER_SIZE:]))
        self._note_durable()

    def _hold(self, lease_s: float) -> None:
        """Get the shard's lock for this session, at once or when the writer that has it is found to be dead.

        A process that was killed leaves a session that may still be at work. Raises `Fenced` if the writer lives.
        """
        shard, wait_s, begun_s = self._shard, 0.0, 0.0
        while True:
            locked, now_s = self._writes.read(_LOCK, (_LOCK_CLASS, shard, wait_s))[0]
            if locked:
                return
            begun_s, wait_s = begun_s or now_s, AGAIN_S
            holder, beat_s = self._writes.read(_HOLDER, (shard,))[0]
            if beat_s > begun_s + ALIVE_S:
                raise Fenced(f"{self._place} is held by another engine ({holder}), which lives")
            if now_s > begun_s + lease_s + STUCK_S:
                raise Unavailable(f"{self._place}: a session that is no writer's holds its lock; see pg_locks")
            self._writes.read(_END_OLD, (shard, lease_s))

    @property
    def epoch(self) -> int:
        return self._epoch

    def tail(self) -> Tail:
        return self._tail

    def append(self, block: list[Bytes], expected_seq: int, epoch: int) -> None:
        if epoch != self._epoch:
            raise Fenced(f"{self._place}: epoch {epoch} is over")
        self._write(*continued(self._tail, block, expected_seq, epoch, self._shard), block)

    def adopt(self, block: list[Bytes], expected_seq: int) -> None:
        """As `append`, for a block of whatever writer, as that one made it: the journal is rolled forward.

        This writer may then append none of its own: open the journal again, for an epoch above all of theirs.
        """
        self._write(*continued(self._tail, block, expected_seq, parse_header(block[0]).epoch, self._shard), block)

    def _write(self, header: Header, tail: Tail, block: list[Bytes]) -> None:
        if self._spent:
            raise OutcomeUnknown(f"{self._place}: an append before this one is not known to be there")
        place = (header.first, header.next, header.lanes, header.hash, b"".join(block))
        self._spent = True
        try:
            written = self._writes.write(_APPEND, (header.next, self._shard, self._epoch, header.first, *place))
        except Unavailable:
            self._spent = False
            raise
        except OutcomeUnknown as error:
            if self._was_replaced():  # whoever took over ended our session first
                raise Fenced(f"{self._place}: epoch {self._epoch} is over, another writer took it") from error
            raise
        self._spent = False
        if not written:
            raise Fenced(f"{self._place}: epoch {self._epoch} is over, another writer took it")
        self._tail = tail
        self._note_durable()

    def _was_replaced(self) -> bool:
        """Whether another writer is known to have taken over."""
        try:
            self.beat()
        except Fenced:
            return True
        except (Unavailable, OutcomeUnknown):
            return False
        return False

    def _note_durable(self) -> None:
        """Let readers see what is there: nothing of it can be lost."""
        end = self._tail.next_seq
        try:
            self._notes.write(_DURABLE, (end, self._shard, self._epoch, end))
        except Unavailable as error:
            raise OutcomeUnknown(
                f"{error} (what was written until {end} is there; the next writer shows it)"
            ) from error

    def beat(self) -> None:
        """Say that this writer lives, so that none takes its place. Raises `Fenced` if one did."""
        if not self._notes.write(_BEAT, (self._shard, self._epoch)):
            raise Fenced(f"{self._place}: epoch {self._epoch} is over, another writer took it")

    def close(self) -> None:
        super().close()
        self._writes.close()
        self._notes.close()
