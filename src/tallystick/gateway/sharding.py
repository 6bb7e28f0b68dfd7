"""Which shard answers for whom: the tenant comes from the key, its shard from the directory (ADR 0016).

The directory is read again when its file changes, as the keys are. It may be behind by a moment; the engines are the
fence, and refuse tenants that are elsewhere. Who waits for an outcome hears so from them. Who does not is told that it
will be decided only after another look, at the directory as it is once the request is durable: a gateway may have been
stopped in between for as long as a tenant takes to move.
"""

from collections.abc import Sequence
from pathlib import Path

import structlog

from tallystick import directory
from tallystick.errors import TallystickError
from tallystick.gateway.answering import elsewhere
from tallystick.gateway.calls import Service
from tallystick.gateway.problems import Problem, unavailable
from tallystick.records.placements import Home

RECHECK_S = 0.1


class Shards:
    """The services of all shards, by number. Lives on the event loop."""

    def __init__(self, services: Sequence[Service], where: Path) -> None:
        """`where` is the directory's file."""
        self.services = services
        self._where = where
        self._homes: dict[int, Home] = {}
        self._seen: tuple[int, int, int] | None = None
        self._checked_at_s = float("-inf")
        self._log = structlog.get_logger("tallystick.gateway.sharding")

    def service_of(self, tenant: int, now_s: float) -> Service:
        """That of the shard where the tenant lives, at monotonic time `now_s`; shard 0 if nobody placed it.

        Raises the problem `unavailable` while the tenant is being moved.
        """
        if now_s - self._checked_at_s >= RECHECK_S:
            self._checked_at_s = now_s
            self._reload()
        home = self._homes.get(tenant)
        if home is None:
            return self.services[0]
        if home.moving:
            raise elsewhere()
        if home.shard >= len(self.services):
            raise unavailable(f"this gateway was not told of shard {home.shard}: its TALLY_SHARDS is too low", 10)
        return self.services[home.shard]

    def doubt(self, number: int, tenant: int) -> Problem | None:
        """Why shard `number` may not decide what is durable in its lanes by now; None: it will.

        The directory names a tenant that is to leave before its shard stops deciding for it, and that stops only when
        nothing waits: so what was durable before it was named is decided.
        """
        if not self._reload():
            return unavailable(
                "nobody knows where this tenant lives just now; send the request again, with the same key"
            )
        if self._homes.get(tenant, Home(0)) == Home(number):
            return None
        return unavailable("this tenant moves to another shard; send the request again, with the same key")

    def _reload(self) -> bool:
        """Take over a changed file; if it cannot be read that is reported, and the last one goes on being used.

        Returns whether it is known what the file says.
        """
        try:
            found = self._where.stat()
            seen = (found.st_mtime_ns, found.st_size, found.st_ino)
        except FileNotFoundError:
            return True  # nobody was placed yet, or it is made again just now: what was known is true still
        except OSError as error:
            self._log.error("the directory of tenants cannot be read; the last one is used", error=str(error))
            return False
        if seen == self._seen:
            return True
        try:
            self._homes = directory.read(self._where)
        except TallystickError as error:
            self._log.error("the directory of tenants cannot be read; the last one is used", error=str(error))
            return False
        self._seen = seen
        self._log.info("directory loaded", tenants=len(self._homes))
        return True
