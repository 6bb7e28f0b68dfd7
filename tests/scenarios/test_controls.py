"""Freezing, unfreezing, credit limits."""

import pytest

from tallystick.lab.scenarios import check

BASE = """
    open      world  overdraft
    open      alice
    transfer  t0  world alice 100
"""


def test_a_debit_freeze_stops_what_leaves_and_lets_in_what_comes():
    check(f"""
        {BASE}
        freeze    alice debits
        transfer  t1  alice world 1  -> debit_account_frozen
        transfer  t2  alice world 0  -> debit_account_frozen
        transfer  t3  world alice 1
        balance   alice  posted 101 frozen debits
        unfreeze  alice debits
        transfer  t4  alice world 1
        transfer  t1  alice world 1  -> id_already_failed
        balance   alice  posted 100 frozen nothing
    """)


def test_a_credit_freeze_stops_what_comes_and_lets_out_what_leaves():
    check(f"""
        {BASE}
        freeze    alice credits
        transfer  t1  world alice 1  -> credit_account_frozen
        transfer  t2  world alice 0  -> credit_account_frozen
        transfer  t3  alice world 1
        balance   alice  posted 99 frozen credits
    """)


def test_sides_freeze_and_thaw_one_by_one():
    check(f"""
        {BASE}
        freeze    alice
        balance   alice  frozen both
        unfreeze  alice credits
        balance   alice  frozen debits
        transfer  t1  alice world 1  -> debit_account_frozen
        transfer  t2  world alice 1
        freeze    alice debits
        freeze    alice credits
        unfreeze  alice debits
        balance   alice  frozen credits
        unfreeze  alice
        unfreeze  alice
        balance   alice  frozen nothing
        transfer  t3  alice world 1
    """)


def test_the_debit_side_s_freeze_is_told_first():
    check("""
        open      alice  overdraft
        open      bob    overdraft
        freeze    alice
        freeze    bob
        transfer  t1  alice bob 1  -> debit_account_frozen
        unfreeze  alice
        transfer  t2  alice bob 1  -> credit_account_frozen
    """)


def test_a_freeze_and_its_end_within_one_request_leave_nothing_frozen():
    check(f"""
        {BASE}
        request   r1
        freeze    alice
        unfreeze  alice
        end
        transfer  t1  alice world 1
        request   r2
        unfreeze  alice
        freeze    alice debits
        end
        transfer  t2  alice world 1  -> debit_account_frozen
    """)


def test_a_credit_limit_is_how_far_debits_may_pass_credits():
    check(f"""
        {BASE}
        limit     alice 50
        balance   alice  posted 100 available 150 limit 50
        transfer  t1  alice world 151  -> exceeds_credits
        transfer  t2  alice world 150
        transfer  t3  alice world 1    -> exceeds_credits
        balance   alice  posted -50 available 0
        limit     alice 51
        transfer  t4  alice world 1
        balance   alice  posted -51 available 0
    """)


def test_a_limit_set_below_what_is_used_refuses_new_debits_only():
    check(f"""
        {BASE}
        limit     alice 50
        transfer  t1  alice world 150
        limit     alice 10
        transfer  t2  alice world 1  -> exceeds_credits
        transfer  t3  alice world 0  -> exceeds_credits
        transfer  t4  world alice 30
        transfer  t5  alice world 1  -> exceeds_credits
        transfer  t6  world alice 11
        transfer  t7  alice world 1
        balance   alice  posted -10 available 0 limit 10
        limit     alice 0
        transfer  t8  alice world 0  -> exceeds_credits
    """)


def test_the_largest_limit_saturates():
    check(f"""
        {BASE}
        limit     alice max
        transfer  t1  alice world max
        transfer  t2  alice world 1  -> overflows_debits_posted
        balance   alice  debits max limit max
    """)


def test_a_limit_says_nothing_of_an_account_without_the_flag():
    check("""
        open      world  overdraft
        open      loan   credits_must_not_exceed_debits
        limit     world 1
        limit     loan 100
        transfer  t1  world loan 1  -> exceeds_debits
        transfer  t2  loan world 5
        transfer  t3  world loan 5
    """)


@pytest.mark.parametrize(
    "row",
    [
        "freeze alice value=0",
        "freeze alice value=4",
        "freeze alice value=2^64+1",
        "unfreeze alice value=0",
        "unfreeze alice value=2^127",
        "freeze alice opcode=0",
        "freeze alice opcode=4",
        "freeze alice opcode=65535",
        "limit alice 5 flag_bits=2",
    ],
)
def test_a_control_command_nobody_understands_is_refused_and_does_nothing(row):
    check(f"""
        {BASE}
        {row}  -> reserved_field
        transfer  t1  alice world 1
        balance   alice  frozen nothing limit 0
    """)


def test_a_control_command_needs_an_account():
    check("""
        freeze    nobody  -> account_not_found
        unfreeze  nobody  -> account_not_found
        limit     nobody 5  -> account_not_found
        freeze    0  -> account_not_found
        freeze    max  -> account_not_found
    """)
