"""What plain transfers do, in tables that a banker can read."""

import pytest

from tallystick.lab.scenarios import check


def test_money_moves_from_the_debited_to_the_credited_account():
    check("""
        open      world  overdraft
        open      alice
        open      shop
        transfer  t1  world alice 100
        transfer  t2  alice shop   60
        balance   alice  posted 40 available 40 debits 60 credits 100
        balance   shop   posted 60
        balance   world  posted -100
        lookup    t2  amount 60
    """)


def test_a_refused_transfer_moves_nothing_and_is_not_found():
    check("""
        open      world  overdraft
        open      alice
        transfer  t1  world alice 100
        transfer  t2  alice world 101  -> exceeds_credits
        balance   alice  posted 100 debits 0
        balance   world  posted -100 credits 0
        lookup    t2  nothing
    """)


def test_a_zero_amount_is_legal_even_between_empty_accounts():
    check("""
        open      alice
        open      shop  credits_must_not_exceed_debits
        transfer  t1  alice shop 0
        lookup    t1  amount 0
        balance   alice  posted 0 debits 0
        transfer  t1  alice shop 0  -> exists
        transfer  t1  alice shop 1  -> exists_with_different_amount
    """)


def test_all_of_what_an_account_has_may_be_spent_and_not_one_unit_more():
    check("""
        open      world  overdraft
        open      alice
        transfer  t1  world alice 100
        transfer  t2  alice world 101  -> exceeds_credits
        transfer  t3  alice world 100
        transfer  t4  alice world 1    -> exceeds_credits
        transfer  t5  alice world 0
        balance   alice  posted 0 debits 100 credits 100
    """)


def test_what_an_account_owes_may_be_paid_back_and_not_one_unit_more():
    check("""
        open      loan   credits_must_not_exceed_debits
        open      world  overdraft
        transfer  t1  world loan 1    -> exceeds_debits
        transfer  t2  loan world 100
        transfer  t3  world loan 101  -> exceeds_debits
        transfer  t4  world loan 100
        transfer  t5  world loan 1    -> exceeds_debits
        transfer  t6  world loan 0
        balance   loan  posted 0 debits 100 credits 100
    """)


@pytest.mark.parametrize(
    "amount", [1, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 1, 2**64, 2**64 + 1, 2**127, 2**128 - 2]
)
def test_limits_hold_to_the_unit_at_every_size(amount):
    check(f"""
        open      world  overdraft
        open      alice
        open      loan  credits_must_not_exceed_debits
        transfer  t1  world alice {amount}
        transfer  t2  loan  world {amount - 1}
        transfer  t3  alice loan  {amount}    -> exceeds_debits
        transfer  t4  alice loan  {amount - 1}
        transfer  t5  alice world 2           -> exceeds_credits
        transfer  t6  alice world 1
        transfer  t7  alice world 1           -> exceeds_credits
        balance   alice  posted 0 debits {amount}
        balance   loan   posted 0 credits {amount - 1}
    """)


def test_sums_never_pass_128_bits():
    check("""
        open      one  overdraft
        open      two  overdraft
        open      three  overdraft
        transfer  t1  one two max
        transfer  t2  one three 1  -> overflows_debits_posted
        transfer  t3  three two 1  -> overflows_credits_posted
        transfer  t4  one two 0
        transfer  t5  two one max
        balance   one  posted 0 debits max credits max
        balance   two  posted 0
        transfer  t2  one three 1  -> overflows_debits_posted   # the id stayed free: full is no passing state
        transfer  t2  three three 1  -> accounts_must_be_different
        transfer  t2  three one 0
    """)


def test_a_carry_from_the_lower_half_reaches_the_upper():
    check("""
        open      one  overdraft
        open      two
        transfer  t1  one two 2^64-1
        transfer  t2  one two 1
        balance   two  posted 2^64 debits 0
        transfer  t3  two one 2^64-1
        transfer  t4  two one 2  -> exceeds_credits
        transfer  t5  two one 1
        balance   two  posted 0
    """)


def test_a_transfer_s_id_is_used_once():
    check("""
        open      world  overdraft
        open      alice
        open      shop
        transfer  t1  world alice 100  user_data_64=7
        transfer  t1  world alice 100  user_data_64=7  -> exists
        transfer  t1  alice world 100  user_data_64=7  -> exists_with_different_debit_account_id
        transfer  t1  world shop  100  user_data_64=7  -> exists_with_different_credit_account_id
        transfer  t1  world alice 101  user_data_64=7  -> exists_with_different_amount
        transfer  t1  world alice 100                  -> exists_with_different_user_data_64
        transfer  t1  nobody alice 100                 -> exists_with_different_debit_account_id
        balance   alice  posted 100
    """)


def test_ids_that_share_one_half_are_different_ids():
    check("""
        open      5  overdraft
        open      2^64+5  overdraft
        transfer  7       5 2^64+5 1
        transfer  2^64+7  2^64+5 5 2
        transfer  2^65+7  5 2^64+5 3
        transfer  7       5 2^64+5 1  -> exists
        lookup    7       amount 1
        lookup    2^64+7  amount 2
        balance   5       posted -2
        account   2^65+5  nothing
    """)


def test_the_largest_and_smallest_ids_are_legal_up_to_zero_and_all_ones():
    check("""
        open      max-1  overdraft
        open      1  overdraft
        open      0    -> id_must_not_be_zero
        open      max  -> id_must_not_be_int_max
        transfer  1      1 max-1 1
        transfer  max-1  1 max-1 1
        transfer  0      1 max-1 1    -> id_must_not_be_zero
        transfer  max    1 max-1 1    -> id_must_not_be_int_max
        balance   1  posted -2
    """)


TRANSIENT = """
    debit_account_not_found       nobody alice 1
    credit_account_not_found      alice nobody 1
    exceeds_credits               alice world 1
    exceeds_debits                world loan 1
    debit_account_already_closed  shut world 1
    credit_account_already_closed world shut 1
    debit_account_frozen          icy world 1
    credit_account_frozen         world icy 1
"""
ACCOUNTS = """
    open    world  overdraft
    open    alice
    open    loan   credits_must_not_exceed_debits
    open    shut   overdraft closed
    open    icy    overdraft
    freeze  icy
"""


def rows(text):
    return [line.split(maxsplit=1) for line in text.strip().splitlines()]


@pytest.mark.parametrize(("status", "transfer"), rows(TRANSIENT), ids=lambda each: each.split()[0])
def test_a_refusal_that_may_pass_spends_the_id(status, transfer):
    check(f"""
        {ACCOUNTS}
        transfer  t1  {transfer}  -> {status}
        transfer  t1  {transfer}  -> id_already_failed
        transfer  t1  world alice 5  -> id_already_failed
        transfer  t1  world alice 5  timeout=1  -> id_already_failed
        request   r1                                       # within one request, too
        transfer  t2  {transfer}  -> {status}
        transfer  t2  {transfer}  -> id_already_failed
        transfer  t2  world alice 5  -> id_already_failed
        end
        transfer  t2  world alice 5  -> id_already_failed
        balance   alice  posted 0
        lookup    t1  nothing
    """)


FINAL = """
    timestamp_must_be_zero                    world alice 1 timestamp=1
    reserved_flag                             world alice 1 flags=512
    reserved_flag                             world alice 1 flags=32768
    closing_transfer_must_be_pending          world alice 1 closing_debit
    pending_id_must_not_be_zero               world alice 1 post_pending_transfer
    pending_id_must_not_be_int_max            world alice 1 post_pending_transfer of=max
    pending_id_must_be_zero                   world alice 1 pending of=t9
    flags_are_mutually_exclusive              world alice 1 post_pending_transfer void_pending_transfer of=t9
    debit_account_id_must_not_be_zero         0 alice 1
    credit_account_id_must_not_be_int_max     world max 1
    accounts_must_be_different                alice alice 1
    pending_id_must_be_zero                   world alice 1 pending_id=2^64
    timeout_reserved_for_pending_transfer     world alice 1 timeout=1
    ledger_must_not_be_zero                   world alice 1 ledger=0
    code_must_not_be_zero                     world alice 1 code=0
    accounts_must_have_the_same_ledger        world euro 1
    transfer_must_have_the_same_ledger_as_accounts  world alice 1 ledger=2
"""


@pytest.mark.parametrize(("status", "transfer"), rows(FINAL), ids=lambda each: each.strip())
def test_a_refusal_that_will_never_pass_leaves_the_id_free(status, transfer):
    check(f"""
        {ACCOUNTS}
        open      euro  overdraft ledger=2
        transfer  t1  {transfer}  -> {status}
        transfer  t1  {transfer}  -> {status}
        request   r1
        transfer  t2  {transfer}  -> {status}
        transfer  t2  world alice 5
        end
        transfer  t1  world alice 6
        balance   alice  posted 11
    """)


def test_money_stays_in_its_ledger():
    check("""
        open      dollars  overdraft
        open      euros    overdraft ledger=2
        open      alice    ledger=2
        transfer  t1  dollars euros 5            -> accounts_must_have_the_same_ledger
        transfer  t1  dollars euros 5  ledger=2  -> accounts_must_have_the_same_ledger
        transfer  t1  euros alice 5              -> transfer_must_have_the_same_ledger_as_accounts
        transfer  t1  euros alice 5  ledger=2
        balance   alice  posted 5
    """)


def test_an_account_may_be_used_in_the_request_after_the_one_that_opens_it():
    check("""
        transfer  t1  world alice 5  -> debit_account_not_found
        open      world  overdraft
        transfer  t2  world alice 5  -> credit_account_not_found
        open      alice
        transfer  t1  world alice 5  -> id_already_failed
        transfer  t3  world alice 5
        freeze    alice debits
        transfer  t4  alice world 5  -> debit_account_frozen
        balance   alice  posted 5
    """)
