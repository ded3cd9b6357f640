"""The paths of embeddings, images, audio, and the other endpoints that only relay a request."""

from collections.abc import Sequence
from functools import partial
from typing import Final

import attrs

from configfile.keys import value_of
from gateway.config.settings import Config
from gateway.relay.compatible import deployment_roots
from gateway.relay.routes import DEPLOYMENT, RelayRoute, relayed_routes
from gateway.seams.hooks import Hooks
from gateway.seams.running import Addition, Ports, Running
from providers.endpoints.endpoint import ENDPOINTS, EndpointName

PLAIN_JSON_ENDPOINTS: Final[tuple[EndpointName, ...]] = (
    "moderations", "chat_moderations", "score", "pooling", "classify", "predict", "similarity", "classifications",
    "chat_classifications", "decisions", "ocr",
)  # fmt: skip
"""Endpoints with plain JSON. To add one, add a line here, one in ``ENDPOINTS`` and one in the provider's row."""

ROUTES: Final[tuple[RelayRoute, ...]] = (
    RelayRoute("completions", "POST", "/v1/completions", "completions.read_completion"),
    RelayRoute("fim", "POST", "/v1/fim/completions", "completions.read_fim"),
    RelayRoute("embeddings", "POST", "/v1/embeddings", "embeddings.read_openai"),
    RelayRoute("embeddings", "POST", "/v1/embed", "embeddings.read_cohere_v1"),
    RelayRoute("embeddings", "POST", "/v2/embed", "embeddings.read_cohere_v2"),
    *(
        RelayRoute("embeddings", "POST", f"{root}/models/{{model}}{method}", f"embeddings.{read}")
        for root in ("/v1beta", "/v1")
        for method, read in ((":embedContent", "read_gemini_one"), (":batchEmbedContents", "read_gemini_batch"))
    ),
    *(RelayRoute("rerank", "POST", path, "rerank.read_rerank") for path in ENDPOINTS["rerank"].paths),
    *(
        RelayRoute(name, "POST", path, "plain_json.read_plain_json")
        for name in PLAIN_JSON_ENDPOINTS
        for path in ENDPOINTS[name].paths
    ),
    RelayRoute("speech", "POST", "/v1/audio/speech", "audio.read_speech"),
    RelayRoute("transcriptions", "POST", "/v1/audio/transcriptions", "audio.read_transcript"),
    RelayRoute("transcriptions", "POST", "/v2/audio/transcriptions", "audio.read_transcript"),
    RelayRoute("translations", "POST", "/v1/audio/translations", "audio.read_transcript"),
    RelayRoute("image_generations", "POST", "/v1/images/generations", "images.read_generation"),
    RelayRoute("image_edits", "POST", "/v1/images/edits", "images.read_edit"),
    RelayRoute("image_variations", "POST", "/v1/images/variations", "images.read_edit"),
    RelayRoute("search", "POST", "/v1/alpha/search", "openai_own.read_search"),
    RelayRoute("content_provenance_checks", "POST", "/v1/content_provenance_checks", "openai_own.read_check"),
)  # fmt: skip

_DEPLOYED: Final[frozenset[EndpointName]] = frozenset(
    ("completions", "embeddings", "speech", "transcriptions", "translations", "image_generations", "image_edits")
)


def open_other_endpoints(config: Config, ports: Ports, before: Running | None) -> Running:
    rows = ROUTES
    if servers := value_of(config, "compatibility"):  # of clients of other servers
        rows = (*rows, *_deployment_routes(deployment_roots(servers)))
    return Addition(Hooks(routes=(partial(relayed_routes, "gateway.features.other_endpoints", rows),)))


def _deployment_routes(roots: Sequence[str]) -> tuple[RelayRoute, ...]:
    """Return the routes of the endpoints that Azure has below a deployment."""
    return tuple(
        attrs.evolve(route, path=f"{root}{{{DEPLOYMENT}}}{route.path.removeprefix('/v1')}")
        for root in roots
        for route in ROUTES
        if route.endpoint in _DEPLOYED and route.path.startswith("/v1/") and "{" not in route.path
    )
