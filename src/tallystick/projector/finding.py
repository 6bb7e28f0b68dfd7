"""Search in pages: rows of a tenant that meet all of a question, by seq, with a bound on the work for each page.

A page walks along the index that the fewest rows meet, window by window of seqs, and stops when it is full or its time
is over: then it ends early and the next page goes on there. So no question, however it is put, holds up the others.
A range of amounts is no order of seqs: where few rows have such an amount they are all taken and sorted; where many
have, walking meets one soon.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from tallystick.projector import columns
from tallystick.projector.port import Tables
from tallystick.projector.searching import Condition, Wanted, of_tenant

WINDOW = 65_536
"""Seqs of a page's first window; each one after it has four times as many while windows are quick."""
WINDOW_QUICK_S = 0.01
AMOUNTS_SORTED_MAX = 8_192
_COUNTED_MAX = 8_192
AMOUNT_KEY_MAX = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Sought:
    """What rows of one table must meet."""

    table: str
    conditions: list[Condition]
    """All of them; each with an index along which its rows come by seq."""
    sides: list[Condition]
    """None, or the two sides of an account: one of them."""
    filters: list[tuple[str, tuple[Any, ...]]]
    """Terms without an index of that kind, and their values."""
    amounts: tuple[int, int] | None = None
    """A range of `amount_key`, if one was asked for that is not a single amount."""


class Page(NamedTuple):
    """Rows, and where the next page goes on: the first seq that it may hold; None if there is no more."""

    rows: list[tuple[Any, ...]]
    place: int | None


def page(
    tables: Tables,
    tenant: int,
    sought: Sought,
    wanted: Wanted,
    bounds: tuple[int, int],
    limit: int,
    oldest_first: bool,
    elapsed_s: Callable[[], float],
    budget_s: float,
) -> Page:
    """At most `limit` rows with bounds[0] ≤ seq < bounds[1], in order. The first column of a row is its seq."""
    first, end = bounds
    wanted = wanted._replace(columns=f"t.seq, {wanted.columns}")
    if sought.amounts is not None:
        seqs = _few_with_amount(tables, tenant, sought.amounts)
        if seqs is not None:
            return _of_these(tables, tenant, sought, wanted, seqs, bounds, limit, oldest_first)
    walks = _walks(tables, tenant, sought, bounds)
    rows: list[tuple[Any, ...]] = []
    size = WINDOW
    while first < end:
        window = (first, min(end, first + size)) if oldest_first else (max(first, end - size), end)
        began_s = elapsed_s()
        found = [
            row for walk in walks for row in _window(tables, sought, walk, wanted, window, limit + 1, oldest_first)
        ]
        found.sort(key=lambda row: row[0], reverse=not oldest_first)
        rows += found
        if len(rows) > limit:
            return Page(rows[:limit], rows[limit][0] if oldest_first else rows[limit][0] + 1)
        first, end = (window[1], end) if oldest_first else (first, window[0])
        now_s = elapsed_s()
        if now_s >= budget_s and first < end:
            return Page(rows, first if oldest_first else end)
        if now_s - began_s < WINDOW_QUICK_S:
            size *= 4
        elif size > WINDOW:
            size //= 2
    return Page(rows, None)


def _walks(
    tables: Tables, tenant: int, sought: Sought, bounds: tuple[int, int]
) -> list[tuple[Condition, list[Condition]]]:
    """Along which indexes to go, and what is to be met besides: one walk, or one for each side of an account."""
    conditions = list(sought.conditions)
    if not conditions and not sought.sides:
        conditions = [of_tenant(sought.table, tenant)]
    best = _rarest(tables, sought.table, conditions, bounds)
    if sought.sides:
        of_account = sum(_count(tables, sought.table, side, bounds) for side in sought.sides)
        if best is None or of_account <= best[1]:
            return [(side, conditions) for side in sought.sides]
        assert best is not None
        terms = " OR ".join(side.terms for side in sought.sides)
        either = Condition("", f"({terms})", tuple(value for side in sought.sides for value in side.values))
        return [(best[0], [*(each for each in conditions if each is not best[0]), either])]
    assert best is not None
    return [(best[0], [each for each in conditions if each is not best[0]])]


def _rarest(
    tables: Tables, table: str, conditions: list[Condition], bounds: tuple[int, int]
) -> tuple[Condition, int] | None:
    if not conditions:
        return None
    counted = [(condition, _count(tables, table, condition, bounds)) for condition in conditions]
    return min(counted, key=lambda each: each[1])


def _count(tables: Tables, table: str, condition: Condition, bounds: tuple[int, int]) -> int:
    """How many rows meet it, up to a bound: about a millisecond."""
    [count] = tables.execute(
        f"SELECT count(*) FROM (SELECT 1 FROM {table} t INDEXED BY {condition.index} "
        f"WHERE {condition.terms} AND t.seq >= ? AND t.seq < ? LIMIT ?) counted",
        (*condition.values, *bounds, _COUNTED_MAX),
    ).fetchone()
    return int(count)


def _window(
    tables: Tables,
    sought: Sought,
    walk: tuple[Condition, list[Condition]],
    wanted: Wanted,
    window: tuple[int, int],
    limit: int,
    oldest_first: bool,
) -> list[tuple[Any, ...]]:
    along, others = walk
    terms = [along.terms, *(each.terms for each in others), *(term for term, _ in sought.filters)]
    values = [*along.values, *(value for each in others for value in each.values)]
    values += [value for _, each in sought.filters for value in each]
    return tables.execute(
        f"SELECT {wanted.columns} FROM {sought.table} t INDEXED BY {along.index} {wanted.joins} "
        f"WHERE {' AND '.join(terms)} AND t.seq >= ? AND t.seq < ? "
        f"ORDER BY t.seq {'ASC' if oldest_first else 'DESC'} LIMIT ?",
        (*values, *window, limit),
    ).fetchall()


def _few_with_amount(tables: Tables, tenant: int, amounts: tuple[int, int]) -> list[int] | None:
    """The seqs of all rows with such an amount; None if they are many."""
    found = tables.execute(
        "SELECT seq FROM transfers INDEXED BY transfers_by_amount "
        "WHERE tenant = ? AND amount_key BETWEEN ? AND ? LIMIT ?",
        (columns.to_signed(tenant), *amounts, AMOUNTS_SORTED_MAX + 1),
    ).fetchall()
    return None if len(found) > AMOUNTS_SORTED_MAX else [seq for (seq,) in found]


def _of_these(
    tables: Tables,
    tenant: int,
    sought: Sought,
    wanted: Wanted,
    seqs: list[int],
    bounds: tuple[int, int],
    limit: int,
    oldest_first: bool,
) -> Page:
    seqs = sorted((seq for seq in seqs if bounds[0] <= seq < bounds[1]), reverse=not oldest_first)
    terms = [each.terms for each in sought.conditions] + [term for term, _ in sought.filters]
    values = [value for each in sought.conditions for value in each.values]
    values += [value for _, each in sought.filters for value in each]
    if sought.sides:
        terms.append(f"({' OR '.join(side.terms for side in sought.sides)})")
        values += [value for side in sought.sides for value in side.values]
    rows: list[tuple[Any, ...]] = []
    for at in range(0, len(seqs), 500):
        part = seqs[at : at + 500]
        marks = ", ".join("?" * len(part))
        found = tables.execute(
            f"SELECT {wanted.columns} FROM transfers t {wanted.joins} WHERE t.seq IN ({marks}) "
            f"AND {' AND '.join(['1 = 1', *terms])}",
            (*part, *values),
        ).fetchall()
        rows += sorted(found, key=lambda row: row[0], reverse=not oldest_first)
        if len(rows) > limit:
            return Page(rows[:limit], rows[limit][0] if oldest_first else rows[limit][0] + 1)
    return Page(rows, None)
