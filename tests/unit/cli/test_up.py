import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tallystick.cli import main, up
from tallystick.cli.exits import Exit
from tallystick.compose import up as compose
from tallystick.errors import Corrupt, Fenced, Invalid, Unavailable
from tallystick.settings import Settings
from tallystick.supervise.supervisor import NEEDS_A_PERSON, Event


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (Event("engine", "started", pid=7), "started (pid 7)"),
        (Event("engine", "could_not_start", restart_in_s=0.4), "could not be started; trying again in 0.4 s"),
        (Event("engine", "killed", pid=7), "did not stop in time and was killed"),
        (Event("engine", "ended", 7, 0, 12.34), "ended with code 0 after 12.3 s"),
        (Event("engine", "ended", 7, -9, 2.0, 0.0), "ended by signal 9 after 2.0 s; starting it again"),
        (Event("engine", "ended", 7, 3, 0.5, 0.8), "ended with code 3 after 0.5 s; again in 0.8 s"),
    ],
)
def test_events_are_told_in_plain_words(event: Event, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    up._report(event)
    assert capsys.readouterr().err == f"tally: engine {told}\n"
    up._report_json(event)
    assert json.loads(capsys.readouterr().out)["event"] == event.event


def test_what_needs_a_person_says_where_to_look(capsys: pytest.CaptureFixture[str]) -> None:
    up._report(Event("engine", "needs_a_person", 7, NEEDS_A_PERSON, 1.0))
    assert "read its log above" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Corrupt("block 7 does not verify"), Exit.NEEDS_A_PERSON),
        (Fenced("another writer took over"), Exit.NEEDS_A_PERSON),
        (Invalid("TALLY_INTAKE", "kafka:// needs a package more"), Exit.NEEDS_A_PERSON),
        (Invalid("", "the clock is ahead; it may be put right"), Exit.NOT_DONE),
        (Unavailable("the disk is full"), Exit.NOT_DONE),
        (ZeroDivisionError("division by zero"), Exit.NOT_DONE),
        (SystemExit(5), 5),
    ],
)
def test_how_one_process_ended_is_its_exit_code(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(name: str, settings: object) -> None:
        raise error

    monkeypatch.setattr(compose, "run_one", broken)
    words = ["up", "engine", "--data", str(tmp_path)]
    if isinstance(error, SystemExit):
        with pytest.raises(SystemExit, match="5"):
            main.run(words)
        return
    assert main.run(words) == code
    assert str(error) in capsys.readouterr().err


def test_a_fault_in_a_process_is_logged_whole_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(name: str, settings: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(compose, "run_one", broken)
    main.run(["up", "gateway", "--data", str(tmp_path)])
    (line,) = capsys.readouterr().err.splitlines()
    told = json.loads(line)
    assert (told["process"], told["event"]) == ("gateway", "failed")
    assert "ZeroDivisionError: division by zero" in told["exception"]
    assert "Traceback" in told["exception"]


def test_the_exit_code_for_a_person_is_the_one_the_supervisor_knows() -> None:
    assert Exit.NEEDS_A_PERSON == NEEDS_A_PERSON


def test_every_process_is_a_module_that_can_run() -> None:
    import importlib

    assert list(compose.PROCESSES)[:2] == ["engine", "gateway"]
    assert {*compose.FOLLOWERS, compose.RELAY} == {*compose.PROCESSES} - {"engine", "gateway"}
    for module in compose.PROCESSES.values():
        assert callable(importlib.import_module(module).run)


@pytest.mark.parametrize("setting", ["TALLY_JOURNAL", "TALLY_INTAKE"])
def test_adapters_that_forget_are_refused(
    setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(setting, "memory")
    assert main.run(["up", "--data", str(tmp_path)]) == Exit.NOT_DONE
    assert f"{setting}: memory is for tests" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("TALLY_INTAKE", "redis://broker", "redis is none of files, kafka://…, rabbitmq://…"),
        ("TALLY_INTAKE", "kafka://broker:none/x", "none is no port"),
        ("TALLY_RELAY", "kafka", "begins with none of kafka://, rabbitmq://"),
        ("TALLY_RELAY", "kafka://me:secret@broker/bank?partitions=no", "?partitions=no is no number"),
        ("TALLY_RELAY", "rabbitmq://me:secret@broker/bank?mechanism=PLAIN", "?mechanism is not known"),
    ],
)
def test_a_broker_that_no_process_could_understand_is_one_line_before_anything_starts(
    setting: str,
    value: str,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(setting, value)
    assert main.run(["up", "--data", str(tmp_path)]) == Exit.NOT_DONE
    *_, said = capsys.readouterr().err.splitlines()
    assert said.startswith(f"tally: {setting}: {told}")
    assert "secret" not in said
    assert not (tmp_path / "run").exists()


def test_a_clock_that_was_accepted_is_accepted_by_what_is_started() -> None:
    assert all("--accept-clock" in spec.command for spec in compose.specs(Settings(accept_clock=True)))
    assert not any("--accept-clock" in spec.command for spec in compose.specs(Settings()))


def test_further_gateways_take_the_ports_after_the_first_one_s() -> None:
    started = {spec.name: spec.command for spec in compose.specs(Settings(gateways=3, http_port=8000, followers=""))}
    assert list(started) == ["engine", "gateway", "gateway-2", "gateway-3"]
    ports = {name: command[command.index("--port") + 1] for name, command in started.items()}
    assert (ports["gateway"], ports["gateway-2"], ports["gateway-3"]) == ("8000", "8001", "8002")
    assert all(command[command.index("up") + 1] == name.partition("-")[0] for name, command in started.items())


@pytest.mark.service  # starts a process: NumPy must be new to it
def test_no_process_starts_a_thread_for_linear_algebra() -> None:
    source = """if True:
        import os
        from tallystick.cli import main
        main.run(["up", "nobody"])
        from tallystick.compose import projector
        print(len(os.listdir("/proc/self/task")))
    """
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    found = subprocess.run([sys.executable, "-c", source], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout == "1\n"


def test_followers_run_at_a_lower_priority_those_that_are_wanted() -> None:
    nice = {spec.name: spec.nice for spec in compose.specs(Settings())}
    assert nice["engine"] == nice["gateway"] == 0
    assert {name for name, priority in nice.items() if priority > 0} == set(compose.FOLLOWERS)
    assert {spec.name for spec in compose.specs(Settings()) if spec.idle} == set(compose.FOLLOWERS)
    assert not any(spec.idle for spec in compose.specs(Settings(followers_idle=False)))
    assert {spec.name for spec in compose.specs(Settings()) if spec.patience > 1} == set(compose.FOLLOWERS)
    assert [spec.name for spec in compose.specs(Settings(followers=""))] == ["engine", "gateway"]
    relaying = compose.specs(Settings(followers="", relay="kafka://broker/events"))
    assert [(spec.name, spec.nice) for spec in relaying][2:] == [("relay", compose.FOLLOWER_NICE)]
    with pytest.raises(Invalid, match="TALLY_FOLLOWERS"):
        compose.specs(Settings(followers="projector, nobody"))
