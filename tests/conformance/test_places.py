"""Places for an exported log: a folder, and a bucket of a real object store (versitygw), where Go can build one."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from tallystick.auditor.bucket import Bucket, Credentials
from tallystick.auditor.export import export
from tallystick.auditor.places import Folder
from tallystick.cli import main
from tallystick.cli.exits import Exit
from tallystick.clock import SystemClock
from tallystick.conformance.places import PlaceConformance
from tallystick.errors import Unavailable
from tallystick.lab.instance import pause
from tallystick.tlog.auditing import check_whole
from tests.judges.logs import make_log

STORE = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"
BUILD_S_MAX, START_S_MAX = 600, 30.0
KEYS = Credentials("bank", "a secret of forty characters or so, +/=")


class TestFolder(PlaceConformance):
    @pytest.fixture
    def place(self, tmp_path):
        return Folder(tmp_path / "made")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The URL of an object store over a folder; its bucket `log` is there."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("SKIPPED: no Go on this machine, so no object store was tried")
    programs = Path(tempfile.gettempdir()) / f"tallystick-{STORE.replace('/', '-')}-{os.getuid()}"
    if not (programs / "versitygw").exists():
        done = subprocess.run(
            [go, "install", STORE],
            env={**os.environ, "GOBIN": str(programs)},
            capture_output=True,
            text=True,
            timeout=BUILD_S_MAX,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"SKIPPED: the object store cannot be built here: {done.stderr[-200:]}")
    data = tmp_path_factory.mktemp("store")
    (data / "files" / "log").mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["--access", KEYS.access_key, "--secret", KEYS.secret_key, "--port", f"127.0.0.1:{port}", "--quiet"]
    with (data / "out").open("wb") as out:
        process = subprocess.Popen(
            [programs / "versitygw", *words, "posix", str(data / "files")], stdout=out, stderr=out, cwd=data
        )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(round(START_S_MAX / 0.05)):
            with contextlib.suppress(Unavailable):
                bucket(url, "ready").get("anything")
                break
            pause(0.05)
        else:
            pytest.fail((data / "out").read_text())
        yield url
    finally:
        process.kill()
        process.wait()


def bucket(url, prefix, keys=KEYS):
    return Bucket(url, "log", prefix, keys, SystemClock().wall_ns)


@pytest.mark.service
@pytest.mark.timeout(BUILD_S_MAX)
class TestBucket(PlaceConformance):
    @pytest.fixture
    def place(self, store, request):
        return bucket(store, f"{request.node.name}/with a blank")


@pytest.mark.service
@pytest.mark.timeout(BUILD_S_MAX)
def test_a_log_in_a_bucket_grows_and_comes_to_its_signed_root(store, tmp_path):
    place = bucket(store, "bank.example/ledger/0")
    for name, size in (("small", 257), ("grown", 1000)):
        log = make_log(tmp_path / name, size)
        checkpoint = export(log.reader, place)
        assert place.get("checkpoint") == log.checkpoint
        assert checkpoint.size == size
        check_whole(checkpoint, lambda tile: place.get(tile.path))


@pytest.mark.service
@pytest.mark.timeout(BUILD_S_MAX)
def test_a_stranger_and_a_store_that_is_away_are_told_apart(store):
    with pytest.raises(Unavailable, match="403"):
        bucket(store, "x", Credentials("bank", "guessed")).put_once("a", b"b")
    with pytest.raises(Unavailable, match="does not answer"):
        bucket("http://127.0.0.1:1", "x").get("a")


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (["s3://log/x"], "--endpoint"),
        (["s3://log/x", "--endpoint", "http://127.0.0.1:1"], "--access-key"),
        (["s3://log/x", "--endpoint", "http://127.0.0.1:1", "--access-key", "bank"], "--secret-file"),
        (["s3:///x"], "PLACE"),
    ],
)
def test_a_bucket_without_its_keys_is_told_by_what_is_missing(words, field, capsys, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    assert main.run(["audit", "export", *words]) == Exit.NOT_DONE
    assert capsys.readouterr().err.startswith(f"tally: {field}: ")
