"""Repetition of an answer's events: those after one of them, or all rebuilt from the response (``replay``)."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import msgspec

from providers.errors.failures import OPENAI_CODE
from providers.neutral.values import as_objects, as_string
from providers.responses.output import IMAGE_CALL, INTERRUPTED, Object, refusal_part, summary_part, text_part
from providers.responses.writing import EventSequence
from streams import sse
from streams.event_log import Resumption
from streams.surrogates import NOT_JSON


class _Numbered(msgspec.Struct, gc=False):
    sequence_number: int | None = None


_number = msgspec.json.Decoder(_Numbered).decode


def after_number(starting_after: int = -1) -> Resumption:
    """Return a filter of the events whose ``sequence_number`` exceeds ``starting_after``.

    An event without a number belongs to the one before it.
    """
    return Resumption((lambda raw: _number_of(raw) > starting_after) if starting_after >= 0 else None)


def _number_of(raw: bytes) -> int:
    parsed = sse.parse(raw)
    try:
        number = None if parsed is None else _number(parsed[1]).sequence_number
    except NOT_JSON:
        number = None
    return -1 if number is None else number


_INITIAL_MEMBERS: Mapping[str, Any] = {
    "status": "in_progress", "output": [], "usage": None, "completed_at": None, "error": None,
    "incomplete_details": None,
}  # fmt: skip

Where: TypeAlias = Mapping[str, Any]


def replay(response: Mapping[str, Any]) -> bytes:
    """Return the events of ``response`` as a stream, each text in one delta.

    Raises ``ValueError`` for a status other than a final one. The API has no event for an answer that was cancelled, or
    broke off without a reason: such a stream ends with ``response.failed``, like the original stream.
    """
    out = EventSequence()
    ending = _final_response(response)
    data = [out.start_events({**response, **_INITIAL_MEMBERS})]
    for item in response["output"]:
        data += _item_events(out, item)
    return b"".join([*data, out.end_event(ending)])


def _final_response(response: Mapping[str, Any]) -> Object:
    match response["status"]:
        case "completed" | "failed":
            return dict(response)
        case "incomplete" if (response.get("incomplete_details") or {}).get("reason"):
            return dict(response)
        case "incomplete":
            return _failed_response(response, INTERRUPTED.message)
        case "cancelled":
            return _failed_response(response, "the response was cancelled")
    raise ValueError(f"a response that is {response['status']} cannot be replayed to its end")


def _failed_response(response: Mapping[str, Any], message: str) -> Object:
    error = {"code": OPENAI_CODE["upstream"], "message": message}
    return {**response, "status": "failed", "error": error, "incomplete_details": None}


# Items


def _item_events(out: EventSequence, item: Object) -> Iterator[bytes]:
    type = as_string(item.get("type"))
    empty, write_content = _TYPES.get(type, ({}, lambda out, item, where: iter(())))
    index = out.new_index()
    announced = {**item, **empty}
    if "status" in item and empty:
        announced["status"] = "in_progress"
    yield out.item_added(index, announced)
    yield from write_content(out, item, {"item_id": item.get("id"), "output_index": index})
    yield out.item_done(index, item)


def _message_events(out: EventSequence, item: Object, where: Where) -> Iterator[bytes]:
    for i, part in enumerate(as_objects(item.get("content"))):
        write = _refusal_events if part.get("type") == "refusal" else _text_events
        yield from write(out, part, {**where, "content_index": i})


def _text_events(out: EventSequence, part: Object, where: Where) -> Iterator[bytes]:
    text, logprobs = as_string(part.get("text")), part.get("logprobs") or []
    yield out.event("response.content_part.added", {**where, "part": text_part()})
    if text:
        yield out.event("response.output_text.delta", {**where, "delta": text, "logprobs": logprobs})
    for i, note in enumerate(as_objects(part.get("annotations"))):
        members = {**where, "annotation_index": i, "annotation": note}
        yield out.event("response.output_text.annotation.added", members)
    yield out.event("response.output_text.done", {**where, "text": text, "logprobs": logprobs})
    yield out.event("response.content_part.done", {**where, "part": part})


def _refusal_events(out: EventSequence, part: Object, where: Where) -> Iterator[bytes]:
    text = as_string(part.get("refusal"))
    yield out.event("response.content_part.added", {**where, "part": refusal_part()})
    if text:
        yield out.event("response.refusal.delta", {**where, "delta": text})
    yield out.event("response.refusal.done", {**where, "refusal": text})
    yield out.event("response.content_part.done", {**where, "part": part})


def _reasoning_events(out: EventSequence, item: Object, where: Where) -> Iterator[bytes]:
    for i, part in enumerate(as_objects(item.get("summary"))):
        here, text = {**where, "summary_index": i}, as_string(part.get("text"))
        yield out.event("response.reasoning_summary_part.added", {**here, "part": summary_part()})
        if text:
            yield out.event("response.reasoning_summary_text.delta", {**here, "delta": text})
        yield out.event("response.reasoning_summary_text.done", {**here, "text": text})
        yield out.event("response.reasoning_summary_part.done", {**here, "part": part})


def _call_events(out: EventSequence, item: Object, where: Where) -> Iterator[bytes]:
    member, called = ("arguments", {"name": item.get("name")}) if item["type"] == "function_call" else ("input", {})
    text, name = as_string(item.get(member)), f"response.{item['type']}_{member}"
    if text:
        yield out.event(f"{name}.delta", {**where, "delta": text})
    yield out.event(f"{name}.done", {**where, **called, member: text})


# By item type: the members that are empty in its announcement, and the events with their content. Other items are sent
# whole.
_TYPES: Mapping[str, tuple[Mapping[str, Any], Callable[[EventSequence, Object, Where], Iterator[bytes]]]] = {
    "message": ({"content": []}, _message_events),
    "reasoning": ({"summary": []}, _reasoning_events),
    "function_call": ({"arguments": ""}, _call_events),
    "custom_tool_call": ({"input": ""}, _call_events),
    IMAGE_CALL: ({"result": None}, lambda out, item, where: iter(())),
}
