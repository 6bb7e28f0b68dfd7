import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tallystick.supervise.processes import Spec, SystemLauncher, kill_orphan, start_ticks


@pytest.fixture
def log(tmp_path: Path) -> int:
    return os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT | os.O_APPEND)


def python(source: str) -> tuple[str, ...]:
    return (sys.executable, "-c", source)


def wait_for(process: object) -> int:
    code = process._child.wait(timeout=20)  # type: ignore[attr-defined]
    assert isinstance(code, int)
    return code


def test_output_of_a_process_is_forwarded_and_its_exit_code_told(log: int, tmp_path: Path) -> None:
    process = SystemLauncher(log)(Spec("one", python("import sys; print('hello'); sys.exit(3)")))
    assert wait_for(process) == 3
    assert process.poll() == 3
    assert (tmp_path / "log").read_text() == "hello\n"


def test_a_process_has_its_own_group_and_priority_and_our_session(log: int, tmp_path: Path) -> None:
    process = SystemLauncher(log)(Spec("follower", ("sleep", "60"), nice=5))
    try:
        assert os.getpgid(process.pid) == process.pid
        assert os.getsid(process.pid) == os.getsid(0)
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == 5
        assert os.sched_getscheduler(process.pid) == os.SCHED_OTHER
    finally:
        process.kill()
        wait_for(process)


def test_an_idle_process_and_its_threads_run_when_nothing_else_wants_to(log: int, tmp_path: Path) -> None:
    source = "import threading, os; threading.Thread(target=lambda: print(os.sched_getscheduler(0))).start()"
    process = SystemLauncher(log)(Spec("follower", python(source), nice=5, idle=True))
    try:
        assert os.sched_getscheduler(process.pid) == os.SCHED_IDLE
        assert wait_for(process) == 0
        assert (tmp_path / "log").read_text() == f"{os.SCHED_IDLE}\n"
    finally:
        process.kill()
        wait_for(process)


def test_kill_ends_what_a_process_started_too(log: int) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    source = f"import subprocess, sys, os; os.write({writer}, b'x'); subprocess.run(['sleep', '60'], close_fds=False)"
    child = subprocess.Popen(python(source), start_new_session=True, close_fds=False)
    os.close(writer)
    assert os.read(reader, 1) == b"x"
    assert kill_orphan(child.pid, start_ticks(child.pid) or 0)
    assert child.wait(timeout=20) == -signal.SIGKILL
    assert os.read(reader, 1) == b""  # end of file: nobody holds the pipe any more, the grandchild neither


def test_a_process_with_the_number_but_not_the_start_of_an_orphan_is_left_alone(log: int) -> None:
    process = SystemLauncher(log)(Spec("other", ("sleep", "60")))
    try:
        assert process.start_ticks > 0
        assert not kill_orphan(process.pid, process.start_ticks + 1)
        assert process.poll() is None
    finally:
        process.kill()
        assert wait_for(process) == -signal.SIGKILL


def test_a_process_that_is_gone_has_no_start(log: int) -> None:
    process = SystemLauncher(log)(Spec("brief", ("true",)))
    wait_for(process)
    assert start_ticks(process.pid) is None
    process.kill()
    process.terminate()
