"""The witness over HTTP: two paths, small bodies, few clients. No framework: those add a charset to `Content-Type`.

A thread a connection, each with a time limit. Put a proxy with TLS in front of it where strangers reach it.
"""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import structlog

from tallystick.errors import TallystickError, Unavailable
from tallystick.witness.cosigning import Cosigner, Reply

BODY_BYTES_MAX = 131_072
"""A checkpoint with 16 ML-DSA-44 signatures, and its proof, has half of that."""
TIMEOUT_S = 10.0
_log = structlog.get_logger("tallystick.witness")


class WitnessServer(ThreadingHTTPServer):
    """Serves one cosigner. What ends its memory ends the serving: see `failure`."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, cosigner: Cosigner) -> None:
        """Listens. Raises `Unavailable`."""
        self.cosigner = cosigner
        self.failure: BaseException | None = None
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise Unavailable(f"cannot listen on {host} port {port}: {error}; choose another port") from error

    def fail(self, error: BaseException) -> None:
        """Serve no more."""
        self.failure = self.failure or error


class _Handler(BaseHTTPRequestHandler):
    server: WitnessServer
    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT_S
    server_version = "tallystick"
    sys_version = ""
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self._body()
        if body is None:
            return
        if self.path != "/add-checkpoint":
            self._say(Reply(404, b"there is no such path\n"))
            return
        try:
            reply = self.server.cosigner.add(body)
        except TallystickError as error:
            # It may have been kept, or not: only a start that reads it again knows.
            self.server.fail(error)
            self.close_connection = True
            reply = Reply(503, b"the witness cannot keep what it signs; try again later\n")
        self._say(reply)

    def do_GET(self) -> None:
        where, _, name = self.path.removeprefix("/").partition("/")
        self._say(self.server.cosigner.last(where) if name == "checkpoint" else Reply(404, b"there is no such path\n"))

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            self.close_connection = True
            self._say(Reply(411, b"send Content-Length\n"))
            return None
        if int(length) > BODY_BYTES_MAX:
            self.close_connection = True
            self._say(Reply(413, b"a submission has at most %d bytes\n" % BODY_BYTES_MAX))
            return None
        return self.rfile.read(int(length))

    def _say(self, reply: Reply) -> None:
        head = (
            f"HTTP/1.1 {reply.status} {self.responses[reply.status][0]}\r\n"
            f"Content-Type: {reply.content_type}\r\nContent-Length: {len(reply.body)}\r\n"
            + ("Connection: close\r\n" if self.close_connection else "")
            + "\r\n"
        )
        # One write: two small ones would cost every client a delayed acknowledgement.
        try:
            self.wfile.write(head.encode() + reply.body)
        except (TimeoutError, OSError):
            self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:
        """Access logs are a proxy's business."""
