"""A provider that calls a search, and a search service, on bare sockets."""

import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs
import trio

from gateway.stores.store import Store
from tests.support.bare_provider import head, listening, read_request, response
from tests.support.in_process import InProcess, gateway
from tests.support.scripts import Script, Tokens, ToolCall
from tests.support.settled_lines import SettledLines
from tests.support.upstreams import PATHS, render

PAGES = [
    {"url": "https://docs.example.com/7", "title": "Version 7", "content": "Seven came out in May.",
     "publishedDate": "2026-05-01"},
    {"url": "https://other.test/x", "title": "Other", "content": "Nothing here."},
]  # fmt: skip


def searching(*queries: str, text: str = "", calls: Sequence[ToolCall] = ()) -> Script:
    """Return a turn that searches for ``queries``, besides other ``calls``."""
    found = [ToolCall(f"call_{number}", "web_search", json.dumps({"query": one})) for number, one in enumerate(queries)]
    return Script(text=text, calls=(*found, *calls), stop="tool_calls", tokens=Tokens(100, output=10))


def answering(text: str = "It is [7](https://docs.example.com/7).") -> Script:
    return Script(text=text, tokens=Tokens(200, output=20))


class PlayedModel:
    """A provider that answers requests with ``turns`` in order, in the API of the path. ``bodies`` are the requests.

    ``status`` are failures by the number of the request, with the message ``refusal``. ``cut``: the number of the turn
    that breaks off after its first pieces, counted from 0, and ``holds`` that of the turn that stops there until
    ``was_left``. ``unsent`` are the last pieces of each turn that are not sent before the connection closes."""

    def __init__(
        self,
        *turns: Script,
        cut: int | None = None,
        holds: int | None = None,
        status: Mapping[int, int] | None = None,
        refusal: str = "no",
        unsent: int = 0,
    ) -> None:
        self._unsent = unsent
        self.turns = list(turns)
        self.bodies: list[dict[str, Any]] = []
        self.url = ""
        self.was_left = trio.Event()
        self._cut, self._holds, self.status, self._refusal = cut, holds, dict(status or {}), refusal

    async def serve(self, stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with stream:
                while (request := await read_request(stream)) is not None:
                    path, _, body = request
                    number, asked = len(self.bodies), json.loads(body)
                    self.bodies.append(asked)
                    if (status := self.status.get(number)) is not None:
                        await stream.send_all(
                            response(status, json.dumps({"error": {"message": self._refusal}}).encode())
                        )
                        continue
                    api = next((one for one, known in PATHS.items() if path.endswith(known)), "chat")
                    raw = render(self.turns[min(number, len(self.turns) - 1)], api, asked)
                    whole = b"".join(raw.pieces)
                    cut = number in (self._cut, self._holds)
                    count = len(raw.pieces)
                    sent = b"".join(raw.pieces[: count // 2 if cut else count - self._unsent])
                    length = ("content-length", str(len(whole)))
                    await stream.send_all(head(raw.status, *raw.headers, length) + sent)
                    if self._holds == number:
                        await stream.receive_some()
                        self.was_left.set()
                    if cut or self._unsent:
                        return


class PlayedService:
    """A search service in SearXNG's form. ``asked`` are the parameters of its requests.

    If it is ``held``, it sends nothing; if it is ``cut``, its answer breaks off. ``has_begun`` and ``was_left`` are set
    by a request and its end."""

    def __init__(
        self, pages: Any = None, status: int = 200, body: bytes | None = None, *, held: bool = False, cut: bool = False
    ) -> None:
        self.asked: list[dict[str, str]] = []
        self.heads: list[bytes] = []
        self.posted: list[Any] = []
        self.url = ""
        self._held, self._cut = held, cut
        self.has_begun, self.was_left = trio.Event(), trio.Event()
        self._status = status
        self._body = json.dumps({"results": PAGES if pages is None else pages}).encode() if body is None else body

    async def serve(self, stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with stream:
                while (request := await read_request(stream)) is not None:
                    self.asked.append({name: one[0] for name, one in parse_qs(urlsplit(request[0]).query).items()})
                    self.heads.append(request[1])
                    self.posted.append(json.loads(request[2]) if request[2] else None)
                    self.has_begun.set()
                    if self._held:
                        await stream.receive_some()
                        break
                    answer = response(self._status, self._body)
                    await stream.send_all(answer[: len(answer) // 2] if self._cut else answer)
                    if self._cut:
                        break
        self.was_left.set()


@attrs.frozen
class Searched:
    """A gateway with web search, between ``model`` and ``service``."""

    model: PlayedModel
    service: PlayedService
    gate: InProcess
    lines: SettledLines


def entry(url: str, **more: Any) -> dict[str, Any]:
    made = {"model": "groq/m", "name": "m", "access_key": "k", "base_url": f"{url}/v1", "speaks": ["chat"]}
    return {**made, "price": {"input": 1, "output": 10}, **more}


@contextlib.asynccontextmanager
async def search_gateway(
    *turns: Script,
    model: PlayedModel | None = None,
    service: PlayedService | None = None,
    search: Mapping[str, Any] | None = None,
    entries: Mapping[str, Any] | None = None,
    more: Sequence[Mapping[str, Any]] = (),
    store: Store | None = None,
    **settings: Any,
) -> AsyncIterator[Searched]:
    """Serve a model that answers with ``turns``, ``search`` and ``settings``. ``entries`` are keys of its entry,
    ``more`` are other entries."""
    model, service = model or PlayedModel(*turns), service or PlayedService()
    async with listening(model.serve) as model.url, listening(service.serve) as service.url:
        content = {
            "version": "v0.4.0", "model_providers": [entry(model.url, **(entries or {})), *more],
            "web_search": {"url": f"{service.url}/search", "price": 0.005, **(search or {})}, **settings,
        }  # fmt: skip
        async with gateway(content, store=store) as gate:
            yield Searched(model, service, gate, SettledLines(gate))
