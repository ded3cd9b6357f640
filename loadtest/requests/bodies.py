"""The URL, headers and bodies of requests in each API."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import quote, urlsplit, urlunsplit

import attrs
import msgspec

from loadtest.plan.load_endpoints import LOAD_ENDPOINTS, LoadApi, endpoint_body, wire_of
from loadtest.plan.load_request import LoadRequest
from loadtest.requests.sources import PreparedRequest
from loadtest.wire.answers import OutgoingRequest
from providers.apis import CODECS
from providers.catalog.providers import STANDARD_AUTH, STANDARD_PATHS
from providers.endpoints.endpoint import ENDPOINTS
from providers.neutral.codec import Recipient
from providers.neutral.request import ImagePart, MediaSource, Message, Parameter, Request, TextPart, Tool
from providers.neutral.seal import Issuer

Body: TypeAlias = dict[str, Any]

_VERSION = "2023-06-01"
_SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}

# Placeholders in a body that is encoded once. Each request replaces them.
_PROMPT: Final = "\N{SYMBOL FOR SUBSTITUTE}"
_LIMIT: Final = 918273645
_IMAGE: Final = "TRIGATEIMAGE"  # valid base64, too
_PLACEHOLDERS: Final = re.compile(f"({_PROMPT}|{_LIMIT}|{_IMAGE})".encode())


def request_url(url: str, request: LoadRequest) -> str:
    """Return the URL to post to. ``url`` is the server, the API up to its version, or the whole URL."""
    parts, wire = urlsplit(url), wire_of(request.api)
    if request.api in LOAD_ENDPOINTS:
        return urlunsplit((*parts[:2], _endpoint_path(parts.path.rstrip("/"), request.api), *parts[3:]))
    ending, _, query = wire.suffix("answer", request.stream).partition("?")
    path = wire.path.replace("{model}", quote(request.model, safe="/:@")) + ending
    base = parts.path.rstrip("/")
    if not base.endswith(path):
        base += path if re.search(r"/v\d\w*$", base) else f"{wire.root}{path}"
    return urlunsplit((*parts[:2], base, "&".join(filter(None, (parts.query, query))), parts.fragment))


_ENDINGS: Final[Mapping[str, str]] = {
    **STANDARD_PATHS,
    **{api: endpoint.path.removeprefix("/v1") for api, endpoint in LOAD_ENDPOINTS.items()},
}


def _endpoint_path(base: str, api: LoadApi) -> str:
    """Return the path of an endpoint. If ``base`` already ends in one of its paths, it stays unchanged."""
    endpoint = LOAD_ENDPOINTS[api]
    if any(base.endswith(path) for path in ENDPOINTS[endpoint.endpoint].paths):
        return base
    return base + endpoint.path.removeprefix("/v1" if re.search(r"/v\d\w*$", base) else "")


def api_of(url: str) -> str | None:
    """Return the API or endpoint whose whole URL this is, or ``None``."""
    path = urlsplit(url).path.rstrip("/")
    found = [api for api, ending in _ENDINGS.items() if path.endswith(ending)]
    return max(found, key=lambda api: len(_ENDINGS[api]), default=None)


def request_headers(api: LoadApi, key: str | None, extra: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Return the headers of a request, without those of HTTP itself. ``extra`` headers take precedence."""
    found = {"content-type": "application/json", "user-agent": "trigate-load"}
    if api == "messages":
        found["anthropic-version"] = _VERSION
    if key:
        name, value = STANDARD_AUTH["chat" if api in LOAD_ENDPOINTS else api].header(key)
        found[name] = value
    return tuple((found | {name.lower(): value for name, value in extra}).items())


class Bodies:
    """The bodies of one kind of request, assembled from encoded JSON in a microsecond."""

    def __init__(self, request: LoadRequest) -> None:
        writer = _codec_body if request.images else _WRITERS.get(request.api, _codec_body)
        exact = {"ignore_eos": True, "min_tokens": _LIMIT} if request.exact else {}
        self._pieces = _PLACEHOLDERS.split(
            msgspec.json.encode(writer(request, _PROMPT, _LIMIT) | exact | request.extra)
        )

    def make_body(self, prompt: str, output: int, images: Iterable[bytes] = ()) -> bytes:
        """Return the body with this prompt, token limit and ``images`` (in base64), each in its placeholders."""
        found = {_PROMPT.encode(): msgspec.json.encode(prompt)[1:-1], b"%d" % _LIMIT: b"%d" % output}
        drawn = iter(images)
        return b"".join(
            [piece if not odd % 2 else found.get(piece) or next(drawn) for odd, piece in enumerate(self._pieces)]
        )


def chat_like_body(request: LoadRequest, messages: Sequence[Body], tools: Sequence[Body], output: int) -> bytes:
    """Return a body with ``messages`` and ``tools`` (both in Chat's format) and the settings of ``request``."""
    exact = {"ignore_eos": True, "min_tokens": output} if request.exact else {}
    if request.api in LOAD_ENDPOINTS:
        return Bodies(request).make_body(_last_text(messages), output)
    said: Body = {"messages": [*messages], **({"tools": [*tools]} if tools else {})}
    if request.api == "chat":
        found = _chat_body(request, "", output) | said
    else:
        found = _write_body(CODECS["chat"].read_request({"model": request.model, **said}), request, output)
    return msgspec.json.encode(found | exact | request.extra)


def _last_text(messages: Sequence[Body]) -> str:
    text = messages[-1].get("content") if messages else ""
    return text if isinstance(text, str) else msgspec.json.encode(text).decode()


def _endpoint_body(request: LoadRequest, prompt: str, limit: int) -> Body:
    return endpoint_body(request.api, request.model, prompt, limit, stream=request.stream, texts=request.texts)


def _chat_body(request: LoadRequest, prompt: str, limit: int) -> Body:
    functions = [{"type": "function", "function": tool} for tool in _tools(request)]
    return {
        "model": request.model,
        "messages": [{"role": "user", "content": prompt}],
        "max_completion_tokens": limit,
        "stream": request.stream,
        **({"stream_options": {"include_usage": True}} if request.stream and request.usage else {}),
        **({"tools": functions} if functions else {}),
    }


def _responses_body(request: LoadRequest, prompt: str, limit: int) -> Body:
    functions: list[Body] = [{"type": "function", "strict": False, **tool} for tool in _tools(request)]
    return {
        "model": request.model,
        "input": prompt,
        "max_output_tokens": limit,
        "stream": request.stream,
        "store": False,  # no one retrieves these answers
        **({"tools": functions} if functions else {}),
    }


def _tools(request: LoadRequest) -> list[Body]:
    return [
        {"name": f"look_up_{number}", "description": "Look up a place.", "parameters": _SCHEMA}
        for number in range(1, request.tools + 1)
    ]


def _codec_body(request: LoadRequest, prompt: str, limit: int) -> Body:
    """Return the body that the API's codec writes."""
    number = request.images.count if request.images else 0
    images = (ImagePart(MediaSource("base64", _IMAGE, "image/png")) for _ in range(number))
    message = Message("user", (TextPart(prompt), *images))
    return _write_body(Request(request.api, request.model, (message,)), request, limit)


def _write_body(asked: Request, request: LoadRequest, limit: int) -> Body:
    """Return ``asked`` as a body with the settings of ``request``."""
    tools = tuple(Tool(f"look_up_{n}", "Look up a place.", _SCHEMA) for n in range(1, request.tools + 1))
    whole = attrs.evolve(
        asked,
        stream=request.stream,
        tools=asked.tools or tools,
        parameters={"max_tokens": Parameter(limit, "max_tokens")},
    )
    written = CODECS[request.api].write_request(whole, Recipient(request.model, Issuer("", "")))
    body: Body = msgspec.json.decode(written.body)
    if not request.usage:  # the codec always requests it
        body.pop("stream_options", None)
    if CODECS[request.api].wire.stream_member:
        body["stream"] = request.stream
    return body | ({"store": False} if CODECS[request.api].wire.stores_unasked else {})


_WRITERS: Mapping[str, Callable[[LoadRequest, str, int], Body]] = {
    "chat": _chat_body,
    "responses": _responses_body,
    **dict.fromkeys(LOAD_ENDPOINTS, _endpoint_body),
}


class RequestTemplate:
    """The common parts of all requests of one kind."""

    def __init__(self, request: LoadRequest, url: str, headers: tuple[tuple[str, str], ...]) -> None:
        self._headers = headers
        parts = urlsplit(request_url(url, request))
        self._path = parts.path + (f"?{parts.query}" if parts.query else "")

    def outgoing(self, request: PreparedRequest) -> OutgoingRequest:
        headers = tuple((dict(self._headers) | dict(request.headers)).items()) if request.headers else self._headers
        return OutgoingRequest(request.path or self._path, headers, request.body)
