"""Where projections are, for tests: what takes `place` runs on SQLite and, as one of a service, on PostgreSQL."""

import secrets

import psycopg
import pytest

from tests.unit.projector.places import PostgresPlace, SqlitePlace

EACH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.service)]


@pytest.fixture
def files(tmp_path):
    return SqlitePlace(tmp_path)


@pytest.fixture(params=EACH)
def place(request):
    if request.param == "sqlite":
        return request.getfixturevalue("files")
    return PostgresPlace(request.getfixturevalue("database"))


@pytest.fixture(scope="module", params=EACH)
def lasting_place(request, tmp_path_factory):
    """One for all tests of a module."""
    if request.param == "sqlite":
        yield SqlitePlace(tmp_path_factory.mktemp("projector"))
        return
    url = request.getfixturevalue("postgresql_url")
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(url, autocommit=True) as session:
        session.execute(f"create database {name}")
    yield PostgresPlace(url.replace("/postgres?", f"/{name}?"))
    with psycopg.connect(url, autocommit=True) as session:
        session.execute(f"drop database {name} with (force)")
