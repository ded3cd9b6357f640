"""Schemas reduced to Google's own form."""

import json
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from providers.gemini.schemas import reduce_schema
from tests.support.each_row import each_row
from tests.support.growth import assert_time_grows_linearly, seconds

TEXT = {"type": "string"}
LIST = {"type": "array", "items": TEXT}
CASES = (
    ({"type": "object", "properties": {"a": TEXT}, "required": ["a", "b"]},
     {"type": "object", "properties": {"a": TEXT}, "required": ["a"]}, ()),
    ({"$schema": "s", "$id": "i", "$comment": "c", **TEXT, "default": "a", "examples": ["a"], "deprecated": True,
      "readOnly": True, "not": {}}, TEXT,
     ("$schema", "$id", "$comment", "default", "examples", "deprecated", "readOnly", "not")),
    ({"type": "object", "additionalProperties": False, "patternProperties": {}, "propertyNames": {}},
     {"type": "object"}, ("additionalProperties", "patternProperties", "propertyNames")),
    ({"type": "number", "exclusiveMinimum": 1, "exclusiveMaximum": 2, "multipleOf": 1, "minimum": 1},
     {"type": "number", "minimum": 1}, ("exclusiveMinimum", "exclusiveMaximum", "multipleOf")),
    ({**LIST, "uniqueItems": True, "if": {}, "then": {}, "else": {}}, LIST, ("uniqueItems", "if", "then", "else")),
    ({"type": "array"}, {"type": "array", "items": TEXT}, ()),
    ({"type": ["string", "null"]}, {"nullable": True, **TEXT}, ()),
    ({"type": ["string", "integer"]}, TEXT, ("type",)),
    ({"const": "x"}, {**TEXT, "enum": ["x"]}, ()),
    ({"type": "integer", "enum": [1, 2, None]}, {**TEXT, "enum": ["1", "2"], "nullable": True}, ()),
    ({"oneOf": [TEXT, {"type": "number"}]}, {"anyOf": [TEXT, {"type": "number"}]}, ()),
    ({"anyOf": [TEXT, {"type": "null"}], "description": "d"}, {"nullable": True, **TEXT, "description": "d"}, ()),
    ({"allOf": [{"type": "object", "properties": {"a": TEXT}, "required": ["a"]}, {"properties": {"b": TEXT}}]},
     {"type": "object", "properties": {"a": TEXT, "b": TEXT}, "required": ["a"]}, ()),
    ({"type": "object", "properties": {"a": {"$ref": "#/$defs/A", "description": "d"}}, "$defs": {"A": TEXT}},
     {"type": "object", "properties": {"a": {**TEXT, "description": "d"}}}, ()),
    ({"allOf": [{"$ref": "#/$defs/A"}], "description": "d", "$defs": {"A": LIST}}, {**LIST, "description": "d"}, ()),
    ({"$ref": "https://elsewhere"}, {"type": "object"}, ("$ref",)),
    ({"type": "string", "format": "uri"}, TEXT, ("format",)),
    (True, {}, ()), (5, {"type": "object"}, ()),
)  # fmt: skip


def test_unsupported_parts_are_dropped_and_listed():
    """pizza-bot-app/pizza-bot#62, router-for-me/CLIProxyAPI#97, Wei-Shaw/sub2api#795, promptfoo/promptfoo#6902"""
    for schema, smaller, removed in CASES:
        assert reduce_schema(schema) == (smaller, removed), schema


def test_a_cycle_ends():
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node", "description": "the next"}}}
    smaller, removed = reduce_schema({"$ref": "#/$defs/node", "$defs": {"node": node}})
    assert smaller["properties"]["next"] == {"type": "object", "description": "the next"}
    assert removed == ("$ref",)


@pytest.mark.parametrize(
    "several", ["anyOf", *(pytest.param(one, marks=pytest.mark.soak) for one in ("properties", "allOf"))]
)
def test_references_do_not_unfold_without_end(several):
    """Each definition refers to the one before many times: written out in full that would be 8 ** 30."""
    names = [f"d{i}" for i in range(30)]
    made = {names[0]: {"type": "string"}}
    for before, name in pairwise(names):
        inner = [{"$ref": f"#/$defs/{before}"}] * 8
        made[name] = {several: dict(zip("abcdefgh", inner, strict=True)) if several == "properties" else inner}
    smaller, _ = reduce_schema({"$ref": f"#/$defs/{names[-1]}", "$defs": made})
    assert len(str(smaller)) < 5_000_000


def test_references_write_out_no_more_than_a_bound():
    """What one refers to is written once for each: a request of kilobytes became gigabytes (CWE-776)."""
    for word, long in (("description", "x" * 50_000), ("enum", ["x"] * 20_000), ("title", "x" * 50_000)):
        fields = {f"p{i}": {"$ref": "#/$defs/long"} for i in range(2000)}
        schema = {"type": "object", "properties": fields, "$defs": {"long": {"type": "string", word: long}}}
        out, removed = reduce_schema(schema)
        assert len(json.dumps(out)) < 2 * 2**20, word
        assert removed == ("$ref",), word
        assert out["properties"]["p0"][word] == long, word


def test_each_spelling_of_a_reference_counts_as_the_same_definition():
    """Each spelling was encoded again to determine its size (CWE-407)."""

    took = []
    for spellings in (1, 1000):
        fields = {f"p{i}": {"$ref": f"#{i % spellings}/$defs/long"} for i in range(1000)}
        schema = {"properties": fields, "$defs": {"long": {"title": "x" * 2**21}}}
        took.append(min(seconds(partial(reduce_schema, schema)) for _ in range(3)))
    assert took[1] < 4 * took[0]


@each_row("several", ["allOf", "chain", "carried"])
def test_time_for_references_grows_with_the_schema(several):
    """60 kB of chained references with other members took 0.4 s, 335 kB of them more than nine (CWE-407)."""
    assert_time_grows_linearly(lambda n: partial(reduce_schema, _references(several, n)))


def _references(several: str, n: int) -> dict[str, Any]:
    names = [f"d{i}" for i in range(n)]
    if several == "allOf":
        refs = [{"$ref": f"#/$defs/{name}"} for name in names]
        return {"allOf": refs, "properties": {name: {} for name in names}, "$defs": {name: {"x": 1} for name in names}}
    chain = {name: {"$ref": f"#/$defs/{after}"} for name, after in pairwise([*names, "end"])}
    if several == "chain":
        chain = {name: {**one, f"x{name}": 1, f"y{name}": 2} for name, one in chain.items()}
        return {"$ref": "#/$defs/d0", "$defs": chain}
    return {"$ref": "#/$defs/d0", "$defs": chain, **{f"x{name}": 1 for name in names}}


def test_members_of_all_of_that_are_no_schemas_are_no_mistake_of_ours():
    for name, wrong, right in (("properties", 5, {"a": TEXT}), ("required", 5, ["a"]), ("required", None, ["a"])):
        schema = {"type": "string", name: wrong, "allOf": [{name: right}, {name: wrong}]}
        before = json.dumps(schema)
        assert reduce_schema(schema)[0]["type"] == "string"
        assert json.dumps(schema) == before
    schema = {"properties": {"a": TEXT}, "required": ["a"], "allOf": [{"properties": {"b": TEXT}, "required": ["b"]}]}
    before = json.dumps(schema)
    for _ in range(2):
        assert reduce_schema(schema)[0] == {
            "type": "object",
            "properties": {"a": TEXT, "b": TEXT},
            "required": ["a", "b"],
        }
    assert json.dumps(schema) == before


def test_keywords_of_another_type_are_left_out_and_no_mistake_of_ours():
    for wrong in ({"format": {}}, {"format": ["date-time"]}, {"anyOf": 1}, {"anyOf": 1, "oneOf": [TEXT, LIST]}):
        out, removed = reduce_schema({"type": "string", **wrong})
        assert out["type"] == "string", wrong
        assert removed in (("format",), ("anyOf",)), wrong
    assert reduce_schema({"properties": {"a": TEXT}, "required": [["x"], {}, 1, "a"]})[0]["required"] == ["a"]
