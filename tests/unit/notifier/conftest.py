"""Where webhooks are kept, for tests: what takes `where` runs on SQLite and, as one of a service, on PostgreSQL."""

import pytest

from tallystick.notifier.postgresql.tables import PostgresTables
from tallystick.notifier.sqlite import SqliteTables


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)])
def where(request, tmp_path):
    """Opens the tables, always the same."""
    if request.param == "sqlite":
        return lambda: SqliteTables(tmp_path / "notifier.db")
    url = request.getfixturevalue("database")
    return lambda: PostgresTables(url, 0)
