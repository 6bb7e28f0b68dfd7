"""What the lab asks of an instance's processes: only of those that run, whatever the status file still says."""

import os
import signal
import sys
import threading

import pytest

from tallystick.errors import Unavailable
from tallystick.lab import procstat
from tallystick.lab.instance import Instance
from tallystick.supervise import status
from tallystick.supervise.processes import Spec, SystemLauncher


@pytest.fixture
def start():
    """Starts a process that lives until it is killed; none is left at the end."""
    launcher, started = SystemLauncher(2), []

    def start():
        started.append(launcher(Spec("engine", (sys.executable, "-c", "import signal; signal.pause()"))))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        while process.poll() is None:
            pass


@pytest.fixture
def instance(tmp_path):
    (tmp_path / "run").mkdir()
    return Instance(tmp_path)


def say(instance, process, ticks=None):
    """What a supervisor writes down while it takes `process` to run."""
    row = status.ProcessStatus(
        name="engine",
        state="running",
        pid=process.pid,
        start_ticks=process.start_ticks if ticks is None else ticks,
        started_at_ns=1,
        starts=1,
        last_exit=None,
    )
    status.write(instance.folder / "run", status.SupervisorStatus(pid=os.getpid(), processes=[row]))


def test_a_process_that_runs_is_killed(instance, start):
    process = start()
    say(instance, process)
    assert instance.pid("engine") == process.pid
    before_ns = instance.clock.wall_ns()
    assert before_ns <= instance.kill("engine") <= instance.clock.wall_ns()
    assert process.poll() == -signal.SIGKILL  # dead already


def test_one_that_died_and_was_not_told_of_yet_does_not_run(instance, start):
    process = start()
    say(instance, process)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet taken notice of
    with pytest.raises(Unavailable, match="engine does not run"):
        instance.kill("engine")
    process.poll()
    with pytest.raises(Unavailable, match="engine does not run"):
        instance.pid("engine")


def test_a_stranger_with_the_same_number_is_left_alone(instance, start):
    process = start()
    say(instance, process, ticks=process.start_ticks - 1)
    with pytest.raises(Unavailable):
        instance.kill("engine")
    assert process.poll() is None


def test_a_kill_waits_for_the_next_start(instance, start):
    first, second = start(), start()
    say(instance, first)
    instance.kill("engine")
    later = threading.Timer(0.1, say, (instance, second))
    later.start()
    try:
        instance.kill("engine", within_s=30)
    finally:
        later.join()
    assert second.poll() == -signal.SIGKILL


def test_a_process_that_is_stopped_does_nothing_until_the_end(instance, start):
    process = start()
    say(instance, process)
    with instance.stopped("engine"):
        assert procstat.is_stopped(process.pid)
    assert not procstat.is_stopped(process.pid)
    with instance.stopped("engine"):
        assert instance.kill("engine")
        assert process.poll() == -signal.SIGKILL
