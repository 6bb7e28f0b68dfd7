"""`Ledger`: the engine as a library. No server, no intake; durable when it returns.

    ledger = Ledger.open("books")
    ledger.create_transfers([Transfer(id=1, debit_account_id=…, …)])

Safe for many threads and coroutines at once: calls that come together are decided together and share one sync.
"""

import asyncio
import operator
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, overload

import numpy as np
import numpy.typing as npt

from tallystick import ids
from tallystick.blockfile.disk import SystemDisk
from tallystick.clock import Clock, Entropy, SystemClock, system_entropy
from tallystick.compose import kernel_cache
from tallystick.compose.projecting import FOLDER_NAME
from tallystick.compose.querying import AsyncLedgerQueries, LedgerQueries, Queries
from tallystick.compose.waiters import CoroutineWaiter, ThreadWaiter
from tallystick.errors import Invalid, Unavailable
from tallystick.records import commands as records
from tallystick.records import objects
from tallystick.records.commands import COMMANDS_MAX, EVENTS, Kind, Opcode, Side
from tallystick.records.objects import (
    Account,
    Control,
    ControlResult,
    CreateAccountResult,
    CreateTransferResult,
    Transfer,
)
from tallystick.settings import SEGMENT_BYTES_MIN
from tallystick.statuses import AccountStatus, ControlStatus, TransferStatus

Rows = npt.NDArray[np.void]
_Result = TypeVar("_Result", CreateAccountResult, CreateTransferResult, ControlResult)

ACCOUNTS_MAX = 16_000_000
PENDINGS_MAX = 4_000_000
WINDOW_IDS = 262_144
SEGMENT_BYTES = 67_108_864


class Ledger(LedgerQueries):
    """A ledger in this process, with TigerBeetle's operations. Open one with `open` or `in_memory`; close it.

    Every call takes whole requests of 1 to 8,190 events and returns when their outcome is durable. `request_id`
    makes a retry safe: the same id with the same content gets the first results again; without one, only the
    transfers' own ids protect. Tenants (default 1) see nothing of each other.

    Errors: `Invalid` for events that cannot be encoded or a request id used before with other content;
    `OutcomeUnknown` and others of `tallystick.errors` if the journal fails: the ledger is then closed for good,
    open it again and ask.
    """

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        clock: Clock | None = None,
        entropy: Entropy = system_entropy,
        accounts_max: int = ACCOUNTS_MAX,
        pendings_max: int = PENDINGS_MAX,
        window_ids: int = WINDOW_IDS,
        segment_bytes: int = SEGMENT_BYTES,
        accept_clock: bool = False,
        journal: str = "files",
    ) -> "Ledger":
        """The ledger kept in folder `path`, made if it is not there. One process at a time: else `Fenced`.

        With `journal` the URL of a PostgreSQL database (docs/postgresql.md), its entries are kept there, and in the
        folder only what is derived from them.

        Raises `Corrupt` if what is stored breaks a promise, `Unavailable` if the clock is over a day ahead of it,
        `Invalid` if a segment would not hold the largest block.
        """
        if segment_bytes < SEGMENT_BYTES_MIN:
            raise Invalid("segment_bytes", f"must be at least {SEGMENT_BYTES_MIN:,}: the largest block must fit")
        _ready()
        from tallystick.compose.journals import Place
        from tallystick.compose.parts import open_files

        folder, disk = Path(path), SystemDisk()
        place = Place.named(folder, journal)
        return cls(
            open_files(
                folder,
                disk,
                clock or SystemClock(),
                entropy,
                accounts_max=accounts_max,
                pendings_max=pendings_max,
                window_ids=window_ids,
                segment_bytes=segment_bytes,
                accept_clock=accept_clock,
                journal_at=journal,
            ),
            clock or SystemClock(),
            entropy,
            Queries(lambda: place.reader(disk), disk, folder / FOLDER_NAME),
        )

    @classmethod
    def in_memory(
        cls,
        *,
        clock: Clock | None = None,
        entropy: Entropy = system_entropy,
        accounts_max: int = 1_000_000,
        window_ids: int = 16_384,
    ) -> "Ledger":
        """A ledger that ends with the process: for tests and trials."""
        _ready()
        from tallystick.compose.parts import open_memory
        from tallystick.journal.memory import MemoryJournal, MemoryJournalReader

        parts = open_memory(clock or SystemClock(), entropy, accounts_max=accounts_max, window_ids=window_ids)
        journal = parts.journal
        assert isinstance(journal, MemoryJournal)
        queries = Queries(lambda: MemoryJournalReader(journal.kept), SystemDisk(), None)
        ledger = cls(parts, clock or SystemClock(), entropy, queries)
        ledger._in_memory = True
        return ledger

    def __init__(self, parts: Any, clock: Clock, entropy: Entropy, queries: Queries | None = None) -> None:
        """Use `open` or `in_memory`."""
        from tallystick.compose.callers import Callers

        self._callers = Callers(parts)
        self._in_memory = False
        self._queries = queries or Queries(_no_journal, SystemDisk(), None)
        self._clock = clock
        self._minter = ids.Minter(entropy)
        self.aio = AsyncLedger(self)
        """The same operations as coroutines."""

    @overload
    def create_accounts(
        self, accounts: Sequence[Account], *, tenant: int = 1, request_id: int | None = None
    ) -> list[CreateAccountResult]: ...
    @overload
    def create_accounts(self, accounts: Rows, *, tenant: int = 1, request_id: int | None = None) -> Rows: ...
    def create_accounts(
        self, accounts: Sequence[Account] | Rows, *, tenant: int = 1, request_id: int | None = None
    ) -> list[CreateAccountResult] | Rows:
        """Open accounts: objects, or `records.commands.ACCOUNT_EVENT` rows (then `RESULT` rows come back)."""
        return _shown(accounts, self._ask(Kind.ACCOUNT, accounts, tenant, request_id), _account_result)

    @overload
    def create_transfers(
        self, transfers: Sequence[Transfer], *, tenant: int = 1, request_id: int | None = None
    ) -> list[CreateTransferResult]: ...
    @overload
    def create_transfers(self, transfers: Rows, *, tenant: int = 1, request_id: int | None = None) -> Rows: ...
    def create_transfers(
        self, transfers: Sequence[Transfer] | Rows, *, tenant: int = 1, request_id: int | None = None
    ) -> list[CreateTransferResult] | Rows:
        """Move money: objects, or `records.commands.TRANSFER_EVENT` rows (then `RESULT` rows come back)."""
        return _shown(transfers, self._ask(Kind.TRANSFER, transfers, tenant, request_id), _transfer_result)

    def control(
        self, controls: Sequence[Control] | Rows, *, tenant: int = 1, request_id: int | None = None
    ) -> list[ControlResult] | Rows:
        """Freeze, unfreeze, set credit limits."""
        return _shown(controls, self._ask(Kind.CONTROL, controls, tenant, request_id), _control_result)

    def freeze(self, account_id: int, side: Side = Side.BOTH, *, tenant: int = 1) -> ControlStatus:
        """Stop an account's debits, credits, or both."""
        return self._control_one(Control(account_id=account_id, opcode=Opcode.FREEZE, value=side), tenant)

    def unfreeze(self, account_id: int, side: Side = Side.BOTH, *, tenant: int = 1) -> ControlStatus:
        """Let an account's debits, credits, or both go again."""
        return self._control_one(Control(account_id=account_id, opcode=Opcode.UNFREEZE, value=side), tenant)

    def set_credit_limit(self, account_id: int, limit: int, *, tenant: int = 1) -> ControlStatus:
        """How far debits may pass credits, in minor units, where `debits_must_not_exceed_credits` is set."""
        return self._control_one(Control(account_id=account_id, opcode=Opcode.CREDIT_LIMIT, value=limit), tenant)

    def lookup_accounts(self, account_ids: Sequence[int], *, tenant: int = 1) -> list[Account]:
        """Those of the accounts that exist, in order, as of now."""
        waiter = ThreadWaiter()
        self._callers.look_up(waiter, _accounts(account_ids, tenant))
        return waiter.wait()  # type: ignore[no-any-return]

    def lookup_transfers(self, transfer_ids: Sequence[int], *, tenant: int = 1) -> list[Transfer]:
        """Those of the transfers that were created, in order: `amount` is what moved, `timestamp` when (ns)."""
        waiter = ThreadWaiter()
        self._callers.look_up(waiter, _transfers(transfer_ids, tenant))
        return waiter.wait()  # type: ignore[no-any-return]

    def set_balances(
        self,
        account_id: int,
        debits_pending: int = 0,
        debits_posted: int = 0,
        credits_pending: int = 0,
        credits_posted: int = 0,
        *,
        tenant: int = 1,
    ) -> None:
        """For tests of what happens near an overflow: balances (minor units) out of nowhere, with no entry.

        Only of a ledger `in_memory`: raises `Invalid` for any other, and for an account that is not there.
        """
        if not self._in_memory:
            raise Invalid("set_balances", "is for tests, of ledgers in memory")
        asked = _check_look_up([account_id], tenant)
        balances = _check_look_up([debits_pending, debits_posted, credits_pending, credits_posted], tenant)
        waiter = ThreadWaiter()
        self._callers.look_up(waiter, lambda decider: decider.bookkeeper.set_balances(tenant, asked[0], *balances))
        if not waiter.wait():
            raise Invalid("account_id", "there is no such account")

    def close(self) -> None:
        """Finish what was asked, then let go of the folder."""
        self._queries.close()
        self._callers.close()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def statistics(self) -> dict[str, int]:
        """Blocks and bytes written, accounts, entries: what `tally bench` and operators look at."""
        return self._callers.statistics()

    def packed(
        self, kind: Kind, events: Sequence[Any] | Rows, tenant: int, request_id: int | None
    ) -> bytes | npt.NDArray[np.void]:
        """The command records of one request. Raises `Invalid`."""
        submitted_at = self._clock.wall_ns()
        request = self._minter.mint(submitted_at) if request_id is None else request_id
        if not 0 < request < ids.ID_MAX:
            raise Invalid("request_id", "must be between 1 and 2^128 - 2")
        if not 0 <= tenant < 1 << 64:
            raise Invalid("tenant", "must be between 0 and 2^64 - 1")
        if not 1 <= len(events) <= COMMANDS_MAX:
            raise Invalid("events", f"a request holds 1 to {COMMANDS_MAX} events, not {len(events)}")
        if isinstance(events, np.ndarray):
            if events.dtype != EVENTS[kind]:
                raise Invalid("events", f"rows must have the dtype of a {kind.name.lower()} event (records.commands)")
            return records.frame(np.ascontiguousarray(events).tobytes(), kind, tenant, request, submitted_at)
        if len(events) == 1:
            return records.pack_one(_PACK[kind](events[0]), kind, tenant, request, submitted_at)[0]
        return records.frame(objects.pack_all(events, _PACK[kind]), kind, tenant, request, submitted_at)

    def _ask(self, kind: Kind, events: Sequence[Any] | Rows, tenant: int, request_id: int | None) -> Rows | list[Any]:
        waiter = ThreadWaiter()
        self._callers.ask(waiter, self.packed(kind, events, tenant, request_id), len(events))
        return waiter.wait()  # type: ignore[no-any-return]

    def _control_one(self, control: Control, tenant: int) -> ControlStatus:
        return _control_result(*self._ask(Kind.CONTROL, [control], tenant, None)[0]).status


class AsyncLedger(AsyncLedgerQueries):
    """`Ledger`'s operations as coroutines, for the running event loop. Reached as `ledger.aio`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._queries = ledger._queries

    async def create_accounts(
        self, accounts: Sequence[Account] | Rows, *, tenant: int = 1, request_id: int | None = None
    ) -> list[CreateAccountResult] | Rows:
        """See `Ledger.create_accounts`."""
        return _shown(accounts, await self._ask(Kind.ACCOUNT, accounts, tenant, request_id), _account_result)

    async def create_transfers(
        self, transfers: Sequence[Transfer] | Rows, *, tenant: int = 1, request_id: int | None = None
    ) -> list[CreateTransferResult] | Rows:
        """See `Ledger.create_transfers`."""
        return _shown(transfers, await self._ask(Kind.TRANSFER, transfers, tenant, request_id), _transfer_result)

    async def control(
        self, controls: Sequence[Control] | Rows, *, tenant: int = 1, request_id: int | None = None
    ) -> list[ControlResult] | Rows:
        """See `Ledger.control`."""
        return _shown(controls, await self._ask(Kind.CONTROL, controls, tenant, request_id), _control_result)

    async def lookup_accounts(self, account_ids: Sequence[int], *, tenant: int = 1) -> list[Account]:
        """See `Ledger.lookup_accounts`."""
        waiter = CoroutineWaiter(asyncio.get_running_loop())
        self._ledger._callers.look_up(waiter, _accounts(account_ids, tenant))
        return await waiter.future  # type: ignore[no-any-return]

    async def lookup_transfers(self, transfer_ids: Sequence[int], *, tenant: int = 1) -> list[Transfer]:
        """See `Ledger.lookup_transfers`."""
        waiter = CoroutineWaiter(asyncio.get_running_loop())
        self._ledger._callers.look_up(waiter, _transfers(transfer_ids, tenant))
        return await waiter.future  # type: ignore[no-any-return]

    async def _ask(
        self, kind: Kind, events: Sequence[Any] | Rows, tenant: int, request_id: int | None
    ) -> Rows | list[Any]:
        waiter = CoroutineWaiter(asyncio.get_running_loop())
        self._ledger._callers.ask(waiter, self._ledger.packed(kind, events, tenant, request_id), len(events))
        return await waiter.future  # type: ignore[no-any-return]


_PACK: dict[Kind, Callable[[Any], bytes]] = {
    Kind.ACCOUNT: objects.pack_account,
    Kind.TRANSFER: objects.pack_transfer,
    Kind.CONTROL: objects.pack_control,
}


_ACCOUNT_STATUS = {int(status): status for status in AccountStatus}
_TRANSFER_STATUS = {int(status): status for status in TransferStatus}
_CONTROL_STATUS = {int(status): status for status in ControlStatus}


def _account_result(timestamp: int, status: int, replayed: int) -> CreateAccountResult:
    return CreateAccountResult(timestamp, _ACCOUNT_STATUS[status])


def _transfer_result(timestamp: int, status: int, replayed: int) -> CreateTransferResult:
    return CreateTransferResult(timestamp, _TRANSFER_STATUS[status])


def _control_result(timestamp: int, status: int, replayed: int) -> ControlResult:
    return ControlResult(timestamp, _CONTROL_STATUS[status])


def _shown(
    asked: Sequence[Any] | Rows, results: Rows | list[Any], result: Callable[..., _Result]
) -> list[_Result] | Rows:
    """Results as they were asked for: rows for rows, objects for objects."""
    if isinstance(results, np.ndarray):
        return results if isinstance(asked, np.ndarray) else [result(*row) for row in results.tolist()]
    return [result(*row) for row in results]


def _check_look_up(numbers: Sequence[int], tenant: int) -> list[int]:
    """The ids as a list. Raises `Invalid`: what the engine's thread cannot read would end it for all."""
    if not 0 <= tenant < 1 << 64:
        raise Invalid("tenant", "must be between 0 and 2^64 - 1")
    try:
        found = [operator.index(number) for number in numbers]
    except TypeError as error:
        raise Invalid("ids", "must be integers") from error
    for index, number in enumerate(found):
        if not 0 <= number <= ids.ID_MAX:
            raise Invalid(f"ids[{index}]", "must be between 0 and 2^128 - 1")
    return found


def _accounts(account_ids: Sequence[int], tenant: int) -> Callable[[Any], list[Account]]:
    asked = _check_look_up(account_ids, tenant)

    def look_up(decider: Any) -> list[Account]:
        from tallystick.engine import lookups

        shown, extra = lookups.accounts(decider, tenant, asked)
        return [objects.account(row, more) for row, more in zip(shown, extra, strict=True)]

    return look_up


def _transfers(transfer_ids: Sequence[int], tenant: int) -> Callable[[Any], list[Transfer]]:
    asked = _check_look_up(transfer_ids, tenant)

    def look_up(decider: Any) -> list[Transfer]:
        from tallystick.engine import lookups

        return [objects.transfer(row) for row in lookups.transfers(decider, tenant, asked)]

    return look_up


def _no_journal() -> Any:
    raise Unavailable("this ledger was opened without queries")


_readied = threading.Lock()


def _ready() -> None:
    """Name the folder of compiled code before the kernel is imported."""
    with _readied:
        kernel_cache.activate(kernel_cache.default_folder())
