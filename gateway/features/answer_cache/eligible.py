"""Rules for the requests that may be answered from the cache, and for the responses that are stored; their keys.

A key is a digest of everything that a response depends on, and of its owner. Members are excluded rather than included:
every list of included members has missed some (BerriAI/litellm#894, #25673, headroomlabs-ai/headroom#1473).

Only the provider's bytes count, whatever happened to the client: a stored half response would be sent for hours
(gonka-ai/gonka#1722, vllm-project/semantic-router#2130)."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable
from operator import itemgetter
from typing import Any, Final, TypeAlias

from gateway.conversations.provider_turn import ProviderTurn
from gateway.conversations.recorder import TurnRecorder
from gateway.conversations.resolved import refers_to_stored_object
from gateway.features.answer_cache.settings import CacheUse
from gateway.request.parse import Incoming
from gateway.request.repeatable import is_in_background, runs_at_providers
from gateway.streaming.lane import read_events
from providers.apis import CODECS
from streams.errors import GatewayError
from streams.events import Api, ErrorInfo, Reason
from streams.fold import Fold, ReasoningBlock, RefusalBlock, TextBlock
from streams.framing import Framing

_REFERRING: Final = frozenset(
    (
        "previous_response_id", "previous_interaction_id", "continuation_token", "conversation", "prompt",
        "cachedContent", "cached_content", "agent", "environment",
    )
)  # fmt: skip
"""Members that refer to stored objects, which may change and belong to an owner."""

_STORED_REFERENCES: Final = (b'"item_reference"', b'"file_data"', b'"fileData"', b'"s3Location"')


def is_eligible(incoming: Incoming, turn: TurnRecorder, use: CacheUse, most: int) -> bool:
    """Return whether ``incoming``, of at most ``most`` bytes, may be answered from the cache.

    Excluded are references to stored objects, tools that run at a provider, and audio."""
    if incoming.size > most or turn.continues or turn.background is not None or is_in_background(incoming):
        return False
    if any(_is_set(incoming, name) for name in _REFERRING) or refers_to_stored_object(incoming):
        return False
    if any(name in incoming.body for name in _STORED_REFERENCES) or _is_stored_for_one_key(turn, use):
        return False
    if _requests_audio(incoming) or runs_at_providers(incoming):
        return False
    try:
        parameters = incoming.request.parameters
    except GatewayError:  # a provider of the same API may understand it
        return False
    if use.when == "always":
        return True
    temperature = parameters.get("temperature")
    return temperature is not None and temperature.value == 0


def sets_length(incoming: Incoming) -> bool:
    """Return whether the client limits the length of the response; only for eligible requests."""
    return incoming.request.parameters.get("max_tokens") is not None


def _is_set(incoming: Incoming, name: str) -> bool:
    raw = incoming.members.get(name)
    return raw is not None and bytes(raw) != b"null"


def _is_stored_for_one_key(turn: TurnRecorder, use: CacheUse) -> bool:
    """Return whether a provider stores the turn while several keys share the cache: its id would then belong to two
    owners."""
    return isinstance(turn, ProviderTurn) and use.scope != "key"


def _requests_audio(incoming: Incoming) -> bool:
    return _is_set(incoming, "audio") or b'"audio"' in bytes(incoming.members.get("modalities", b""))


_COMPLETE_REASONS: Final[frozenset[Reason]] = frozenset(("stop", "stop_sequence", "tool_calls"))


def is_cacheable(api: Api, body: bytes, framing: Framing | None, *, limited: bool) -> bool:
    """Return whether ``body``, a response of ``api``, whole or a stream in ``framing``, should be stored.

    If the client ``limited`` the length, a response that ends for that reason is complete."""
    folded = Fold()
    try:
        for event in read_events(CODECS[api], body, framing):
            if isinstance(event, ErrorInfo):
                return False
            folded.add(event)
        answer = folded.answer()
    except GatewayError:
        return False
    if answer.end.raw is None:  # the provider sent no finish reason: readers tolerate that, a cache should not
        return False
    if answer.end.reason not in _COMPLETE_REASONS and not (limited and answer.end.reason == "length"):
        return False
    return any(map(_has_content, answer.blocks)) and not any(isinstance(block, RefusalBlock) for block in answer.blocks)


def _has_content(block: object) -> bool:
    if isinstance(block, TextBlock):
        return bool(block.text)
    return not isinstance(block, ReasoningBlock)


# Keys

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


BodyParts: TypeAlias = Callable[[Incoming, bytes, Collection[str]], Iterable[bytes]]
"""Returns the parts of a key for a received request, and for the body that is sent for it, without the members in the
last argument."""


def canonical_bodies(incoming: Incoming, sent: bytes, excluded: Collection[str]) -> Iterable[bytes]:
    """Return both bodies in canonical form: a ``BodyParts``."""
    return canonical(sent, excluded), canonical(incoming.body, excluded)


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
