"""Tools' schemas that combine others at the root, for Messages and Converse.

Anthropic: "input_schema does not support oneOf, allOf, or anyOf at the top level" (anthropics/claude-code#40075). The
cases are those of Bifrost (`TestConvertFunctionToolToAnthropic_TypelessRoot`) and Vercel's AI SDK
(`anthropic-tool-call-root-union`).
"""

import json

from providers.neutral.fields import Drops
from providers.neutral.request import Tool
from providers.neutral.schemas import object_schema
from tests.support import converse_requests, messages_requests
from tests.support.each_row import each_row

STRING, INTEGER = {"type": "string"}, {"type": "integer"}


def an_object(*required: str, **properties) -> dict:
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


def reduce_to_object(schema) -> tuple[dict, tuple[str, ...]]:
    drops = Drops()
    return object_schema(schema, "tools[0]", drops), drops.paths()


@each_row(
    ("schema", "expected"),
    [
        ({"anyOf": [an_object("a", a=STRING), an_object("b", b=INTEGER)]}, an_object(a=STRING, b=INTEGER)),
        ({"oneOf": [an_object("a", a=STRING), an_object("a", "b", a=STRING, b=INTEGER)]},
         an_object("a", a=STRING, b=INTEGER)),
        ({"allOf": [an_object("a", a=STRING), an_object("b", b=INTEGER)]}, an_object("a", "b", a=STRING, b=INTEGER)),
        ({**an_object("c", c=STRING), "description": "d", "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
         {**an_object("c", c=STRING), "description": "d"}),
        ({"oneOf": [an_object("kind", kind={"const": "a"}), an_object("kind", kind={"const": "b"})]},
         an_object("kind", kind={"anyOf": [{"const": "a"}, {"const": "b"}]})),
        ({"anyOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/definitions/B"}], "$defs": {"A": an_object("a", a=STRING)},
          "definitions": {"B": an_object("a", a=STRING)}},
         {**an_object("a", a=STRING), "$defs": {"A": an_object("a", a=STRING)},
          "definitions": {"B": an_object("a", a=STRING)}}),
        ({"allOf": [{"anyOf": [an_object("a", a=STRING), an_object("a", b=STRING)]}, an_object(c=STRING)]},
         an_object("a", a=STRING, b=STRING, c=STRING)),
        ({"anyOf": [{"$ref": "#/$defs/A"}], "$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}, an_object(a=STRING)]}}},
         {**an_object(a=STRING), "$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}, an_object(a=STRING)]}}}),
        ({"anyOf": "no list", **an_object(a=STRING)}, an_object(a=STRING)),
        ({"anyOf": [{"$ref": "https://example.com/a"}, True, None, {"$ref": "#/$defs/none"}]}, an_object()),
    ],
)  # fmt: skip
def test_a_root_of_several_schemas_becomes_one_object(schema, expected):
    before = json.dumps(schema)
    found, dropped = reduce_to_object(schema)
    assert found == expected
    assert dropped == tuple(f"tools[].{name}" for name in ("allOf", "anyOf", "oneOf") if name in schema)
    assert json.dumps(schema) == before


@each_row(
    ("schema", "expected"),
    [
        (an_object("a", a={"anyOf": [STRING, INTEGER]}), an_object("a", a={"anyOf": [STRING, INTEGER]})),
        ({"properties": {"a": STRING}}, an_object(a=STRING)),
        ({"type": "array"}, {"type": "array"}),
        ({}, {"type": "object"}),
        ({"type": None, "properties": {"a": STRING}}, an_object(a=STRING)),  # kirodotdev/Kiro#11026
        ({"type": ["object", "null"], "properties": {}}, an_object()),
        (None, an_object()),
    ],
)
def test_other_schemas_lose_nothing(schema, expected):
    assert reduce_to_object(schema) == (expected, ())


@each_row(
    "large",
    [
        [{"properties": {str(number): STRING}} for number in range(2_000)],
        [{"required": [f"{number}-{name}" for name in range(500)]} for number in range(100)],
    ],
)
def test_too_many_schemas_are_dropped(large):
    found, dropped = reduce_to_object({**an_object("own", own=STRING), "anyOf": large})
    assert (found, dropped) == (an_object("own", own=STRING), ("tools[].anyOf",))


def test_deep_combinations_are_dropped():
    deep: dict = an_object(a=STRING)
    for _ in range(200):
        deep = {"anyOf": [deep]}
    assert reduce_to_object(deep) == ({"type": "object"}, ("tools[].anyOf",))


UNION = {"anyOf": [an_object("a", a=STRING), an_object("b", b=INTEGER)]}
DROPPED = ("tools[].anyOf", "tools[].strict")
TOOL = Tool("f", "d", UNION, strict=True, at="tools[0]")


def test_a_messages_provider_gets_an_object():
    body, dropped = messages_requests.write(messages_requests.chat(tools=(TOOL,)))
    assert body["tools"] == [{"name": "f", "description": "d", "input_schema": an_object(a=STRING, b=INTEGER)}]
    assert dropped == DROPPED


@each_row("model", [converse_requests.CLAUDE, converse_requests.NOVA])
def test_a_converse_provider_gets_an_object(model):
    body, dropped = converse_requests.write(converse_requests.chat(tools=(TOOL,)), model)
    specification = body["toolConfig"]["tools"][0]["toolSpec"]
    assert specification == {"name": "f", "description": "d", "inputSchema": {"json": an_object(a=STRING, b=INTEGER)}}
    assert dropped == DROPPED
