"""Which requests may be answered with an answer that was there before, and which answers are good enough for that:
whole, ended well, and with something in them.

An answer is judged by the provider's bytes alone, whatever has become of the client that they came for: half an answer
that is kept is half an answer for hours (gonka-ai/gonka#1722, vllm-project/semantic-router#2130).
"""

from collections.abc import Iterator
from typing import Final

from gateway.config.cached_answers import CacheUse
from gateway.conversations.provider_turn import ProviderTurn
from gateway.conversations.recorder import TurnRecorder
from gateway.conversations.resolved import kept_elsewhere
from gateway.request.parse import Incoming
from gateway.request.repeatable import is_in_background, runs_at_providers
from providers.apis import CODECS
from streams.errors import GatewayError
from streams.events import Api, ErrorInfo, Event, Reason
from streams.fold import Answer, Fold, ReasoningBlock, RefusalBlock, TextBlock
from streams.framing import Framing, FramingError

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


_GOOD: Final[frozenset[Reason]] = frozenset(("stop", "stop_sequence", "tool_calls"))


def is_keepable(api: Api, body: bytes, framing: Framing | None, *, limited: bool) -> bool:
    """Whether ``body``, an answer of ``api``, whole or a stream in ``framing``, is worth being kept. ``limited``: its
    client has said how long it may be, so that an end for that reason is one."""
    folded = Fold()
    try:
        for event in _events(api, body, framing):
            if isinstance(event, ErrorInfo):
                return False
            folded.add(event)
        answer = folded.answer()
    except (GatewayError, FramingError):
        return False
    if answer.end.raw is None:  # its provider has not said why: a reader takes it for whole, nobody else need to
        return False
    if answer.end.reason not in _GOOD and not (limited and answer.end.reason == "length"):
        return False
    return any(map(_says_something, answer.blocks)) and not _refuses(answer)


def _refuses(answer: Answer) -> bool:
    return any(isinstance(block, RefusalBlock) for block in answer.blocks)


def _says_something(block: object) -> bool:
    if isinstance(block, TextBlock):
        return bool(block.text)
    return not isinstance(block, ReasoningBlock)


def _events(api: Api, body: bytes, framing: Framing | None) -> Iterator[Event]:
    codec = CODECS[api]
    if framing is None:
        yield from codec.read_answer(body)
        return
    reader, splitter = codec.reader(), framing.splitter(len(body) + 1)
    for raw in filter(None, (*splitter.feed(body), framing.complete(splitter.close()))):
        if (parsed := framing.parse(raw)) is not None:
            yield from reader.take(*parsed)
    yield from reader.close()
