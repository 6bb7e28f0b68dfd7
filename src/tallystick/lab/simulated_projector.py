"""The projector of a simulation: it follows the journal now and then, dies, begins anew, and ends where the engine is.

Its tables are in memory, so what it must survive is not here but in its own tests: here it must never see what is
lost later, and must come to the same accounts and transfers as the engine by another way.
"""

from tallystick.engine import lookups
from tallystick.engine.deciding import Decider
from tallystick.journal.files import FileJournalReader
from tallystick.lab.simulated_world import JOURNAL, World
from tallystick.projector import queries
from tallystick.projector.projection import Projection
from tallystick.projector.sqlite import SqliteTables
from tallystick.records import objects
from tallystick.records.filters import QueryFilter


class Projector:
    """One life of the process."""

    def __init__(self, world: World) -> None:
        self._projection = Projection(SqliteTables(None), FileJournalReader(JOURNAL, world.disk.another_process()))

    def step(self) -> int:
        """Take in what is durable; returns the seq after it."""
        return self._projection.catch_up()

    def compare(self, decider: Decider, tenant: int) -> None:
        """All that it shows of a tenant is what the engine shows. Raises `AssertionError` that names the first."""
        tables = self._projection.tables
        accounts = queries.query_accounts(tables, tenant, QueryFilter())
        rows, extra = lookups.accounts(decider, tenant, [account.id for account in accounts])
        assert len(rows) == len(accounts), f"the projector has {len(accounts)} accounts of tenant {tenant}"
        for mine, row, more in zip(accounts, rows, extra, strict=True):
            theirs = objects.account(row, more)
            assert mine == theirs, f"the projector shows {mine}, the engine {theirs}"
        transfers = queries.query_transfers(tables, tenant, QueryFilter())
        found = lookups.transfers(decider, tenant, [transfer.id for transfer in transfers])
        assert len(found) == len(transfers), f"the projector has {len(transfers)} transfers of tenant {tenant}"
        for shown, row in zip(transfers, found, strict=True):
            theirs_too = objects.transfer(row)
            assert shown == theirs_too, f"the projector shows {shown}, the engine {theirs_too}"

    def close(self) -> None:
        """The process is gone, and its tables with it."""
        self._projection.close()
