"""The first status that applies wins: every pair that can apply together, in the order of `statuses`.

A *fault* is the smallest change to a good command that earns it one status. Two faults that do not contradict each
other are put into one command; the earlier status must win. What a later version decides is listed, so that a status
nobody thought of fails `test_every_status_has_a_row_or_is_of_a_later_version`.
"""

import itertools

import pytest

from tallystick.lab.scenarios import check
from tallystick.records.commands import Kind
from tallystick.statuses import AccountStatus, ControlStatus, TransferStatus

TRANSFER_FAULTS = {
    "request_expired": {"expires": "-1ns"},
    "timestamp_must_be_zero": {"timestamp": 1},
    "reserved_flag": {"words": {"linked"}},
    "id_must_not_be_zero": {"id": "0"},
    "id_must_not_be_int_max": {"id": "max"},
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
    "ledger_must_not_be_zero": {"ledger": 0},
    "code_must_not_be_zero": {"code": 0},
    "debit_account_not_found": {"debit": "nobody"},
    "credit_account_not_found": {"credit": "no-one"},
    "accounts_must_have_the_same_ledger": {"credit_ledger": 2},
    "transfer_must_have_the_same_ledger_as_accounts": {"ledger": 3},
    "debit_account_already_closed": {"debit_is": {"closed"}},
    "credit_account_already_closed": {"credit_is": {"closed"}},
    "debit_account_frozen": {"debit_is": {"frozen"}},
    "credit_account_frozen": {"credit_is": {"frozen"}},
    "overflows_debits_posted": {"debit_is": {"full"}},
    "overflows_credits_posted": {"credit_is": {"full"}},
    "exceeds_credits": {"debit_is": {"limited"}},
    "exceeds_debits": {"credit_is": {"limited"}},
}
ACCOUNT_FAULTS = {
    "request_expired": {"expires": "-1ns"},
    "timestamp_must_be_zero": {"timestamp": 1},
    "reserved_field": {"reserved": 1},
    "reserved_flag": {"words": {"imported"}},
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
    "too_many_accounts": {"books": "full"},
}
CONTROL_FAULTS = {
    "request_expired": {"expires": "-1ns"},
    "reserved_field": {"flag_bits": 1},
    "account_not_found": {"id": "nobody"},
}
LATER_IN_EVERY_TABLE = {"quarantined"}  # tests/unit/engine/test_poison.py
LATER_TRANSFERS = {
    "linked_event_failed",
    "linked_event_chain_open",
    "imported_event_expected",
    "imported_event_not_expected",
    "imported_event_timestamp_out_of_range",
    "imported_event_timestamp_must_not_advance",
    "exists_with_different_flags",  # no flag gets as far as being compared yet
    "flags_are_mutually_exclusive",
    "pending_id_must_not_be_zero",
    "pending_id_must_not_be_int_max",
    "pending_id_must_be_different",
    "closing_transfer_must_be_pending",
    "pending_transfer_not_found",
    "pending_transfer_not_pending",
    "pending_transfer_has_different_debit_account_id",
    "pending_transfer_has_different_credit_account_id",
    "pending_transfer_has_different_ledger",
    "pending_transfer_has_different_code",
    "exceeds_pending_transfer_amount",
    "pending_transfer_has_different_amount",
    "pending_transfer_already_posted",
    "pending_transfer_already_voided",
    "pending_transfer_expired",
    "imported_event_timestamp_must_not_regress",
    "imported_event_timestamp_must_postdate_debit_account",
    "imported_event_timestamp_must_postdate_credit_account",
    "imported_event_timeout_must_be_zero",
    "overflows_debits_pending",
    "overflows_credits_pending",
    "overflows_debits",  # needs pending amounts: tests/unit/ledger/test_room.py puts them into the books by hand
    "overflows_credits",
    "overflows_timeout",
    "pending_transfer_in_review",
    "refused_by_screening",
    "too_many_pending_transfers",
}
LATER_CONTROLS = {
    "linked_event_failed",
    "linked_event_chain_open",
    "pending_transfer_not_found",
    "pending_transfer_not_pending",
    "pending_transfer_already_posted",
    "pending_transfer_already_voided",
    "pending_transfer_expired",
    "pending_transfer_not_in_review",
    "debit_account_already_closed",
    "credit_account_already_closed",
    "debit_account_frozen",
    "credit_account_frozen",
}
LATER_ACCOUNTS = {
    "linked_event_failed",
    "linked_event_chain_open",
    "imported_event_expected",
    "imported_event_not_expected",
    "imported_event_timestamp_out_of_range",
    "imported_event_timestamp_must_not_advance",
    "imported_event_timestamp_must_not_regress",
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
    old = fault.get("id") == "old"
    for is_, moved in (("debit_is", old), ("credit_is", old)):
        state = fault.get(is_, set())
        if "closed" in state and (moved or "full" in state):
            return False  # closed from its opening on: nothing ever moved there
    if "credit_ledger" in fault and (old or "full" in fault.get("credit_is", set())):
        return "full" in fault.get("credit_is", set()) and not old
    return True


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
    if "limited" in debit_is and (old or "full" in debit_is):
        yield f"transfer fund-debit{case} {source} {d} {'max' if 'full' in debit_is else spent}"
    if "limited" in credit_is and (old or "full" in credit_is):
        amount = "max" if "full" in credit_is else spent
        yield f"transfer fund-credit{case} {c} sink{two}-{case} {amount} ledger={ledger}"
    if old:
        yield f"transfer old{case} {d} {c} 10"
    if fault.get("id") == "failed":
        yield f"transfer failed{case} nobody {c} 10 -> debit_account_not_found"
    if "full" in debit_is:
        yield f"transfer fill-debit{case} {d} {sink} {rest}"
    if "full" in credit_is:
        yield f"transfer fill-credit{case} source{two}-{case} {c} {rest} ledger={ledger}"
    if "frozen" in debit_is:
        yield f"freeze {d} debits"
    if "frozen" in credit_is:
        yield f"freeze {c} credits"
    number = fault.get("id", "new")
    number = number if number in ("0", "max") else f"{number}{case}"
    fields = " ".join(f"{name}={fault[name]}" for name in TRANSFER_FIELDS if name in fault)
    debit, credit = fault.get("debit", d), fault.get("credit", c)
    words = f"{' '.join(sorted(fault.get('words', ())))} {fields}"
    yield from in_request(
        case, fault, f"transfer {number} {debit} {credit} {fault.get('amount', 10)} {words} -> {status}"
    )


def account_rows(case, fault, status):
    number = fault.get("id", "new")
    number = number if number in ("0", "max") else f"{number}{case}"
    if number.startswith("old"):
        yield f"open {number} overdraft"
    fields = " ".join(
        f"{name}={value}" for name, value in fault.items() if name not in ("id", "words", "expires", "books")
    )
    yield from in_request(
        case, fault, f"open {number} overdraft {' '.join(sorted(fault.get('words', ())))} {fields} -> {status}"
    )


def control_rows(case, fault, status):
    number = fault.get("id", "third")
    reserved = f"flag_bits={fault['flag_bits']}" if "flag_bits" in fault else ""
    yield from in_request(case, fault, f"freeze {number} {reserved} -> {status}")


def in_request(case, fault, row):
    if "expires" not in fault:
        return [row]
    return [f"request r{case} expires={fault['expires']}", row, "end"]


ROWS = {TransferStatus: transfer_rows, AccountStatus: account_rows, ControlStatus: control_rows}
PROLOGUE = ["open third overdraft", "open fourth overdraft"]


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


@pytest.mark.parametrize(
    ("statuses", "later"),
    [(TransferStatus, LATER_TRANSFERS), (AccountStatus, LATER_ACCOUNTS), (ControlStatus, LATER_CONTROLS)],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_every_status_has_a_row_or_is_of_a_later_version(statuses, later):
    cases = [(fault, status) for status, fault in FAULTS[statuses].items()]
    every = check_all(statuses, cases, ways=("alone", "together"))
    if statuses is ControlStatus:
        every |= check("open alice\nfreeze alice")
    reached = {name for kind, name in every if kind is KINDS[statuses]}
    assert {status.name.lower() for status in statuses} - reached == later | LATER_IN_EVERY_TABLE


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


CANNOT_BOTH_APPLY = {
    TransferStatus: [
        ("id_must_not_be_zero", "id_must_not_be_int_max"),  # one id
        ("id_must_not_be_int_max", "exists_with_different_pending_id"),
        ("exists", "id_already_failed"),
        ("debit_account_id_must_not_be_zero", "debit_account_id_must_not_be_int_max"),
        ("credit_account_id_must_not_be_zero", "credit_account_id_must_not_be_int_max"),
        ("credit_account_id_must_not_be_int_max", "accounts_must_be_different"),
        ("credit_account_not_found", "accounts_must_have_the_same_ledger"),  # unknown, or of another ledger
    ],
    AccountStatus: [
        ("id_must_not_be_zero", "id_must_not_be_int_max"),
        ("id_must_not_be_int_max", "exists_with_different_flags"),
        ("exists", "flags_are_mutually_exclusive"),  # no account has both flags
    ],
    ControlStatus: [],
}


@pytest.mark.parametrize("statuses", FAULTS, ids=lambda table: table.__name__)
def test_only_neighbours_that_contradict_each_other_have_no_row(statuses):
    tested = {(first, second) for first, second, _ in pairs(statuses)}
    neighbours = list(itertools.pairwise(FAULTS[statuses]))
    assert [pair for pair in neighbours if pair not in tested] == CANNOT_BOTH_APPLY[statuses]


def test_most_pairs_of_transfer_statuses_can_be_tested():
    assert len(list(pairs(TransferStatus))) > 400
