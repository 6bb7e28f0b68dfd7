"""Requests: retried, reused, expired; and tenants, who see nothing of each other."""

import pytest

from tallystick.lab.scenarios import check

BASE = """
    open      world  overdraft
    open      alice
"""


def test_a_request_sent_twice_moves_money_once():
    check(f"""
        {BASE}
        request   pay
        transfer  t1  world alice 5
        transfer  t2  alice world 9  -> exceeds_credits
        end
        advance   1h
        request   pay  -> replayed
        transfer  t1  world alice 5
        transfer  t2  alice world 9  -> exceeds_credits
        end
        balance   alice  posted 5
    """)


def test_a_request_that_comes_three_times_in_one_block_is_decided_once():
    row = "request pay{}\ntransfer t1 world alice 5\ntransfer t1 world alice 5 -> exists\nend\n"
    check(BASE + row.format("") + 2 * row.format(" -> replayed") + "balance alice posted 5", ways=("together",))


def test_a_payment_refused_for_a_freeze_stays_refused_after_the_unfreeze():
    check(f"""
        {BASE}
        transfer  t1  world alice 100
        freeze    alice
        request   pay
        transfer  t2  alice world 40  -> debit_account_frozen
        end
        unfreeze  alice
        request   pay  -> replayed
        transfer  t2  alice world 40  -> debit_account_frozen
        end
        balance   alice  posted 100
        request   pay2
        transfer  t2  alice world 40  -> id_already_failed
        transfer  t3  alice world 40
        end
    """)


@pytest.mark.parametrize(
    "other",
    [
        "transfer t1 world alice 6",
        "transfer t2 world alice 5",
        "transfer t1 world alice 5 user_data_32=1",
        "freeze alice",
        "open bob",
        "transfer t1 world alice 5\ntransfer t2 world alice 5",
    ],
)
def test_a_key_used_for_something_else_is_told_so_and_nothing_is_done(other):
    check(f"""
        {BASE}
        request   pay
        transfer  t1  world alice 5
        end
        request   pay  -> idempotency_key_reused
        {other}
        end
        request   pay  -> replayed
        transfer  t1  world alice 5
        end
        lookup    t2   nothing
        account   bob  nothing
        balance   alice  posted 5 frozen nothing
    """)


def test_exists_is_repeated_as_it_was_first_told():
    check(f"""
        {BASE}
        transfer  t1  world alice 5
        request   again
        transfer  t1  world alice 5  -> exists
        end
        advance   1h
        request   again  -> replayed
        transfer  t1  world alice 5  -> exists
        end
        request   reopened
        open      alice  -> exists
        end
        request   reopened  -> replayed
        open      alice  -> exists
        end
    """)


def test_a_request_decided_too_late_expires_and_its_ids_stay_free():
    check(f"""
        {BASE}
        request   late  expires=-1ns
        transfer  t1  world alice 5  -> request_expired
        transfer  t2  nobody alice 5  -> request_expired
        end
        request   late2  expires=-1s
        open      bob  -> request_expired
        end
        request   late3  expires=-1s
        freeze    alice  -> request_expired
        end
        account   bob  nothing
        balance   alice  posted 0 frozen nothing
        transfer  t1  world alice 5
        transfer  t2  world alice 5
        advance   1h
        request   late  -> replayed
        transfer  t1  world alice 5  -> request_expired
        transfer  t2  nobody alice 5  -> request_expired
        end
    """)


def test_a_request_decided_at_its_last_nanosecond_is_in_time():
    check(f"""
        {BASE}
        advance   1s
        request   just  expires=0ns
        transfer  t1  world alice 5
        end
        advance   1s
        request   early  expires=1ns
        transfer  t2  world alice 5
        end
    """)


def test_the_same_ids_in_two_tenants_are_different_things():
    check("""
        tenant    north
        open      world  overdraft
        open      alice  overdraft code=5
        request   pay
        transfer  t1  world alice 5
        end
        freeze    alice
        tenant    south
        account   alice  nothing
        lookup    t1  nothing
        freeze    alice  -> account_not_found
        transfer  t9  world alice 5  -> debit_account_not_found
        open      world  overdraft
        transfer  t8  world alice 5  -> credit_account_not_found
        open      alice  overdraft code=6
        request   pay
        transfer  t1  alice world 7
        end
        balance   alice  posted -7 frozen nothing
        lookup    t1  amount 7
        tenant    north
        balance   alice  posted 5 frozen both
        lookup    t1  amount 5
        transfer  t8  world alice 5  -> credit_account_frozen   # spent in the other tenant only
        request   pay  -> replayed
        transfer  t1  world alice 5
        end
    """)


def test_an_id_is_known_long_after_it_left_the_window():
    others = "\n".join(f"transfer n{place} world alice 1" for place in range(60))  # the window holds 16
    check(
        f"""
        {BASE}
        request   pay
        transfer  t1  world alice 5
        end
        transfer  t2  nobody alice 5  -> debit_account_not_found
        {others}
        request   pay  -> replayed
        transfer  t1  world alice 5
        end
        transfer  t1  world alice 5  -> exists
        transfer  t1  world alice 6  -> exists_with_different_amount
        transfer  t2  world alice 5  -> id_already_failed
        lookup    t1  amount 5
        lookup    t2  nothing
        balance   alice  posted 65
        """,
        ways=("alone", "restarted"),
    )
