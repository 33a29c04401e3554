# SPDX-License-Identifier: Apache-2.0
"""``/docs``: the endpoint's documentation as a page that loads nothing from elsewhere.

FastAPI's own pages load their scripts and styles from another server, which this one must do
without.
"""

from collections.abc import Mapping
from typing import Any

from voxadapt.recipes.reporting.page import build_page, text


def build_api_page(schema: Mapping[str, Any], address: str) -> str:
    """Write an OpenAPI description out as HTML.

    Args:
        schema: The description.
        address: Where the server is, for the examples.
    """
    operations = "\n".join(
        _operation(method, path, operation, schema)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    )
    title, description = schema["info"]["title"], schema["info"]["description"]
    body = f"""<p class="kind">HTTP endpoint</p>
<h1>{text(title)}</h1>
<p class="lead runs">{_words(description)} For programs: <a href="openapi.json">openapi.json</a>.
<a href="./">The page</a> does the same by hand.</p>
<section><h2>Examples</h2>{_examples(address)}</section>
{operations}"""
    return build_page(title, body)


def _examples(address: str) -> str:
    shell = f"""curl -F file=@clip.wav {address}/predict
curl -H 'Content-Type: audio/flac' --data-binary @clip.flac '{address}/predict?embedding=true'
curl -F file=@meeting.ogg '{address}/timeline?window=3&hop=1'"""
    python = f"""import requests

with open("clip.wav", "rb") as file:
    answer = requests.post("{address}/predict", files={{"file": file}}, timeout=60)
answer.raise_for_status()
print(answer.json()["label"])"""
    return f'<pre class="command">{text(shell)}</pre><pre class="command">{text(python)}</pre>'


def _operation(
    method: str, path: str, operation: Mapping[str, Any], schema: Mapping[str, Any]
) -> str:
    query = [
        (entry["name"], _kind(entry["schema"], schema), entry.get("description", ""))
        for entry in operation.get("parameters", [])
        if entry["in"] == "query"
    ]
    given = operation["responses"]["200"]["content"]["application/json"]["schema"]
    errors = [
        (status, "", found["description"])
        for status, found in operation["responses"].items()
        if "ErrorAnswer" in str(found.get("content"))
    ]
    parts = [
        f"<section><h2><code>{method.upper()} {text(path)}</code></h2>",
        f'<p class="lead">{_words(operation.get("description", ""))}</p>',
        _table("Options, in the address", query),
        _table("Answer, JSON", _fields(given, schema)),
        _table('Errors, as <code>{"error": {"code": …, "message": …}}</code>', errors),
        "</section>",
    ]
    return "\n".join(part for part in parts if part)


def _fields(given: Mapping[str, Any], schema: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Name, kind and meaning of an object's fields."""
    found = _resolve(given, schema)
    return [
        (name, _kind(field, schema), field.get("description", ""))
        for name, field in found.get("properties", {}).items()
    ]


def _resolve(given: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in given:
        return given
    found: Mapping[str, Any] = schema["components"]["schemas"][given["$ref"].rsplit("/", 1)[-1]]
    return found


def _kind(field: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """What a field holds, in a word or two."""
    if "anyOf" in field:
        kinds = [_kind(part, schema) for part in field["anyOf"]]
        return " or ".join(kind for kind in kinds if kind != "null")
    if "enum" in field:
        kind = ", ".join(map(str, field["enum"]))
    elif "$ref" in field:
        names = ", ".join(name for name, _, _ in _fields(field, schema))
        kind = f"object: {names}"
    elif field.get("type") == "array":
        kind = f"list of {_kind(field['items'], schema)}"
    elif isinstance(field.get("additionalProperties"), dict):
        kind = f"{_kind(field['additionalProperties'], schema)} by name"
    else:
        kind = str(field.get("type", "any"))
    return f"{kind} (default {str(field['default']).lower()})" if "default" in field else kind


def _table(heading: str, rows: list[tuple[str, str, str]]) -> str:
    if not rows:
        return ""
    lines = "\n".join(
        f"<tr><th><code>{text(name)}</code></th><td>{text(kind)}</td><td>{_words(meaning)}</td>"
        "</tr>"
        for name, kind, meaning in rows
    )
    return f'<p class="kind">{heading}</p>\n<table class="list folds">{lines}</table>'


def _words(description: str) -> str:
    """A description as HTML; what stands in backticks is code."""
    parts = text(description).split("`")
    return "".join(
        f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts)
    )
