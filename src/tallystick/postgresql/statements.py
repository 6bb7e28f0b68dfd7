"""Statements that are written once for SQLite and PostgreSQL, as psycopg takes them."""

from functools import lru_cache


@lru_cache(maxsize=2048)
def translated(statement: str) -> bytes:
    """With `?` for a value; without what only SQLite is told: `INDEXED BY`, and joins in the order they are written."""
    words = statement.replace("%", "%%").replace("CROSS JOIN", "JOIN").replace("?", "%b").split(" ")
    while "INDEXED" in words:
        at = words.index("INDEXED")
        del words[at : at + 3]
    return " ".join(words).encode()
