"""The first status that applies wins: every pair that can apply together, in the order of `statuses`.

A *fault* is the smallest change to a good command that earns it one status. Two faults that do not contradict each
other are put into one command; the earlier status must win. Posts, voids, approvals and imports between other events
need more than faults: `tables/in_order.txt`, `two_phase.txt`, `reviews.txt` and `imports.txt` have their order.
"""

import itertools

import pytest

from tallystick.lab.scenarios import check
from tallystick.records.commands import Kind
from tallystick.statuses import AccountStatus, ControlStatus, TransferStatus

IMPORT_FAULTS = {
    "linked_event_failed": {"chain": "broken"},
    "linked_event_chain_open": {"words": {"linked"}},
    "imported_event_expected": {"first": "imported"},
    "imported_event_not_expected": {"first": "plain", "words": {"imported"}},
    "timestamp_must_be_zero": {"timestamp": 1},
    "imported_event_timestamp_out_of_range": {"words": {"imported"}, "timestamp": "2^63"},
    "imported_event_timestamp_must_not_advance": {"words": {"imported"}, "timestamp": "2^63-1"},
}
TRANSFER_FAULTS = {
    "request_expired": {"expires": "-1ns"},
    **IMPORT_FAULTS,
    "reserved_flag": {"words": {"flags=512"}},
    "id_must_not_be_zero": {"id": "0"},
    "id_must_not_be_int_max": {"id": "max"},
    "exists_with_different_flags": {"id": "old", "words": {"balancing_debit"}},
    "exists_with_different_pending_id": {"id": "old", "pending_id": 7},
    "exists_with_different_timeout": {"id": "old", "timeout": 7},
    "exists_with_different_debit_account_id": {"id": "old", "debit": "third"},
    "exists_with_different_credit_account_id": {"id": "old", "credit": "fourth"},
    "exists_with_different_amount": {"id": "old", "amount": 11},
    "exists_with_different_user_data_128": {"id": "old", "user_data_128": "2^64"},
    "exists_with_different_user_data_64": {"id": "old", "user_data_64": 7},
    "exists_with_different_user_data_32": {"id": "old", "user_data_32": 7},
    "exists_with_different_ledger": {"id": "old", "ledger": 3},
    "exists_with_different_code": {"id": "old", "code": 7},
    "exists": {"id": "old"},
    "id_already_failed": {"id": "failed"},
    "debit_account_id_must_not_be_zero": {"debit": "0"},
    "debit_account_id_must_not_be_int_max": {"debit": "max"},
    "credit_account_id_must_not_be_zero": {"credit": "0"},
    "credit_account_id_must_not_be_int_max": {"credit": "max"},
    "accounts_must_be_different": {"debit": "third", "credit": "third"},
    "pending_id_must_be_zero": {"pending_id": 7},
    "timeout_reserved_for_pending_transfer": {"timeout": 7},
    "closing_transfer_must_be_pending": {"words": {"closing_debit"}},
    "ledger_must_not_be_zero": {"ledger": 0},
    "code_must_not_be_zero": {"code": 0},
    "debit_account_not_found": {"debit": "nobody"},
    "credit_account_not_found": {"credit": "no-one"},
    "accounts_must_have_the_same_ledger": {"credit_ledger": 2},
    "transfer_must_have_the_same_ledger_as_accounts": {"ledger": 3},
    "imported_event_timestamp_must_not_regress": {"words": {"imported"}, "timestamp": 5},
    "debit_account_already_closed": {"debit_is": {"closed"}},
    "credit_account_already_closed": {"credit_is": {"closed"}},
    "debit_account_frozen": {"debit_is": {"frozen"}},
    "credit_account_frozen": {"credit_is": {"frozen"}},
    "overflows_debits_pending": {"words": {"pending"}, "debit_is": {"reserved"}},
    "overflows_credits_pending": {"words": {"pending"}, "credit_is": {"reserved"}},
    "overflows_debits_posted": {"debit_is": {"full"}},
    "overflows_credits_posted": {"credit_is": {"full"}},
    "overflows_debits": {"debit_is": {"reserved"}},
    "overflows_credits": {"credit_is": {"reserved"}},
    "exceeds_credits": {"debit_is": {"limited"}},
    "exceeds_debits": {"credit_is": {"limited"}},
    "refused_by_screening": {"screen": "suspicious"},
}
ACCOUNT_FAULTS = {
    "request_expired": {"expires": "-1ns"},
    **IMPORT_FAULTS,
    "reserved_field": {"reserved": 1},
    "reserved_flag": {"words": {"flags=64"}},
    "id_must_not_be_zero": {"id": "0"},
    "id_must_not_be_int_max": {"id": "max"},
    "exists_with_different_flags": {"id": "old", "words": {"history"}},
    "exists_with_different_user_data_128": {"id": "old", "user_data_128": "2^64"},
    "exists_with_different_user_data_64": {"id": "old", "user_data_64": 7},
    "exists_with_different_user_data_32": {"id": "old", "user_data_32": 7},
    "exists_with_different_ledger": {"id": "old", "ledger": 3},
    "exists_with_different_code": {"id": "old", "code": 7},
    "exists": {"id": "old"},
    "flags_are_mutually_exclusive": {"words": {"debits_must_not_exceed_credits", "credits_must_not_exceed_debits"}},
    "debits_pending_must_be_zero": {"debits_pending": "2^64"},
    "debits_posted_must_be_zero": {"debits_posted": 1},
    "credits_pending_must_be_zero": {"credits_pending": "2^64"},
    "credits_posted_must_be_zero": {"credits_posted": 1},
    "ledger_must_not_be_zero": {"ledger": 0},
    "code_must_not_be_zero": {"code": 0},
    "imported_event_timestamp_must_not_regress": {"words": {"imported"}, "timestamp": 5},
    "too_many_accounts": {"books": "full"},
}
CONTROL_FAULTS = {
    "request_expired": {"expires": "-1ns"},
    "linked_event_failed": {"chain": "broken"},
    "linked_event_chain_open": {"words": {"linked"}},
    "reserved_field": {"words": {"flag_bits=2"}},
    "account_not_found": {"id": "nobody"},
}
FAULTS = {TransferStatus: TRANSFER_FAULTS, AccountStatus: ACCOUNT_FAULTS, ControlStatus: CONTROL_FAULTS}
KINDS = {TransferStatus: Kind.TRANSFER, AccountStatus: Kind.ACCOUNT, ControlStatus: Kind.CONTROL}
MERGED = ("words", "debit_is", "credit_is")


def together(first, second):
    """Both faults in one command, or None if they contradict each other."""
    both = dict(first)
    for name, value in second.items():
        if name in MERGED:
            both[name] = both.get(name, set()) | value
        elif both.setdefault(name, value) != value:
            return None
    return both if possible(both) else None


def possible(fault):
    """Whether this version can bring a transfer's accounts into such a state."""
    if ("debit" in fault and "debit_is" in fault) or (
        "credit" in fault and ({"credit_is", "credit_ledger"} & set(fault))
    ):
        return False  # about an account, and naming another
    words, old = fault.get("words", set()), fault.get("id") == "old"
    if "linked" in words and "chain" in fault:
        return False  # the last of a broken chain says that it is open: tables/chains.txt
    if "imported" in words and fault.get("first") == "imported":
        return False
    if "imported" in words and ("timestamp" not in fault or fault["timestamp"] == 1) and "first" not in fault:
        return False  # an import needs a time
    if "timestamp" in fault and fault["timestamp"] != 1 and "imported" not in words:
        return False
    if "pending" in words and ("timeout" in fault or "closing_debit" in words):
        return False
    if "balancing_debit" in words and not old:
        return False  # it is no fault of a new transfer
    for side in ("debit_is", "credit_is"):
        if {"full", "reserved"} <= fault.get(side, set()):
            return False
    for is_, moved in (("debit_is", old), ("credit_is", old)):
        state = fault.get(is_, set())
        if "closed" in state and (moved or state & {"full", "reserved"}):
            return False  # closed from its opening on: nothing ever moved there
    return not ("credit_ledger" in fault and old)


TRANSFER_FIELDS = (
    "timestamp",
    "pending_id",
    "timeout",
    "user_data_128",
    "user_data_64",
    "user_data_32",
    "ledger",
    "code",
)


def transfer_rows(case, fault, status):
    """The lines that bring about a fault, and the transfer with it."""
    debit_is, credit_is = fault.get("debit_is", set()), fault.get("credit_is", set())
    old = fault.get("id") == "old"
    d, c, source, sink = f"d{case}", f"c{case}", f"source1-{case}", f"sink1-{case}"
    ledger = fault.get("credit_ledger", 1)
    limit = " debits_must_not_exceed_credits" if "limited" in debit_is else " overdraft"
    yield f"open {d}{limit}{' closed' if 'closed' in debit_is else ''}"
    limit = " credits_must_not_exceed_debits" if "limited" in credit_is else " overdraft"
    yield f"open {c}{limit}{' closed' if 'closed' in credit_is else ''} ledger={ledger}"
    if debit_is or credit_is:
        yield f"open {source} overdraft"
        yield f"open {sink} overdraft"
        yield f"open source2-{case} overdraft ledger=2"
        yield f"open sink2-{case} overdraft ledger=2"
    two = 2 if ledger == 2 else 1
    spent, rest = ("10", "max-10") if old else ("0", "max")
    if "limited" in debit_is and (old or debit_is & {"full", "reserved"}):
        yield f"transfer fund-debit{case} {source} {d} {'max' if debit_is & {'full', 'reserved'} else spent}"
    if "limited" in credit_is and (old or credit_is & {"full", "reserved"}):
        amount = "max" if credit_is & {"full", "reserved"} else spent
        yield f"transfer fund-credit{case} {c} sink{two}-{case} {amount} ledger={ledger}"
    if old:
        yield f"transfer old{case} {d} {c} 10"
    if fault.get("id") == "failed":
        yield f"transfer failed{case} nobody {c} 10 -> debit_account_not_found"
    if "full" in debit_is:
        yield f"transfer fill-debit{case} {d} {sink} {rest}"
    if "full" in credit_is:
        yield f"transfer fill-credit{case} source{two}-{case} {c} {rest} ledger={ledger}"
    if "reserved" in debit_is:
        yield f"transfer reserve-debit{case} {d} {sink} {rest} pending"
    if "reserved" in credit_is:
        yield f"transfer reserve-credit{case} source{two}-{case} {c} {rest} pending ledger={ledger}"
    if "frozen" in debit_is:
        yield f"freeze {d} debits"
    if "frozen" in credit_is:
        yield f"freeze {c} credits"
    number = fault.get("id", "new")
    number = number if number in ("0", "max") else f"{number}{case}"
    fields = " ".join(f"{name}={fault[name]}" for name in TRANSFER_FIELDS if name in fault)
    debit, credit = fault.get("debit", d), fault.get("credit", c)
    words = f"{' '.join(sorted(fault.get('words', ())))} {fault.get('screen', '')} {fields}"
    row = f"transfer {number} {debit} {credit} {fault.get('amount', 10)} {words} -> {status}"
    yield from in_request(case, fault, row, f"transfer before{case} {d} third 0")


def account_rows(case, fault, status):
    number = fault.get("id", "new")
    number = number if number in ("0", "max") else f"{number}{case}"
    if number.startswith("old"):
        yield f"open {number} overdraft"
    besides = ("id", "words", "expires", "books", "chain", "first")
    fields = " ".join(f"{name}={value}" for name, value in fault.items() if name not in besides)
    row = f"open {number} overdraft {' '.join(sorted(fault.get('words', ())))} {fields} -> {status}"
    yield from in_request(case, fault, row, f"open before{case}")


def control_rows(case, fault, status):
    row = f"freeze {fault.get('id', 'third')} {' '.join(sorted(fault.get('words', ())))} -> {status}"
    yield from in_request(case, fault, row, "freeze nobody")


def in_request(case, fault, row, before):
    """The row alone, or in a request that expires, imports, or has a chain that is broken already."""
    if not {"expires", "chain", "first"} & set(fault):
        return [row]
    late = "expires" in fault
    verb = row.split()[0]
    expires = f"expires={fault['expires']}" if late else ""
    lines = [f"request r{case} {expires}"]
    if "first" in fault:
        imports = fault["first"] == "imported"
        words = "imported timestamp=0 -> imported_event_timestamp_out_of_range" if imports else ""
        words = words or "code=0 -> code_must_not_be_zero"
        lines.append(f"{before}a {words}" if verb == "open" else f"{before.replace('before', 'first')} {words}")
    if "chain" in fault:
        why = "imported_event_expected" if fault.get("first") == "imported" else "code_must_not_be_zero"
        lines.append(f"{before} linked {'-> account_not_found' if verb == 'freeze' else f'code=0 -> {why}'}")
    if late:
        lines = [lines[0], *(f"{line.partition('->')[0]} -> request_expired" for line in lines[1:])]
    return [*lines, row, "end"]


ROWS = {TransferStatus: transfer_rows, AccountStatus: account_rows, ControlStatus: control_rows}
PROLOGUE = ["open third overdraft", "open fourth overdraft", "transfer prologue third fourth 0"]


def table(statuses, cases):
    rows = list(PROLOGUE)
    for number, (fault, status) in enumerate(cases):
        rows.extend(ROWS[statuses](number, fault, status))
    return "\n".join(rows)


def check_all(statuses, cases, ways=("alone", "together", "restarted")):
    """Books that must be full come last, in a table whose accounts fit exactly."""
    roomy = [(fault, status) for fault, status in cases if "books" not in fault]
    reached = check(table(statuses, roomy), accounts_max=8192, ways=ways) if roomy else set()
    for fault, status in cases:
        if "books" in fault:
            rows = table(statuses, [(fault, status)])
            reached |= check(
                rows, accounts_max=sum(line.startswith("open") and "->" not in line for line in rows.splitlines())
            )
    return reached


def pairs(statuses):
    """(first status, second status, both faults) of all that can apply together."""
    for (first, a), (second, b) in itertools.combinations(FAULTS[statuses].items(), 2):
        both = together(a, b)
        if both is not None and next(name for name in FAULTS[statuses] if applies(statuses, name, both)) == first:
            yield first, second, both  # else a third status applies too, before them


def applies(statuses, name, fault):
    """Whether a command with this fault has earned the status of that name, perhaps among others."""
    if name.startswith("exists_with_different_"):
        field = name.removeprefix("exists_with_different_").removesuffix("_account_id")
        return fault.get("id") == "old" and {"flags": "words"}.get(field, field) in fault
    return together(fault, FAULTS[statuses][name]) == fault


@pytest.mark.parametrize("statuses", FAULTS, ids=lambda table: table.__name__)
def test_the_faults_stand_in_the_order_of_the_statuses(statuses):
    order = [name.lower() for name in statuses.__members__]
    assert list(FAULTS[statuses]) == [name for name in order if name in FAULTS[statuses]]


@pytest.mark.parametrize("statuses", FAULTS, ids=lambda table: table.__name__)
def test_every_fault_alone_earns_its_status(statuses):
    cases = [(fault, status) for status, fault in FAULTS[statuses].items()]
    reached = {name for kind, name in check_all(statuses, cases) if kind is KINDS[statuses]}
    assert set(FAULTS[statuses]) <= reached


@pytest.mark.parametrize("statuses", FAULTS, ids=lambda table: table.__name__)
def test_of_two_statuses_that_apply_the_first_wins(statuses):
    check_all(statuses, [(both, first) for first, _, both in pairs(statuses)], ways=("together",))


@pytest.mark.parametrize("statuses", FAULTS, ids=lambda table: table.__name__)
def test_of_two_neighbours_the_first_wins_however_blocks_are_cut(statuses):
    check_all(
        statuses, [(both, first) for first, second, both in pairs(statuses) if are_neighbours(statuses, first, second)]
    )


def are_neighbours(statuses, first, second):
    names = list(FAULTS[statuses])
    return names.index(second) - names.index(first) == 1


OF_IMPORTS = [
    ("linked_event_failed", "linked_event_chain_open"),  # the second wins: tables/chains.txt
    ("imported_event_expected", "imported_event_not_expected"),  # the first event imports, or does not
    ("timestamp_must_be_zero", "imported_event_timestamp_out_of_range"),  # this one imports, or does not
    ("imported_event_timestamp_out_of_range", "imported_event_timestamp_must_not_advance"),  # one timestamp
]
CANNOT_BOTH_APPLY = {
    TransferStatus: [
        *OF_IMPORTS,
        ("id_must_not_be_zero", "id_must_not_be_int_max"),  # one id
        ("id_must_not_be_int_max", "exists_with_different_flags"),
        ("exists", "id_already_failed"),
        ("debit_account_id_must_not_be_zero", "debit_account_id_must_not_be_int_max"),
        ("credit_account_id_must_not_be_zero", "credit_account_id_must_not_be_int_max"),
        ("credit_account_id_must_not_be_int_max", "accounts_must_be_different"),
        ("credit_account_not_found", "accounts_must_have_the_same_ledger"),  # unknown, or of another ledger
    ],
    AccountStatus: [
        *OF_IMPORTS,
        ("id_must_not_be_zero", "id_must_not_be_int_max"),
        ("id_must_not_be_int_max", "exists_with_different_flags"),
        ("exists", "flags_are_mutually_exclusive"),  # no account has both flags
    ],
    ControlStatus: OF_IMPORTS[:1],
}


@pytest.mark.parametrize("statuses", FAULTS, ids=lambda table: table.__name__)
def test_only_neighbours_that_contradict_each_other_have_no_row(statuses):
    tested = {(first, second) for first, second, _ in pairs(statuses)}
    neighbours = list(itertools.pairwise(FAULTS[statuses]))
    assert [pair for pair in neighbours if pair not in tested] == CANNOT_BOTH_APPLY[statuses]


def test_most_pairs_of_transfer_statuses_can_be_tested():
    assert len(list(pairs(TransferStatus))) > 1000
