"""Conversations through a gateway to the stand-in, which counts what a provider's prompt cache would serve."""

import json
from collections.abc import Mapping
from typing import Any, Final

import attrs

from streams.events import Api
from tests.support.cached_prompts import request_of
from tests.support.harness import Gateway, Reply, eventually, exchanges, provider, request
from tests.support.interactions_api import PATH as INTERACTIONS
from tests.support.people import PATHS

HEADER: Final = "x-trigate-prompt-cache"
RULES: Final[Mapping[str, str]] = {
    "claude-sonnet-4-6": "cache/anthropic",
    "anthropic.claude-sonnet-4-6": "cache/bedrock",
    "gpt-5.2": "cache/openai",
    "gpt-5.6-sol": "cache/openai-5.6",
    "gemini-3.1-pro-preview": "cache/openai",
}
"""The stand-in's caches for models of providers."""

ENTRIES: Final[Mapping[str, tuple[str, str, Api]]] = {
    "sonnet": ("anthropic/claude-sonnet-4-6", "", "messages"),
    "bedrock": ("amazon_bedrock/anthropic.claude-sonnet-4-6", "", "converse"),
    "gpt": ("openai/gpt-5.2", "/v1", "chat"),
    "sol": ("openai/gpt-5.6-sol", "/v1", "responses"),
    "pro": ("gemini/gemini-3.1-pro-preview", "", "gemini"),
    "turns": ("gemini/gemini-3.1-pro-preview", "", "interactions"),
}
"""The name, model, path and API of an entry for each API."""


def entries(
    url: str, *, names: tuple[str, ...] = tuple(ENTRIES), suffix: str = "", **more: Any
) -> list[dict[str, Any]]:
    """Return entries at the stand-in, with ``suffix`` after their names."""
    return [
        provider(model, url + path, [api], name=name + suffix, **more)
        for name, (model, path, api) in ENTRIES.items()
        if name in names
    ]


def set_caches(url: str, **change: Any) -> None:
    """Change the stand-in's caches, as ``POST /cache`` describes."""
    reply = request(url, "POST", "/cache", change)
    assert reply.status == 200, reply.body


def long_text(name: str, times: int = 120) -> str:
    """Return instructions that only the conversation ``name`` has."""
    return f"These are the instructions of {name}. Be careful, answer briefly and check your work. " * times


@attrs.define
class CachedTalk:
    """A conversation of tool calls in ``api`` with the entry ``model``, as the client with ``key``."""

    gateway: Gateway
    api: Api
    model: str
    name: str = "this test"
    key: str = ""
    rounds: int = 0
    streamed: bool = False
    headers: Mapping[str, str] = attrs.field(factory=dict)

    def body(self, **more: Any) -> dict[str, Any]:
        """Return the request of the next turn; ``more`` are arguments of ``request_of``."""
        times = 180 if "gemini" in ENTRIES.get(self.model, ("",))[0] else 120
        body = request_of(self.api, self.rounds, **{"system": long_text(self.name, times), **more})
        for member in ("messages", "input", "contents"):
            for item in body.get(member, ()):
                _name_results(item, self.name)
        return body

    def send(self, body: dict[str, Any] | None = None, model: str | None = None, **more: Any) -> "Turn":
        """Send ``body``, or the next turn, and count it."""
        body = self.body(**more) if body is None else body
        self.rounds += 1
        model = model or self.model
        path = INTERACTIONS if self.api == "interactions" else PATHS[self.api].format(model=model)
        if self.api in ("chat", "messages", "responses", "interactions"):
            body = {"model": model, **body, **({"stream": True} if self.streamed else {})}
        elif self.streamed:
            path = path.replace(":generateContent", ":streamGenerateContent?alt=sse")
            path = path.replace("/converse", "/converse-stream")
        if self.api == "messages":
            body["max_tokens"] = 500
        if self.api in ("responses", "interactions"):
            body.setdefault("store", False)
        key = {"authorization": f"Bearer {self.key}"} if self.key else {}
        reply = self.gateway.request("POST", path, body, {**key, **self.headers})
        assert reply.status == 200, reply.body
        id = reply.headers["x-request-id"]
        return Turn(reply, eventually(lambda: exchanges(self.gateway.log, id))[0])


@attrs.frozen
class Turn:
    """A response with its log line."""

    reply: Reply
    line: Mapping[str, Any]

    @property
    def header(self) -> str | None:
        return self.reply.headers.get(HEADER)

    @property
    def cause(self) -> str | None:
        cause: str | None = self.line.get("prompt_cache_cause")
        return cause


def _name_results(item: dict[str, Any], name: str) -> None:
    """Make the texts of an item those of the conversation ``name``."""
    text = (
        json.dumps(item).replace("Text of file", f"Text for {name} of file").replace("Please read", f"For {name}, read")
    )
    item.clear()
    item |= json.loads(text)
