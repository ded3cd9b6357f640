"""Same API on both sides: what the client wrote reaches the provider, and what the provider wrote reaches the client,
byte for byte."""

from collections.abc import Iterator

import pytest

from tests.support.harness import Gateway, config, free_port, provider, running
from tests.support.upstreams import PATHS, Raw, Script, Upstream

APIS = ("chat", "messages", "responses")
SSE = (("content-type", "text/event-stream"),)
JSON = (("content-type", "application/json"),)


@pytest.fixture(scope="module")
def gateway(upstream) -> Iterator[Gateway]:
    vendors = {"chat": "openai", "messages": "anthropic", "responses": "openai"}
    entries = [
        provider(f"{vendors[api]}/real-{api}", upstream.url, [api], name=f"asked-{api}", key=f"sk-{api}-key")
        for api in APIS
    ]
    port = free_port()
    with running(config(entries, port), port) as process:
        yield process


# White space inside values, member order, number spellings, escapes, unknown members: all of it the client's own.
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
        b'event: keepalive\ndata: {"type":"keepalive","sequence_number":1}\n\n',
        b'event: response.output_item.added\ndata: {"type":"response.output_item.added","sequence_number":2,'
        b'"output_index":0,"item":{"id":"msg_1","type":"message","status":"in_progress","role":"assistant",'
        b'"content":[]}}\n\nevent: response.output_text.delta\ndata: {"type":"response.output_text.delta",'
        b'"sequence_number":3,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"caf\\u00e9","x" : 1.0}\n\n',
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


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("api", APIS)
def test_the_request_differs_in_the_model_alone(gateway, upstream, api, stream):
    body = streaming(REQUESTS[api]) if stream else REQUESTS[api]
    upstream.script(Script(text="ok"))
    reply = gateway.request("POST", PATHS[api], body.replace(b"MODEL", f"asked-{api}".encode()))
    assert reply.status == 200
    assert reply.headers["x-trigate-lane"] == "byte"
    expected = body.replace(b"MODEL", f"real-{api}".encode())
    if stream and api == "chat":  # its tokens are counted, too
        expected = expected[:-1] + b',"stream_options":{"include_usage":true}}'
    assert upstream.seen[0].body == expected
    assert "x-trigate-dropped" not in reply.headers


@pytest.mark.parametrize("api", APIS)
def test_a_request_that_names_the_providers_model_passes_as_it_is(gateway, upstream, api):
    body = REQUESTS[api].replace(b"MODEL", f"real-{api}".encode())
    upstream.script(Script(text="ok"))
    assert gateway.request("POST", PATHS[api], body).status == 200
    assert upstream.seen[0].body == body


@pytest.mark.parametrize("more", [b"", b"\r\n"], ids=["", "and_a_blank_line"])
@pytest.mark.parametrize("api", APIS)
def test_the_last_bytes_reach_the_client_too(gateway, upstream, api, more):
    """An event is whole with the CR of its last line end: the LF behind it comes after the end of the answer."""
    whole = b"".join(EVENTS[api]).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") + more
    upstream.script(Raw(200, SSE, tuple(whole[i : i + 1] for i in range(len(whole))), "chunked"))
    body = streaming(REQUESTS[api]).replace(b"MODEL", f"asked-{api}".encode())
    assert gateway.request("POST", PATHS[api], body).body == whole


@pytest.mark.parametrize("cut", ["as_sent", "joined", "every_7_bytes"])
@pytest.mark.parametrize("api", APIS)
def test_events_reach_the_client_unchanged(gateway, upstream, api, cut):
    events = EVENTS[api]
    whole = b"".join(events)
    pieces = {
        "as_sent": events,
        "joined": (whole,),
        "every_7_bytes": tuple(whole[i : i + 7] for i in range(0, len(whole), 7)),
    }[cut]
    upstream.script(Raw(200, SSE, pieces, "chunked"))
    body = streaming(REQUESTS[api]).replace(b"MODEL", f"asked-{api}".encode())
    reply = gateway.request("POST", PATHS[api], body)
    assert reply.status == 200
    assert reply.body == whole
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.headers["cache-control"] == "no-cache"
    assert reply.headers["x-accel-buffering"] == "no"
    assert "content-length" not in reply.headers


@pytest.mark.parametrize("end", ["length", "chunked", "close"])
@pytest.mark.parametrize("api", APIS)
def test_a_whole_answer_reaches_the_client_unchanged(gateway, upstream, api, end):
    upstream.script(Raw(200, JSON, (WHOLE[api],), end))
    reply = gateway.request("POST", PATHS[api], REQUESTS[api].replace(b"MODEL", f"asked-{api}".encode()))
    assert (reply.status, reply.body) == (200, WHOLE[api])
    assert reply.headers["content-type"] == "application/json"


@pytest.mark.parametrize("stream", [False, True], ids=["stream_for_whole", "whole_for_stream"])
@pytest.mark.parametrize("n", [1, 2])
def test_two_choices_in_another_form_than_was_asked_for_are_refused_and_not_halved(gateway, upstream, n, stream):
    """What comes in another form is translated, and a translation has one choice."""
    body = REQUESTS["chat"].replace(b"MODEL", b'asked-chat","n":%d,"x":"' % n)
    answer = (JSON, (WHOLE["chat"],)) if stream else (SSE, EVENTS["chat"])
    upstream.script(Raw(200, *answer, "close"))
    reply = gateway.request("POST", PATHS["chat"], streaming(body) if stream else body)
    assert reply.status == (200 if n == 1 else 400)
    if n > 1:
        assert (reply.json["error"]["type"], reply.json["error"]["param"]) == ("invalid_request_error", "n")
        assert ("stream" if stream else "whole") in reply.json["error"]["message"]


def test_an_event_of_eight_megabytes_passes(gateway, upstream):
    big = b'data: {"choices":[{"index":0,"delta":{"content":"' + b"x" * (8 * 2**20) + b'"}}]}\n\n'
    pieces = tuple(big[i : i + 65536] for i in range(0, len(big), 65536))
    upstream.script(Raw(200, SSE, (*pieces, *EVENTS["chat"][3:]), "chunked"))
    body = streaming(REQUESTS["chat"]).replace(b"MODEL", b"asked-chat")
    assert gateway.request("POST", PATHS["chat"], body).body == big + EVENTS["chat"][3]


def ask(gateway: Gateway, upstream: Upstream, api: str, query: str = "", **headers: str):
    upstream.script(Script(text="ok"))
    body = REQUESTS[api].replace(b"MODEL", f"asked-{api}".encode())
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    reply = gateway.request("POST", PATHS[api] + query, body, named)
    assert reply.status == 200
    return upstream.seen[0]


@pytest.mark.parametrize("api", APIS)
def test_the_query_string_is_forwarded(gateway, upstream, api):
    assert ask(gateway, upstream, api, "?api-version=2&x=a%20b").query == "api-version=2&x=a%20b"


def test_the_beta_flag_is_for_messages_upstreams(gateway, upstream):
    assert ask(gateway, upstream, "messages", "?beta=true").query == "beta=true"
    assert "beta" not in ask(gateway, upstream, "chat", "?beta=true").query


@pytest.mark.parametrize("api", APIS)
def test_the_clients_credentials_and_connection_headers_stay_here(gateway, upstream, api):
    private = {
        "authorization": "Bearer sk-client", "x_api_key": "sk-client", "api_key": "sk-client",
        "x_goog_api_key": "sk-client", "cookie": "session=sk-client", "proxy_authorization": "Basic c2s=",
        "connection": "keep-alive, x-hop", "x_hop": "sk-client", "keep_alive": "timeout=5", "te": "trailers",
        "x_forwarded_for": "10.0.0.1", "x_forwarded_host": "inside", "forwarded": "for=10.0.0.1",
    }  # fmt: skip
    seen = ask(gateway, upstream, api, **private)
    own = {"messages": ("x-api-key", "sk-messages-key")}.get(api, ("authorization", f"Bearer sk-{api}-key"))
    assert own in seen.headers
    assert "sk-client" not in str(seen.headers)
    names = [name for name, _ in seen.headers]
    assert not {"cookie", "x-hop", "keep-alive", "te", "proxy-authorization", "forwarded"} & set(names)
    assert not [name for name in names if name.startswith("x-forwarded-")]
    assert seen.header("host") == upstream.url.removeprefix("http://")
    assert seen.header("accept-encoding") == "identity"
    assert seen.header("content-type") == "application/json"
    assert len(names) == len(set(names))


@pytest.mark.parametrize("api", APIS)
def test_other_headers_are_forwarded(gateway, upstream, api):
    seen = ask(gateway, upstream, api, user_agent="my-agent/1", x_stainless_lang="python", openai_beta="x=v1")
    assert seen.header("user-agent") == "my-agent/1"
    assert seen.header("x-stainless-lang") == "python"


@pytest.mark.parametrize("api", APIS)
def test_anthropic_headers_go_to_messages_upstreams_only(gateway, upstream, api):
    seen = ask(gateway, upstream, api, anthropic_version="2026-10-21", anthropic_beta="a-1,b-2")
    expected = ("2026-10-21", "a-1,b-2") if api == "messages" else (None, None)
    assert (seen.header("anthropic-version"), seen.header("anthropic-beta")) == expected


def test_the_answers_headers_pass_without_cookies_and_hops(gateway, upstream):
    headers = (
        ("set-cookie", "a=b"), ("server", "nginx"), ("x-request-id", "req_up"), ("openai-processing-ms", "12"),
        ("x-ratelimit-remaining-tokens", "77"), ("anthropic-ratelimit-requests-limit", "5"), ("retry-after", "9"),
        ("keep-alive", "timeout=5"),
    )  # fmt: skip
    upstream.script(Raw(200, (*JSON, *headers), (WHOLE["chat"],)))
    reply = gateway.request("POST", PATHS["chat"], REQUESTS["chat"].replace(b"MODEL", b"asked-chat"))
    assert reply.headers["openai-processing-ms"] == "12"
    assert reply.headers["x-ratelimit-remaining-tokens"] == "77"
    assert reply.headers["anthropic-ratelimit-requests-limit"] == "5"
    assert reply.headers["x-trigate-upstream-request-id"] == "req_up"
    assert reply.headers["x-request-id"] != "req_up"
    assert not {"set-cookie", "keep-alive"} & set(reply.headers)
    assert reply.headers.get("server") != "nginx"


def test_one_clients_cookie_never_goes_out_with_the_next_request(gateway, upstream):
    upstream.script(Raw(200, (*JSON, ("set-cookie", "tenant=one; Path=/")), (WHOLE["chat"],)), Script(text="ok"))
    for _ in range(2):
        gateway.request("POST", PATHS["chat"], REQUESTS["chat"].replace(b"MODEL", b"asked-chat"))
    assert upstream.seen[1].header("cookie") is None
