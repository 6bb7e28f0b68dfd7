"""The API's reference as Markdown, made from the gateway's own OpenAPI document; no server is needed."""

import asyncio
from typing import Any

from tallystick.gateway.app import App

REFERENCE = "#/components/schemas/"


def description() -> dict[str, Any]:
    """The OpenAPI document that a gateway serves at `/openapi.json`."""

    async def routes() -> Any:
        # An app that answers nobody: its routes describe themselves without a service or keys.
        return App(None, None, lambda count: bytes(count)).routes  # type: ignore[arg-type]

    from tallystick.gateway import openapi

    return openapi.document(asyncio.run(routes()))


def markdown(document: dict[str, Any]) -> str:
    """The reference: each path with its methods, then each schema."""
    parts = ["## Paths\n"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts.append(_operation(method, path, operation))
    parts.append("## Schemas\n")
    for name, schema in sorted(document["components"]["schemas"].items()):
        parts.append(_schema(name, schema))
    return "\n".join(parts)


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    scopes = [scope for way in operation.get("security", ()) for names in way.values() for scope in names]
    key = f"Wants a key with the scope `{'`, `'.join(scopes)}`." if scopes else "Wants no key."
    lines = [f"### `{method.upper()} {path}`\n", f"{operation['summary']} {key}\n"]
    parameters = [each for each in operation.get("parameters", ()) if each["in"] != "path"]
    if parameters:
        lines.append("| parameter | in | meaning |\n|---|---|---|")
        lines += [f"| `{each['name']}` | {each['in']} | {_cell(each.get('description', ''))} |" for each in parameters]
        lines.append("")
    if "requestBody" in operation:
        lines.append(f"Takes {_content(operation['requestBody']['content'])}.\n")
    lines.append("| answer | meaning | content |\n|---|---|---|")
    for status, answer in operation["responses"].items():
        lines.append(f"| {status} | {_cell(_linked(answer['description']))} | {_content(answer.get('content', {}))} |")
    return "\n".join([*lines, ""])


def _linked(meaning: str) -> str:
    """A problem's URI leads to its section of problems.md."""
    words = []
    for word in meaning.split(" "):
        uri = word.strip("`:")
        name = uri.removeprefix("/problems/")
        words.append(f"[`{name}`](problems.md#{name}):" if name != uri else word)
    return " ".join(words)


def _content(content: dict[str, Any]) -> str:
    return "<br>".join(f"{_type(each['schema'])} as `{media}`" for media, each in content.items()) or "–"


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(REFERENCE)
        return f"[{name}](#{name.lower()})"
    for way in ("anyOf", "oneOf"):
        if way in schema:
            return " or ".join(_type(each) for each in schema[way])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("format") == "binary":
        return "bytes"
    kind = schema.get("type", "anything")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _schema(name: str, schema: dict[str, Any]) -> str:
    lines = [f"### {name}\n", " ".join(schema.get("description", "").split()) + "\n"]
    properties = schema.get("properties", {})
    if properties:
        required = set(schema.get("required", ()))
        lines.append("| field | type | meaning |\n|---|---|---|")
        for field, each in properties.items():
            wanted = "" if field in required else " (may be left out)"
            lines.append(f"| `{field}` | {_type(each)}{wanted} | {_cell(_meaning(each))} |")
    elif "enum" in schema:
        lines.append("One of " + ", ".join(f"`{each}`" for each in schema["enum"]) + ".")
    return "\n".join([*lines, ""])


def _meaning(schema: dict[str, Any]) -> str:
    parts = [schema.get("description", "")]
    items = schema.get("items", {})
    for each in (schema, items):
        if "enum" in each:
            parts.append("One of " + ", ".join(f"`{value}`" for value in each["enum"]) + ".")
    if "minimum" in schema and "maximum" in schema:
        parts.append(f"{schema['minimum']:,} to {schema['maximum']:,}.")
    return " ".join(part for part in parts if part)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
