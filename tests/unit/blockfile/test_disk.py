"""`SystemDisk` against the real Linux: short writes, full disks, locks and registers between processes."""

import resource
import subprocess
import sys

import pytest

from tallystick.blockfile.disk import SystemDisk, SystemFile
from tallystick.errors import Corrupt, Fenced, OutcomeUnknown, Unavailable


@pytest.fixture
def disk():
    return SystemDisk()


@pytest.fixture
def size_limit():
    """Sets the largest size of files that this process may write: the real way to a short write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def run(source, *arguments):
    """Another Python process."""
    return subprocess.run([sys.executable, "-c", source, *map(str, arguments)], check=True, capture_output=True)


def test_what_is_written_is_read(disk, tmp_path):
    file = disk.create(tmp_path / "file")
    file.write(3, [b"abc", b"", bytearray(b"de"), memoryview(b"fgh")])
    file.sync()
    assert file.size() == 11
    assert file.read(0, 100) == b"\0\0\0abcdefgh"
    assert disk.open(tmp_path / "file").read(4, 2) == b"bc"


def test_many_buffers_are_written_in_order(disk, tmp_path):
    file = disk.create(tmp_path / "file")
    parts = [bytes([number % 251]) * (number % 7) for number in range(5000)]
    file.write(0, parts)
    assert file.read(0, 1 << 20) == b"".join(parts)


def test_a_write_that_stops_in_the_middle_may_have_left_bytes(disk, tmp_path, size_limit):
    file = disk.create(tmp_path / "file")
    size_limit(10)
    with pytest.raises(OutcomeUnknown):
        file.write(0, [b"abcdef", b"ghijkl"])
    assert file.read(0, 100) == b"abcdefghij"


def test_no_room_before_the_first_byte_is_unavailable():
    descriptor = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
    with pytest.raises(Unavailable):
        SystemFile("/dev/full", descriptor.fileno()).write(0, [b"a"])
    descriptor.close()


def test_a_sync_that_fails_is_outcome_unknown(tmp_path):
    with open("/dev/full", "rb") as device, pytest.raises(OutcomeUnknown):
        SystemFile("/dev/full", device.fileno()).sync()  # a device that knows no sync


def test_a_read_that_fails_is_corrupt(tmp_path):
    descriptor = open(tmp_path / "file", "wb")  # noqa: SIM115
    with pytest.raises(Corrupt):
        SystemFile(tmp_path / "file", descriptor.fileno()).read(0, 1)  # not open for reading
    descriptor.close()


def test_what_is_not_there_is_none_or_empty(disk, tmp_path):
    assert disk.open(tmp_path / "none") is None
    assert disk.register(tmp_path / "none") is None
    assert disk.modified_ns(tmp_path / "none") is None
    assert disk.list(tmp_path / "none") == []
    disk.remove(tmp_path / "none")
    with pytest.raises(OutcomeUnknown):
        disk.sync_folder(tmp_path / "none")


def test_folders_are_made_with_their_parents_and_again(disk, tmp_path):
    for _ in range(2):
        disk.make_folder(tmp_path / "a" / "b" / "c")
    assert disk.list(tmp_path / "a") == ["b"]
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable):
        disk.make_folder(tmp_path / "file")


def test_a_file_is_created_once(disk, tmp_path):
    disk.create(tmp_path / "file")
    with pytest.raises(Unavailable):
        disk.create(tmp_path / "file")


def test_removed_files_stay_readable_to_who_has_them_open(disk, tmp_path):
    file = disk.create(tmp_path / "file")
    file.write(0, [b"abc"])
    disk.remove(tmp_path / "file")
    assert disk.list(tmp_path) == []
    assert file.read(0, 3) == b"abc"


def test_a_register_is_shared_between_processes(disk, tmp_path):
    register = disk.register(tmp_path / "register", writable=True)
    assert register.load() == 0
    register.store(2**64 - 2)
    run(
        "import sys; from pathlib import Path; from tallystick.blockfile.disk import SystemDisk\n"
        "register = SystemDisk().register(Path(sys.argv[1]), writable=True)\n"
        "register.store(register.load() + 1)",
        tmp_path / "register",
    )
    assert register.load() == 2**64 - 1
    reader = disk.register(tmp_path / "register")
    assert reader.load() == 2**64 - 1
    with pytest.raises(TypeError):
        reader.store(1)
    register.store(5)
    assert reader.load() == 5


def test_a_lock_keeps_other_processes_out_and_dies_with_its_own(disk, tmp_path):
    path = tmp_path / "lock"
    source = (
        "import sys; from pathlib import Path; from tallystick.blockfile.disk import SystemDisk\n"
        "lock = SystemDisk().lock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", source, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(Fenced):
            disk.lock(path)
        process.kill()
        process.wait()
        lock = disk.lock(path)
    with pytest.raises(Fenced):
        disk.lock(path)
    lock.release()
    disk.lock(path, wait=True).release()


def test_the_free_share_is_a_share(disk, tmp_path):
    assert 0 < disk.free_share(tmp_path) <= 1
