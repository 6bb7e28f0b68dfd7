"""Logs and receipts of ours before judges that are not ours (main.go): what is honest passes, what is tampered with is
refused by each judge that can see it, and nothing by nobody. Skipped aloud where there is no Go.
"""

import base64
import json
import shutil
import subprocess

import pytest

from tallystick.errors import InvalidProof
from tallystick.tlog import merkle, tiles
from tallystick.tlog.auditing import check_growth, check_whole
from tallystick.tlog.checkpoints import Checkpoint, parse_checkpoint
from tallystick.tlog.keys import Kind
from tallystick.tlog.notes import Note, parse_note, signature, signed
from tallystick.tlog.policies import believe, parse_policy
from tallystick.tlog.tiles import parse_path
from tests.judges.foreign import BUILD_S_MAX
from tests.judges.logs import LOG_KEYS, ORIGIN, VKEY, link_tree
from tests.unit.tlog.trees import key

pytestmark = [pytest.mark.service, pytest.mark.timeout(BUILD_S_MAX)]  # the first one builds the programs
SIZES = (0, 1, 255, 256, 257, 65_535, 65_536, 65_537, 70_000, 200_000)
SIZE, KEPT, FORKED_AT = 70_000, 66_000, 40_000
TIMEOUT_S = 60.0
POLICY = parse_policy(f"log {VKEY}\nquorum none\n")


def verdict(binary, judge, path, *more):
    """Whether the judge accepted, its size and root. No line, a panic or a time-out is a refusal."""
    try:
        done = subprocess.run(
            [binary, judge, path, ORIGIN, VKEY, *more], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        said = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        return False, 0, ""
    return done.returncode == 0 and said["accepted"], said["size"], said["root"]


def ours(folder, kept):
    """Our own judge: the whole log, and growth from the kept checkpoint."""

    def read(tile):
        try:
            return (folder / tile.path).read_bytes()
        except FileNotFoundError as error:
            raise InvalidProof(f"{tile.path} is missing") from error

    refused = []
    for check in (
        lambda: check_whole(believe(parse_note((folder / "checkpoint").read_bytes()), POLICY).checkpoint, read),
        lambda: check_growth(
            believe(parse_note(kept.read_bytes()), POLICY).checkpoint,
            believe(parse_note((folder / "checkpoint").read_bytes()), POLICY).checkpoint,
            read,
        ),
    ):
        try:
            check()
        except InvalidProof:
            refused.append(True)
        else:
            refused.append(False)
    return refused


@pytest.mark.parametrize("size", SIZES)
def test_every_judge_accepts_an_honest_log(binary, torchwood, log_of, size, tmp_path):
    log = log_of(size)
    root = parse_checkpoint(parse_note(log.checkpoint).text).root
    expected = (True, size, base64.b64encode(root).decode())
    (tmp_path / "kept").write_bytes(log_of(0).checkpoint)
    assert verdict(binary, "fsck", log.folder) == expected
    assert verdict(binary, "tiles", log.folder) == expected
    assert verdict(torchwood, "tiles", log.folder) == expected
    assert verdict(binary, "kept", log.folder, tmp_path / "kept") == expected
    assert ours(log.folder, tmp_path / "kept") == [False, False]


def test_older_sizes_keep_their_partial_tiles(log_of):
    log = log_of(SIZE)
    for size in (1, 255, 257, KEPT):
        tree = tiles.TiledTree(size, log.reader.tile)
        assert merkle.root(size, tree.node) == parse_checkpoint(parse_note(log_of(size).checkpoint).text).root


# The tampering: each takes the copy of the log and the way to make other logs, and replaces files.


def replace(folder, path, change):
    data = (folder / path).read_bytes()
    changed = change(data)
    assert changed != data
    (folder / path).unlink()
    (folder / path).write_bytes(changed)


def flipped(at):
    return lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def swapped(data):
    return data[256:512] + data[:256] + data[512:]


def boundary(data):
    """One byte of an entry goes over to the next, both lengths put right: the same bytes otherwise."""
    return b"\0\xff" + data[2:256] + data[258:259] + b"\0\xfd" + data[259:]


def entry_and_level_0(folder, _log_of=None, number=100):
    """An entry changed, and its hash: as who has the files would do it."""
    replace(folder, f"tile/entries/{number:03}", flipped(50))
    hashes = tiles.leaf_hashes((folder / f"tile/entries/{number:03}").read_bytes(), 256)
    replace(folder, f"tile/0/{number:03}", lambda _: hashes)


def _patch(folder, path, at, new):
    replace(folder, path, lambda data: data[: at * 32] + new + data[at * 32 + 32 :])


def entry_and_level_1(folder, log_of):
    entry_and_level_0(folder)
    _patch(folder, "tile/1/000", 100, tiles.tile_root((folder / "tile/0/100").read_bytes()))


def entry_and_level_2(folder, log_of):
    entry_and_level_1(folder, log_of)
    _patch(folder, "tile/2/000.p/1", 0, tiles.tile_root((folder / "tile/1/000").read_bytes()))


def resigned(folder, body, signer=None):
    (folder / "checkpoint").unlink()
    (folder / "checkpoint").write_bytes(signed(body, [signer] if signer else LOG_KEYS, 1_700_000_000).encode())


def body(folder):
    return parse_note((folder / "checkpoint").read_bytes()).text


def leading_zero(folder, _log_of):
    resigned(folder, body(folder).replace("70000", "070000"), LOG_KEYS[0])


def became(size, history, common):
    """The folder holds another history, signed with the true keys."""

    def tamper(folder, log_of):
        other = log_of(size, history, common)
        shutil.rmtree(folder)
        link_tree(other.folder, folder)

    return tamper


def rolled_back(folder, log_of):
    older = log_of(KEPT - 1)
    shutil.rmtree(folder)
    link_tree(older.folder, folder)


def other_root(folder, _log_of):
    found = parse_checkpoint(body(folder))
    resigned(folder, Checkpoint(ORIGIN, found.size, merkle.EMPTY_ROOT).body)


def swapped_in(pattern, count):
    """That many files are another history's, of the same size."""

    def tamper(folder, log_of):
        other = log_of(SIZE, 9, 0).folder
        paths = sorted(path.relative_to(folder) for path in folder.glob(pattern))[:count]
        assert len(paths) == count
        for path in paths:
            (folder / path).unlink()
            (folder / path).write_bytes((other / path).read_bytes())

    return tamper


def root_edited(data):
    lines = data.split(b"\n")
    lines[2] = base64.b64encode(bytes(32))
    return b"\n".join(lines)


def failing_line_first(folder, _log_of):
    """A line of the log's key that does not verify stands before the one that does."""
    note = parse_note((folder / "checkpoint").read_bytes())
    wrong = signature(note.text + "x", LOG_KEYS[0], 1)
    (folder / "checkpoint").unlink()
    (folder / "checkpoint").write_bytes(Note(note.text, (wrong, *note.signatures)).encode())


def edit(path, change):
    return lambda folder, _log_of: replace(folder, path, change)


def remove(path):
    return lambda folder, _log_of: (folder / path).unlink()


R, P, ANY = "refuses", "passes", "any"
PARTIAL = "tile/entries/273.p/112"
TAMPERED = {
    # name: (what is done, tessera's fsck, x/mod's tiles, x/mod from a kept checkpoint)
    "entry byte": (edit("tile/entries/100", flipped(50)), R, R, P),
    "entry byte in the partial bundle": (edit(PARTIAL, flipped(50)), R, R, P),
    "last entry byte": (edit(PARTIAL, flipped(112 * 256 - 1)), R, R, P),
    "entries swapped": (edit("tile/entries/100", swapped), R, R, P),
    "entry removed": (edit("tile/entries/100", lambda data: data[256:]), R, R, P),
    "entry doubled": (edit("tile/entries/100", lambda data: data[:256] + data[:-256]), R, R, P),
    "boundary moved": (edit("tile/entries/100", boundary), R, R, P),
    "bundle cut inside an entry": (edit("tile/entries/100", lambda data: data[:-10]), R, R, P),
    "bundle emptied": (edit("tile/entries/100", lambda data: b""), R, R, P),
    "bundle missing": (remove("tile/entries/100"), R, R, P),
    "extra entry in a full bundle": (edit("tile/entries/100", lambda data: data + data[:256]), P, R, P),
    "extra entry in the partial bundle": (edit(PARTIAL, lambda data: data + data[:256]), P, R, P),
    "level 0 byte": (edit("tile/0/100", flipped(40)), R, R, ANY),
    "level 0 byte in the partial tile": (edit("tile/0/273.p/112", flipped(40)), R, R, ANY),
    "level 1 byte": (edit("tile/1/000", flipped(40)), R, R, ANY),
    "level 2 byte": (edit("tile/2/000.p/1", flipped(20)), R, R, R),
    "level 0 tile missing": (remove("tile/0/100"), R, R, ANY),
    "level 1 tile missing": (remove("tile/1/000"), R, R, ANY),
    "level 0 tile too short": (edit("tile/0/100", lambda data: data[:-32]), R, R, ANY),
    "level 0 tile too long": (edit("tile/0/100", lambda data: data + data[:32]), R, R, ANY),
    "partial tile too long": (edit("tile/0/273.p/112", lambda data: data + data[:32]), P, R, ANY),
    "50 bundles of another history": (swapped_in("tile/entries/*", 50), R, R, P),
    "all 273 bundles of another history": (swapped_in("tile/entries/*", 273), R, R, P),
    "273 tiles of another history": (swapped_in("tile/0/*", 273), R, R, ANY),
    "level 1 byte in the partial tile": (edit("tile/1/001.p/17", flipped(40)), R, R, ANY),
    "a line that fails before one that does not": (failing_line_first, R, R, R),
    "root edited": (edit("checkpoint", root_edited), R, R, R),
    "entry and its level 0 tile": (entry_and_level_0, R, R, P),
    "entry, level 0 and level 1": (entry_and_level_1, R, R, P),
    "entry, level 0, level 1 and level 2": (entry_and_level_2, R, R, R),
    "size edited": (edit("checkpoint", lambda data: data.replace(b"\n70000\n", b"\n69999\n")), R, R, R),
    "signature edited": (edit("checkpoint", flipped(-3460)), R, R, R),
    "signed by a stranger": (lambda folder, _: resigned(folder, body(folder), key(seed=9)), R, R, R),
    "not signed": (edit("checkpoint", lambda data: data.partition(b"\n\n")[0] + b"\n\n"), R, R, R),
    "line ends of Windows": (edit("checkpoint", lambda data: data.replace(b"\n", b"\r\n")), R, R, R),
    "two blank lines": (edit("checkpoint", lambda data: data.replace(b"\n\n", b"\n\n\n")), R, R, R),
    "another origin": (lambda folder, _: resigned(folder, body(folder).replace(ORIGIN, "other.example")), R, R, R),
    "leading zero, signed": (leading_zero, P, R, R),
    "two trees of one size": (became(SIZE, 7, 100), P, P, R),
    "another root, signed": (other_root, R, R, R),
    "rolled back": (rolled_back, P, P, R),
    "forked": (became(SIZE, 8, FORKED_AT), P, P, R),
    "history rewritten": (became(SIZE, 9, 0), P, P, R),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_tampered_log_is_refused_by_every_judge_that_can_see_it(binary, torchwood, log_of, tmp_path, name):
    tamper, fsck, whole, kept = TAMPERED[name]
    folder = link_tree(log_of(SIZE).folder, tmp_path / "log")
    (tmp_path / "kept").write_bytes(log_of(KEPT).checkpoint)
    tamper(folder, log_of)
    found = {
        "fsck": verdict(binary, "fsck", folder)[0],
        "tiles": verdict(binary, "tiles", folder)[0],
        "torchwood": verdict(torchwood, "tiles", folder)[0],
        "kept": verdict(binary, "kept", folder, tmp_path / "kept")[0],
    }
    wanted = {"fsck": fsck, "tiles": whole, "torchwood": whole, "kept": kept}
    assert {judge: P if found[judge] else R for judge in wanted if wanted[judge] != ANY} == {
        judge: told for judge, told in wanted.items() if told != ANY
    }
    assert not all(found.values()), "nobody refused it"
    assert any(ours(folder, tmp_path / "kept")), "our own judge did not refuse it"


@pytest.mark.parametrize("size", [257, 65_536, 200_000])
@pytest.mark.parametrize("judge", ["fsck", "tiles", "torchwood"])
def test_each_tree_judge_by_itself_tells_honest_from_tampered(binary, torchwood, log_of, tmp_path, judge, size):
    program, kind = (torchwood, "tiles") if judge == "torchwood" else (binary, judge)
    folder = link_tree(log_of(size).folder, tmp_path / "log")
    assert verdict(program, kind, folder)[0]
    entry_and_level_0(folder, number=size // 512)
    assert not verdict(program, kind, folder)[0]


@pytest.mark.parametrize("index", [0, 1, 255, 256, 65_535, 65_536, 69_999])
def test_receipts_verify_with_a_reader_that_is_not_ours(binary, log_of, tmp_path, index):
    log = log_of(SIZE)
    entry = tmp_path / "entry"
    entry.write_bytes(log.entries[index].tobytes()[2:])
    path = tmp_path / "receipt"
    good = log.reader.receipt(index, lambda found: found)
    path.write_bytes(good)
    assert verdict(binary, "receipt", path, entry)[:2] == (True, SIZE)
    for tampered in (
        good.replace(b"index ", b"index 1"),
        good.replace(b"\n70000\n", b"\n70001\n"),
        good.replace(b"\n\n", b"\n" + base64.b64encode(bytes(32)) + b"\n\n", 1),
        good.replace(b"@v1", b"@v2"),
    ):
        path.write_bytes(tampered)
        assert not verdict(binary, "receipt", path, entry)[0]
    path.write_bytes(good)
    entry.write_bytes(log.entries[index ^ 1].tobytes()[2:])
    assert not verdict(binary, "receipt", path, entry)[0]


def test_signatures_of_every_kind_verify_with_a_reader_that_is_not_ours(binary, tmp_path):
    witnesses = [key("w1.example", Kind.ED25519_COSIGNATURE, 3), key("w2.example", Kind.MLDSA44, 4)]
    keys = [*LOG_KEYS, *witnesses]
    text = Checkpoint(ORIGIN, 5, bytes(range(32))).body
    note = signed(text, keys, 1_700_000_000)
    (tmp_path / "note").write_bytes(note.encode())
    vkeys = [found.verifier.vkey for found in keys[1:]]
    assert verdict(binary, "note", tmp_path / "note", *vkeys)[:2] == (True, 5)
    for at in range(len(keys)):
        others = list(note.signatures)
        others[at] = signature(text.replace("5", "6", 1), keys[at], 1_700_000_000)
        (tmp_path / "note").write_bytes(Note(text, tuple(others)).encode())
        assert not verdict(binary, "note", tmp_path / "note", *vkeys)[0]


def test_the_paths_of_an_export_are_those_of_its_tiles(log_of):
    folder = log_of(257).folder
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    expected = [*tiles.tiles_of(257), *tiles.bundles_of(257)]
    assert found == {"checkpoint", *(tile.path for tile in expected)}
    assert [parse_path(tile.path) for tile in expected] == expected
