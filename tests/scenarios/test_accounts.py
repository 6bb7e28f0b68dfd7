"""Opening accounts, and what they say when they are opened again."""

import pytest

from tallystick.lab.scenarios import check


def test_an_account_that_exists_says_so_and_when_it_was_opened():
    check("""
        open  alice  history user_data_128=2^100 user_data_64=2^63 user_data_32=5 ledger=7 code=9
        open  alice  history user_data_128=2^100 user_data_64=2^63 user_data_32=5 ledger=7 code=9  -> exists
        open  alice  closed  user_data_128=2^100 user_data_64=2^63      -> exists_with_different_flags
        open  alice  history user_data_128=2^100+1 ledger=8             -> exists_with_different_user_data_128
        open  alice  history user_data_128=2^100 user_data_64=1         -> exists_with_different_user_data_64
        open  alice  history user_data_128=2^100 user_data_64=2^63      -> exists_with_different_user_data_32
        open  alice  history user_data_128=2^100 user_data_64=2^63 user_data_32=5  -> exists_with_different_ledger
        open  alice  history user_data_128=2^100 user_data_64=2^63 user_data_32=5 ledger=7 -> exists_with_different_code
    """)


def test_an_account_is_opened_once_within_a_request():
    check("""
        request  r1
        open  alice
        open  alice  -> exists
        open  alice  code=2  -> exists_with_different_code
        open  bob
        end
        balance  bob  posted 0
    """)


def test_a_refused_account_is_not_there_and_its_id_stays_free():
    check("""
        open     alice  ledger=0  -> ledger_must_not_be_zero
        account  alice  nothing
        open     alice
    """)


@pytest.mark.parametrize("flag", ["flags=64", "flags=32768"])
def test_flags_that_are_none_are_refused_not_ignored(flag):
    check(f"open alice overdraft {flag} -> reserved_flag")


def test_books_that_are_full_refuse_accounts_and_go_on_moving_money():
    check(
        """
        open      world  overdraft
        open      alice
        open      bob    -> too_many_accounts
        open      bob    ledger=0  -> ledger_must_not_be_zero
        open      alice  -> exists
        transfer  t1  world alice 5
        transfer  t2  world bob 5  -> credit_account_not_found
        request   r1
        open      carol  -> too_many_accounts
        open      dave   -> too_many_accounts
        end
        balance   alice  posted 5
        """,
        accounts_max=2,
    )


def test_an_account_opened_closed_takes_no_transfer_on_either_side():
    check("""
        open      world  overdraft
        open      shut   overdraft closed
        transfer  t1  world shut 0  -> credit_account_already_closed
        transfer  t2  shut world 0  -> debit_account_already_closed
        freeze    shut
        transfer  t3  shut world 0  -> debit_account_already_closed
        open      shut   overdraft  -> exists_with_different_flags
        balance   shut   posted 0
    """)


def test_a_closed_account_is_told_of_on_the_debit_side_first():
    check("""
        open      shut   overdraft closed
        open      gone   overdraft closed
        transfer  t1  shut gone 1  -> debit_account_already_closed
    """)
