"""What is done to the servers behind the platform, a database and a broker: killed and started again, paused.

They are the user's, so torture knows no more of each than a command, in which `{}` becomes `kill`, `start`, `pause` or
`unpause`: the words of docker and podman, and of `python -m services` for those of `make services`.
"""

import shlex
import subprocess
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from tallystick.clock import SystemClock
from tallystick.errors import Invalid, Unavailable
from tallystick.lab.history.calls import Wound
from tallystick.lab.history.file import HistoryFile
from tallystick.lab.torture.pulse import Pulse

BETWEEN_S = (1.0, 6.0)
BREATHER = 0.6
"""How often the next wound waits until the platform decides again."""
DOWN_S = (0.0, 4.0)
"""Between a kill and the start."""
PAUSED_S = (0.2, 8.0)
"""Longer than some heartbeats and deadlines, shorter than others."""
ALL_AT_ONCE = 0.15
"""How often all servers are hurt together."""
COMMAND_S_MAX = 120.0
MARK = "{}"


@dataclass(frozen=True, slots=True)
class Server:
    """One server, and the command that it obeys."""

    name: str
    command: Sequence[str]

    def do(self, word: str) -> None:
        """`kill`, `start`, `pause` or `unpause`. Raises `Unavailable` with what the command said if it fails."""
        words = [part.replace(MARK, word) for part in self.command]
        try:
            # in a session of its own: Ctrl-C is ours, and what is paused must still be let go on
            done = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
                timeout=COMMAND_S_MAX,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"{shlex.join(words)}: {error}") from error
        if done.returncode:
            raise Unavailable(f"{shlex.join(words)} ended with code {done.returncode}: {done.stdout.strip()[-500:]}")


def named(given: Sequence[str]) -> list[Server]:
    """The servers of `--server NAME=COMMAND`. Raises `Invalid` for what is none."""
    found = []
    for each in given:
        name, equals, command = each.partition("=")
        words = shlex.split(command)
        if not name or not equals or not any(MARK in word for word in words):
            raise Invalid("--server", f"{each!r} is not NAME=COMMAND with {MARK} where kill, start, pause, unpause go")
        found.append(Server(name, words))
    if len({server.name for server in found}) < len(found):
        raise Invalid("--server", "two have the same name")
    return found


@dataclass
class ServerWounds:
    """Hurts servers, one wound after the other, until told to stop. All chance is the seed's."""

    servers: Sequence[Server]
    random: Random
    history: HistoryFile
    clock: SystemClock
    stopped: threading.Event
    pulse: Pulse
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    """By server: `kill` and `pause`."""
    latest: str = ""

    def __post_init__(self) -> None:
        self.counts = {server.name: Counter(kill=0, pause=0) for server in self.servers}

    def run(self) -> None:
        """Wound after wound; leaves every server running. Raises `Unavailable` if a command fails."""
        while self.servers and not self.stopped.wait(self.random.uniform(*BETWEEN_S)):
            if self.random.random() < BREATHER:
                self.pulse.wait(self.stopped)
            together = self.random.random() < ALL_AT_ONCE
            chosen = list(self.servers) if together else [self.random.choice(self.servers)]
            hurt, heal, lasts = (
                ("kill", "start", DOWN_S) if self.random.random() < 0.5 else ("pause", "unpause", PAUSED_S)
            )
            self._hurt(chosen, hurt, heal, self.random.uniform(*lasts))

    def _hurt(self, chosen: Sequence[Server], hurt: str, heal: str, seconds: float) -> None:
        wounded = []
        try:
            for server in chosen:
                wounded.append(server)
                server.do(hurt)
                self.counts[server.name][hurt] += 1
                self._note(f"{hurt} {server.name}")
            self.stopped.wait(seconds)
        finally:
            for server in wounded:
                server.do(heal)
                self._note(f"{heal} {server.name}")

    def _note(self, what: str) -> None:
        self.latest = what
        self.history.add(Wound(at_ns=self.clock.monotonic_ns(), what=what))
