"""Problems are as RFC 9457 says, each with a page, and OpenAPI knows them all."""

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tallystick.errors import Invalid
from tallystick.gateway import answering, problems, shapes
from tallystick.gateway.openapi import document, route_problems
from tallystick.gateway.problems import Problem
from tallystick.gateway.routes import accounts, operations, requests, transfers, webhooks
from tallystick.records.commands import EVENT_SIZE, AccountFlag, TransferFlag
from tallystick.statuses import AccountStatus, ControlStatus, RequestStatus, TransferStatus

ROUTES = (*transfers.ROUTES, *accounts.ROUTES, *requests.ROUTES, *webhooks.ROUTES, *operations.ROUTES)
PAGE = Path(__file__).parents[3] / "docs" / "problems.md"


def test_the_page_of_problems_is_the_table() -> None:
    assert PAGE.read_text() == problems.page(), "run: python -c 'from tallystick.gateway.problems import page; …'"


def test_names_are_unique_and_every_problem_is_an_error() -> None:
    assert len(problems.BY_NAME) == len(problems.TABLE)
    assert all(400 <= row.http <= 504 for row in problems.TABLE)


def test_a_problem_says_its_type_title_status_detail_and_exchange() -> None:
    told = msgspec.json.decode(Problem("forbidden", "no", scope="pay").body("x-1"), type=shapes.ProblemOut, strict=True)
    assert (told.type, told.status, told.detail) == ("/problems/forbidden", 403, "no")
    assert told.title == "The key may not do this"
    assert told.instance == "urn:tallystick:exchange:x-1"
    assert told.scope == "pay"


def test_an_invalid_field_is_named_and_a_malformed_body_is_a_problem_of_its_own() -> None:
    assert problems.invalid(Invalid("amount", "must be")).members == {"field": "amount"}
    assert problems.invalid(Invalid("", "is no JSON")).type.name == "malformed_body"


OPENAPI: dict[str, Any] = json.loads(msgspec.json.encode(document(ROUTES)))


def test_the_description_names_every_flag() -> None:
    schemas = OPENAPI["components"]["schemas"]
    for shape, known in (("TransferIn", TransferFlag), ("AccountIn", AccountFlag)):
        names = schemas[shape]["properties"]["flags"]["items"]["enum"]
        assert names == [str(flag.name).lower() for flag in known]


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        found = {value["$ref"]} if "$ref" in value else set()
        return found.union(*map(references, value.values()))
    if isinstance(value, list):
        return set().union(*map(references, value))
    return set()


def test_every_reference_in_openapi_leads_somewhere() -> None:
    for reference in references(OPENAPI):
        at: Any = OPENAPI
        for part in reference.removeprefix("#/").split("/"):
            at = at[part]


def test_openapi_tells_of_every_route_and_each_of_its_problems() -> None:
    operations_seen = set()
    for route in ROUTES:
        told = OPENAPI["paths"][route.path][route.method.lower()]
        operations_seen.add(told["operationId"])
        for problem in route_problems(route):
            response = told["responses"][str(problem.http)]
            assert problem.uri in response["description"]
            assert "application/problem+json" in response["content"]
        for http in route.gives:
            assert str(http) in told["responses"]
        assert all("X-Request-Id" in response["headers"] for response in told["responses"].values())
        assert bool(told["security"]) == bool(route.scope)
    assert len(operations_seen) == len(ROUTES)


def test_openapi_tells_of_the_headers() -> None:
    pay = OPENAPI["paths"]["/v1/transfers"]["post"]
    assert {"Idempotency-Key", "Prefer", "Expires-At", "X-Request-Id"} <= {each["name"] for each in pay["parameters"]}
    assert "Location" in pay["responses"]["202"]["headers"]
    assert "Idempotent-Replayed" in pay["responses"]["201"]["headers"]
    assert "RateLimit" in pay["responses"]["429"]["headers"]
    assert "Retry-After" in pay["responses"]["503"]["headers"]
    assert "WWW-Authenticate" in pay["responses"]["401"]["headers"]
    batch = OPENAPI["paths"]["/v1/transfers/batch"]["post"]
    assert set(batch["requestBody"]["content"]) == {"application/json", "application/octet-stream"}
    assert set(batch["responses"]["200"]["content"]) == {"application/json", "application/octet-stream"}


def test_every_problem_is_one_that_some_route_can_give_or_a_matter_of_dispatch() -> None:
    given = {problem.name for route in ROUTES for problem in route_problems(route)}
    # Before there is a route, a request may be no request, too slow in coming, or of another method.
    assert set(problems.BY_NAME) - given == {"malformed_request", "headers_too_slow", "method_not_allowed"}


def row(status: int, replayed: int = 0) -> bytes:
    return (123).to_bytes(8, "little") + status.to_bytes(4, "little") + replayed.to_bytes(4, "little")


SUBJECT = (0xABC).to_bytes(16, "little")


@pytest.mark.parametrize("status", TransferStatus)
def test_each_transfer_status_is_told_as_the_table_of_statuses_says(status: TransferStatus) -> None:
    if status in (TransferStatus.CREATED, TransferStatus.EXISTS):
        http, _, headers, body = answering.one(answering.TRANSFER, SUBJECT, 5, row(status))
        assert http == (201 if status is TransferStatus.CREATED else 200)
        told = msgspec.json.decode(body, type=shapes.OneOutcome)
        assert told == shapes.OneOutcome(f"{0xABC:032x}", status.name.lower(), "123", f"{5:032x}")
        assert headers == ()
        return
    with pytest.raises(Problem) as caught:
        answering.one(answering.TRANSFER, SUBJECT, 5, row(status, 1))
    problem = caught.value
    assert (problem.type.name, problem.type.http) == ("refused", 422)
    assert problem.members["outcome"] == status.name.lower()
    assert problem.members["id"] == f"{0xABC:032x}"
    assert problem.headers == {"idempotent-replayed": "true"}
    msgspec.json.decode(problem.body("x"), type=shapes.ProblemOut)


def test_transient_refusals_are_told_as_such() -> None:
    for status, transient in ((TransferStatus.EXCEEDS_CREDITS, True), (TransferStatus.CODE_MUST_NOT_BE_ZERO, False)):
        with pytest.raises(Problem) as caught:
            answering.one(answering.TRANSFER, SUBJECT, 5, row(status))
        assert caught.value.members["transient"] is transient


def test_a_control_command_that_was_applied_is_200() -> None:
    http, _, _, body = answering.one(answering.CONTROL, SUBJECT, 5, row(ControlStatus.APPLIED))
    assert http == 200
    assert msgspec.json.decode(body, type=shapes.ControlOutcome).account_id == f"{0xABC:032x}"


def test_a_batch_is_told_row_by_row_with_the_ids_of_its_events() -> None:
    events = b"".join(number.to_bytes(16, "little") + bytes(EVENT_SIZE - 16) for number in (1, 2))
    rows = row(AccountStatus.CREATED, 1) + row(AccountStatus.LINKED_EVENT_FAILED, 1)
    http, _, headers, body = answering.many(answering.ACCOUNT, events, 9, rows)
    assert (http, headers) == (200, (("idempotent-replayed", "true"),))
    told = msgspec.json.decode(body, type=shapes.Outcomes)
    assert told.request_id == f"{9:032x}"
    assert [(each.id[-1], each.status) for each in told.results] == [("1", "created"), ("2", "linked_event_failed")]
    assert answering.binary(9, rows)[3] == rows
    asked = msgspec.json.decode(answering.request(answering.ACCOUNT, 9, rows)[3], type=shapes.RequestAnswer)
    assert [each.status for each in asked.results] == ["created", "linked_event_failed"]


def test_a_reused_key_is_a_problem_in_every_form_of_answer() -> None:
    rows = row(RequestStatus.IDEMPOTENCY_KEY_REUSED)
    for ask in (
        lambda: answering.one(answering.TRANSFER, SUBJECT, 5, rows),
        lambda: answering.many(answering.TRANSFER, bytes(EVENT_SIZE), 5, rows),
        lambda: answering.binary(5, rows),
    ):
        with pytest.raises(Problem) as caught:
            ask()
        assert caught.value.type.name == "idempotency_key_reused"


def test_not_decided_points_to_where_the_results_will_be() -> None:
    http, _, headers, body = answering.not_decided(5, bytes(31) + b"\1", answering.CONTROL)
    told = msgspec.json.decode(body, type=shapes.NotDecided)
    assert http == 202
    assert dict(headers)["location"] == told.location
    assert told.location == f"/v1/requests/{5:032x}?fingerprint={1:064x}&kind=control"


def test_health_answers_what_its_struct_says() -> None:
    answer = asyncio.run(operations.health(None))  # type: ignore[arg-type]
    msgspec.json.decode(answer[3], type=shapes.Health)
