"""What the judges look at and who they are, made once."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.judges.foreign import built
from tests.judges.logs import SIZES, grown, make_log
from tests.judges.tampering import Case


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


@pytest.fixture(scope="session")
def case_of(tmp_path_factory):
    """The log as it was at each size, and two others that the same keys signed: three logs that grew are all."""
    folder = tmp_path_factory.mktemp("grown")
    honest, rewritten = grown(folder / "honest", SIZES), grown(folder / "rewritten", SIZES[1:], 9)
    small = [size for size in SIZES if 1 < size <= 257]
    large = [size for size in SIZES if size > 257]
    forked = {**grown(folder / "forked", small, 8, 100), **grown(folder / "forked-late", large, 8, 40_000)}
    cases = {size: Case(size, honest[size], rewritten.get(size), forked.get(size)) for size in SIZES}
    return cases.__getitem__


@pytest.fixture(scope="session")
def at_once():
    """Judges are programs: as many at once as there are of them."""
    with ThreadPoolExecutor(4) as pool:
        yield pool
