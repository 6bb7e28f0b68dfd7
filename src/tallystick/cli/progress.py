"""Progress bars on standard error, where that is a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Progress = Callable[[int, int], None]
"""Called with how much is done, and how much there is."""


@contextmanager
def bar(what: str, quiet: bool, *columns: Any) -> Iterator[Progress]:
    """A bar that counts; `columns` are shown after it."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    shown = (TextColumn("{task.description}"), BarColumn(), *columns, TimeRemainingColumn())
    with Bars(*shown, console=Console(stderr=True), transient=True, disable=quiet or not sys.stderr.isatty()) as bars:
        task = bars.add_task(what, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total or None)


def byte_bar(what: str, quiet: bool) -> Any:
    """A bar that counts bytes."""
    from rich.progress import DownloadColumn, TransferSpeedColumn

    return bar(what, quiet, DownloadColumn(), TransferSpeedColumn())
