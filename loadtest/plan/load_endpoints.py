"""What the load tester speaks beside conversations: endpoints that take a text (or a sound) and answer once."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

import attrs

from providers.apis import CODECS
from providers.endpoints.endpoint import ENDPOINTS, EndpointName
from providers.neutral.wire_api import WireApi

LoadApi: TypeAlias = Literal[
    "chat", "messages", "responses", "gemini", "converse",
    "embeddings", "rerank", "completions", "moderations", "images", "speech", "transcriptions",
]  # fmt: skip
"""The APIs that the load tester speaks, and the endpoints that are no conversation."""


@attrs.frozen
class LoadEndpoint:
    """One of them: its row of ``ENDPOINTS``, and the member of a good answer that is a list with something in it (""
    where the answer is judged in another way)."""

    endpoint: EndpointName
    answer: str = ""
    streams: bool = False

    @property
    def path(self) -> str:
        """Where it is asked, behind the host."""
        return ENDPOINTS[self.endpoint].paths[0]


LOAD_ENDPOINTS: Final[Mapping[str, LoadEndpoint]] = MappingProxyType({
    "embeddings": LoadEndpoint("embeddings"),
    "rerank": LoadEndpoint("rerank", "results"),
    "completions": LoadEndpoint("completions", "choices", streams=True),
    "moderations": LoadEndpoint("moderations", "results"),
    "images": LoadEndpoint("image_generations", "data"),
    "speech": LoadEndpoint("speech"),
    "transcriptions": LoadEndpoint("transcriptions"),
})  # fmt: skip


SEVERAL_TEXTS: Final[tuple[LoadApi, ...]] = ("embeddings", "rerank", "moderations")
"""Endpoints of which one request may have several texts."""


def wire_of(api: LoadApi) -> WireApi:
    """How the bytes of an API lie. The endpoints are OpenAI's, and those that stream do it as Chat does."""
    return CODECS["chat" if api in LOAD_ENDPOINTS else api].wire


def streams(api: LoadApi) -> bool:
    """Whether answers can come as streams of events."""
    return api not in LOAD_ENDPOINTS or LOAD_ENDPOINTS[api].streams


def endpoint_body(api: str, model: str, prompt: str, limit: int, *, stream: bool, texts: int) -> dict[str, Any]:
    """What is asked of an endpoint, in as many texts as are asked for where it takes several."""
    several = [prompt] if texts == 1 else [f"{number}: {prompt}" for number in range(1, texts + 1)]
    match api:
        case "rerank":
            return {"model": model, "query": "Which of these is about time?", "documents": several}
        case "completions":
            more = {"stream_options": {"include_usage": True}} if stream else {}
            return {"model": model, "prompt": prompt, "max_tokens": limit, "stream": stream, **more}
        case "images":
            return {"model": model, "prompt": prompt}
        case "speech":
            return {"model": model, "input": prompt, "voice": "alloy"}
    return {"model": model, "input": prompt if texts == 1 else several}
