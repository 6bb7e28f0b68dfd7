"""What the lab keeps journal and intake in: files, or a database of its own, and topics or queues of a name of its own.

psycopg is an extra, so what needs it is imported only where a server is named.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from tallystick.clock import system_entropy
from tallystick.lab.own_intake import own_intake

REFERENCE = "pgbench TPC-B (simple, -c 16 -j 2), the same server"
PGBENCH_S = 10


def on_server(journal: str) -> AbstractContextManager[str]:
    """What `TALLY_JOURNAL` is to be: `files`, or the URL of a new database on the server that `journal` names."""
    if journal == "files":
        return nullcontext(journal)
    from tallystick.lab import on_postgresql

    return on_postgresql.database(journal)


@contextmanager
def engines(journal: str, intake: str) -> Iterator[dict[str, object]]:
    """Settings of an instance with a journal and an intake of its own on these engines."""
    with on_server(journal) as url:
        yield {"journal": url, "intake": own_intake(intake, system_entropy)}


def tpc_b(url: str, say: Callable[[str], None]) -> float:
    """Transactions a second of pgbench's TPC-B on the server. Raises `Invalid` if pgbench is not installed."""
    from tallystick.lab import on_postgresql

    say(f"reference: {REFERENCE}, {PGBENCH_S} s")
    return on_postgresql.tpc_b(url, PGBENCH_S)
