"""`tally services move`: files that were in use become tables, row by row the same, each file whole or not at all."""

import json
import os
import sqlite3
import subprocess
from contextlib import closing

import psycopg
import pytest

from tallystick.acts.postgresql import PostgresActs
from tallystick.acts.sqlite import SqliteActs
from tallystick.blockfile.disk import SystemDisk
from tallystick.blockfile.slots import Slots
from tallystick.clock import SystemClock, system_entropy
from tallystick.compose import services_moving, signer, up
from tallystick.errors import Corrupt, Invalid, Unavailable
from tallystick.lab.instance import tally
from tallystick.metadata.postgresql import PostgresTexts
from tallystick.metadata.sqlite import SqliteTexts
from tallystick.notifier.postgresql.tables import PostgresTables
from tallystick.notifier.schema import FILE, LOCK
from tallystick.notifier.sqlite import SqliteTables
from tallystick.settings import Settings
from tallystick.signer import keyfile
from tallystick.signer.signing import Signing
from tallystick.tlog.checkpoints import Checkpoint
from tallystick.tlog.merkle import EMPTY_ROOT, leaf_hash, node_hash

pytestmark = pytest.mark.service
ACTS = [b'{"act":"one"}', b'{"act":"two"}', b'{"act":"three"}']
TEXTS = [(1, bytes([number]) * 32, f"person-{number}", b"sealed \x00\xff") for number in range(5)]
FILES = ("notifier/notifier.db", "acts/access.db", "acts/control.db", "metadata/texts.db")
SUBSCRIPTION = (
    "INSERT INTO subscriptions (id, tenant, url, types, description, signature, enabled, reason, created_at, "
    "changed_at, version, since_seq, behind_seq, failing_since) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
DELIVERY = (
    "INSERT INTO deliveries (subscription, seq, webhook_id, type, body, state, tries, attempts, made_at, due_at, "
    "done_at, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


@pytest.fixture
def used(tmp_path):
    """The settings of a data folder whose services have kept something in files."""
    settings = Settings(data=tmp_path / "data")
    settings.path(FILE[0]).mkdir(parents=True)
    with closing(SqliteTables(settings.path(*FILE))) as tables, tables.commit():
        mine = tables.add(
            SUBSCRIPTION, b"s" * 16, -7, "https://shop.example/ä", '["*"]', "", "v1", 1, "", 5, 6, 1, 0, None, 9
        )
        tables.run("INSERT INTO keys (subscription, key, expires_at) VALUES (?, ?, ?)", mine, "whsec_abc", None)
        for seq in (None, 3, 4):
            last = tables.add(DELIVERY, mine, seq, f"w{seq}", "transfer.created", b"{}", 0, 1, 1, 5, 6, None, "")
        tables.run("INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?)", last, 1, 5, 12, 500, "")
        tables.run("INSERT INTO cursor VALUES (1, 5, ?)", b"h" * 32)
        tables.run("DELETE FROM deliveries WHERE number = ?", last)  # its number is never given again
    with closing(SqliteActs(settings.path("acts", "access.db"))) as acts:
        acts.append(ACTS)
    with closing(SqliteActs(settings.path("acts", "control.db"))) as acts:
        acts.append(ACTS[:1])
    with closing(SqliteTexts(settings.path("metadata", "texts.db"))) as texts:
        texts.keep(TEXTS)
    return settings


def move(settings, url):
    return services_moving.move(settings, url, None, lambda done, total: None)


def there(settings):
    return [name for name in FILES if settings.path(name).exists()]


def rows(url, table):
    with psycopg.connect(url) as session:
        try:
            return session.execute(f"select count(*) from {table}").fetchone()[0]
        except psycopg.errors.UndefinedTable:
            return 0


def last_writer(url):
    with psycopg.connect(url) as session:
        return session.execute("select xmin::text from texts_0.about").fetchone()


def test_all_of_it_stands_in_the_database_and_is_gone_on_with(used, database):
    with closing(SqliteTables(used.path(*FILE))) as before:
        kept = {
            name: before.rows(f"SELECT * FROM {name} ORDER BY 1") for name in ("subscriptions", "deliveries", "cursor")
        }
    environment = {**os.environ, "TALLY_SERVICES": database, "TALLY_DATA": str(used.data)}
    done = subprocess.run(tally("services", "move", "--json"), env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = {each["service"]: each for each in json.loads(done.stdout)}
    assert {name: each["rows"] for name, each in told.items()} == {
        "webhooks": 5,
        "acts (access)": 3,
        "acts (control)": 1,
        "texts": 5,
    }
    assert len({told[name]["root"] for name in told}) == 3, "two trees, and what is none"
    assert there(used) == []
    with closing(PostgresTables(database, 0)) as tables:
        for name, before_rows in kept.items():
            assert [tuple(row) for row in tables.rows(f"SELECT * FROM {name} ORDER BY 1")] == before_rows
        with tables.commit():
            assert tables.add(DELIVERY, 1, 9, "w9", "transfer.created", b"{}", 0, 1, 1, 5, 6, None, "") == 4
    with closing(PostgresActs(database, 0, "access")) as acts:
        assert acts.read(0, 10) == ACTS
        assert acts.append([b"{}"]) == 3
    with closing(PostgresTexts(database, 0)) as texts:
        assert texts.find(1, bytes([3]) * 32) == ("person-3", b"sealed \x00\xff")
    again = subprocess.run(tally("services", "move"), env=environment, capture_output=True, text=True)
    assert again.returncode == 0
    assert "nothing to move" in again.stderr
    environment["TALLY_SERVICES"] = "files"
    for command in (("audit", "acts", "control"), ("up", "notifier")):
        forgotten = subprocess.run(tally(*command), env=environment, capture_output=True, text=True)
        assert forgotten.returncode
        assert "was moved to a database" in forgotten.stderr


def sign(settings, log, count):
    """Have the real signer sign the first acts."""
    disk, folder, origin = SystemDisk(), signer.folder_of(settings, log), settings.log_origin_of(log)
    disk.make_folder(folder)
    keyfile.create(folder / signer.KEYS, origin, system_entropy)
    root = EMPTY_ROOT
    for entry in ACTS[:count]:  # three at most: two in a subtree of their own, and one
        root = leaf_hash(entry) if root == EMPTY_ROOT else node_hash(root, leaf_hash(entry))
    with closing(Slots(folder / signer.SIGNED, disk)) as last:
        signing = Signing(origin, lambda: keyfile.read(folder / signer.KEYS), last, SystemClock())
        signing.sign(0, [], Checkpoint(origin, count, root))


@pytest.mark.parametrize("count", [2, 3])
def test_acts_are_moved_that_are_those_that_were_signed(used, database, count):
    sign(used, "access", count)
    assert [each.rows for each in move(used, database)] == [5, 3, 1, 5]


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        ("UPDATE acts SET entry = 'other' WHERE number = 1", "the first 3 acts are not those that were signed"),
        ("DELETE FROM acts WHERE number = 2", "3 acts were signed, and only 2 are there"),
    ],
)
def test_acts_that_are_not_those_that_were_signed_are_not_moved(used, database, harm, why):
    sign(used, "access", 3)
    with closing(sqlite3.connect(used.path("acts", "access.db"), isolation_level=None)) as file:
        file.execute(harm.replace("'other'", "CAST('other' AS BLOB)"))
    with pytest.raises(Corrupt, match=why):
        move(used, database)
    assert there(used) == ["acts/access.db", "acts/control.db", "metadata/texts.db"], "webhooks came first"
    assert rows(database, "acts_0.acts") == 0


def test_what_was_cut_off_before_the_new_name_is_done_again(used, database):
    move(used, database)
    for name in FILES:
        used.path(f"{name}.moved").rename(used.path(name))
    wrote = last_writer(database)
    assert [(each.rows, each.again) for each in move(used, database)] == [(5, True), (3, True), (1, True), (5, True)]
    assert there(used) == []
    assert rows(database, "notifier_0.deliveries") == 2
    assert last_writer(database) != wrote, "a commit that writes nothing waits for no standby"


def test_other_rows_are_neither_mixed_with_the_files_nor_replaced(used, database):
    with closing(PostgresActs(database, 0, "access")) as acts:
        acts.append([b"another's"])
    with pytest.raises(Invalid, match="other rows in acts_0"):
        move(used, database)
    assert there(used) == ["acts/access.db", "acts/control.db", "metadata/texts.db"], "webhooks came first"
    assert rows(database, "acts_0.acts") == 1


def test_nothing_is_moved_while_something_runs(used, database):
    with closing(SqliteActs(used.path("acts", "access.db"))), pytest.raises(Unavailable, match=r"access\.db is in use"):
        move(used, database)
    used.path("run").mkdir(exist_ok=True)
    with up.alone(used), pytest.raises(Unavailable, match="already up"):
        move(used, database)
    used.path("notifier", "notifier.db.moved").rename(used.path(*FILE))
    lock = SystemDisk().lock(used.path(*LOCK))
    with pytest.raises(Unavailable, match="a notifier runs"):
        move(used, database)
    lock.release()
    with closing(PostgresTables(database, 0)), pytest.raises(Unavailable, match="another notifier"):
        move(used, database)


def test_a_file_is_moved_whole_or_not_at_all(used, database):
    with closing(sqlite3.connect(used.path("metadata", "texts.db"), isolation_level=None)) as file:
        file.execute("UPDATE texts SET person = ? WHERE commitment = ?", ["no\0text", TEXTS[4][1]])
    with closing(sqlite3.connect(used.path("acts", "control.db"), isolation_level=None)) as file:
        file.execute("UPDATE acts SET number = 1")
    with pytest.raises(Corrupt, match="act 0 is not there"):
        move(used, database)
    assert rows(database, "acts_0.acts") == 3, "access alone"
    with closing(sqlite3.connect(used.path("acts", "control.db"), isolation_level=None)) as file:
        file.execute("UPDATE acts SET number = 0")
    with pytest.raises(Unavailable, match="nothing of this file was moved"):
        move(used, database)
    assert there(used) == ["metadata/texts.db"]
    assert rows(database, "texts_0.texts") == 0


def test_what_the_database_made_of_it_is_held_against_the_file(used, database):
    with closing(PostgresTexts(database, 0)) as texts:
        assert texts.count(1, "person-1") == 0  # which makes the table
    with psycopg.connect(database, autocommit=True) as session:
        session.execute(
            "create function public.altered() returns trigger language plpgsql as "
            "$$ begin new.sealed := ''::bytea; return new; end $$"
        )
        session.execute(
            "create trigger altered before insert on texts_0.texts for each row execute function public.altered()"
        )
    with pytest.raises(Unavailable, match="what was read back is not what"):
        move(used, database)
    assert there(used) == ["metadata/texts.db"]
    assert rows(database, "texts_0.texts") == 0
