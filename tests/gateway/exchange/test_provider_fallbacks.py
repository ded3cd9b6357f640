"""A provider that has run the fallbacks of a request itself (anthropic 2.12, beta server-side-fallback-2026-07-01) and
still refuses: the gateway asks no other target."""

from typing import Any

from tests.support.each_row import each_row
from tests.support.endpoint_provider import (
    ReceivedRequest,
    ScriptedAnswer,
    endpoint_provider,
    events,
    json_answer,
    settings,
)
from tests.support.in_process import gateway
from tests.support.messages_streams import raw

BLOCK = {"type": "fallback", "from": {"model": "claude-fable-5-1"}, "to": {"model": "claude-opus-5"}}
USAGE = {"input_tokens": 9, "output_tokens": 1}
START = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-fable-5-1", "usage": USAGE}
END = {"stop_reason": "refusal", "stop_sequence": None}


def refuse(request: ReceivedRequest) -> ScriptedAnswer:
    """Refuse after a fallback, in the form that the request wants."""
    if not request.json.get("stream"):
        return json_answer({**START, **END, "content": [BLOCK]})
    return events(
        raw(
            {"type": "message_start", "message": {**START, "content": []}},
            {"type": "content_block_start", "index": 0, "content_block": BLOCK},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": END, "usage": USAGE},
            {"type": "message_stop"},
        )
    )


BODIES: dict[str, dict[str, Any]] = {
    "/v1/messages": {"max_tokens": 9}, "/v1/chat/completions": {},
}  # fmt: skip


@each_row("stream", [False, True])
@each_row("path", BODIES)
async def test_a_refusal_after_the_providers_own_fallbacks_is_final(path, stream):
    async with endpoint_provider(refuse) as first, endpoint_provider(refuse) as second:
        entries = [
            {"model": f"anthropic/{model}", "base_url": one.url, "access_key": "k", "speaks": ["messages"]}
            for model, one in (("claude-fable-5-1", first), ("claude-opus-5", second))
        ]
        aliases = {"both": {"targets": ["claude-fable-5-1", "claude-opus-5"]}}
        async with gateway(settings(*entries, model_aliases=aliases)) as running:
            body = {"model": "both", "messages": [{"role": "user", "content": "Hello"}], "stream": stream}
            response = await running.send("POST", path, json=body | BODIES[path])
            assert response.status_code == 200
            assert ("refusal" if path == "/v1/messages" else "content_filter") in response.text
            assert (len(first.asked), len(second.asked)) == (1, 0)
