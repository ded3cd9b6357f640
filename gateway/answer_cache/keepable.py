"""Which answers are good enough to be given again: whole, ended well, and with something in them.

It goes by the provider's bytes alone, whatever has become of the client that they came for: half an answer that is kept
is half an answer for hours (gonka-ai/gonka#1722, vllm-project/semantic-router#2130).
"""

from collections.abc import Iterator
from typing import Final

from providers.apis import CODECS
from streams.errors import GatewayError
from streams.events import Api, ErrorInfo, Event, Reason
from streams.fold import Answer, Fold, ReasoningBlock, RefusalBlock, TextBlock
from streams.framing import Framing, FramingError

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
    for raw in filter(None, (*splitter.feed(body), framing.completed(splitter.close()))):
        if (parsed := framing.parse(raw)) is not None:
            yield from reader.take(*parsed)
    yield from reader.close()
