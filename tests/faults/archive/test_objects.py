"""The archive in an object store that fails and forgets to say so, at every request. Each seed is a life story."""

from random import Random

import pytest

from tallystick.archive.objects import STATE, ObjectActArchive, ObjectArchive
from tallystick.conformance.archives import blocks, shown
from tallystick.errors import Corrupt, Unavailable

STORIES = 100


class Store:
    """Objects in memory. It polices its callers: what never changes must not."""

    def __init__(self, random):
        self.objects = {}
        self.random = random
        self.failing = 0.0
        self.failed = 0

    def put_once(self, path, content):
        self._trouble(lambda: self._put(path, content))

    def replace(self, path, content):
        assert path.endswith(STATE), "only the record is replaced"
        self._trouble(lambda: self.objects.update({path: bytes(content)}))

    def get(self, path):
        if self.random.random() < self.failing:
            raise Unavailable("no answer")
        return self.objects.get(path)

    def _put(self, path, content):
        if self.objects.setdefault(path, bytes(content)) != content:
            raise Corrupt(f"{path} is there with other bytes")

    def _trouble(self, do):
        """Not done and not told, or done and not told."""
        chance = self.random.random()
        if chance >= self.failing / 2:
            do()
        if chance < self.failing:
            self.failed += 1
            raise Unavailable("no answer")


@pytest.mark.parametrize("first_seed", range(0, STORIES, 50))
def test_no_block_that_was_archived_is_lost_doubled_or_changed(first_seed):
    failed = 0
    for seed in range(first_seed, first_seed + 50):
        random = Random(seed)
        store, made, told = Store(random), blocks(*(random.randint(1, 30) for _ in range(40))), 0
        archive = ObjectArchive(store, "0")
        while told < len(made):
            store.failing = random.choice((0.0, 0.3, 0.6))
            if random.random() < 0.2:
                archive = ObjectArchive(store, "0")  # another process
            count = random.randint(1, 5)  # the same blocks may come in other pieces
            try:
                archive.add(made[max(0, told - 2) : told + count])
                told = min(len(made), told + count)
            except Unavailable:
                pass
            store.failing = 0.0
            reader = ObjectArchive(store, "0")
            found = list(reader.read(0))
            assert len(found) >= told, f"seed {seed}: a block was lost"
            assert shown(found) == shown(made[: len(found)]), f"seed {seed}: a block is another"
            if found:
                from_here = random.choice(found).header.first
                assert next(each.header.first for each in reader.read(from_here)) == from_here
        failed += store.failed
    assert failed > 100


@pytest.mark.parametrize("first_seed", range(0, STORIES, 50))
def test_no_act_that_was_archived_is_lost_doubled_or_changed(first_seed):
    failed = 0
    for seed in range(first_seed, first_seed + 50):
        random = Random(seed)
        store, made, told = Store(random), [random.randbytes(random.choice((1, 50, 700))) for _ in range(200)], 0
        archive = ObjectActArchive(store, "0/acts/control")
        while told < len(made):
            store.failing = random.choice((0.0, 0.3, 0.6))
            try:
                there = archive.end().count
                archive.add(made[there : there + random.randint(1, 20)], bytes(32))
                told = archive.end().count
            except Unavailable:
                pass
            store.failing = 0.0
            found = [entry for some in archive.read(0) for entry in some]
            assert len(found) >= told, f"seed {seed}: an act was lost"
            assert found == made[: len(found)], f"seed {seed}: an act is another"
        failed += store.failed
    assert failed > 100


def blocks_in(store):
    archive = ObjectArchive(store, "0")
    archive.add(blocks(3, 4))
    return archive


def acts_in(store):
    archive = ObjectActArchive(store, "0/acts/control")
    archive.add([bytes(60), bytes(70)], bytes(32))
    return archive


@pytest.mark.parametrize("at", [0, 9, 30, 100, -1])
@pytest.mark.parametrize("made", [blocks_in, acts_in])
def test_what_was_changed_in_the_store_is_found(at, made):
    store = Store(Random(1))
    archive = made(store)
    for path, content in list(store.objects.items()):
        store.objects[path] = content[:at] + bytes([content[at] ^ 1]) + (content[at + 1 :] if at != -1 else b"")
        with pytest.raises(Corrupt):
            list(archive.read(0))
        store.objects[path] = content
        if not path.endswith(STATE):
            del store.objects[path]
            with pytest.raises(Corrupt, match="missing"):
                list(archive.read(0))
            store.objects[path] = content
