"""Chooses the models of a gateway for the settings of a client.

Some programs know models by name, with their context windows, thinking and prices. They keep the names that they know
if the gateway serves these. All other programs get ``smart`` and ``fast``, the aliases of ``trigate init``, or the
gateway's default.
"""

import fnmatch
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import quote

import attrs

from gateway.commands.fetching import FetchError, fetch
from gateway.commands.init import start_of
from gateway.config.model_entry import entry_price
from gateway.config.settings import Config
from gateway.routing.router import Router
from gateway.viewing.described import Descriptions
from gateway.viewing.listed_models import list_models
from providers.catalog.models import plain_name
from providers.catalog.prices import NANOS, Price, price_of
from providers.catalog.providers import find
from streams.errors import GatewayError

TIMEOUT = 3.0  # seconds for one response of a running gateway


@attrs.frozen
class OfferedFacts:
    """A model's context ``window``, ``longest`` answer (both in tokens), ``price`` and ``type``."""

    window: int | None = None
    longest: int | None = None
    price: Price | None = None
    type: str = "chat"


class NoGateway(Exception):
    """An error: no gateway responds at an address. The message is the reason, for the end of a sentence."""


class KeyRequired(Exception):
    """The gateway rejected the request because it needs a valid key."""


class ConfiguredOffer:
    """The models that a gateway with ``config`` would serve.

    ``names`` are those of ``GET /v1/models``, in order; ``default`` is the model for requests without one, if
    known."""

    def __init__(self, config: Config) -> None:
        self._router = Router(config)
        self._descriptions = Descriptions(self._router)
        self.names: Sequence[str] = [model.id for model in list_models(self._router)]
        self.default = config.default

    def rejection_reason(self, name: str) -> str:
        """Return the reason why the gateway would reject requests for ``name``, "" if it would accept them."""
        try:
            self._router.resolve(name, "chat")
        except GatewayError as error:
            return error.info.message
        return ""

    def provider_model(self, name: str) -> str:
        """Return the provider's id of the model ``name``, or ``name`` if that is unknown."""
        return self._router.resolve(name, "chat").model

    def prompt_limit(self, name: str) -> int | None:
        """Return the maximum number of prompt tokens for ``name``, ``None`` if unknown."""
        known = self._descriptions.of(name)
        return None if known is None else known.prompt

    def facts_of(self, name: str) -> OfferedFacts:
        """Return the known facts about ``name``, one of ``names``."""
        known = self._descriptions.of(name)
        if known is None:
            return OfferedFacts()
        first = known.found[0]
        return OfferedFacts(known.window, known.longest, entry_price(first.entry, first.model), known.type)


class RunningGateway:
    """The models that the running gateway at ``root`` serves to the holder of ``key``.

    The constructor queries the gateway; it raises ``NoGateway`` and ``KeyRequired``. ``known`` is the offer of its
    configuration, if that is available: it supplies prices, provider ids and the default."""

    def __init__(self, root: str, key: str | None, known: ConfiguredOffer | None = None) -> None:
        self._root, self._key, self._known = root, key, known
        self._problems: dict[str, str] = {}
        status, body = self._get("")
        if status in (401, 403):
            raise KeyRequired
        data = body.get("data") if status == 200 else None
        if not isinstance(data, list):
            raise NoGateway(f"the server there returns no list of models, status {status}")
        by_id = ((row.get("id"), row) for row in data if isinstance(row, dict))
        self._rows = {name: row for name, row in by_id if isinstance(name, str)}
        self.names: Sequence[str] = [*self._rows]
        default = known.default if known is not None else None
        self.default = default if default and not self.rejection_reason(default) else None

    def rejection_reason(self, name: str) -> str:
        if name not in self.names and name not in self._problems:
            self._problems[name] = self._fetch_problem(name)
        return self._problems.get(name, "")

    def _fetch_problem(self, name: str) -> str:
        status, body = self._get(f"/{quote(name)}")
        error = body.get("error")
        message = error.get("message") if isinstance(error, dict) else None
        return "" if status == 200 else str(message or f"the gateway returns status {status} for the model {name!r}")

    def provider_model(self, name: str) -> str:
        known = self._known
        return name if known is None or known.rejection_reason(name) else known.provider_model(name)

    def prompt_limit(self, name: str) -> int | None:
        tokens = self._get(f"/{quote(name)}")[1].get("max_input_tokens")
        return tokens if isinstance(tokens, int) else None

    def facts_of(self, name: str) -> OfferedFacts:
        row = self._rows.get(name, {})
        window, longest = row.get("context_length"), row.get("max_completion_tokens")
        if self._known is not None and not self._known.rejection_reason(name):
            price = self._known.facts_of(name).price
        else:
            provider, _, model = name.partition("/")
            price = price_of(provider, model)
        return OfferedFacts(
            window if isinstance(window, int) else None, longest if isinstance(longest, int) else None, price,
            str(row.get("type") or "chat"),
        )  # fmt: skip

    def _get(self, path: str) -> tuple[int, dict[str, Any]]:
        """Return the status and the JSON object of ``GET /v1/models…``. Raises ``NoGateway``.

        It follows no redirects: the key is for this host."""
        headers = {"authorization": f"Bearer {self._key}"} if self._key else {}
        try:
            status, text = fetch(f"{self._root.rstrip('/')}/v1/models{path}", headers, TIMEOUT)
        except FetchError as error:
            raise NoGateway(str(error)) from None
        try:
            body = json.loads(text)
        except (ValueError, RecursionError):
            body = None
        return status, body if isinstance(body, dict) else {}


Offer: TypeAlias = ConfiguredOffer | RunningGateway

SMART, FAST = "smart", "fast"

TIERS: Final[Mapping[str, tuple[str, ...]]] = {
    "fable": ("fable", "opus", "sonnet", "haiku"),
    "opus": ("opus", "fable", "sonnet", "haiku"),
    "sonnet": ("sonnet", "opus", "fable", "haiku"),
    "haiku": ("haiku", "sonnet", "opus", "fable"),
}
"""Claude Code's model tiers, each with the Claude tiers that can replace it, best first."""

CODEX_KNOWS = (
    "gpt-6.1-sol", "gpt-6-astra", "gpt-6-sol", "gpt-6-luna", "gpt-5.6-sol", "gpt-6.1-terra", "gpt-5.6-terra",
    "gpt-5.6-luna", "gpt-5.5",
)  # fmt: skip
"""The models in the catalogue of Codex 0.169, in its order of preference."""

WINDOWS: Final[Mapping[str, int]] = {
    "claude-*": 200_000,
    "gpt-4.1*": 1_047_576,
    "gpt-4*": 128_000,
    "gpt-oss*": 131_072,
    "gpt-*": 272_000,
    "o[1-9]*": 200_000,
    "gemini-*": 1_048_576,
    "grok-*": 256_000,
    "*": 128_000,
}
"""Guessed context windows in tokens, by the first pattern that matches the model's id."""

LONGEST_GUESSED = 32_000
"""The guessed maximum length of answers of unknown models, in tokens."""

PlaceholderValues = dict[str, Any]
"""The values of the placeholders in a client's settings; "" for a model that is needed and was not found."""


def default_models(offer: Offer) -> PlaceholderValues:
    """Return the large and the small model for a client: default and ``fast``, or else the ones that ``trigate init``
    would choose."""
    large, small = _initial_models(offer.names)
    if offer.default or _serves(offer, SMART):
        large = small = offer.default or SMART
    return {"model": large, "small": FAST if _serves(offer, FAST) else small}


def _initial_models(names: Sequence[str]) -> tuple[str, str]:
    """Return a large and a small model of the first provider in ``names``; "" if there is none."""
    first = next(iter(names), "")
    provider = first.partition("/")[0]
    row = find(provider)
    start = start_of(row) if row is not None else None
    if start is None or not {f"{provider}/{start.large}", f"{provider}/{start.small}"} <= set(names):
        return first, first
    return f"{provider}/{start.large}", f"{provider}/{start.small}"


def models_for_claude(offer: Offer) -> PlaceholderValues:
    """Return a model for each tier of Claude Code whose own names the gateway does not serve.

    ``pinned`` is the model that Claude Code starts with."""
    found = {tier: name for tier in TIERS if (name := _model_for_tier(offer, tier)) is not None}
    pinned = {"pinned": found["opus"]} if "opus" in found else {}
    return {**found, **pinned, **window_setting_for_claude(found.values(), offer)}


def _model_for_tier(offer: Offer, tier: str) -> str | None:
    """Return the model for one tier, ``None`` if the gateway serves all of the tier's names, also future ones."""
    if _serves(offer, f"claude-{tier}-0"):
        return None
    for other in TIERS[tier]:
        for name in offer.names:
            plain = plain_name(name)
            if plain.startswith(f"claude-{other}-"):
                return plain if _serves(offer, plain) else name
    words = default_models(offer)
    if tier == "haiku":
        return str(words["small"])
    return SMART if _serves(offer, SMART) else str(words["model"])


def model_for_codex(offer: Offer) -> PlaceholderValues:
    """Return a model that Codex knows, if the gateway serves one: the default, or else Codex's favourite."""
    model = default_models(offer)["model"]
    if not _codex_knows(model):
        listed = {name.rpartition("/")[2]: name for name in reversed(offer.names)}
        served = (slug if _serves(offer, slug) else listed.get(slug) for slug in CODEX_KNOWS)
        model = next(filter(None, served), model)
    return {"model": model, **window_setting_for_codex(model, offer)}


def window_setting_for_codex(model: str, offer: Offer | None) -> PlaceholderValues:
    """Return Codex's setting with the context window of ``model``, nothing if Codex knows the model."""
    return {} if _codex_knows(model) else {"window": _context_window(model, offer)}


def window_setting_for_claude(models: Iterable[str], offer: Offer | None) -> PlaceholderValues:
    """Return the smallest context window of ``models`` as a setting, if Claude Code does not know one of them.

    Otherwise it assumes a million tokens, and summarizes conversations too late. It has one setting for all models."""
    unknown = {model for model in models if model and not model.startswith("claude-")}
    windows = [_context_window(model, offer) for model in unknown]
    return {"claude_window": str(min(windows))} if windows else {}


def _context_window(model: str, offer: Offer | None) -> int:
    """Return the context window of ``model`` in tokens, from ``offer`` or else guessed from its name."""
    known = offer.prompt_limit(model) if offer is not None and model and not offer.rejection_reason(model) else None
    if known is not None:
        return known
    return _guess_window(plain_name(offer.provider_model(model) if offer is not None and model else model))


def _guess_window(plain: str) -> int:
    return next(size for pattern, size in WINDOWS.items() if fnmatch.fnmatchcase(plain, pattern))


def _codex_knows(model: str) -> bool:
    """Return whether Codex knows ``model``. It compares the start of the name, after at most one prefix."""
    return model.count("/") <= 1 and model.rpartition("/")[2].startswith(CODEX_KNOWS)


def _serves(offer: Offer, name: str) -> bool:
    return not offer.rejection_reason(name)


# From the command line


def values_of_models(model: str, small: str | None, offer: Offer | None) -> PlaceholderValues:
    """Return the placeholders' values for models from the command line. ``offer`` has the facts about the models."""
    tiers = {tier: small or model if tier == "haiku" else model for tier in TIERS}
    words = {"model": model, "small": small or model, "pinned": model, **tiers}
    return {**words, **window_setting_for_codex(model, offer), **window_setting_for_claude(tiers.values(), offer)}


# Every model


def models_for_opencode(offer: Offer) -> PlaceholderValues:
    """Return all chat models of the gateway in the format of OpenCode's ``models``."""
    known = {name: offer.facts_of(name) for name in offer.names}
    return {
        "opencode_models": {
            name: _opencode_model(facts, plain_name(offer.provider_model(name)))
            for name, facts in known.items()
            if facts.type == "chat"
        }
    }


def _opencode_model(facts: OfferedFacts, model: str) -> PlaceholderValues:
    """Return the limits and the price of a model; OpenCode uses 0 for missing ones."""
    window = facts.window or _guess_window(model)
    limit = {"context": window, "output": facts.longest or min(window // 4, LONGEST_GUESSED)}
    if facts.price is None:
        return {"limit": limit}
    kinds = {"input": "input", "output": "output", "cached": "cache_read", "cache_write": "cache_write"}
    nanos = {word: getattr(facts.price, kind) for kind, word in kinds.items()}
    return {"limit": limit, "cost": {word: price / NANOS for word, price in nanos.items() if price is not None}}


EVERY_MODEL: Final[Mapping[str, Callable[[Offer], PlaceholderValues]]] = {"opencode": models_for_opencode}
"""Functions that list all models of an offer, for programs whose settings need such a list."""

CHOICES: Final[Mapping[str, Callable[[Offer], PlaceholderValues]]] = {
    "usual": default_models,
    "claude": models_for_claude,
    "codex": model_for_codex,
    "opencode": default_models,
    "own": lambda offer: {},
}


def choose(chooses: str, offer: Offer) -> PlaceholderValues:
    """Return the placeholders' values for a program with this value of ``Client.chooses``."""
    return {**CHOICES[chooses](offer), **values_of_all_models(chooses, offer)}


def values_of_all_models(chooses: str, offer: Offer) -> PlaceholderValues:
    """Return the list of all models of ``offer``, if the program needs it."""
    return EVERY_MODEL[chooses](offer) if chooses in EVERY_MODEL else {}
