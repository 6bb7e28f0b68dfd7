"""Nobody gets in without a key that stands in the file, and the file is written whole."""

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from tallystick.errors import Invalid
from tallystick.gateway.auth import KeyRecord, Keys, add_key, key_hash, list_keys, make_key, revoke_key
from tallystick.gateway.problems import Problem

NOW_NS = 1_700_000_000_123_456_789


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "keys.json"


def add(path: Path, name: str = "shop", tenant: int = 7, scopes: tuple[str, ...] = ("read", "pay")) -> str:
    key = make_key(os.urandom)
    add_key(path, key, tenant, name, scopes, NOW_NS)
    return key


def denied(keys: Keys, authorization: str | None, now_s: float = 0.0) -> Problem:
    with pytest.raises(Problem) as caught:
        keys.principal(authorization, now_s)
    assert caught.value.type.name == "unauthenticated"
    assert caught.value.headers["www-authenticate"].startswith("Bearer ")
    return caught.value


def test_a_key_has_256_bits_and_only_its_hash_is_kept(path: Path) -> None:
    key = add(path)
    assert key.startswith("sk_")
    assert len(bytes.fromhex(key[3:])) == 32
    text = path.read_text()
    assert key not in text
    assert key[3:] not in text
    assert list_keys(path) == [KeyRecord(key_hash(key), 7, "shop", ["read", "pay"], "2023-11-14T22:13:20Z")]


def test_the_keys_file_is_readable_by_its_owner_only(path: Path) -> None:
    add(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_key_gives_its_tenant_and_scopes(path: Path) -> None:
    principal = Keys(path).principal(f"Bearer {add(path)}", 0.0)
    assert (principal.tenant, principal.name, principal.scopes) == (7, "shop", {"read", "pay"})


def test_the_scheme_may_be_in_any_case(path: Path) -> None:
    key = add(path)
    assert Keys(path).principal(f"bearer {key}", 0.0).tenant == 7


@pytest.mark.parametrize(
    "wrong", [None, "", "Bearer", "Bearer ", "Basic {key}", "{key}", "Bearer {key} ", "Bearer {upper}"]
)
def test_anything_but_the_very_key_is_denied(path: Path, wrong: str | None) -> None:
    key = add(path)
    keys = Keys(path)
    denied(keys, wrong and wrong.format(key=key, upper=key.upper()))
    denied(keys, f"Bearer {key_hash(key)}")


def test_without_a_file_nobody_gets_in(path: Path) -> None:
    denied(Keys(path), "Bearer " + make_key(os.urandom))


def test_a_new_key_is_noticed_within_250_ms_and_not_looked_for_sooner(path: Path) -> None:
    keys = Keys(path)
    key = make_key(os.urandom)
    denied(keys, f"Bearer {key}", 10.0)
    add_key(path, key, 7, "late", ["read"], NOW_NS)
    denied(keys, f"Bearer {key}", 10.2)
    assert keys.principal(f"Bearer {key}", 10.25).name == "late"


def test_a_revoked_key_is_out_within_250_ms(path: Path) -> None:
    key, other = add(path), add(path, "other")
    keys = Keys(path)
    keys.principal(f"Bearer {key}", 0.0)
    assert revoke_key(path, "shop").sha256 == key_hash(key)
    denied(keys, f"Bearer {key}", 0.25)
    assert keys.principal(f"Bearer {other}", 0.25).name == "other"


def test_a_removed_file_lets_nobody_in(path: Path) -> None:
    key = add(path)
    keys = Keys(path)
    keys.principal(f"Bearer {key}", 0.0)
    path.unlink()
    denied(keys, f"Bearer {key}", 1.0)


GOOD = {"sha256": "0" * 64, "tenant": 1, "name": "n", "scopes": ["read"], "created_at": ""}
MALFORMED = [
    "",
    "{}",
    "[1]",
    "[{]",
    json.dumps([{**GOOD, "tenant": 0}]),
    json.dumps([{**GOOD, "tenant": 1 << 64}]),
    json.dumps([{**GOOD, "scopes": ["root"]}]),
    json.dumps([{**GOOD, "scopes": []}]),
    json.dumps([{**GOOD, "sha256": "0" * 63}]),
    json.dumps([{**GOOD, "name": ""}]),
    json.dumps([{**GOOD, "more": 1}]),
    json.dumps([GOOD, {**GOOD, "name": "m"}]),
]


@pytest.mark.parametrize("text", MALFORMED)
def test_a_malformed_file_leaves_the_last_good_keys_in_force_and_is_refused_by_the_tools(path: Path, text: str) -> None:
    key = add(path)
    keys = Keys(path)
    keys.principal(f"Bearer {key}", 0.0)
    path.write_text(text)
    assert keys.principal(f"Bearer {key}", 1.0).tenant == 7
    with pytest.raises(Invalid):
        list_keys(path)
    with pytest.raises(Invalid):
        add_key(path, make_key(os.urandom), 1, "x", ["read"], NOW_NS)
    assert path.read_text() == text


def test_a_malformed_file_from_the_start_lets_nobody_in(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("[{]")
    denied(Keys(path), "Bearer " + make_key(os.urandom))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "shop"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"tenant": 0}, "tenant"),
        ({"tenant": -1}, "tenant"),
        ({"tenant": 1 << 64}, "tenant"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["read", "admin"]}, "scopes"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused_by_field(path: Path, changes: dict[str, Any], field: str) -> None:
    add(path)
    before = path.read_bytes()
    given = {"tenant": 1, "name": "new", "scopes": ["read"], **changes}
    with pytest.raises(Invalid) as caught:
        add_key(path, make_key(os.urandom), now_ns=NOW_NS, **given)
    assert caught.value.field == field
    assert path.read_bytes() == before


def test_revoking_an_unknown_name_is_refused(path: Path) -> None:
    with pytest.raises(Invalid, match="no key is called"):
        revoke_key(path, "nobody")


def test_keys_added_at_the_same_time_are_all_kept(path: Path) -> None:
    threads = [threading.Thread(target=add, args=(path, f"key {number}")) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {record.name for record in list_keys(path)} == {f"key {number}" for number in range(16)}
