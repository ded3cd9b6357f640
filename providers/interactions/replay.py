"""Repetition of an interaction's events: those after one of them, or all rebuilt from the interaction."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from providers.interactions.answer import IN_PROGRESS
from providers.neutral.values import as_objects, as_string
from streams import sse
from streams.event_log import Resumption
from streams.surrogates import NOT_JSON

DONE: Final = b"event: done\ndata: [DONE]\n\n"
COMPLETED: Final = "interaction.completed"
INTERRUPTED: Final = {"code": "internal", "message": "the response ended before it was complete"}

_UNFINISHED: Final = ("queued", IN_PROGRESS)
_LEFT_OUT: Final = ("steps", "errors")  # of the interaction in an event


class _Identified(msgspec.Struct, gc=False):
    event_id: str | None = None


_identified = msgspec.json.Decoder(_Identified).decode


def after_event(last_event_id: str | None) -> Resumption:
    """Return a filter of the events after the one with the id ``last_event_id``, or of all events for ``None``."""
    if last_event_id is None:
        return Resumption()
    return Resumption(lambda raw: event_id(raw) == last_event_id, excluding=True)


def event_id(raw: bytes) -> str | None:
    """Return the id of an event, ``None`` if it has none."""
    parsed = sse.parse(raw)
    try:
        return None if parsed is None else _identified(parsed[1]).event_id
    except NOT_JSON:
        return None


class EventNumbers:
    """A writer of events whose ids are their positions in the stream, from 1."""

    def __init__(self, number: int = 0) -> None:
        self._number = number

    def event(self, name: str, members: Mapping[str, Any]) -> bytes:
        self._number += 1
        return sse.event(name, {"event_type": name, **members, "event_id": str(self._number)})


def end_events(interaction: Mapping[str, Any], numbers: EventNumbers) -> bytes:
    """Return the end of the stream of an ``interaction``: an error if it failed."""
    if interaction["status"] == "failed":
        errors = as_objects(interaction.get("errors"))
        return numbers.event("error", {"error": errors[0] if errors else INTERRUPTED})
    return numbers.event(COMPLETED, {"interaction": _summary_of(interaction)}) + DONE


def _summary_of(interaction: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in interaction.items() if name not in _LEFT_OUT}


def replay(interaction: Mapping[str, Any]) -> bytes:
    """Return the events of ``interaction`` as a stream, each text in one delta.

    Raises ``ValueError`` for one that has not ended.
    """
    if interaction["status"] in _UNFINISHED:
        raise ValueError(f"an interaction that is {interaction['status']} cannot be replayed to its end")
    numbers = EventNumbers()
    begun = {**_summary_of(interaction), "status": IN_PROGRESS}
    begun.pop("usage", None)
    events = [
        numbers.event("interaction.created", {"interaction": begun}),
        numbers.event("interaction.status_update", {"interaction_id": interaction["id"], "status": IN_PROGRESS}),
    ]
    for index, step in enumerate(interaction["steps"]):
        announced, deltas = _split_step(step)
        events.append(numbers.event("step.start", {"index": index, "step": announced}))
        events += [numbers.event("step.delta", {"index": index, "delta": delta}) for delta in deltas]
        events.append(numbers.event("step.stop", {"index": index}))
    return b"".join([*events, end_events(interaction, numbers)])


def _split_step(step: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    """Return the step of a ``step.start``, and the deltas that complete it."""
    match step.get("type"):
        case "model_output":
            return {"type": "model_output"}, [*_content_deltas(step)]
        case "thought":
            summary = [{"type": "thought_summary", "content": one} for one in as_objects(step.get("summary"))]
            signature = as_string(step.get("signature"))
            end = [{"type": "thought_signature", "signature": signature}] if signature else []
            return {"type": "thought"}, [*summary, *end]
        case "function_call":
            arguments = msgspec.json.encode(step.get("arguments") or {}).decode()
            return {**step, "arguments": {}}, [{"type": "arguments_delta", "arguments": arguments}]
    return step, []


def _content_deltas(step: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for content in as_objects(step.get("content")):
        if content.get("type") != "text":
            yield content
            continue
        if content.get("text"):
            yield {"type": "text", "text": content["text"]}
        if content.get("annotations"):
            yield {"type": "text_annotation_delta", "annotations": content["annotations"]}
