"""The API over real HTTP: a gateway process of its own, real lanes and sockets, and the small stand-in engine."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from tallystick.answers.port import RESULT
from tallystick.blockfile.disk import SystemDisk
from tallystick.records.commands import COMMANDS_MAX, TRANSFER_EVENT, Kind
from tallystick.settings import Settings
from tests.e2e.gateway.running import Gateway, Told
from tests.e2e.gateway.standin import StandIn

ALICE, SHOP = f"{0xA11CE:032x}", f"{0x50FF:032x}"


class World:
    def __init__(self, data: Path) -> None:
        self.engine = StandIn(Settings(data=data)).start()  # type: ignore[call-arg]
        self.gateway = Gateway(data, body_bytes_max=1_500_000)
        self.gateway.__enter__()
        self.ask = self.gateway.ask

    def applied(self) -> int:
        return self.engine.decided


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("gateway"))
    body = {"accounts": [{"id": id, "ledger": 1, "code": 1} for id in (ALICE, SHOP)]}
    assert world.ask("POST", "/v1/accounts", body).status == 200
    yield world
    assert world.gateway.stop() == 0
    world.engine.stop()
    errors = [line for line in world.gateway.log if line.get("level") in ("error", "critical") or "unreadable" in line]
    assert errors == []


def transfer(**changes: Any) -> dict[str, Any]:
    return {"debit_account_id": ALICE, "credit_account_id": SHOP, "amount": "5", "ledger": 1, "code": 1, **changes}


def pay(world: World, idempotency_key: str = "", headers: dict[str, str] | None = None, **changes: Any) -> Told:
    return world.ask("POST", "/v1/transfers", transfer(**changes), headers, idempotency_key=idempotency_key)


def test_a_created_transfer_is_201_and_can_be_looked_up(world: World) -> None:
    id = uuid4()
    told = pay(world, id=str(id), amount="123", user_data_64=str(2**64 - 1), flags=["linked"])
    assert told.status == 201
    assert told.headers["content-type"] == "application/json"
    assert told.json["id"] == id.hex
    assert told.json["status"] == "created"
    assert int(told.json["timestamp"]) > 0
    assert "idempotent-replayed" not in told.headers
    found = world.ask("GET", f"/v1/transfers/{id}")
    assert found.status == 200
    assert found.json == {
        "id": id.hex, "debit_account_id": ALICE, "credit_account_id": SHOP, "amount": "123", "pending_id": "0" * 32,
        "user_data_128": "0" * 32, "user_data_64": str(2**64 - 1), "user_data_32": 0, "timeout": 0, "ledger": 1,
        "code": 1, "flags": ["linked"], "timestamp": told.json["timestamp"],
    }  # fmt: skip


def test_an_existing_transfer_under_another_key_is_200(world: World) -> None:
    id = uuid4().hex
    assert pay(world, id=id).status == 201
    again = pay(world, id=id)
    assert (again.status, again.json["status"]) == (200, "exists")


def test_a_refusal_is_a_problem_that_tells_status_and_transience(world: World) -> None:
    told = pay(world, debit_account_id="9" * 32)
    assert (told.status, told.problem) == (422, "refused")
    assert told.json["outcome"] == "debit_account_not_found"
    assert told.json["transient"] is True
    assert int(told.json["timestamp"]) > 0


def test_a_replay_gives_the_first_status_and_body_and_says_so(world: World) -> None:
    for changes in ({}, {"debit_account_id": "9" * 32}):
        key = str(uuid4())
        first, again = (pay(world, key, **changes) for _ in range(2))
        assert again.status == first.status
        assert again.headers["idempotent-replayed"] == "true"
        first_body, again_body = first.json, again.json
        first_body.pop("instance", None)
        again_body.pop("instance", None)
        assert again_body == first_body


def test_another_spelling_of_a_uuid_is_the_same_key(world: World) -> None:
    key = uuid4()
    assert pay(world, str(key)).status == 201
    for spelling in (key.hex, str(key).upper(), f"urn:uuid:{key}"):
        assert pay(world, spelling).headers["idempotent-replayed"] == "true"


def test_a_key_with_other_content_is_refused_and_nothing_is_shown(world: World) -> None:
    key = str(uuid4())
    first = pay(world, key)
    told = pay(world, key, amount="6")
    assert (told.status, told.problem) == (422, "idempotency_key_reused")
    assert first.json["id"].encode() not in told.body


def test_two_equal_payments_under_two_keys_both_succeed(world: World) -> None:
    first, second = pay(world), pay(world)
    assert (first.status, second.status) == (201, 201)
    assert first.json["id"] != second.json["id"]


def test_a_key_in_the_body_will_do(world: World) -> None:
    key = uuid4().hex
    told = world.ask("POST", "/v1/transfers", transfer(request_id=key), idempotency_key=None)
    assert (told.status, told.json["request_id"]) == (201, key)


def test_keys_of_two_api_keys_of_one_tenant_are_the_same(world: World) -> None:
    other = world.gateway.add_key("rotated", 7)
    key = str(uuid4())
    first = pay(world, key)
    time.sleep(0.3)  # how long a gateway may take to notice a new key is the promise under test
    again = world.ask("POST", "/v1/transfers", transfer(), key=other, idempotency_key=key)
    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers["idempotent-replayed"] == "true"


def test_another_tenants_ids_look_like_unknown_ones(world: World) -> None:
    stranger = world.gateway.add_key("stranger", 8)
    key = str(uuid4())
    first = pay(world, key)
    time.sleep(0.3)
    told = world.ask("POST", "/v1/transfers", transfer(), key=stranger, idempotency_key=key)
    assert told.json["outcome"] == "debit_account_not_found"
    assert world.ask("GET", f"/v1/transfers/{first.json['id']}", key=stranger).problem == "not_found"
    assert world.ask("GET", f"/v1/accounts/{ALICE}", key=stranger).problem == "not_found"
    assert world.ask("POST", "/v1/accounts/lookup", {"ids": [ALICE]}, key=stranger).json == {"accounts": []}


def test_a_json_batch_has_one_result_each(world: World) -> None:
    ids = [uuid4().hex for _ in range(3)]
    body = {"transfers": [transfer(id=ids[0]), transfer(id=ids[1], credit_account_id="9" * 32), transfer(id=ids[2])]}
    key = str(uuid4())
    told = world.ask("POST", "/v1/transfers/batch", body, idempotency_key=key)
    assert told.status == 200
    assert [each["id"] for each in told.json["results"]] == ids
    assert [each["status"] for each in told.json["results"]] == ["created", "credit_account_not_found", "created"]
    again = world.ask("POST", "/v1/transfers/batch", body, idempotency_key=key)
    assert (again.body, again.headers["idempotent-replayed"]) == (told.body, "true")
    found = world.ask("POST", "/v1/transfers/lookup", {"ids": ids})
    assert [each["id"] for each in found.json["transfers"]] == [ids[0], ids[2]]


def test_a_batch_of_8190_is_taken_whole_and_8191_not_at_all(world: World) -> None:
    before = world.applied()
    events = np.zeros(COMMANDS_MAX + 1, TRANSFER_EVENT)
    binary = {"Content-Type": "application/octet-stream"}
    told = world.ask("POST", "/v1/transfers/batch", events.tobytes(), binary)
    assert (told.status, told.problem, told.json["field"]) == (400, "invalid_field", "transfers")
    assert world.applied() == before
    told = world.ask("POST", "/v1/transfers/batch", events[1:].tobytes(), binary)
    assert told.status == 200
    assert len(told.body) == COMMANDS_MAX * RESULT.itemsize
    assert world.applied() == before + COMMANDS_MAX


def test_a_binary_batch_speaks_tigerbeetles_bytes(world: World) -> None:
    events = np.zeros(3, TRANSFER_EVENT)
    events["id_lo"] = [int(uuid4()) >> 64 for _ in range(3)]
    events["debit_account_id_lo"], events["credit_account_id_lo"] = int(ALICE, 16), [int(SHOP, 16), 9, int(SHOP, 16)]
    events["amount_lo"], events["ledger"], events["code"] = 7, 1, 1
    key = str(uuid4())
    binary = {"Content-Type": "application/octet-stream"}
    told = world.ask("POST", "/v1/transfers/batch", events.tobytes(), binary, idempotency_key=key)
    assert (told.status, told.headers["content-type"]) == (200, "application/octet-stream")
    results = np.frombuffer(told.body, RESULT)
    assert list(results["status"]) == [0xFFFFFFFF, 22, 0xFFFFFFFF]
    assert (np.diff(results["timestamp"].astype(np.int64)) > 0).all()
    again = world.ask("POST", "/v1/transfers/batch", events.tobytes(), binary, idempotency_key=key)
    assert again.headers["idempotent-replayed"] == "true"
    assert list(np.frombuffer(again.body, RESULT)["timestamp"]) == list(results["timestamp"])


def test_accounts_are_opened_one_by_one_and_shown(world: World) -> None:
    id = uuid4().hex
    told = world.ask("POST", "/v1/accounts", {"id": id, "ledger": 3, "code": 4, "flags": ["history"]})
    assert (told.status, told.json["id"]) == (201, id)
    shown = world.ask("GET", f"/v1/accounts/{id}").json
    assert (shown["ledger"], shown["code"], shown["flags"], shown["frozen"]) == (3, 4, ["history"], "none")
    assert shown["debits_posted"] == "0"
    assert world.ask("POST", "/v1/accounts", {"id": id, "ledger": 3, "code": 4}).json["status"] == "exists"


def test_a_freeze_stops_payments_and_an_unfreeze_lets_them_through(world: World) -> None:
    id = uuid4().hex
    world.ask("POST", "/v1/accounts", {"id": id, "ledger": 1, "code": 1})
    order = {"side": "debits", "reason": 17, "actor": uuid4().hex}
    told = world.ask("POST", f"/v1/accounts/{id}/freeze", order)
    assert (told.status, told.json["status"], told.json["account_id"]) == (200, "applied", id)
    assert world.ask("GET", f"/v1/accounts/{id}").json["frozen"] == "debits"
    key = str(uuid4())
    assert pay(world, key, debit_account_id=id).json["outcome"] == "debit_account_frozen"
    assert world.ask("POST", f"/v1/accounts/{id}/unfreeze", order).status == 200
    retried = pay(world, key, debit_account_id=id)
    assert (retried.json["outcome"], retried.headers["idempotent-replayed"]) == ("debit_account_frozen", "true")
    assert pay(world, debit_account_id=id).status == 201


def test_a_credit_limit_is_set_by_put_or_post(world: World) -> None:
    id = uuid4().hex
    world.ask("POST", "/v1/accounts", {"id": id, "ledger": 1, "code": 1})
    for method, limit in (("PUT", str(2**128 - 1)), ("POST", 5)):
        order = {"credit_limit": limit, "reason": 1, "actor": "0" * 32}
        assert world.ask(method, f"/v1/accounts/{id}/credit-limit", order).status == 200
        assert world.ask("GET", f"/v1/accounts/{id}").json["credit_limit"] == str(limit)
    order = {"credit_limit": "5", "reason": 1, "actor": "0" * 32}
    unknown = world.ask("PUT", f"/v1/accounts/{'9' * 32}/credit-limit", order)
    assert (unknown.problem, unknown.json["outcome"]) == ("refused", "account_not_found")
    assert unknown.json["account_id"] == "9" * 32


def test_control_commands_go_by_their_own_lane(world: World) -> None:
    lanes = {lane.suffix for lane in (world.gateway.data / "intake").iterdir() if lane.is_dir()}
    assert lanes == {".pay", ".control"}
    assert Kind.CONTROL in world.engine.books.kinds_in_order


def test_respond_async_is_202_at_once_and_the_location_tells_the_results(world: World) -> None:
    for prefer in ("respond-async", "wait=0"):
        told = pay(world, headers={"Prefer": prefer})
        assert told.status == 202
        assert told.json["status"] == "not_decided"
        assert told.headers["location"] == told.json["location"]
        for _ in range(100):
            found = world.ask("GET", told.headers["location"])
            if found.status == 200:
                break
        assert found.json["request_id"] == told.json["request_id"]
        assert [each["status"] for each in found.json["results"]] == ["created"]


def test_a_status_url_with_another_fingerprint_shows_nothing(world: World) -> None:
    request_id = pay(world).json["request_id"]
    told = world.ask("GET", f"/v1/requests/{request_id}?fingerprint={'1' * 64}")
    assert (told.status, told.problem) == (422, "idempotency_key_reused")
    unknown = world.ask("GET", f"/v1/requests/{uuid4()}?fingerprint={'1' * 64}")
    assert (unknown.status, unknown.json["status"]) == (202, "not_decided")


@pytest.mark.parametrize(
    ("query", "field"),
    [("", "fingerprint"), ("?fingerprint=1", "fingerprint"), ("?fingerprint=" + "1" * 64 + "&kind=x", "kind"),
     ("?fingerprint=" + "1" * 64 + "&x=1", "x"), ("?x", "query"), ("?kind=a&kind=b", "query")],
)  # fmt: skip
def test_a_status_url_that_makes_no_sense_names_its_parameter(world: World, query: str, field: str) -> None:
    told = world.ask("GET", f"/v1/requests/{uuid4()}{query}")
    assert (told.status, told.json["field"]) == (400, field)


def test_an_expired_request_is_refused_by_the_ledger(world: World) -> None:
    for told in (pay(world, expires_at="5"), pay(world, headers={"Expires-At": "5"})):
        assert (told.status, told.json["outcome"]) == (422, "request_expired")


def test_an_exchange_id_is_echoed_or_made(world: World) -> None:
    assert pay(world, headers={"X-Request-Id": "mine-1"}).headers["x-request-id"] == "mine-1"
    made = {
        world.ask("GET", "/health", headers={"X-Request-Id": wrong}).headers["x-request-id"] for wrong in ("", "a b")
    }
    assert len(made) == 2
    assert "a b" not in made


BAD_BODIES = [
    (b"{", None, "malformed_body"),
    (b"", None, "malformed_body"),
    (b'{"amount":"5","amount":"6"}', "amount", "invalid_field"),
    (transfer(amount=5.0), "amount", "invalid_field"),
    (transfer(amount="-5"), "amount", "invalid_field"),
    (transfer(amount=str(2**128)), "amount", "invalid_field"),
    (transfer(ledger="1"), "ledger", "invalid_field"),
    (transfer(id="x"), "id", "invalid_field"),
    (transfer(flags=["nope"]), "flags[0]", "invalid_field"),
    (transfer(surprise=1), "surprise", "invalid_field"),
    ([], "body", "invalid_field"),
]


@pytest.mark.parametrize(("body", "field", "name"), BAD_BODIES)
def test_a_bad_body_is_a_problem_naming_the_field_and_nothing_is_applied(
    world: World, body: Any, field: str | None, name: str
) -> None:
    before = world.applied()
    told = world.ask("POST", "/v1/transfers", body)
    assert (told.status, told.problem, told.json.get("field")) == (400, name, field)
    assert world.applied() == before


BAD_BATCHES = [
    ({"transfers": []}, "transfers"),
    ({"transfers": [transfer()] * 8191}, "transfers"),
    ({"transfers": [transfer(), transfer(amount=1.5)]}, "transfers[1].amount"),
    ({"transfers": [transfer(), transfer(amount="x")]}, "transfers[1].amount"),
    ({"transfers": [transfer(flags=["linked", "x"])]}, "transfers[0].flags[1]"),
    ({"transfers": [transfer(request_id="x")]}, "transfers[0].request_id"),
    ({"transfers": [{}]}, "transfers[0].debit_account_id"),
    ({}, "transfers"),
]


@pytest.mark.parametrize(("body", "field"), BAD_BATCHES)
def test_a_bad_batch_is_refused_whole(world: World, body: Any, field: str) -> None:
    before = world.applied()
    told = world.ask("POST", "/v1/transfers/batch", body)
    assert (told.status, told.json.get("field")) == (400, field)
    assert world.applied() == before


@pytest.mark.parametrize("size", [1, 127, 129, 128 * 3 - 1])
def test_a_binary_batch_of_the_wrong_length_is_refused(world: World, size: int) -> None:
    told = world.ask("POST", "/v1/transfers/batch", bytes(size), {"Content-Type": "application/octet-stream"})
    assert (told.status, told.problem) == (400, "malformed_body")
    empty = world.ask("POST", "/v1/transfers/batch", b"", {"Content-Type": "application/octet-stream"})
    assert (empty.status, empty.json["field"]) == (400, "transfers")


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/accounts", {"ledger": 1}, "code"),
        ("/v1/accounts", {"ledger": 1, "code": 1, "debits_posted": "5"}, "debits_posted"),
        ("/v1/accounts", {"accounts": []}, "accounts"),
        ("/v1/accounts", {"accounts": [{"ledger": 1, "code": 1}], "ledger": 1}, "ledger"),
        ("/v1/accounts", {"accounts": [{"ledger": 1, "code": 1}, {"ledger": 1, "code": -1}]}, "accounts[1].code"),
        ("/v1/accounts/lookup", {"ids": []}, "ids"),
        ("/v1/accounts/lookup", {"ids": ["1" * 32, "x"]}, "ids[1]"),
        ("/v1/transfers/lookup", {"ids": "x"}, "ids"),
        (f"/v1/accounts/{ALICE}/freeze", {"side": "up", "reason": 1, "actor": "0" * 32}, "side"),
        (f"/v1/accounts/{ALICE}/freeze", {"side": "both", "reason": -1, "actor": "0" * 32}, "reason"),
        (f"/v1/accounts/{ALICE}/freeze", {"side": "both", "reason": 1, "actor": "me"}, "actor"),
        ("/v1/accounts/xyz/freeze", {"side": "both", "reason": 1, "actor": "0" * 32}, "id"),
        (f"/v1/accounts/{ALICE}/credit-limit", {"credit_limit": 1.5, "reason": 1, "actor": "0" * 32}, "credit_limit"),
    ],
)
def test_other_bad_bodies_name_their_field_too(world: World, path: str, body: Any, field: str) -> None:
    before = world.applied()
    told = world.ask("POST", path, body)
    assert (told.status, told.json.get("field")) == (400, field)
    assert world.applied() == before


@pytest.mark.parametrize(
    ("headers", "status", "name", "field"),
    [
        ({"Idempotency-Key": "0" * 32}, 400, "invalid_field", "Idempotency-Key"),
        ({"Idempotency-Key": "f" * 32}, 400, "invalid_field", "Idempotency-Key"),
        ({"Idempotency-Key": "x" * 256}, 400, "invalid_field", "Idempotency-Key"),
        ({"Idempotency-Key": "caf\u00e9"}, 400, "invalid_field", "Idempotency-Key"),
        ({"Prefer": "wait=31"}, 400, "invalid_field", "Prefer"),
        ({"Prefer": "wait=soon"}, 400, "invalid_field", "Prefer"),
        ({"Expires-At": "tomorrow"}, 400, "invalid_field", "Expires-At"),
        ({"Expires-At": "-1"}, 400, "invalid_field", "Expires-At"),
        ({"Content-Type": "text/plain"}, 415, "unsupported_media_type", "Content-Type"),
        ({"Content-Type": "application/octet-stream"}, 415, "unsupported_media_type", "Content-Type"),
        ({"Content-Type": ""}, 415, "unsupported_media_type", "Content-Type"),
        ({"Authorization": ""}, 401, "unauthenticated", "Authorization"),
        ({"Authorization": "Basic eDp5"}, 401, "unauthenticated", "Authorization"),
        ({"Authorization": "Bearer sk_" + "0" * 64}, 401, "unauthenticated", "Authorization"),
        ({"Authorization": "Bearer \u00e9"}, 401, "unauthenticated", "Authorization"),
        ({f"X-{number}": "x" for number in range(70)}, 431, "headers_too_large", None),
    ],
)
def test_a_bad_header_is_a_problem_naming_it_and_nothing_is_applied(
    world: World, headers: dict[str, str], status: int, name: str, field: str | None
) -> None:
    before = world.applied()
    told = world.ask("POST", "/v1/transfers", transfer(), headers)
    assert (told.status, told.problem, told.json.get("field")) == (status, name, field)
    assert world.applied() == before


def test_a_missing_key_is_a_problem_of_its_own(world: World) -> None:
    before = world.applied()
    told = world.ask("POST", "/v1/transfers", transfer(), idempotency_key=None)
    assert (told.status, told.problem) == (400, "missing_idempotency_key")
    binary = {"Content-Type": "application/octet-stream"}
    told = world.ask("POST", "/v1/transfers/batch", bytes(128), binary, idempotency_key=None)
    assert (told.status, told.problem) == (400, "missing_idempotency_key")
    assert world.applied() == before


def raw(world: World, *parts: bytes, timeout_s: float = 30.0) -> bytes:
    """Send bytes as they are and read until the gateway closes or answers."""
    with socket.create_connection(("127.0.0.1", world.gateway.port), timeout=timeout_s) as connection:
        for part in parts:
            connection.sendall(part)
        answer = b""
        while b"\r\n\r\n" not in answer:
            more = connection.recv(65536)
            if not more:
                break
            answer += more
        return answer


def head(world: World, *more: str, path: str = "/v1/transfers") -> bytes:
    lines = [
        f"POST {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {world.gateway.key}",
        "Content-Type: application/json", *more,
    ]  # fmt: skip
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def test_two_different_keys_in_one_request_are_refused(world: World) -> None:
    before = world.applied()
    answer = raw(world, head(world, "Idempotency-Key: a", "Idempotency-Key: b", "Content-Length: 0"))
    assert answer.startswith(b"HTTP/1.1 400")
    assert world.applied() == before


@pytest.mark.parametrize("length", ["-1", "abc", "1, 2", "99999999999999999999999999"])
def test_a_length_that_is_none_never_reaches_the_ledger(world: World, length: str) -> None:
    before = world.applied()
    answer = raw(world, head(world, f"Content-Length: {length}"))
    assert answer.split(b" ")[1] in (b"400", b"413")
    assert world.applied() == before


def test_a_body_beyond_the_limit_is_refused_by_its_length_or_as_it_comes(world: World) -> None:
    before = world.applied()
    told = world.ask("POST", "/v1/transfers/batch", b" " * 1_500_001)
    assert (told.status, told.problem, told.json["limit_bytes"]) == (413, "body_too_large", 1_500_000)
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    answer = raw(world, head(world, "Transfer-Encoding: chunked"), *[chunk] * 23, b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413")
    assert world.applied() == before


def test_a_body_in_chunks_is_taken(world: World) -> None:
    pieces = iter([b'{"ids":["', ALICE.encode(), b'"]}'])
    told = world.ask("POST", "/v1/accounts/lookup", pieces, {"Content-Type": "application/json"}, encode_chunked=True)
    assert told.status == 200
    assert [each["id"] for each in told.json["accounts"]] == [ALICE]


def test_a_post_without_length_is_411(world: World) -> None:
    assert raw(world, head(world)).startswith(b"HTTP/1.1 411")


def test_headers_beyond_64_kib_are_refused_by_the_server(world: World) -> None:
    answer = raw(world, head(world, "X-Large: " + "x" * 80_000, "Content-Length: 0"))
    assert answer.split(b" ")[1:2] in ([b"431"], [b"400"])


def test_a_client_that_goes_away_mid_body_harms_nobody(world: World) -> None:
    before = world.applied()
    with socket.create_connection(("127.0.0.1", world.gateway.port)) as connection:
        connection.sendall(head(world, "Content-Length: 1000") + b"{")
    assert world.ask("GET", "/health").status == 200
    assert world.applied() == before


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("DELETE", "/v1/transfers", "GET, POST"), ("DELETE", f"/v1/accounts/{ALICE}", "GET"), ("POST", "/health", "GET"),
     ("PATCH", f"/v1/accounts/{ALICE}/credit-limit", "POST, PUT"), ("OPTIONS", "/v1/accounts", "GET, POST")],
)  # fmt: skip
def test_another_method_is_405_with_those_allowed(world: World, method: str, path: str, allow: str) -> None:
    told = world.ask(method, path)
    assert (told.status, told.problem, told.headers["allow"]) == (405, "method_not_allowed", allow)


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/transfers/", "/v1/transfers/a/b", "/v2/transfers", "/v1/accounts//freeze/x"]
)
def test_an_unknown_path_is_404(world: World, path: str) -> None:
    told = world.ask("GET", path)
    assert (told.status, told.problem) == (404, "not_found")


def test_what_is_not_there_is_404_and_what_is_no_id_is_400(world: World) -> None:
    for noun in ("accounts", "transfers"):
        assert world.ask("GET", f"/v1/{noun}/{'9' * 32}").problem == "not_found"
        told = world.ask("GET", f"/v1/{noun}/nine")
        assert (told.status, told.json["field"]) == (400, "id")


def test_scopes_are_enforced(world: World) -> None:
    keys = {
        scope: world.gateway.add_key(f"only {scope}", 7, (scope,)) for scope in ("read", "pay", "control", "metrics")
    }
    time.sleep(0.3)
    order = {"side": "both", "reason": 1, "actor": "0" * 32}
    asks: list[tuple[str, str, str, Any]] = [
        ("read", "GET", f"/v1/accounts/{ALICE}", None),
        ("read", "GET", f"/v1/requests/{uuid4()}?fingerprint={'1' * 64}", None),
        ("read", "POST", "/v1/transfers/lookup", {"ids": ["1" * 32]}),
        ("pay", "POST", "/v1/transfers", transfer()),
        ("pay", "POST", "/v1/transfers/batch", {"transfers": [transfer()]}),
        ("pay", "POST", "/v1/bundles", {"requests": [{"request_id": uuid4().hex, "transfers": [transfer()]}]}),
        ("pay", "POST", "/v1/accounts", {"ledger": 1, "code": 1}),
        ("control", "POST", f"/v1/accounts/{'9' * 32}/freeze", order),
        ("control", "POST", f"/v1/accounts/{'9' * 32}/unfreeze", order),
        ("metrics", "GET", "/metrics", None),
    ]
    for needed, method, path, body in asks:
        for scope, key in keys.items():
            told = world.ask(method, path, body, key=key)
            assert (told.status == 403) == (scope != needed), (path, scope, told)
            if told.status == 403:
                assert (told.problem, told.json["scope"]) == ("forbidden", needed)


def test_without_a_key_only_health_readiness_and_the_description_are_told(world: World) -> None:
    nobody = {"Authorization": ""}
    for path, status in (("/health", 200), ("/ready", 200), ("/openapi.json", 200), ("/metrics", 401)):
        assert world.ask("GET", path, headers=nobody).status == status


def test_metrics_count_what_happened(world: World) -> None:
    pay(world)
    text = world.ask("GET", "/metrics").body.decode()
    for line in (
        'tally_gateway_answers_total{route="transfers",status="2xx"}',
        'tally_gateway_commands_acknowledged_total{lane="payments"}',
        'tally_gateway_submit_seconds_count{lane="payments"}',
        'tally_gateway_block_commands_sum{lane="payments"}',
        'tally_gateway_undecided{lane="control"}',
        "tally_gateway_lanes_abandoned_total",
        "tally_gateway_pushes_late_total",
    ):
        assert line in text


def test_damage_that_the_engines_scrub_found_is_in_the_metrics_of_every_gateway(world: World) -> None:
    def told() -> set[str]:
        return set(world.ask("GET", "/metrics").body.decode().splitlines())

    assert "tally_scrub_damaged 0.0" in told()
    engine = world.gateway.data / "engine"
    SystemDisk().make_folder(engine)
    register = SystemDisk().register(engine / "scrub-damaged", writable=True)
    assert register is not None
    register.store(1 + 8191)
    assert {"tally_scrub_damaged 1.0", "tally_scrub_damaged_entry 8191.0"} <= told()
    register.store(0)
    assert "tally_scrub_damaged 0.0" in told()


def test_the_description_lists_every_path(world: World) -> None:
    told = world.ask("GET", "/openapi.json").json
    assert told["openapi"] == "3.1.0"
    assert {"/v1/transfers", "/v1/accounts/{id}/credit-limit", "/v1/requests/{request_id}", "/metrics"} <= set(
        told["paths"]
    )
