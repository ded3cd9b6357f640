"""The affinity of a request: the conversation that it belongs to, so that its turns find their prompt in one cache.

Clients name their conversations in headers and members of their own. Where one does not, its conversation is known by
how it begins, since every turn sends its beginning again (agentgateway/agentgateway#2572, BerriAI/litellm#41065).
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias

import attrs
import msgspec

from gateway.http.headers import Headers
from gateway.http.offload import offload
from gateway.request.parse import Incoming
from gateway.request.sessions import SessionSource, named_session, short_text
from providers.apis import CODECS

AffinitySource: TypeAlias = SessionSource | Literal["header", "beginning"]
"""What names a conversation: the header that the configuration of its route names, one that a client program sends by
itself, the member ``prompt_cache_key``, the session in ``metadata.user_id``, or nothing but how it begins."""

AUTO: Final = "auto"
"""The value of ``sticky`` that names no header."""

SHORT, LONG = 300.0, 3600.0
"""Seconds for which providers keep a prompt since it was last used: by default, and where the request asks for more
(https://platform.claude.com/docs/en/build-with-claude/prompt-caching)."""

_HOUR: Final = re.compile(rb'"ttl"\s*:\s*"1h"')
_MARKED: Final = ("cache_control", "system", "tools")
"""Members in which a cache is asked for, beside the conversation."""
_LOOKED_THROUGH: Final = 32 * 1024
"""Bytes at either end of such a member in which a lifetime is looked for: marks stand on its first or last parts."""

_SYSTEM: Final = ("system", "instructions")
_NO_TEXT: Final = frozenset(("cache_control", "type", "role", "id", "status", "phase"))
"""What may differ from turn to turn where the text is the same: marks move on, and content is a string or a list."""

_ENDS: Final = 4096
"""Characters at either end of a text that are read; what begins alike and is as long rarely differs in between."""

_ANY: Final = msgspec.json.Decoder()
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])


@attrs.frozen
class Affinity:
    """A conversation of one client: ``key`` differs for every client key, ``lifetime`` is how many seconds its prompt
    is kept by a provider, ``source`` where it was found."""

    key: bytes
    lifetime: float
    source: AffinitySource


async def find_affinity(sticky: str | None, owner: str, headers: Headers, incoming: Incoming) -> Affinity | None:
    """The affinity of a request of ``owner``: the client key's name, or whoever its state belongs to. ``sticky`` is the
    route's: a header's name, ``AUTO``, or ``None`` for none. A large body without any name is read beside the
    streams."""
    if sticky is None:
        return None
    named = _named(sticky, dict(headers), incoming)
    if named is None:
        beginning = await offload(incoming.size, _beginning, incoming)
        named = None if beginning is None else ("beginning", beginning)
    if named is None:
        return None
    source, name = named
    key = hashlib.blake2b(repr((owner, name)).encode(), digest_size=16).digest()
    return Affinity(key, _lifetime(incoming), source)


def _named(sticky: str, headers: Mapping[str, str], incoming: Incoming) -> tuple[AffinitySource, str] | None:
    if sticky != AUTO and (name := headers.get(sticky)):
        return "header", name
    return named_session(headers, incoming)


def _beginning(incoming: Incoming) -> str | None:
    """A digest of the system's text and of all up to the first message of the user."""
    digest = hashlib.blake2b(digest_size=16)
    for member in _SYSTEM:
        if (raw := incoming.members.get(member)) is not None:
            _digest_texts(digest, _value(raw))
    found = False
    for message in _messages(incoming):
        _digest_texts(digest, message)
        if found := _is_users(message):
            break
    return digest.hexdigest() if found else None


def _messages(incoming: Incoming) -> Iterator[Any]:
    """The messages of the whole conversation, decoded one by one."""
    yield from incoming.earlier
    raw = incoming.members.get(CODECS[incoming.api].wire.conversation.member)
    if raw is None:
        return
    try:
        messages = _LIST.decode(raw)
    except msgspec.MsgspecError:
        yield _value(raw)
        return
    yield from map(_value, messages)


def _value(raw: msgspec.Raw) -> Any:
    """``raw`` decoded; ``None`` for what is nested too deeply or no text."""
    try:
        return _ANY.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return None


def _is_users(message: Any) -> bool:
    """A prompt that is a string alone is the user's."""
    return isinstance(message, str) or (isinstance(message, Mapping) and message.get("role") == "user")


def _digest_texts(digest: "hashlib.blake2b", value: Any) -> None:
    for text in _texts(value):
        head = text if len(text) <= 2 * _ENDS else f"{len(text)} {text[:_ENDS]}{text[-_ENDS:]}"
        digest.update(head.encode())
        digest.update(b"\0")


def _texts(value: Any) -> Iterator[str]:
    """The strings in ``value``, in order. What is nested more deeply than the interpreter bears was refused before."""
    match value:
        case str():
            yield value
        case list():
            for item in value:
                yield from _texts(item)
        case dict():
            for name, item in value.items():
                if name not in _NO_TEXT:
                    yield from _texts(item)


def _lifetime(incoming: Incoming) -> float:
    members = incoming.members
    if short_text(members.get("prompt_cache_retention")) == "24h":
        return LONG
    for name in (*_MARKED, CODECS[incoming.api].wire.conversation.member):
        if (raw := members.get(name)) is not None:
            text = memoryview(raw)
            if _HOUR.search(text[:_LOOKED_THROUGH]) or _HOUR.search(text[_LOOKED_THROUGH:][-_LOOKED_THROUGH:]):
                return LONG
    return SHORT
