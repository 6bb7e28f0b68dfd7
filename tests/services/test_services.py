"""`make services`: real servers come up, are told apart from others by pid and birth, and exactly those are stopped."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from services import addresses, kafka
from services.server import Process, alive, send, spawn, stop, wait_gone

ROOT = Path(__file__).parents[2]


def services(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "services", *arguments, "--folder", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.service
def test_postgresql_comes_up_with_tls_and_a_password_stays_and_is_stopped(services_folder, postgresql_url):
    folder = services_folder / "made"
    done = services(folder, "start", "postgresql")
    assert done.returncode == 0, done.stderr
    kept = addresses.read(folder)["postgresql"]
    url = kept.address["url"]
    with psycopg.connect(url) as session:
        assert session.execute("select version from pg_stat_ssl where pid = pg_backend_pid()").fetchone()[0] > "TLSv1.2"
        session.execute("create table kept as select 1 as one")
    for wrong in (url.replace("verify-full", "disable"), url.replace(kept.address["password"], "guess")):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(wrong)
    assert "runs already" in services(folder, "start", "postgresql").stdout
    assert addresses.read(folder)["postgresql"] == kept
    assert oct(addresses.path(folder).stat().st_mode)[-3:] == "600"
    with psycopg.connect(postgresql_url) as beside:
        assert services(folder, "stop").stdout == "postgresql: stopped\n"
        assert beside.execute("select 1").fetchone() == (1,)
    assert not any(alive(process) for process in kept.processes)
    assert services(folder, "status").returncode == 1
    # the same data, wherever it listens now
    assert services(folder, "start", "postgresql").returncode == 0
    with psycopg.connect(addresses.read(folder)["postgresql"].address["url"]) as session:
        assert session.execute("select one from kept").fetchone() == (1,)
    assert services(folder, "stop").returncode == 0


@pytest.mark.service
def test_one_that_was_paused_goes_on_and_one_that_was_killed_comes_back_where_it_was(services_folder, postgresql_url):
    folder = services_folder / "hurt"
    assert services(folder, "pause", "postgresql").returncode == 1  # there is none yet
    assert services(folder, "start", "postgresql").returncode == 0
    kept = addresses.read(folder)["postgresql"]
    url = kept.address["url"]
    with psycopg.connect(url, autocommit=True) as session:
        session.execute("create table kept as select 1 as one")
        assert services(folder, "pause", "postgresql").returncode == 0
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url, connect_timeout=2)
        assert services(folder, "unpause", "postgresql").returncode == 0
        assert session.execute("select one from kept").fetchone() == (1,)
        assert services(folder, "kill", "postgresql").returncode == 0
        assert not any(alive(process) for process in kept.processes)
        with pytest.raises(psycopg.OperationalError):
            session.execute("select 1")
    assert services(folder, "start", "postgresql").returncode == 0
    with psycopg.connect(url) as session:
        assert session.execute("select one from kept").fetchone() == (1,)
    assert services(folder, "stop").returncode == 0


@pytest.mark.service
@pytest.mark.timeout(300)
def test_brokers_come_up_together_know_their_user_and_leave_no_process_behind(services_folder, kafka_url, rabbitmq_url):
    folder = services_folder / "brokers"
    done = services(folder, "start", "kafka", "rabbitmq")
    assert done.returncode == 0, done.stderr
    kept = addresses.read(folder)
    assert {name: len(each.processes) for name, each in kept.items()} == {"kafka": 1, "rabbitmq": 2}
    for each in kept.values():
        assert "://tally:" in each.address["url"]
        assert "tls=on" in each.address["url"]
    assert services(folder, "stop").returncode == 0
    assert not any(alive(process) for each in kept.values() for process in each.processes)


def test_the_id_of_a_kafka_cluster_is_no_option_of_a_command_line(monkeypatch):
    made = iter(["-looks-like-an-option", "good"])
    monkeypatch.setattr(kafka.secrets, "token_urlsafe", lambda size: next(made))
    assert kafka.cluster_id() == "good"


def test_a_number_that_another_process_has_got_is_not_signalled(tmp_path):
    process = spawn([sys.executable, "-c", "import signal; signal.pause()"], tmp_path, tmp_path / "log")
    for stale in (Process(process.pid, process.born - 1), Process(process.pid, 0)):
        send(stale, signal.SIGKILL)
        stop([stale])
    assert alive(process)
    stop([process])
    assert not alive(process)


def test_a_process_gets_nothing_of_our_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("PGPORT", "5432")
    program = "import json, os; print(json.dumps(dict(os.environ)))"
    process = spawn([sys.executable, "-c", program], tmp_path, tmp_path / "log")
    wait_gone([process])
    assert set(json.loads((tmp_path / "log").read_text())) - {"LC_CTYPE"} == {"PATH", "LANG", "HOME"}


def test_an_unknown_server_is_named(tmp_path):
    done = services(tmp_path, "start", "oracle")
    assert done.returncode == 2
    assert "no server oracle; there are kafka, kafka-cluster, postgresql, postgresql-pair, rabbitmq" in done.stderr


@pytest.mark.service
def test_a_standby_follows_and_is_promoted_when_the_primary_is_killed(own_postgresql):
    primary = own_postgresql()
    standby = primary.standby(primary.folder.parent / "standby")
    primary.wait_for_standby()
    with primary.connect() as session:
        session.execute("create table kept as select 1 as one")
    primary.kill()
    assert not primary.is_alive()
    standby.promote()
    with standby.connect() as session:
        assert session.execute("insert into kept values (2) returning one").fetchone() == (2,)
        assert session.execute("select count(*) from kept").fetchone() == (2,)
