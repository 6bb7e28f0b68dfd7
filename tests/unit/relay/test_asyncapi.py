"""The AsyncAPI document says of every event what is in it, and no more."""

import json
from pathlib import Path

import jsonschema_rs
import pytest

from tallystick import telling
from tallystick.relay import asyncapi, cloudevents
from tallystick.webhooks.types import TOLD
from tests.unit.test_telling import all_told

ROOT = Path(__file__).parents[3]
SCHEMA = ROOT / "build" / "tools" / "node_modules" / "@asyncapi" / "specs" / "schemas" / "3.0.0-without-$id.json"
"""Of the AsyncAPI initiative; `make asyncapi-schema` fetches it."""
DOCUMENT = asyncapi.document()


def schema_of(type_):
    """The payload of a type, closed: what the document does not name is an error here."""
    (message,) = (each for each in DOCUMENT["components"]["messages"].values() if each["title"] == type_)
    event, own = DOCUMENT["components"]["schemas"]["Event"], message["payload"]["allOf"][1]["properties"]
    data = {**own["data"], "additionalProperties": False}
    return {**event, "properties": {**event["properties"], **own, "data": data}, "additionalProperties": False}


def test_every_event_is_as_the_document_says():
    work, _ = all_told()
    validators, seen = {}, set()
    for told in telling.told(work, telling.types_of(work)):
        if told.type not in validators:
            validators[told.type] = jsonschema_rs.Draft7Validator(schema_of(told.type), validate_formats=True)
        event = cloudevents.event(told, cloudevents.source("tallystick.example/ledger/0"), 0)
        validators[told.type].validate(json.loads(event.body))
        seen.add(told.type)
    assert seen == set(TOLD)


def test_the_document_has_one_message_for_each_type():
    messages = DOCUMENT["channels"]["outcomes"]["messages"]
    assert len(messages) == len(DOCUMENT["components"]["messages"]) == len(TOLD)
    assert {each["name"] for each in DOCUMENT["components"]["messages"].values()} == {f"tallystick.{t}" for t in TOLD}


def test_every_reference_leads_somewhere():
    def references(node):
        if isinstance(node, dict):
            for name, value in node.items():
                yield from [value] if name == "$ref" else references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    found = list(references(DOCUMENT))
    assert found
    for reference in found:
        node = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]


@pytest.mark.service
def test_the_document_is_one_of_asyncapi_3():
    if not SCHEMA.exists():
        pytest.skip("SKIPPED, AsyncAPI's schema is not here: make asyncapi-schema fetches it with npm")
    schema = jsonschema_rs.Draft7Validator(json.loads(SCHEMA.read_text()))
    schema.validate(json.loads((ROOT / "docs" / "pages" / "asyncapi.json").read_text()))
    with pytest.raises(jsonschema_rs.ValidationError):
        schema.validate({**DOCUMENT, "channels": []})
