"""A real object store that speaks S3 (versitygw), built and started for tests; skipped aloud where there is no Go."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from tallystick.auditor.bucket import Bucket, Credentials
from tallystick.clock import SystemClock
from tallystick.errors import Unavailable
from tallystick.lab.instance import pause

STORE = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"
BUILD_S_MAX, START_S_MAX = 600, 30.0
KEYS = Credentials("bank", "a secret of forty characters or so, +/=")


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
