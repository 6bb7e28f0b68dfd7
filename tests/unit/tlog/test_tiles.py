"""Paths, contents and widths of tiles, as c2sp.org/tlog-tiles says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.errors import InvalidProof
from tallystick.tlog import merkle, tiles
from tallystick.tlog.tiles import Tile, parse_path
from tests.unit.tlog import trees


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 1234067), "tile/0/x001/x234/067"),
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 999), "tile/0/999"),
        (Tile(0, 1000), "tile/0/x001/000"),
        (Tile(2, 0, 1), "tile/2/000.p/1"),
        (Tile(63, 273, 255), "tile/63/273.p/255"),
        (Tile(-1, 273, 112), "tile/entries/273.p/112"),
    ],
)
def test_a_tile_has_one_path(tile, path):
    assert tile.path == path
    assert parse_path(path) == tile


@given(st.integers(-1, 63), st.integers(0, 2**54), st.integers(1, 256))
def test_paths_are_read_as_they_are_written(level, index, width):
    assert parse_path(Tile(level, index, width).path) == Tile(level, index, width)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile",
        "tile/0",
        "tile/0/0",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/x000/000",
        "tile/0/1000",
        "tile/0/x01/000",
        "tile/0/001/000",
        "tile/0/x001/x002",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p",
        "tile/0/000.p/1/2",
        "tile/0/../000",
        "tile/entry/000",
        "tiles/0/000",
        "/tile/0/000",
        "tile/0/000/",
        "tile/0/٠٠٠",
        "tile/8/0/000",
        "tile/0/x" + "001/x" * 30 + "000",
    ],
)
def test_any_other_spelling_is_refused(path):
    with pytest.raises(InvalidProof):
        parse_path(path)


def test_seventy_thousand_leaves_have_the_tiles_of_the_specifications_example():
    found = list(tiles.tiles_of(70_000))
    assert sum(tile.level == 0 for tile in found) == 274
    assert [tile for tile in found if tile.width < 256] == [Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert Tile(1, 0) in found
    assert len(found) == 277
    assert len(list(tiles.bundles_of(70_000))) == 274


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, []),
        (1, [Tile(0, 0, 1)]),
        (255, [Tile(0, 0, 255)]),
        (256, [Tile(0, 0), Tile(1, 0, 1)]),
        (257, [Tile(0, 0), Tile(0, 1, 1), Tile(1, 0, 1)]),
    ],
)
def test_no_tile_is_empty(size, expected):
    assert list(tiles.tiles_of(size)) == expected


@pytest.mark.parametrize("size", [1, 255, 256, 257, 66_000])
def test_nodes_out_of_tiles_give_the_root_of_the_definition(size):
    hashes = trees.leaves(size)
    expected = trees.naive_root([hashes[at : at + 32] for at in range(0, len(hashes), 32)])
    assert merkle.root(size, trees.tree(size).node) == expected


@pytest.mark.parametrize("width", [111, 113])
def test_a_tile_of_another_width_is_refused(width):
    tree = tiles.TiledTree(112, lambda tile: bytes(32 * width))
    with pytest.raises(InvalidProof, match=r"tile/0/000\.p/112"):
        tree.node(0, 0)


def test_leaf_hashes_of_a_bundle_are_those_of_its_entries():
    entries = [bytes([number]) * 254 for number in range(256)]
    framed = tiles.pack_bundle(entries)
    hashes = tiles.leaf_hashes(framed, 256)
    assert hashes == b"".join(merkle.leaf_hash(entry) for entry in entries)
    assert tiles.tile_root(hashes) == trees.naive_root([hashes[at : at + 32] for at in range(0, 8192, 32)])
    assert framed == tiles.pack_bundle(entries)


@pytest.mark.parametrize(
    ("bundle", "width"),
    [(b"\0", 1), (b"\0\1", 1), (b"\0\2a", 1), (b"\0\1a", 0), (b"\0\1a", 2), (b"\0\1a\0\1b", 1), (b"", 1)],
)
def test_a_bundle_cut_short_or_too_full_is_refused(bundle, width):
    with pytest.raises(InvalidProof):
        tiles.unpack_bundle(bundle, width)


def test_bundles_carry_empty_and_longest_entries():
    entries = [b"", b"x" * 65_535, b"y"]
    assert tiles.unpack_bundle(tiles.pack_bundle(entries), 3) == entries


@given(st.lists(st.sampled_from([b"", b"a", b"b", b"cc", b"dd", b"x" * 300]), min_size=1, max_size=6), st.data())
def test_a_bundles_tile_is_that_of_its_entries_and_of_nothing_else(entries, data):
    bundle = bytearray(tiles.pack_bundle(entries))
    assert tiles.bundle_hashes(bytes(bundle), len(entries)) == b"".join(map(merkle.leaf_hash, entries))
    bundle[data.draw(st.integers(0, len(bundle) - 1))] ^= data.draw(st.integers(1, 255))
    cut = bytes(bundle[: data.draw(st.integers(0, len(bundle)))])
    try:
        expected = b"".join(map(merkle.leaf_hash, tiles.unpack_bundle(cut, len(entries))))
    except InvalidProof:
        with pytest.raises(InvalidProof):
            tiles.bundle_hashes(cut, len(entries))
    else:
        assert tiles.bundle_hashes(cut, len(entries)) == expected


def test_lengths_are_read_entry_by_entry_where_one_differs():
    bundle = tiles.pack_bundle([b"a" * 254, b"b" * 253, b"c" * 255])
    assert len(bundle) == 3 * 256
    assert tiles.bundle_hashes(bundle, 3) == b"".join(map(merkle.leaf_hash, tiles.unpack_bundle(bundle, 3)))
