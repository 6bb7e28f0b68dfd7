"""Where a shard's folder is, whichever folder was named; and that no shard is forgotten."""

import pytest

from tallystick.compose import shards
from tallystick.errors import Invalid
from tallystick.settings import Settings


def test_a_shard_is_found_from_the_platforms_folder_and_from_its_own(tmp_path):
    own = tmp_path / "shards" / "2"
    own.mkdir(parents=True)
    for data in (tmp_path, own):
        found = shards.resolved(Settings(data=data, shard=2))
        assert (found.data, found.shard) == (own, 2)
        assert found.keys_path == tmp_path / "keys.json"
        assert found.person_keys_path == tmp_path / "person-keys"


def test_a_folder_of_one_shard_with_another_number_stays_what_it_is(tmp_path):
    found = shards.resolved(Settings(data=tmp_path, shard=3))
    assert (found.data, found.shard) == (tmp_path, 3)


def test_there_may_be_more_shards_at_the_next_start_and_never_fewer(tmp_path):
    shards.make_folders(Settings(data=tmp_path, shards=2))
    shards.make_folders(Settings(data=tmp_path, shards=3))
    assert shards.there(tmp_path) == [0, 1, 2]
    with pytest.raises(Invalid, match="holds 3 shards"):
        shards.make_folders(Settings(data=tmp_path, shards=2))
    with pytest.raises(Invalid, match="holds 3 shards"):
        shards.make_folders(Settings(data=tmp_path))


def test_a_platform_of_one_shard_gets_no_folder_for_it(tmp_path):
    shards.make_folders(Settings(data=tmp_path))
    assert list(tmp_path.iterdir()) == []
