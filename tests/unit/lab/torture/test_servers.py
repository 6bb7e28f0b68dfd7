"""Servers are hurt by the words that their command knows, healed whatever happens, and every wound is noted."""

import threading
from pathlib import Path
from random import Random

import pytest

from tallystick.clock import SystemClock
from tallystick.errors import Invalid, Unavailable
from tallystick.lab.history import file
from tallystick.lab.history.calls import End
from tallystick.lab.torture.pulse import Pulse
from tallystick.lab.torture.servers import Server, ServerWounds, named


@pytest.fixture
def said(tmp_path: Path) -> Path:
    return tmp_path / "said"


def server(name: str, said: Path, fails_at: str = "nothing") -> Server:
    script = 'echo "$1 $2" >> "$0"; test "$2" != "$3" || { echo "no such container"; exit 3; }'
    return Server(name, ["sh", "-c", script, str(said), name, "{}", fails_at])


def wounds(tmp_path: Path, *servers: Server) -> ServerWounds:
    clock = SystemClock()
    history = file.HistoryFile(tmp_path / "h", 1)
    return ServerWounds(servers, Random(1), history, clock, threading.Event(), Pulse(lambda: 0, clock))


def test_what_was_hurt_is_healed_counted_and_noted(tmp_path: Path, said: Path) -> None:
    hurt = wounds(tmp_path, server("database", said), server("broker", said))
    hurt._hurt(hurt.servers, "kill", "start", 0.0)
    hurt._hurt(hurt.servers[1:], "pause", "unpause", 0.0)
    words = ["database kill", "broker kill", "database start", "broker start", "broker pause", "broker unpause"]
    assert said.read_text().splitlines() == words
    assert hurt.counts == {"database": {"kill": 1, "pause": 0}, "broker": {"kill": 1, "pause": 1}}
    hurt.history.add(End())
    hurt.history.close()
    noted = [wound.what for wound in file.read(hurt.history.path).wounds]
    assert noted == ["kill database", "kill broker", "start database", "start broker", "pause broker", "unpause broker"]


def test_nobody_is_hurt_any_more_once_it_is_to_stop(tmp_path: Path, said: Path) -> None:
    hurt = wounds(tmp_path, server("database", said))
    hurt.stopped.set()
    hurt.run()
    assert not said.exists()


def test_a_command_that_fails_ends_it_with_what_it_said_and_leaves_none_hurt(tmp_path: Path, said: Path) -> None:
    hurt = wounds(tmp_path, server("database", said), server("broker", said, fails_at="pause"))
    with pytest.raises(Unavailable, match="ended with code 3: no such container"):
        hurt._hurt(hurt.servers, "pause", "unpause", 0.0)
    assert said.read_text().splitlines() == ["database pause", "broker pause", "database unpause", "broker unpause"]
    with pytest.raises(Unavailable, match="no-such-program"):
        Server("x", ["no-such-program", "{}"]).do("kill")


def test_servers_are_named_with_their_commands() -> None:
    assert named(["pg=docker {} my-pg", "broker=ssh host 'svc {} kafka'"]) == [
        Server("pg", ["docker", "{}", "my-pg"]),
        Server("broker", ["ssh", "host", "svc {} kafka"]),
    ]
    for wrong in ("pg", "=docker {} pg", "pg=docker kill pg"):
        with pytest.raises(Invalid, match="--server"):
            named([wrong])
    with pytest.raises(Invalid, match="same name"):
        named(["pg=a {}", "pg=b {}"])
