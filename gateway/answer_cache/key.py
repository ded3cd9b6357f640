"""The key of an answer: everything that it depends on, and whose it is.

There is no list of members that count: each such list has forgotten some (BerriAI/litellm#894, #25673,
headroomlabs-ai/headroom#1473). There is one of those that do not.
"""

import hashlib
import json
from collections.abc import Collection, Iterable
from operator import itemgetter
from typing import Any, Final

LEFT_OUT: Final[dict[str, str]] = {
    "stream": "the same answer comes in both forms",
    "user": "it names an end user, and the owner of the answer is in the key",
    "safety_identifier": "the same",
    "metadata": "notes of the client's, and an end user",
    "prompt_cache_key": "where the provider keeps the prompt",
    "service_tier": "how soon the answer comes, and what for",
}
"""The top-level members on which no answer depends, and why. ``stream_options.include_usage`` is one, too."""

FORM: Final = frozenset(("stream",))
"""Those of them that no answer repeats."""

_USAGE: Final = "include_usage"
_OPTIONS: Final = "stream_options"

_number = str.encode
"""A number as it is spelled: what tells it from a text, and no two numbers are taken for one."""

_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=lambda pairs: tuple(sorted(pairs, key=itemgetter(0))),  # of one name all, in their order
    parse_int=_number,
    parse_float=_number,
    parse_constant=_number,
)


def canonical(body: bytes, left_out: Collection[str] = LEFT_OUT) -> bytes:
    """A JSON text so that two are the same bytes if they say the same: white space and the order of members do not
    count, the order in lists does. Without the members ``left_out``, and what else is of the form of the answer where
    there are any. Raises ``ValueError`` or ``RecursionError`` for what is no JSON."""
    value = _DECODER.decode(body.decode()) if body else ()
    if left_out and isinstance(value, tuple):
        pairs = (_kept(name, member) for name, member in value if name not in left_out)
        value = tuple([pair for pair in pairs if pair is not None])
    return repr(value).encode()


def _kept(name: str, value: Any) -> tuple[str, Any] | None:
    if name == _OPTIONS:
        if not isinstance(value, tuple):
            return None if value is None else (name, value)
        value = tuple([pair for pair in value if pair[0] != _USAGE])
        return (name, value) if value else None
    return name, value


def answer_key(parts: Iterable[bytes]) -> bytes:
    """32 bytes, of all ``parts`` in their order."""
    made = hashlib.sha256()
    for part in parts:
        made.update(b"%d:" % len(part))
        made.update(part)
    return made.digest()
