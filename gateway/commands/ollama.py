"""The models that this machine's Ollama has pulled, for ``trigate init``."""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

import attrs
import msgspec

from gateway.commands.fetching import FetchError, fetch
from providers.catalog.providers import CATALOG
from streams.surrogates import NOT_JSON

VARIABLE = "OLLAMA_HOST"
"""Ollama's own variable for its address; it may leave out scheme, host or port."""

_TIMEOUT = 0.5
_HERE = {"localhost": "localhost", "127.0.0.1": "127.0.0.1", "::1": "[::1]", "0.0.0.0": "localhost", "::": "localhost"}
"""Hosts that are this machine, as an address of it: only those are asked, and without a proxy."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,199}")


@attrs.frozen
class Local:
    """``models`` as they were pulled, the latest first; ``base_url`` None is the usual address."""

    models: tuple[str, ...]
    large: str
    small: str
    base_url: str | None = None


@attrs.frozen
class _Details:
    family: str = ""


@attrs.frozen
class _Tag:
    name: str
    size: int = 0
    details: _Details | None = None

    @property
    def talks(self) -> bool:
        """True if it answers with text: a model of embeddings does not."""
        family = self.details.family if self.details is not None else ""
        return _NAME.fullmatch(self.name) is not None and "embed" not in self.name and "bert" not in family


@attrs.frozen
class _Tags:
    models: tuple[_Tag, ...] = ()


def local(env: Mapping[str, str]) -> Local | None:
    """The models that Ollama has here; ``None`` where it does not answer within half a second, or has nothing that
    talks."""
    address = _address(env.get(VARIABLE, ""))
    if address is None:
        return None
    try:
        tags = msgspec.json.decode(_listed(*address), type=_Tags)
    except (FetchError, *NOT_JSON):
        return None
    found = [tag for tag in tags.models if tag.talks]
    if not found:
        return None
    by_size = sorted(found, key=lambda tag: tag.size)
    base_url = f"http://{_HERE[address[0]]}:{address[1]}"
    usual = base_url == CATALOG["ollama"].base_url
    names = tuple(tag.name for tag in found)
    return Local(names, by_size[-1].name, by_size[0].name, None if usual else base_url)


def _address(given: str) -> tuple[str, int] | None:
    """Host and port; ``None`` for another machine, and for what is no address."""
    text = given.strip()
    try:
        parts = urlsplit(text if "//" in text else f"//{text}")
        host, port = parts.hostname or "localhost", parts.port or 11434
    except ValueError:
        return None
    return (host, port) if host in _HERE and parts.scheme in ("", "http") else None


def _listed(host: str, port: int) -> bytes:
    """Raises ``FetchError``."""
    status, body = fetch(f"http://{_HERE[host]}:{port}/api/tags", {"accept": "application/json"}, _TIMEOUT)
    return body if status == 200 else b"{}"
