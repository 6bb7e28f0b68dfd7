import mmap
import os
import subprocess
import sys

import pytest

from tallystick.lab import procstat

BUSY = "import time\nwhile time.process_time() < 0.3: pass\nprint('done', flush=True)\ninput()"


def test_cpu_time_of_a_group_is_what_its_processes_took() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert child.stdout is not None
        child.stdout.readline()
        assert 290_000 <= procstat.cpu_us({child.pid}) <= 3_000_000
    finally:
        child.kill()
        child.wait()
    assert procstat.cpu_us({child.pid}) == 0


def test_memory_of_a_process_grows_with_what_it_holds() -> None:
    before = procstat.memory(os.getpid())
    # Mapped apart: what an allocator hands out may be memory that the process had already.
    with mmap.mmap(-1, 50_000_000, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:
        for at in range(0, len(held), mmap.PAGESIZE):
            held[at] = 1
        after = procstat.memory(os.getpid())
        assert after.anonymous - before.anonymous >= 0.9 * len(held)
    assert after.resident >= after.anonymous


def test_memory_of_no_process_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        procstat.memory(2**22 + 1)
