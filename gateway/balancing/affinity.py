"""Affinity: the conversation of a request, so that all its turns use the same prompt cache.

Clients identify conversations in their own headers and members. Otherwise the beginning of the conversation identifies
it, because every turn repeats it (agentgateway/agentgateway#2572, BerriAI/litellm#41065)."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias

import attrs
import msgspec

from gateway.http.headers import Headers
from gateway.http.offload import offload
from gateway.request.parse import Incoming
from gateway.request.sessions import SessionSource, named_session, short_text
from gateway.shared.rows import OWNER
from providers.apis import CODECS
from streams.surrogates import NOT_JSON, decode_or

AffinitySource: TypeAlias = SessionSource | Literal["header", "beginning"]
"""The source of a conversation's identity.

The header that the route's configuration sets, a header of the client program, the member ``prompt_cache_key``, the
session in ``metadata.user_id``, or the beginning of the conversation."""

AUTO: Final = "auto"
"""The value of ``sticky`` without a header name."""

SHORT, LONG = 300.0, 3600.0
"""Seconds that providers cache a prompt after its last use: by default, and if the request asks for longer
(https://platform.claude.com/docs/en/build-with-claude/prompt-caching)."""

_HOUR: Final = re.compile(rb'"ttl"\s*:\s*"1h"')
_CACHE_MEMBERS: Final = ("cache_control", "system", "tools")
"""Members besides the conversation that can request caching."""
_SEARCHED: Final = 32 * 1024
"""Bytes at either end of such a member that are searched for a lifetime: marks are in its first or last parts."""

_SYSTEM: Final = ("system", "instructions", "system_instruction")
_IGNORED_MEMBERS: Final = frozenset(("cache_control", "type", "role", "id", "status", "phase"))
"""Members that may differ between turns with equal text: cache marks move, and content is a string or a list."""

_ENDS: Final = 4096
"""Characters read at either end of a text; texts of equal length and ends rarely differ between."""

_ANY: Final = msgspec.json.Decoder()
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])


@attrs.frozen(repr=False)
class Affinity:
    """A conversation of one client.

    ``key`` begins with a digest of the client key's name, ``lifetime`` is how many seconds a provider caches its
    prompt, ``source`` is where its identity came from."""

    key: bytes
    lifetime: float
    source: AffinitySource


async def find_affinity(sticky: str | None, owner: str, headers: Headers, incoming: Incoming) -> Affinity | None:
    """Return the affinity of a request, ``None`` without one.

    ``sticky`` is the route's setting: a header name, ``AUTO``, or ``None``. ``owner`` is the client key's name, or
    another owner of the request's state. A large body without an identity is read in a thread."""
    if sticky is None:
        return None
    named = _explicit_identity(sticky, dict(headers), incoming)
    if named is None:
        beginning = await offload(incoming.size, _beginning_digest, incoming)
        named = None if beginning is None else ("beginning", beginning)
    if named is None:
        return None
    source, name = named
    key = _owner_digest(owner) + hashlib.blake2b(repr((owner, name)).encode(), digest_size=16).digest()
    return Affinity(key, _lifetime(incoming), source)


@lru_cache(1024)
def _owner_digest(owner: str) -> bytes:
    return hashlib.blake2b(owner.encode(errors="surrogatepass"), digest_size=OWNER).digest()


def _explicit_identity(
    sticky: str, headers: Mapping[str, str], incoming: Incoming
) -> tuple[AffinitySource, str] | None:
    if sticky != AUTO and (name := headers.get(sticky)):
        return "header", name
    return named_session(headers, incoming)


def _beginning_digest(incoming: Incoming) -> str | None:
    """Return a digest of the system prompt and all messages up to the user's first."""
    digest = hashlib.blake2b(digest_size=16)
    for member in _SYSTEM:
        if (raw := incoming.members.get(member)) is not None:
            _digest_texts(digest, _value(raw))
    found = False
    for message in _messages(incoming):
        _digest_texts(digest, message)
        if found := _is_user_message(message):
            break
    return digest.hexdigest() if found else None


def _messages(incoming: Incoming) -> Iterator[Any]:
    """Yield the messages of the whole conversation, decoded one by one."""
    yield from incoming.earlier_items
    raw = incoming.members.get(CODECS[incoming.api].wire.conversation.member)
    if raw is None:
        return
    try:
        messages = _LIST.decode(raw)
    except NOT_JSON:
        yield _value(raw)
        return
    yield from map(_value, messages)


def _value(raw: msgspec.Raw) -> Any:
    """Return ``raw`` decoded, ``None`` if it is nested too deeply or invalid text."""
    return decode_or(_ANY.decode, raw, None)


_USER_STEPS: Final = ("user_input", "text")
"""The types of a user's steps, and of a text among a user's contents, in an API whose messages have no roles."""


def _is_user_message(message: Any) -> bool:
    """Return whether ``message`` is the user's, as a prompt that is a string is."""
    if isinstance(message, Mapping):
        return message.get("role") == "user" or message.get("type") in _USER_STEPS
    return isinstance(message, str)


def _digest_texts(digest: "hashlib.blake2b", value: Any) -> None:
    for text in _texts(value):
        head = text if len(text) <= 2 * _ENDS else f"{len(text)} {text[:_ENDS]}{text[-_ENDS:]}"
        digest.update(head.encode())
        digest.update(b"\0")


def _texts(value: Any) -> Iterator[str]:
    """Yield the strings in ``value`` in order. Deeper nesting than the interpreter supports was rejected earlier."""
    match value:
        case str():
            yield value
        case list():
            for item in value:
                yield from _texts(item)
        case dict():
            for name, item in value.items():
                if name not in _IGNORED_MEMBERS:
                    yield from _texts(item)


def _lifetime(incoming: Incoming) -> float:
    members = incoming.members
    if short_text(members.get("prompt_cache_retention")) == "24h":
        return LONG
    for name in (*_CACHE_MEMBERS, CODECS[incoming.api].wire.conversation.member):
        if (raw := members.get(name)) is not None:
            text = memoryview(raw)
            if _HOUR.search(text[:_SEARCHED]) or _HOUR.search(text[_SEARCHED:][-_SEARCHED:]):
                return LONG
    return SHORT
