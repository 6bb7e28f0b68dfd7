from pathlib import Path

import pytest

from tallystick.compose import moved, up
from tallystick.errors import Invalid
from tallystick.settings import Settings


def test_a_folder_that_moved_away_starts_neither_whole_nor_in_part(tmp_path):
    settings = Settings(data=tmp_path)
    moved.refuse(settings)
    moved.mark(settings, Path("/mnt/usb"))
    with pytest.raises(Invalid, match=r"moved away, by the backup in /mnt/usb.*delete"):
        moved.refuse(settings)
    with pytest.raises(Invalid, match="moved away"):
        up.supervise(settings, print)
    with pytest.raises(Invalid, match="moved away"):
        up.run_one("engine", settings)
