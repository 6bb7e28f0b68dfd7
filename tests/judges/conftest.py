"""What the judges look at and who they are, made once."""

import pytest

from tests.judges.foreign import built
from tests.judges.logs import make_log


@pytest.fixture(scope="session")
def binary():
    return built(".") / "judges"


@pytest.fixture(scope="session")
def torchwood():
    return built("torchwood") / "torchwood"


@pytest.fixture(scope="session")
def log_of(tmp_path_factory):
    """Makes logs by size and history, each once."""
    made = {}

    def log(size, history=0, common=0):
        name = f"{size}-{history}"
        if name not in made:
            made[name] = make_log(tmp_path_factory.mktemp(name), size, history, common)
        return made[name]

    return log
