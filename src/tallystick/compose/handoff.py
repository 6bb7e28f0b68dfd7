"""Two threads and what passes between them: the engine's loop hands drafts to the writer, one at a time."""

import threading
from collections.abc import Callable, Sequence

from tallystick.engine.drafts import Draft
from tallystick.engine.writer import LookedUp, Writer
from tallystick.errors import Unavailable

Failed = Callable[[BaseException], None]
Chore = Callable[[], bool]
WRITTEN_AT_ONCE_MAX = 512
"""Entries of a block up to which the loop writes it itself."""
IDLE_S, IDLE_S_MAX, IDLE_GROWS = 0.02, 0.1, 1.25
"""How long the housekeeper rests when there is nothing to do: at first, at most, and how much longer each time. A look
takes 0.2 ms from a core that payments want; where chores come every tenth of a second, it is soon back at them."""


class WriterThread:
    """Runs `Writer.step` on what is `put`, in order. At most one block is unsynced at a time (DESIGN §4).

    A large block is written by a thread of its own while the loop decides the next. A small one is written at once by
    the loop: waking the thread would cost more than the deciding that it would hide (50-100 µs, and the GIL).
    A failure is final: it is kept, told to `failed`, and raised from every later `put`.
    """

    def __init__(self, writer: Writer, failed: Failed) -> None:
        self._writer = writer
        self._failed = failed
        self._work: Draft | LookedUp | None = None
        self._failure: BaseException | None = None
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="tally-writer", daemon=True)
        self._thread.start()

    def put(self, work: Draft | LookedUp) -> None:
        """Hand over; waits until all that was handed over before is durable. Raises what the writer died of.

        For one thread, the loop's.
        """
        with self._changed:
            while self._work is not None and self._failure is None:
                self._changed.wait()
            if self._failure is not None:
                raise self._failure
            if _is_large(work):
                self._work = work
                self._changed.notify_all()
                return
        # The thread is idle, and only this one gives it work: the writer is ours until we return.
        try:
            self._writer.step(work)
        except BaseException as error:
            self._fail(error)
            raise

    def stop(self) -> None:
        """Finish what was handed over, then end."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._work is None and not self._stopping:
                    self._changed.wait()
                if self._work is None:
                    return
                work = self._work
            try:
                self._writer.step(work)
            except BaseException as error:
                self._fail(error)
                return
            with self._changed:
                self._work = None
                self._changed.notify_all()

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._failure = error
            self._changed.notify_all()
        self._failed(error)


def _is_large(work: Draft | LookedUp) -> bool:
    return isinstance(work, Draft) and work.next_seq - work.first_seq > WRITTEN_AT_ONCE_MAX


class Housekeeper:
    """Runs chores (zero-filling, id runs) in slices, beside the loop and the writer."""

    def __init__(self, chores: Sequence[Chore], failed: Failed) -> None:
        """A chore does a bounded slice of work and returns whether more waits."""
        self._chores = chores
        self._failed = failed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tally-housekeeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the slice at hand."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        rest_s = IDLE_S
        while not self._stop.is_set():
            try:
                busy = max(chore() for chore in self._chores)
            except Unavailable:
                busy = False  # the disk is full; the chore is tried again, and who needs its result will say so
            except BaseException as error:
                self._failed(error)
                return
            if busy:
                rest_s = IDLE_S
            else:
                self._stop.wait(rest_s)
                rest_s = min(rest_s * IDLE_GROWS, IDLE_S_MAX)
