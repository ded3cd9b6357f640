"""The paths and keys of clients of other servers, for a configuration with ``compatibility``.

An adapter changes each request before the routes see it. So no other part of the gateway knows these forms, and a
configuration without them pays nothing.

- Azure's SDK class sends its key as ``api-key``, and requests below ``/openai`` (openai 2.8, ``lib/azure.py``).
- LiteLLM's clients send the key as ``x-litellm-api-key``, with or without ``Bearer``, next to a key for the provider,
  or as ``Ocp-Apim-Subscription-Key``, the header of Azure's API management.
  LiteLLM passes requests below a provider's prefix on, so that the SDKs of providers work
  (https://docs.litellm.ai/docs/pass_through/intro).
- Programs add up ``x-litellm-response-cost`` of its responses and log ``x-litellm-call-id``. Many compare
  ``x-litellm-model-group`` with the requested model, or read ``x-litellm-attempted-fallbacks``, to notice that a
  fallback answered (https://docs.litellm.ai/docs/proxy/response_headers).
- Roo Code and Cline read ``/v1/model/info``, and plugins of OpenCode ``/model_group/info``."""

import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Final

from gateway.config.settings import Config
from gateway.features.compatible_clients.feature import compatibility_of
from gateway.http.headers import Adapter, EditHeaders, RawHeaders
from gateway.relay.compatible import MODEL_INFO, Server
from gateway.seams.route import ALL_BELOW, HttpRoute

_PREFIXES: Final[Mapping[Server, tuple[str, ...]]] = {
    "azure": ("openai",),
    "litellm": ("openai", "anthropic", "gemini", "vertex_ai", "vertex-ai", "bedrock", "mistral", "cohere"),
}
"""The first steps of paths before a provider's own path."""

VERTEX_CLAUDE: Final = "/publishers/anthropic/models/"
"""The start of Vertex AI's paths for Claude, without a version, a project and a location."""
_VERTEX_PLACE: Final = re.compile(f"(?:/v1(?:beta1)?)?/projects/[^/]+/locations/[^/]+(?={VERTEX_CLAUDE}.+:[a-zA-Z]+$)")

_OWN_KEY, _PLAIN_KEY = b"x-trigate-key", b"x-api-key"
_LITELLM_KEY, _AZURE_KEY, _APIM_KEY = b"x-litellm-api-key", b"api-key", b"ocp-apim-subscription-key"
_OTHER_KEYS: Final = frozenset((b"authorization", b"x-api-key", b"x-goog-api-key", _OWN_KEY))


def adapter_for(config: Config, routes: Sequence[HttpRoute]) -> Adapter:
    """Return the adapter for the clients of the other servers in ``config``: a ``MakeAdapter``."""
    taken = [route.path.removesuffix(ALL_BELOW)[1:] for route in routes if route.path.endswith(ALL_BELOW)]
    return make_adapter(compatibility_of(config), taken, _group_names(config))


def _group_names(config: Config) -> dict[str, str]:
    """Return the names with several targets by those of the first targets' entries.

    An entry of several names belongs to the first one: LiteLLM reports the name of a group, not that of its alias."""
    found: dict[str, str] = {}
    for name, route in config.routes.items():
        for one in route.groups[0] if route.groups else ():
            found.setdefault(one.target, name)
    return found


def make_adapter(servers: Collection[Server], taken: Collection[str], groups: Mapping[str, str]) -> Adapter:
    """Return the adapter for the clients of ``servers``.

    ``taken`` are first steps of paths with another meaning, such as the names of entries with pass-through. ``groups``
    are the names that clients request by the name of the entry."""
    steps = dict.fromkeys(step for server in servers for step in _PREFIXES[server] if step not in taken)
    prefix = re.compile(f"/(?:{'|'.join(map(re.escape, steps))})(?=/)(?!/deployments/)") if steps else None
    is_litellm = "litellm" in servers

    def adapt(scope: MutableMapping[str, Any]) -> EditHeaders | None:
        path = scope["path"]
        if prefix is not None and (found := prefix.match(path)) is not None:
            path = path[found.end() :]
        if is_litellm and path == "/model/info":
            path = MODEL_INFO
        elif is_litellm and (place := _VERTEX_PLACE.match(path)) is not None:
            path = path[place.end() :]
        scope["path"] = path
        scope["headers"] = _with_usual_key(scope["headers"], is_litellm)
        return partial(litellm_headers, groups, time.perf_counter()) if is_litellm else None

    return adapt


def _with_usual_key(headers: Iterable[tuple[bytes, bytes]], is_litellm: bool) -> list[tuple[bytes, bytes]]:
    """Return ``headers`` with the client's key in a header that authentication reads.

    LiteLLM's header takes precedence over others, Azure's do not. All are removed: they never leave the gateway."""
    kept, own, azure = [], [], []
    for name, value in headers:
        if name == _LITELLM_KEY and is_litellm:
            own.append(value[7:].strip() if value[:7].lower() == b"bearer " else value.strip())
        elif name == _AZURE_KEY or (is_litellm and name == _APIM_KEY):
            azure.append(value)
        else:
            kept.append((name, value))
    names = {name for name, _ in kept}
    if own and _OWN_KEY not in names:
        kept += [(_OWN_KEY, key) for key in own if key]
    elif azure and names.isdisjoint(_OTHER_KEYS):
        kept += [(_PLAIN_KEY, key) for key in azure]
    return kept


_SENT_AS: Final = (
    (b"x-request-id", b"x-litellm-call-id"),
    (b"x-trigate-cost", b"x-litellm-response-cost"),
    (b"x-trigate-target", b"x-litellm-model-id"),
    (b"x-trigate-model", b"x-litellm-model-name"),
)
"""The headers of responses, and the names under which LiteLLM's clients read their values."""

_TRIED: Final = b"x-trigate-tried"


def litellm_headers(groups: Mapping[str, str], began: float, headers: RawHeaders) -> RawHeaders:
    """Return the ``headers`` of a response with LiteLLM's. Its request ``began`` at this time of ``perf_counter``.

    ``groups`` are the names that clients request by the name of the entry."""
    by_name = dict(headers)
    added = [(new, by_name[old]) for old, new in _SENT_AS if old in by_name]
    if _TRIED in by_name:
        added += _attempt_headers(by_name[_TRIED].decode("latin-1"), groups)
        added.append((b"x-litellm-response-duration-ms", b"%.2f" % ((time.perf_counter() - began) * 1000)))
    return [*headers, *added]


def _attempt_headers(tried: str, groups: Mapping[str, str]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the headers about the attempts in ``tried``: ``entry=reason`` for each, in order."""
    entries = [part.rpartition("=")[0] for part in tried.split(", ")]
    served = [groups.get(entry, entry) for entry in entries]
    fallbacks = sum(before != after for before, after in pairwise(served))
    yield b"x-litellm-model-group", served[-1].encode("latin-1", "replace")
    yield b"x-litellm-attempted-fallbacks", str(fallbacks).encode()
    yield b"x-litellm-attempted-retries", str(len(served) - 1 - fallbacks).encode()
