"""Requests as they are sent: the URL, the headers and the bodies of each API's requests."""

import random
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias
from urllib.parse import quote, urlsplit, urlunsplit

import attrs
import msgspec

from gateway.loadtest.load_request import LoadRequest
from gateway.loadtest.scenario import TOKENS
from providers.apis import CODECS
from providers.catalog.providers import STANDARD_AUTH, STANDARD_PATHS
from providers.neutral.codec import Recipient
from providers.neutral.request import Message, Parameter, Request, TextPart, Tool
from providers.neutral.seal import Issuer
from streams.events import Api

Body: TypeAlias = dict[str, Any]

_VERSION = "2023-06-01"
_WORDS = "the quick answer of a model depends on what it was asked and how long it may think about it before it speaks"
_SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
_MARK = "\N{SYMBOL FOR SUBSTITUTE}"


def address(url: str, request: LoadRequest) -> str:
    """The URL to post to: that of the server, or of its API up to and with the version, or the whole one."""
    parts, wire = urlsplit(url), CODECS[request.api].wire
    ending, _, query = wire.suffix("answer", request.stream).partition("?")
    path = wire.path.replace("{model}", quote(request.model, safe="/:@")) + ending
    base = parts.path.rstrip("/")
    if not base.endswith(path):
        base += path if re.search(r"/v\d\w*$", base) else f"{wire.root}{path}"
    return urlunsplit((*parts[:2], base, "&".join(filter(None, (parts.query, query))), parts.fragment))


def api_of(url: str) -> Api | None:
    """The API whose whole URL this is."""
    path = urlsplit(url).path.rstrip("/")
    return next((api for api, ending in STANDARD_PATHS.items() if path.endswith(ending)), None)


def headers(api: Api, key: str | None, extra: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """The headers of a request but for HTTP's own; ``extra`` win."""
    found = {"content-type": "application/json", "user-agent": "trigate-load"}
    if api == "messages":
        found["anthropic-version"] = _VERSION
    if key:
        name, value = STANDARD_AUTH[api].header(key)
        found[name] = value
    return tuple((found | {name.lower(): value for name, value in extra}).items())


@attrs.frozen
class Bodies:
    """The bodies of one kind of request, each with a prompt of its own, so that no cache of prompts serves them.

    They are put together from ready-made JSON, which costs a microsecond."""

    before: bytes
    after: bytes
    text: str
    least: int
    most: int

    @classmethod
    def of(cls, request: LoadRequest) -> "Bodies":
        whole = msgspec.json.encode(_WRITERS.get(request.api, _codecs)(request, _MARK) | request.extra)
        before, _, after = whole.partition(_MARK.encode())
        least, most = (size * TOKENS for size in request.prompt)
        return cls(before, after, (f"{_WORDS} " * (most // len(_WORDS) + 1))[:most], least, most)

    def next(self, number: int, chance: random.Random) -> bytes:
        """The body of the request ``number``."""
        start = f"Request {number}: "
        size = max(0, chance.randint(self.least, self.most) - len(start))
        return b"".join((self.before, (start + self.text[:size]).encode(), self.after))


def _chat(request: LoadRequest, prompt: str) -> Body:
    functions = [{"type": "function", "function": tool} for tool in _tools(request, "parameters")]
    return {
        "model": request.model,
        "messages": [{"role": "user", "content": prompt}],
        "max_completion_tokens": request.output,
        "stream": request.stream,
        **({"stream_options": {"include_usage": True}} if request.stream and request.usage else {}),
        **({"tools": functions} if functions else {}),
    }


def _messages(request: LoadRequest, prompt: str) -> Body:
    tools = _tools(request, "input_schema")
    return {
        "model": request.model,
        "max_tokens": request.output,
        "messages": [{"role": "user", "content": prompt}],
        "stream": request.stream,
        **({"tools": tools} if tools else {}),
    }


def _responses(request: LoadRequest, prompt: str) -> Body:
    functions: list[Body] = [{"type": "function", "strict": False, **tool} for tool in _tools(request, "parameters")]
    return {
        "model": request.model,
        "input": prompt,
        "max_output_tokens": request.output,
        "stream": request.stream,
        "store": False,  # thousands of answers that nobody will ask for
        **({"tools": functions} if functions else {}),
    }


def _tools(request: LoadRequest, schema: str) -> list[Body]:
    return [
        {"name": f"look_up_{number}", "description": "Look up a place.", schema: _SCHEMA}
        for number in range(1, request.tools + 1)
    ]


def _codecs(request: LoadRequest, prompt: str) -> Body:
    """What the codec of the API makes of it."""
    tools = tuple(Tool(f"look_up_{n}", "Look up a place.", _SCHEMA) for n in range(1, request.tools + 1))
    asked = Request(
        request.api,
        request.model,
        (Message("user", (TextPart(prompt),)),),
        stream=request.stream,
        tools=tools,
        parameters={"max_tokens": Parameter(request.output, "max_tokens")},
    )
    written = CODECS[request.api].write_request(asked, Recipient(request.model, Issuer("", "")))
    body: Body = msgspec.json.decode(written.body)
    return body


_WRITERS: Mapping[Api, Callable[[LoadRequest, str], Body]] = {
    "chat": _chat,
    "messages": _messages,
    "responses": _responses,
}
