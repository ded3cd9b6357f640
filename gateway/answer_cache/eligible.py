"""Which requests may be answered with an answer that was there before."""

from typing import Final

from gateway.config.cached_answers import CacheUse
from gateway.conversations.provider_turn import ProviderTurn
from gateway.conversations.recorder import TurnRecorder
from gateway.conversations.resolved import kept_elsewhere
from gateway.request.parse import Incoming
from gateway.request.repeatable import is_in_background, runs_at_providers
from streams.errors import GatewayError

_REFERRING: Final = frozenset(("previous_response_id", "conversation", "prompt", "cachedContent", "cached_content"))
"""Members that name what somebody keeps: it may be other than before, and is somebody's own."""

_NAMES_OF_KEPT: Final = (b'"item_reference"', b'"file_data"', b'"fileData"', b'"s3Location"')


def is_eligible(incoming: Incoming, turn: TurnRecorder, use: CacheUse, most: int) -> bool:
    """Whether ``incoming``, of ``most`` bytes at most, may be answered from the cache. Not what refers to something
    that is kept anywhere, runs tools at a provider or gives sound; and one answer at a time."""
    if incoming.size > most or turn.continues or turn.background is not None or is_in_background(incoming):
        return False
    if any(_is_said(incoming, name) for name in _REFERRING) or kept_elsewhere(incoming):
        return False
    if any(name in incoming.body for name in _NAMES_OF_KEPT) or _is_kept_for_one(turn, use):
        return False
    if _gives_sound(incoming) or runs_at_providers(incoming):
        return False
    try:
        parameters = incoming.request.parameters
    except GatewayError:  # a provider of its API may know it better
        return False
    if (n := parameters.get("n")) is not None and n.value > 1:
        return False
    if use.when == "always":
        return True
    temperature = parameters.get("temperature")
    return temperature is not None and temperature.value == 0


def sets_length(incoming: Incoming) -> bool:
    """Whether the client has said how long the answer may be. Only for what is eligible."""
    return incoming.request.parameters.get("max_tokens") is not None


def _is_said(incoming: Incoming, name: str) -> bool:
    raw = incoming.members.get(name)
    return raw is not None and bytes(raw) != b"null"


def _is_kept_for_one(turn: TurnRecorder, use: CacheUse) -> bool:
    """Return whether a provider keeps the turn: in a cache that several keys share, its id would be that of two owners'
    turns."""
    return isinstance(turn, ProviderTurn) and use.scope != "key"


def _gives_sound(incoming: Incoming) -> bool:
    return _is_said(incoming, "audio") or b'"audio"' in bytes(incoming.members.get("modalities", b""))
