"""A blocking line from a command to one process of a shard: a question, then frames until its answer is among them."""

import socket
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from tallystick.answers.frames import Frames, frame
from tallystick.errors import Unavailable

ANSWER_S = 30.0
"""How long an answer may take: it comes once what it tells of is durable."""
READ_BYTES = 262_144


class Line:
    """Leave the context to let go of it. Not safe for concurrent calls."""

    def __init__(self, path: Path, name: str, lacking: str, greeting: bytes | None = None) -> None:
        """To the process that listens at `path`, and is told `greeting` first. Raises `Unavailable`, in the words of
        `lacking`, if none does.
        """
        self.name = name
        self._frames = Frames()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(ANSWER_S)
        try:
            self._socket.connect(str(path))
            if greeting is not None:
                self._socket.sendall(frame(greeting))
        except OSError as error:
            self._socket.close()
            raise Unavailable(lacking) from error

    def asked(self, question: bytes) -> Iterator[bytes]:
        """What comes after `question`, until one has what one wants. Raises `Unavailable`: it may have been done."""
        try:
            self._socket.sendall(frame(question))
            while data := self._socket.recv(READ_BYTES):
                yield from self._frames.feed(data)
        except OSError as error:
            raise Unavailable(f"{self.name} did not answer: {error}. Do it again") from error
        raise Unavailable(f"{self.name} ended; do it again once it is back")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
