from collections.abc import Iterator
from pathlib import Path

import pytest

from tallystick.lab.instance import Instance


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """A whole Tallystick, as `tally up` runs it."""
    folder: Path = tmp_path_factory.mktemp("instance")
    with Instance(folder) as running:
        yield running
