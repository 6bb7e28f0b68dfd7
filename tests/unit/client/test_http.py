import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tallystick.client.http import Answer, Api
from tallystick.errors import Invalid, OutcomeUnknown, Unavailable


@contextmanager
def server(reply: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A socket that reads one request and answers these bytes, then closes."""
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                data = b""
                while b"\r\n\r\n" not in data:
                    data += connection.recv(65536)
                seen.append(data)
                connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", seen
        thread.join(timeout=20)


def test_a_request_carries_the_key_and_the_answer_comes_back_whole() -> None:
    with server(b'HTTP/1.1 422 X\r\nContent-Length: 9\r\nRetry-After: 1\r\n\r\n{"a": 1}\n') as (url, seen):
        answer = Api(url, "sk_secret").ask("GET", "/v1/x", headers={"Idempotency-Key": "k"})
    assert (answer.status, answer.json(), answer.headers["retry-after"]) == (422, {"a": 1}, "1")
    assert seen[0].startswith(b"GET /v1/x HTTP/1.1\r\n")
    assert b"Authorization: Bearer sk_secret\r\n" in seen[0]
    assert b"Idempotency-Key: k\r\n" in seen[0]


def test_no_connection_means_that_nothing_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unavailable, match="tally up"):
        Api(f"http://127.0.0.1:{port}", "k").ask("POST", "/", b"{}")


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{", b"garbage\r\n\r\n"])
def test_a_connection_that_breaks_after_sending_leaves_the_outcome_unknown(reply: bytes) -> None:
    with server(reply) as (url, _), pytest.raises(OutcomeUnknown):
        Api(url, "k").ask("POST", "/", b"{}")


def test_a_redirect_is_not_followed() -> None:
    with server(b"HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n") as (url, _):
        assert Api(url, "k").ask("POST", "/", b"{}").status == 307


@pytest.mark.parametrize("url", ["127.0.0.1:7400", "ftp://x", "http://", "http://x/?a=1", ""])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(Invalid, match="http://127"):
        Api(url, "k")


def test_a_body_that_is_no_object_reads_as_empty() -> None:
    assert Answer(500, {}, b"<html>").json() == {}
    assert Answer(200, {}, b"[1]").json() == {}
