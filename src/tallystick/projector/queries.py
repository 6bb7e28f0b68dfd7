"""TigerBeetle's five queries, answered from the tables (docs/queries.md). Each is of the moment of the cursor.

Each raises `Invalid` for a filter that breaks a rule, and gives at most `LIMIT_MAX` results.
"""

from heapq import merge
from itertools import islice

from tallystick.projector import columns, shown
from tallystick.projector.port import Tables
from tallystick.projector.searching import (
    Search,
    Wanted,
    of_tenant,
    rows_between,
    search_of_tenant,
    searches_of_account,
)
from tallystick.records.changes import AccountBalance, ChangeEvent
from tallystick.records.commands import AccountFlag
from tallystick.records.filters import LIMIT_MAX, AccountFilter, AccountFilterFlag, ChangeEventsFilter, QueryFilter
from tallystick.records.objects import Account, Transfer


def get_account_transfers(tables: Tables, tenant: int, asked: AccountFilter) -> list[Transfer]:
    """Transfers of one account."""
    account = _account(tables, tenant, asked)
    if account is None:
        return []
    return [shown.transfer(row[2:]) for row in _of_account(tables, tenant, asked, account[0], shown.TRANSFER)]


def get_account_balances(tables: Tables, tenant: int, asked: AccountFilter) -> list[AccountBalance]:
    """Balances of one account with the flag `history`, after each of the transfers that the filter is about."""
    account = _account(tables, tenant, asked)
    if account is None or not account[1] & AccountFlag.HISTORY:
        return []
    found = _of_account(tables, tenant, asked, account[0], shown.BALANCES)
    return [shown.balance(row[2:], credited=row[1] != account[0]) for row in found]


def query_accounts(tables: Tables, tenant: int, asked: QueryFilter) -> list[Account]:
    """Accounts of a tenant, with their present balances."""
    asked.check()
    search = search_of_tenant(tables, "accounts", tenant, asked)
    return [shown.account(row) for row in search.rows(tables, shown.ACCOUNT)]


def query_transfers(tables: Tables, tenant: int, asked: QueryFilter) -> list[Transfer]:
    """Transfers of a tenant."""
    asked.check()
    search = search_of_tenant(tables, "transfers", tenant, asked)
    return [shown.transfer(row) for row in search.rows(tables, shown.TRANSFER)]


def get_change_events(tables: Tables, tenant: int, asked: ChangeEventsFilter) -> list[ChangeEvent]:
    """Whatever moved money of a tenant, in order of decision."""
    asked.check()
    limit = min(asked.limit, LIMIT_MAX)
    found = []
    for table, wanted in (("transfers", shown.CHANGE), ("resolutions", shown.RESOLUTION)):
        span = rows_between(tables, table, "decided_at", tenant, asked.timestamp_min, asked.timestamp_max)
        search = Search(table, [of_tenant(table, tenant)], *span, reversed=False, limit=limit)
        found.append(search.rows(tables, wanted))
    return [shown.change(row) for row in islice(merge(*found, key=lambda row: row[0]), limit)]


def _account(tables: Tables, tenant: int, asked: AccountFilter) -> tuple[int, int] | None:
    """Row and flags of the account that the filter is about."""
    asked.check()
    sql = "SELECT seq, flags FROM accounts INDEXED BY accounts_by_id WHERE tenant = ? AND id = ?"
    key = (columns.to_signed(tenant), columns.blob(asked.account_id))
    row: tuple[int, int] | None = tables.execute(sql, key).fetchone()
    return row


def _of_account(tables: Tables, tenant: int, asked: AccountFilter, seq: int, wanted: Wanted) -> list[shown.Row]:
    """Rows of (seq, debit, …) in the order asked for."""
    wanted = wanted._replace(columns=f"t.seq, t.debit, {wanted.columns}")
    sides = [search.rows(tables, wanted) for search in searches_of_account(tables, tenant, asked, seq)]
    backwards = bool(asked.flags & AccountFilterFlag.REVERSED)
    return list(islice(merge(*sides, key=lambda row: row[0], reverse=backwards), min(asked.limit, LIMIT_MAX)))
