"""Models that reject streams. The client's stream is made from a whole answer, also for later requests.

OpenAI's to unverified organizations: RooCodeInc/Roo-Code#6868, charmbracelet/crush#1216, QuantumNous/new-api#1591.
Llama with tools at Bedrock: earendil-works/pi#3739, n8n-io/n8n#14206, vercel-labs/fx#900, obot-platform/obot#4101.
"""

from typing import Any

from tests.support.each_row import each_row
from tests.support.gateway_thread import serve_module
from tests.support.harness import Gateway, config, provider
from tests.support.upstreams import JSON, Raw, Script

UNVERIFIED = (
    "Your organization must be verified to stream this model. Please go to: "
    "https://platform.openai.com/settings/organization/general and click on Verify Organization. If you just verified, "
    "it can take up to 15 minutes for access to propagate."
)
NO_TOOLS = "This model doesn't support tool use in streaming mode."
USER = {"role": "user", "content": "hi"}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
APIS = ("chat", "responses", "messages", "gemini", "converse")
NAMES = (*APIS, "chat-2", "converse-2", "converse-3")


def reject(message: str) -> Raw:
    body = f'{{"error":{{"message":"{message}","param":"stream","code":"unsupported_value"}},"message":"{message}"}}'
    return Raw(400, JSON, (body.encode(),))


@serve_module
def gateway(upstream):
    entries = []
    for name in NAMES:
        api = name.partition("-")[0]
        base = upstream.url if api in ("converse", "gemini") else f"{upstream.url}/v1"
        entries.append(provider(f"custom/x-{name}", base, [api], name=name))
    return config(entries)


def ask(gateway: Gateway, name: str, **members: Any) -> Any:
    body = {"model": name, "stream": True, "messages": [USER], **members}
    return gateway.request("POST", "/v1/chat/completions", body)


def is_streamed(seen: Any) -> bool:
    return bool(seen.json.get("stream")) or "stream" in seen.path.lower()


@each_row("name", APIS)
def test_the_client_gets_a_stream_and_the_next_request_is_not_rejected(gateway, upstream, name):
    upstream.script(reject(UNVERIFIED), Script(text="Hello"), Script(text="Hello"))
    replies = [ask(gateway, name, stream_options={"include_usage": True}) for _ in range(2)]
    for reply in replies:
        assert (reply.status, reply.headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
        assert b'"content":"Hello"' in reply.body
        assert b'"usage":{' in reply.body
        assert reply.body.endswith(b"data: [DONE]\n\n")
    assert [reply.headers["x-trigate-attempts"] for reply in replies] == ["2", "1"]
    assert [is_streamed(seen) for seen in upstream.seen] == [True, False, False]
    assert all("stream_options" not in seen.json for seen in upstream.seen[1:])


def test_requests_without_tools_stay_streams(gateway, upstream):
    upstream.script(reject(NO_TOOLS), *(Script(text="Hello") for _ in range(3)))
    replies = [ask(gateway, "converse-2", **members) for members in ({"tools": TOOLS}, {"tools": TOOLS}, {})]
    assert [reply.headers["x-trigate-attempts"] for reply in replies] == ["2", "1", "1"]
    assert [is_streamed(seen) for seen in upstream.seen] == [True, False, False, True]


@each_row(
    ("name", "members"),
    [("chat-2", {"n": 2}), ("converse-3", {"stream": False})],
    ids=["several choices", "a whole answer"],
)
def test_other_requests_get_the_rejection(gateway, upstream, name, members):
    upstream.script(reject(UNVERIFIED), Script(text="Hello"))
    reply = ask(gateway, name, **members)
    assert (reply.status, len(upstream.seen)) == (400, 1)
    assert b"must be verified" in reply.body
