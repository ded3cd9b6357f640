"""The addresses of passed-through requests: paths of a provider below an entry's name.

Nothing in a request chooses a host (Portkey-AI/gateway#1718)."""

import re
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias
from urllib.parse import SplitResult, parse_qsl, unquote, unquote_to_bytes, urlsplit

import attrs

from gateway.access.admission import Arrival
from gateway.access.authentication import Authenticator
from gateway.config.model_entry import ModelEntry
from gateway.config.settings import Config
from gateway.exchange.context import ExchangeContext
from gateway.features.pass_through.feature import may_pass_through, passes_through
from gateway.http.headers import Headers
from gateway.http.paths import api_of
from gateway.relay.endpoint_plans import passthrough_target
from gateway.relay.relaying import client_credentials, strip_credentials
from gateway.routing.target import Target
from streams.errors import GatewayError, invalid
from streams.events import Api

FoundModels: TypeAlias = tuple[tuple[str, str], ...]
"""Models in a request, each as its position and its name."""


def passed_entries(config: Config) -> Mapping[str, ModelEntry]:
    """Return the pass-through entries by path prefix, the longest prefix first.

    The prefixes are the entries' names, and a provider's id if one of its entries passes through."""
    entries = [entry for entry in config.entries if passes_through(entry)]
    named = {entry.name.removesuffix("/*"): entry for entry in entries}
    providers = [entry.provider.id for entry in entries]
    of_one = {entry.provider.id: entry for entry in entries if providers.count(entry.provider.id) == 1}
    return dict(sorted({**of_one, **named}.items(), key=lambda pair: -len(pair[0])))


@attrs.frozen
class PassedAddress:
    """The address of a request in ``api``: the path ``rest`` of the provider, and the ``target`` there.

    ``models`` are those in the path and the query. ``is_limited``: the client may not use all models."""

    rest: str
    api: Api
    target: Target
    models: FoundModels
    is_limited: bool


def read_address(
    context: ExchangeContext, arrival: Arrival, entry: ModelEntry, name: str, api: Api | None = None
) -> PassedAddress:
    """Return the address of a request to the provider of ``entry``. ``name`` is the first segment of its path.

    Raises ``GatewayError``: 400 for an invalid path, 401 and 403 if the client may not use the entry so."""
    authenticator, client_request = context.service.authenticator, context.client_request
    _check_client(authenticator, client_request.client, entry)
    authenticator.check_credential(entry, client_request.credential)
    rest = rest_of_path(arrival.asgi["raw_path"], name)
    query = query_without_credentials(client_request.query, arrival.headers)
    api = api or api_of("/" + rest, arrival.headers)
    target = passthrough_target(entry, api, entry.model, url_below_base(entry, rest, query))
    is_limited = authenticator.is_limited(client_request.client)
    models = (*models_in_path(rest, limited=is_limited), *models_in_query(query))
    return PassedAddress(rest, api, target, models, is_limited)


def _check_client(authenticator: Authenticator, client: str | None, entry: ModelEntry) -> None:
    """Check that ``client`` may send any request through ``entry``. Raises ``GatewayError`` (403)."""
    rights, wall = authenticator.rights_of(client), authenticator.wall(client)
    if rights is not None and ((wall is not None and entry.name not in wall) or not may_pass_through(rights, entry)):
        message = (
            f"the key {client!r} may not pass requests through to {entry.name}: its `passthrough` does not list that "
            "entry"
        )
        raise GatewayError("permission", message, headers=(("x-should-retry", "false"),))


def rest_of_path(raw: bytes, name: str) -> str:
    """Return the path after the entry's ``name``, in the client's escapes.

    Raises ``GatewayError`` (400) for a path that leads outside, or that servers may read differently."""
    start = f"/{name}/".encode()
    if not raw.startswith(start) or not raw.isascii():
        raise invalid(f"write the path as /{name}/…, without escapes in the name")
    rest = raw.removeprefix(start)
    if is_unsafe_path(rest):
        raise invalid("the path has empty or dot segments, or invalid characters: remove them")
    return rest.decode("ascii")


def is_unsafe_path(rest: bytes) -> bool:
    """Return whether a path leads outside of its start, or servers and clients may read it differently."""
    once = unquote_to_bytes(rest)
    return any(_UNSAFE_PATH.search(b"/" + read) for read in (rest, once, unquote_to_bytes(once)))


_UNSAFE_PATH: Final = re.compile(rb"//|/\.{1,2}(?:/|;|$)|\\|[\x00-\x1f\x7f]|/[a-z][a-z0-9+.-]*:/", re.IGNORECASE)


def url_below_base(entry: ModelEntry, rest: str, query: str) -> str:
    """Return the URL of the path ``rest`` below the entry's ``base_url``.

    If that ends with the version that ``rest`` begins with, the version is not repeated."""
    parts = base_url_of(entry)
    base = parts.path.rstrip("/")
    version = _VERSION.search(base)
    if version is not None and rest.startswith(f"{version[1]}/"):
        base = base.removesuffix(version[0])
    own = "&".join(filter(None, (parts.query, query)))
    return f"{parts.scheme}://{parts.netloc}{base}/{rest}{'?' if own else ''}{own}"


_VERSION: Final = re.compile(r"/(v[0-9]+[a-z0-9]*)$")


def base_url_of(entry: ModelEntry) -> SplitResult:
    """Return the URL below which the requests to ``entry`` go. Raises ``GatewayError`` (400) if it has none."""
    base = entry.base_url or entry.provider.base_url
    if base is None:
        raise invalid(
            f"the entry {entry.name} has no base_url for passed-through requests: set it in the configuration"
        )
    return urlsplit(base)


def query_without_credentials(query: str, headers: Headers) -> str:
    """Return the client's query without credentials, found by their parameters or by values in ``headers``."""
    shown = client_credentials(headers)
    pairs = strip_credentials(query).split("&")
    return "&".join(
        pair for pair in pairs if not any(word in unquote_to_bytes(pair).decode("latin-1") for word in shown)
    )


_MODEL_STEPS: Final = frozenset(("models", "model", "deployments", "engines", "tunedmodels"))
_METHOD: Final = re.compile(r":[A-Za-z]+$")
_MODEL_PARAMETERS: Final = frozenset(
    ("model", "models", "deployment", "model_id", "modelid", "model_name", "modelname", "engine")
)


def models_in_path(rest: str, *, limited: bool) -> Iterator[tuple[str, str]]:
    """Yield the models in a path as Google, Amazon and Azure write them, however escaped.

    Raises ``GatewayError`` (400) for one that could be hidden if the client is ``limited``."""
    before = ""
    for step in map(unquote, rest.split("/")):
        if before in _MODEL_STEPS and step:
            yield "the path", _METHOD.sub("", step)
        elif limited and not _MODEL_STEPS.isdisjoint(re.split("[/;]", step.casefold())[:-1]):
            raise invalid("the path has a model after an escaped slash: write a plain slash")
        before = step.casefold().partition(";")[0]


def models_in_query(query: str) -> FoundModels:
    """Return the models in a query, as in Azure, Deepgram and realtime sessions."""
    return tuple((f"?{name}=", value) for name, value in parse_qsl(query) if name.casefold() in _MODEL_PARAMETERS)
