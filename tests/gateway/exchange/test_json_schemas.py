"""Models that only have JSON mode, and requests with a JSON Schema (BerriAI/litellm#7580, llm-exe/llm-exe#662)."""

import json
from typing import Any

import pytest

from providers.errors.failures import read_failure
from providers.errors.json_schemas import use_json_mode
from providers.errors.other_shapes import JSON_SCHEMA
from providers.errors.rejected import find_rejected, find_sole_rejected
from providers.neutral.formats import format_in_words
from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import config, provider
from tests.support.upstreams import JSON, Raw, Script

DEEPSEEK = "This response_format type is unavailable now"
OLDER_DEEPSEEK = (
    "Failed to deserialize the JSON body into the target type: response_format: response_format.type `json_schema` is "
    "unavailable now at line 1 column 1193"
)
GROQ = (
    "This model does not support response format `json_schema`. See supported models at "
    "https://console.groq.com/docs/structured-outputs#supported-models"
)
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}
TURN: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]
CLIENTS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": TURN, "response_format": FORMAT},
    "/v1/responses": {
        "input": "hi",
        "text": {"format": {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True}},
    },
    "/v1/messages": {
        "max_tokens": 9,
        "messages": TURN,
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
    },
}


@pytest.mark.parametrize("path", CLIENTS)
def test_the_schema_becomes_an_instruction_and_this_is_remembered(upstream, path):
    entry = provider("custom/json", f"{upstream.url}/v1", ["chat"], name="json", provider_interface="openai")
    with gateway_thread(config([entry])) as gateway:
        rejection = Raw(400, JSON, (json.dumps({"error": {"message": DEEPSEEK}}).encode(),))
        upstream.script(rejection, Script(text='{"a": "b"}'), Script(text='{"a": "b"}'))
        replies = [gateway.request("POST", path, {"model": "json", **CLIENTS[path]}) for _ in range(2)]
        assert [reply.status for reply in replies] == [200, 200], replies[0].body
        first, *others = (seen.json for seen in upstream.seen)
        assert first["response_format"]["json_schema"]["schema"] == SCHEMA
        for sent in others:
            assert sent["response_format"] == {"type": "json_object"}
            assert sent["messages"][:-1] == first["messages"] == TURN
            written = format_in_words(sent["messages"][-1]["content"])
            assert written is not None
            assert written.schema == SCHEMA
        assert all("response_format" in reply.headers["x-trigate-dropped"] for reply in replies)


def test_strict_mode_shows_the_rejection(upstream):
    entry = provider("custom/json", f"{upstream.url}/v1", ["chat"], name="json", provider_interface="openai")
    with gateway_thread(config([entry])) as gateway:
        upstream.script(Raw(400, JSON, (json.dumps({"error": {"message": DEEPSEEK}}).encode(),)), Script(text="{}"))
        body = {"model": "json", **CLIENTS["/v1/chat/completions"]}
        reply = gateway.request("POST", "/v1/chat/completions", body, {"x-trigate-strict": "1"})
        assert (reply.status, len(upstream.seen)) == (400, 1)


@each_row("message", [DEEPSEEK, OLDER_DEEPSEEK, GROQ])
def test_the_words_of_servers_are_known(message):
    error = read_failure(400, json.dumps({"error": {"message": message}}).encode())
    assert find_rejected(error) == find_sole_rejected(error) == (JSON_SCHEMA,)


@each_row(
    "body",
    [
        {"messages": TURN, "response_format": {"type": "json_object"}},
        {"messages": TURN, "response_format": "json_schema"},
        {"messages": "hi", "response_format": FORMAT},
        {"messages": TURN},
        {},
    ],
)
def test_other_formats_stay(body):
    assert use_json_mode(body) == {}


def test_the_instruction_precedes_the_beginning_of_an_answer():
    begun = [*TURN, {"role": "assistant", "content": "{"}]
    changed = use_json_mode({"messages": begun, "response_format": {"type": "json_schema", "json_schema": None}})
    assert [message["role"] for message in changed["messages"]] == ["user", "system", "assistant"]
