"""Where an audit log is read from by whoever checks it: a folder of files, or a server of c2sp.org/tlog-tiles."""

from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from tallystick.client.http import Api
from tallystick.errors import InvalidProof, OutcomeUnknown, Unavailable
from tallystick.tlog.merkle import HASH_SIZE
from tallystick.tlog.tiles import Tile


class LogSource(Protocol):
    """A log that is not trusted. `read` is a `tlog.tiles.TileReader` for bundles too."""

    def checkpoint(self, witnessed: bool = False) -> bytes:
        """Its checkpoint as it serves it; or the last that was `witnessed`, if it serves both. Raises `Unavailable`."""
        ...

    def read(self, tile: Tile) -> bytes:
        """A tile or bundle as it serves it. Raises `InvalidProof` if it is missing, `Unavailable` if nobody answers."""
        ...


def source(where: str, key: str = "") -> LogSource:
    """The log at a URL, or in a folder. `key` is an API key with the scope `audit`, for a URL of ours."""
    return HttpLog(where, key) if urlsplit(where).scheme in ("http", "https") else FolderLog(Path(where))


class FolderLog:
    """A log as `tally audit export` writes it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def checkpoint(self, witnessed: bool = False) -> bytes:
        try:
            return (self._folder / "checkpoint").read_bytes()
        except OSError as error:
            raise Unavailable(f"{self._folder} holds no log: {error.strerror} (checkpoint)") from error

    def read(self, tile: Tile) -> bytes:
        try:
            return (self._folder / tile.path).read_bytes()
        except FileNotFoundError as error:
            raise InvalidProof(f"{tile.path} is missing") from error
        except OSError as error:
            raise Unavailable(f"{tile.path} cannot be read: {error.strerror}") from error


class HttpLog:
    """A log behind HTTP. A partial tile that is gone is read from the full one, which may have taken its place."""

    def __init__(self, url: str, key: str) -> None:
        self._api = Api(url.rstrip("/"), key)

    def checkpoint(self, witnessed: bool = False) -> bytes:
        # Servers of files that are not ours pass over the query.
        return self._get("checkpoint?grade=witnessed" if witnessed else "checkpoint")

    def read(self, tile: Tile) -> bytes:
        try:
            return self._get(tile.path)
        except InvalidProof:
            if tile.width == 256 or tile.level < 0:
                raise
        return self._get(Tile(tile.level, tile.index).path)[: tile.width * HASH_SIZE]

    def _get(self, path: str) -> bytes:
        try:
            answer = self._api.ask("GET", f"/{path}")
        except OutcomeUnknown as error:
            raise Unavailable(str(error)) from error  # a read changes nothing
        if answer.status == 404:
            raise InvalidProof(f"{path} is missing at {self._api.url}")
        if answer.status in (401, 403):
            raise Unavailable(f"{path} wants an API key with the scope `audit`: `tally key new NAME --scope audit`")
        if answer.status != 200:
            raise Unavailable(f"{self._api.url} answers {answer.status} to {path}")
        return answer.body
