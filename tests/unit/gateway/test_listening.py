"""New connections, over real sockets and on the gateway's own loop."""

import asyncio
import errno
import os
import resource
import socket

import pytest
import uvloop

from tallystick.gateway import listening
from tallystick.gateway.listening import Listeners

TURNS = 10
MANY = 200


class Counting(asyncio.Protocol):
    """Counts the connections that stand."""

    made = 0

    def connection_made(self, transport):
        Counting.made += 1


def on_a_loop(test):
    Counting.made = 0
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test())


async def turns(count):
    for _ in range(count):
        await asyncio.sleep(0)


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def test_all_that_wait_are_taken_within_a_few_turns_of_the_loop():
    async def test():
        listeners = Listeners(Counting)
        port = listeners.open("127.0.0.1", 0)
        waiting = [connect(port) for _ in range(MANY)]
        await turns(TURNS)
        assert Counting.made == MANY
        listeners.close()
        for each in waiting:
            each.close()

    on_a_loop(test)


def test_a_port_is_one_gateway_s_alone():
    async def test():
        first, second = Listeners(Counting), Listeners(Counting)
        port = first.open("127.0.0.1", 0)
        with pytest.raises(OSError, match="in use") as found:
            second.open("127.0.0.1", port)
        assert found.value.errno == errno.EADDRINUSE
        first.close()
        assert second.open("127.0.0.1", port) == port
        second.close()
        with pytest.raises(ConnectionRefusedError):
            connect(port)

    on_a_loop(test)


def test_a_name_is_listened_on_at_all_its_addresses():
    async def test():
        listeners = Listeners(Counting)
        port = listeners.open("localhost", 0)
        addresses = {entry[4][0] for entry in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM)}
        for address in addresses:
            socket.create_connection((address, port), timeout=5).close()
        listeners.close()

    on_a_loop(test)


def test_who_comes_when_no_descriptor_is_left_waits_until_there_is_one(monkeypatch):
    monkeypatch.setattr(listening, "PAUSE_S", 0.01)

    async def test():
        listeners = Listeners(Counting)
        port = listeners.open("127.0.0.1", 0)
        await turns(1)
        client = connect(port)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        in_use = max(int(name) for name in os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (in_use, hard))
        filler = []
        try:
            while True:
                try:
                    filler.append(os.dup(0))
                except OSError:
                    break
            await turns(TURNS)
            assert Counting.made == 0
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for each in filler:
                os.close(each)
        deadline_s = asyncio.get_running_loop().time() + 20
        while not Counting.made and asyncio.get_running_loop().time() < deadline_s:
            await asyncio.sleep(0.01)
        assert Counting.made == 1
        client.close()
        listeners.close()

    on_a_loop(test)
