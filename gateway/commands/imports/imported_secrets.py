"""Secrets in the files of other gateways: the new file gets a variable for each."""

import re
from collections.abc import Container, Mapping
from itertools import chain, count
from typing import Any, Final

import attrs

from gateway.commands.imports.imported_values import ENVIRONMENT, text_of

NO_KEYS: Final = frozenset(
    ("none", "null", "empty", "na", "n/a", "-", "any", "anything", "fake", "fake-key", "fake-api-key", "dummy",
     "dummy-key", "ollama", "lm-studio", "not-needed", "not-required", "sk-no-key-required")
)  # fmt: skip
"""Placeholders that users write as a key if a server needs none and LiteLLM requires one."""

_PLACEHOLDER: Final = (
    "the key {} looks like a placeholder, so the entry has none: if the server checks it, set access_key"
)

_CREDENTIAL: Final = re.compile(r"(?i)auth|key|token|secret|cookie|password|signature")
"""The names of headers with credentials."""

_SECRET: Final = re.compile(
    r"(?i)(?:bearer|basic|token|apikey)\s+\S+"
    r"|(?:sk|pk|rk|gsk|xai|hf|ghp|glpat|key|eyj|akia|aiza)[-_.]?\w{8,}.*"
    r"|(?=\S*\d)(?=\S*[a-z])[\w.+/=~-]{24,}"
)
"""Values that look like credentials: a scheme, a usual prefix, or a long random text."""

_VARIABLE: Final = re.compile(r"\$(?:\$|([A-Za-z_][A-Za-z0-9_]*))")
_PLAIN: Final = re.compile(r"[\w./:+=@,-]+", re.ASCII)


def variables_in(text: str, known: Container[str] = ()) -> list[str]:
    """Return the variables that the new file reads, sorted, and the ``known`` ones in its comments."""
    named = {
        (match[1], line[:1] == "#") for line in text.splitlines() for match in _VARIABLE.finditer(line) if match[1]
    }
    return sorted({name for name, is_in_comment in named if not is_in_comment or name in known})


def environment_line(name: str, value: str) -> str:
    """Return a line for systemd, a shell or ``~/.config/trigate/environment``; a comment if they cannot hold ``value``.

    Only values with special characters are quoted, because ``docker --env-file`` keeps quotes."""
    if "'" in value or not value.isprintable():
        return f"# {name}: its value has quotes, line breaks or control characters: set it yourself"
    return f"{name}={value}" if _PLAIN.fullmatch(value) else f"{name}='{value}'"


@attrs.define(repr=False)
class SecretNames:
    """The variables for the secrets of a file: each has one of ``values``. Those ``of_files`` need a file's path."""

    values: dict[str, str] = attrs.field(factory=dict)
    of_files: set[str] = attrs.field(factory=set)

    def variable(self, title: str, value: str) -> str:
        """Return the variable for the secret ``value``, named after ``title`` and unlike those of other values."""
        plain = re.sub(r"[^A-Z0-9]+", "_", title.upper()).strip("_")
        plain = f"{'KEY_' if plain[:1].isdigit() else ''}{plain}"
        names = chain([plain], (f"{plain}_{number}" for number in count(2)))
        found = next(name for name in names if self.values.get(name, value) == value)
        self.values[found] = value
        return found


@attrs.frozen
class SecretOwner:
    """A model or client by its ``name``, whose secrets in ``source`` become variables. Methods add to ``notes``."""

    name: str
    names: SecretNames
    notes: list[str] = attrs.field(factory=list)
    source: str = "the old file"

    def read_client_key(self, key: Any) -> str | None:
        """Return the variable with the ``key`` of a client.

        A placeholder is a key, too: without it, the new file would require none."""
        if isinstance(key, str) and key.lower() in NO_KEYS:
            return self._replace("API key", key, "the key")
        return self.read_key(key, None)

    def read_key(self, key: Any, default: str | None) -> str | None:
        """Return the variable with ``key``, or ``default`` without one."""
        if isinstance(key, str) and key.startswith(ENVIRONMENT):
            return text_of(key)
        if isinstance(key, str) and key.lower() in NO_KEYS:
            self.notes.append(_PLACEHOLDER.format(key))
            return None
        if not key:
            return None if default is None else f"${default}"
        return self._replace("API key", key, "the key")

    def read_secret(self, what: str, value: Any) -> str | None:
        """Return the variable with the secret ``what``, ``None`` without a value."""
        text = text_of(value)
        if text is None or _is_variable(text):
            return text
        return self._replace(what, value, what)

    def read_headers(self, given: Mapping[Any, Any]) -> dict[str, str]:
        """Return the headers; credentials become variables."""
        found: dict[str, str] = {}
        for name, given_value in given.items():
            if (value := text_of(given_value)) is None:
                continue
            header = str(name)
            is_secret = not _is_variable(value) and (_CREDENTIAL.search(header) or _SECRET.fullmatch(value))
            found[header] = self._replace(header, value, f"the header {header}") if is_secret else value
        return found

    def _replace(self, title: str, value: Any, what: str) -> str:
        variable = self.names.variable(f"{self.name} {title}", str(value))
        self.notes.append(f"{what} is in {self.source}: set the variable {variable} to it")
        return f"${variable}"


def _is_variable(text: str) -> bool:
    return text.startswith("$") and not text.startswith("$$")
