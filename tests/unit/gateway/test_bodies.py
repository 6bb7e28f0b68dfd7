"""A body is read within its limits of size and time, whoever sends it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tallystick.gateway.bodies import BodyReader
from tallystick.gateway.problems import Problem


class Pieces:
    """A body that comes in pieces, and then perhaps never ends."""

    def __init__(self, *pieces: bytes, ends: bool = True) -> None:
        self.pieces = pieces
        self.ends = ends
        self.taken = 0

    async def __call__(self) -> bytes:
        return b"".join([piece async for piece in self])

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            self.taken += 1
            yield piece
        if not self.ends:
            await asyncio.get_running_loop().create_future()


CHUNKED = {"transfer-encoding": "chunked"}


def read(stream: Pieces, headers: dict[str, str], bytes_max: int = 10, seconds_max: float = 20.0) -> bytes:
    async def go() -> bytes:
        return await BodyReader(bytes_max, seconds_max).read(stream, headers)

    return asyncio.run(go())


def problem(stream: Pieces, headers: dict[str, str], **limits: float) -> Problem:
    with pytest.raises(Problem) as caught:
        read(stream, headers, **limits)  # type: ignore[arg-type]
    return caught.value


def test_a_body_within_its_limits_is_read_whole() -> None:
    assert read(Pieces(b"12345", b"67890"), {"content-length": "10"}) == b"1234567890"
    assert read(Pieces(b"12345", b"", b"67890"), CHUNKED) == b"1234567890"
    assert read(Pieces(), {"content-length": "0"}) == b""


def test_a_length_beyond_the_limit_is_refused() -> None:
    stream = Pieces(b"12345", b"67890", b"1")
    found = problem(stream, {"content-length": "11"})
    assert (found.type.name, found.members["limit_bytes"]) == ("body_too_large", 10)
    assert stream.taken == 3  # read to its end, so that the client sees the answer


def test_a_length_far_beyond_the_limit_is_refused_unread() -> None:
    for length in ("8388619", "9" * 400):
        stream = Pieces(b"x")
        assert problem(stream, {"content-length": length}).type.name == "body_too_large"
        assert stream.taken == 0


def test_a_chunked_body_far_beyond_the_limit_is_cut_off() -> None:
    mebibyte = bytes(1 << 20)
    stream = Pieces(*[mebibyte] * 1000)
    assert problem(stream, CHUNKED).type.name == "body_too_large"
    assert stream.taken == 9


def test_a_body_without_any_length_is_refused() -> None:
    assert problem(Pieces(b"x"), {}).type.name == "length_required"


@pytest.mark.parametrize("headers", [CHUNKED, {"content-length": "10"}])
def test_a_body_that_does_not_arrive_in_time_is_given_up(headers: dict[str, str]) -> None:
    found = problem(Pieces(b"x", ends=False), headers, seconds_max=0.02)
    assert found.type.name == "body_too_slow"
    assert found.headers["connection"] == "close"


def test_a_slow_body_does_not_end_the_quick_ones_beside_it() -> None:
    async def go() -> None:
        reader = BodyReader(10, 0.05)
        slow = asyncio.ensure_future(reader.read(Pieces(b"x", ends=False), CHUNKED))
        while not slow.done():
            assert await reader.read(Pieces(b"quick"), CHUNKED) == b"quick"
            await asyncio.sleep(0.005)
        assert isinstance(slow.exception(), Problem)

    asyncio.run(go())


def test_a_task_that_others_cancel_is_cancelled() -> None:
    async def go() -> None:
        reading = asyncio.ensure_future(BodyReader(10, 20.0).read(Pieces(ends=False), CHUNKED))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    asyncio.run(go())
