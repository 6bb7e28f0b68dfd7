"""Every promise that matters, broken on purpose, and the tests that must notice.

To add one: append a `Mutant`. `old` must stand exactly once in `file`; choose the smallest change that breaks the
promise and still runs, and name the fastest tests that should catch it. `make mutants` runs them all,
`python tests/mutants/run.py NAME…` some.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Mutant:
    """One deliberate breakage."""

    name: str
    promise: str  # what it breaks, in words of the documents
    file: str  # from the root of the repository
    old: str  # text that stands there exactly once
    new: str
    tests: tuple[str, ...]  # arguments of pytest; at least one test must fail
    interpreted: bool = False  # run the kernel's source as it is: for short tests quicker than compiling it


RECORDS = (
    Mutant(
        name="block hash unchecked",
        promise="a block whose bytes changed is refused",
        file="src/tallystick/records/blocks.py",
        old="if digest.digest() != header.hash:",
        new="if False:",
        tests=("tests/unit/records/test_blocks.py",),
    ),
    Mutant(
        name="hash skips the header",
        promise="the hash covers the header too",
        file="src/tallystick/records/blocks.py",
        old="    digest = hashlib.sha256(view[:HASH_AT])\n",
        new="    digest = hashlib.sha256(bytes(view[:16]) + bytes(HASH_AT - 16))\n",
        tests=("tests/unit/records/test_blocks.py", "tests/golden"),
    ),
    Mutant(
        name="newer version guessed",
        promise="a version that is not known is refused, never guessed",
        file="src/tallystick/records/blocks.py",
        old="if version != VERSION:",
        new="if version < VERSION:",
        tests=("tests/unit/records/test_blocks.py",),
    ),
    Mutant(
        name="rows of any version",
        promise="rows of another version are refused, and no 512 bytes of a block are zero",
        file="src/tallystick/records/blocks.py",
        old="if not values.issuperset(view[at + place : end : dtype.itemsize].tobytes()):",
        new="if False:",
        tests=("tests/unit/records/test_blocks.py",),
    ),
    Mutant(
        name="lanes unsorted",
        promise="each lane stands once in a block, in order",
        file="src/tallystick/records/blocks.py",
        old="if list(positions) != sorted(positions) or len(positions) != header.lanes:",
        new="if False:",
        tests=("tests/unit/records/test_blocks.py",),
    ),
    Mutant(
        name="fields swapped",
        promise="the bytes of version 1 never change",
        file="src/tallystick/records/entries.py",
        old='        ("tenant", "<u8"),\n        *u128("request_id"),\n',
        new='        *u128("request_id"),\n        ("tenant", "<u8"),\n',
        tests=("tests/golden", "tests/unit/records/test_layouts.py"),
    ),
    Mutant(
        name="fingerprint without metadata",
        promise="a fingerprint covers all that the client asked",
        file="src/tallystick/records/commands.py",
        old='count.to_bytes(2, "little") + events + metadata)',
        new='count.to_bytes(2, "little") + events)',
        tests=("tests/unit/records/test_commands.py",),
    ),
    Mutant(
        name="status number reused",
        promise="statuses are TigerBeetle's, number by number",
        file="src/tallystick/statuses.py",
        old="    EXCEEDS_CREDITS = 54\n    EXCEEDS_DEBITS = 55\n",
        new="    EXCEEDS_CREDITS = 55\n    EXCEEDS_DEBITS = 54\n",
        tests=("tests/unit/test_statuses.py",),
    ),
    Mutant(
        name="amount past 128 bits",
        promise="an amount of 2^128 or more is refused",
        file="src/tallystick/money.py",
        old="if not 0 <= number <= AMOUNT_MAX:",
        new="if not 0 <= number:",
        tests=("tests/unit/test_money.py",),
    ),
)

STORAGE_TESTS = ("tests/faults/storage", "tests/conformance")
STORAGE = (
    Mutant(
        name="sync removed",
        promise="a block is durable when append returns",
        file="src/tallystick/blockfile/writer.py",
        old="            self._file.write(at - self._start, buffers)\n            self._file.sync()\n",
        new="            self._file.write(at - self._start, buffers)\n",
        tests=STORAGE_TESTS,
    ),
    Mutant(
        name="durable end stored before the sync",
        promise="no reader sees what a power cut can still take",
        file="src/tallystick/blockfile/writer.py",
        old="            self._file.write(at - self._start, buffers)\n            self._file.sync()\n",
        new="            self._file.write(at - self._start, buffers)\n"
        "            self._durable_end.store(at + room)\n"
        "            self._file.sync()\n",
        tests=STORAGE_TESTS,
    ),
    Mutant(
        name="durable end ignored",
        promise="no reader passes the durable end",
        file="src/tallystick/blockfile/reader.py",
        old="        return self._register.load() if self._register else 0\n",
        new="        if self._register is None or (end := self._register.load()) == 0:\n"
        "            return 0\n"
        "        from tallystick.blockfile.segments import padded\n"
        "        from tallystick.blockfile.startup import _next_whole\n"
        "        while beyond := _next_whole(self.segments, self.segments.starts(), end, None):\n"
        "            end = beyond[0] + padded(beyond[1].header.size)\n"
        "        return end\n",
        tests=STORAGE_TESTS,
    ),
    Mutant(
        name="torn tail kept",
        promise="what a power cut left of a block is zeroed before anything is written there",
        file="src/tallystick/blockfile/writer.py",
        old="file.write(found.at - self._start, [block, *slices])",
        new="file.write(found.at - self._start, [block])",
        tests=STORAGE_TESTS,
    ),
    Mutant(
        name="damage taken for a tear",
        promise="a last block whose hash fails is torn only if a sector of it is missing",
        file="src/tallystick/blockfile/startup.py",
        old="        if all(_is_used(segments, at) for at in range(place, place + size, SECTOR)):\n",
        new="        if False:\n",
        tests=STORAGE_TESTS,
    ),
    Mutant(
        name="last block not synced again",
        promise="a restart does not trust what it can read: it rewrites its last block, and syncs",
        file="src/tallystick/blockfile/writer.py",
        old="            file.write(found.at - self._start, [block, *slices])\n            file.sync()\n",
        new="            file.write(found.at - self._start, [block, *slices])\n",
        tests=STORAGE_TESTS,
    ),
    Mutant(
        name="writer serves after a failed sync",
        promise="a sync is never tried twice: after a failure the writer is spent",
        file="src/tallystick/blockfile/writer.py",
        old="        if self._spent:\n",
        new="        if False:\n",
        tests=STORAGE_TESTS,
    ),
    Mutant(
        name="gap in a lane skipped",
        promise="a position outside what a lane holds is damage, never skipped",
        file="src/tallystick/intake/files.py",
        old="        if at != number:\n",
        new="        if False:\n",
        tests=("tests/conformance",),
    ),
    Mutant(
        name="epoch not compared",
        promise="a writer that was replaced is fenced",
        file="src/tallystick/journal/files.py",
        old="        if epoch != self._epoch or self._epoch_register.load() != epoch:\n",
        new="        if False:\n",
        tests=("tests/conformance",),
    ),
)

SIMULATION_TESTS = (
    "tests/faults/engine/test_simulation.py::test_what_was_acknowledged_is_decided_once_and_nothing_seen_is_ever_lost",
)
SEEN_BY_THE_SIMULATION = (
    "sync removed",
    "durable end ignored",
    "damage taken for a tear",
    "last block not synced again",
)
POISON_TESTS = ("tests/unit/engine/test_poison.py",)
TLOG = "src/tallystick/tlog/"
TLOG_TESTS = ("tests/unit/tlog",)
AUDITOR_STORIES = ("tests/faults/auditor/test_auditor_power.py",)
TRANSPARENCY = (
    Mutant(
        "proof of any length",
        "an inclusion proof that is too short proves nothing",
        TLOG + "merkle.py",
        """    if last != 0:
        raise InvalidProof(f"the proof is too short for leaf""",
        """    if False:
        raise InvalidProof(f"the proof is too short for leaf""",
        TLOG_TESTS,
    ),
    Mutant(
        "old root not compared",
        "a consistency proof ties the new tree to the old one",
        TLOG + "merkle.py",
        "if old_found != old_root or new_found != new_root:",
        "if new_found != new_root:",
        TLOG_TESTS,
    ),
    Mutant(
        "leaf like a node",
        "a leaf can never pass for a node",
        TLOG + "merkle.py",
        'return sha256(b"\\0" + entry).digest()',
        'return sha256(b"\\1" + entry).digest()',
        TLOG_TESTS,
    ),
    Mutant(
        "failing key overlooked",
        "a known key that fails rejects the note, even beside one that does not",
        TLOG + "notes.py",
        "        if key is not None:\n",
        "        if key is not None and key not in found:\n",
        TLOG_TESTS,
    ),
    Mutant(
        "first blank line",
        "the last blank line ends a note's text",
        TLOG + "notes.py",
        'cut = whole.rfind("\\n\\n")',
        'cut = whole.find("\\n\\n")',
        TLOG_TESTS,
    ),
    Mutant(
        "extension lines",
        "a checkpoint has three lines and no more",
        TLOG + "checkpoints.py",
        "if len(lines) != 4 or lines[3]:",
        "if len(lines) < 4 or lines[-1]:",
        TLOG_TESTS,
    ),
    Mutant(
        "leading zero",
        "a number has one spelling",
        TLOG + "checkpoints.py",
        ' or (text[0] == "0" and text != "0")',
        "",
        TLOG_TESTS,
    ),
    Mutant(
        "any log's key",
        "a log signs for its own origin alone",
        TLOG + "policies.py",
        "if not any(signer.key in policy.logs and signer.key.name == checkpoint.origin for signer in signers):",
        "if not any(signer.key in policy.logs for signer in signers):",
        TLOG_TESTS,
    ),
    Mutant(
        "quorum not asked",
        "a minority of witnesses is no quorum",
        TLOG + "policies.py",
        "    if not policy.witnessed(signers):\n",
        "    if False:\n",
        TLOG_TESTS,
    ),
    Mutant(
        "time unsigned",
        "a cosignature is good for its time alone",
        TLOG + "signatures.py",
        'return f"cosignature/v1\\ntime {time_s}\\n{text}".encode()',
        'return f"cosignature/v1\\n{text}".encode()',
        ("tests/unit/tlog",),
    ),
    Mutant(
        "level not synced",
        "the tree under a cursor is durable",
        "src/tallystick/auditor/levels.py",
        "                file.sync()\n",
        "",
        AUDITOR_STORIES,
    ),
    Mutant(
        "names of levels not synced",
        "the tree under a cursor is durable, its files' names too",
        "src/tallystick/auditor/levels.py",
        "        if created:\n            self._disk.sync_folder(self._folder)\n",
        "",
        AUDITOR_STORIES,
    ),
    Mutant(
        "cursor before the tree",
        "the cursor is durable only after the tree is",
        "src/tallystick/auditor/sequencer.py",
        "        self._levels.flush()\n",
        "        self._state.store(_STATE.pack(self._levels.size, self._levels.root(), after.block_hash or b''))\n"
        "        self._levels.flush()\n",
        AUDITOR_STORIES,
    ),
    Mutant(
        "slot not synced",
        "what was stored in slots stays",
        "src/tallystick/blockfile/slots.py",
        "            self._file.sync()\n",
        "",
        ("tests/faults/storage/test_slots_power.py",),
    ),
    Mutant(
        "reader before durable",
        "a reader sees nothing that a power cut could take back",
        "src/tallystick/blockfile/slots.py",
        "    if second is not None:\n        return second[1]\n",
        "    if first is not None:\n        return first[1]\n",
        ("tests/faults/storage/test_slots_power.py",),
    ),
    Mutant(
        "growth not proven",
        "the signer signs only what adds to what it signed last",
        "src/tallystick/signer/signing.py",
        "            verify_consistency(old, checkpoint.size, self._last.root, checkpoint.root, proof)\n",
        "            pass\n",
        ("tests/unit/signer",),
    ),
    Mutant(
        "signed before remembered",
        "no signature is out there that a restart of the signer would not know of",
        "src/tallystick/signer/signing.py",
        "        self._slots.store(checkpoint.body.encode())\n",
        "",
        ("tests/unit/signer",),
    ),
    Mutant(
        "rollback signed",
        "the signer never goes back to a smaller tree",
        "src/tallystick/signer/signing.py",
        "        if old != self._last.size:\n            raise Stale(self._last.size)\n",
        "",
        ("tests/unit/signer",),
    ),
)

ENGINE = (
    *(
        replace(each, name=f"{each.name}, whole shard", tests=SIMULATION_TESTS)
        for each in STORAGE
        if each.name in SEEN_BY_THE_SIMULATION
    ),
    Mutant(
        name="answer before durable",
        promise="outcomes leave when their block is durable",
        file="src/tallystick/engine/writer.py",
        old="        if work.outcome is not None:\n"
        "            self._append(work, work.outcome)\n"
        "        self.gate.decided(work.answers)\n",
        new="        self.gate.decided(work.answers)\n"
        "        if work.outcome is not None:\n"
        "            self._append(work, work.outcome)\n",
        tests=SIMULATION_TESTS,
    ),
    Mutant(
        name="request taken twice after restart",
        promise="a request is decided once, whatever restarts in between",
        file="src/tallystick/ledger/replaying.py",
        old=" and entry.index == 0 and entry.seq >= ids_from and not _no_request(entry):\n",
        new=" and False:\n",
        tests=SIMULATION_TESTS,
    ),
    Mutant(
        name="positions forgotten by a restart",
        promise="a lane goes on where the journal says it was taken",
        file="src/tallystick/engine/recovery.py",
        old="    decider.positions = dict(block.positions)\n",
        new="",
        tests=SIMULATION_TESTS,
    ),
    Mutant(
        name="fingerprint ignored",
        promise="a reused key never shows another payment's result",
        file="src/tallystick/engine/requests.py",
        old='        same = (fingerprints[known] == details["fingerprint"]).all(axis=1)\n',
        new="        same = np.ones(len(known), np.bool_)\n",
        tests=SIMULATION_TESTS,
    ),
    Mutant(
        name="freeze ignored, whole shard",
        promise="no payment leaves a frozen account",
        file="src/tallystick/ledger/transfers.py",
        old="    if debit.frozen & SIDE_DEBITS != 0:\n",
        new="    if False:\n",
        tests=SIMULATION_TESTS,
    ),
    Mutant(
        name="id check off",
        promise="a transfer's id is used once",
        file="src/tallystick/ledger/kernel.py",
        old="                if fetched_here != NOT_FETCHED:\n",
        new="                if fetched_here < NOT_FETCHED:\n",
        tests=SIMULATION_TESTS,
    ),
    Mutant(
        name="block on its way forgotten",
        promise="what is decided but not yet durable is known to the next decision",
        file="src/tallystick/engine/fetch.py",
        old="        if draft.outcome is not None:\n            self._drafts.append(draft)\n",
        new="",
        tests=SIMULATION_TESTS,
    ),
    Mutant(
        name="kill taken for a crash",
        promise="a kill inside decide counts against nobody",
        file="src/tallystick/engine/poison.py",
        old="        if deciding >= here and crash_noted:\n",
        new="        if deciding >= here:\n",
        tests=POISON_TESTS,
    ),
    Mutant(
        name="neighbour taken for the suspect",
        promise="only the request that crashed alone is refused",
        file="src/tallystick/engine/loop.py",
        old="quarantine = mode is Mode.QUARANTINE and self.poison.is_suspect(first)\n",
        new="quarantine = mode is Mode.QUARANTINE\n",
        tests=POISON_TESTS,
    ),
    Mutant(
        name="full disk blamed on a request",
        promise="what the disk refuses within decide counts against no request",
        file="src/tallystick/engine/poison.py",
        old="        if kind is None or (issubclass(kind, TallystickError) and not issubclass(kind, Violated)):\n",
        new="        if kind is None:\n",
        tests=POISON_TESTS,
    ),
    Mutant(
        name="quarantine counted before it is durable",
        promise="a kill after a quarantine was decided does not make it a second one",
        file="src/tallystick/engine/loop.py",
        old="                    self.put(_nothing)\n",
        new="",
        tests=POISON_TESTS,
    ),
    Mutant(
        name="clock jump followed",
        promise="a jump of the wall clock is told and not followed",
        file="src/tallystick/engine/timekeeping.py",
        old="        if not self.jumped:\n",
        new="        if True:\n",
        tests=("tests/unit/engine/test_timekeeping.py",),
    ),
    Mutant(
        name="clock alone gives the time",
        promise="timestamps strictly increase, whatever the clock does",
        file="src/tallystick/engine/timekeeping.py",
        old="        return max(last_timestamp + 1, self.now())\n",
        new="        return self.now()\n",
        tests=("tests/unit/engine/test_timekeeping.py",),
    ),
    Mutant(
        name="hole left by a power cut",
        promise="each deletion of a segment is durable before the next",
        file="src/tallystick/blockfile/reader.py",
        old="            self._disk.sync_folder(self.folder)",
        new="        self._disk.sync_folder(self.folder)",
        tests=("tests/faults/engine/test_lane_trimming.py",),
    ),
    Mutant(
        name="segment deleted under its reader",
        promise="a segment that the reader has yet to leave is not deleted",
        file="src/tallystick/intake/files.py",
        old="            if self._cursor is not None and self._cursor.at < following:\n",
        new="            if False:\n",
        tests=("tests/faults/engine/test_lane_trimming.py",),
    ),
    Mutant(
        name="caller woken before the sync",
        promise="the library returns when the outcome is durable",
        file="src/tallystick/engine/writer.py",
        old="        self.journal.append(parts, draft.first_seq, self.journal.epoch)\n",
        new="        self.gate.decided(draft.answers)\n"
        "        self.journal.append(parts, draft.first_seq, self.journal.epoch)\n",
        tests=("tests/unit/compose/test_library.py",),
    ),
)

TRANSFER_TABLES = ("tests/scenarios/test_transfers.py",)
CONTROL_TABLES = ("tests/scenarios/test_controls.py",)
REQUEST_TABLES = ("tests/scenarios/test_requests.py",)
LEDGER = (
    Mutant(
        name="freeze ignored",
        promise="nothing leaves a frozen account",
        file="src/tallystick/ledger/transfers.py",
        old="    if debit.frozen & SIDE_DEBITS != 0:\n",
        new="    if False:\n",
        tests=CONTROL_TABLES,
        interpreted=True,
    ),
    Mutant(
        name="credit freeze ignored",
        promise="nothing comes to an account whose credits are frozen",
        file="src/tallystick/ledger/transfers.py",
        old="    if credit.frozen & SIDE_CREDITS != 0:\n",
        new="    if False:\n",
        tests=CONTROL_TABLES,
        interpreted=True,
    ),
    Mutant(
        name="limit ignored",
        promise="debits stay within credits and the credit limit",
        file="src/tallystick/ledger/transfers.py",
        old="        if u128.less(may_lo, may_hi, lo, hi):\n",
        new="        if False:\n",
        tests=CONTROL_TABLES,
        interpreted=True,
    ),
    Mutant(
        name="limit off by one",
        promise="an account may spend all it has, and no more",
        file="src/tallystick/ledger/transfers.py",
        old="        if u128.less(may_lo, may_hi, lo, hi):\n",
        new="        if not u128.less(lo, hi, may_lo, may_hi):\n",
        tests=TRANSFER_TABLES,
        interpreted=True,
    ),
    Mutant(
        name="overflow ignored",
        promise="sums never pass 128 bits",
        file="src/tallystick/ledger/transfers.py",
        old="    if over:\n        return TransferStatus.OVERFLOWS_CREDITS_POSTED\n",
        new="    if False:\n        return TransferStatus.OVERFLOWS_CREDITS_POSTED\n",
        tests=TRANSFER_TABLES,
        interpreted=True,
    ),
    Mutant(
        name="checks swapped",
        promise="the first status that applies wins",
        file="src/tallystick/ledger/transfers.py",
        old="    if t.ledger == 0:\n"
        "        return TransferStatus.LEDGER_MUST_NOT_BE_ZERO\n"
        "    if t.code == 0:\n"
        "        return TransferStatus.CODE_MUST_NOT_BE_ZERO\n",
        new="    if t.code == 0:\n"
        "        return TransferStatus.CODE_MUST_NOT_BE_ZERO\n"
        "    if t.ledger == 0:\n"
        "        return TransferStatus.LEDGER_MUST_NOT_BE_ZERO\n",
        tests=("tests/scenarios/test_precedence.py",),
    ),
    Mutant(
        name="id check off, in tables",
        promise="a transfer's id is used once",
        file="src/tallystick/ledger/kernel.py",
        old="                if fetched_here != NOT_FETCHED:\n",
        new="                if fetched_here < NOT_FETCHED:\n",
        tests=TRANSFER_TABLES,
        interpreted=True,
    ),
    Mutant(
        name="id check off within a block",
        promise="a transfer's id is used once",
        file="src/tallystick/ledger/kernel.py",
        old="                    if earlier != NOT_FETCHED:\n",
        new="                    if earlier < NOT_FETCHED:\n",
        tests=TRANSFER_TABLES,
        interpreted=True,
    ),
    Mutant(
        name="transient failure does not poison",
        promise="after a refusal that may pass, the id is spent",
        file="src/tallystick/ledger/transfers.py",
        old="        if status == transient:\n            return True\n",
        new="        if status == transient:\n            return False\n",
        tests=TRANSFER_TABLES,
        interpreted=True,
    ),
    Mutant(
        name="exists tells its own time",
        promise="exists repeats the timestamp of what exists",
        file="src/tallystick/ledger/kernel.py",
        old="        result.timestamp = there.timestamp\n",
        new="        pass\n",
        tests=TRANSFER_TABLES,
        interpreted=True,
    ),
    Mutant(
        name="tenant ignored",
        promise="tenants see nothing of each other",
        file="src/tallystick/ledger/kernel.py",
        old="        tenant = commands[k].tenant\n",
        new="        tenant = ONE\n",
        tests=REQUEST_TABLES,
        interpreted=True,
    ),
    Mutant(
        name="fingerprint ignored, in tables",
        promise="a reused key never shows another payment's result",
        file="src/tallystick/engine/requests.py",
        old='        same = (fingerprints[known] == details["fingerprint"]).all(axis=1)\n',
        new="        same = np.ones(len(known), np.bool_)\n",
        tests=REQUEST_TABLES,
        interpreted=True,
    ),
    Mutant(
        name="expiry off by one",
        promise="a request is in time at its last nanosecond",
        file="src/tallystick/ledger/kernel.py",
        old="now > command.expires_at",
        new="now >= command.expires_at",
        tests=REQUEST_TABLES,
        interpreted=True,
    ),
    Mutant(
        name="invariants not required",
        promise="a block that breaks a promise is never journaled",
        file="src/tallystick/engine/deciding.py",
        old="        invariants.require(int(violation), self.next_seq)\n",
        new="",
        tests=("tests/unit/ledger/test_invariants.py",),
    ),
    Mutant(
        name="signed arithmetic",
        promise="no uint64 meets a signed integer in compiled code",
        file="src/tallystick/ledger/kernel.py",
        old="        seq = first_seq + U64(at)\n",
        new="        seq = first_seq + at\n",
        tests=("tests/unit/ledger/test_typed_ir.py",),
    ),
    Mutant(
        name="cache blind to layouts",
        promise="a change in any compiled source is compiled",
        file="src/tallystick/compose/kernel_cache.py",
        old='SOURCES = ("ledger", "records", "engine", "statuses.py")',
        new='SOURCES = ("ledger", "engine", "statuses.py")',
        tests=("tests/unit/ledger/test_kernel_cache.py",),
    ),
    Mutant(
        name="unkeyed hash",
        promise="ids that somebody chose are as fast as random ones",
        file="src/tallystick/ledger/hashing.py",
        old="    first = fold(lo ^ keys[0], hi ^ keys[1])\n    result = fold(first ^ tenant ^ keys[2], keys[3] ^ hi)\n",
        new="    first = fold(lo, hi)\n    result = fold(first ^ tenant, hi)\n",
        tests=("tests/unit/ledger/test_hashing.py",),
    ),
)

TABLES = ("tests/scenarios/test_the_tables.py",)
KERNEL = "src/tallystick/ledger/kernel.py"
MOVING = "src/tallystick/ledger/transfers.py"
RESOLVING = "src/tallystick/ledger/resolving.py"
CHAINS = "src/tallystick/ledger/chains.py"
EXPIRY = "src/tallystick/ledger/expiry.py"


def of_the_rules(name: str, promise: str, file: str, old: str, new: str) -> Mutant:
    """A rule of the ledger broken in its source, seen by the tables, interpreted: nothing has to be compiled."""
    return Mutant(name, promise, file, old, new, TABLES, interpreted=True)


RULES = (
    # Chains
    of_the_rules(
        "chain not undone",
        "a linked chain stands or falls together",
        CHAINS,
        "        rows[moved_rows[at, 0]] = saved_rows[2 * member]\n",
        "        pass\n",
    ),
    of_the_rules(
        "other side not undone",
        "a linked chain stands or falls together",
        CHAINS,
        "            rows[moved_rows[at, 1]] = saved_rows[2 * member + 1]\n",
        "            pass\n",
    ),
    of_the_rules(
        "undo of the wrong row",
        "undoing a chain puts back the rows it changed, and no others",
        CHAINS,
        "            rows[moved_rows[at, 1]] = saved_rows[2 * member + 1]\n",
        "            rows[moved_rows[at, 0]] = saved_rows[2 * member + 1]\n",
    ),
    of_the_rules(
        "chain undone forwards",
        "undoing goes backwards, so that the oldest state of a row is what stays",
        CHAINS,
        "for k in range(stop - 1, first - 1, -1):",
        "for k in range(first, stop):",
    ),
    of_the_rules(
        "open chain accepted",
        "a chain that its request leaves open fails",
        KERNEL,
        "        elif flag_bits & LINKED != 0 and is_last:\n",
        "        elif False:\n",
    ),
    of_the_rules(
        "chain reaches into the next request",
        "a chain ends with its request at the latest",
        KERNEL,
        "            if flag_bits & LINKED == 0 or is_last:\n                chain, broken",
        "            if flag_bits & LINKED == 0:\n                chain, broken",
    ),
    of_the_rules(
        "linked_event_failed poisons",
        "the ids of a chain's innocent members stay free",
        CHAINS,
        "            windows.take_back(ids, hashes[k], entry.seq)\n            counters",
        "            pass\n            counters",
    ),
    of_the_rules(
        "resolved within a broken chain",
        "what a failed chain resolved is open again",
        CHAINS,
        "                _put_back(pendings, heap, heap_at, counters, saved_pendings, member, pending_row)\n",
        "                pass\n",
    ),
    of_the_rules(
        "reserved within a broken chain",
        "what a failed chain reserved is gone",
        CHAINS,
        "                free_row(pendings, pending_slots, pending_free, counters, id_keys, pending_row)\n",
        "                pass\n",
    ),
    # Two-phase
    of_the_rules(
        "pending not reserved",
        "a pending transfer reserves its amount",
        MOVING,
        "    debit.debits_pending_lo = lo\n",
        "    pass\n",
    ),
    of_the_rules(
        "pending beyond the limit",
        "what is pending counts towards the limits",
        MOVING,
        "            debit.debits_pending_lo,\n            debit.debits_pending_hi,\n            amount_lo,\n",
        "            ZERO,\n            ZERO,\n            amount_lo,\n",
    ),
    of_the_rules(
        "posted twice",
        "a pending transfer resolves at most once",
        RESOLVING,
        "    if ending == POSTED:\n        return TransferStatus.PENDING_TRANSFER_ALREADY_POSTED\n",
        "",
    ),
    of_the_rules(
        "voided after it was voided",
        "a pending transfer resolves at most once",
        RESOLVING,
        "    if ending == VOIDED:\n        return TransferStatus.PENDING_TRANSFER_ALREADY_VOIDED\n",
        "",
    ),
    of_the_rules(
        "void after expiry",
        "what expired is resolved",
        RESOLVING,
        "    if ending == EXPIRED:\n        return TransferStatus.PENDING_TRANSFER_EXPIRED\n",
        "",
    ),
    of_the_rules(
        "part post keeps the rest",
        "a post of a part releases the rest",
        RESOLVING,
        "    less_lo, less_hi = u128.subtract("
        "debit.debits_pending_lo, debit.debits_pending_hi, amount_lo, amount_hi)\n",
        "    less_lo, less_hi = u128.subtract(debit.debits_pending_lo, debit.debits_pending_hi, lo, hi)\n",
    ),
    of_the_rules(
        "void posts",
        "a void moves nothing",
        RESOLVING,
        "    if posts:\n        more_lo",
        "    if True:\n        more_lo",
    ),
    of_the_rules(
        "post of more than was reserved",
        "no more is posted than was reserved",
        RESOLVING,
        "    if u128.less(amount_lo, amount_hi, lo, hi):\n        return TransferStatus.EXCEEDS_PENDING",
        "    if False:\n        return TransferStatus.EXCEEDS_PENDING",
    ),
    of_the_rules(
        "void of a part",
        "a void takes all or says how much that is",
        RESOLVING,
        "    if t.flag_bits & VOID != 0 and u128.less(lo, hi, amount_lo, amount_hi):\n",
        "    if False:\n",
    ),
    of_the_rules(
        "zero posts all",
        "the greatest amount stands for all that was reserved, zero for nothing",
        RESOLVING,
        "        if u128.is_max(t.amount_lo, t.amount_hi):\n            return amount_lo, amount_hi\n",
        "        if u128.is_zero(t.amount_lo, t.amount_hi):\n            return amount_lo, amount_hi\n",
    ),
    of_the_rules(
        "post of other accounts",
        "a post that names other accounts is refused",
        RESOLVING,
        "        t.debit_account_id_lo != debit_lo or t.debit_account_id_hi != debit_hi\n",
        "        False\n",
    ),
    of_the_rules(
        "retried post compares zero fields",
        "zero fields of a post stand for the pending transfer's",
        RESOLVING,
        "    if u128.is_zero(a_lo, a_hi):\n        a_lo, a_hi = inherited_lo, inherited_hi\n",
        "",
    ),
    # Time
    of_the_rules(
        "expiry one nanosecond late",
        "a pending transfer expires exactly at timestamp + time-out",
        RESOLVING,
        "pending.expires_at <= timestamp",
        "pending.expires_at < timestamp",
    ),
    of_the_rules(
        "expiry one nanosecond early",
        "a pending transfer can be posted up to its last nanosecond",
        RESOLVING,
        "pending.expires_at <= timestamp",
        "pending.expires_at <= timestamp + ONE",
    ),
    of_the_rules(
        "sweep one nanosecond late",
        "what is due is swept by the next block",
        EXPIRY,
        "heap[0, 0] <= now:",
        "heap[0, 0] < now:",
    ),
    of_the_rules(
        "expiry keeps the reservation",
        "what expires is given back",
        KERNEL,
        "    resolving.resolve(debit, credit, of_debit, of_credit, pending, False, ZERO, ZERO, seq, d)\n",
        "    resolving.number_both(debit, credit, seq, d)\n",
    ),
    of_the_rules(
        "time-out counted from zero",
        "a time-out begins with the decision",
        MOVING,
        "        pending.expires_at = timestamp + U64(timeout) * NS_A_SECOND\n",
        "        pending.expires_at = U64(timeout) * NS_A_SECOND\n",
    ),
    of_the_rules(
        "time-out past the end of time",
        "a time-out that no timestamp can tell is refused",
        MOVING,
        "        if expires_at > TIMESTAMP_MAX or expires_at < timestamp:\n",
        "        if False:\n",
    ),
    Mutant(
        "ties expire in any order",
        "of equal times the older pending transfer expires first",
        EXPIRY,
        "    return expires_at < heap[other, 0] or (expires_at == heap[other, 0] and created_at < heap[other, 1])\n",
        "    return expires_at < heap[other, 0]\n",
        ("tests/unit/ledger/test_expiry.py",),
    ),
    Mutant(
        "heap hole filled wrongly",
        "taking one out of the heap keeps the others in order",
        EXPIRY,
        "    if at > 0 and _earlier(expires_at, created_at, heap, (at - 1) // CHILDREN):\n",
        "    if False:\n",
        ("tests/unit/ledger/test_expiry.py",),
    ),
    # Balancing, closing, limits
    of_the_rules(
        "balancing past the limit",
        "a balancing debit moves no more than the credits that are left",
        MOVING,
        "        lo, hi = u128.subtract_saturated(debit.credits_posted_lo, debit.credits_posted_hi, lo, hi)\n",
        "        lo, hi = debit.credits_posted_lo, debit.credits_posted_hi\n",
    ),
    of_the_rules(
        "balancing draws on the credit limit",
        "balancing never draws on a credit limit",
        MOVING,
        "        lo, hi = u128.subtract_saturated(debit.credits_posted_lo, debit.credits_posted_hi, lo, hi)\n",
        "        may_lo, may_hi = u128.add_saturated(\n"
        "            debit.credits_posted_lo, debit.credits_posted_hi, debit.credit_limit_lo, debit.credit_limit_hi\n"
        "        )\n"
        "        lo, hi = u128.subtract_saturated(may_lo, may_hi, lo, hi)\n",
    ),
    of_the_rules(
        "balancing forgets what is pending",
        "balancing counts pending amounts",
        MOVING,
        "        lo, hi, _ = u128.add(\n            debit.debits_posted_lo, debit.debits_posted_hi, "
        "debit.debits_pending_lo, debit.debits_pending_hi\n        )\n",
        "        lo, hi = debit.debits_posted_lo, debit.debits_posted_hi\n",
    ),
    of_the_rules(
        "closed account moved",
        "nothing moves on a closed account",
        MOVING,
        "    if debit.flag_bits & CLOSED != 0:\n        return TransferStatus.DEBIT_ACCOUNT_ALREADY_CLOSED\n",
        "",
    ),
    of_the_rules(
        "closing does not close",
        "a closing transfer closes its account",
        MOVING,
        "        credit.flag_bits = credit.flag_bits | CLOSED\n",
        "        pass\n",
    ),
    of_the_rules(
        "void does not reopen",
        "voiding a closing transfer reopens the account",
        RESOLVING,
        "        debit.flag_bits = debit.flag_bits & _OPEN_AGAIN\n",
        "        pass\n",
    ),
    of_the_rules(
        "any transfer reopens",
        "only the closing transfer itself reopens its account",
        RESOLVING,
        "    if pending.flag_bits & CLOSING_DEBIT != 0:\n",
        "    if True:\n",
    ),
    of_the_rules(
        "closing transfer posted at once",
        "a closing transfer is pending",
        MOVING,
        "        if t.flag_bits & CLOSING != 0:\n            return TransferStatus.CLOSING",
        "        if False:\n            return TransferStatus.CLOSING",
    ),
    of_the_rules(
        "freeze lets a post pass",
        "a frozen account refuses the post of what it reserved before",
        RESOLVING,
        "        elif t.flag_bits & POST != 0:\n            status = check_open(debit, credit)\n",
        "",
    ),
    of_the_rules(
        "freeze stops a void",
        "a void passes a freeze: it gives back",
        RESOLVING,
        "        elif t.flag_bits & POST != 0:\n            status = check_open(debit, credit)\n",
        "        else:\n            status = check_open(debit, credit)\n",
    ),
    # Imports
    of_the_rules(
        "import regresses",
        "imported transfers come in order",
        MOVING,
        "    if t.timestamp <= last_transfer or clashes:\n",
        "    if clashes:\n",
    ),
    of_the_rules(
        "import of the future",
        "imported events are older than their request",
        MOVING,
        "        if t.timestamp >= first_timestamp:\n",
        "        if False:\n",
    ),
    of_the_rules(
        "import before its account",
        "an imported transfer is younger than its accounts",
        MOVING,
        "    if t.timestamp <= debit.created_at:\n",
        "    if False:\n",
    ),
    of_the_rules(
        "imports mixed with others",
        "imported events come among themselves",
        MOVING,
        "        if importing:\n            return TransferStatus.IMPORTED_EVENT_EXPECTED\n",
        "",
    ),
    of_the_rules(
        "import meets the other kind",
        "no account and transfer of a tenant have the same timestamp",
        "src/tallystick/ledger/imports.py",
        "            if imports_it and _is_created(there, other, tenant):\n                return True\n",
        "            if False:\n                return True\n",
    ),
    # Screening
    of_the_rules(
        "review posted by its client",
        "what is under review only people let go",
        RESOLVING,
        "        elif pending.review != NOT_IN_REVIEW and t.flag_bits & POST != 0:\n",
        "        elif False:\n",
    ),
    of_the_rules(
        "approval of what is not in review",
        "only what is under review is approved",
        RESOLVING,
        "    if status == CREATED and pending.review == NOT_IN_REVIEW:\n",
        "    if False:\n",
    ),
    Mutant(
        "approval of another tenant's",
        "a tenant's people decide about that tenant's payments, even where two ids share a hash",
        "src/tallystick/ledger/pendings.py",
        "            if pendings[row].id_lo == lo and pendings[row].id_hi == hi and pendings[row].tenant == tenant:\n",
        "            if pendings[row].id_lo == lo and pendings[row].id_hi == hi:\n",
        ("tests/unit/ledger/test_pendings.py",),
    ),
    of_the_rules(
        "refused by screening, and moved",
        "what screening refuses is refused",
        KERNEL,
        "                    refused = verdicts[k] == REFUSE or",
        "                    refused = False and",
    ),
    of_the_rules(
        "review of one of a chain",
        "a review of one member is a review of its chain",
        CHAINS,
        "        if flag_bits & LINKED == 0 or commands[k].index + 1 >= commands[k].count:\n            break\n",
        "        break\n",
    ),
)
JUDGE = "src/tallystick/lab/history/check.py"
JUDGE_TESTS = ("tests/unit/lab/history",)
CHECKER = (
    Mutant(
        "checker blind to what was lost",
        "what was acknowledged and is gone is a fault",
        JUDGE,
        "            if Told.ACCEPTED in request.told and request.key not in self._replay.decisions:\n",
        "            if False:\n",
        JUDGE_TESTS,
    ),
    Mutant(
        "checker blind to what was doubled",
        "a request that was decided twice is a fault",
        "src/tallystick/lab/history/replay.py",
        "            if key in self.decisions or key in here:\n",
        "            if False:\n",
        JUDGE_TESTS,
    ),
    Mutant(
        "checker blind to outcomes",
        "an entry that the model decides otherwise is a fault",
        "src/tallystick/lab/history/replay.py",
        "            if found != expected:\n",
        "            if False:\n",
        JUDGE_TESTS,
    ),
    Mutant(
        "checker blind to answers",
        "an answer that is not what was decided is a fault",
        JUDGE,
        "            if found != due and (decision.by_model or found[1] != due[1]):\n",
        "            if False:\n",
        JUDGE_TESTS,
    ),
    Mutant(
        "checker blind to stale look-ups",
        "a look-up shows at least what was known when it was sent",
        JUDGE,
        "        low, high = self._proofs.before(call.start_ns), self._latest(call.end_ns)\n",
        "        low, high = 0, self._latest(call.end_ns)\n",
        JUDGE_TESTS,
    ),
    Mutant(
        "checker blind to look-ups ahead",
        "a look-up shows nothing that was asked for only after it",
        JUDGE,
        "        low, high = self._proofs.before(call.start_ns), self._latest(call.end_ns)\n",
        "        low, high = self._proofs.before(call.start_ns), FOR_EVER\n",
        JUDGE_TESTS,
    ),
    Mutant(
        "checker blind to order",
        "what was sent after another's outcome is decided after it",
        JUDGE,
        "                if request.first_start_ns < FOR_EVER and proved > own.block:\n",
        "                if False:\n",
        JUDGE_TESTS,
    ),
    Mutant(
        "checker blind to lost reads",
        "a block that a reader saw and that is gone is a fault",
        JUDGE,
        "            if at is None:\n                self._wrong(Wrong.READ_LOST",
        "            if at is None:\n                return 0\n                self._wrong(Wrong.READ_LOST",
        JUDGE_TESTS,
    ),
    Mutant(
        "checker blind to open ends",
        "an indefinite answer that nobody resolved is a fault",
        JUDGE,
        "            if request.indefinite_ns > definite_ns:\n",
        "            if False:\n",
        JUDGE_TESTS,
    ),
    Mutant(
        "checker blind to new twice",
        "two answers that both say that the outcome is new are a fault",
        JUDGE,
        "            if request.new > 1:\n",
        "            if False:\n",
        JUDGE_TESTS,
    ),
)

RECOVERY = (
    Mutant(
        name="snapshot ahead of the journal",
        promise="a snapshot counts only once the journal is durable past it",
        file="src/tallystick/engine/snapshots.py",
        old="if self._captured is not None and self._reader.end() >= self._captured.label.stop:",
        new="if self._captured is not None:",
        tests=("tests/faults/engine/test_snapshots.py",),
    ),
    Mutant(
        name="snapshot hash unchecked",
        promise="a damaged snapshot is refused",
        file="src/tallystick/engine/snapshot_files.py",
        old="if digest.digest() != head[_HASH_AT:]:",
        new="if False:",
        tests=("tests/unit/engine/test_snapshot_files.py",),
    ),
    Mutant(
        name="snapshot past the end",
        promise="no snapshot is trusted beyond the durable end",
        file="src/tallystick/engine/snapshot_files.py",
        old="if label.first < label.stop <= end)",
        new="if label.first < label.stop)",
        tests=("tests/unit/engine/test_snapshot_files.py",),
    ),
    Mutant(
        name="snapshot of any journal",
        promise="a snapshot is used with its own journal only",
        file="src/tallystick/engine/snapshots.py",
        old="if summary.journal_hash != hash_before(self._reader, label.stop):",
        new="if False:",
        tests=("tests/faults/engine/test_snapshots.py",),
    ),
    Mutant(
        name="merge launders damage",
        promise="what fell over at rest gets no good hash",
        file="src/tallystick/engine/snapshots.py",
        old="            for part in chain:  # or a bit",
        new="            for part in ():  # or a bit",
        tests=("tests/faults/engine/test_snapshots.py",),
    ),
    Mutant(
        name="account rows left out",
        promise="an increment holds every account that changed",
        file="src/tallystick/engine/booktables.py",
        old="                accounts[row] = 1\n",
        new="                accounts[row] = row % 2 == 0\n",
        tests=("tests/faults/engine/test_snapshots.py",),
    ),
    Mutant(
        name="pending rows left out",
        promise="an increment holds every pending transfer that changed",
        file="src/tallystick/engine/booktables.py",
        old="            pendings[rows[k, 2]] = 1\n",
        new="            pendings[rows[k, 2]] = 0\n",
        tests=("tests/faults/engine/test_snapshots.py",),
    ),
    Mutant(
        name="tail not marked",
        promise="the first increment after a start holds what the tail changed",
        file="src/tallystick/engine/snapshots.py",
        old="        self._marks.mark_since(self._stop)\n",
        new="",
        tests=("tests/faults/engine/test_snapshots.py",),
    ),
    Mutant(
        name="open pendings never expire after a start",
        promise="a pending transfer read from a snapshot expires like any other",
        file="src/tallystick/engine/booktables.py",
        old="                push(heap, heap_at, counters, pending, row)\n",
        new="                pass\n",
        tests=("tests/faults/engine/test_snapshots.py",),
    ),
    Mutant(
        name="ids before the snapshot forgotten",
        promise="an id is spent for ever, whether a run has it or not",
        file="src/tallystick/engine/recovery.py",
        old="    begin = min(ids_from, rows_from)\n",
        new="    begin = rows_from\n",
        tests=("tests/faults/engine/test_snapshots.py",),
    ),
    Mutant(
        name="snapshot without its endings",
        promise="where a snapshot begins, the file of endings is complete",
        file="src/tallystick/engine/snapshots.py",
        old="        yield from self._decider.endings.write()\n",
        new="        self._decider.endings._captured = None\n",
        tests=("tests/faults/engine/test_snapshots.py",),
    ),
    Mutant(
        name="endings unchecked",
        promise="a damaged page of endings tells nothing",
        file="src/tallystick/engine/endings.py",
        old="if len(page) != PAGE or page[:HASH_SIZE] != self._hash(number, parts[-1]):",
        new="if False:",
        tests=("tests/unit/engine/test_endings.py",),
    ),
    Mutant(
        name="endings unsynced",
        promise="endings are durable before the snapshot that relies on them",
        file="src/tallystick/engine/endings.py",
        old="        self._file.sync()\n",
        new="",
        tests=("tests/unit/engine/test_endings.py",),
    ),
    Mutant(
        name="scrub keeps quiet",
        promise="damage that the scrub finds is seen in metrics",
        file="src/tallystick/engine/scrub.py",
        old="        registers.damaged.store(at + 1)\n",
        new="",
        tests=("tests/unit/engine/test_scrub.py",),
    ),
    Mutant(
        name="scrub at full speed",
        promise="the scrub reads at a bounded pace",
        file="src/tallystick/engine/scrub.py",
        old="        self._allowance = min(self._allowance + earned, self._bytes_s * ALLOWANCE_S_MAX)\n",
        new="        self._allowance += earned\n",
        tests=("tests/unit/engine/test_scrub.py",),
    ),
    Mutant(
        name="verify overlooks an id",
        promise="an id that a run lacks is named",
        file="src/tallystick/engine/verification.py",
        old="        if not found.all() and self._missing is None:\n",
        new="        if False:\n",
        tests=("tests/e2e/cli/test_rebuild.py",),
    ),
    Mutant(
        name="verify overlooks a balance",
        promise="every row is compared",
        file="src/tallystick/engine/verification.py",
        old="        if len(differing):\n            row",
        new="        if False:\n            row",
        tests=("tests/e2e/cli/test_rebuild.py",),
    ),
    Mutant(
        name="runs keep their memory",
        promise="memory does not grow by 16 bytes an id",
        file="src/tallystick/engine/idruns.py",
        old="        view.forget()  # or",
        new="        # or",
        tests=("tests/unit/engine/test_idruns.py",),
    ),
)

PROJECTION = "src/tallystick/projector/projection.py"
FOLLOW = "src/tallystick/journal/follow.py"
AROUND = (
    Mutant(
        "cursor outside its transaction",
        "a follower's cursor moves in the same transaction as its effect",
        PROJECTION,
        "        decided_at = self._recorder.record(entries, details, self._decided_at)\n",
        "        decided_at = self._recorder.record(entries, details, self._decided_at)\n"
        '        self.connection.execute("COMMIT")\n'
        '        self.connection.execute("BEGIN IMMEDIATE")\n',
        ("tests/unit/projector/test_projection.py",),
    ),
    Mutant(
        "projection of another journal",
        "a follower goes on with its own journal only",
        FOLLOW,
        "    if not (begins or inside) or cursor.block_hash not in (None, header.previous):\n",
        "    if not (begins or inside):\n",
        ("tests/unit/journal/test_follow.py",),
    ),
    Mutant(
        "nothing expires while nobody asks",
        "pending transfers expire in their time, whether anybody asks or not",
        "src/tallystick/engine/loop.py",
        "            return self._expire()\n",
        "            return 0\n",
        ("tests/unit/compose/test_library.py",),
    ),
    Mutant(
        "endings forgotten by a start",
        "how a pending transfer ended is known after a start",
        "src/tallystick/engine/recovery.py",
        "    decider.note_endings()\n",
        "",
        SIMULATION_TESTS,
    ),
    of_the_rules(
        "ending byte wrong",
        "how a pending transfer ended is told for ever",
        "src/tallystick/engine/deciding.py",
        'self.endings.note(ended["seq"].copy(), ended["ending"].copy())',
        'self.endings.note(ended["seq"].copy(), np.full(count, Ending.VOIDED, np.uint8))',
    ),
    Mutant(
        "refusal lost in a review",
        "what screening refuses is refused as it was asked, and kept as refused",
        KERNEL,
        "review_mode == chains.INTO_PENDING and verdicts[k] != REFUSE:",
        "review_mode == chains.INTO_PENDING:",
        ("tests/unit/engine/test_screening.py",),
    ),
    Mutant(
        "unsealed block taken for damage",
        "what is decided but not yet sealed can be compared with",
        "src/tallystick/engine/fetch.py",
        '            entries["seq"][unsealed], entries["kind"][unsealed] = draft.next_seq - 1, Kind.SEAL',
        "            pass",
        ("tests/unit/engine/test_fetch.py",),
    ),
)

BACKUP = tuple(
    Mutant(name, promise, f"src/tallystick/{file}", old, new, tests)
    for name, promise, file, old, new, tests in (
        (
            "backup takes what is undecided",
            "a backup holds nothing that the original is still to decide",
            "backup/making.py",
            "None if self.source.to_move else position",
            "None",
            ("tests/unit/backup",),
        ),
        (
            "backup unsynced",
            "what a manifest names is durable before the manifest is",
            "backup/copying.py",
            "        self._file.sync()\n        self._file.close()\n        return",
            "        self._file.close()\n        return",
            ("tests/faults/storage/test_backup_power.py",),
        ),
        (
            "backup swept too early",
            "the earlier backup stays until the new one is durable",
            "backup/making.py",
            "[manifests.encode(made)])\n        self.disk.sync_folder(self.backup)\n",
            "[manifests.encode(made)])\n",
            ("tests/faults/storage/test_backup_power.py",),
        ),
        (
            "torn manifest ends the search",
            "behind a torn backup the whole one is found",
            "backup/making.py",
            "            continue  # torn: the one before it is still there, and whole",
            "            return None",
            ("tests/faults/storage/test_backup_power.py",),
        ),
        (
            "restore believes",
            "every file of a backup is held against its hash",
            "backup/copying.py",
            "if digest.hexdigest() != sha256:",
            "if False:",
            ("tests/unit/backup",),
        ),
        (
            "backup of another journal replaced",
            "a backup is never replaced by that of another journal",
            "backup/making.py",
            "if not same or before.shard",
            "if before.shard",
            ("tests/unit/backup",),
        ),
        (
            "moved folder starts",
            "what moved away is not started again",
            "compose/moved.py",
            "    if path.exists():",
            "    if False:",
            ("tests/unit/compose/test_moved.py",),
        ),
    )
)

SIGNING_TESTS = ("tests/unit/webhooks/test_signing.py",)
DELIVERING_TESTS = ("tests/unit/notifier/test_delivering.py",)
NOTIFIER = (
    Mutant(
        "webhook signature unchecked",
        "a webhook that nobody known has signed is refused",
        "src/tallystick/webhooks/signing.py",
        "if each.scheme == scheme and _fits(each, encoded, content):",
        "if each.scheme == scheme:",
        SIGNING_TESTS,
    ),
    Mutant(
        "webhook of any age",
        "an old webhook that somebody kept is refused",
        "src/tallystick/webhooks/signing.py",
        "if abs(now_s - int(sent_at)) > tolerance_s:",
        "if False:",
        SIGNING_TESTS,
    ),
    Mutant(
        "webhook id unsigned",
        "a webhook's id is signed with its body, or its receiver could be made to act twice",
        "src/tallystick/webhooks/signing.py",
        'return f"{webhook_id}.{timestamp}.".encode() + body',
        'return f"{timestamp}.".encode() + body',
        SIGNING_TESTS,
    ),
)

INQUIRY_TESTS = ("tests/unit/inquiries",)
FOLLOW_TESTS = ("tests/unit/journal/test_follow.py",)
FOLLOWERS = (
    Mutant(
        "a failed slice is passed over",
        "an effect that was not possible is tried again, from the cursor in the store",
        FOLLOW,
        "            self._slices = self._cursor = None\n            self._trouble = str(error)\n",
        "            self._trouble = str(error)\n",
        FOLLOW_TESTS,
    ),
    Mutant(
        "what does not fit is passed over",
        "a follower that cannot apply an entry stops there",
        FOLLOW,
        "            self._slices = self._cursor = None  # else the slice that failed would be passed over\n",
        "            pass\n",
        FOLLOW_TESTS,
    ),
    Mutant(
        "no back-off",
        "what is not possible now is tried again after ever longer waits",
        FOLLOW,
        "RETRY_S * 2 ** min(self._failures - 1, 30)",
        "RETRY_S",
        FOLLOW_TESTS,
    ),
    Mutant(
        "begun too early",
        "a follower starts from any position, not from the block around it",
        FOLLOW,
        "    return entries[skipped:], details[skipped:]",
        "    return entries, details",
        FOLLOW_TESTS,
    ),
    Mutant(
        "slices without bound",
        "a follower keeps a bounded part of the journal in memory",
        FOLLOW,
        "        if count >= entries_at_once:\n",
        "        if False:\n",
        FOLLOW_TESTS,
    ),
    Mutant(
        "level too late",
        "nothing that a follower lacks is older than it says",
        FOLLOW,
        "                self._since_ns = looked_at_ns\n",
        "                pass\n",
        FOLLOW_TESTS,
    ),
    Mutant(
        "notifier's cursor outside its transaction",
        "no entry is skipped when the notifier is killed: the cursor moves with the deliveries",
        "src/tallystick/notifier/making.py",
        "        with self._file.commit():\n            if live:\n",
        '        self._file.run("UPDATE cursor SET next_seq = ?, block_hash = ?", after.next_seq, after.block_hash)\n'
        "        with self._file.commit():\n            if live:\n",
        ("tests/faults/notifier",),
    ),
    Mutant(
        "webhook id new each time",
        "a notification has the same webhook-id however often it is made",
        "src/tallystick/notifier/deliveries.py",
        "webhook_id(id_, self._shard, each.seq)",
        "webhook_id(id_, self._shard, each.seq + now_ns % 1000)",
        ("tests/unit/notifier/test_making.py",),
    ),
    Mutant(
        "guard off",
        "no webhook goes into our own network, whatever a name server says",
        "src/tallystick/notifier/addresses.py",
        "        self.check(address[0])\n",
        "",
        DELIVERING_TESTS,
    ),
    Mutant(
        "disguised addresses let through",
        "an inner IPv4 address in an IPv6 one is refused",
        "src/tallystick/notifier/addresses.py",
        "        or any(address.version == network.version and address in network for network in _NEVER)\n",
        "",
        ("tests/unit/notifier/test_addresses.py",),
    ),
    Mutant(
        "redirect followed",
        "a webhook goes where it was sent and nowhere else",
        "src/tallystick/notifier/sending.py",
        "allow_redirects=False",
        "allow_redirects=True",
        DELIVERING_TESTS,
    ),
    Mutant(
        "proxy of the environment used",
        "nothing leads around the guard",
        "src/tallystick/notifier/sending.py",
        "trust_env=False",
        "trust_env=True",
        DELIVERING_TESTS,
    ),
    Mutant(
        "endless answer read",
        "a receiver's answer costs no more than its bound",
        "src/tallystick/notifier/sending.py",
        "await answer.content.readexactly(ANSWER_BYTES_MAX)",
        "await answer.content.read()",
        DELIVERING_TESTS,
    ),
    Mutant(
        "retry after 410",
        "who says that it is gone is never asked again",
        "src/tallystick/notifier/schedule.py",
        "if reply.status == GONE:",
        "if False:",
        DELIVERING_TESTS,
    ),
    Mutant(
        "redirect taken for yes",
        "only 2xx is yes",
        "src/tallystick/notifier/schedule.py",
        "200 <= self.status < 300",
        "200 <= self.status < 400",
        ("tests/unit/notifier/test_schedule.py",),
    ),
    Mutant(
        "slow receiver takes every hand",
        "one slow receiver holds up no other",
        "src/tallystick/notifier/delivering.py",
        "allowed = 1 if away else self._limits.hands_each",
        "allowed = 1 if away else self._limits.hands",
        DELIVERING_TESTS,
    ),
    Mutant(
        "never disabled for failing",
        "a subscription that only fails for days is disabled",
        "src/tallystick/notifier/delivering.py",
        "or failing_ns >= self._limits.failing_s_max * _SECOND",
        "or False",
        DELIVERING_TESTS,
    ),
    Mutant(
        "expired key signs on",
        "a key that was rotated away signs nothing after its time",
        "src/tallystick/notifier/subscriptions.py",
        "if expires_at is None or expires_at > now_ns]",
        "]",
        DELIVERING_TESTS,
    ),
    Mutant(
        "another tenant's entries told",
        "a tenant is told of its own entries only",
        "src/tallystick/notifier/making.py",
        '            & (self._work["tenant"] == np.uint64(subscription.tenant))\n',
        "",
        ("tests/unit/notifier/test_making.py",),
    ),
    Mutant(
        "full subscription forgets",
        "what there was no room for is made from the journal later",
        "src/tallystick/notifier/making.py",
        "                self._subscriptions.set_behind(subscription, first)\n                continue\n",
        "                continue\n",
        ("tests/unit/notifier/test_making.py",),
    ),
    Mutant(
        "disabled subscription forgets",
        "what is decided while a subscription is disabled it is told of afterwards",
        "src/tallystick/notifier/subscriptions.py",
        '"behind_seq = coalesce(behind_seq, ?) WHERE number = ? AND enabled"',
        '"behind_seq = nullif(0, ? * 0) WHERE number = ? AND enabled"',
        ("tests/unit/notifier/test_making.py",),
    ),
    Mutant(
        "refused payment told as done",
        "a notification says what was decided",
        "src/tallystick/notifier/telling.py",
        "found[transfers & done] = _NUMBER[Type.TRANSFER_CREATED]",
        "found[transfers] = _NUMBER[Type.TRANSFER_CREATED]",
        ("tests/unit/notifier/test_telling.py",),
    ),
    Mutant(
        "a question is worked on for nobody",
        "what waits longer than its asker does is dropped",
        "src/tallystick/inquiries/serverend.py",
        "        if left_s <= 0 or gateway.socket is None:\n",
        "        if gateway.socket is None:\n",
        INQUIRY_TESTS,
    ),
    Mutant(
        "questions without bound",
        "a follower that does not read costs its gateways no memory",
        "src/tallystick/inquiries/gatewayend.py",
        "            if len(self._unsent) + len(data) > UNSENT_BYTES_MAX:\n",
        "            if False:\n",
        INQUIRY_TESTS,
    ),
    Mutant(
        "one tenant asks all the time",
        "a tenant that asks much does not make the others wait",
        "src/tallystick/inquiries/gatewayend.py",
        "        if self._of_tenant[tenant] >= ASKED_MAX:\n",
        "        if False:\n",
        INQUIRY_TESTS,
    ),
    Mutant(
        "a question is waited for for ever",
        "a follower that is stopped costs a read a bounded wait",
        "src/tallystick/inquiries/gatewayend.py",
        "            async with asyncio.timeout(self._timeout_s):\n",
        "            async with asyncio.timeout(None):\n",
        INQUIRY_TESTS,
    ),
)

MUTANTS: tuple[Mutant, ...] = (
    *(*RECORDS, *STORAGE, *ENGINE, *LEDGER, *RULES, *CHECKER, *RECOVERY, *AROUND),
    *BACKUP,
    *TRANSPARENCY,
    *NOTIFIER,
    *FOLLOWERS,
)
