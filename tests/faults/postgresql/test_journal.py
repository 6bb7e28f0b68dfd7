"""What a real PostgreSQL does to the journal: killed, cut off, cancelled, full of rights or without them."""

import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing, contextmanager

import psycopg
import pytest

from services.server import children, wait_until
from tallystick.conformance.samples import append, next_block
from tallystick.errors import Corrupt, Fenced, OutcomeUnknown, Unavailable
from tallystick.journal.postgresql import schema, writing
from tallystick.journal.postgresql.reading import PostgresJournalReader, session
from tallystick.journal.postgresql.writing import PostgresJournal
from tallystick.postgresql import connecting

pytestmark = pytest.mark.service
LATER_S = 30


@pytest.fixture
def url(database):
    schema.migrate(database)
    return database


@pytest.fixture
def journal(url):
    with closing(PostgresJournal.open(url)) as journal:
        yield journal


def firsts(url):
    with closing(PostgresJournalReader(url)) as reader:
        return [block.header.first for block in reader.read(0)]


def test_what_was_acknowledged_outlives_a_server_that_is_killed(own_postgresql):
    server = own_postgresql()
    schema.migrate(server.url())
    acknowledged = 0
    for _ in range(3):
        with closing(PostgresJournal.open(server.url())) as journal:
            assert journal.tail().next_seq in (acknowledged, acknowledged + 1)
            acknowledged = journal.tail().next_seq
            for _ in range(20):
                append(journal)
                acknowledged += 1
            server.kill()
            with pytest.raises(OutcomeUnknown):
                append(journal)
            with pytest.raises((OutcomeUnknown, Unavailable)):
                append(journal)
            with pytest.raises(Unavailable, match=f"127.0.0.1:{server.port}/postgres cannot be reached"):
                PostgresJournal.open(server.url())
        server.start()
    with closing(PostgresJournal.open(server.url())) as journal:
        append(journal)
    assert len(firsts(server.url())) == acknowledged + 1


class Wire:
    """Between a client and the server, and cut at will: when `sent` bytes more have gone to the server, or at once."""

    def __init__(self, port):
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._server_port = port
        self._pairs = []
        self.deaf = False
        """Nothing that the server says is passed on."""
        self.left = None
        """Bytes to the server until the cut."""
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client = self._listening.accept()[0]
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._server_port))
            self._pairs.append((client, server))
            threading.Thread(target=self._pass_on, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(server, client, False), daemon=True).start()

    def _pass_on(self, source, sink, to_server):
        try:
            while data := source.recv(65_536):
                if to_server and self.left is not None:
                    data = data[: self.left]
                    self.left -= len(data)
                if to_server or not self.deaf:
                    sink.sendall(data)
                if self.left == 0:
                    break
        except OSError:
            pass
        self.cut((source, sink))

    def cut(self, *pairs):
        for pair in pairs or self._pairs:
            for end in pair:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue

    def close(self):
        self._listening.close()
        self.cut()


@contextmanager
def through_a_wire(url):
    port = psycopg.conninfo.conninfo_to_dict(url)["port"]
    with closing(Wire(int(port))) as wire:
        yield wire, url.replace(f":{port}/", f":{wire.port}/")


def test_a_connection_cut_before_all_was_sent_is_unknown_and_the_next_writer_finds_nothing(url):
    with through_a_wire(url) as (wire, wired), closing(PostgresJournal.open(wired)) as journal:
        append(journal, 2)
        wire.left = 100_000
        with pytest.raises(OutcomeUnknown):
            append(journal, 8_000)
        with pytest.raises(OutcomeUnknown):
            append(journal, 1)
    with closing(PostgresJournal.open(url)) as journal:
        assert journal.tail().next_seq == 2
        append(journal, 3)
    assert firsts(url) == [0, 2]


def test_a_connection_cut_before_the_answer_is_unknown_and_the_next_writer_finds_the_block(url):
    with through_a_wire(url) as (wire, wired), closing(PostgresJournal.open(wired)) as journal:
        append(journal, 2)
        digest, block = next_block(journal.tail(), journal.epoch, 5)
        wire.deaf = True
        failures = []

        def write():
            try:
                journal.append(block, 2, journal.epoch)
            except OutcomeUnknown as error:
                failures.append(error)

        writing = threading.Thread(target=write)
        writing.start()
        with psycopg.connect(url, autocommit=True) as session:
            told = "select count(*) from tallystick.blocks"
            wait_until(lambda: session.execute(told).fetchone() == (2,), LATER_S, "the block did not arrive")
        with closing(PostgresJournalReader(url)) as reader:
            assert reader.end() == 2, "nobody may see a block whose append has not returned"
            assert list(reader.read(2)) == list(reader.read(7)) == []
            with pytest.raises(Corrupt):
                reader.read(8)
        wire.cut()
        writing.join()
        assert len(failures) == 1
    with closing(PostgresJournal.open(url)) as journal:
        assert (journal.tail().next_seq, journal.tail().hash) == (7, digest)
        assert journal.end() == 7


@pytest.fixture
def replicated(own_postgresql):
    """A primary whose commits wait for a standby, and the standby."""
    primary = own_postgresql()
    schema.migrate(primary.url())
    standby = primary.standby(primary.folder.parent / "standby")
    primary.wait_for_standby()
    return primary, standby


@contextmanager
def paused(server):
    processes = [server.process, *children(server.process)]
    for process in processes:
        os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process.pid, signal.SIGCONT)


def waiting_for_the_standby(session):
    return session.execute(
        "select pid from pg_stat_activity where wait_event = 'SyncRep' and application_name = 'tallystick engine 0'"
    ).fetchone()


@pytest.mark.parametrize("end", ["pg_cancel_backend", "pg_terminate_backend"])
def test_a_commit_whose_wait_for_the_standby_was_ended_is_unknown_and_unseen_until_the_next_writer(replicated, end):
    primary, standby = replicated
    with primary.connect() as session, closing(PostgresJournal.open(primary.url())) as journal:
        append(journal, 2)
        digest, block = next_block(journal.tail(), journal.epoch, 5)
        outcomes = []

        def write():
            try:
                outcomes.append(journal.append(block, 2, journal.epoch))
            except OutcomeUnknown as error:
                outcomes.append(error)

        with paused(standby), closing(PostgresJournalReader(primary.url())) as reader:
            writing = threading.Thread(target=write)
            writing.start()
            wait_until(lambda: waiting_for_the_standby(session), LATER_S, "the commit did not wait")
            session.execute(f"select {end}(%s)", waiting_for_the_standby(session))
            writing.join()
            assert isinstance(outcomes[0], OutcomeUnknown)
            assert session.execute("select count(*) from tallystick.blocks").fetchone() == (2,), "there, on one machine"
            assert reader.end() == 2
        journal.close()
        with closing(PostgresJournal.open(primary.url())) as after:
            assert (after.tail().next_seq, after.tail().hash) == (7, digest)
    # Its opening was a commit that waited: the block is on the standby, and stays.
    primary.kill()
    standby.promote()
    with closing(PostgresJournal.open(standby.url())) as after:
        assert [block.header.first for block in after.read(0)] == [0, 2]


def test_a_standby_that_does_not_answer_makes_it_unknown_in_time_and_no_new_writer_begins(replicated):
    primary, standby = replicated
    with closing(PostgresJournal(primary.url(), answer_s_max=1.0)) as journal:
        append(journal)
        with paused(standby):
            with pytest.raises(OutcomeUnknown):
                append(journal)
            with pytest.raises(OutcomeUnknown):
                PostgresJournal(primary.url(), lease_s=0.0, answer_s_max=1.0)
    with closing(PostgresJournal.open(primary.url(), lease_s=0.0)) as journal:
        assert journal.tail().next_seq == 2


def test_a_promoted_standby_has_all_that_was_acknowledged_and_takes_writes(replicated):
    primary, standby = replicated
    both = f"{primary.url().partition('@')[0]}@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/postgres?"
    both += primary.url().partition("?")[2] + "&target_session_attrs=read-write"
    with closing(PostgresJournal.open(both)) as journal:
        for _ in range(50):
            append(journal)
        primary.kill()
        with pytest.raises(OutcomeUnknown):
            append(journal)
    with pytest.raises(Unavailable, match="is a standby"):
        PostgresJournal.open(standby.url())
    standby.promote()
    with closing(PostgresJournal.open(both)) as journal:
        assert journal.tail().next_seq in (50, 51)
        append(journal)


def test_a_second_writer_is_fenced_while_the_first_lives(url, journal):
    append(journal)
    stopped = threading.Event()

    def live():
        while not stopped.wait(0.05):
            journal.beat()

    living = threading.Thread(target=live)
    living.start()
    with pytest.raises(Fenced, match=f"pid {os.getpid()}"):
        PostgresJournal.open(url)
    stopped.set()
    living.join()
    append(journal)
    assert journal.end() == 2


def test_a_writer_whose_process_was_killed_holds_up_no_other(url):
    program = f"""
import os, signal
from tallystick.conformance.samples import append
from tallystick.journal.postgresql.writing import PostgresJournal
from tallystick.postgresql import connecting
journal = PostgresJournal.open({url!r})
append(journal, 8000)
os.kill(os.getpid(), signal.SIGKILL)
"""
    for number in range(1, 4):
        assert subprocess.run([sys.executable, "-c", program]).returncode == -signal.SIGKILL
        assert len(firsts(url)) == number


def test_a_writer_that_has_been_silent_for_the_lease_loses_its_place_and_hears_of_it(url, journal):
    append(journal)
    _, block = next_block(journal.tail(), journal.epoch, 1)
    with closing(PostgresJournal.open(url, lease_s=0.0)) as other:
        assert other.epoch == journal.epoch + 1
        append(other)
        with pytest.raises(Fenced):
            journal.beat()
        with pytest.raises(Fenced):
            journal.append(block, 1, journal.epoch)
        append(other)
    assert firsts(url) == [0, 1, 2]


def test_a_writer_that_comes_back_after_its_session_was_ended_is_fenced(url, journal):
    append(journal)
    with closing(PostgresJournal.open(url, lease_s=0.0)) as other:
        journal._writes.close()  # as if it had noticed, and connected again
        with pytest.raises(Fenced):
            append(journal)
        append(other)
    assert firsts(url) == [0, 1]


def test_roles_may_do_what_they_must_and_no_more(url, postgresql_url):
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    engine, follower = f"engine_{name}", f"follower_{name}"
    with psycopg.connect(url, autocommit=True) as owner:
        for role in (engine, follower):
            owner.execute(f"create role {role} login password 'secret'")
    try:
        assert schema.migrate(url, engine, follower) == (schema.VERSION, schema.VERSION)
        login = url.partition("://")[2].partition("@")[0]
        with closing(PostgresJournal.open(url.replace(login, f"{engine}:secret"))) as journal:
            append(journal)
        reads = url.replace(login, f"{follower}:secret")
        assert firsts(reads) == [0]
        with pytest.raises(Unavailable, match="permission denied"):
            PostgresJournal.open(reads)
        with psycopg.connect(url.replace(login, f"{engine}:secret"), autocommit=True) as session:
            for forbidden in ("update tallystick.blocks set lanes = 1", "delete from tallystick.blocks"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    session.execute(forbidden)
    finally:
        with psycopg.connect(url, autocommit=True) as owner:
            for role in (engine, follower):
                owner.execute(f"drop owned by {role}")
                owner.execute(f"drop role {role}")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("update tallystick.blocks set body = set_byte(body, 300, 255 - get_byte(body, 300))", "hash"),
        ("delete from tallystick.blocks where first = 1", "stands where"),
        ("update tallystick.blocks set body = (select body from tallystick.blocks where first = 0)", "stands where"),
    ],
)
def test_rows_that_somebody_changed_are_corrupt(url, journal, damage, told):
    for _ in range(3):
        append(journal)
    with psycopg.connect(url, autocommit=True) as session:
        session.execute(damage)
    with closing(PostgresJournalReader(url)) as reader, pytest.raises(Corrupt, match=told):
        list(reader.read(0))


class TestAServerThatCannotBeUsed:
    """One line each, without a trace of the driver, and nothing is begun."""

    def said(self, url):
        said = []
        for opened in (PostgresJournal.open, lambda url: PostgresJournalReader(url).end()):
            with pytest.raises(Unavailable) as raised:
                opened(url)
            said.append(str(raised.value))
        assert said[0] == said[1]
        assert "\n" not in said[0]
        assert "secret" not in said[0]
        return said[0]

    def test_nobody_listens(self, url):
        port = psycopg.conninfo.conninfo_to_dict(url)["port"]
        with closing(socket.create_server(("127.0.0.1", 0))) as other:
            free = other.getsockname()[1]
        assert "cannot be reached" in self.said(url.replace(f":{port}/", f":{free}/"))

    def test_the_password_is_wrong(self, url):
        password = psycopg.conninfo.conninfo_to_dict(url)["password"]
        assert "password authentication failed" in self.said(url.replace(password, "secret"))

    def test_the_certificate_is_not_of_that_host(self, url):
        assert "certificate" in self.said(url.replace("@127.0.0.1:", "@ip6-localhost:") + "&hostaddr=127.0.0.1")

    def test_it_is_too_old(self, url, monkeypatch):
        monkeypatch.setattr(connecting, "VERSION_MIN", 99)
        assert "99 or newer is needed" in self.said(url)

    def test_it_has_no_tables(self, database):
        assert "holds no journal yet" in self.said(database)
        assert "tally migrate" in self.said(database)

    def test_its_tables_are_of_a_later_program(self, url):
        with psycopg.connect(url, autocommit=True) as session:
            session.execute("insert into tallystick.migrations (version) values (9999)")
        assert "version 9999, this program knows" in self.said(url)

    def test_it_keeps_nothing_through_a_power_cut(self, own_postgresql):
        server = own_postgresql()
        schema.migrate(server.url())
        with server.connect() as session:
            session.execute("alter system set fsync = off")
            session.execute("select pg_reload_conf()")
            wait_until(lambda: session.execute("show fsync").fetchone() == ("off",), LATER_S, "not reloaded")
        assert "fsync and full_page_writes must be on" in self.said(server.url())


def test_a_lock_that_is_no_writers_is_told_of(url):
    with closing(PostgresJournal.open(url)):
        pass
    with psycopg.connect(url, autocommit=True) as session:
        session.execute("select pg_advisory_lock(%s, 0)", [writing._LOCK_CLASS])
        with pytest.raises(Unavailable, match="no writer's"):
            PostgresJournal.open(url, lease_s=0.0)


@pytest.mark.parametrize("weaker", ["off", "local", "remote_write"])
def test_a_database_that_commits_without_waiting_is_made_to_wait(url, weaker):
    with psycopg.connect(url, autocommit=True) as database:
        name = database.info.dbname
        database.execute(f"alter database {name} set synchronous_commit = {weaker}")
    with closing(session(url, "test")) as opened:
        assert opened.read("select current_setting('synchronous_commit')") == [("on",)]


def test_migrating_twice_changes_nothing(database):
    assert schema.migrate(database) == (0, schema.VERSION)
    assert schema.migrate(database) == (schema.VERSION, schema.VERSION)
