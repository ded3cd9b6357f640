"""Same API on both sides: what the client wrote reaches the provider, and what the provider wrote reaches the client,
byte for byte."""

from collections.abc import Iterator
from itertools import product

import pytest

from tests.support.apis import OLDER
from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, config, provider
from tests.support.upstreams import JSON, PATHS, STREAM, Raw, Script, Upstream


@pytest.fixture(scope="module")
def gateway(upstream) -> Iterator[Gateway]:
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
    with gateway_thread(config(entries)) as process:
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


@each_row(("stream", "api"), product([True, False], OLDER), every=2)
def test_the_request_differs_only_in_the_model(gateway, upstream, api, stream):
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


@each_row("api", OLDER, every=3)
def test_a_request_that_names_the_providers_model_passes_unchanged(gateway, upstream, api):
    body = REQUESTS[api].replace(b"MODEL", f"real-{api}".encode())
    upstream.script(Script(text="ok"))
    assert gateway.request("POST", PATHS[api], body).status == 200
    assert upstream.seen[0].body == body


@each_row(("more", "api"), product([b"", b"\r\n"], OLDER), every=2)
def test_the_last_bytes_reach_the_client_too(gateway, upstream, api, more):
    """An event is whole with the CR of its last line end: the LF behind it comes after the end of the answer."""
    whole = b"".join(EVENTS[api]).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") + more
    upstream.script(Raw(200, STREAM, tuple(whole[i : i + 1] for i in range(len(whole))), "chunked"))
    body = streaming(REQUESTS[api]).replace(b"MODEL", f"asked-{api}".encode())
    assert gateway.request("POST", PATHS[api], body).body == whole


@each_row(("cut", "api"), product(["as_sent", "joined", "every_7_bytes"], OLDER), every=2)
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


@each_row(("end", "api"), product(["length", "chunked", "close"], OLDER), every=2)
def test_a_whole_answer_reaches_the_client_unchanged(gateway, upstream, api, end):
    upstream.script(Raw(200, JSON, (WHOLE[api],), end))
    reply = gateway.request("POST", PATHS[api], REQUESTS[api].replace(b"MODEL", f"asked-{api}".encode()))
    assert (reply.status, reply.body) == (200, WHOLE[api])
    assert reply.headers["content-type"] == "application/json"


@pytest.mark.sample(9)
@pytest.mark.parametrize("stream", [False, True], ids=["stream_for_whole", "whole_for_stream"])
@pytest.mark.parametrize("n", [1, 2])
def test_two_choices_in_another_form_are_refused_instead_of_halved(gateway, upstream, n, stream):
    """What comes in another form is translated, and a translation has one choice."""
    body = REQUESTS["chat"].replace(b"MODEL", b'asked-chat","n":%d,"x":"' % n)
    answer = (JSON, (WHOLE["chat"],)) if stream else (STREAM, EVENTS["chat"])
    upstream.script(Raw(200, *answer, "close"))
    reply = gateway.request("POST", PATHS["chat"], streaming(body) if stream else body)
    assert reply.status == (200 if n == 1 else 400)
    if n > 1:
        assert (reply.json["error"]["type"], reply.json["error"]["param"]) == ("invalid_request_error", "n")
        assert ("without streaming" if stream else "only with streaming") in reply.json["error"]["message"]


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


@each_row("api", OLDER, every=2)
def test_no_client_chooses_the_version_of_the_providers_api(gateway, upstream, api):
    assert ask(gateway, upstream, api, "?api-version=2&x=a%20b&%62eta=true&key=k").query == ""


def test_the_beta_flag_is_for_messages_upstreams(gateway, upstream):
    assert ask(gateway, upstream, "messages", "?beta=true").query == "beta=true"
    assert "beta" not in ask(gateway, upstream, "chat", "?beta=true").query


@pytest.mark.parametrize("api", OLDER)
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


@each_row("api", OLDER, every=3)
def test_other_headers_are_forwarded(gateway, upstream, api):
    seen = ask(gateway, upstream, api, user_agent="my-agent/1", x_stainless_lang="python", openai_beta="x=v1")
    assert seen.header("user-agent") == "my-agent/1"
    assert seen.header("x-stainless-lang") == "python"
    assert seen.header("openai-beta") == (None if api == "messages" else "x=v1")


IDENTITY = (
    "cf-access-jwt-assertion", "x-amzn-oidc-data", "x-auth-request-access-token", "x-goog-iap-jwt-assertion",
    "x-ms-token-aad-access-token", "x-vault-token", "private-token", "baggage", "true-client-ip", "cf-connecting-ip",
)  # fmt: skip
CHOICES = (
    "openai-organization",
    "openai-project",
    "x-original-url",
    "x-http-method-override",
    "anthropic-workspace-id",
)


@pytest.mark.parametrize("api", OLDER)
def test_identity_and_billing_headers_do_not_reach_the_provider(gateway, upstream, api):
    """(https://developers.cloudflare.com/cloudflare-one/identity/authorization-cookie/validating-json,
    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html)"""
    seen = ask(gateway, upstream, api, **dict.fromkeys((*IDENTITY, *CHOICES, "x-made-up"), "tell-nobody"))
    assert "tell-nobody" not in str(seen.headers)


@each_row("api", OLDER, every=3)
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


COMMANDS = (
    "clear-site-data", "nel", "report-to", "refresh", "link", "location", "www-authenticate", "set-cookie",
    "content-disposition", "x-made-up", "openai-organization", "anthropic-organization-id",
)  # fmt: skip


@each_row(("status", "api"), product([200, 400], OLDER), every=2)
def test_no_command_of_a_provider_to_browsers_and_no_endless_wait_reaches_a_client(gateway, upstream, api, status):
    """(https://www.w3.org/TR/clear-site-data/, RFC 9110, section 10.2.3)"""
    headers = (*((name, '"*"') for name in COMMANDS), ("retry-after", "99999999"), ("retry-after-ms", "1e99"))
    body = WHOLE[api] if status == 200 else b'{"type":"error","error":{"type":"invalid_request_error","message":"no"}}'
    upstream.script(Raw(status, (*JSON, *headers), (body,)))
    reply = gateway.request("POST", PATHS[api], REQUESTS[api].replace(b"MODEL", f"asked-{api}".encode()))
    assert reply.status == status
    assert not set(COMMANDS) & set(reply.headers)
    assert (reply.headers["retry-after"], reply.headers["retry-after-ms"]) == ("2678400", "2678400000")


def spelled(key: str) -> tuple[str, ...]:
    return key, key.replace("-", "\\u002D"), "".join(f"\\u{ord(char):04x}" for char in key), key.replace("-", "%2d")


@each_row(("api", "way"), product(OLDER, range(4)), every=3)
def test_the_gateways_key_is_masked_in_errors_in_every_spelling(gateway, upstream, api, way):
    """(RFC 8259, section 7; BerriAI/litellm#15799)"""
    key = spelled(f"sk-{api}-key")[way].encode()
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
    key = spelled("sk-chat-key")[way]
    error = '{"error":{"message":"a KEY","type":"invalid_request_error","param":"b KEY","code":"c KEY"}}'
    upstream.script(Raw(400, JSON, (error.replace("KEY", key).encode(),)))
    reply = gateway.request("POST", PATHS["responses"], {"model": "asked-chat", "input": "hi"})
    assert reply.status == 400
    told = reply.json["error"]
    assert [told[name] for name in ("message", "param", "code")] == ["a [redacted]", "b [redacted]", "c [redacted]"]


@pytest.mark.parametrize("api", OLDER)
def test_the_gateways_key_is_masked_in_response_headers(gateway, upstream, api):
    names = ("openai-processing-ms", "anthropic-x", "x-request-id", "x-ratelimit-key", "cf-ray")
    for key in spelled(f"sk-{api}-key"):
        upstream.script(Raw(200, (*JSON, *((name, f"a {key} b") for name in names)), (WHOLE[api],)))
        reply = gateway.request("POST", PATHS[api], REQUESTS[api].replace(b"MODEL", f"asked-{api}".encode()))
        assert reply.headers["openai-processing-ms"] == reply.headers["x-trigate-upstream-request-id"]
        assert reply.headers["x-trigate-upstream-request-id"] == "a [redacted] b"
        assert key not in str(reply.headers)


def test_one_clients_cookie_never_goes_out_with_the_next_request(gateway, upstream):
    upstream.script(Raw(200, (*JSON, ("set-cookie", "tenant=one; Path=/")), (WHOLE["chat"],)), Script(text="ok"))
    for _ in range(2):
        gateway.request("POST", PATHS["chat"], REQUESTS["chat"].replace(b"MODEL", b"asked-chat"))
    assert upstream.seen[1].header("cookie") is None


@each_row("api", ["chat", "messages"], every=2)
def test_an_entry_adds_headers_in_both_directions_and_both_lanes(gateway, upstream, api):
    added = {"x-team": "blue", "baggage": "a=1", "openai-project": "p", "x-cost-center": "7", "x-other": "no"}
    answer = Raw(200, (*JSON, ("x-cost-total", "0.5"), ("x-team", "blue"), ("x-other", "no")), (WHOLE["chat"],))
    upstream.script(answer)
    reply = gateway.request("POST", PATHS[api], REQUESTS[api].replace(b"MODEL", b"openai/added"), added)
    assert reply.status == 200, reply.body
    (seen,) = upstream.seen
    assert [seen.header(name) for name in added] == ["blue", "a=1", "p", "7", None]
    assert [reply.headers.get(name) for name in ("x-cost-total", "x-team", "x-other")] == ["0.5", "blue", None]


def test_a_providers_row_lists_the_headers_that_it_reads(gateway, upstream):
    """(https://openrouter.ai/docs/app-attribution)"""
    sent = {"http-referer": "https://app.example", "x-title": "App"}
    upstream.script(Script(text="ok"), Script(text="ok"))
    for model in ("router", "asked-chat"):
        gateway.request("POST", PATHS["chat"], REQUESTS["chat"].replace(b"MODEL", model.encode()), sent)
    assert [seen.header("x-title") for seen in upstream.seen] == ["App", None]
    assert [seen.header("http-referer") for seen in upstream.seen] == ["https://app.example", None]
