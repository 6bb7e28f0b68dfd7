"""TigerBeetle's published statuses (docs.tigerbeetle.com: reference/requests/create_accounts, create_transfers).

Written out here from its documentation and client bindings 0.17.9, in its order of precedence, so that ours are
compared with something that is not ours.
"""

import pytest

from tallystick import statuses
from tallystick.gateway import answering
from tallystick.statuses import AccountStatus, ControlStatus, RequestStatus, TransferStatus

TIGERBEETLE_ACCOUNTS = """
4294967295 created
1 linked_event_failed
2 linked_event_chain_open
22 imported_event_expected
23 imported_event_not_expected
3 timestamp_must_be_zero
24 imported_event_timestamp_out_of_range
25 imported_event_timestamp_must_not_advance
4 reserved_field
5 reserved_flag
6 id_must_not_be_zero
7 id_must_not_be_int_max
15 exists_with_different_flags
16 exists_with_different_user_data_128
17 exists_with_different_user_data_64
18 exists_with_different_user_data_32
19 exists_with_different_ledger
20 exists_with_different_code
21 exists
8 flags_are_mutually_exclusive
9 debits_pending_must_be_zero
10 debits_posted_must_be_zero
11 credits_pending_must_be_zero
12 credits_posted_must_be_zero
13 ledger_must_not_be_zero
14 code_must_not_be_zero
26 imported_event_timestamp_must_not_regress
"""
TIGERBEETLE_TRANSFERS = """
4294967295 created
1 linked_event_failed
2 linked_event_chain_open
56 imported_event_expected
57 imported_event_not_expected
3 timestamp_must_be_zero
58 imported_event_timestamp_out_of_range
59 imported_event_timestamp_must_not_advance
4 reserved_flag
5 id_must_not_be_zero
6 id_must_not_be_int_max
36 exists_with_different_flags
40 exists_with_different_pending_id
44 exists_with_different_timeout
37 exists_with_different_debit_account_id
38 exists_with_different_credit_account_id
39 exists_with_different_amount
41 exists_with_different_user_data_128
42 exists_with_different_user_data_64
43 exists_with_different_user_data_32
67 exists_with_different_ledger
45 exists_with_different_code
46 exists
68 id_already_failed
7 flags_are_mutually_exclusive
8 debit_account_id_must_not_be_zero
9 debit_account_id_must_not_be_int_max
10 credit_account_id_must_not_be_zero
11 credit_account_id_must_not_be_int_max
12 accounts_must_be_different
13 pending_id_must_be_zero
14 pending_id_must_not_be_zero
15 pending_id_must_not_be_int_max
16 pending_id_must_be_different
17 timeout_reserved_for_pending_transfer
64 closing_transfer_must_be_pending
19 ledger_must_not_be_zero
20 code_must_not_be_zero
21 debit_account_not_found
22 credit_account_not_found
23 accounts_must_have_the_same_ledger
24 transfer_must_have_the_same_ledger_as_accounts
25 pending_transfer_not_found
26 pending_transfer_not_pending
27 pending_transfer_has_different_debit_account_id
28 pending_transfer_has_different_credit_account_id
29 pending_transfer_has_different_ledger
30 pending_transfer_has_different_code
31 exceeds_pending_transfer_amount
32 pending_transfer_has_different_amount
33 pending_transfer_already_posted
34 pending_transfer_already_voided
35 pending_transfer_expired
60 imported_event_timestamp_must_not_regress
61 imported_event_timestamp_must_postdate_debit_account
62 imported_event_timestamp_must_postdate_credit_account
63 imported_event_timeout_must_be_zero
65 debit_account_already_closed
66 credit_account_already_closed
47 overflows_debits_pending
48 overflows_credits_pending
49 overflows_debits_posted
50 overflows_credits_posted
51 overflows_debits
52 overflows_credits
53 overflows_timeout
54 exceeds_credits
55 exceeds_debits
"""
TRANSIENT = [
    "debit_account_not_found",
    "credit_account_not_found",
    "pending_transfer_not_found",
    "exceeds_credits",
    "exceeds_debits",
    "debit_account_already_closed",
    "credit_account_already_closed",
    "debit_account_frozen",
    "credit_account_frozen",
    "pending_transfer_in_review",
    "refused_by_screening",
    "too_many_pending_transfers",
]
EVERY = [
    *AccountStatus.__members__.values(),
    *TransferStatus.__members__.values(),
    *ControlStatus.__members__.values(),
    *RequestStatus.__members__.values(),
]
OURS_FROM = 1001


def published(table):
    return [(int(number), name) for number, name in (line.split() for line in table.strip().splitlines())]


@pytest.mark.parametrize(
    ("ours", "theirs"), [(AccountStatus, TIGERBEETLE_ACCOUNTS), (TransferStatus, TIGERBEETLE_TRANSFERS)]
)
def test_names_numbers_and_precedence_are_tigerbeetle_s(ours, theirs):
    shared = [
        (status.value, statuses.name(status))
        for status in ours
        if status.value < OURS_FROM or status.value == statuses.CREATED
    ]
    assert shared == published(theirs)


def test_a_frozen_account_is_reported_right_after_a_closed_one():
    names = list(TransferStatus.__members__)
    at = names.index("CREDIT_ACCOUNT_ALREADY_CLOSED")
    assert names[at + 1 : at + 3] == ["DEBIT_ACCOUNT_FROZEN", "CREDIT_ACCOUNT_FROZEN"]


@pytest.mark.parametrize("table", [AccountStatus, TransferStatus, ControlStatus, RequestStatus])
def test_no_number_is_used_twice_in_a_table(table):
    assert len(table.__members__) == len(list(table))


def test_a_number_of_ours_means_one_thing_in_every_table():
    meanings = {}
    for status in EVERY:
        if status >= OURS_FROM and status != statuses.CREATED:
            meanings.setdefault(int(status), set()).add(status.name)
    assert [names for names in meanings.values() if len(names) > 1] == []


@pytest.mark.parametrize("table", [AccountStatus, TransferStatus, ControlStatus])
def test_the_16_bits_that_an_entry_keeps_tell_the_statuses_of_its_kind_apart(table):
    assert len({statuses.stored(status) for status in table}) == len(table)
    assert statuses.stored(table(statuses.CREATED)) == 65_535


def test_exactly_these_are_transient():
    assert sorted(statuses.name(status) for status in EVERY if statuses.transient(status)) == sorted(TRANSIENT)


def test_a_status_of_another_table_with_a_transient_number_is_not_transient():
    assert AccountStatus.EXISTS == TransferStatus.DEBIT_ACCOUNT_NOT_FOUND
    assert not statuses.transient(AccountStatus.EXISTS)


def expected_http(status):
    if status == statuses.CREATED:
        return 201
    if status.name == "EXISTS":
        return 200
    if status is RequestStatus.NOT_DECIDED:
        return 202
    if status is RequestStatus.TENANT_ELSEWHERE:
        return 503
    return 422


@pytest.mark.parametrize("status", EVERY, ids=lambda status: f"{type(status).__name__}.{status.name}")
def test_every_status_has_its_http_status(status):
    assert statuses.http(status) == expected_http(status)


def test_only_an_account_and_a_transfer_can_exist_already():
    assert [status for status in EVERY if statuses.http(status) == 200] == [AccountStatus.EXISTS, TransferStatus.EXISTS]
    assert statuses.http(TransferStatus.DEBIT_ACCOUNT_NOT_FOUND) == 422  # its number is that of an account's exists
    assert statuses.http(AccountStatus(15)) == 422


def test_a_status_is_spelled_in_lower_case():
    assert statuses.name(TransferStatus.EXCEEDS_CREDITS) == "exceeds_credits"
    assert statuses.name(ControlStatus.APPLIED) == "applied"


@pytest.mark.parametrize(
    ("topic", "table"),
    [
        (answering.ACCOUNT, AccountStatus),
        (answering.TRANSFER, TransferStatus),
        (answering.CONTROL, ControlStatus),
    ],
    ids=lambda each: getattr(each, "word", ""),
)
def test_the_api_calls_the_same_statuses_transient(topic, table):
    said = {number for number, meaning in topic.meanings.items() if meaning.transient}
    assert said == {int(status) for status in table if statuses.transient(status)}
