"""The default model of endpoints whose clients may omit it.

openai-python omits it for moderations and images, Cohere's and TEI's clients for rerank. A conversation model is never
the default (BerriAI/litellm#4336, #6946)."""

from collections.abc import Sequence
from typing import Final

from gateway.config.model_entry import ModelEntry
from gateway.config.names import May
from gateway.routing.router import Router
from providers.endpoints.endpoint import EndpointName
from providers.endpoints.model_types import ENDPOINTS_OF
from streams.errors import GatewayError, invalid

CHOSEN_BY_PROVIDER: Final = {"moderations": "omni-moderation-latest"}
"""The provider's default model of each endpoint that has one. It applies if only one provider has the endpoint.
Wildcards match this name, and the log contains it."""

_SHOWN: Final = 5  # names in an error


def endpoint_default(router: Router, endpoint: EndpointName, may: May | None) -> str:
    """Return the default model for ``endpoint``. Raises ``GatewayError`` (400)."""
    return marked_default(router, endpoint, may) or _default_for(router.config.entries, endpoint, may)


def marked_default(router: Router, endpoint: EndpointName, may: May | None) -> str | None:
    """Return the model for ``endpoint`` that is configured with ``default: true``, if the client ``may`` use it."""
    kinds = (kind for kind, made_for in ENDPOINTS_OF.items() if kind != "chat" and endpoint in made_for)
    found = (router.names.defaults[kind] for kind in kinds if kind in router.names.defaults)
    return next((name for name in found if may is None or may(name)), None)


def _default_for(entries: Sequence[ModelEntry], endpoint: EndpointName, may: May | None) -> str:
    """Return the default model for ``endpoint`` among those that the client ``may`` use.

    Raises ``GatewayError`` (400) if there is none or more than one."""
    having = [entry for entry in entries if entry.place_of(endpoint, entry.model) is not None]
    made_for = [entry for entry in having if _is_made_for(entry, endpoint) and (may is None or may(entry.name))]
    chosen = [entry for entry in made_for if entry.default] or made_for
    if len(chosen) == 1:
        return chosen[0].name
    if len(chosen) > 1:
        raise _model_required_error(endpoint, f"choose one of {', '.join(entry.name for entry in chosen[:_SHOWN])}")
    found = _provider_default(having, endpoint, may)
    if found is not None:
        return found
    raise _model_required_error(
        endpoint,
        "request a model, or add an entry for one that supports this endpoint, with `type` if its name does not show "
        "its purpose",
    )


def _provider_default(candidates: Sequence[ModelEntry], endpoint: EndpointName, may: May | None) -> str | None:
    """Return the provider's own default model if only one provider has the endpoint and the client may use it.

    Permission to use a provider's conversation models does not include its other models."""
    model = CHOSEN_BY_PROVIDER.get(endpoint)
    if model is None or len({(entry.provider.id, entry.base_url) for entry in candidates}) != 1:
        return None
    entry = next((entry for entry in candidates if entry.wildcard), candidates[0])
    name = f"{entry.prefixes[0]}/{model}"
    if may is not None and not may(name):
        return None
    return name if entry.wildcard else entry.name


def _is_made_for(entry: ModelEntry, endpoint: EndpointName) -> bool:
    if entry.wildcard:
        return False
    kind = entry.type_of(entry.model)
    return kind != "chat" and endpoint in ENDPOINTS_OF[kind]


def _model_required_error(endpoint: EndpointName, why: str) -> GatewayError:
    return invalid(f"model is required for {endpoint}: {why}", "model")
