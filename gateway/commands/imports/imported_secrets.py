"""Secrets in the files of other gateways: the new file gets a variable for each."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from gateway.commands.imports.result import ENVIRONMENT, text_of

NO_KEYS: Final = frozenset(
    ("none", "null", "empty", "na", "n/a", "-", "any", "anything", "fake", "fake-key", "fake-api-key", "dummy",
     "dummy-key", "ollama", "lm-studio", "not-needed", "not-required", "sk-no-key-required")
)  # fmt: skip
"""Placeholders that users write as a key if a server needs none and LiteLLM requires one."""

_CREDENTIAL: Final = re.compile(r"(?i)auth|key|token|secret|cookie|password|signature")
"""The names of headers with credentials."""

_SECRET: Final = re.compile(
    r"(?i)(?:bearer|basic|token|apikey)\s+\S+"
    r"|(?:sk|pk|rk|gsk|xai|hf|ghp|glpat|key|eyj|akia|aiza)[-_.]?\w{8,}.*"
    r"|(?=\S*\d)(?=\S*[a-z])[\w.+/=~-]{24,}"
)
"""Values that look like credentials: a scheme, a usual prefix, or a long random text."""


def key_of(name: str, key: Any, default: str | None) -> tuple[list[str], str | None]:
    """Return remarks, and the variable with ``key``, or ``default`` without one."""
    if is_file(key):
        variable = _variable(f"{name} API key")
        return [f"set the variable {variable}_FILE to {key['file']}"], f"${variable}"
    if isinstance(key, str) and key.startswith(ENVIRONMENT):
        return [], text_of(key)
    if isinstance(key, str) and key.lower() in NO_KEYS:
        return [], None
    if not key:
        return [], None if default is None else f"${default}"
    return _replace_secret(f"{name} API key", "the key is in the old file")


def is_file(key: Any) -> bool:
    """Return whether ``key`` is in a file of its own: ``{file: PATH}``."""
    return isinstance(key, dict) and isinstance(key.get("file"), str)


def secret_of(name: str, what: str, value: Any) -> tuple[list[str], str | None]:
    """Return remarks, and the variable with the secret ``what`` of the model ``name``, ``None`` without a value."""
    text = text_of(value)
    if text is None or (text.startswith("$") and not text.startswith("$$")):
        return [], text
    return _replace_secret(f"{name} {what}", f"{what} is in the old file")


def _replace_secret(title: str, why: str) -> tuple[list[str], str]:
    variable = _variable(title)
    return [f"{why}: set the variable {variable} to it"], f"${variable}"


def _variable(title: str) -> str:
    """Return the name of a variable for ``title``."""
    variable = re.sub(r"[^A-Z0-9]+", "_", title.upper()).strip("_")
    return f"{'KEY_' if variable[:1].isdigit() else ''}{variable}"


def headers_of(name: str, given: Mapping[Any, Any]) -> tuple[list[str], dict[str, str]]:
    """Return remarks and the headers of ``name``; credentials become variables."""
    notes: list[str] = []
    found: dict[str, str] = {}
    for header, value in _texts(given):
        if value.startswith("$") and not value.startswith("$$"):
            found[header] = value
        elif _CREDENTIAL.search(header) or _SECRET.fullmatch(value):
            more, found[header] = _replace_secret(f"{name} {header}", f"the header {header} is in the old file")
            notes += more
        else:
            found[header] = value
    return notes, found


def _texts(given: Mapping[Any, Any]) -> Iterator[tuple[str, str]]:
    for header, value in given.items():
        if (text := text_of(value)) is not None:
            yield str(header), text
