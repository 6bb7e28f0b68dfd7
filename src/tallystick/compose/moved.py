"""A data folder that went on elsewhere is not started again: two engines would decide the same requests differently.

`tally backup --to-move` leaves the mark, `tally up` looks for it. It is no lock: who is sure deletes the file.
"""

from pathlib import Path

from tallystick.errors import Invalid
from tallystick.settings import Settings

NAME = "moved"


def mark(settings: Settings, to: Path) -> None:
    """Note that the platform goes on from the backup in `to`."""
    settings.path(NAME).write_text(f"{to.absolute()}\n", encoding="utf-8")


def refuse(settings: Settings) -> None:
    """Raises `Invalid` if the data folder was moved away."""
    path = settings.path(NAME)
    if path.exists():
        to = path.read_text(encoding="utf-8").strip()
        raise Invalid(
            "",
            f"{settings.data} was moved away, by the backup in {to}: start what was restored from it; "
            f"if nothing was, delete {path}",
        )
