"""The JSON schema accepts what the loader accepts; checked with a small validator of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from maskrcnn_benchmark.config import get_defaults
from maskrcnn_benchmark.config.schema import json_schema

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SCHEMA = json_schema()

TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
}
LIMITS: dict[str, Callable[[Any, Any], bool]] = {
    "minimum": lambda value, limit: value >= limit,
    "maximum": lambda value, limit: value <= limit,
    "exclusiveMinimum": lambda value, limit: value > limit,
    "exclusiveMaximum": lambda value, limit: value < limit,
    "minItems": lambda value, limit: len(value) >= limit,
    "maxItems": lambda value, limit: len(value) <= limit,
    "minLength": lambda value, limit: len(value) >= limit,
    "pattern": lambda value, limit: re.search(limit, value) is not None,
    "enum": lambda value, limit: value in limit,
    "const": lambda value, limit: value == limit,
}
NOTES = {"default", "description", "examples", "title", "$schema", "$comment", "$defs"}


def accepts(schema: dict[str, Any], value: Any) -> bool:
    """Validate against the part of JSON schema that is used here; fails on any other word."""
    known = {
        *LIMITS,
        *NOTES,
        "type",
        "allOf",
        "anyOf",
        "$ref",
        "properties",
        "additionalProperties",
    }
    assert set(schema) <= {*known, "items", "prefixItems"}, set(schema) - known
    if "$ref" in schema:
        return accepts(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], value)
    if not all(accepts(part, value) for part in schema.get("allOf", ())):
        return False
    if "anyOf" in schema and not any(accepts(choice, value) for choice in schema["anyOf"]):
        return False
    if "type" in schema and not TYPES[schema["type"]](value):
        return False
    if not all(check(value, schema[word]) for word, check in LIMITS.items() if word in schema):
        return False
    if isinstance(value, dict):
        rest = schema.get("additionalProperties", True)
        for name, item in value.items():
            inner = schema.get("properties", {}).get(name, rest)
            if inner is False or (isinstance(inner, dict) and not accepts(inner, item)):
                return False
    if isinstance(value, list):
        first = schema.get("prefixItems", [])
        inner = [*first, *[schema.get("items", {})] * (len(value) - len(first))]
        return all(accepts(each, item) for each, item in zip(inner, value, strict=False))
    return True


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.name)
def test_every_config_obeys_the_schema(path: Path) -> None:
    assert accepts(SCHEMA, yaml.safe_load(path.read_text()))


def test_a_dump_obeys_the_schema() -> None:
    assert accepts(SCHEMA, yaml.safe_load(get_defaults().dump()))


@pytest.mark.parametrize(
    "text",
    [
        "SOLVER: {BAES_LR: 1}",
        "SOLVER: {BASE_LR: high}",
        "SOLVER: {BASE_LR: -1}",
        "SOLVER: {MAX_ITER: 1.5}",
        "SOLVER: {STEPS: 30000}",
        "DTYPE: float8",
        "MODEL: {MASK_ON: 1}",
        "MODEL: {ROI_BOX_HEAD: {NUM_CLASSES: 1}}",
        "INPUT: {PIXEL_MEAN: []}",
        "DATASETS: {CUSTOM: {a: b}}",
    ],
)
def test_mistakes_do_not(text: str) -> None:
    assert not accepts(SCHEMA, yaml.safe_load(text))


@pytest.mark.parametrize(
    "text",
    [
        "SOLVER: {BASE_LR: 1e-3, STEPS: '(1, 2)', MAX_ITER: '10'}",
        "SOLVER: {STEPS: [1, 2], BIAS_LR_FACTOR: 1.5}",
        "MODEL: {RPN: {ANCHOR_SIZES: [[16, 32], 64]}}",
        "DATASETS: {CUSTOM: {a: {ann_file: x, img_dir: y}}}",
    ],
)
def test_all_ways_of_writing_do(text: str) -> None:
    get_defaults().merge_from_text(text)
    assert accepts(SCHEMA, yaml.safe_load(text))


def test_every_key_has_its_meaning_and_nothing_of_this_machine() -> None:
    sections = [SCHEMA, *SCHEMA["$defs"].values()]
    for section in sections:
        assert section["additionalProperties"] is False
        assert not section.get("required")
        for name, entry in section["properties"].items():
            assert entry.get("description"), name
    assert str(CONFIGS.parent) not in json.dumps(SCHEMA)
    assert len(sections) == 21
