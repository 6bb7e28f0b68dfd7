"""What a backup holds, written last: a backup is as whole as its newest manifest that can be read.

Pure of files. A manifest is JSON with a SHA-256 over all else in it, and names the SHA-256 of every file. So a torn
backup has no manifest, or one whose hash does not fit, and one that was damaged later has a file whose hash does not.
"""

import hashlib
import re

import msgspec

from tallystick.errors import Corrupt, Invalid

VERSION = 1
NAME = re.compile(r"manifest-([0-9]{10})\.json")


class SegmentCopy(msgspec.Struct, frozen=True, kw_only=True):
    """The blocks of one segment, up to an end of a block."""

    name: str
    """Of the file, from the backup's folder."""
    start: int
    """The position its first byte has in the block file."""
    end: int
    whole: bool
    """No block will be added to that segment any more: a later backup keeps this copy."""
    next: int
    """The `first` of the block that follows."""
    hash: str
    """Of its last block, as hex: what the block that follows must continue."""
    sha256: str


class BlockFileCopy(msgspec.Struct, frozen=True, kw_only=True):
    """A journal, or a lane, up to an end of a block."""

    folder: str
    """Where it stands in a data folder."""
    segment_bytes: int
    segments: tuple[SegmentCopy, ...]

    @property
    def end(self) -> int:
        """The position after its last block."""
        return self.segments[-1].end if self.segments else 0


class FileCopy(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is copied as it is."""

    name: str
    place: str
    """Where it stands in a data folder."""
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One backup."""

    version: int
    made_at_ns: int
    """Wall time at which its position was settled."""
    made_by: str
    """Version of Tallystick."""
    shard: int
    position: int
    """Entries in it: all before this one, none from it on."""
    hash: str
    """Of the last block of the journal, as hex."""
    undecided_commands: int
    """What its lanes hold beyond its position: 0 unless it was made to move."""
    journal: BlockFileCopy
    lanes: tuple[BlockFileCopy, ...]
    files: tuple[FileCopy, ...]

    def names(self) -> set[str]:
        """Every file that belongs to it."""
        segments = {segment.name for file in (self.journal, *self.lanes) for segment in file.segments}
        return segments | {file.name for file in self.files}

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        blocks = (self.journal, *self.lanes)
        counted = sum(segment.end - segment.start for file in blocks for segment in file.segments)
        return counted + sum(file.size for file in self.files)


class _Version(msgspec.Struct):
    """What is read before the rest can be."""

    version: int


class _Sealed(msgspec.Struct, frozen=True):
    """How a manifest stands in its file."""

    sha256: str
    manifest: msgspec.Raw


def name_of(generation: int) -> str:
    """The file name of the manifest of a generation."""
    return f"manifest-{generation:010d}.json"


def encode(manifest: Manifest) -> bytes:
    """The bytes of a manifest's file."""
    body = msgspec.json.encode(manifest)
    return msgspec.json.encode(_Sealed(hashlib.sha256(body).hexdigest(), msgspec.Raw(body))) + b"\n"


def decode(data: bytes) -> Manifest:
    """A manifest from its file. Raises `Corrupt` if it is not whole, `Invalid` if this program cannot know it."""
    try:
        sealed = msgspec.json.decode(data, type=_Sealed)
        body = bytes(sealed.manifest)
        if hashlib.sha256(body).hexdigest() != sealed.sha256:
            raise Corrupt("the manifest's hash does not fit")
        version = msgspec.json.decode(body, type=_Version).version
        if version != VERSION:
            raise Invalid("", f"the backup has version {version}, which this program does not know; upgrade it")
        manifest = msgspec.json.decode(body, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corrupt(f"the manifest is not whole: {error}") from error
    places = [copy.folder for copy in (manifest.journal, *manifest.lanes)] + [file.place for file in manifest.files]
    for name in (*manifest.names(), *places):
        if name.startswith("/") or ".." in name.split("/"):
            raise Invalid("", f"the backup names a file outside of its folder, {name!r}: it was not made by us")
    return manifest
