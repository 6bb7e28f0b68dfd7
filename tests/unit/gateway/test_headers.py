"""Headers are understood or refused by name."""

import uuid

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tallystick import ids
from tallystick.errors import Invalid
from tallystick.gateway import headers
from tallystick.gateway.problems import Problem

HEX = "0190f3c1a2b37c4d8e9f0a1b2c3d4e5f"
DASHED = str(uuid.UUID(HEX))


@pytest.mark.parametrize(
    "spelling",
    [HEX, HEX.upper(), DASHED, DASHED.upper(), f"{{{DASHED}}}", f"urn:uuid:{DASHED}", f'"{DASHED}"', f'"{HEX}"'],
)
def test_every_spelling_of_a_uuid_is_the_same_request_id(spelling: str) -> None:
    assert headers.request_id({"idempotency-key": spelling}, None) == int(HEX, 16)
    assert headers.request_id({}, spelling.strip('"')) == int(HEX, 16)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=255))
def test_the_quick_way_gives_the_id_that_the_general_way_gives(key: str) -> None:
    bare = key[1:-1] if len(key) > 2 and key[0] == key[-1] == '"' else key
    try:
        expected = ids.request_id(bare)
    except Invalid:
        with pytest.raises(Invalid):
            headers.request_id({"idempotency-key": key}, None)
    else:
        assert headers.request_id({"idempotency-key": key}, None) == expected


@given(st.text("0123456789abcdefABCDEF- _+x", min_size=32, max_size=36))
def test_what_only_looks_like_a_uuid_is_hashed_like_any_text(key: str) -> None:
    assume(key.lower() not in ("0" * 32, "f" * 32))
    assert headers.request_id({"idempotency-key": key}, None) == ids.request_id(key)


@pytest.mark.parametrize("key", ["", "0" * 32, "f" * 32, str(uuid.UUID(int=0)), "x" * 256, "tab\there", "é", "\x7f"])
def test_keys_that_are_none_are_refused(key: str) -> None:
    with pytest.raises(Invalid) as caught:
        headers.request_id({"idempotency-key": key}, None)
    assert caught.value.field == "Idempotency-Key"
    with pytest.raises(Invalid) as caught:
        headers.request_id({}, key)
    assert caught.value.field == "request_id"


def test_a_request_without_id_is_a_problem() -> None:
    with pytest.raises(Problem) as caught:
        headers.request_id({}, None)
    assert caught.value.type.name == "missing_idempotency_key"


def test_header_and_body_may_both_name_the_request_if_they_agree() -> None:
    assert headers.request_id({"idempotency-key": DASHED}, HEX) == int(HEX, 16)
    with pytest.raises(Invalid) as caught:
        headers.request_id({"idempotency-key": DASHED}, "another")
    assert caught.value.field == "request_id"


@pytest.mark.parametrize(
    ("prefer", "wait_s"),
    [
        ("respond-async", 0.0),
        ("Respond-Async", 0.0),
        ("wait=0", 0.0),
        ("wait=30", 30.0),
        ('wait="7"', 7.0),
        ("wait = 7", 7.0),
        ("return=minimal, wait=3; foo=bar", 3.0),
        ("respond-async, wait=5", 5.0),
        ("wait=5, wait=6", 5.0),
        ("handling=lenient", 2.0),
        ("", 2.0),
    ],
)
def test_preferences_are_followed_and_unknown_ones_ignored(prefer: str, wait_s: float) -> None:
    assert headers.wait_s(prefer, 2.0) == wait_s


@pytest.mark.parametrize(
    "prefer", ["wait", "wait=", "wait=31", "wait=-1", "wait=1.5", "wait=1e1", "wait=٣", "wait=" + "9" * 400]
)
def test_a_wait_that_is_no_number_of_seconds_is_refused(prefer: str) -> None:
    with pytest.raises(Invalid) as caught:
        headers.wait_s(prefer, 2.0)
    assert caught.value.field == "Prefer"


@pytest.mark.parametrize(
    "text", ["application/json", "application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"']
)
def test_json_may_say_that_it_is_utf_8(text: str) -> None:
    assert headers.content_type(text, (headers.JSON,)) == headers.JSON


@pytest.mark.parametrize(
    "text", ["", "text/json", "application/json; charset=latin-1", "application/jsonx", ";", "application/octet-stream"]
)
def test_other_content_types_are_refused(text: str) -> None:
    with pytest.raises(Problem) as caught:
        headers.content_type(text, (headers.JSON,))
    assert caught.value.type.name == "unsupported_media_type"


def head(*fields: tuple[bytes, bytes]) -> headers.Head:
    found = headers.Head()
    for name, value in fields:
        found.add(name, value)
    return found


def test_a_header_that_decides_something_may_not_stand_twice() -> None:
    with pytest.raises(Invalid, match="Idempotency-Key"):
        head((b"Idempotency-Key", b"a"), (b"idempotency-KEY", b"b")).check()
    assert head((b"Prefer", b"wait=1"), (b"prefer", b"foo")).fields == {"prefer": "wait=1, foo"}


def test_fields_are_found_in_any_spelling_and_those_nobody_reads_are_only_counted() -> None:
    found = head((b"X-REQUEST-ID", b"a\xe9"), (b"Via", b"a"), (b"Via", b"b"))
    found.check()
    assert (found.fields, found.count) == ({"x-request-id": "a\xe9"}, 3)


def test_there_are_only_so_many_fields() -> None:
    head(*[(b"X-%d" % number, b"") for number in range(64)]).check()
    with pytest.raises(Problem, match="headers_too_large"):
        head(*[(b"X-%d" % number, b"") for number in range(65)]).check()


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("http://bank.example/v1/x?y=1", "/v1/x?y=1"),
        ("HTTPS://bank.example", "/"),
        ("*", "*"),
        ("bank.example:443", "*"),
        ("ftp://bank.example/v1", "*"),
    ],
)
def test_a_target_in_absolute_form_is_a_path_too(target: str, path: str) -> None:
    assert headers.origin_form(target) == path


@pytest.mark.parametrize(
    ("header", "in_body", "expected"),
    [
        (None, None, 0),
        ("5", None, 5),
        (None, "6", 6),
        (None, 7, 7),
        ("8", "8", 8),
        ("18446744073709551615", None, 2**64 - 1),
    ],
)
def test_expiry_comes_from_header_or_body(header: str | None, in_body: str | int | None, expected: int) -> None:
    given = {} if header is None else {"expires-at": header}
    assert headers.expires_at(given, in_body) == expected


@pytest.mark.parametrize(
    ("header", "in_body", "field"),
    [
        ("-1", None, "Expires-At"),
        ("18446744073709551616", None, "Expires-At"),
        ("2026-01-01T00:00:00Z", None, "Expires-At"),
        (None, "1.5", "expires_at"),
        ("5", 6, "expires_at"),
    ],
)
def test_expiries_that_are_none_are_refused_by_name(header: str | None, in_body: str | int | None, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        headers.expires_at({} if header is None else {"expires-at": header}, in_body)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("asked", "echoed"),
    [("abc-1", True), ("x" * 128, True), ("x" * 129, False), ("a b", False), ("é", False), ("", False)],
)
def test_an_exchange_id_is_echoed_if_it_is_harmless(asked: str, echoed: bool) -> None:
    assert headers.exchange(asked) == (asked if echoed else None)
