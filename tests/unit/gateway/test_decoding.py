"""What JSON says arrives in the event's bytes, and what cannot be understood is refused by the name of its field."""

import contextlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import astuple

from tallystick import ids
from tallystick.errors import Invalid
from tallystick.gateway import decoding, shapes
from tallystick.records.commands import (
    ACCOUNT_EVENT,
    CONTROL_EVENT,
    TRANSFER_EVENT,
    AccountFlag,
    Opcode,
    Side,
    TransferFlag,
)

REQUEST = 0x0190F3C1A2B37C4D8E9F0A1B2C3D4E5F
PLAIN = {"debit_account_id": "1" * 32, "credit_account_id": "2" * 32, "amount": "5", "ledger": 1, "code": 2}


def transfer(body: Any) -> tuple[Any, bytes]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    asked = decoding.decode(decoding.transfer_decoder, data)
    fields = astuple(asked)
    decoding.refuse_repeated_keys(data, decoding.set_count(fields))
    event, metadata = decoding.transfer_event(fields[: decoding.TRANSFER_FIELDS], REQUEST, 0)
    return np.frombuffer(event, TRANSFER_EVENT)[0], metadata


def account(body: Any) -> Any:
    asked = decoding.decode(decoding.accounts_decoder, json.dumps(body).encode())
    own = len(shapes.AccountIn.__struct_fields__)
    return np.frombuffer(decoding.account_event(astuple(asked)[:own], REQUEST, 0), ACCOUNT_EVENT)[0]


def wide(row: Any, name: str) -> int:
    return int(row[f"{name}_lo"]) | int(row[f"{name}_hi"]) << 64


def unsigned(bits: int) -> st.SearchStrategy[int]:
    edges = [0, 1, 2**31, 2**32 - 1, 2**53 + 1, 2**63, 2**64 - 1, 2**64, 2**127, 2**128 - 1]
    return st.one_of(st.integers(0, 2**bits - 1), st.sampled_from([edge for edge in edges if edge < 2**bits]))


def spelled(number: int, draw: Any) -> str:
    text = f"{number:032x}"
    dashed = f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
    return str(draw(st.sampled_from([text, text.upper(), dashed, f"{{{dashed}}}", f"urn:uuid:{dashed}"])))


WRONG_IDS = ("", "1", "g" * 32, "1" * 33, "1" * 31 + " ", 1, None)
WRONG_COMMITMENTS = ("", "0" * 64, "1" * 63, "g" * 64, "11 " * 21 + "1", 1, None)
WIDE_IDS = ("id", "debit_account_id", "credit_account_id", "pending_id", "user_data_128")


@given(data=st.data())
def test_every_field_of_a_transfer_arrives_as_it_was_sent(data: st.DataObject) -> None:
    draw = data.draw
    numbers: dict[str, int] = {name: draw(unsigned(128)) for name in (*WIDE_IDS, "amount")}
    numbers |= {name: draw(unsigned(64)) for name in ("user_data_64", "timestamp")}
    numbers |= {name: draw(unsigned(32)) for name in ("user_data_32", "timeout", "ledger")}
    numbers["code"] = draw(unsigned(16))
    flags = draw(st.sets(st.sampled_from(list(TransferFlag))))
    body: dict[str, Any] = dict(numbers)
    for name in WIDE_IDS:
        body[name] = spelled(numbers[name], draw)
    for name in ("amount", "user_data_64", "timestamp"):
        if draw(st.booleans()):
            body[name] = str(numbers[name])
    body["flags"] = [str(flag.name).lower() for flag in flags]
    promise = draw(st.one_of(st.none(), st.binary(min_size=32, max_size=32).filter(any)))
    if promise is not None:
        body["metadata_commitment"] = promise.hex()
    row, metadata = transfer(json.dumps(body, indent=draw(st.sampled_from([None, 2]))).encode())
    assert {name: wide(row, name) for name in (*WIDE_IDS, "amount")} == {n: numbers[n] for n in (*WIDE_IDS, "amount")}
    for name in ("user_data_64", "timestamp", "user_data_32", "timeout", "ledger", "code"):
        assert int(row[name]) == numbers[name], name
    assert int(row["flag_bits"]) == sum(flags)
    assert metadata == (promise or b"")


def test_what_is_left_out_is_zero_and_the_id_derives_from_the_request() -> None:
    row, metadata = transfer(PLAIN)
    assert wide(row, "id") == ids.derived(REQUEST, 0)
    assert metadata == b""
    assert [int(row[name]) for name in ("pending_id_lo", "timeout", "flag_bits", "timestamp", "user_data_64")] == [
        0
    ] * 5


@pytest.mark.parametrize("field", ["debit_account_id", "credit_account_id", "amount", "ledger", "code"])
def test_a_plain_transfer_needs_its_fields(field: str) -> None:
    body = {name: value for name, value in PLAIN.items() if name != field}
    refused(body, field)
    transfer({**body, "flags": ["void_pending_transfer"], "pending_id": "3" * 32})
    posting = {**body, "flags": ["post_pending_transfer"], "pending_id": "3" * 32}
    if field == "amount":
        refused(posting, field)
    else:
        transfer(posting)


def refused(body: Any, field: str) -> Invalid:
    with pytest.raises(Invalid) as caught:
        transfer(body)
    assert caught.value.field == field, str(caught.value)
    assert "`" not in caught.value.message
    return caught.value


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        *(({"amount": value}, "amount") for value in (
            -1, "-1", 1.5, "1.5", 1e3, "1e3", "", " 1", "1 ", "+1", "1_000", "1,000", "٣",
            2**128, str(2**128), None, True, [], {},
        )),
        *(({"ledger": value}, "ledger") for value in (-1, 2**32, 1.0, "1", None, True)),
        *(({"code": value}, "code") for value in (-1, 2**16, 1.0, "1")),
        *(({"user_data_32": value}, "user_data_32") for value in (-1, 2**32, "1")),
        *(({"user_data_64": value}, "user_data_64") for value in (-1, 2**64, str(2**64), 0.5)),
        *(({"timestamp": value}, "timestamp") for value in (-1, 2**64, "2026-01-01T00:00:00Z")),
        *(({"timeout": value}, "timeout") for value in (-1, 2**32, "1")),
        *(({name: value}, name) for name in WIDE_IDS for value in WRONG_IDS),
        ({"flags": "linked"}, "flags"),
        ({"flags": ["linked", "unknown"]}, "flags[1]"),
        ({"flags": ["LINKED"]}, "flags[0]"),
        ({"flags": [1]}, "flags[0]"),
        *(({"metadata_commitment": value}, "metadata_commitment") for value in WRONG_COMMITMENTS),
        ({"colour": "red"}, "colour"),
        ({"Amount": "5"}, "Amount"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_refused_by_name(changes: dict[str, Any], field: str) -> None:
    refused({**PLAIN, **changes}, field)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"nonsense", b"{}x", b'{"amount":NaN}', b'{"amount":01}', b"\xff\xfe", b'{"id":"\xff"}',
     b"\xef\xbb\xbf{}", b'{"id":"\\ud800"}', b'{"amount":1,}', b"{'amount':1}", '{"amount":1}'.encode("utf-16")],
)  # fmt: skip
def test_what_is_no_json_in_utf_8_names_no_field(body: bytes) -> None:
    refused(body, "")


@pytest.mark.parametrize("body", [b"[", b"[]", b"null", b"1", b'"x"', b"[" * 100_000, b'{"flags":' + b"[" * 100_000])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        transfer(body)


def test_a_number_of_thousands_of_digits_is_refused_at_once() -> None:
    refused(b'{"amount":' + b"9" * 100_000 + b"}", "amount")
    refused({**PLAIN, "amount": "9" * 100_000}, "amount")


REPEATED = [
    (b'{"amount":"5","debit_account_id":"%s","credit_account_id":"%s","ledger":1,"code":2,"amount":"6"}', "amount"),
    (
        b'{"amount" : "5","debit_account_id":"%s","credit_account_id":"%s","ledger":1,"code":2,"\\u0061mount":"6"}',
        "amount",
    ),
    (b'{"amount":"5","debit_account_id":"%s","credit_account_id":"%s","ledger":1,"ledger":1,"code":2}', "ledger"),
]


@pytest.mark.parametrize(("text", "field"), REPEATED)
def test_a_key_that_stands_twice_is_refused(text: bytes, field: str) -> None:
    refused(text % (b"1" * 32, b"2" * 32), field)


def test_a_key_repeated_deep_in_a_batch_is_refused() -> None:
    one = json.dumps(PLAIN)
    body = f'{{"transfers":[{one},{one[:-1]},"code":2}}]}}'.encode()
    asked = decoding.decode(decoding.transfers_decoder, body)
    keys = decoding.set_count(astuple(asked)) + sum(decoding.set_count(astuple(each)) for each in asked.transfers)
    with pytest.raises(Invalid) as caught:
        decoding.refuse_repeated_keys(body, keys)
    assert caught.value.field == "code"


@given(st.binary(max_size=200))
def test_no_bytes_bring_the_decoder_down(body: bytes) -> None:
    for decoder in (
        decoding.transfer_decoder,
        decoding.transfers_decoder,
        decoding.accounts_decoder,
        decoding.freeze_decoder,
        decoding.lookup_decoder,
    ):
        with contextlib.suppress(Invalid):
            decoding.decode(decoder, body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*shapes.TransferRequest.__struct_fields__, "odd"]), JSON))
def test_any_json_object_gives_128_bytes_or_names_its_culprit(body: dict[str, Any]) -> None:
    culprit = None
    try:
        row, metadata = transfer(body)
    except Invalid as error:
        culprit = error
    if culprit is None:
        assert row.nbytes == 128
        assert len(metadata) in (0, 32)
    else:
        name = culprit.field.partition("[")[0].partition(".")[0]
        assert name in {*body, "debit_account_id", "credit_account_id", "amount", "ledger", "code"}, str(culprit)


@given(
    unsigned(128), unsigned(128), unsigned(64), unsigned(32), unsigned(16), st.sets(st.sampled_from(list(AccountFlag)))
)
def test_every_field_of_an_account_arrives_and_balances_start_at_zero(
    own: int, data: int, user_data_64: int, ledger: int, code: int, flags: set[AccountFlag]
) -> None:
    names = [str(flag.name).lower() for flag in flags]
    row = account(
        {"id": f"{own:032x}", "user_data_128": f"{data:032x}", "user_data_64": str(user_data_64), "ledger": ledger,
         "code": code, "flags": names}
    )  # fmt: skip
    assert (wide(row, "id"), wide(row, "user_data_128")) == (own, data)
    assert (int(row["user_data_64"]), int(row["ledger"]), int(row["code"])) == (user_data_64, ledger, code)
    assert int(row["flag_bits"]) == sum(flags)
    for name in ("debits_pending", "debits_posted", "credits_pending", "credits_posted"):
        assert wide(row, name) == 0
    assert int(row["reserved"]) == 0


@given(unsigned(128), unsigned(32), unsigned(128), st.sampled_from(["debits", "credits", "both"]))
def test_a_freeze_arrives_as_a_control_record(account_id: int, reason: int, actor: int, side: str) -> None:
    body = shapes.FreezeRequest(side, reason, f"{actor:032x}")
    event = decoding.freeze_event(account_id.to_bytes(16, "little"), Opcode.FREEZE, body)
    row = np.frombuffer(event, CONTROL_EVENT)[0]
    assert (wide(row, "account_id"), wide(row, "actor"), int(row["reason"])) == (account_id, actor, reason)
    assert Side(wide(row, "value")) is Side[side.upper()]
    assert int(row["opcode"]) == Opcode.FREEZE
    assert not row["reserved_64"].any()
    assert not row["flag_bits"]


@given(unsigned(128), unsigned(128))
def test_a_credit_limit_arrives_as_a_control_record(account_id: int, limit: int) -> None:
    body = shapes.CreditLimitRequest(str(limit), 1, "0" * 32)
    row = np.frombuffer(decoding.credit_limit_event(account_id.to_bytes(16, "little"), body), CONTROL_EVENT)[0]
    assert (wide(row, "account_id"), wide(row, "value"), int(row["opcode"])) == (account_id, limit, Opcode.CREDIT_LIMIT)


@given(unsigned(128), unsigned(32), unsigned(128), st.sampled_from([Opcode.APPROVE, Opcode.REJECT]))
def test_a_review_arrives_as_a_control_record_about_a_transfer(
    transfer_id: int, reason: int, actor: int, opcode: Opcode
) -> None:
    body = shapes.ReviewRequest(reason, f"{actor:032x}")
    row = np.frombuffer(decoding.review_event(transfer_id.to_bytes(16, "little"), opcode, body), CONTROL_EVENT)[0]
    assert (wide(row, "account_id"), wide(row, "value"), wide(row, "actor")) == (0, transfer_id, actor)
    assert (int(row["reason"]), int(row["opcode"]), int(row["flag_bits"])) == (reason, opcode, 0)


def test_a_review_by_nobody_is_refused() -> None:
    with pytest.raises(Invalid) as caught:
        decoding.review_event(bytes(16), Opcode.APPROVE, shapes.ReviewRequest(1, "me"))
    assert caught.value.field == "actor"


def test_an_unknown_side_is_refused() -> None:
    with pytest.raises(Invalid) as caught:
        decoding.freeze_event(bytes(16), Opcode.FREEZE, shapes.FreezeRequest("left", 1, "0" * 32))
    assert caught.value.field == "side"
