"""Every query equals a reading of the whole journal: random histories, random filters, both directions, any limit."""

import random

import pytest

from tallystick.engine import lookups
from tallystick.projector import queries
from tallystick.projector.projection import Projection
from tallystick.records import objects
from tallystick.records.changes import ChangeEventType
from tallystick.records.endings import Ending
from tallystick.records.filters import AccountFilter, ChangeEventsFilter, QueryFilter
from tests.unit.projector.engine_histories import EngineHistory
from tests.unit.projector.folding import Folded
from tests.unit.projector.histories import TENANTS, U64S, U128S, RandomHistory
from tests.unit.projector.places import rows_of

NAMES = ("get_account_transfers", "get_account_balances", "query_accounts", "query_transfers", "get_change_events")


def filters(rng, name, times, accounts):
    """A filter of the kind that the query takes, most of them finding something."""
    span = sorted(rng.choice([0, *times]) + rng.choice((-1, 0, 0, 1)) for _ in range(2))
    least, most = (max(0, each) for each in span)
    if rng.random() < 0.4:
        least = 0
    if rng.random() < 0.4:
        most = 0
    least = min(least, most or least)
    fields = {"timestamp_min": least, "timestamp_max": most, "limit": rng.choice((1, 2, 7, 8190))}
    if name == "get_change_events":
        return ChangeEventsFilter(**fields)
    own = {
        "user_data_128": rng.choice(U128S),
        "user_data_64": rng.choice(U64S),
        "user_data_32": rng.choice((0, 3, 2**32 - 1)),
        "code": rng.choice((1, 2, 65535, 9)),
        "ledger": rng.choice((1, 2, 3)),
    }
    fields |= {field: number for field, number in own.items() if rng.random() < 0.25}
    if name.startswith("get"):
        fields.pop("ledger", None)
        return AccountFilter(account_id=rng.choice(accounts), flags=rng.choice((1, 2, 3, 3, 5, 6, 7, 7)), **fields)
    return QueryFilter(flags=rng.choice((0, 1)), **fields)


def compare(tables, journal, accounts, seed, questions=400):
    """Asks at random, and returns what the journal says and the projection."""
    rng = random.Random(seed)
    folded = Folded(journal)
    projection = Projection(tables, journal)
    projection.catch_up()
    found = 0
    for _ in range(questions):
        name, tenant = rng.choice(NAMES), rng.choice(TENANTS)
        times = [change.timestamp for owner, change in folded.changes if owner == tenant]
        times += [account["timestamp"] for (owner, _), account in folded.accounts.items() if owner == tenant]
        asked = filters(rng, name, times, [*accounts[tenant], 5])
        answer = getattr(queries, name)(projection.tables, tenant, asked)
        assert answer == getattr(folded, name)(tenant, asked), (name, tenant, asked)
        found += len(answer) > 0
    assert found > questions / 3
    endings = projection.tables.execute("SELECT seq, ending FROM transfers WHERE ending != 0").fetchall()
    assert dict(endings) == folded.endings
    return folded, projection


@pytest.mark.parametrize("seed", range(6))
def test_every_query_gives_what_a_journal_written_by_hand_says(place, seed):
    history = RandomHistory(seed, steps=400)
    folded, _ = compare(place.open(), history.writer.journal, history.accounts, seed)
    assert set(folded.endings.values()) == set(Ending) - {Ending.NONE}


@pytest.mark.parametrize("seed", range(4))
def test_every_query_gives_what_the_journal_of_a_real_engine_says(place, seed):
    history = EngineHistory(seed, batches=150)
    folded, projection = compare(place.open(), history.journal, history.accounts, seed)
    assert {change.type for _, change in folded.changes} == set(ChangeEventType)
    for tenant in TENANTS:
        numbers = [number for owner, number in folded.accounts if owner == tenant]
        rows, extra = lookups.accounts(history.shard.decider, tenant, numbers)
        known = [objects.account(row, more) for row, more in zip(rows, extra, strict=True)]
        assert queries.query_accounts(projection.tables, tenant, QueryFilter()) == known
        shown = queries.query_transfers(projection.tables, tenant, QueryFilter())
        rows = lookups.transfers(history.shard.decider, tenant, [each.id for each in shown])
        assert shown == [objects.transfer(row) for row in rows]
        assert len(shown) > 50


@pytest.mark.parametrize("seed", range(3))
def test_how_often_the_projection_catches_up_makes_no_difference(place, seed, monkeypatch):
    history = RandomHistory(seed, steps=300)
    whole = Projection(place.open(), history.writer.journal)
    whole.catch_up()
    # One block a commit, and nothing remembered between them: every pending transfer and account is read again.
    monkeypatch.setattr("tallystick.projector.projection.ENTRIES_AT_ONCE", 1)
    monkeypatch.setattr("tallystick.projector.standing.ACCOUNTS_KEPT", 0)
    pieces = Projection(place.open(), history.writer.journal)
    pieces.catch_up()
    assert rows_of(pieces.tables) == rows_of(whole.tables)
