"""Telling engines where tenants live, and what the directory says (ADR 0016): what `tally shard` does."""

from collections import Counter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tallystick import directory
from tallystick.answers import wire
from tallystick.answers.addresses import address
from tallystick.clock import system_entropy
from tallystick.compose import shards
from tallystick.compose.lines import Line
from tallystick.errors import Invalid
from tallystick.records.placements import Home, home
from tallystick.settings import Settings

Rows = npt.NDArray[np.void]


class Standing(NamedTuple):
    """How a tenant stands in a shard's books, as its engine tells."""

    home: Home | None
    accounts: int
    digest: bytes


class Engine(Line):
    """One engine, to be told something."""

    def __init__(self, settings: Settings) -> None:
        """Raises `Unavailable` if it does not run."""
        name = f"the engine of shard {settings.shard}"
        self._client = system_entropy(wire.TOPIC_SIZE)
        self._query = 0
        greeting = wire.encode(wire.Subscription(self._client))
        super().__init__(address(settings.data).path, name, f"{name} does not run; `tally up` starts it", greeting)

    def place(self, tenant: int, where: Home) -> None:
        """Have it take in where a tenant lives; durable there on return. Raises `Invalid`, `Unavailable`."""
        self._query += 1
        self._ask(wire.Placement(self._client, self._query, tenant, where.shard, where.moving))

    def carry(self, tenant: int, entries: Rows, details: Rows) -> int:
        """Have it take in a block of a tenant's entries; durable on return: where the first of them stands."""
        self._query += 1
        message = wire.Carriage(self._client, self._query, tenant, entries.tobytes(), details.tobytes())
        return self._ask(message).position - len(entries) - 1  # behind them stands the seal

    def standing(self, tenant: int) -> Standing:
        """How the tenant stands there."""
        self._query += 1
        told = self._ask(wire.StandingQuery(self._client, self._query, tenant)).payload
        number, accounts = (int.from_bytes(told[at : at + 8], "little") for at in (0, 8))
        return Standing(home(number), accounts, told[16:])

    def _ask(self, message: wire.Sent) -> wire.Reply:
        for one in self.asked(wire.encode(message)):
            found = wire.decode_outbound(one[wire.TOPIC_SIZE :])
            if isinstance(found, wire.Reply) and found.query == self._query:
                if found.status == wire.REFUSED:
                    raise Invalid("tenant", found.payload.decode())
                return found
        raise AssertionError("unreachable")


def homes(settings: Settings) -> dict[int, Home]:
    """By tenant, where each lives that was placed. Raises `Corrupt`, `Unavailable`."""
    return directory.read(directory.path(settings.data))


def add(settings: Settings, tenant: int, number: int | None = None) -> int:
    """Place a new tenant in a shard, or in the emptiest; returns which. Durable on return; again it changes nothing.

    The shard is told first and the directory last: until then nobody sends it there. Raises `Invalid` for a tenant that
    lives elsewhere, or a shard that there is not; `Unavailable` while one of the two engines does not run.
    """
    known, numbers = homes(settings), shards.there(settings.data)
    there = known.get(tenant)
    if there is not None:
        if number not in (None, there.shard):
            raise Invalid("tenant", f"{tenant} lives in shard {there.shard}; `tally shard move` moves it")
        number = there.shard
    if number is None:
        number = emptiest(settings)
    if number not in numbers:
        raise Invalid("shard", f"there is no shard {number}; there are {', '.join(map(str, numbers))}")
    if number != 0:  # asked before anything is told, or shard `number` would believe what shard 0 refuses
        with Engine(settings) as engine:
            if there is None and engine.standing(tenant).accounts:
                raise Invalid("tenant", f"{tenant} has accounts in shard 0; `tally shard move` takes them along")
    for each in dict.fromkeys((number, 0)):
        with Engine(shards.of(settings, each)) as engine:
            engine.place(tenant, Home(number))
    return number


def emptiest(settings: Settings) -> int:
    """The shard with the fewest tenants placed in it; of those with as few, the one with the fewest entries."""
    from tallystick.blockfile.disk import SystemDisk
    from tallystick.compose.journals import Place

    tenants = Counter(where.shard for where in homes(settings).values())
    found = []
    for each in shards.all_of(settings):
        reader = Place.of(each).reader(SystemDisk())
        try:
            found.append((tenants[each.shard], reader.end(), each.shard))
        finally:
            reader.close()
    return min(found)[2]
