"""The notifier is killed before and after any statement that it gives its database: each entry is told of at least
once, under one webhook-id each, and the cursor skips nothing."""

import asyncio
import contextlib
import itertools

import pytest

from tallystick.notifier.deliveries import State
from tallystick.notifier.postgresql.tables import PostgresTables
from tests.unit.notifier.world import OTHER, Notifier, Payments, Receiver, courier, deliver


class Killed(BaseException):
    """The process is gone: nothing may catch it and go on."""


class Wounded:
    """A connection that ends its process at one statement."""

    def __init__(self, connection, at, after):
        self._connection, self._left, self._after = connection, at, after

    def _counted(self, run):
        self._left -= 1
        if self._left == 0 and not self._after:
            raise Killed
        found = run()
        if self._left == 0:
            raise Killed
        return found

    def execute(self, *what, **how):
        return self._counted(lambda: self._connection.execute(*what, **how))

    def executemany(self, statement, values):
        return self._counted(lambda: self._connection.executemany(statement, values))

    def cursor(self):
        """psycopg's, for many rows."""
        return Cursor(self)

    @property
    def in_transaction(self):
        return False  # a process that is gone rolls nothing back itself

    def __getattr__(self, name):
        return getattr(self._connection, name)


class Cursor:
    def __init__(self, session):
        self._session = session

    def executemany(self, statement, values):
        cursor = self._session._connection.cursor()
        self._session._counted(lambda: cursor.executemany(statement, values))
        self.rowcount = cursor.rowcount

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def positions(payments, tenant):
    return [
        int(entry["seq"])
        for block in payments.journal.read(0)
        for entry in block.entries
        if entry["tenant"] == tenant and entry["kind"] == 1
    ]


async def lives_on(where, payments, clock, at=None, after=False):
    """One life of the process; True if it came to its end without being killed."""
    notifier = Notifier(where, payments, clock, fresh_max=8)
    notifier.tables._undone.clear()  # and reads nothing again
    whole = notifier.tables.connection
    try:
        async with courier(notifier) as made:
            if at is not None:
                notifier.tables.connection = Wounded(whole, at, after)
            try:
                for _ in range(40):
                    notifier.follow()
                    await deliver(made)
            except Killed:
                made._over.clear()
                made._written.clear()
                notifier.tables.settle = lambda: None
                return False
        return True
    finally:
        whole.close()


def story(places, after, every=1):
    killed = 0

    async def told():
        nonlocal killed
        for at in itertools.count(1, every):
            payments = Payments()
            where = places(at)
            async with Receiver() as mine, Receiver() as theirs:
                notifier = Notifier(where, payments)
                subscriptions = [notifier.subscribe(mine.url), notifier.subscribe(theirs.url, tenant=OTHER)]
                notifier.close()
                for _ in range(3):
                    payments.pay(4)  # more than there is room for: it falls behind
                    payments.pay(1, tenant=OTHER)
                unhurt = await lives_on(where, payments, notifier.clock, at, after)
                killed += not unhurt
                assert await lives_on(where, payments, notifier.clock)
                with contextlib.closing(Notifier(where, payments, notifier.clock)) as found:
                    for subscription, receiver in zip(subscriptions, (mine, theirs), strict=True):
                        wanted = positions(payments, subscription.tenant)
                        assert found.told(subscription) == wanted, f"statement {at}"
                        assert set(receiver.positions) == set(wanted), f"statement {at}"
                        assert len(set(receiver.ids)) == len(wanted), f"statement {at}: one id an entry"
                    assert {state for [state] in found.rows("state")} == {State.DELIVERED}
                    assert found.making.cursor().next_seq == payments.journal.end()
            if unhurt:
                return

    asyncio.run(told())
    return killed


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_notifier_killed_at_any_statement_tells_everything(tmp_path, after):
    assert story(lambda number: tmp_path / f"{number}.db", after) > 40


@pytest.mark.timeout(600)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_notifier_killed_at_any_statement_to_postgresql_tells_everything(database, after):
    # After one statement is before the next: of both, every second one is enough.
    assert story(lambda number: lambda: PostgresTables(database, number), after, every=2) > 20
