"""Endpoints other than conversations, as rows.

``ENDPOINTS`` has the properties that do not depend on the provider: client paths, fallback, time limits. A ``Place`` is
the location at one provider. The paths come from the makers' SDKs (openai 3.52, anthropic 2.11, cohere 7.3,
google-genai 3.4, mistralai 3.7) and from interface descriptions of vLLM and TEI.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

import attrs

from streams.events import Api

EndpointName: TypeAlias = Literal[
    "embeddings", "completions", "fim", "moderations", "rerank", "score", "pooling", "classify", "predict",
    "similarity", "chat_moderations", "classifications", "chat_classifications", "ocr", "image_generations",
    "image_edits", "image_variations", "speech", "transcriptions", "translations", "files", "uploads", "vector_stores",
    "containers", "batches", "message_batches", "videos", "realtime",
    "realtime_translations", "live", "decisions", "content_provenance_checks", "search", "voices", "passthrough", "mcp",
]  # fmt: skip

BODY_SHAPES: Final = (
    "openai", "cohere", "jina", "voyage", "mistral", "gemini", "anthropic", "tei", "vllm", "nim", "deepinfra", "azure",
    "amazon", "cohere_invoke", "vertex",
)  # fmt: skip
"""The formats of endpoint bodies, by their maker."""

EndpointFallback: TypeAlias = Literal["same_model", "any", "never"]
"""The allowed fallback for a failed target: the same model elsewhere, any target of the route, or none."""

MIB: Final = 2**20


@attrs.frozen(repr=False)
class Endpoint:
    """One endpoint, at any provider.

    ``paths`` are the client's paths; ``{model}`` is a model's name, ``{id}`` an object's id. ``shape`` is the API of
    its errors, unless path or headers determine another. ``fallback`` is the allowed fallback. ``first_byte`` is its
    time limit in seconds, if the limit for conversations is too short: a proxy's 60 s cut off images in progress
    (Wei-Shaw/sub2api#2225). ``most`` is the limit of bytes in a request's body, ``elements`` of values in its JSON,
    unless configured; ``None`` means the limit of conversations.
    """

    name: EndpointName
    paths: tuple[str, ...]
    shape: Api = "chat"
    fallback: EndpointFallback = "any"
    first_byte: float | None = None
    most: int | None = None
    elements: int | None = None


@attrs.frozen(repr=False)
class Place:
    """The location of an endpoint at a provider: its ``path`` after the row's prefix, or after an own ``prefix``.

    ``{model}`` is the model's id. A ``path`` with a host is a whole address. ``shape`` is the format of bodies, one of
    ``BODY_SHAPES``; ``api`` is the API whose credentials and headers it uses.
    """

    path: str
    shape: str = "openai"
    api: Api = "chat"
    prefix: str | None = None

    def __str__(self) -> str:
        where = (self.prefix or "") + self.path.partition("?")[0]
        return where if self.shape == "openai" else f"{where} ({self.shape})"


_SLOW_SECONDS: Final = 600.0
"""Seconds until the first byte of images, transcripts and batch results, which may take minutes
(CookSleep/gpt_image_playground#7, DEEIX-AI/DEEIX-Chat#326)."""

_GOOGLE_ROOTS: Final = ("/v1beta", "/v1")  # google-genai uses both

LIVE_VERSIONS: Final = ("v1", "v1beta", "v1alpha")
"""The versions of Gemini's Live API in paths: Google's SDK for JavaScript uses ``v1`` since 3.0."""


def _paths(root: str, *rest: str) -> tuple[str, ...]:
    return (root, *(root + end for end in rest))


ENDPOINTS: Final[Mapping[EndpointName, Endpoint]] = MappingProxyType({row.name: row for row in (
    Endpoint(
        "embeddings",
        (
            "/v1/embeddings", "/v1/embed", "/v2/embed",
            *(f"{root}/models/{{model}}:{method}" for root in _GOOGLE_ROOTS for method in (
                "embedContent", "batchEmbedContents"
            )),
        ),
        fallback="same_model",
        elements=500_000,  # token ids: OpenAI's limit is 300,000 per request, and LangChain uses it fully
    ),
    Endpoint("completions", ("/v1/completions",)),
    Endpoint("fim", ("/v1/fim/completions",)),
    Endpoint("moderations", ("/v1/moderations",), fallback="same_model"),
    # Cohere's client appends `v2/rerank` or `v1/rerank` to its base URL (BerriAI/litellm#8194).
    Endpoint("rerank", ("/v1/rerank", "/v2/rerank", "/rerank", "/v1/v2/rerank", "/v1/v1/rerank")),
    Endpoint("score", ("/v1/score", "/score"), fallback="same_model"),
    Endpoint("pooling", ("/v1/pooling", "/pooling"), fallback="same_model"),
    Endpoint("classify", ("/v1/classify", "/classify"), fallback="same_model"),
    Endpoint("predict", ("/predict",), fallback="same_model"),
    Endpoint("similarity", ("/similarity",), fallback="same_model"),
    # Mistral's endpoints. The gateway only reads their model.
    Endpoint("chat_moderations", ("/v1/chat/moderations",), fallback="same_model"),
    Endpoint("classifications", ("/v1/classifications",), fallback="same_model"),
    Endpoint("chat_classifications", ("/v1/chat/classifications",), fallback="same_model"),
    Endpoint("ocr", ("/v1/ocr",), first_byte=_SLOW_SECONDS),
    Endpoint("image_generations", ("/v1/images/generations",), first_byte=_SLOW_SECONDS),
    # Up to 16 images of 50 MB.
    Endpoint("image_edits", ("/v1/images/edits",), first_byte=_SLOW_SECONDS, most=1024 * MIB),
    Endpoint("image_variations", ("/v1/images/variations",), first_byte=_SLOW_SECONDS, most=128 * MIB),
    Endpoint("speech", ("/v1/audio/speech",)),
    Endpoint("transcriptions", ("/v1/audio/transcriptions", "/v2/audio/transcriptions"), first_byte=_SLOW_SECONDS,
             most=100 * MIB),
    Endpoint("translations", ("/v1/audio/translations",), first_byte=_SLOW_SECONDS, most=100 * MIB),
    Endpoint(
        "files",
        (
            *_paths("/v1/files", "/{id}", "/{id}/content", "/{id}/url"),
            *_paths("/v1beta/files", "/{id}"), "/upload/v1beta/files", "/upload/v1/files",
        ),
        fallback="never", first_byte=_SLOW_SECONDS, most=2048 * MIB,
    ),
    Endpoint(
        "uploads", _paths("/v1/uploads", "/{id}", "/{id}/parts", "/{id}/complete", "/{id}/cancel"), fallback="never",
        most=80 * MIB,
    ),
    Endpoint(
        "vector_stores",
        _paths(
            "/v1/vector_stores", "/{id}", "/{id}/search", "/{id}/files", "/{id}/files/{id2}",
            "/{id}/files/{id2}/content", "/{id}/file_batches", "/{id}/file_batches/{id2}",
            "/{id}/file_batches/{id2}/cancel", "/{id}/file_batches/{id2}/files",
        ),
        fallback="never",
    ),
    Endpoint(
        "containers",
        _paths("/v1/containers", "/{id}", "/{id}/files", "/{id}/files/{id2}", "/{id}/files/{id2}/content"),
        fallback="never", most=1024 * MIB,
    ),
    Endpoint("batches", _paths("/v1/batches", "/{id}", "/{id}/cancel"), fallback="never"),
    Endpoint(
        "message_batches", _paths("/v1/messages/batches", "/{id}", "/{id}/cancel", "/{id}/results"), shape="messages",
        fallback="never", first_byte=_SLOW_SECONDS, most=256 * MIB,
    ),
    Endpoint("videos", _paths("/v1/videos", "/{id}", "/{id}/content", "/{id}/remix"), fallback="never",
             most=1024 * MIB),
    Endpoint(
        "realtime",
        (
            *_paths(
                "/v1/realtime", "/client_secrets", "/sessions", "/transcription_sessions", "/calls", "/calls/{id}",
                "/calls/{id}/accept", "/calls/{id}/reject", "/calls/{id}/refer", "/calls/{id}/hangup",
            ),
            "/openai/realtime",
            *(
                f"/ws/google.ai.generativelanguage.{version}.GenerativeService.{method}"
                for version in LIVE_VERSIONS
                for method in ("BidiGenerateContent", "BidiGenerateContentConstrained")
            ),
        ),
        fallback="never",
    ),
    Endpoint(
        "realtime_translations", _paths("/v1/realtime/translations", "/client_secrets"), fallback="never",
    ),
    Endpoint("live", _paths("/v1/live/sessions", "/{id}/fork", "/{id}/attach"), fallback="never"),
    # OpenAI's own: classifications and scores by a model, the origin of a file, and Codex's search.
    Endpoint("decisions", ("/v1/decisions",), fallback="same_model"),
    Endpoint("content_provenance_checks", ("/v1/content_provenance_checks",), fallback="never", most=100 * MIB),
    Endpoint("search", ("/v1/alpha/search",), fallback="never"),
    # Open WebUI requests both at a custom speech address.
    Endpoint("voices", ("/v1/audio/voices", "/v1/audio/models"), fallback="never"),
    # Any path of a provider, below the name of its entry.
    Endpoint("passthrough", (), fallback="never", first_byte=_SLOW_SECONDS, most=1024 * MIB),
    # Messages for an MCP server.
    Endpoint("mcp", ("/mcp/{name}",), fallback="never"),
)})  # fmt: skip

STANDARD_PLACES: Final[Mapping[EndpointName, Place]] = MappingProxyType(
    {
        "embeddings": Place("/embeddings"),
        "completions": Place("/completions"),
        "fim": Place("/completions"),
        "moderations": Place("/moderations"),
        "rerank": Place("/rerank", "jina"),
        "image_generations": Place("/images/generations"),
        "image_edits": Place("/images/edits"),
        "image_variations": Place("/images/variations"),
        "speech": Place("/audio/speech"),
        "transcriptions": Place("/audio/transcriptions"),
        "translations": Place("/audio/translations"),
        "files": Place("/files"),
        "uploads": Place("/uploads"),
        "vector_stores": Place("/vector_stores"),
        "containers": Place("/containers"),
        "batches": Place("/batches"),
        "videos": Place("/videos"),
        "realtime": Place("/realtime"),
    }
)
"""The locations at OpenAI and compatible servers.

OpenAI itself has no ``/rerank``; compatible servers have it in Jina's format
(https://docs.vllm.ai/en/stable/serving/online_serving.html).
"""


def places(*names: EndpointName, **own: Place | None) -> Mapping[EndpointName, Place | None]:
    """Return the endpoints of a row: ``names`` at their standard locations, ``own`` at others."""
    return MappingProxyType({**{name: STANDARD_PLACES[name] for name in names}, **own})
