import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick import ids
from tallystick.errors import Invalid

numbers = st.integers(0, ids.ID_MAX)


@given(numbers)
def test_every_spelling_of_a_uuid_is_the_same_id(number):
    plain = uuid.UUID(int=number)
    for text in (
        plain.hex,
        str(plain),
        plain.hex.upper(),
        str(plain).upper(),
        plain.urn,
        plain.urn.upper(),
        f"{{{plain}}}",
    ):
        assert ids.parse(text) == number


@given(numbers)
def test_what_is_shown_parses_to_the_same_number(number):
    assert ids.parse(ids.show(number)) == number
    assert len(ids.show(number)) == 32


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "f" * 31,
        "f" * 33,
        "g" * 32,
        " " + "f" * 32,
        "f" * 32 + "\n",
        "0x" + "f" * 30,
        "-" + "f" * 31,
        "f" * 8 + "_" + "f" * 23,
        "٣" * 32,
        "00000000-0000-0000-0000-00000000000",
        "00000000-0000-0000-0000000000000000",
        "{00000000-0000-0000-0000-000000000000",
        "ſ" + "0" * 31,
        "00000000-0000-0000-0000-000000000000}",
        "urn:uuid:" + "f" * 32 + "f",
        "urn:uuid:{00000000-0000-0000-0000-000000000000}",
    ],
)
def test_anything_else_is_refused_and_the_field_named(text):
    with pytest.raises(Invalid) as caught:
        ids.parse(text, "debit_account_id")
    assert caught.value.field == "debit_account_id"


@given(st.integers(0, (1 << 48) * 1_000_000 - 1), st.binary(min_size=10, max_size=10))
def test_a_time_ordered_id_is_a_uuid_of_version_7_that_holds_the_milliseconds(now_ns, noise):
    made = uuid.UUID(int=ids.time_ordered(now_ns, lambda count: noise[:count]))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == now_ns // 1_000_000


def test_all_74_bits_of_entropy_reach_a_time_ordered_id():
    low = ids.time_ordered(0, lambda count: bytes(count))
    high = ids.time_ordered(0, lambda count: b"\xff" * count)
    assert (low ^ high).bit_count() == 74


def test_later_milliseconds_give_greater_ids():
    noisy_then_quiet = [
        ids.time_ordered(1_000_000, lambda count: b"\xff" * count),
        ids.time_ordered(2_000_000, lambda count: bytes(count)),
    ]
    assert noisy_then_quiet == sorted(noisy_then_quiet)


@given(st.integers(1, ids.ID_MAX - 1))
def test_a_uuid_shaped_key_is_the_request_id(number):
    assert ids.request_id(str(uuid.UUID(int=number))) == number
    assert ids.request_id(ids.show(number).upper()) == number


@given(st.text(min_size=1, max_size=255))
def test_any_other_key_becomes_a_uuid_of_version_8(key):
    try:
        ids.parse(key)
    except Invalid:
        made = uuid.UUID(int=ids.request_id(key))
        assert (made.version, made.variant) == (8, uuid.RFC_4122)
        assert ids.request_id(key) == made.int


def test_other_keys_become_other_ids():
    keys = [f"order-{number}" for number in range(1000)] + ["order-1 ", "Order-1", "ordér-1"]
    assert len({ids.request_id(key) for key in keys}) == len(keys)


def test_the_hashed_request_id_never_changes():
    assert (
        ids.show(ids.request_id("order-1")) == "e18e86c8be188e08beb1471094e92aa3"
    )  # SHA-256 by another program, version and variant set


@pytest.mark.parametrize("key", ["", "k" * 256, "0" * 32, "f" * 32, str(uuid.UUID(int=0)), "\ud800"])
def test_a_key_that_cannot_be_a_request_id_is_refused(key):
    with pytest.raises(Invalid) as caught:
        ids.request_id(key)
    assert caught.value.field == "Idempotency-Key"


@given(numbers, st.integers(0, 8189))
def test_a_derived_id_keeps_the_request_s_upper_48_bits(request_id, index):
    made = ids.derived(request_id, index)
    assert made >> 80 == request_id >> 80
    assert 0 <= made <= ids.ID_MAX
    assert ids.derived(request_id, index) == made


def test_derived_ids_of_a_full_request_and_of_its_neighbour_are_all_different():
    request_id = 0x0199_0000_0000_7000_8000_0000_0000_0000
    made = {ids.derived(request_id + step, index) for step in (0, 1) for index in range(8190)}
    assert len(made) == 2 * 8190
