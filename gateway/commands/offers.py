"""The models that a gateway offers to clients: asked of the one that runs, or read from a configuration."""

import json
from collections.abc import Sequence
from typing import Any, Protocol
from urllib.parse import quote

import attrs

from gateway.commands.fetching import FetchError, fetch
from gateway.config.entry_price import entry_price
from gateway.config.settings import Config
from gateway.routing.router import Router
from providers.catalog.prices import Price, price_of
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
