"""Tests of clients that use their provider's API: the gateway passes requests and responses on byte for byte."""

from itertools import product

import pytest

from tests.support.apis import OLDER
from tests.support.each_row import each_row
from tests.support.gateway_thread import serve_module
from tests.support.harness import Gateway, config, provider
from tests.support.upstreams import JSON, PATHS, STREAM, Raw, Script, Upstream


@serve_module
def gateway(upstream):
    vendors = {"chat": "openai", "messages": "anthropic", "responses": "openai"}
    entries = [
        provider(f"{vendors[api]}/real-{api}", upstream.url, [api], name=f"asked-{api}", key=f"sk-{api}-key")
        for api in OLDER
    ]
    entries += [
        provider(
            "openai/added", upstream.url, ["chat"], pass_headers=["X-Team", "baggage", "openai-project", "x-cost-*"]
        ),
        provider("openrouter/added", upstream.url, ["chat"], name="router"),
    ]
    return config(entries)


# The client's white space, order of members, spelling of numbers, escapes and unknown members must stay.
REQUESTS = {
    "chat": (
        b'{"zeta":{"b" : 1.0,  "a":1e2},"model":"MODEL","temperature":1.0,"seed":12345678901234567890123,'
        b'"messages":[{"content":"caf\\u00e9 \xc3\xa9 \\ud83d\\ude00 \\/ \\u2028","role":"user" , "x":[ 1.50 ]}],'
        b'"top_p":1e0,"tools":[{"type":"function","function":{"name":"f","parameters":{"z":1,"a":{}}}}],"a":null}'
    ),
    "messages": (
        b'{"max_tokens":100,"messages":[{"role":"user","content":[{"text":"caf\\u00e9","type":"text",'
        b'"cache_control":{"type":"ephemeral" }}]}],"model":"MODEL","future":{"n":1.0E+2,"big":18446744073709551616},'
        b'"system":[{"type":"text","text":"x\\ty"}],"metadata":{ "user_id":"u"}}'
    ),
    "responses": (
        b'{"input":[{"role":"user","content":[{"type":"input_text","text":"caf\\u00E9"}], "k":-0.0}],"store":false,'
        b'"model":"MODEL","include":[ ],"client_metadata":{"z":1.10,"a":9007199254740993},"max_output_tokens":100}'
    ),
}

EVENTS = {
    "chat": (
        b': a comment\n\ndata:{"id":"c1",  "object":"chat.completion.chunk","created":1,"model":"real-chat","x":1.0,'
        b'"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"caf\\u00e9 \xe2\x80\xa8"},"index":0}], "obfuscation":"abc"}\r\n\r\n',
        b'event: odd\ndata: {"never":"seen before"}\n\n',
        b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n',
    ),
    "messages": (
        b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message","role":'
        b'"assistant","content":[],"model":"real-messages","stop_reason":null,"stop_sequence":null,"usage":'
        b'{"input_tokens":3,"output_tokens":1 ,"future":1.0}}  }\n\n',
        b'event: ping\ndata: {"type": "ping"}\n\nevent: tomorrow\ndata: {"type":"tomorrow","n":1e2}\n\n',
        b'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":'
        b'{"type":"text","text":""} }\n\nevent: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
        b'"delta":{"type":"text_delta","text":"caf\\u00e9"}}\n\n',
        b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0 }\n\n: comment\n\n',
        b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
        b'"usage":{"output_tokens":5}}\n\nevent: message_stop\ndata: {"type":"message_stop"  }\n\n',
    ),
    "responses": (
        b'event: response.created\ndata: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1",'
        b'"object":"response","status":"in_progress","model":"real-responses","output":[]}}\n\n',
        b'event: response.output_item.added\ndata: {"type":"response.output_item.added","sequence_number":1,'
        b'"output_index":0,"item":{"id":"msg_1","type":"message","status":"in_progress","role":"assistant",'
        b'"content":[]}}\n\nevent: response.output_text.delta\ndata: {"type":"response.output_text.delta",'
        b'"sequence_number":2,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"caf\\u00e9","x" : 1.0}\n\n',
        # Before the content, the gateway also sends keep-alives of its own: see test_streams.py.
        b'event: keepalive\ndata: {"type":"keepalive","sequence_number":3}\n\n',
        b'event: response.completed\ndata: {"type":"response.completed","sequence_number":4,"response":{"id":"resp_1",'
        b'"object":"response","status":"completed","output":[],"usage":{"input_tokens":1,"output_tokens":1,'
        b'"total_tokens":2}}}\n\n',
    ),
}

WHOLE = {
    "chat": (
        b'{ "id" : "c1","object":"chat.completion","created":1,"model":"real-chat","future":{"n":1.0, "e":1e2},'
        b'"choices":[{"index":0,"message":{"role":"assistant","content":"caf\\u00e9","annotations":[]},'
        b'"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}\n'
    ),
    "messages": (
        b'{"future":[1.0],"id":"msg_1","type":"message","role":"assistant","model":"real-messages","content":'
        b'[{"type":"text","text":"caf\\u00e9"},{"type":"tomorrow","n":1e2}], "stop_reason":"end_turn",'
        b'"stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}'
    ),
    "responses": (
        b'{"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"real-responses","error":null,'
        b'"output":[{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[{"type":'
        b'"output_text","text":"caf\\u00e9","annotations":[]}]}],"future" : 1.0,"usage":{"input_tokens":1,'
        b'"output_tokens":1,"total_tokens":2}}'
    ),
}


def streaming(body: bytes) -> bytes:
    return body[:-1] + b',"stream":true}'


@each_row(("stream", "api"), product([True, False], OLDER))
def test_the_request_differs_only_in_the_model(gateway, upstream, api, stream):
    body = streaming(REQUESTS[api]) if stream else REQUESTS[api]
    upstream.script(Script(text="ok"))
    reply = gateway.request("POST", PATHS[api], body.replace(b"MODEL", f"asked-{api}".encode()))
    assert reply.status == 200
    assert reply.headers["x-trigate-lane"] == "byte"
    expected = body.replace(b"MODEL", f"real-{api}".encode())
    if stream and api == "chat":  # the gateway requests the token counts
        expected = expected[:-1] + b',"stream_options":{"include_usage":true}}'
    assert upstream.seen[0].body == expected
    assert "x-trigate-dropped" not in reply.headers


@each_row(("cut", "api"), product(["as_sent", "joined", "every_7_bytes"], OLDER))
def test_events_reach_the_client_unchanged(gateway, upstream, api, cut):
    events = EVENTS[api]
    whole = b"".join(events)
    pieces = {
        "as_sent": events,
        "joined": (whole,),
        "every_7_bytes": tuple(whole[i : i + 7] for i in range(0, len(whole), 7)),
    }[cut]
    upstream.script(Raw(200, STREAM, pieces, "chunked"))
    body = streaming(REQUESTS[api]).replace(b"MODEL", f"asked-{api}".encode())
    reply = gateway.request("POST", PATHS[api], body)
    assert reply.status == 200
    assert reply.body == whole
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.headers["cache-control"] == "no-cache"
    assert reply.headers["x-accel-buffering"] == "no"
    assert "content-length" not in reply.headers


@each_row("api", OLDER)
def test_line_ends_after_the_last_event_reach_the_client(gateway, upstream, api):
    """An event is complete with the CR of its last line end: the LF arrives after the end of the answer."""
    whole = b"".join(EVENTS[api]).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") + b"\r\n"
    upstream.script(Raw(200, STREAM, (whole[:-3], whole[-3:]), "chunked"))
    body = streaming(REQUESTS[api]).replace(b"MODEL", f"asked-{api}".encode())
    assert gateway.request("POST", PATHS[api], body).body == whole


@each_row(("end", "api"), product(["length", "chunked", "close"], OLDER))
def test_a_whole_answer_reaches_the_client_unchanged(gateway, upstream, api, end):
    upstream.script(Raw(200, JSON, (WHOLE[api],), end))
    reply = gateway.request("POST", PATHS[api], REQUESTS[api].replace(b"MODEL", f"asked-{api}".encode()))
    assert (reply.status, reply.body) == (200, WHOLE[api])
    assert reply.headers["content-type"] == "application/json"


@pytest.mark.soak
def test_an_event_of_eight_megabytes_passes(gateway, upstream):
    big = b'data: {"choices":[{"index":0,"delta":{"content":"' + b"x" * (8 * 2**20) + b'"}}]}\n\n'
    pieces = tuple(big[i : i + 65536] for i in range(0, len(big), 65536))
    upstream.script(Raw(200, STREAM, (*pieces, *EVENTS["chat"][3:]), "chunked"))
    body = streaming(REQUESTS["chat"]).replace(b"MODEL", b"asked-chat")
    assert gateway.request("POST", PATHS["chat"], body).body == big + EVENTS["chat"][3]


def ask(gateway: Gateway, upstream: Upstream, api: str, query: str = "", **headers: str):
    upstream.script(Script(text="ok"))
    body = REQUESTS[api].replace(b"MODEL", f"asked-{api}".encode())
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    reply = gateway.request("POST", PATHS[api] + query, body, named)
    assert reply.status == 200
    return upstream.seen[0]


@each_row("api", OLDER)
def test_no_client_chooses_the_version_of_the_providers_api(gateway, upstream, api):
    assert ask(gateway, upstream, api, "?api-version=2&x=a%20b&%62eta=true&key=k").query == ""


def spellings(key: str) -> tuple[str, ...]:
    return key, key.replace("-", "\\u002D"), "".join(f"\\u{ord(char):04x}" for char in key), key.replace("-", "%2d")


@each_row(("api", "way"), product(OLDER, range(4)))
def test_the_gateways_key_is_masked_in_errors_in_every_spelling(gateway, upstream, api, way):
    """(RFC 8259, section 7; BerriAI/litellm#15799)"""
    key = spellings(f"sk-{api}-key")[way].encode()
    error = b'{"type":"error","error":{"type":"invalid_request_error","message":"bad key: %b", "x" : 1.0}}' % key
    body = REQUESTS[api].replace(b"MODEL", f"asked-{api}".encode())
    upstream.script(Raw(400, JSON, (error,)))
    reply = gateway.request("POST", PATHS[api], body)
    assert (reply.status, reply.body) == (400, error.replace(key, b"[redacted]"))
    opening = EVENTS[api][0] + (EVENTS[api][2] if api == "messages" else b"")
    upstream.script(Raw(200, STREAM, (opening, b"event: error\ndata: " + error + b"\n\n"), "chunked"))
    reply = gateway.request("POST", PATHS[api], streaming(body))
    assert key not in reply.body
    assert b"[redacted]" in reply.body


@pytest.mark.parametrize("way", range(4), ids=["plain", "hyphens", "all escaped", "in a URL"])
def test_a_rewritten_error_has_no_key_in_any_member(gateway, upstream, way):
    key = spellings("sk-chat-key")[way]
    error = '{"error":{"message":"a KEY","type":"invalid_request_error","param":"b KEY","code":"c KEY"}}'
    upstream.script(Raw(400, JSON, (error.replace("KEY", key).encode(),)))
    reply = gateway.request("POST", PATHS["responses"], {"model": "asked-chat", "input": "hi"})
    assert reply.status == 400
    told = reply.json["error"]
    assert [told[name] for name in ("message", "param", "code")] == ["a [redacted]", "b [redacted]", "c [redacted]"]


@pytest.mark.parametrize("api", OLDER)
def test_the_gateways_key_is_masked_in_response_headers(gateway, upstream, api):
    names = ("openai-processing-ms", "anthropic-x", "x-request-id", "x-ratelimit-key", "cf-ray")
    for key in spellings(f"sk-{api}-key"):
        upstream.script(Raw(200, (*JSON, *((name, f"a {key} b") for name in names)), (WHOLE[api],)))
        reply = gateway.request("POST", PATHS[api], REQUESTS[api].replace(b"MODEL", f"asked-{api}".encode()))
        assert reply.headers["openai-processing-ms"] == reply.headers["x-trigate-upstream-request-id"]
        assert reply.headers["x-trigate-upstream-request-id"] == "a [redacted] b"
        assert key not in str(reply.headers)


@each_row("api", ["chat", "messages"])
def test_an_entry_adds_headers_in_both_directions_and_both_lanes(gateway, upstream, api):
    added = {"x-team": "blue", "baggage": "a=1", "openai-project": "p", "x-cost-center": "7", "x-other": "no"}
    answer = Raw(200, (*JSON, ("x-cost-total", "0.5"), ("x-team", "blue"), ("x-other", "no")), (WHOLE["chat"],))
    upstream.script(answer)
    reply = gateway.request("POST", PATHS[api], REQUESTS[api].replace(b"MODEL", b"openai/added"), added)
    assert reply.status == 200, reply.body
    (seen,) = upstream.seen
    assert [seen.header(name) for name in added] == ["blue", "a=1", "p", "7", None]
    assert [reply.headers.get(name) for name in ("x-cost-total", "x-team", "x-other")] == ["0.5", "blue", None]


@pytest.mark.parametrize("stream", [False, True], ids=["stream_for_whole", "whole_for_stream"])
@pytest.mark.parametrize("n", [1, 2])
def test_two_choices_in_another_form_are_refused_instead_of_halved(gateway, upstream, n, stream):
    """A request in another form is translated, and a translation has one choice."""
    body = REQUESTS["chat"].replace(b"MODEL", b'asked-chat","n":%d,"x":"' % n)
    answer = (JSON, (WHOLE["chat"],)) if stream else (STREAM, EVENTS["chat"])
    upstream.script(Raw(200, *answer, "close"))
    reply = gateway.request("POST", PATHS["chat"], streaming(body) if stream else body)
    assert reply.status == (200 if n == 1 else 400)
    if n > 1:
        assert (reply.json["error"]["type"], reply.json["error"]["param"]) == ("invalid_request_error", "n")
        assert ("without streaming" if stream else "only with streaming") in reply.json["error"]["message"]
