"""Programs that are not ours: built once from pinned sources, run as their users run them. What cannot be had is
skipped aloud.
"""

import base64
import contextlib
import hashlib
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from tallystick.lab.instance import pause, tally
from tallystick.tlog.merkle import EMPTY_ROOT

HERE = Path(__file__).parent
BUILD_S_MAX, START_S_MAX = 900, 60.0
PROGRAMS = {
    # module's folder: (Go's version if another than the machine's, programs of others in it)
    ".": ("", ()),
    "torchwood": ("go1.27.3", ("filippo.io/torchwood/cmd/litewitness",)),
    "witnesses": (
        "",
        (
            "github.com/transparency-dev/witness/cmd/omniwitness",
            "github.com/transparency-dev/witness/cmd/generate_keys",
            "github.com/transparency-dev/tessera/cmd/examples/posix-oneshot",
        ),
    ),
}


def built(module):
    """The folder with the module's programs; what was built once stays in the temp directory, by its sources' hash."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("SKIPPED: no Go on this machine, so no foreign judge has looked at our logs")
    folder, (toolchain, packages) = HERE / module, PROGRAMS[module]
    sources = b"".join((folder / name).read_bytes() for name in ("go.mod", "go.sum", "main.go"))
    digest = hashlib.sha256(repr(packages).encode() + sources).hexdigest()[:16]
    place = Path(tempfile.gettempdir()) / f"tallystick-judges-{os.getuid()}-{digest}"
    if place.exists() and place.stat().st_uid == os.getuid():
        return place
    environment = {**os.environ, "GOFLAGS": "-mod=readonly -buildvcs=false"}
    if toolchain:
        environment["GOTOOLCHAIN"] = toolchain
    draft = Path(tempfile.mkdtemp(prefix="tallystick-judges-"))
    done = subprocess.run(
        [go, "build", "-o", f"{draft}/", ".", *packages],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=BUILD_S_MAX,
        check=False,
    )
    if done.returncode and any(word in done.stderr for word in ("dial tcp", "download", "toolchain")):
        pytest.skip(f"SKIPPED: {module}: the judges' sources cannot be fetched: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    with contextlib.suppress(OSError):  # another run was first
        draft.rename(place)
    return place


@dataclass(frozen=True)
class Witness:
    """One that runs: where, under which keys, and its process."""

    name: str
    url: str
    vkeys: list[str]
    process: subprocess.Popen


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def until(holds, what):
    for _ in range(round(START_S_MAX / 0.05)):
        if found := holds():
            return found
        pause(0.05)
    pytest.fail(f"{what} within {START_S_MAX} s")


def answers(url):
    """Whether anybody speaks HTTP there."""
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


@contextlib.contextmanager
def process(command, log, environment=None):
    with log.open("ab") as file:
        started = subprocess.Popen(
            [*map(str, command)], stdout=file, stderr=file, env={**os.environ, **(environment or {})}
        )
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def event(log, name):
    """A line of a log of ours, once it is there."""
    for line in log.read_text().splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            if json.loads(line).get("event") == name:
                return json.loads(line)
    return None


@contextlib.contextmanager
def ours(folder, logs):
    """`tally up witness`."""
    (folder / "witness").mkdir(parents=True, exist_ok=True)
    (folder / "witness" / "logs.policy").write_text("".join(f"log {log.vkey}\n" for log in logs) + "quorum none\n")
    log, port = folder / "log", free_port()
    log.unlink(missing_ok=True)
    environment = {"TALLY_WITNESS_NAME": "ours.example/w", "TALLY_WITNESS_PORT": str(port)}
    with process([*tally("up"), "witness", "--data", folder], log, environment) as started:
        line = until(lambda: event(log, "witness listening"), "our witness does not listen")
        yield Witness("ours", f"http://127.0.0.1:{port}", line["keys"], started)


@contextlib.contextmanager
def omniwitness(folder, logs):
    """transparency-dev's. It knows one key a log; both of its own sign."""
    programs = built("witnesses")
    folder.mkdir(parents=True, exist_ok=True)
    keys, vkeys = [], []
    for kind in ("ed25519", "mldsa"):
        private, public = folder / f"{kind}.key", folder / f"{kind}.vkey"
        if not private.exists():
            words = ["-origin", "omni.example/w", "-out_priv", private, "-out_pub", public]
            kinds = ["-mldsa"] if kind == "mldsa" else []
            subprocess.run([programs / "generate_keys", *words, *kinds], check=True, capture_output=True)
        keys += ["--private_key_path", private]
        vkeys.append(public.read_text().strip())
    known = {log.name: log for log in reversed(logs)}.values()
    watched = [f"  - Origin: {log.name}\n    PublicKey: {log.vkey}\n    URL: http://127.0.0.1:1/\n" for log in known]
    (folder / "logs.yaml").write_text("Logs:\n" + "".join(watched))
    port = free_port()
    command = [
        programs / "omniwitness",
        f"--listen=127.0.0.1:{port}",
        "--metrics_listen=",
        f"--db_file={folder / 'db'}",
        f"--additional_logs={folder / 'logs.yaml'}",
        *keys,
    ]
    with process(command, folder / "log") as started:
        url = f"http://127.0.0.1:{port}"
        until(lambda: answers(url), "omniwitness does not listen")
        yield Witness("omniwitness", url, vkeys, started)


@contextlib.contextmanager
def litewitness(folder, logs):
    """Torchwood's. Its tool for adding logs cannot be built here, so its database is filled by us; its key is held by
    ssh-agent."""
    programs = built("torchwood")
    if shutil.which("ssh-agent") is None or shutil.which("ssh-keygen") is None:
        pytest.skip("SKIPPED: litewitness wants ssh-agent and ssh-keygen (Debian: openssh-client)")
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "key").exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True)
    with contextlib.closing(sqlite3.connect(folder / "db")) as database, database:
        database.executescript(
            """
            CREATE TABLE IF NOT EXISTS log (
                origin TEXT PRIMARY KEY, tree_size INTEGER NOT NULL, tree_hash TEXT NOT NULL
            );
            CREATE TABLE IF NOT EXISTS key (origin TEXT NOT NULL, key TEXT NOT NULL);
            CREATE TABLE IF NOT EXISTS bastion (origin TEXT NOT NULL, bastion TEXT NOT NULL);
            """
        )
        empty = base64.b64encode(EMPTY_ROOT).decode()
        for log in logs:
            database.execute("INSERT OR IGNORE INTO log VALUES (?, 0, ?)", (log.name, empty))
            database.execute("DELETE FROM key WHERE key = ?", (log.vkey,))
            database.execute("INSERT INTO key VALUES (?, ?)", (log.name, log.vkey))
    # A socket's path has room for 100 bytes, and a test's folder may be deep.
    with tempfile.TemporaryDirectory(prefix="agent-") as short:
        agent = Path(short) / "agent"
        with process(["ssh-agent", "-D", "-a", agent], folder / "agent.log"):
            until(agent.exists, "ssh-agent does not listen")
            environment = {**os.environ, "SSH_AUTH_SOCK": str(agent)}
            subprocess.run(["ssh-add", folder / "key"], env=environment, check=True, capture_output=True)
            shown = subprocess.run(
                ["ssh-keygen", "-lf", folder / "key.pub"], capture_output=True, text=True, check=True
            )
            fingerprint, port = shown.stdout.split()[1], free_port()
            command = [programs / "litewitness", "-db", folder / "db", "-name", "lite.example/w", "-key", fingerprint]
            command += ["-ssh-agent", agent, "-listen", f"127.0.0.1:{port}"]
            with process(command, folder / "log") as started:
                url = f"http://127.0.0.1:{port}"
                until(lambda: answers(url), "litewitness does not listen")
                yield Witness("litewitness", url, [_verifier_key(folder / "log")], started)


def _verifier_key(log):
    for word in log.read_text().replace('"', " ").split():
        if "lite.example/w+" in word:
            return word[word.index("lite.example/w+") :]
    raise AssertionError(f"litewitness tells no key: {log.read_text()}")


WITNESSES = {"ours": ours, "litewitness": litewitness, "omniwitness": omniwitness}
