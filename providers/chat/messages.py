"""Messages written as those of a Chat Completions request. ``providers.chat.parts`` writes what is in them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, assert_never

from providers.chat.parts import calls, content, reasoning, results
from providers.chat.parts.target import PartsTarget
from providers.neutral.codec import Recipient
from providers.neutral.fields import Drops
from providers.neutral.request import (
    AudioPart,
    FilePart,
    ImagePart,
    Message,
    NativePart,
    Part,
    ReasoningPart,
    RefusalPart,
    Request,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from streams.errors import invalid


def write_messages(request: Request, to: Recipient, drops: Drops) -> list[dict[str, Any]]:
    """The messages. What they cannot carry goes into ``drops``; a part that must not be lost raises a 400."""
    target = PartsTarget.of(request, to, drops)
    messages: list[dict[str, Any]] = []
    for assistant, others in _rounds(request.messages):
        messages.extend(_write_round(target, assistant, others))
    if to.quirks.reasoning_replay == "every_message":
        reasoning.complete(messages, to.quirks.reasoning_field)
    return messages


def _rounds(messages: Iterable[Message]) -> Iterator[tuple[list[Message], list[Message]]]:
    """Rounds: the assistant's messages in a row, and the others before it speaks again."""
    assistant: list[Message] = []
    others: list[Message] = []
    for message in messages:
        if message.role != "assistant":
            others.append(message)
        else:
            if others:
                yield assistant, others
                assistant, others = [], []
            assistant.append(message)
    yield assistant, others


def _write_round(to: PartsTarget, assistant: Sequence[Message], others: Sequence[Message]) -> Iterator[dict[str, Any]]:
    """Results stand directly after the calls, in the calls' order, before anything else
    (diegosouzapw/OmniRoute#4882)."""
    parts = [part for message in assistant for part in message.parts]
    name = next((message.name for message in assistant if message.name), None)
    yield from _write_assistant(to, parts, name)
    place = {part.id: i for i, part in enumerate(p for p in parts if isinstance(p, ToolCallPart))}
    found = [part for message in others for part in message.parts if isinstance(part, ToolResultPart)]
    found.sort(key=lambda part: place.get(part.call_id, len(place)))
    for part in found:
        yield results.write(to, part)
    if media := [piece for part in found for piece in results.write_media(to, part)]:
        yield {"role": "user", "content": media}
    for message in others:
        yield from _write_message(to, message)


def _write_message(to: PartsTarget, message: Message) -> Iterator[dict[str, Any]]:
    """A message of the user or of instructions, without the results in it."""
    role: str = message.role
    if role == "developer" and not to.quirks.developer_role:
        role = "system"
    pieces = [piece for part in message.parts for piece in content.write(to, part, message.role)]
    if pieces:
        yield {"role": role, "content": content.joined(pieces), **({"name": message.name} if message.name else {})}


def _write_assistant(to: PartsTarget, parts: Sequence[Part], name: str | None) -> Iterator[dict[str, Any]]:
    pieces: list[dict[str, Any]] = []
    refusals: list[str] = []
    called: list[dict[str, Any]] = []
    reasoning_parts: list[ReasoningPart] = []
    for part in parts:
        match part:
            case TextPart():
                pieces.extend(content.write(to, part, "assistant"))
            case RefusalPart(text=text):
                refusals.append(text)
            case ToolCallPart():
                called.append(calls.write(to, part))
            case ReasoningPart():
                reasoning_parts.append(part)
            case NativePart():
                to.drops.add(part.at)
            case ImagePart() | FilePart() | AudioPart() | ToolResultPart():
                raise invalid(f"{part.at} cannot stand in an assistant message for this model", part.at)
            case _:
                assert_never(part)
    if not (pieces or refusals or called):
        places = (place for part in reasoning_parts for place in part.places)
        to.drops.add(*places)  # a message of nothing but reasoning is refused
        return
    message: dict[str, Any] = {"role": "assistant"}
    if name:
        message["name"] = name
    returned = reasoning.write(to, reasoning_parts)
    pieces = returned.pop("content", []) + pieces
    message |= {"content": content.joined(pieces) if pieces else None}
    if refusals:
        message["refusal"] = "".join(refusals)
    message |= returned
    if called:
        message["tool_calls"] = called
    yield message
