"""File limits: how many connections this machine lets one process have."""

import resource

SPARE = 200
"""Descriptors that a process needs besides its connections."""
FULL = 12_000
"""Below this hard limit 10,000 connections are not tried."""


def raise_open_files() -> int:
    """Raise the soft limit on open files to the hard one, for this process and those it starts; returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1 << 30


def connections_possible(wanted: int, open_files: int) -> int:
    """How many of the connections wanted to try, where a process may have so many open files."""
    if wanted + SPARE <= open_files and (wanted < 10_000 or open_files >= FULL):
        return wanted
    return max(1, min(wanted, open_files - 2 * SPARE, 10_000 - SPARE))
