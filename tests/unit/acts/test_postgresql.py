"""Logs of acts in PostgreSQL: the same promises as in files, and what else can happen to a database."""

import re
import secrets
import threading
from contextlib import closing

import psycopg
import pytest

from tallystick.acts.postgresql import PostgresActs
from tallystick.acts.sqlite import SqliteActs
from tallystick.errors import Corrupt, InvalidProof, Unavailable
from tallystick.tlog.auditing import check_whole
from tests.faults.postgresql.test_journal import paused
from tests.unit.acts.test_acts import Log, act

pytestmark = pytest.mark.service


@pytest.fixture
def opened(database):
    with closing(PostgresActs(database, 0, "access")) as log:
        yield log


@pytest.fixture(params=["sqlite", "postgresql"])
def open_log(request, tmp_path):
    """Opens the same log again and again."""
    if request.param == "sqlite":
        return lambda create=True: SqliteActs(tmp_path / "access.db", create)
    url = request.getfixturevalue("database")
    return lambda create=True: PostgresActs(url, 0, "access", create)


def test_processes_that_write_beside_each_other_are_numbered_without_a_hole(open_log):
    def write(writer):
        with closing(open_log()) as log:
            for number in range(20):
                log.append([act(100 * writer + number), act(100 * writer + number + 50)])

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with closing(open_log()) as log:
        assert log.end() == len(log.read(0, 1000)) == 120
        assert len(set(log.read(0, 1000))) == 120
        assert log.read(118, 10) == log.read(0, 1000)[118:]
        assert log.read(120, 10) == []


def test_what_another_appended_meanwhile_is_refused_where_a_number_was_expected(open_log):
    with closing(open_log()) as log:
        assert log.append([act(1)], expected=0) == 0
        with pytest.raises(Unavailable, match="another process appended"):
            log.append([act(2)], expected=0)
        assert log.append([act(2), act(3)], expected=1) == 1
        assert log.read(0, 9) == [act(1), act(2), act(3)]


def test_a_log_that_is_not_there_is_not_begun_by_who_only_reads(open_log):
    with pytest.raises(Unavailable):
        open_log(create=False)
    with closing(open_log()) as log:
        log.append([act(1)])
    with closing(open_log(create=False)) as log:
        assert log.read(0, 2) == [act(1)]


def test_every_act_is_a_leaf_and_an_edited_or_deleted_one_is_named(database, opened, tmp_path):
    log = Log(tmp_path, opened)
    opened.append([act(number) for number in range(10)])
    checkpoint = log.publish()
    check_whole(checkpoint, log.reader.tile)
    with psycopg.connect(database, autocommit=True) as session:
        session.execute("update acts_0.acts set entry = %s where number = 6", [act(66)])
        with pytest.raises(InvalidProof, match="entry 6"):
            check_whole(checkpoint, log.reader.tile)
        session.execute("delete from acts_0.acts where number = 6")
        with pytest.raises(Corrupt, match="act 6 is not there"):
            check_whole(checkpoint, log.reader.tile)
        session.execute("delete from acts_0.acts where number >= 6; update acts_0.ends set next = 6, durable = 6")
        with pytest.raises(Corrupt, match="only 6 are there"):
            log.sequencer.step()


@pytest.mark.parametrize("how", ["drop schema acts_0 cascade", "delete from acts_0.ends", "begun anew"])
def test_a_log_that_was_deleted_or_begun_anew_takes_no_more_acts(database, opened, how):
    """Attack 15: the writer is disabled by taking its tables away."""
    opened.append([act(1)])
    with psycopg.connect(database, autocommit=True) as session:
        session.execute("drop schema acts_0 cascade" if how == "begun anew" else how)
    if how == "begun anew":
        PostgresActs(database, 0, "access").close()
    for attempt in (opened.end, lambda: opened.append([act(2)]), lambda: opened.read(0, 1)):
        with pytest.raises(Unavailable):
            attempt()


def test_an_act_is_kept_when_append_returns_though_the_server_is_killed_and_none_is_noted_while_it_is_down(
    own_postgresql,
):
    server = own_postgresql()
    with closing(PostgresActs(server.url(), 0, "access")) as log:
        for number in range(20):
            log.append([act(number)])
        server.kill()
        with pytest.raises(Unavailable):
            log.append([act(20)])
        with pytest.raises(Unavailable):
            log.end()
        server.start()
        assert log.append([act(21)]) == 20
        assert log.read(0, 99) == [*(act(number) for number in range(20)), act(21)]


def test_an_act_whose_wait_for_the_standby_was_ended_is_told_as_not_done_and_is_not_seen_before_it_is_kept(
    own_postgresql,
):
    primary = own_postgresql()
    with closing(PostgresActs(primary.url(), 0, "access", answer_s_max=2.0)) as log:
        log.append([act(1)])
        standby = primary.standby(primary.folder.parent / "standby")
        primary.wait_for_standby()
        reader = PostgresActs(primary.url(), 0, "access")
        failed = []

        def append():
            try:
                log.append([act(2)])
            except Unavailable as error:
                failed.append(error)

        with paused(standby), primary.connect() as session:
            waiting = threading.Thread(target=append)
            waiting.start()
            while waiting.is_alive():
                session.execute("select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'")
                waiting.join(0.05)  # not for longer: it must be found waiting
            assert "not known whether" in str(failed[0])
            assert reader.end() == 1, "a signer must not see it yet"
            with pytest.raises(Unavailable):
                log.end()  # a session that is new waits until all is kept
            assert session.execute("select next, durable from acts_0.ends").fetchone() == (2, 1)
        assert log.append([act(3)]) == 2
        assert reader.read(0, 9) == [act(1), act(2), act(3)]
        reader.close()
        assert log.read(0, 9) == [act(1), act(2), act(3)]


def test_who_reads_the_views_of_the_projector_sees_no_act(database, opened):
    opened.append([act(1)])
    role = f"analyst_{secrets.token_hex(4)}"
    with psycopg.connect(database, autocommit=True) as session:
        session.execute(f"create role {role}")
        try:
            session.execute(f"set role {role}")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute("select * from acts_0.acts")
        finally:
            session.execute("reset role")
            session.execute(f"drop role {role}")


def test_a_gateway_with_a_role_of_its_own_notes_acts_and_can_neither_change_nor_delete_one(database, opened):
    """As docs/postgresql.md grants it."""
    opened.append([act(1)])
    role, password = f"gateway_{secrets.token_hex(4)}", secrets.token_hex(8)
    with psycopg.connect(database, autocommit=True) as session:
        session.execute(f"create role {role} login password '{password}'")
        try:
            session.execute(f"grant usage on schema acts_0 to {role}")
            session.execute(f"grant select on all tables in schema acts_0 to {role}")
            session.execute(f"grant insert on acts_0.acts, acts_0.ends to {role}")
            session.execute(f"grant update on acts_0.ends to {role}")
            url = re.sub(r"//[^@]*@", f"//{role}:{password}@", database)
            with closing(PostgresActs(url, 0, "access")) as theirs:
                assert theirs.append([act(2)]) == 1
                assert theirs.read(0, 9) == [act(1), act(2)]
            session.execute(f"set role {role}")
            for statement in ("update acts_0.acts set entry = ''", "delete from acts_0.acts"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    session.execute(statement)
        finally:
            session.execute("reset role")
            session.execute(f"drop owned by {role}; drop role {role}")
