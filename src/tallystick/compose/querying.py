"""Queries in process: the projection behind a `Ledger`, opened when first asked, and the calls that ask it.

A ledger that is never queried has no projection and pays nothing. The first query takes in the whole journal, about
20 s a million transfers; each later one what came since.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import structlog

from tallystick.blockfile.disk import Disk
from tallystick.compose.projecting import Kept
from tallystick.errors import Invalid, Unavailable
from tallystick.journal.port import JournalReader
from tallystick.projector import queries
from tallystick.projector.port import Tables
from tallystick.projector.projection import Projection
from tallystick.projector.sqlite import SqliteTables
from tallystick.records.changes import AccountBalance, ChangeEvent
from tallystick.records.filters import AccountFilter, ChangeEventsFilter, QueryFilter
from tallystick.records.objects import Account, Transfer

_log = structlog.get_logger("tallystick.compose.querying")
_Filter = TypeVar("_Filter", AccountFilter, QueryFilter, ChangeEventsFilter)
_Found = TypeVar("_Found")
_Query = Callable[[Tables, int, _Filter], list[_Found]]


class Queries:
    """A projection that is brought up to date before each answer. Safe for many threads; they take turns."""

    def __init__(self, open_journal: Callable[[], JournalReader], disk: Disk, folder: Path | None) -> None:
        """`folder` is the projection's, made when first asked; None: kept in memory. The journal is read apart."""
        self._open_journal = open_journal
        self._disk = disk
        self._kept = None if folder is None else Kept(folder)
        self._journal: JournalReader | None = None
        self._projection: Projection | None = None
        self._turn = threading.Lock()
        self._closed = False
        self._threads = ThreadPoolExecutor(1, "tally-queries")  # starts none before the first coroutine asks

    def ask(self, query: "_Query[_Filter, _Found]", tenant: int, asked: _Filter) -> list[_Found]:
        """The answer, as of a moment after the call: all that was durable at the call is in it.

        Raises `Invalid` for a filter that breaks a rule, `Corrupt` if an entry of the journal cannot be applied.
        """
        asked.check()
        if not 0 <= tenant < 1 << 64:
            raise Invalid("tenant", "must be between 0 and 2^64 - 1")
        with self._turn:
            projection = self._opened()
            projection.catch_up()
            with projection.tables.telling():
                return query(projection.tables, tenant, asked)

    async def ask_aio(self, query: "_Query[_Filter, _Found]", tenant: int, asked: _Filter) -> list[_Found]:
        """The same, without blocking the event loop."""
        if self._closed:
            raise Unavailable(_CLOSED)
        return await asyncio.wrap_future(self._threads.submit(self.ask, query, tenant, asked))

    def _opened(self) -> Projection:
        if self._closed:
            raise Unavailable(_CLOSED)
        if self._projection is None:
            self._journal = self._journal or self._open_journal()
            kept = self._kept
            tables = SqliteTables(None) if kept is None else kept.writer(self._disk, _log.warning)
            self._projection = Projection(tables, self._journal)
        return self._projection

    def close(self) -> None:
        """Finish the query at hand and let go of the file."""
        with self._turn:
            self._closed = True
            if self._projection is not None:
                self._projection.close()
            if self._journal is not None:
                self._journal.close()
        self._threads.shutdown()


_CLOSED = "the ledger is closed; open it again"


class LedgerQueries:
    """TigerBeetle's queries, of a `Ledger`. Each answer holds all that was durable when it was asked.

    Raises `Invalid`, naming the field, for a filter that breaks a rule. At most 8,190 results come; page by timestamp.
    """

    _queries: Queries

    def get_account_transfers(self, asked: AccountFilter, *, tenant: int = 1) -> list[Transfer]:
        """Transfers of one account, oldest first."""
        return self._queries.ask(queries.get_account_transfers, tenant, asked)

    def get_account_balances(self, asked: AccountFilter, *, tenant: int = 1) -> list[AccountBalance]:
        """Balances of one account after each of those transfers, if it has the flag `history`."""
        return self._queries.ask(queries.get_account_balances, tenant, asked)

    def query_accounts(self, asked: QueryFilter, *, tenant: int = 1) -> list[Account]:
        """Accounts by their fields, oldest first."""
        return self._queries.ask(queries.query_accounts, tenant, asked)

    def query_transfers(self, asked: QueryFilter, *, tenant: int = 1) -> list[Transfer]:
        """Transfers by their fields, oldest first."""
        return self._queries.ask(queries.query_transfers, tenant, asked)

    def get_change_events(self, asked: ChangeEventsFilter, *, tenant: int = 1) -> list[ChangeEvent]:
        """All that changed balances, in order of decision: transfers, expiries, approvals and rejections."""
        return self._queries.ask(queries.get_change_events, tenant, asked)


class AsyncLedgerQueries:
    """`LedgerQueries` as coroutines."""

    _queries: Queries

    async def get_account_transfers(self, asked: AccountFilter, *, tenant: int = 1) -> list[Transfer]:
        """See `LedgerQueries.get_account_transfers`."""
        return await self._queries.ask_aio(queries.get_account_transfers, tenant, asked)

    async def get_account_balances(self, asked: AccountFilter, *, tenant: int = 1) -> list[AccountBalance]:
        """See `LedgerQueries.get_account_balances`."""
        return await self._queries.ask_aio(queries.get_account_balances, tenant, asked)

    async def query_accounts(self, asked: QueryFilter, *, tenant: int = 1) -> list[Account]:
        """See `LedgerQueries.query_accounts`."""
        return await self._queries.ask_aio(queries.query_accounts, tenant, asked)

    async def query_transfers(self, asked: QueryFilter, *, tenant: int = 1) -> list[Transfer]:
        """See `LedgerQueries.query_transfers`."""
        return await self._queries.ask_aio(queries.query_transfers, tenant, asked)

    async def get_change_events(self, asked: ChangeEventsFilter, *, tenant: int = 1) -> list[ChangeEvent]:
        """See `LedgerQueries.get_change_events`."""
        return await self._queries.ask_aio(queries.get_change_events, tenant, asked)
