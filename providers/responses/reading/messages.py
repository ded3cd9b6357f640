"""Message items: texts and refusals, each a block, with the citations of texts.

A text may come up to four times: as deltas, in ``….done``, with its part and with its item.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from providers.neutral.bounds import ID
from providers.responses.reading.answer import OpenAnswer, Speech, TakeEvent
from providers.responses.reading.items import DONE, ItemStage, OutputItem
from providers.responses.reading.wire import Wire
from providers.responses.values import Json, as_index, as_object, as_objects, as_string, few_objects
from streams.events import Citation, Event, RefusalDelta, TextDelta

PARTS: Mapping[str, tuple[Speech, str]] = {"output_text": (TextDelta, "text"), "refusal": (RefusalDelta, "refusal")}
"""Types of content parts: the events that they become, and the member that holds their text."""


def take_text(answer: OpenAnswer, wire: Wire) -> Sequence[Event]:
    """A piece of a text."""
    return _say(answer, wire, TextDelta, wire.content_index, wire.delta, wire.logprobs)


def take_refusal(answer: OpenAnswer, wire: Wire) -> Sequence[Event]:
    """A piece of a refusal."""
    return _say(answer, wire, RefusalDelta, wire.content_index, wire.delta)


def _say(answer: OpenAnswer, wire: Wire, speech: Speech, part: Any, text: Any, logprobs: Any = None) -> Sequence[Event]:
    if not isinstance(text, str) or not text:
        return ()
    item = answer.items.of(wire, "message")
    if answer.place == (item, speech, part):
        answer.heard += len(text)
        answer.piece = text
        return (_words(answer, speech, text, logprobs) if logprobs else speech(answer.block, text),)
    if item.stage is DONE:
        return ()
    answer.items.places.spend(ID, "parts of messages")
    item.parts.add(as_index(part))
    events = answer.open(item, speech, part)
    answer.heard, answer.piece = len(text), text
    return [*events, _words(answer, speech, text, logprobs, item.phase)]


def _words(answer: OpenAnswer, speech: Speech, text: str, logprobs: Any, phase: str | None = None) -> Event:
    """A piece of the block that is open, with its tokens' log probabilities where they were asked for."""
    if speech is TextDelta and (logprobs or phase):
        return TextDelta(answer.block, text, as_objects(logprobs) or None, phase)
    return speech(answer.block, text)


def take_whole_text(answer: OpenAnswer, wire: Wire) -> Sequence[Event]:
    """A whole text."""
    return _say_rest(answer, wire, TextDelta, wire.text, wire.logprobs)


def take_whole_refusal(answer: OpenAnswer, wire: Wire) -> Sequence[Event]:
    """A whole refusal."""
    return _say_rest(answer, wire, RefusalDelta, wire.refusal)


def take_whole_part(answer: OpenAnswer, wire: Wire) -> Sequence[Event]:
    """A whole content part: its text once more, and all its citations."""
    part = as_object(wire.part)
    speech, member = PARTS.get(as_string(part.get("type")), (None, ""))
    if speech is None:
        return ()
    events = list(_say_rest(answer, wire, speech, part.get(member), part.get("logprobs")))
    item = answer.items.of(wire, "message")
    if answer.place == (item, TextDelta, wire.content_index) and not answer.citations:
        events += _citations(answer, part)
    return events


def _say_rest(answer: OpenAnswer, wire: Wire, speech: Speech, text: Any, logprobs: Any = None) -> Sequence[Event]:
    """The end of a part's text that no delta said; all of it if there was no delta."""
    item = answer.items.of(wire, "message")
    if as_index(wire.content_index) not in item.parts:
        return _say(answer, wire, speech, wire.content_index, text, logprobs)
    if answer.place != (item, speech, wire.content_index) or not isinstance(text, str):
        return ()
    heard = answer.heard
    if len(text) > heard and text.endswith(answer.piece, 0, heard):
        return _say(answer, wire, speech, wire.content_index, text[heard:])
    return ()


def take_annotation(answer: OpenAnswer, wire: Wire) -> Sequence[Event]:
    """A citation of the text that is open."""
    item = answer.items.of(wire, "message")
    if not answer.says(item) or not isinstance(wire.annotation, dict):
        return ()
    answer.citations += 1
    return (Citation(answer.block, "responses", wire.annotation),)


def _citations(answer: OpenAnswer, part: Json) -> list[Event]:
    return [Citation(answer.block, "responses", note) for note in few_objects(part.get("annotations"))]


def finish(answer: OpenAnswer, item: OutputItem, value: Json, before: ItemStage) -> list[Event]:
    """The parts of a whole message that were not said before."""
    events: list[Event] = []
    content = few_objects(value.get("content"))
    # A server that counts its parts otherwise in deltas than it lists them has said as many.
    if None not in item.parts and len(content) > len(item.parts):
        for i, part in enumerate(content):
            speech, member = PARTS.get(as_string(part.get("type")), (None, ""))
            if speech is not None and i not in item.parts and (text := as_string(part.get(member))):
                events += answer.open(item, speech, None)
                events += [_words(answer, speech, text, part.get("logprobs"), item.phase), *_citations(answer, part)]
    return events + answer.shut()


EVENTS: Mapping[str, TakeEvent] = {
    "response.output_text.delta": take_text,
    "response.output_text.done": take_whole_text,
    "response.output_text.annotation.added": take_annotation,
    "response.refusal.delta": take_refusal,
    "response.refusal.done": take_whole_refusal,
    "response.content_part.done": take_whole_part,
}
