"""A notifier process of its own, and a receiver that runs beside the test."""

import asyncio
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time

from tallystick.answers.addresses import address
from tallystick.clock import SystemClock
from tallystick.errors import InvalidProof
from tallystick.inquiries.gatewayend import InquiryEnd
from tallystick.webhooks import asking, signing


class NotifierProcess:
    """`python -m tallystick.compose.notifier` on a data folder; use it as a context."""

    def __init__(self, data, **settings):
        self.data = data
        self.settings = {"webhook_loopback": "true", **settings}

    def __enter__(self):
        self.start()
        return self

    def start(self):
        environment = {f"TALLY_{name.upper()}": str(value) for name, value in self.settings.items()}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tallystick.compose.notifier"],
            env={**os.environ, "TALLY_DATA": str(self.data), **environment},
            stderr=subprocess.PIPE,
        )
        for line in self.process.stderr:
            if b"notifier ready" in line:
                break
        else:
            raise AssertionError(f"the notifier ended with {self.process.wait()}")
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def kill(self):
        self.process.kill()
        self.process.wait(20)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.stop()


class Receiver:
    """Keeps what it gets: (webhook-id, body), in threads of its own; checks signatures once it has `key`."""

    def __init__(self):
        self.got, self.refused = [], 0
        self.key = None
        self.answer = 204
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                answer = outer._take(dict(self.headers), body)
                self.send_response(answer)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"

    def _take(self, headers, body):
        if self.key is not None:
            try:
                signing.verify([signing.verifier(self.key)], headers, body, time.time())
            except InvalidProof:
                self.refused += 1
                return 401
        fields = {name.lower(): value for name, value in headers.items()}
        self.got.append((fields["webhook-id"], json.loads(body)))
        return self.answer

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    @property
    def ids(self):
        return [webhook_id for webhook_id, _ in self.got]


def eventually(check, seconds=20.0, every=0.02):
    """What `check` gives once it is true; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, "it did not come about in time"
        threading.Event().wait(every)
    return found


def ask(data, operation, tenant=1, body=None, **fields):
    """What the notifier of this data folder answers."""
    if body is not None:
        fields["body"] = json.dumps(body).encode()

    async def asked():
        link = InquiryEnd("notifier", address(data, "notifier"), SystemClock())
        try:
            return asking.decode_told(await link.ask(operation, tenant, asking.encode(asking.Asked(**fields))))
        finally:
            link.close()

    told = asyncio.run(asked())
    return json.loads(told.body)
