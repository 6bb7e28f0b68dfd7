"""Exit codes, and how a failure is told: one line, what to do next, never a stack trace.

| code | meaning |
|---|---|
| 0 | done, all of it |
| 1 | done, but some payments were refused, or a check did not hold |
| 2 | some outcomes are not known: run the same command again |
| 3 | not done: bad input, nobody answers, already running |
| 64 | the command line cannot be understood |
| 70 | stored bytes break a promise, or another writer took over: a person is needed |
| 130 | interrupted by Ctrl-C |
"""

import json
import sys
from enum import IntEnum

EPILOG = (
    "Exit codes: 0 done · 1 some refused, or a check failed · 2 some outcomes unknown, run it again · 3 not done · "
    "64 command line not understood · 70 needs a person · 130 interrupted."
)


class Exit(IntEnum):
    """Exit codes of every command."""

    DONE = 0
    REFUSED = 1
    UNKNOWN = 2
    NOT_DONE = 3
    USAGE = 64
    NEEDS_A_PERSON = 70
    INTERRUPTED = 130


def fail(message: str, code: Exit, as_json: bool) -> int:
    """Tell what failed: one line on standard error, or one JSON object on standard output. Returns the code."""
    if as_json:
        sys.stdout.write(json.dumps({"error": message, "exit_code": int(code)}) + "\n")
        sys.stdout.flush()
    else:
        sys.stderr.write(f"tally: {message}\n")
    return int(code)
