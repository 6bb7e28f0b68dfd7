"""What every `auditor.places.Place` must keep. Bind it by subclassing, with a fixture `place` that is empty."""

import pytest

from tallystick.auditor.places import Place
from tallystick.errors import Corrupt


class PlaceConformance:
    """The suite."""

    def test_what_was_put_is_there(self, place: Place) -> None:
        assert place.get("tile/0/000") is None
        for path, content in (("tile/0/x001/000", b"one"), ("tile/0/000.p/7", bytes(range(256)) * 32), ("c", b"")):
            place.put_once(path, content)
            assert place.get(path) == content

    def test_the_same_may_be_put_again_and_nothing_else(self, place: Place) -> None:
        place.put_once("tile/0/000", b"one")
        place.put_once("tile/0/000", b"one")
        with pytest.raises(Corrupt, match="tile/0/000"):
            place.put_once("tile/0/000", b"other")
        assert place.get("tile/0/000") == b"one"

    def test_what_is_replaced_is_the_new_one(self, place: Place) -> None:
        for content in (b"one", b"other", b""):
            place.replace("checkpoint", content)
            assert place.get("checkpoint") == content

    def test_paths_are_apart(self, place: Place) -> None:
        place.put_once("tile/0/000", b"one")
        place.put_once("tile/1/000", b"two")
        assert (place.get("tile/0/000"), place.get("tile/1/000"), place.get("tile/2/000")) == (b"one", b"two", None)
