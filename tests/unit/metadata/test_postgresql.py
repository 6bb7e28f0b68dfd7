"""Text in PostgreSQL: what an erasure leaves there, who may see it, and a server that does not say."""

import secrets
from contextlib import closing

import psycopg
import pytest

from tallystick.clock import system_entropy
from tallystick.compose.texts import copy, open_texts
from tallystick.errors import Corrupt, Unavailable
from tallystick.metadata.keys import PersonKeys
from tallystick.metadata.postgresql import PostgresTexts
from tallystick.metadata.store import MetadataStore
from tallystick.settings import Settings
from tests.faults.postgresql.test_journal import paused
from tests.unit.metadata.test_metadata import FIELDS, PERSON, TENANT, keep

pytestmark = pytest.mark.service


def store_in(folder, url):
    return MetadataStore(PostgresTexts(url, 0), PersonKeys(folder / "keys", system_entropy), system_entropy)


def test_after_an_erasure_nothing_in_the_databases_files_or_logs_opens_it(own_postgresql, tmp_path):
    """What the server keeps of what was there, write-ahead log and dead rows included, is sealed without its key."""
    server = own_postgresql()
    with closing(store_in(tmp_path, server.url())) as store:
        theirs, other = keep(store, PERSON, 1, FIELDS), keep(store, "p-1", 2, FIELDS)
        key = PersonKeys(tmp_path / "keys", system_entropy).find(TENANT, PERSON)
        salt = store.opened(TENANT, theirs)["debtor"].salt
        assert store.erase(TENANT, PERSON) == 1
        assert store.erase(TENANT, PERSON) == 0
        assert store.opened(TENANT, theirs) is None
        assert store.opened(TENANT, other)["debtor"].value == "Ada Lovelace"
    server.stop()
    left = b"".join(path.read_bytes() for path in server.folder.rglob("*") if path.is_file())
    assert theirs in left, "the sealed text is there"
    for secret in (key, salt, b"Ada Lovelace"):
        assert secret not in left
    assert key not in b"".join(path.read_bytes() for path in (tmp_path / "keys").rglob("*") if path.is_file())


def test_who_reads_the_views_of_the_projector_sees_no_text(database, tmp_path):
    role = f"analyst_{secrets.token_hex(4)}"
    with closing(store_in(tmp_path, database)) as store, psycopg.connect(database, autocommit=True) as session:
        keep(store, PERSON, 1, FIELDS)
        session.execute(f"create role {role}")
        try:
            session.execute(f"set role {role}")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute("select * from texts_0.texts")
        finally:
            session.execute("reset role")
            session.execute(f"drop role {role}")


def test_a_text_that_was_moved_in_the_database_is_not_shown(database, tmp_path):
    with closing(store_in(tmp_path, database)) as store, psycopg.connect(database, autocommit=True) as session:
        first, second = keep(store, PERSON, 1, FIELDS), keep(store, PERSON, 2, {"reference": "x"})
        session.execute(
            "update texts_0.texts set sealed = (select sealed from texts_0.texts where commitment = %s) "
            "where commitment = %s",
            [second, first],
        )
        with pytest.raises(Corrupt):
            store.opened(TENANT, first)


def test_of_texts_that_come_together_all_are_kept_or_none_and_a_server_that_is_gone_is_told(own_postgresql, tmp_path):
    server = own_postgresql()
    with closing(store_in(tmp_path, server.url())) as store:
        keep(store, "p-2", 1, FIELDS)
        server.kill()
        with pytest.raises(Unavailable):
            keep(store, PERSON, 1, FIELDS)
        server.start()
        commitment = keep(store, PERSON, 1, FIELDS)
        assert store.opened(TENANT, commitment) is not None


def test_a_text_kept_again_waits_for_the_standby_again(own_postgresql, tmp_path):
    """Its first commit may never have arrived there: who asks again must not be told yes before it has."""
    primary = own_postgresql()
    texts = PostgresTexts(primary.url(), 0, answer_s_max=2.0)
    with closing(MetadataStore(texts, PersonKeys(tmp_path / "keys", system_entropy), system_entropy)) as store:
        commitment = keep(store, PERSON, 1, FIELDS)
        standby = primary.standby(primary.folder.parent / "standby")
        primary.wait_for_standby()
        with paused(standby), pytest.raises(Unavailable, match="not known whether"):
            keep(store, PERSON, 1, FIELDS)
        assert keep(store, PERSON, 1, FIELDS) == commitment


def test_a_tenants_texts_are_copied_to_another_shard_and_open_there(database, tmp_path, monkeypatch):
    monkeypatch.setattr("tallystick.metadata.postgresql.ROWS_AT_ONCE", 2)
    old, new = (Settings(data=tmp_path, services=database, shard=shard) for shard in (0, 1))
    with closing(open_texts(old)) as store:
        kept = [keep(store, PERSON, number, FIELDS) for number in range(5)]
    copy(old, new, TENANT)
    copy(old, new, TENANT)
    with closing(open_texts(new)) as store:
        assert all(store.opened(TENANT, commitment)["debtor"].value == FIELDS["debtor"] for commitment in kept)
