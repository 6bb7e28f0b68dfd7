"""Where projections are, for tests."""

import pytest

from tests.unit.projector.places import SqlitePlace


@pytest.fixture
def files(tmp_path):
    return SqlitePlace(tmp_path)


@pytest.fixture
def place(files):
    return files


@pytest.fixture(scope="module")
def lasting_place(tmp_path_factory):
    return SqlitePlace(tmp_path_factory.mktemp("projector"))
