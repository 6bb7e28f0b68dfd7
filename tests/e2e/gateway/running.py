"""A gateway process of its own, and a client that speaks plain HTTP to it."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import uuid4

from tallystick.clock import system_entropy
from tallystick.gateway.auth import SCOPES, add_key, make_key


@dataclass
class Told:
    """An answer, with header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        assert self.headers["content-type"] == "application/problem+json", self
        told = self.json
        assert told["status"] == self.status
        assert told["instance"].endswith(self.headers["x-request-id"])
        return str(told["type"]).removeprefix("/problems/")


class Gateway:
    """`python -m tallystick.compose.gateway` on a data folder; use it as a context."""

    def __init__(self, data: Path, **settings: Any) -> None:
        self.data = data
        self._settings = settings
        self.log: list[dict[str, Any]] = []
        self.key = self.add_key("test", 7)

    def add_key(self, name: str, tenant: int, scopes: tuple[str, ...] = SCOPES) -> str:
        key = make_key(system_entropy)
        add_key(self.data / "keys.json", key, tenant, name, scopes, 1_700_000_000_000_000_000)
        return key

    def __enter__(self) -> "Gateway":
        given = {"data": self.data, "http_port": 0, "disk_free_min": 0.0, **self._settings}
        environment = {f"TALLY_{name.upper()}": str(value) for name, value in given.items()}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tallystick.compose.gateway"],
            env={**os.environ, **environment},
            stderr=subprocess.PIPE,
        )
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._listening.wait(30), self.log
        self.port = next(int(line["port"]) for line in self.log if line.get("event") == "gateway listening")
        return self

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            try:
                self.log.append(json.loads(line))
            except ValueError:
                self.log.append({"unreadable": line.decode(errors="replace")})
            if self.log[-1].get("event") == "gateway listening":
                self._listening.set()
        self._listening.set()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(20)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.stop()
        self._reader.join(10)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        key: str | None = None,
        idempotency_key: str | None = "",
        encode_chunked: bool = False,
    ) -> Told:
        """One request. A dict is sent as JSON; an empty `idempotency_key` stands for a fresh one, None for none."""
        sent: dict[str, str] = {"Authorization": f"Bearer {key or self.key}"}
        if method in ("POST", "PUT") and idempotency_key is not None:
            sent["Idempotency-Key"] = idempotency_key or str(uuid4())
        if isinstance(body, dict | list):
            body = json.dumps(body).encode()
        if body is not None:
            sent["Content-Type"] = "application/json"
        sent.update(headers or {})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=40)
        try:
            connection.request(method, path, body, {k: v for k, v in sent.items() if v}, encode_chunked=encode_chunked)
            answer = connection.getresponse()
            return Told(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()
