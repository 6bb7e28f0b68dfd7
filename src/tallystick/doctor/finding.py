"""What one check found: fine, worth a look, or to be fixed; and how."""

from enum import StrEnum

import msgspec


class Level(StrEnum):
    """How bad it is."""

    FINE = "fine"
    LOOK = "look"
    """It works, and may not under load or for long."""
    FIX = "fix"
    """It does not work, or money's safety depends on it."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    check: str
    level: Level
    what: str
    """What was found, in a sentence."""
    fix: str = ""
    """What to do about it; empty where nothing is to be done."""


def fine(check: str, what: str) -> Finding:
    """Nothing to do."""
    return Finding(check, Level.FINE, what)


def look(check: str, what: str, fix: str) -> Finding:
    """Worth a look."""
    return Finding(check, Level.LOOK, what, fix)


def to_fix(check: str, what: str, fix: str) -> Finding:
    """To be fixed."""
    return Finding(check, Level.FIX, what, fix)
