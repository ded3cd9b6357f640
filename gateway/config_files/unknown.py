"""Advice on unknown keys: missing features, and common spellings of other gateways.

The rows about a feature are its own (``Feature.advice``). A test fails if a listed key is read."""

import re
from collections.abc import Mapping
from typing import Final

from configfile.reading import unknown_key
from configfile.wording import UNKNOWN_KEY, Wrong
from gateway.config.aliases import Route, RouteTarget
from gateway.config.allowances import RateLimits
from gateway.config.clients import AcceptedKey, ClientGroup, ClientKey
from gateway.config.listening import LegacyListeners, Listener
from gateway.config.model_entry import ModelEntry
from gateway.config.parts import Absent, Instead
from gateway.config.settings import Config
from gateway.features.known import features
from gateway.named_imports import import_named

ROOT, ENTRY, ALIAS, CLIENT, LISTENER = Config, ModelEntry, Route, ClientKey, Listener

_RATES: Final = "rate_limit rate_limits rpm tpm rpm_limit tpm_limit"

INSTEAD: Final = (
    Instead("write a list: `listeners: [{port: 12000}]`", "type name port address timeout", (LegacyListeners,)),
    Instead("it belongs to LiteLLM: `trigate import FILE` converts such a file",
            "model_list litellm_settings general_settings router_settings litellm_params", (ROOT, ENTRY)),
    Instead("list the models under `model_providers`, each as `- model: PROVIDER/MODEL`", "models", (ROOT,)),
    Instead("write `listeners: [{type: model, address: 127.0.0.1, port: 12000}]`",
            "port host address bind server", (ROOT,)),
    Instead("it belongs to a listener: `listeners: [{port: 12000, tls: {certificate: FILE, key: FILE}}]`",
            "tls ssl", (ROOT,)),
    Instead("write `state_storage: {type: sqlite, path: state.sqlite}`, or `type: postgres`",
            "storage store database database_url db sqlite postgres postgresql", (ROOT,)),
    Instead("write `counters: {type: redis, url: rediss://HOST:6379/0}`", "redis redis_url valkey", (ROOT,)),
    Instead("write `log_level: info`, or another level", "logging logger logs", (ROOT,)),
    Instead("write `client_groups: [{name: NAME}]`", "groups teams", (ROOT,)),
    Instead("write it as `price` in an entry of `model_providers`", "price prices pricing", (ROOT,)),
    Instead("it belongs to an entry of `model_providers`", "api_key access_key base_url api_base", (ROOT,)),
    Instead("list the keys that clients must send under `client_keys`", "keys api_keys auth master_key", (ROOT,)),
    Instead("write `model_aliases: {NAME: {target: MODEL}}`", "aliases", (ROOT,)),
    Instead("it belongs to an alias: `model_aliases: {NAME: {targets: [FIRST, NEXT]}}`",
            "fallbacks fallback routes strategy targets", (ROOT, ENTRY)),
    Instead("write it as `access_key`", "api_key key token", (ENTRY,)),
    Instead("write `base_url: https://HOST:PORT/PREFIX`", "api_base url endpoint host base", (ENTRY,)),
    Instead("write it as `timeouts: {first_byte: 60s}`; other limits are `connect`, `idle` and `total`",
            "timeout request_timeout", (ROOT, ENTRY)),
    Instead("write it as `retries: {attempts: 3}`, which counts all provider requests for one client request",
            "num_retries max_retries", (ROOT, ENTRY, ALIAS)),
    Instead("write `budgets: [20 usd/day]`", "budget max_budget", (ROOT, ENTRY, CLIENT)),
    Instead("write `ratelimits: {requests: 60/m, tokens: 100k/m}`", _RATES, (ROOT, ENTRY, CLIENT, ClientGroup)),
    Instead("write it as `requests: 60/m`", "rpm", (RateLimits,)),
    Instead("write it as `tokens: 100k/m`", "tpm", (RateLimits,)),
    Instead("write it as `address`", "host bind", (LISTENER,)),
    Instead("write it as `targets`, in the order in which the gateway tries them", "fallbacks models", (ALIAS,)),
    Instead("write it as `when`: YAML reads this word as true", "on true yes", (RouteTarget,)),
    Instead("write it as `until`, the last day or the time of expiry, such as `until: 2027-01-31`",
            "expires expires_at expiry duration ttl", (CLIENT, AcceptedKey)),
)  # fmt: skip
"""Keys that many users of other gateways write; each key applies in each of the places."""


ROWS: Final[tuple[Instead | Absent, ...]] = (
    *(row for feature in features() if feature.advice for row in import_named(feature.advice)), *INSTEAD,
)  # fmt: skip
ABSENT: Final = tuple(row for row in ROWS if isinstance(row, Absent))
"""The features that trigate lacks. The README lists them."""


ADVICE: Final[Mapping[tuple[type, str], str]] = {
    (place, key): row.advice for row in ROWS for place in row.places for key in row.keys.split()
}
"""Advice by the class that is read, and the key in snake case."""


def advice(place: type, key: str) -> str | None:
    """Return the advice on an unknown ``key`` where ``place`` is read, ``None`` if there is none."""
    return ADVICE.get((place, snake_case(key)))


def wrong_key(place: type, key: str) -> Wrong:
    """Return the message about an unknown ``key`` where ``place`` is read.

    It has the advice on that key, else a similar key, else all keys."""
    advised = advice(place, key)
    return unknown_key(place, key) if advised is None else Wrong(UNKNOWN_KEY, advised)


def snake_case(key: str) -> str:
    """Return ``key`` in snake case: ``maxTokens`` and ``max-tokens`` become ``max_tokens``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).replace("-", "_").lower()
