"""Logs and receipts of ours before judges that are not ours (main.go): what is honest passes, what is tampered with is
refused by each judge that can see it, and nothing by nobody. Skipped aloud where there is no Go.
"""

import base64
import json
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
from tests.judges.logs import LOG_KEYS, ORIGIN, SIZES, VKEY, link_tree
from tests.judges.tampering import ANY, FAR, TAMPERED, P, R, entry_and_level_0, has
from tests.unit.tlog.trees import key

pytestmark = [pytest.mark.service, pytest.mark.timeout(BUILD_S_MAX)]  # the first one builds the programs
SIZE, KEPT = 70_000, 66_000
COUNTS = {
    0: 11, 1: 30, 255: 34, 256: 34, 257: 40, 65_535: 40, 65_536: 37, 65_537: 42, 70_000: 43, 200_000: 43,
}  # fmt: skip
"""Tamperings by size. A log of 0 entries has only its checkpoint to tamper with; others lack what `Tampered.needs`."""
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
def test_every_judge_accepts_an_honest_log(binary, torchwood, case_of, size, tmp_path):
    log = case_of(size).honest
    root = parse_checkpoint(parse_note(log.checkpoint).text).root
    expected = (True, size, base64.b64encode(root).decode())
    (tmp_path / "kept").write_bytes(case_of(0).honest.checkpoint)
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


@pytest.mark.parametrize(
    ("size", "name"), [(size, name) for size in SIZES for name, how in TAMPERED.items() if has(size, how.needs)]
)
def test_a_tampered_log_is_refused_by_every_judge_that_can_see_it(
    binary, torchwood, case_of, at_once, tmp_path, size, name
):
    how, case = TAMPERED[name], case_of(size)
    folder = link_tree(case.honest.folder, tmp_path / "log")
    (tmp_path / "kept").write_bytes(how.kept_note(case))
    how.done(folder, case)
    asked = {
        "fsck": at_once.submit(verdict, binary, "fsck", folder),
        "tiles": at_once.submit(verdict, binary, "tiles", folder),
        "torchwood": at_once.submit(verdict, torchwood, "tiles", folder),
        "kept": at_once.submit(verdict, binary, "kept", folder, tmp_path / "kept"),
    }
    assert any(ours(folder, tmp_path / "kept")), "our own judge did not refuse it"
    found = {judge: P if answer.result()[0] else R for judge, answer in asked.items()}
    wanted = {"fsck": how.fsck, "tiles": how.tiles, "torchwood": how.tiles, "kept": how.kept}
    if how.kept == FAR:
        wanted["kept"] = P if case.kept > 65_536 else ANY
    assert {judge: told for judge, told in found.items() if wanted[judge] != ANY} == {
        judge: told for judge, told in wanted.items() if told != ANY
    }
    assert R in found.values(), "nobody refused it"


def test_no_tampering_is_left_out_but_those_that_a_log_of_that_size_has_not_got_the_files_for():
    assert {size: sum(has(size, how.needs) for how in TAMPERED.values()) for size in SIZES} == COUNTS
    assert [name for name, how in TAMPERED.items() if has(1, how.needs) and not has(0, how.needs)] == [
        name for name, how in TAMPERED.items() if how.needs in ("an entry", "a partial bundle", "an older size")
    ]


@pytest.mark.parametrize("size", [257, 65_536, 200_000])
@pytest.mark.parametrize("judge", ["fsck", "tiles", "torchwood"])
def test_each_tree_judge_by_itself_tells_honest_from_tampered(binary, torchwood, case_of, tmp_path, judge, size):
    program, kind = (torchwood, "tiles") if judge == "torchwood" else (binary, judge)
    case = case_of(size)
    folder = link_tree(case.honest.folder, tmp_path / "log")
    assert verdict(program, kind, folder)[0]
    entry_and_level_0(folder, case)
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
