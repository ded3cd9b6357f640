"""Tests of Claude Code's web search with a model without search: the answer states which tool the gateway left out
(router-for-me/CLIProxyAPI#883)."""

import json
from typing import Any

from tests.support.each_row import each_row
from tests.support.gateway_thread import serve_module
from tests.support.harness import config, eventually, exchanges, provider
from tests.support.upstreams import Script
from tests.support.wire_clients import text_of

SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
OTHER = {"name": "Read", "input_schema": {"type": "object", "properties": {}}}
NOTE = "[web_search is not available with plain: this answer was written without it.]\n\n"


@serve_module
def gateway(upstream):
    entries = [
        provider("openai/m", upstream.url, ["chat"], name="plain"),
        provider("anthropic/m", upstream.url, ["messages"], name="searching"),
    ]
    return config(entries)


def tools_request(model: str, tools: list[Any], *, stream: bool, **more: Any) -> dict[str, Any]:
    """Return the request of Claude Code's search, or one with other ``tools``."""
    turn = {"role": "user", "content": "Perform a web search for the query: trio cancellation"}
    return {"model": model, "max_tokens": 99, "messages": [turn], "tools": tools, "stream": stream, **more}


@each_row("stream", [True, False])
def test_the_answer_and_the_header_state_the_name_of_a_search_that_was_left_out(gateway, upstream, stream):
    upstream.script(Script(thinking="Hm.", text="I remember."))
    reply = gateway.request("POST", "/v1/messages", tools_request("plain", [SEARCH], stream=stream))
    assert reply.headers["x-trigate-dropped"] == "tools[],tools[]: web_search"
    assert text_of("messages", reply.body, stream=stream).replace("Hm.", "") == NOTE + "I remember."
    (line,) = eventually(lambda: exchanges(gateway.log, reply.headers["x-request-id"]))
    assert line["dropped"] == reply.headers["x-trigate-dropped"]
    if stream:
        started = [data for name, data in reply.events() if name == "content_block_start"]
        assert [event["index"] for event in started] == list(range(len(started)))
        assert started[0]["content_block"]["text"] == ""
    else:
        assert json.loads(reply.body)["content"][0] == {"type": "text", "text": NOTE, "citations": []}


@each_row(
    ("model", "tools", "more", "dropped"),
    [
        ("plain", [SEARCH, OTHER], {}, "tools[],tools[]: web_search"),
        ("plain", [OTHER], {}, None),
        ("searching", [SEARCH], {}, None),
        (
            "plain",
            [SEARCH],
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
            "tools[],tools[]: web_search",
        ),
    ],
)
def test_other_answers_have_no_note(gateway, upstream, model, tools, more, dropped):
    upstream.script(Script(text="fine"))
    reply = gateway.request("POST", "/v1/messages", tools_request(model, tools, stream=False, **more))
    assert text_of("messages", reply.body, stream=False) == "fine"
    assert reply.headers.get("x-trigate-dropped") == dropped


def test_strict_mode_refuses_the_search_and_states_its_name(gateway, upstream):
    body = tools_request("plain", [SEARCH], stream=False)
    reply = gateway.request("POST", "/v1/messages", body, {"x-trigate-strict": "1"})
    assert reply.status == 400
    assert "tools[]: web_search" in reply.json["error"]["message"]
