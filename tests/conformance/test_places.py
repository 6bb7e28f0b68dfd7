"""Places for an exported log: a folder, and a bucket of a real object store (versitygw), where Go can build one."""

import pytest

from tallystick.auditor.bucket import Credentials
from tallystick.auditor.export import export
from tallystick.auditor.places import Folder
from tallystick.cli import main
from tallystick.cli.exits import Exit
from tallystick.conformance.places import PlaceConformance
from tallystick.errors import Unavailable
from tallystick.tlog.auditing import check_whole
from tests.conformance.objectstore import BUILD_S_MAX, bucket, store
from tests.judges.logs import make_log

__all__ = ["store"]


class TestFolder(PlaceConformance):
    @pytest.fixture
    def place(self, tmp_path):
        return Folder(tmp_path / "made")


@pytest.mark.service
@pytest.mark.timeout(BUILD_S_MAX)
class TestBucket(PlaceConformance):
    @pytest.fixture
    def place(self, store, request):
        return bucket(store, f"{request.node.name}/with a blank")


@pytest.mark.service
@pytest.mark.timeout(BUILD_S_MAX)
def test_a_log_in_a_bucket_grows_and_comes_to_its_signed_root(store, tmp_path):
    place = bucket(store, "bank.example/ledger/0")
    for name, size in (("small", 257), ("grown", 1000)):
        log = make_log(tmp_path / name, size)
        checkpoint = export(log.reader, place)
        assert place.get("checkpoint") == log.checkpoint
        assert checkpoint.size == size
        check_whole(checkpoint, lambda tile: place.get(tile.path))


@pytest.mark.service
@pytest.mark.timeout(BUILD_S_MAX)
def test_a_stranger_and_a_store_that_is_away_are_told_apart(store):
    with pytest.raises(Unavailable, match="403"):
        bucket(store, "x", Credentials("bank", "guessed")).put_once("a", b"b")
    with pytest.raises(Unavailable, match="does not answer"):
        bucket("http://127.0.0.1:1", "x").get("a")


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (["s3://log/x"], "--endpoint"),
        (["s3://log/x", "--endpoint", "http://127.0.0.1:1"], "--access-key"),
        (["s3://log/x", "--endpoint", "http://127.0.0.1:1", "--access-key", "bank"], "--secret-file"),
        (["s3:///x"], "PLACE"),
    ],
)
def test_a_bucket_without_its_keys_is_told_by_what_is_missing(words, field, capsys, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    assert main.run(["audit", "export", *words]) == Exit.NOT_DONE
    assert capsys.readouterr().err.startswith(f"tally: {field}: ")
