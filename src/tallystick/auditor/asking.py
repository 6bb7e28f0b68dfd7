"""The way to witnesses over HTTP."""

import urllib3
import urllib3.exceptions

from tallystick.auditor.witnesses import Reply
from tallystick.errors import Unavailable

TIMEOUT_S = 3.0
REPLY_BYTES_MAX = 65_536


class HttpWitnesses:
    """As `witnesses.WitnessLink`: connections are kept, nothing is tried twice, no redirect is followed."""

    def __init__(self, connections: int = 8) -> None:
        self._pool = urllib3.PoolManager(
            num_pools=connections, maxsize=2, retries=False, timeout=urllib3.Timeout(connect=TIMEOUT_S, read=TIMEOUT_S)
        )

    def add(self, url: str, body: bytes) -> Reply:
        try:
            answer = self._pool.request(
                "POST", url.rstrip("/") + "/add-checkpoint", body=body, redirect=False, preload_content=False
            )
            data = answer.read(REPLY_BYTES_MAX + 1)
            answer.drain_conn() if len(data) <= REPLY_BYTES_MAX else answer.close()
            answer.release_conn()
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise Unavailable(f"the witness at {url} does not answer: {type(error).__name__}") from error
        if len(data) > REPLY_BYTES_MAX:
            raise Unavailable(f"the witness at {url} answers too much")
        return Reply(answer.status, answer.headers.get("content-type", ""), data)
