"""Limits in JSON Schemas, which Claude rejects in structured output and strict tools (laravel/ai#715)."""

import json
from typing import Annotated, Any, Literal

import pytest
from openai import OpenAI
from pydantic import BaseModel, Field

from providers.errors.failures import read_failure
from providers.errors.other_shapes import SCHEMA_LIMITS
from providers.errors.rejected import find_rejected, find_sole_rejected
from providers.neutral.schema_limits import describe_limits, describe_limits_in
from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import config, provider
from tests.support.upstreams import JSON, Raw, Script

SCHEMA = {
    "type": "object",
    "properties": {"maximum": {"type": "integer", "minimum": 1, "maximum": 9, "description": "The score."}},
    "required": ["maximum"],
    "additionalProperties": False,
}
SENT = {
    "type": "integer",
    "description": 'The score.\n\nLimits (JSON Schema): {"minimum":1,"maximum":9}',
}
TURN: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]
FORMAT = {"type": "json_schema", "schema": SCHEMA}
CHAT = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}
TEXT = {"name": "x", "strict": True, **FORMAT}
CONVERSE = {"type": "json_schema", "structure": {"jsonSchema": {"name": "x", "schema": json.dumps(SCHEMA)}}}
TURNS = [{"role": "user", "content": [{"text": "hi"}]}]
TOOL = {"name": "f", "description": "d"}
CLIENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"messages": TURN, "response_format": CHAT}),
    "responses": ("/v1/responses", {"input": "hi", "text": {"format": TEXT}}),
    "messages": ("/v1/messages", {"max_tokens": 9, "messages": TURN, "output_config": {"format": FORMAT}}),
    "an older SDK": ("/v1/messages", {"max_tokens": 9, "messages": TURN, "output_format": FORMAT}),
    "converse": ("/model/m/converse", {"messages": TURNS, "outputConfig": {"textFormat": CONVERSE}}),
    "a tool of chat": (
        "/v1/chat/completions",
        {
            "messages": TURN,
            "tools": [{"type": "function", "function": {**TOOL, "parameters": SCHEMA, "strict": True}}],
        },
    ),
    "a tool of messages": (
        "/v1/messages",
        {"max_tokens": 9, "messages": TURN, "tools": [{**TOOL, "input_schema": SCHEMA, "strict": True}]},
    ),
    "a tool of converse": (
        "/model/m/converse",
        {
            "messages": TURNS,
            "toolConfig": {"tools": [{"toolSpec": {**TOOL, "inputSchema": {"json": SCHEMA}, "strict": True}}]},
        },
    ),
}
REJECTIONS = (
    "output_format.schema: For 'integer' type, property 'minimum' is not supported",  # agentjido/req_llm#302
    # sherifkozman/the-llm-council#55
    "output_config.format.schema: For 'number' type, properties maximum, minimum are not supported",
    # ghostlobster/memorize-everything#93
    "output_config.format.schema: For 'array' type, 'minItems' values other than 0 or 1 are not supported",
    # experientiallabs/experiential#804
    "tools.0.custom: For 'array' type, property 'maxItems' is not supported",
    "output_format.schema: Schema type 'oneOf' is not supported",  # vercel/ai#12876
)


def schema_in(sent: dict[str, Any]) -> Any:
    """Return the schema of the answer or of the only tool in a Messages or Converse request."""
    if tools := sent.get("tools"):
        return tools[0]["input_schema"]
    if config := sent.get("toolConfig"):
        return config["tools"][0]["toolSpec"]["inputSchema"]["json"]
    if config := sent.get("outputConfig"):
        return json.loads(config["textFormat"]["structure"]["jsonSchema"]["schema"])
    return (sent.get("output_format") or sent["output_config"]["format"])["schema"]


@pytest.mark.parametrize("api", ["messages", "converse"])
def test_known_models_get_limits_as_descriptions_at_once(upstream, api):
    name = "anthropic.claude-opus-5" if api == "converse" else "claude-opus-5"
    entry = provider(f"custom/{name}", f"{upstream.url}{'' if api == 'converse' else '/v1'}", [api], name="m")
    with gateway_thread(config([entry])) as gateway:
        upstream.script(*(Script(text='{"maximum": 3}') for _ in CLIENTS))
        for path, body in CLIENTS.values():
            reply = gateway.request("POST", path, {"model": "m", **body})
            assert reply.status == 200, reply.body
            assert schema_in(upstream.seen[-1].json) == {**SCHEMA, "properties": {"maximum": SENT}}, path
            assert ".schema=described" in reply.headers["x-trigate-adapted"]
        assert len(upstream.seen) == len(CLIENTS)


@pytest.mark.parametrize("client", ["chat", "messages", "a tool of messages"])
def test_other_models_get_them_after_a_rejection(upstream, client):
    path, body = CLIENTS[client]
    with gateway_thread(config([provider("custom/x", f"{upstream.url}/v1", ["messages"], name="m")])) as gateway:
        rejection = Raw(400, JSON, (json.dumps({"error": {"message": REJECTIONS[1]}}).encode(),))
        upstream.script(rejection, Script(text='{"maximum": 3}'), Script(text='{"maximum": 3}'))
        for _ in range(2):
            reply = gateway.request("POST", path, {"model": "m", **body})
            assert reply.status == 200, reply.body
            assert "schema=described" in reply.headers["x-trigate-adapted"]
        first, *others = (schema_in(seen.json)["properties"]["maximum"] for seen in upstream.seen)
        assert "minimum" in first
        assert others == [SENT, SENT]


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(ge=1, le=9, multiple_of=1)


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str = Field(min_length=2, max_length=9, pattern=r"^\b\w+$")


class Home(BaseModel):
    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]] = Field(min_length=2, max_length=4)
    area: float = Field(gt=0, lt=1000)


def test_a_pydantic_schema_of_the_openai_sdk_reaches_claude(upstream):
    answer = {"pets": [{"kind": "cat", "lives": 9}, {"kind": "dog", "name": "Rex"}], "area": 80}
    entry = provider("anthropic/claude-haiku-5-5", upstream.url, ["messages"], name="m")
    with gateway_thread(config([entry])) as gateway:
        upstream.script(Script(text=json.dumps(answer)))
        client = OpenAI(base_url=f"{gateway.url}/v1", api_key="k", max_retries=0)
        completion = client.chat.completions.parse(
            model="m", messages=[{"role": "user", "content": "hi"}], response_format=Home
        )
        assert completion.choices[0].message.parsed == Home.model_validate(answer)
        sent = schema_in(upstream.seen[0].json)
        text = json.dumps(sent["$defs"]["Dog"]["properties"]["name"])
        assert all(limit in text for limit in ("minLength", "maxLength", "pattern"))
        assert sent["properties"]["pets"]["minItems"] == 1
        assert list(sent["properties"]["pets"]["items"]) == ["anyOf", "description"]
        assert describe_limits(sent) == sent


@each_row("message", [*REJECTIONS, f"The model returned the following errors: {REJECTIONS[1]}"])
def test_the_words_are_known(message):
    error = read_failure(400, json.dumps({"error": {"message": message}}).encode())
    assert find_rejected(error) == find_sole_rejected(error) == (SCHEMA_LIMITS,)


KEPT = {
    "type": "array", "minItems": 1, "items": {"type": "string", "format": "email", "pattern": "^a+$", "title": "t"},
    "enum": [{"minimum": 1}], "default": {"maximum": 1},
}  # fmt: skip


@each_row(
    "body",
    [
        {"tools": [{"name": "f", "input_schema": SCHEMA}, {"name": "f", "input_schema": SCHEMA, "strict": False}, "x"]},
        {"output_config": {"format": {"type": "json_schema", "schema": KEPT}, "effort": "high"}},
        {"output_format": {"type": "json_schema", "schema": True}},
        {"outputConfig": {"textFormat": {"structure": {"jsonSchema": {"schema": "{"}}}}},
        {"output_config": "x", "output_format": None, "tools": None, "toolConfig": {"tools": 1}, "text": {"format": 1}},
        {"response_format": {"type": "json_schema", "json_schema": "x"}, "minimum": 1},
        {},
    ],
)
def test_other_bodies_stay(body):
    assert describe_limits_in(body) == {}


@each_row(
    "schema", [{"format": ["x"]}, {"pattern": 3}, {"minItems": {}}, {"maximum": None}, {"oneOf": 1}, [], "x", None]
)
def test_schemas_that_are_invalid_do_no_harm(schema):
    describe_limits(schema)
