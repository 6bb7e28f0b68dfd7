"""Waiting for signals: SIGCHLD when a process ends, SIGTERM and SIGINT to stop. Costs nothing while all is well."""

import select
import signal
import socket
from types import FrameType, TracebackType

WATCHED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Signals:
    """A context in which signals are collected instead of acted on. Main thread only."""

    def __enter__(self) -> "Signals":
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        # Python writes each signal's number to this descriptor from its C-level handler. Nothing is missed between
        # a look and the next wait, as it would be with a flag. Blocking the signals and using sigwait would do as
        # well, but children would inherit the blocked mask and never see SIGTERM.
        self._wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._handlers = {number: signal.signal(number, _collect) for number in WATCHED}
        # Children inherit this one: they are in the background of our terminal, which must not stop them for writing
        # there (`stty tostop`).
        self._handlers[signal.SIGTTOU] = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        self._reader.close()
        self._writer.close()

    def wait(self, timeout_s: float | None) -> set[int]:
        """The signals that came, waiting up to `timeout_s` (None: for ever) for the first."""
        select.select([self._reader], [], [], timeout_s)
        try:
            return set(self._reader.recv(4096))
        except BlockingIOError:
            return set()


def _collect(number: int, frame: FrameType | None) -> None:
    """The wake-up descriptor has told; nothing to do."""
