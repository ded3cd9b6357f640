"""The choice of a gateway's models for a client.

Programs that know models by name are left with the names that they know where the gateway serves these: what they know
of a model (its context window, how it thinks, what it may cost) holds then. All others get ``smart`` and ``fast``, the
aliases that ``trigate init`` writes, or the gateway's default.
"""

import fnmatch
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol
from urllib.parse import quote

import attrs

from gateway.commands.fetching import FetchError, fetch
from gateway.commands.init import start_of
from gateway.config.entry_price import entry_price
from gateway.config.settings import Config
from gateway.routing.router import Router
from providers.catalog.models import plain_name
from providers.catalog.prices import NANOS, Price, price_of
from providers.catalog.providers import find
from streams.errors import GatewayError

PATIENCE = 3.0  # seconds for one answer of a gateway that runs


class Offer(Protocol):
    """The models that clients can ask a gateway for. ``names`` are those that ``GET /v1/models`` lists, in that order;
    ``default`` is the model for requests that name none, where that is known."""

    names: Sequence[str]
    default: str | None

    def problem(self, name: str) -> str:
        """The reason why a client that asks for the model ``name`` would be refused; "" where it would not."""

    def model(self, name: str) -> str:
        """The provider's own id of the model ``name``, or ``name`` itself where that is not known."""

    def prompt(self, name: str) -> int | None:
        """The tokens that a prompt for the model ``name`` may have; ``None`` where that is not known."""

    def facts(self, name: str) -> "OfferedFacts":
        """The facts of the model ``name``, one of ``names``, as far as they are known."""


@attrs.frozen
class OfferedFacts:
    """The facts of a model that programs let people configure: the tokens that it takes (``window``) and gives
    (``longest``), its ``price``, and its ``type``."""

    window: int | None = None
    longest: int | None = None
    price: Price | None = None
    type: str = "chat"


class Silent(Exception):
    """No gateway answers there; the message is why, as the end of a sentence."""


class KeyWanted(Exception):
    """The gateway answers nobody who shows no key of it."""


class Configured:
    """The offer of a gateway with ``config``."""

    def __init__(self, config: Config) -> None:
        self._router = Router(config)
        self.names: Sequence[str] = [model.id for model in self._router.models()]
        self.default = config.default

    def problem(self, name: str) -> str:
        try:
            self._router.resolve(name, "chat")
        except GatewayError as error:
            return error.failed.message
        return ""

    def model(self, name: str) -> str:
        return self._router.resolve(name, "chat").model

    def prompt(self, name: str) -> int | None:
        known = self._router.description(name)
        return None if known is None else known.prompt

    def facts(self, name: str) -> OfferedFacts:
        known = self._router.description(name)
        if known is None:
            return OfferedFacts()
        first = known.found[0]
        return OfferedFacts(known.window, known.longest, entry_price(first.entry, first.model), known.type)


class RunningGateway:
    """The offer of the gateway at ``root`` to whoever shows ``key``. Made by asking it; raises ``Silent`` and
    ``KeyWanted``. ``known`` is its configuration, as far as that is known here: what it says is asked, too."""

    def __init__(self, root: str, key: str | None, known: Configured | None = None) -> None:
        self._root, self._key, self._known = root, key, known
        self._problems: dict[str, str] = {}
        status, body = self._get("")
        if status in (401, 403):
            raise KeyWanted
        data = body.get("data") if status == 200 else None
        if not isinstance(data, list):
            raise Silent(f"what answers there lists no models ({status})")
        named = ((row.get("id"), row) for row in data if isinstance(row, dict))
        self._rows = {name: row for name, row in named if isinstance(name, str)}
        self.names: Sequence[str] = [*self._rows]
        default = known.default if known is not None else None
        self.default = default if default and not self.problem(default) else None

    def problem(self, name: str) -> str:
        if name not in self.names and name not in self._problems:
            self._problems[name] = self._asked(name)
        return self._problems.get(name, "")

    def _asked(self, name: str) -> str:
        status, body = self._get(f"/{quote(name)}")
        error = body.get("error")
        message = error.get("message") if isinstance(error, dict) else None
        return "" if status == 200 else str(message or f"the gateway answers {status} for the model {name!r}")

    def model(self, name: str) -> str:
        return self._known.model(name) if self._known is not None and not self._known.problem(name) else name

    def prompt(self, name: str) -> int | None:
        tokens = self._get(f"/{quote(name)}")[1].get("max_input_tokens")
        return tokens if isinstance(tokens, int) else None

    def facts(self, name: str) -> OfferedFacts:
        row = self._rows.get(name, {})
        window, longest = row.get("context_length"), row.get("max_completion_tokens")
        if self._known is not None and not self._known.problem(name):
            price = self._known.facts(name).price
        else:
            provider, _, model = name.partition("/")
            price = price_of(provider, model)
        return OfferedFacts(
            window if isinstance(window, int) else None, longest if isinstance(longest, int) else None, price,
            str(row.get("type") or "chat"),
        )  # fmt: skip

    def _get(self, path: str) -> tuple[int, dict[str, Any]]:
        """The answer to ``GET /v1/models…``, its status and its JSON object. Redirects are not followed: the key is for
        this host. Raises ``Silent``."""
        headers = {"authorization": f"Bearer {self._key}"} if self._key else {}
        try:
            status, text = fetch(f"{self._root.rstrip('/')}/v1/models{path}", headers, PATIENCE)
        except FetchError as error:
            raise Silent(str(error)) from None
        try:
            body = json.loads(text)
        except (ValueError, RecursionError):
            body = None
        return status, body if isinstance(body, dict) else {}


SMART, FAST = "smart", "fast"

TIERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "fable": ("fable", "opus", "sonnet", "haiku"),
        "opus": ("opus", "fable", "sonnet", "haiku"),
        "sonnet": ("sonnet", "opus", "fable", "haiku"),
        "haiku": ("haiku", "sonnet", "opus", "fable"),
    }
)
"""The sizes that Claude Code asks for, and which Claude models do for each where only some are served, best first."""

CODEX_KNOWS = (
    "gpt-6.1-sol", "gpt-6-astra", "gpt-6-sol", "gpt-6-luna", "gpt-5.6-sol", "gpt-6.1-terra", "gpt-5.6-terra",
    "gpt-5.6-luna", "gpt-5.5",
)  # fmt: skip
"""What Codex 0.169 has in its own catalogue and menu, in the order in which it prefers them."""

WINDOWS: Mapping[str, int] = MappingProxyType(
    {
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
)
"""Tokens that models take in of which nothing is known, by the first pattern that fits their id: a guess."""

LONGEST_GUESSED = 32_000
"""Tokens of an answer, at most, that a model is thought to give of which nothing is known."""

Words = dict[str, Any]
"""What the placeholders of a client's settings stand for; "" for a model that was wanted and not found."""


def usual(offer: Offer) -> Words:
    """The gateway's default as the model, ``fast`` for small tasks; where there is neither, what ``trigate init`` would
    begin with."""
    large, small = _beginning(offer.names)
    if offer.default or _has(offer, SMART):
        large = small = offer.default or SMART
    return {"model": large, "small": FAST if _has(offer, FAST) else small}


def _beginning(names: Sequence[str]) -> tuple[str, str]:
    """Two models, a large one and a small one, of the provider that is listed first; "" where none is."""
    first = next(iter(names), "")
    provider = first.partition("/")[0]
    row = find(provider)
    start = start_of(row) if row is not None else None
    if start is None or not {f"{provider}/{start.large}", f"{provider}/{start.small}"} <= set(names):
        return first, first
    return f"{provider}/{start.large}", f"{provider}/{start.small}"


def for_claude(offer: Offer) -> Words:
    """A model for each of Claude Code's tiers whose own names the gateway does not serve; ``pinned`` is the one to
    start with."""
    found = {tier: name for tier in TIERS if (name := _tier(offer, tier)) is not None}
    pinned = {"pinned": found["opus"]} if "opus" in found else {}
    return {**found, **pinned, **words_for_claude(found.values(), offer)}


def _tier(offer: Offer, tier: str) -> str | None:
    """The model for one tier; None where the gateway serves all names that Claude Code has for it, next year's too."""
    if _has(offer, f"claude-{tier}-0"):
        return None
    for other in TIERS[tier]:
        for name in offer.names:
            plain = plain_name(name)
            if plain.startswith(f"claude-{other}-"):
                return plain if _has(offer, plain) else name
    words = usual(offer)
    if tier == "haiku":
        return str(words["small"])
    return SMART if _has(offer, SMART) else str(words["model"])


def for_codex(offer: Offer) -> Words:
    """A model that Codex knows, if there is one: the default, or else the one that it prefers itself."""
    model = usual(offer)["model"]
    if not _codex_knows(model):
        listed = {name.rpartition("/")[2]: name for name in reversed(offer.names)}
        served = (slug if _has(offer, slug) else listed.get(slug) for slug in CODEX_KNOWS)
        model = next(filter(None, served), model)
    return {"model": model, **words_for_codex(model, offer)}


def words_for_codex(model: str, offer: Offer | None) -> Words:
    """The settings by which Codex knows ``model``: nothing where it knows it."""
    return {} if _codex_knows(model) else {"window": _window(model, offer)}


def words_for_claude(models: Iterable[str], offer: Offer | None) -> Words:
    """The settings by which Claude Code knows ``models``: it takes those that it does not know for ones of a million
    tokens, and would not summarize a conversation before that. One figure is for all of them."""
    unknown = {model for model in models if model and not model.startswith("claude-")}
    windows = [_window(model, offer) for model in unknown]
    return {"claude_window": str(min(windows))} if windows else {}


def _window(model: str, offer: Offer | None) -> int:
    """The tokens that ``model`` takes in: as ``offer`` knows it, else a guess by its name."""
    known = offer.prompt(model) if offer is not None and model and not offer.problem(model) else None
    if known is not None:
        return known
    return _guessed_window(plain_name(offer.model(model) if offer is not None and model else model))


def _guessed_window(plain: str) -> int:
    return next(size for pattern, size in WINDOWS.items() if fnmatch.fnmatchcase(plain, pattern))


def _codex_knows(model: str) -> bool:
    """True if Codex knows ``model``. It looks by the beginning of a name, behind one prefix at most."""
    return model.count("/") <= 1 and model.rpartition("/")[2].startswith(CODEX_KNOWS)


def _has(offer: Offer, name: str) -> bool:
    return not offer.problem(name)


# Named by the person


def named(model: str, small: str | None, offer: Offer | None) -> Words:
    """The models that the command line names, for any program. ``offer`` says what is known of them, None: nothing."""
    tiers = {tier: small or model if tier == "haiku" else model for tier in TIERS}
    words = {"model": model, "small": small or model, "pinned": model, **tiers}
    return {**words, **words_for_codex(model, offer), **words_for_claude(tiers.values(), offer)}


# Every model


def for_opencode(offer: Offer) -> Words:
    """Every model of the gateway that holds conversations, as OpenCode's ``models`` have it."""
    known = {name: offer.facts(name) for name in offer.names}
    return {
        "opencode_models": {
            name: _for_opencode(facts, plain_name(offer.model(name)))
            for name, facts in known.items()
            if facts.type == "chat"
        }
    }


def _for_opencode(facts: OfferedFacts, model: str) -> Words:
    """Return the window and the price of a model, which OpenCode takes for 0 where nothing says them."""
    window = facts.window or _guessed_window(model)
    limit = {"context": window, "output": facts.longest or min(window // 4, LONGEST_GUESSED)}
    if facts.price is None:
        return {"limit": limit}
    kinds = {"input": "input", "output": "output", "cached": "cache_read", "cache_write": "cache_write"}
    nanos = {word: getattr(facts.price, kind) for kind, word in kinds.items()}
    return {"limit": limit, "cost": {word: price / NANOS for word, price in nanos.items() if price is not None}}


EVERY_MODEL: Mapping[str, Callable[[Offer], Words]] = MappingProxyType({"opencode": for_opencode})
"""The words for all models of an offer, for programs that want to be told of each."""


def chosen(chooses: str, offer: Offer) -> Words:
    """The words of a program whose row says ``chooses``, as the gateway's ``offer`` has it."""
    return {**CHOICES[chooses](offer), **every_model(chooses, offer)}


def every_model(chooses: str, offer: Offer) -> Words:
    """The words for all models of ``offer``, where the program wants them."""
    return EVERY_MODEL[chooses](offer) if chooses in EVERY_MODEL else {}


CHOICES: Mapping[str, Callable[[Offer], Words]] = MappingProxyType(
    {"usual": usual, "claude": for_claude, "codex": for_codex, "opencode": usual, "own": lambda offer: {}}
)
