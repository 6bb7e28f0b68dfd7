"""The reference of `tally bench follow`, case `notifier`: a client that posts to a URL so many times, and nothing else.

Run as `python -m tallystick.lab.bare_posts URL COUNT HANDS BYTES`.
"""

import asyncio
import sys

import aiohttp
import uvloop


async def _post(url: str, count: int, hands: int, size: int) -> None:
    left = iter(range(count))
    body = b"x" * size
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def hand() -> None:
            for _ in left:
                async with session.post(url, data=body, allow_redirects=False) as answer:
                    await answer.read()

        await asyncio.gather(*(hand() for _ in range(hands)))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_post(sys.argv[1], *map(int, sys.argv[2:5])))
