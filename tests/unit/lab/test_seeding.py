from tallystick.lab import seeding
from tallystick.lab.replay.payments import Reader
from tallystick.lab.seeding import SeededHistory, Size

SMALL = Size(customers=30, days=35)


def payments(seed, size=SMALL):
    meant = seeding.mapping(seed, size)
    reader = Reader(meant, meant.name)
    return [reader.payment(*row) for part in SeededHistory(seed, size).rows(0) for row in part]


def test_the_same_seed_is_the_same_bank_to_the_last_id():
    assert payments(1) == payments(1)


def test_another_seed_is_another_bank():
    assert {each.transfer_id for each in payments(1)}.isdisjoint(each.transfer_id for each in payments(2))


def test_what_is_paid_is_in_order_of_time_and_of_a_bank_s_month():
    made = payments(3)
    assert [each.time_ns for each in made] == sorted(each.time_ns for each in made)
    by_code = {code: [each for each in made if each.code == code] for code in {each.code for each in made}}
    assert len(by_code[seeding.SALARY]) == 2 * SMALL.customers
    assert len(by_code[seeding.RENT]) == 2 * SMALL.customers
    assert len(by_code[seeding.FEE]) == SMALL.customers
    assert all(each.amount > 0 and each.ledger == 978 for each in made)


def test_one_customer_has_no_friend_to_pay():
    assert payments(1, Size(customers=1, days=60))


def test_rows_can_be_read_from_any_one_on():
    history = SeededHistory(1, SMALL)
    every = [row for part in history.rows(0) for row in part]
    assert len(every) == history.count
    assert [row for part in history.rows(100) for row in part] == every[100:]
