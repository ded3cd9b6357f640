"""The endpoints that the load tester supports besides conversations: they take a text or a sound and answer once."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

import attrs

from providers.apis import CODECS
from providers.endpoints.endpoint import ENDPOINTS, EndpointName
from providers.neutral.wire_api import WireApi

LoadApi: TypeAlias = Literal[
    "chat", "messages", "responses", "gemini", "converse", "interactions",
    "embeddings", "rerank", "completions", "moderations", "images", "speech", "transcriptions",
]  # fmt: skip
"""The APIs and endpoints that the load tester supports."""


@attrs.frozen
class LoadEndpoint:
    """An endpoint, with the list member that a good answer must have ("" if a specific check exists)."""

    endpoint: EndpointName
    answer: str = ""
    streams: bool = False

    @property
    def path(self) -> str:
        """The path of the endpoint."""
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


PREVIOUS: Final[Mapping[str, str]] = {
    "responses": "previous_response_id", "interactions": "previous_interaction_id",
}  # fmt: skip
"""The member with the id of the earlier turn, for each API whose servers keep turns."""

TOKEN_LIMITS: Final[Mapping[str, tuple[str, ...]]] = {
    "chat": ("max_completion_tokens", "max_tokens"),
    "messages": ("max_tokens",),
    "responses": ("max_output_tokens",),
    "gemini": ("generationConfig.maxOutputTokens",),
    "interactions": ("generation_config.max_output_tokens",),
    "converse": ("inferenceConfig.maxTokens",),
}
"""The paths of the limit of an answer in the body of each API."""

SEVERAL_TEXTS: Final[tuple[LoadApi, ...]] = ("embeddings", "rerank", "moderations")
"""Endpoints that accept several texts in one request."""


def wire_of(api: LoadApi) -> WireApi:
    """Return the wire format of an API. The endpoints stream like Chat."""
    return CODECS["chat" if api in LOAD_ENDPOINTS else api].wire


def can_stream(api: LoadApi) -> bool:
    """Return whether the API can stream its answers."""
    return api not in LOAD_ENDPOINTS or LOAD_ENDPOINTS[api].streams


def endpoint_body(api: str, model: str, prompt: str, limit: int, *, stream: bool, texts: int) -> dict[str, Any]:
    """Return the body of a request to an endpoint, with ``texts`` texts if the endpoint accepts several."""
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
