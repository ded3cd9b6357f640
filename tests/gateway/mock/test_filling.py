"""The stand-in provider's values for JSON Schemas: the library ``jsonschema`` validates each."""

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.mock.filling import FORMATS, NoMatchingValue, fill
from tests.support.each_row import each_row
from tests.support.examples import examples


def say(name: str) -> str:
    return f"example {name}".strip()


def judge(schema: Any, value: Any) -> None:
    validator = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    validator(schema, format_checker=validator.FORMAT_CHECKER).validate(value)


def fill_checked(schema: Any, *, complete: bool = True) -> Any:
    value = fill(schema, say, complete=complete)
    judge(schema, value)
    return value


# Examples

TREE = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
        "parent": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "null"}]},
    },
    "required": ["name", "children", "parent"],
    "additionalProperties": False,
}


EXAMPLES: list[tuple[dict[str, Any], Any]] = [
    ({"type": "object", "properties": {"city": {"type": "string"}}}, {"city": "example city"}),
    ({"type": ["null", "string"]}, "example"),
    ({"type": "string", "nullable": True}, "example"),
    ({"enum": ["low", "high"]}, "low"),
    ({"type": "string", "enum": [None, "low"]}, "low"),
    ({"const": 7}, 7),
    ({"type": "integer", "minimum": 5}, 5),
    ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
    ({"type": "integer", "exclusiveMinimum": -10, "maximum": -9}, -9),
    ({"type": "number", "multipleOf": 0.5, "minimum": 1.2}, 1.5),
    ({"type": "integer", "multipleOf": 0.5, "exclusiveMinimum": 1}, 2),
    ({"type": "boolean"}, False),
    ({"type": "string", "maxLength": 3}, "exa"),
    ({"type": "string", "minLength": 10}, "example..."),
    ({"type": "string", "pattern": "^[A-Z]{3}$"}, "ABC"),
    ({"type": "string", "format": "date-time"}, "2026-01-01T12:00:00Z"),
    ({"type": "string", "examples": ["no", "yes"], "minLength": 3}, "yes"),
    ({"type": "string", "format": "uri", "default": "none"}, "https://example.com/1"),
    ({"type": "string", "default": ""}, "example"),
    ({"type": "array", "items": {"type": "string"}, "uniqueItems": True}, ["example"]),
    ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "boolean"}]}, [1, False]),
    ({"allOf": [{"type": "number", "minimum": 2}, {"type": "integer", "maximum": 2}]}, 2),
    ({"oneOf": [{"type": "string", "minLength": 3, "maxLength": 2}, {"type": "integer"}]}, 1),
    ({"allOf": [{"$ref": "#/$defs/kind"}], "$defs": {"kind": {"enum": ["a"]}}}, "a"),
    ({"$ref": "#/definitions/a~1b", "definitions": {"a/b": {"const": "there"}}}, "there"),
    (
        {"$ref": "#/$defs/tree", "$defs": {"tree": TREE}},
        {"name": "example name", "children": [{"name": "example name", "children": [], "parent": None}],
         "parent": {"name": "example name", "children": [], "parent": None}},
    ),
]  # fmt: skip


@each_row(("schema", "value"), EXAMPLES, ids=str)
def test_a_value_is_the_plainest_that_fits(schema, value):
    assert fill_checked(schema) == value


def test_optional_members_can_be_omitted():
    schema = {
        "type": "object", "required": ["city"],
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "tags": {"type": "array"}},
    }  # fmt: skip
    assert fill_checked(schema, complete=False) == {"city": "example city"}
    assert fill_checked(schema) == {"city": "example city", "days": 1, "tags": ["example tags"]}


@each_row(
    "schema",
    [
        False,
        {"type": "string", "minLength": 3, "maxLength": 2},
        {"type": "integer", "minimum": 1, "maximum": 0},
        {"type": "array", "items": False, "minItems": 1},
        {"type": "array", "minItems": 1, "maxItems": 0},
        {"type": "array", "items": {"enum": [1, 2]}, "minItems": 3, "uniqueItems": True},
        {"type": "object", "required": ["a"], "additionalProperties": False},
        {"type": "object", "properties": {"self": {"$ref": "#"}}, "required": ["self"]},
        {"$ref": "https://example.com/schema"},
        {"type": "array", "minItems": 10**9},
        {"type": "array", "items": {"type": "string"}, "minItems": 10**9, "uniqueItems": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("complete", [True, False])
def test_a_schema_without_valid_values_is_unfillable(schema, complete):
    with pytest.raises(NoMatchingValue):
        fill(schema, say, complete=complete)


def test_schemas_that_lead_to_each_other_are_given_up_soon():
    names = "abcdefghij"
    refs = {name: {"$ref": f"#/$defs/{name}"} for name in names}
    defs = {name: {"type": "object", "properties": refs, "required": list(names)} for name in names}
    with pytest.raises(NoMatchingValue):
        fill({"$ref": "#/$defs/a", "$defs": defs}, say)
    defs = {name: {"type": "object", "properties": refs} for name in names}
    assert set(fill_checked({"$ref": "#/$defs/a", "$defs": defs})) == set(names)
    any_of_them = {"anyOf": [*refs.values(), {"type": "string"}]}
    pair = {"type": "object", "properties": {"left": any_of_them, "right": any_of_them}, "required": ["left", "right"]}
    fill_checked({"$ref": "#/$defs/a", "$defs": dict.fromkeys(names, pair)})


# Schemas that have valid values

NAMES = st.sampled_from(["city", "name", "note", "tags", "kind", "people", "next"])
SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["a", "b", "c"])


def without_none(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for dictionaries with any of ``members``."""
    return st.fixed_dictionaries({}, optional=members)


@st.composite
def numbers(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["integer", "number"]))
    low = draw(st.none() | st.integers(-1000, 1000))
    high = draw(st.none() | st.integers(0, 100).map(lambda more: (low or 0) + more))
    step = draw(st.sampled_from([None, None, 1, 2, 5, 0.5])) if low is None or high is None else None
    bounds = {"minimum": low, "maximum": high, "multipleOf": step}
    if low is not None and (high is None or high - low > 1):
        bounds[draw(st.sampled_from(["minimum", "exclusiveMinimum"]))] = bounds.pop("minimum")
    return {"type": kind, **{key: value for key, value in bounds.items() if value is not None}}


PLAIN = [schema for schema, _ in EXAMPLES if "$ref" not in str(schema)]
FORMATTED = [{"type": "string", "format": name} for name in FORMATS]
LEAVES = numbers() | st.sampled_from([*PLAIN, *FORMATTED, {"type": "null"}, {}, True]) | st.builds(dict, const=SCALARS)


def combine(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return objects(inner) | arrays(inner) | alternatives(inner) | split_objects(inner) | inner.map(nullable)


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> dict[str, Any]:
    properties = draw(st.dictionaries(NAMES, inner, max_size=4))
    required = draw(st.lists(st.sampled_from(sorted(properties)), unique=True)) if properties else []
    more = draw(st.sampled_from([{}, {"additionalProperties": False}, {"additionalProperties": {"type": "integer"}}]))
    return {"type": "object", "properties": properties, "required": required, **more}


@st.composite
def arrays(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> dict[str, Any]:
    least = draw(st.integers(0, 3))
    more = draw(without_none(minItems=st.just(least), maxItems=st.integers(max(least, 1), 5), items=inner))
    if draw(st.booleans()):
        more["prefixItems"] = draw(st.lists(inner, min_size=1, max_size=3))
    if draw(st.booleans()):
        more |= {"items": {"type": "integer"}, "uniqueItems": True, "minItems": 1}
        more.pop("prefixItems", None)
    return {"type": "array", **more}


def alternatives(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, min_size=1, max_size=3).map(lambda choices: {"anyOf": choices})


@st.composite
def split_objects(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> dict[str, Any]:
    """Draw a schema of an object in two parts, each without the other's members."""
    first = {"properties": {"city": draw(inner)}, "required": ["city"]}
    second = {"type": "object", "properties": {"name": draw(inner)}, "required": ["name"]}
    return {"allOf": [first, second], **draw(without_none(description=st.just("both")))}


def nullable(schema: Any) -> Any:
    return {"anyOf": [schema, {"type": "null"}]}


SCHEMAS = st.recursive(LEAVES, combine, max_leaves=12)


@settings(max_examples=examples(200))
@given(SCHEMAS, st.booleans())
def test_a_value_is_found_and_fits(schema, complete):
    fill_checked(schema, complete=complete)


KEYWORDS = (
    "type", "properties", "required", "items", "enum", "const", "anyOf", "allOf", "$ref", "minimum", "maximum",
    "multipleOf", "minItems", "uniqueItems", "pattern", "format", "minLength", "additionalProperties",
    "patternProperties", "prefixItems", "examples", "exclusiveMinimum",
)  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from(["object", "array", "string", "integer", "#", "#/properties/a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip


@settings(max_examples=examples(150))
@given(ANYTHING)
@example({"type": "integer", "minimum": 10**400})
def test_an_invalid_schema_yields_a_value_or_is_unfillable(schema):
    try:
        json.dumps(fill(schema, say))
    except NoMatchingValue:
        return
