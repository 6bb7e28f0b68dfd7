"""Sequencer, publisher and reader on a real journal in files: what is published, what is refused, what is served."""

import pytest

from tallystick.auditor.export import export
from tallystick.auditor.levels import LevelFiles
from tallystick.auditor.places import Folder
from tallystick.auditor.publisher import AGAIN_NS, EVERY_NS, Publisher
from tallystick.auditor.sequencer import Sequencer
from tallystick.auditor.serving import PUBLISHED, STATE, TREE, LogReader
from tallystick.blockfile.disk import SystemDisk
from tallystick.blockfile.slots import Slots
from tallystick.conformance import samples
from tallystick.errors import Corrupt, Damaged, InvalidProof, Unavailable
from tallystick.journal.files import FileJournal, FileJournalReader
from tallystick.journal.follow import catch_up
from tallystick.signer.signing import Signing
from tallystick.tlog import merkle, tiles
from tallystick.tlog.auditing import check_growth, check_whole
from tallystick.tlog.checkpoints import parse_checkpoint
from tallystick.tlog.notes import parse_note
from tallystick.tlog.policies import parse_policy
from tallystick.tlog.receipts import parse_receipt, verify
from tallystick.tlog.tiles import Tile
from tests.unit.tlog.trees import ORIGIN, key

POLICY = parse_policy(f"log {key().verifier.vkey}\nquorum none\n")


class Time:
    def __init__(self):
        self.now_ns = 1_700_000_000_000_000_000

    def wall_ns(self):
        return self.now_ns

    monotonic_ns = wall_ns


class Shard:
    """Journal, auditor and signer of one folder; `restart` makes new ones of what the folder holds."""

    def __init__(self, folder):
        self.folder, self.clock, self.disk = folder, Time(), SystemDisk()
        self.disk.make_folder(folder / "audit")
        self.journal = FileJournal.open(folder / "journal", self.disk, 1_048_576)
        self.restart()

    def restart(self):
        self.journal_reader = FileJournalReader(self.folder / "journal", self.disk)
        self.levels = LevelFiles(self.folder / "audit" / TREE, self.disk)
        self.sequencer = Sequencer(self.levels, Slots(self.folder / "audit" / STATE, self.disk))
        self.signing = Signing(ORIGIN, lambda: [key()], Slots(self.folder / "signed", self.disk), self.clock)
        self.published = Slots(self.folder / "audit" / PUBLISHED, self.disk)
        self.publisher = Publisher(ORIGIN, self.levels, self.signing, self.published, self.clock)
        self.reader = LogReader(self.folder / "audit", self.disk, self.journal_reader)

    def add(self, count, mark=0):
        samples.append(self.journal, count, mark=mark)
        catch_up(self.journal_reader, self.sequencer)

    def publish(self):
        self.clock.now_ns += EVERY_NS
        return self.publisher.publish()

    def checkpoint(self):
        return parse_checkpoint(parse_note(self.reader.checkpoint()).text)


@pytest.fixture
def shard(tmp_path):
    return Shard(tmp_path)


def test_entry_n_is_leaf_n(shard):
    for count in (1, 254, 1, 1, 300):
        shard.add(count)
        shard.publish()
    assert shard.checkpoint().size == 557
    check_whole(shard.checkpoint(), shard.reader.tile)
    bundle = shard.reader.tile(Tile(-1, 0))
    entries = [block.entries.tobytes() for block in shard.journal_reader.read(0)]
    assert bundle == b"".join(entries)[: 256 * 256]


def test_at_most_one_checkpoint_a_second_and_an_idle_log_says_so_now_and_then(shard):
    shard.add(3)
    assert shard.publisher.publish().size == 3
    shard.add(3)
    assert shard.publisher.publish() is None
    shard.clock.now_ns += EVERY_NS
    assert shard.publisher.publish().size == 6
    shard.clock.now_ns += AGAIN_NS - 1
    assert shard.publisher.publish() is None
    shard.clock.now_ns += 1
    assert shard.publisher.publish().size == 6


def test_an_empty_log_has_a_checkpoint(shard):
    assert shard.publish().root == merkle.EMPTY_ROOT
    check_whole(shard.checkpoint(), shard.reader.tile)


def test_nothing_is_served_that_is_not_under_the_published_checkpoint(shard):
    assert shard.reader.checkpoint() is None
    assert shard.reader.tile(Tile(0, 0, 1)) is None
    shard.add(300)
    assert shard.reader.tile(Tile(0, 0, 1)) is None
    with pytest.raises(Unavailable, match="not under a signed checkpoint yet"):
        shard.reader.receipt(0, bytes)
    shard.publish()
    shard.add(300)
    for there in (Tile(0, 0), Tile(0, 1, 44), Tile(0, 1, 7), Tile(-1, 1, 44), Tile(1, 0, 1)):
        assert len(shard.reader.tile(there)) == there.width * (256 if there.level < 0 else 32)
    for absent in (Tile(0, 1, 45), Tile(0, 1), Tile(-1, 1, 45), Tile(1, 0, 2), Tile(2, 0, 1), Tile(0, 2, 1)):
        assert shard.reader.tile(absent) is None
    with pytest.raises(Unavailable):
        shard.reader.receipt(300, bytes)


@pytest.mark.parametrize("seq", [0, 1, 255, 256, 599])
def test_a_receipt_verifies_for_its_entry(shard, seq):
    shard.add(600)
    shard.publish()
    receipt = parse_receipt(shard.reader.receipt(seq, lambda entry: entry))
    assert receipt.index == seq
    assert verify(receipt, merkle.leaf_hash(receipt.extra), POLICY).checkpoint.size == 600
    with pytest.raises(InvalidProof):
        verify(receipt, merkle.leaf_hash(receipt.extra[::-1]), POLICY)


def test_a_restart_goes_on_where_it_was(shard):
    for size in (300, 600, 900):
        shard.add(300)
        shard.publish()
        shard.restart()
        assert shard.sequencer.cursor().next_seq == size
    check_whole(shard.checkpoint(), shard.reader.tile)


def test_a_damaged_tree_is_made_again_and_must_come_to_what_was_signed(shard):
    shard.add(700)
    shard.publish()
    path = shard.folder / "audit" / TREE / "level-0"
    data = bytearray(path.read_bytes())
    data[600 * 32] ^= 1
    path.write_bytes(data)
    shard.restart()
    with pytest.raises(Damaged, match="made again"):
        shard.sequencer.cursor()
    shard.restart()
    catch_up(shard.journal_reader, shard.sequencer)
    shard.add(1)
    assert shard.publish().size == 701
    check_whole(shard.checkpoint(), shard.reader.tile)


def test_an_edited_row_of_the_journal_is_named_by_whoever_computes_the_log_again(shard):
    """Attacks 1 and 4: an entry's byte edited in the journal's file, and so in its bundle."""
    shard.add(300)
    shard.publish()
    entry = next(iter(shard.journal_reader.read(0))).entries[123].tobytes()
    (segment,) = [path for path in (shard.folder / "journal").iterdir() if entry in path.read_bytes()]
    segment.write_bytes(segment.read_bytes().replace(entry, entry[:-1] + bytes([entry[-1] ^ 1])))
    shard.restart()
    with pytest.raises(InvalidProof, match="entry 123 is not the one"):
        check_whole(shard.checkpoint(), shard.reader.tile)
    receipt = parse_receipt(shard.reader.receipt(123, lambda found: found))
    with pytest.raises(InvalidProof):
        verify(receipt, merkle.leaf_hash(receipt.extra), POLICY)


def test_a_row_edited_together_with_its_hash_does_not_come_to_the_root(shard):
    """Attack 2, on the files: the entry and its level-0 hash, nothing above."""
    shard.add(300)
    shard.publish()
    entry = next(iter(shard.journal_reader.read(0))).entries[123].tobytes()
    edited = entry[:-1] + bytes([entry[-1] ^ 1])
    (segment,) = [path for path in (shard.folder / "journal").iterdir() if entry in path.read_bytes()]
    segment.write_bytes(segment.read_bytes().replace(entry, edited))
    level = shard.folder / "audit" / TREE / "level-0"
    level.write_bytes(level.read_bytes().replace(merkle.leaf_hash(entry[2:]), merkle.leaf_hash(edited[2:])))
    shard.restart()
    with pytest.raises(InvalidProof, match="subtree 0"):
        check_whole(shard.checkpoint(), shard.reader.tile)


def rewritten(shard, folder, sizes, common=0):
    """The same shard with another history: its signer's record is kept, all else is new, as after a rewrite."""
    other = Shard(folder)
    if common:
        samples.append(other.journal, common)
    for size in sizes:
        samples.append(other.journal, size, mark=99)
    (folder / "signed").write_bytes((shard.folder / "signed").read_bytes())
    other.restart()
    catch_up(other.journal_reader, other.sequencer)
    return other


@pytest.mark.parametrize(("sizes", "common"), [((300,), 0), ((300,), 200), ((900,), 0), ((900,), 499)])
def test_a_rewritten_or_forked_history_is_not_signed(shard, tmp_path, sizes, common):
    """Attacks 8 and 9, where the signer's own state answers."""
    shard.add(500)
    shard.publish()
    other = rewritten(shard, tmp_path / "other", sizes, common)
    if other.levels.size < 500:
        assert other.publish() is None  # shorter than what was signed: nothing is published
        return
    with pytest.raises(Corrupt, match="the signer refuses"):
        other.publish()


def test_a_rewritten_history_signed_by_a_signer_that_forgot_is_seen_from_a_kept_checkpoint(shard, tmp_path):
    """Attacks 8, 9 and 10: here the signer was robbed of its record, so only what others kept can tell."""
    shard.add(500)
    shard.publish()
    kept = shard.checkpoint()
    for number, (sizes, common) in enumerate((((900,), 0), ((900,), 499), ((500,), 0), ((300,), 0))):
        other = rewritten(shard, tmp_path / str(number), sizes, common)
        (other.folder / "signed").unlink()
        other.restart()
        catch_up(other.journal_reader, other.sequencer)
        other.publish()
        check_whole(other.checkpoint(), other.reader.tile)
        with pytest.raises(InvalidProof):
            check_growth(kept, other.checkpoint(), other.reader.tile)
    shard.add(400)
    shard.publish()
    check_growth(kept, shard.checkpoint(), shard.reader.tile)


def test_while_nobody_signs_the_tree_grows_and_the_next_checkpoint_covers_it(shard):
    class Absent:
        def sign(self, old, proof, checkpoint):
            raise Unavailable("nobody there")

    shard.add(10)
    absent = Publisher(ORIGIN, shard.levels, Absent(), shard.published, shard.clock)
    with pytest.raises(Unavailable):
        absent.publish()
    shard.add(10)
    assert shard.publish().size == 20


def test_a_signature_that_was_never_published_is_caught_up_with(shard):
    """Killed between signing and publishing: the signer is ahead of what is published."""
    shard.add(10)
    shard.publish()
    before = (shard.folder / "audit" / PUBLISHED).read_bytes()
    shard.add(10)
    shard.publish()
    (shard.folder / "audit" / PUBLISHED).write_bytes(before)
    shard.restart()
    shard.sequencer.cursor()
    assert shard.checkpoint().size == 10
    shard.add(10)
    assert shard.publish().size == 30


def test_an_export_adds_what_is_new_and_never_changes_what_is_there(shard, tmp_path):
    shard.add(300)
    shard.publish()
    export(shard.reader, Folder(tmp_path / "out"))
    shard.add(300)
    shard.publish()
    checkpoint = export(shard.reader, Folder(tmp_path / "out"))
    check_whole(checkpoint, lambda tile: (tmp_path / "out" / tile.path).read_bytes())
    for tile in tiles.tiles_of(300):
        assert (tmp_path / "out" / tile.path).exists()
    (tmp_path / "out" / "tile/0/000").write_bytes(bytes(8192))
    with pytest.raises(Corrupt, match="holds another tile"):
        export(shard.reader, Folder(tmp_path / "out"))
