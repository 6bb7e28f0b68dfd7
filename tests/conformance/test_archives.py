"""The archive's promises, kept by files, by objects in a folder, and by a bucket of a real object store."""

import pytest

from tallystick.archive.actfiles import FileActArchive
from tallystick.archive.files import FileArchive
from tallystick.archive.objects import ObjectActArchive, ObjectArchive
from tallystick.auditor.places import Folder
from tallystick.blockfile.disk import SystemDisk
from tallystick.conformance.archives import ActArchiveConformance, ArchiveConformance
from tests.conformance.objectstore import BUILD_S_MAX, bucket, store

__all__ = ["store"]


def opening(make):
    """One at a time: who opens it again closes it first."""
    opened = []

    def open_one():
        while opened:
            opened.pop().close()
        opened.append(make())
        return opened[-1]

    return open_one


class TestFiles(ArchiveConformance, ActArchiveConformance):
    @pytest.fixture
    def open_archive(self, tmp_path):
        return opening(lambda: FileArchive(tmp_path / "archive", SystemDisk(), 20_000))

    @pytest.fixture
    def open_acts(self, tmp_path):
        return opening(lambda: FileActArchive(tmp_path / "acts", SystemDisk()))


class TestObjects(ArchiveConformance, ActArchiveConformance):
    @pytest.fixture
    def place(self, tmp_path):
        return Folder(tmp_path)

    @pytest.fixture
    def open_archive(self, place):
        return opening(lambda: ObjectArchive(place, "0"))

    @pytest.fixture
    def open_acts(self, place):
        return opening(lambda: ObjectActArchive(place, "0/acts/control"))


@pytest.mark.service
@pytest.mark.timeout(BUILD_S_MAX)
class TestBucket(TestObjects):
    @pytest.fixture
    def place(self, store, request):
        return bucket(store, request.node.name)
