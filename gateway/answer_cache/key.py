"""Cache keys: a digest of everything that a response depends on, and of its owner.

Members are excluded rather than included: every list of included members has missed some (BerriAI/litellm#894, #25673,
headroomlabs-ai/headroom#1473)."""

import hashlib
import json
from collections.abc import Collection, Iterable
from operator import itemgetter
from typing import Any, Final

EXCLUDED: Final[dict[str, str]] = {
    "stream": "the same answer comes in both forms",
    "user": "it names an end user, and the owner of the answer is in the key",
    "safety_identifier": "the same",
    "metadata": "notes of the client's, and an end user",
    "prompt_cache_key": "where the provider keeps the prompt",
    "service_tier": "how soon the answer comes, and what for",
}
"""Top-level members on which no response depends, and why; ``stream_options.include_usage`` is another."""

FORM_MEMBERS: Final = frozenset(("stream",))
"""Excluded members that no response repeats."""

_USAGE: Final = "include_usage"
_OPTIONS: Final = "stream_options"

_number = str.encode
"""Return a number's text as bytes: distinct from strings, and no two spellings are equal."""

_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=lambda pairs: tuple(sorted(pairs, key=itemgetter(0))),  # duplicates keep their order
    parse_int=_number,
    parse_float=_number,
    parse_constant=_number,
)


def canonical(body: bytes, excluded: Collection[str] = EXCLUDED) -> bytes:
    """Return a JSON text in canonical form: whitespace and member order do not count, list order does.

    Without the members ``excluded`` and others about the response's form. Raises ``ValueError`` or ``RecursionError``
    for invalid JSON."""
    value = _DECODER.decode(body.decode()) if body else ()
    if excluded and isinstance(value, tuple):
        pairs = (_without_usage_option(name, member) for name, member in value if name not in excluded)
        value = tuple([pair for pair in pairs if pair is not None])
    return repr(value).encode()


def _without_usage_option(name: str, value: Any) -> tuple[str, Any] | None:
    if name == _OPTIONS:
        if not isinstance(value, tuple):
            return None if value is None else (name, value)
        value = tuple([pair for pair in value if pair[0] != _USAGE])
        return (name, value) if value else None
    return name, value


def answer_key(parts: Iterable[bytes]) -> bytes:
    """Return a 32-byte digest of ``parts`` in order."""
    made = hashlib.sha256()
    for part in parts:
        made.update(b"%d:" % len(part))
        made.update(part)
    return made.digest()
