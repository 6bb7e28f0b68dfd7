"""The AsyncAPI 3.0 document of what the relay sends, made from the table of types: docs/pages/asyncapi.json.

It describes both brokers: a Kafka topic and a RabbitMQ topic exchange carry the same messages.
"""

import json
from typing import Any

from tallystick.relay.cloudevents import CONTENT_TYPE, SEQUENCE_DIGITS, TYPE_PREFIX
from tallystick.webhooks.types import TABLE, TOLD, Row

VERSION = "1.0.0"
"""Of what is described; a field more is 1.x."""
_ID = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
_AMOUNT = {"type": "string", "pattern": "^[0-9]+$", "description": "Whole minor units; below 2^128."}
_WHOLE = {"type": "string", "pattern": "^[0-9]+$"}
_FIELDS: dict[str, dict[str, Any]] = {
    "transfer_id": _ID,
    "pending_id": {**_ID, "description": "The pending transfer that it is about."},
    "debit_account_id": _ID,
    "credit_account_id": _ID,
    "account_id": _ID,
    "request_id": _ID,
    "amount": _AMOUNT,
    "credit_limit": _AMOUNT,
    "ledger": {"type": "integer", "minimum": 1, "maximum": 2**32 - 1},
    "code": {"type": "integer", "minimum": 1, "maximum": 2**16 - 1},
    "side": {"type": "string", "enum": ["debits", "credits", "both"]},
    "position": {**_WHOLE, "description": "Place in the shard's journal. It only grows."},
    "shard": {"type": "integer", "minimum": 0, "maximum": 65_535},
    "status": {"type": "string", "description": "What was decided: docs/statuses.md."},
    "timestamp": {**_WHOLE, "description": "When it was decided, ns since 1970."},
}
_ALWAYS = ("position", "shard", "status", "timestamp")
_ATTRIBUTES: dict[str, dict[str, Any]] = {
    "specversion": {"const": "1.0"},
    "id": {
        "type": "string",
        "pattern": "^[0-9]+-[0-9]+-[0-9a-f]{16}$",
        "description": "The same however often an event is sent, and unlike that of any other.",
    },
    "source": {"type": "string", "format": "uri", "description": "The shard, by the origin of its audit log."},
    "subject": {
        "type": "string",
        "pattern": "^(transfers|accounts)/[0-9a-f]{32}$",
        "description": "What it is about, as the API's paths have it.",
    },
    "time": {"type": "string", "format": "date-time", "description": "When it was decided, with nanoseconds."},
    "datacontenttype": {"const": "application/json"},
    "sequence": {
        "type": "string",
        "pattern": f"^[0-9]{{{SEQUENCE_DIGITS}}}$",
        "description": "The position, so wide that texts compare as numbers do. It only grows: what is not beyond the "
        "last one of its tenant is a repeat.",
    },
    "partitionkey": {"type": "string", "description": "The tenant: all events of one stay in order."},
    "tenant": _WHOLE,
}
_OPTIONAL = ("subject",)


def document() -> dict[str, Any]:
    """All of it."""
    rows = [row for row in TABLE if row.type in TOLD]
    messages = {_named(row): _message(row) for row in rows}
    references = {name: {"$ref": f"#/components/messages/{name}"} for name in messages}
    in_channel = [{"$ref": f"#/channels/outcomes/messages/{name}"} for name in messages]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tallystick: outcomes",
            "version": VERSION,
            "description": "Every outcome of a shard as a CloudEvent (1.0, structured mode, JSON), at least once, each "
            "tenant's in the journal's order. The kinds and fields are those of webhooks.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {
            "outcomes": {
                "address": "{topic}",
                "title": "Outcomes",
                "description": "A Kafka topic, its key the tenant; or a RabbitMQ topic exchange, its routing key "
                "TENANT.TYPE, say 7.transfer.created.",
                "parameters": {"topic": {"description": "What stands after the last / of TALLY_RELAY."}},
                "messages": references,
                "bindings": {
                    "amqp": {
                        "is": "routingKey",
                        "exchange": {"name": "{topic}", "type": "topic", "durable": True, "autoDelete": False},
                    }
                },
            }
        },
        "operations": {
            "sendOutcome": {
                "action": "send",
                "channel": {"$ref": "#/channels/outcomes"},
                "title": "An outcome",
                "summary": "Sent once its entry is durable in the journal.",
                "messages": in_channel,
                "bindings": {"amqp": {"deliveryMode": 2, "mandatory": True}},
            }
        },
        "components": {"messages": messages, "schemas": {"Event": _event()}},
    }


def page() -> str:
    """As it stands in docs."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


def _named(row: Row) -> str:
    """`transfer.limit_changed` as TransferLimitChanged."""
    return "".join(word.capitalize() for word in row.type.replace("_", ".").split("."))


def _message(row: Row) -> dict[str, Any]:
    fields = (*_ALWAYS, *row.fields)
    return {
        "name": TYPE_PREFIX + row.type,
        "title": row.type,
        "summary": row.meaning,
        "contentType": CONTENT_TYPE,
        "payload": {
            "allOf": [
                {"$ref": "#/components/schemas/Event"},
                {
                    "type": "object",
                    "properties": {
                        "type": {"const": TYPE_PREFIX + row.type},
                        "data": {
                            "type": "object",
                            "required": list(_ALWAYS),
                            "properties": {name: _FIELDS[name] for name in fields},
                        },
                    },
                },
            ]
        },
        "bindings": {"kafka": {"key": {"type": "string", "pattern": "^[0-9]+$", "description": "The tenant."}}},
    }


def _event() -> dict[str, Any]:
    return {
        "type": "object",
        "description": "The attributes of a CloudEvent, and three extensions: sequence, partitionkey, tenant.",
        "required": [*(name for name in _ATTRIBUTES if name not in _OPTIONAL), "type", "data"],
        "properties": {**_ATTRIBUTES, "type": {"type": "string"}, "data": {"type": "object"}},
    }
