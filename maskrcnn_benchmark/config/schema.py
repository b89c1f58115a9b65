"""JSON schema of the configuration files, for editors: completion, help and checks while typing."""

from __future__ import annotations

from typing import Any

from maskrcnn_benchmark.config.defaults import Config

_TUPLE_TEXT = {"type": "string", "pattern": r"^\s*[\(\[].*[\)\]]\s*$"}
_NUMBER_TEXT = {"type": "string", "pattern": r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"}
_ANNOTATIONS = ("default", "description", "examples", "title")


def json_schema() -> dict[str, Any]:
    """Return the schema that YAML configuration files obey.

    What the loader reads from text is allowed as text: tuples `(60000, 80000)`, numbers `1e-3`.
    """
    schema: dict[str, Any] = Config.model_json_schema()
    for section in [schema, *schema.get("$defs", {}).values()]:
        section["properties"] = {
            name: _with_text(entry) for name, entry in section["properties"].items()
        }
    # The default is a path of this machine.
    del schema["properties"]["PATHS_CATALOG"]["default"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": "Made by `maskrcnn config --schema`.",
        **schema,
        "title": "maskrcnn-benchmark configuration",
    }


def _with_text(entry: dict[str, Any]) -> dict[str, Any]:
    """Allow text where the loader reads a tuple or a number from it."""
    text = _text_form(entry)
    if text is None:
        return entry
    outer = {name: entry[name] for name in _ANNOTATIONS if name in entry}
    inner = {name: value for name, value in entry.items() if name not in _ANNOTATIONS}
    return {**outer, "anyOf": [*inner.get("anyOf", [inner]), text]}


def _text_form(entry: dict[str, Any]) -> dict[str, str] | None:
    kinds = {entry.get("type"), *(choice.get("type") for choice in entry.get("anyOf", ()))}
    if "array" in kinds:
        return _TUPLE_TEXT
    return _NUMBER_TEXT if kinds & {"number", "integer"} else None
