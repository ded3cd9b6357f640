"""All 36 pairs of client and provider APIs, streamed and whole, through the gateway.

A client runs a tool and sends its result. The grammars judge every response, and the types of the google-genai package
those of Interactions.
"""

import json
import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import attrs
import pytest

from providers.grammar import judge
from providers.neutral.tool_names import STRICT, short_name
from tests.support.client_turns import ClientInput, Setting, body, items
from tests.support.each_row import each_row
from tests.support.every_api import VENDORS
from tests.support.gateway_thread import serve_module
from tests.support.harness import Gateway, config, provider
from tests.support.returned_answers import answer_items, calls_of
from tests.support.upstreams import JSON, Raw, Script, Tokens, ToolCall
from tests.support.wire_clients import ALL, path_of, text_of, usage_of
from tests.support.wire_transcript import conversation_of

SEAL = "c2VhbGVk"
WEATHER = ToolCall("call_w1", "get_weather", '{"city": "Zürich", "days": 12}')
CALLING = Script(
    thinking="First, think.", seal=SEAL, text="Let me look. 😀", calls=(WEATHER,), stop="tool_calls",
    tokens=Tokens(prompt=1220, cache_read=1000, output=30, reasoning=12),
)  # fmt: skip
SETTING = Setting(system=("Be brief.",), tools=("get_weather",))
THINK: dict[str, dict[str, Any]] = {
    "chat": {"reasoning_effort": "low"},
    "messages": {"max_tokens": 4000, "thinking": {"type": "enabled", "budget_tokens": 1024}},
    "responses": {
        "reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"], "store": False,
    },
    "gemini": {"generationConfig": {"thinkingConfig": {"includeThoughts": True}}},
    "converse": {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}}},
    "interactions": {"generation_config": {"thinking_summaries": "auto"}, "store": False},
}  # fmt: skip

both_forms = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
every_provider = pytest.mark.parametrize("api", ALL, ids=[f"to_{api}" for api in ALL])


@serve_module
def gateway(upstream):
    entries = [
        provider(f"{VENDORS[api]}/up-{api}", upstream.url, [api], name=f"m-{api}{end}", key=f"sk-of-{api}")
        for api in ALL
        for end in ("", "-named-true", "-named-false")
    ]
    return config(entries)


def refusing(message: str) -> Raw:
    error = {"type": "error", "error": {"type": "invalid_request_error", "message": message}}
    return Raw(400, JSON, (json.dumps(error).encode(),))


def ask(gateway: Gateway, client: str, api: str, history: list[Any], stream: bool) -> bytes:
    """Return the response to a client of ``client``. If it was translated, the client's grammar has judged it."""
    model = f"m-{api}"
    asked = {**body(client, SETTING, history, has_format=False), **THINK[client], "model": model}
    if client in ("gemini", "converse"):
        del asked["model"]
    else:
        asked["stream"] = stream
    if client == "chat" and stream:
        asked["stream_options"] = {"include_usage": True}
    reply = gateway.request("POST", path_of(client, model, stream=stream), asked)
    assert (reply.status, reply.headers["x-trigate-lane"]) == (200, "byte" if client == api else "hub"), reply.body
    if client != api or client == "interactions":  # in the byte lane the bytes are those of the test
        verdict = judge(client, reply.body, streamed=stream)
        assert (verdict.broken, verdict.outcome) == (None, "complete")
    return reply.body


@each_row(("api", "stream", "client"), product(ALL, (True, False), ALL))
def test_a_tool_is_called_and_its_result_sent_back(gateway, upstream, client, api, stream):
    upstream.script(CALLING, Script(text="Sunny."))
    history = items(client, ClientInput(texts=("Weather?",)), [])
    answer = ask(gateway, client, api, history, stream)
    assert text_of(client, answer, stream=stream).removeprefix("First, think.") == "Let me look. 😀"
    assert usage_of(client, answer, stream=stream) == (1220, 30)
    returned = answer_items(client, answer, streamed=stream)
    ((id, name),) = calls_of(client, returned)
    assert name == "get_weather"
    history += [*returned, *items(client, ClientInput(texts=(), results="27 °C"), [(id, name)])]
    assert text_of(client, ask(gateway, client, api, history, stream), stream=stream) == "Sunny."

    first, second = (conversation_of(api, seen.json) for seen in upstream.seen)
    assert first == [("system", "Be brief."), ("user", "Weather?")]
    said = [line for line in second if line[0] not in ("thinking", "seal") and line != ("text", "")]
    arguments = {"city": "Zürich", "days": 12}
    assert said == [*first, ("text", "Let me look. 😀"), ("call", id, name, arguments), ("result", id, "27 °C")]
    thoughts = [line for line in second if line[0] in ("thinking", "seal")]
    match api:
        case "gemini":  # a signature alone is enough
            assert thoughts[-1] == ("seal", SEAL)
        case "chat":
            assert thoughts == [("thinking", "First, think.", "")]
        case _:
            assert thoughts == [("thinking", "First, think.", SEAL)]
    assert b"tg1." not in upstream.seen[1].body


@each_row(("api", "client"), product(("chat", "responses", "interactions"), ("messages", "converse")))
def test_an_id_that_the_clients_api_refuses_returns_to_its_provider(gateway, upstream, client, api):
    """Kimi's models stop if they do not see their own ids again (getkimchi/kimchi#1063)."""
    own = "functions.get weather:0"
    upstream.script(Script(calls=(attrs.evolve(WEATHER, id=own),), stop="tool_calls"), Script(text="Sunny."))
    history = items(client, ClientInput(texts=("Weather?",)), [])
    returned = answer_items(client, ask(gateway, client, api, history, False), streamed=False)
    ((id, name),) = calls_of(client, returned)
    assert re.fullmatch("[A-Za-z0-9_-]{1,64}", id)
    history += [*returned, *items(client, ClientInput(texts=(), results="27 °C"), [(id, name)])]
    ask(gateway, client, api, history, False)
    ids = [line[1] for line in conversation_of(api, upstream.seen[1].json) if line[0] in ("call", "result")]
    assert ids == [own, own]


LONG = "mcp__plugin_everything_github__" + "x" * 40 + "_1"
TOO_LONG = {
    "chat": "Invalid 'tools[1].function.name': string too long. Expected a string with maximum length 64, but got a "
    "string with length 73 instead.",
    "messages": "tools.0.custom.name: String should have at most 64 characters",
    "responses": "Invalid 'input[3].name': string too long. Expected a string with maximum length 64, but got a string "
    "with length 73 instead.",
}  # fmt: skip
"""Refusals of names by API; the servers of the others are known to refuse such names."""


@each_row(("api", "stream"), product(ALL, (True, False)))
def test_a_long_name_of_a_tool_is_shortened_and_restored_in_the_clients_own_api(gateway, upstream, api, stream):
    """(openai/codex#46188, anthropics/claude-code#96152, awslabs/agent-plugins#131)"""
    short = short_name(LONG, STRICT)
    setting = Setting(tools=("get_weather", LONG))
    called = Script(calls=(ToolCall("call_w1", short, "{}"),), stop="tool_calls")
    refusals = [refusing(TOO_LONG[api])] if api in TOO_LONG else []
    upstream.script(*refusals, called, Script(text="Sunny."))
    model = f"m-{api}-named-{stream}".lower()
    history = items(api, ClientInput(texts=("Weather?",)), [])
    returned: list[Any] = []
    for _ in range(2):
        asked = {**body(api, setting, history, has_format=False), "model": model, "stream": stream}
        if api in ("gemini", "converse"):
            del asked["model"], asked["stream"]
        reply = gateway.request("POST", path_of(api, model, stream=stream), asked)
        assert (reply.status, reply.headers["x-trigate-lane"]) == (200, "byte"), reply.body
        assert "name=short" in reply.headers["x-trigate-adapted"]
        assert short.encode() not in reply.body
        returned = returned or answer_items(api, reply.body, streamed=stream)
        ((id, name),) = calls_of(api, returned)
        assert name == LONG
        history += [*returned, *items(api, ClientInput(texts=(), results="27 °C"), [(id, name)])]
    sent = upstream.seen[len(refusals) :]
    assert len(sent) == 2
    for seen in sent:
        assert set(re.findall(rb'"(\w+)": *"%b"' % LONG.encode(), seen.body)) <= {b"description"}
    assert sent[1].body.count(short.encode()) > sent[0].body.count(short.encode())


# Google's SDK

genai = pytest.importorskip("google.genai", reason="Google's SDK is not installed")
errors = pytest.importorskip("google.genai._gaos.lib.compat_errors", reason="Google's SDK is not installed")


@pytest.fixture(scope="module")
def interactions(gateway) -> Iterator[Any]:
    """Yield the interactions of Google's client."""
    client = genai.Client(api_key="k", http_options=genai.types.HttpOptions(base_url=gateway.url))
    yield client.interactions
    client.close()


def unknown_parts(value: Any) -> list[Any]:
    """Return the parts of a parsed response for which the SDK has no type."""
    if getattr(value, "is_unknown", False):
        return [value]
    if isinstance(value, list):
        return [part for one in value for part in unknown_parts(one)]
    fields = getattr(value, "model_fields_set", ())
    return [part for name in fields for part in unknown_parts(getattr(value, name))]


@both_forms
@every_provider
def test_googles_client_understands_every_part(gateway, upstream, interactions, api, stream):
    upstream.script(CALLING)
    tool = {"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {}}}
    asked = {"model": f"m-{api}", "input": "Weather?", "tools": [tool], "store": False}
    asked["generation_config"] = {"thinking_summaries": "auto"}
    if not stream:
        whole = interactions.create(**asked)
        assert unknown_parts(whole) == []
        assert (whole.status, whole.model) == ("requires_action", f"{'up' if api == 'interactions' else 'm'}-{api}")
        steps = whole.steps
        thought = ["thought"] if api == "gemini" else []  # the signature of its call
        assert [step.type for step in steps] == ["thought", "model_output", *thought, "function_call"]
        assert (steps[1].content[0].text, steps[-1].arguments) == ("Let me look. 😀", {"city": "Zürich", "days": 12})
        usage = whole.usage
    else:
        events = list(interactions.create(**asked, stream=True))
        assert unknown_parts(events) == []
        kinds = [event.event_type for event in events]
        assert (kinds[0], kinds[-1]) == ("interaction.created", "interaction.completed")
        deltas = [event.delta for event in events if event.event_type == "step.delta"]
        assert "".join(delta.text for delta in deltas if delta.type == "text") == "Let me look. 😀"
        arguments = "".join(delta.arguments for delta in deltas if delta.type == "arguments_delta")
        assert json.loads(arguments) == {"city": "Zürich", "days": 12}
        assert events[-1].interaction.status == "requires_action"
        usage = events[-1].interaction.usage
    assert (usage.total_input_tokens, usage.total_cached_tokens, usage.total_tokens) == (1220, 1000, 1250)
    assert usage.total_output_tokens + usage.total_thought_tokens == 30


@both_forms
@every_provider
def test_googles_client_continues_with_the_steps(gateway, upstream, interactions, api, stream):
    """The SDK's own parsed steps go back, with the result of the call."""
    upstream.script(CALLING, Script(text="Sunny."))
    asked = {"model": f"m-{api}", "store": False, "generation_config": {"thinking_summaries": "auto"}}
    first = interactions.create(**asked, input="Weather?")
    call = first.steps[-1]
    result = {"type": "function_result", "call_id": call.id, "name": call.name, "result": {"degrees": 27}}
    question = {"type": "user_input", "content": [{"type": "text", "text": "Weather?"}]}
    steps = [question, *(step.model_dump(exclude_none=True) for step in first.steps), result]
    found = interactions.create(**asked, input=steps, stream=stream)
    if stream:
        deltas = [event.delta for event in found if event.event_type == "step.delta"]
        assert "".join(delta.text for delta in deltas) == "Sunny."
    else:
        assert (found.status, found.output_text) == ("completed", "Sunny.")
    assert "degrees" in upstream.seen[-1].body.decode()


@each_row("api", ALL)
def test_googles_client_raises_for_an_error(gateway, upstream, interactions, api):
    with pytest.raises(errors.BadRequestError, match="call_id"):
        interactions.create(model=f"m-{api}", input=[{"type": "function_result", "result": "x", "call_id": ""}])
