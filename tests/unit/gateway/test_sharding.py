"""Which shard's service a tenant gets: what the directory says, as soon as it says so."""

import pytest

from tallystick import directory
from tallystick.gateway.problems import Problem
from tallystick.gateway.sharding import RECHECK_S, Shards
from tallystick.records.placements import Home


@pytest.fixture
def where(tmp_path):
    return directory.path(tmp_path)


def test_a_tenant_is_served_where_the_directory_says_and_in_shard_0_else(where):
    directory.write(where, {7: Home(1)})
    shards = Shards(["zero", "one"], where)
    assert [shards.service_of(tenant, 0.0) for tenant in (1, 7)] == ["zero", "one"]


def test_a_changed_directory_is_seen_at_the_next_look(where):
    shards = Shards(["zero", "one"], where)
    assert shards.service_of(7, 0.0) == "zero"
    directory.write(where, {7: Home(1)})
    assert shards.service_of(7, RECHECK_S) == "one"
    where.unlink()  # it is made again just now
    assert shards.service_of(7, 2 * RECHECK_S) == "one"


def test_while_a_tenant_is_on_its_way_nothing_is_taken_from_it(where):
    directory.write(where, {7: Home(1, moving=True)})
    with pytest.raises(Problem) as raised:
        Shards(["zero", "one"], where).service_of(7, 0.0)
    assert raised.value.type.http == 503
    assert raised.value.headers["retry-after"] == "1"


def test_a_shard_that_this_gateway_does_not_serve_is_no_other(where):
    directory.write(where, {7: Home(2)})
    with pytest.raises(Problem, match="TALLY_SHARDS"):
        Shards(["zero", "one"], where).service_of(7, 0.0)


def test_a_directory_that_cannot_be_read_leaves_the_last_one_in_force(where):
    directory.write(where, {7: Home(1)})
    shards = Shards(["zero", "one"], where)
    assert shards.service_of(7, 0.0) == "one"
    where.write_text("{")
    assert shards.service_of(7, RECHECK_S) == "one"


def test_what_is_durable_is_acknowledged_by_what_the_directory_says_then(where):
    directory.write(where, {7: Home(1)})
    shards = Shards(["zero", "one"], where)
    assert shards.service_of(7, 0.0) == "one"
    assert shards.doubt(1, 7) is None
    assert shards.doubt(0, 5) is None
    directory.write(where, {7: Home(1, moving=True)})
    assert shards.doubt(1, 7).type.http == 503  # though the next look for a new request is not due yet
    directory.write(where, {7: Home(0)})
    assert shards.doubt(1, 7).type.http == 503
    assert shards.doubt(0, 7) is None
    where.write_text("{")
    assert shards.doubt(0, 7).type.http == 503  # nobody knows


def test_nobody_is_doubted_before_somebody_was_placed(where):
    assert Shards(["zero", "one"], where).doubt(0, 7) is None
