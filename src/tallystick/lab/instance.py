"""A whole Tallystick of one's own, in a folder, as `tally up` runs it: to be loaded, wounded and looked into."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

import msgspec

from tallystick import ids
from tallystick.client.http import Answer, Api
from tallystick.client.requests import Patience, settle
from tallystick.clock import SystemClock, system_entropy
from tallystick.compose.journals import Place
from tallystick.errors import TallystickError, Unavailable
from tallystick.gateway import auth
from tallystick.lab import procstat
from tallystick.lab.plan import CODE, LEDGER
from tallystick.supervise import status
from tallystick.supervise.processes import kill_orphan, start_ticks

TENANT = 1
READY_S = 180.0
"""A first start compiles the ledger kernel, which takes a while on a small machine."""
STOP_S = 20.0
ACCOUNTS_A_REQUEST = 1000
PORTS_TRIED = 50


class Account(msgspec.Struct, frozen=True):
    """An account as the API shows it, as far as a check needs it."""

    id: str
    debits_posted: str
    credits_posted: str
    debits_pending: str
    credits_pending: str


class _Found(msgspec.Struct):
    accounts: list[Account]


class _Result(msgspec.Struct):
    status: str


class _Results(msgspec.Struct):
    results: list[_Result]


class Instance:
    """A running instance. Leaving the context stops it."""

    def __init__(
        self,
        folder: Path,
        clock: SystemClock | None = None,
        gateways: int = 1,
        settings: Mapping[str, object] | None = None,
        own_session: bool = True,
    ) -> None:
        """`settings` are those to change, by their names in `Settings`.

        Without an `own_session`, priorities count between the platform's processes and the caller's others.
        """
        self.folder = folder
        self.clock = clock or SystemClock()
        self.port = _free_ports(gateways)
        self.urls = [f"http://127.0.0.1:{self.port + number}" for number in range(gateways)]
        self.url = self.urls[0]
        self.environment = [f"TALLY_{name.upper()}={value}" for name, value in (settings or {}).items()]
        self.place = Place.named(folder, str((settings or {}).get("journal", "files")))
        self.key = auth.make_key(system_entropy)
        self.key_file = folder / "lab.key"
        self.log_path = folder / "log"
        self._own_session = own_session
        self._supervisor: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Instance":
        self.prepare()
        self.start()
        try:
            self.wait_ready(READY_S)
        except BaseException:
            self.stop()
            raise
        return self

    def prepare(self) -> None:
        """Make the folder, and let the key in."""
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"lab-{ids.show(int.from_bytes(system_entropy(16), 'big'))}"
        auth.add_key(self.folder / "keys.json", self.key, TENANT, name, list(auth.SCOPES), self.clock.wall_ns())
        self.key_file.touch(mode=0o600)
        self.key_file.write_text(self.key)

    def start(self) -> None:
        """Start the supervisor, and do not wait for it. One that was killed is followed by the next."""
        with self.log_path.open("ab") as log:
            self._supervisor = subprocess.Popen(
                [
                    *("env", *self.environment),
                    *tally("up"),
                    *("--data", str(self.folder), "--port", str(self.port), "--gateways", str(len(self.urls))),
                    "--json",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=self._own_session,
                process_group=None if self._own_session else 0,
            )

    def kill_supervisor(self) -> None:
        """SIGKILL the supervisor; what it runs goes on without it."""
        assert self._supervisor is not None
        self._supervisor.kill()
        self._supervisor.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> int:
        """Stop everything, by SIGTERM and at last by SIGKILL; returns the supervisor's exit code."""
        assert self._supervisor is not None
        left = self.processes()
        self._supervisor.send_signal(signal.SIGTERM)
        try:
            code = self._supervisor.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._supervisor.kill()
            code = self._supervisor.wait()
        if code != 0:  # a supervisor that was killed has not stopped what it ran
            for process in left:
                if process.pid is not None and process.start_ticks is not None:
                    kill_orphan(process.pid, process.start_ticks)
        return code

    def wait_ready(self, seconds: float) -> None:
        """Wait until payments would be decided, by every gateway.

        Raises `Unavailable` with the end of the log if that takes longer.
        """
        assert self._supervisor is not None
        until_ns = self.clock.monotonic_ns() + round(seconds * 1e9)
        for gateway in range(len(self.urls)):
            api = self.api(wait_s=2.0, gateway=gateway)
            while not _is_ready(api):
                if self.clock.monotonic_ns() > until_ns or self._supervisor.poll() is not None:
                    raise self._not_ready()
                pause(0.05)
            api.close()

    def is_ready(self) -> bool:
        """Whether the first gateway would have payments decided just now."""
        api = self.api(wait_s=2.0)
        try:
            return _is_ready(api)
        finally:
            api.close()

    def _not_ready(self) -> Unavailable:
        tail = "\n".join(self.log_path.read_text(errors="replace").splitlines()[-8:])
        return Unavailable(f"the instance in {self.folder} does not get ready; the end of its log:\n{tail}")

    def api(self, connections: int = 1, wait_s: float = 35.0, gateway: int = 0) -> Api:
        """A client of one of the gateways, with this instance's key."""
        return Api(self.urls[gateway], self.key, connections, wait_s)

    def processes(self) -> list[status.ProcessStatus]:
        """The processes as the supervisor's status file tells."""
        found = status.read(self.folder / "run")
        return found.processes if found else []

    def pid(self, name: str) -> int:
        """The pid of a process that runs. Raises `Unavailable` if it does not."""
        return self._running(name)[0]

    def _running(self, name: str) -> tuple[int, int]:
        """Pid and start of a process that runs. One that has just died still stands in the status file."""
        for process in self.processes():
            pid, ticks = process.pid, process.start_ticks
            if process.name == name and pid is not None and ticks is not None and start_ticks(pid) == ticks:
                return pid, ticks
        raise Unavailable(f"the {name} does not run just now")

    def groups(self) -> dict[str, int]:
        """Process groups of the supervisor and of all it runs, by name, for `procstat.cpu_us`."""
        assert self._supervisor is not None
        running = {process.name: process.pid for process in self.processes() if process.pid is not None}
        return {"supervisor": self._supervisor.pid, **running}

    def kill(self, name: str, within_s: float = 0.0) -> int:
        """SIGKILL a process as soon as it runs, and see it dead; returns the wall time of it, in nanoseconds.

        Raises `Unavailable` if it does not run `within_s`: one that has just died waits a moment for its next start.
        """
        until_ns = self.clock.monotonic_ns() + round(within_s * 1e9)
        while True:
            try:
                pid, ticks = self._running(name)
                at_ns = self.clock.wall_ns()
                os.kill(pid, signal.SIGKILL)
                break
            except (Unavailable, ProcessLookupError) as error:
                if self.clock.monotonic_ns() >= until_ns:
                    raise Unavailable(f"the {name} does not run just now") from error
                pause(0.02)
        while start_ticks(pid) == ticks:
            pause(0.001)
        return at_ns

    @contextmanager
    def stopped(self, name: str) -> Iterator[None]:
        """A process that stands still (SIGSTOP), with all its threads, and goes on at the end, if it was not killed.

        Raises `Unavailable` if it does not run.
        """
        pid = self.pid(name)
        os.kill(pid, signal.SIGSTOP)
        try:
            while not procstat.is_stopped(pid):
                pause(0.001)
            yield
        finally:
            with suppress(ProcessLookupError):  # killed in the meantime
                os.kill(pid, signal.SIGCONT)

    def open_accounts(self, account_ids: Sequence[int], limited: bool) -> None:
        """Open accounts; `limited` ones may not spend what they have not got. Raises `Unavailable` if refused."""
        api = self.api()
        flags = ["debits_must_not_exceed_credits"] if limited else []
        for part in _slices(account_ids, ACCOUNTS_A_REQUEST):
            rows = [{"id": ids.show(number), "ledger": LEDGER, "code": CODE, "flags": flags} for number in part]
            answer = self.settle(api, "/v1/accounts", {"accounts": rows})
            if answer.status not in (200, 201):
                raise Unavailable(f"accounts were not opened: HTTP {answer.status} {answer.body[:300]!r}")
            refused = {each.status for each in msgspec.json.decode(answer.body, type=_Results).results} - {"created"}
            if refused:
                raise Unavailable(f"accounts were refused: {', '.join(sorted(refused))}")
        api.close()

    def balances(self, account_ids: Sequence[int]) -> dict[int, tuple[int, int, int, int]]:
        """Debits and credits posted, debits and credits pending, of each account that exists, over HTTP."""
        api = self.api()
        found = {}
        for part in _slices(account_ids, ACCOUNTS_A_REQUEST):
            body = msgspec.json.encode({"ids": [ids.show(number) for number in part]})
            answer = api.ask("POST", "/v1/accounts/lookup", body)
            if answer.status != 200:
                raise Unavailable(f"accounts could not be looked up: HTTP {answer.status} {answer.body[:300]!r}")
            for row in msgspec.json.decode(answer.body, type=_Found).accounts:
                found[ids.parse(row.id)] = (
                    int(row.debits_posted),
                    int(row.credits_posted),
                    int(row.debits_pending),
                    int(row.credits_pending),
                )
        api.close()
        return found

    def settle(self, api: Api, path: str, body: object, key: str | None = None) -> Answer:
        """POST until the outcome is known, with a key of its own if none is given."""
        key = key or ids.show(ids.time_ordered(self.clock.wall_ns(), system_entropy))
        return settle(api, path, msgspec.json.encode(body), key, Patience(self.clock, system_entropy, never_stopped))


def tally(*words: str) -> list[str]:
    """The command line of `tally` with this Python and this code."""
    return [sys.executable, "-m", "tallystick.cli.main", *words]


def pause(seconds: float) -> None:
    """Let that much time go by."""
    threading.Event().wait(seconds)


def never_stopped(seconds: float) -> bool:
    """A pause for `Patience` that nobody cuts short."""
    pause(seconds)
    return False


def _slices(values: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (values[at : at + size] for at in range(0, len(values), size))


def _is_ready(api: Api) -> bool:
    try:
        answer = api.ask("GET", "/ready")
        return answer.status == 200 and b"partly_ready" not in answer.body
    except TallystickError:
        return False


def _free_ports(count: int) -> int:
    """The first of so many free ports, one after the other. Raises `Unavailable` if there are none."""
    for _ in range(PORTS_TRIED):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            first = int(listener.getsockname()[1])
            try:
                for port in range(first + 1, first + count):
                    socket.create_server(("127.0.0.1", port)).close()
            except OSError:
                continue
            return first
    raise Unavailable(f"this machine has no {count} free ports one after the other")
