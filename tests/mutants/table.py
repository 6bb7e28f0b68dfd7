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
    "torn tail kept",
    "damage taken for a tear",
    "last block not synced again",
)
POISON_TESTS = ("tests/unit/engine/test_poison.py",)
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
        file="src/tallystick/ledger/kernel.py",
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
    ),
    Mutant(
        name="credit freeze ignored",
        promise="nothing comes to an account whose credits are frozen",
        file="src/tallystick/ledger/transfers.py",
        old="    if credit.frozen & SIDE_CREDITS != 0:\n",
        new="    if False:\n",
        tests=CONTROL_TABLES,
    ),
    Mutant(
        name="limit ignored",
        promise="debits stay within credits and the credit limit",
        file="src/tallystick/ledger/transfers.py",
        old="        if u128.less(may_lo, may_hi, debits_lo, debits_hi):\n",
        new="        if False:\n",
        tests=CONTROL_TABLES,
    ),
    Mutant(
        name="limit off by one",
        promise="an account may spend all it has, and no more",
        file="src/tallystick/ledger/transfers.py",
        old="        if u128.less(may_lo, may_hi, debits_lo, debits_hi):\n",
        new="        if not u128.less(debits_lo, debits_hi, may_lo, may_hi):\n",
        tests=TRANSFER_TABLES,
    ),
    Mutant(
        name="overflow ignored",
        promise="sums never pass 128 bits",
        file="src/tallystick/ledger/transfers.py",
        old="    if over:\n        return TransferStatus.OVERFLOWS_CREDITS_POSTED\n",
        new="    if False:\n        return TransferStatus.OVERFLOWS_CREDITS_POSTED\n",
        tests=TRANSFER_TABLES,
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
    ),
    Mutant(
        name="id check off within a block",
        promise="a transfer's id is used once",
        file="src/tallystick/ledger/kernel.py",
        old="                    if earlier != NOT_FETCHED:\n",
        new="                    if earlier < NOT_FETCHED:\n",
        tests=TRANSFER_TABLES,
    ),
    Mutant(
        name="transient failure does not poison",
        promise="after a refusal that may pass, the id is spent",
        file="src/tallystick/ledger/transfers.py",
        old="        if status == transient:\n            return True\n",
        new="        if status == transient:\n            return False\n",
        tests=TRANSFER_TABLES,
    ),
    Mutant(
        name="exists tells its own time",
        promise="exists repeats the timestamp of what exists",
        file="src/tallystick/ledger/kernel.py",
        old="        result.timestamp = there.timestamp\n",
        new="        pass\n",
        tests=TRANSFER_TABLES,
    ),
    Mutant(
        name="tenant ignored",
        promise="tenants see nothing of each other",
        file="src/tallystick/ledger/kernel.py",
        old="        tenant = commands[k].tenant\n",
        new="        tenant = ONE\n",
        tests=REQUEST_TABLES,
    ),
    Mutant(
        name="fingerprint ignored, in tables",
        promise="a reused key never shows another payment's result",
        file="src/tallystick/engine/requests.py",
        old='        same = (fingerprints[known] == details["fingerprint"]).all(axis=1)\n',
        new="        same = np.ones(len(known), np.bool_)\n",
        tests=REQUEST_TABLES,
    ),
    Mutant(
        name="expiry off by one",
        promise="a request is in time at its last nanosecond",
        file="src/tallystick/ledger/kernel.py",
        old="now > command.expires_at",
        new="now >= command.expires_at",
        tests=REQUEST_TABLES,
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
        old="        seq = first_seq + U64(k)\n",
        new="        seq = first_seq + k\n",
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

MUTANTS: tuple[Mutant, ...] = (*RECORDS, *STORAGE, *ENGINE, *LEDGER)
