"""One connection to PostgreSQL that waits no longer than it was told, and never cancels; and errors in one line."""

from collections.abc import Callable
from urllib.parse import urlsplit

import psycopg
from psycopg import waiting
from psycopg.abc import RV, PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from tallystick.errors import Invalid, Unavailable

VERSION_MIN = 15
CONNECT_S = 5
"""For each address of the URL; libpq's setting connect_timeout, unless the URL says."""
UNDONE = ("22", "23", "25", "40", "42", "53", "54")
"""Classes of SQLSTATE that a statement fails with before it commits: wrong data, refused, out of resources."""


class Connection(psycopg.Connection[TupleRow]):
    """Waits no longer than it was told, and never cancels."""

    answer_s_max = 30.0

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        return waiting.wait(gen, self.pgconn.socket, interval, self.answer_s_max if timeout is None else timeout)


def connect(url: str, name: str, answer_s_max: float) -> Connection:
    """A connection where each statement commits; `name` is what the server's tables show. Raises `psycopg.Error`."""
    given = conninfo_to_dict(url)
    connection = Connection.connect(
        url,
        autocommit=True,
        prepare_threshold=2,
        connect_timeout=int(given.get("connect_timeout") or CONNECT_S),
        application_name=name,
    )
    connection.answer_s_max = answer_s_max
    return connection


def opened(url: str, place: str, name: str, answer_s_max: float, prepare: Callable[[Connection], None]) -> Connection:
    """As `connect`, to a server that is new enough, set up and looked at by `prepare`. Raises `Unavailable`."""
    try:
        connection = connect(url, name, answer_s_max)
    except psycopg.Error as error:
        raise Unavailable(f"{place} cannot be reached: {line(error)}") from error
    try:
        version = connection.info.server_version // 10_000
        if version < VERSION_MIN:
            raise Unavailable(f"{place} is PostgreSQL {version}; {VERSION_MIN} or newer is needed")
        prepare(connection)
    except psycopg.Error as error:
        connection.close()
        raise Unavailable(f"{place}: {line(error)}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def shown(url: str, setting: str) -> str:
    """The URL without password and settings, for people. Raises `Invalid`, naming the setting, if it cannot be one."""
    try:
        conninfo_to_dict(url)
        parts = urlsplit(url)
    except (psycopg.Error, ValueError) as error:
        raise Invalid(setting, f"is no URL of PostgreSQL: {line(error)}") from error
    return f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}"


def line(error: BaseException) -> str:
    """What the driver said, the first line of it: those after it guess at why."""
    said = str(error).strip()
    return said.splitlines()[0] if said else type(error).__name__
