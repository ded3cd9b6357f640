"""Lanes of a stream, and the streams that a provider sends through them."""

from collections.abc import Collection
from functools import cache
from typing import Any

import attrs

from gateway.http.redaction import REDACTED
from gateway.streaming.passthrough import Passthrough
from gateway.streaming.translation import Translation, WholeAnswerTranslation
from providers.apis import CODECS
from providers.neutral.codec import Reply
from providers.neutral.seal import Issuer
from streams.events import ErrorInfo
from tests.support.upstreams import Script, ToolCall, render

KEY = "sk-very-secret"


SCRIPTS = {
    "text": Script(text="one two three"),
    "thinking": Script(thinking="let me see", seal="c2VhbA==", text="yes"),
    "calls": Script(calls=(ToolCall("call_1", "f", '{"a": 1}'), ToolCall("call_2", "g", "{}")), stop="tool_calls"),
    "cut_by_length": Script(text="ab", stop="length"),
    "short": Script(text="ab"),
    "short_call": Script(calls=(ToolCall("call_1", "f", "{}"),), stop="tool_calls"),
}


def events_of(api: str, script: Script) -> tuple[bytes, ...]:
    request = {"stream": True, "model": "up", "stream_options": {"include_usage": True}}
    return render(script, api, request).pieces


def half(api: str) -> tuple[bytes, ...]:
    """Return the events of a stream up to its first text, which is included."""
    pieces = events_of(api, SCRIPTS["text"])
    return pieces[: next(i for i, piece in enumerate(pieces) if b'"one t' in piece) + 1]


@cache
def reply_for(api: str) -> Reply:
    asked = {"input": "hi"} if api == "responses" else {"messages": [{"role": "user", "content": "hi"}]}
    body: dict[str, Any] = {"model": "asked", **asked, "stream": True}
    if api == "messages":
        body["max_tokens"] = 100
    if api == "gemini":
        body = {"contents": "hi", "generationConfig": {"thinkingConfig": {"includeThoughts": True}}}
    if api == "converse":
        body = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
    if api == "interactions":
        body = {"model": "asked", "input": "hi", "generation_config": {"thinking_summaries": "auto"}}
    request = attrs.evolve(CODECS[api].read_request(body), model="asked", stream=True)
    return Reply(request, Issuer("openai", "account"), 1700000000)


def masked_error(error: ErrorInfo) -> ErrorInfo:
    return attrs.evolve(error, message=error.message.replace(KEY, REDACTED.decode()))


def clean(data: bytes) -> bytes:
    return data.replace(KEY.encode(), REDACTED)


def byte_lane(api: str, limit: int = 2**20) -> Passthrough:
    return Passthrough(CODECS[api], masked_error, clean, limit)


def hub_lane(source: str, client: str, limit: int = 2**20, free_text: Collection[str] = ()) -> Translation:
    return Translation(
        CODECS[source], CODECS[client].writer(reply_for(client)), CODECS[client].wire, masked_error, limit,
        free_text=free_text,
    )  # fmt: skip


def whole_lane(source: str, client: str, limit: int = 2**20) -> WholeAnswerTranslation:
    return WholeAnswerTranslation(
        CODECS[source], CODECS[client].writer(reply_for(client)), CODECS[client].wire, masked_error, limit
    )
