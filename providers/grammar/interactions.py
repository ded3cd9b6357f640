"""The grammar of Google's Interactions streams.

``interaction.created interaction.status_update* (step)* interaction.completed done``, with ``step = step.start
step.delta* step.stop``. The gateway writes one step at a time; Google's steps may overlap. A failure is an ``error``,
which ends the stream. Sources: the page "Streaming interactions" and the types of the google-genai package.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from providers.grammar.frames import DONE, FRAME_RULES, NO_ID, SSE_FRAMES
from providers.grammar.rules import Finding, Outcome, Rule, States, Stream, table
from providers.grammar.shapes import (
    Shape,
    elements,
    find_misfit,
    is_base64,
    is_object,
    members,
    one_of,
    show,
    string_or_empty,
)

SPEC = "Google, page Streaming interactions"
TYPES = "types of the google-genai package"
GOOGLE = "Google, as recorded"
NEW = "Google: the sets are open"

FRAMES = SSE_FRAMES

RULES: Mapping[str, Rule] = table(
    *FRAME_RULES,
    NO_ID,
    Rule("interactions.event.named", "the event: line is the event_type of the data", SPEC, "servers without event:"),
    Rule("interactions.event.known", "the event is one of the API's", TYPES, NEW),
    Rule("interactions.event.shape", "the event has the members that it needs", TYPES, GOOGLE),
    Rule("interactions.event.id", "each event has its own event_id", SPEC, GOOGLE),
    # Order
    Rule("interactions.created.first", "interaction.created is the first event", SPEC),
    Rule("interactions.created.once", "interaction.created comes once", SPEC),
    Rule("interactions.same", "id and model of the interaction never change", SPEC, GOOGLE),
    Rule("interactions.step.contiguous", "a step starts only after the one before has stopped", SPEC, GOOGLE),
    Rule("interactions.step.open", "a delta or a stop belongs to the step that is open", SPEC, GOOGLE),
    Rule("interactions.step.index", "steps are numbered 0, 1, 2, … as they start", SPEC, GOOGLE),
    Rule("interactions.step.stopped", "every step has stopped before interaction.completed", SPEC),
    Rule("interactions.completed.last", "only [DONE] follows interaction.completed", SPEC),
    Rule("interactions.done.last", "nothing follows [DONE]", SPEC),
    Rule("interactions.error.last", "nothing follows an error", SPEC, GOOGLE),
    Rule("interactions.end", "the stream ends with [DONE] or an error", SPEC, "servers without [DONE]"),
    # Steps
    Rule("interactions.step.known", "the type of a step is one of the API's", TYPES, NEW),
    Rule("interactions.step.shape", "the step has the members that its type needs", TYPES, GOOGLE),
    Rule("interactions.delta.known", "the type of a delta is one of the API's, and fits its step", TYPES, GOOGLE),
    Rule("interactions.delta.shape", "the delta has the members that its type needs", TYPES, GOOGLE),
    Rule("interactions.signature.base64", "a signature is base64 of bytes", "google-genai decodes it", GOOGLE),
    Rule("interactions.signature.last", "the signature is the last delta of its step, and the only one", SPEC, GOOGLE),
    Rule("interactions.arguments.json", "the joined pieces of arguments are a JSON object", SPEC),
    Rule("interactions.call.unique", "each call has its own id", "praxis-proxy/ai#1000", GOOGLE),
    # Ends
    Rule("interactions.status.known", "the status is one of the API's", TYPES, NEW),
    Rule("interactions.status.last", "the status of an ended interaction is a final one", SPEC),
    Rule("interactions.status.calls", "the status is requires_action if functions are called, and only then", SPEC,
         GOOGLE),
    Rule("interactions.usage.ints", "token counts are integers ≥ 0", TYPES),
    Rule("interactions.usage.total", "total_tokens is the sum of its parts", SPEC, "Google's agents"),
    # Errors and whole answers
    Rule("interactions.error.shape", "an error is {error: {code, message}} with a word as its code", TYPES,
         "Google's other front ends"),
    Rule("interactions.whole.json", "the body is JSON", TYPES),
    Rule("interactions.whole.shape", "an interaction has id, status, steps and usage", TYPES),
)  # fmt: skip

CREATED, UPDATE, COMPLETED = "interaction.created", "interaction.status_update", "interaction.completed"
START, DELTA, STOP, ERROR = "step.start", "step.delta", "step.stop", "error"

STATES: States = {
    "start": {CREATED: "between", ERROR: "failed"},
    "between": {UPDATE: "between", START: "step", COMPLETED: "completed", ERROR: "failed"},
    "step": {UPDATE: "step", DELTA: "step", STOP: "between", ERROR: "failed"},
    "completed": {DONE: "done"},
    "done": {},
    "failed": {},
}
MISPLACED: Mapping[tuple[str, str], str] = {
    ("start", "*"): "interactions.created.first",
    ("between", CREATED): "interactions.created.once",
    ("between", DONE): "interactions.end",
    ("between", "*"): "interactions.step.open",
    ("step", CREATED): "interactions.created.once",
    ("step", START): "interactions.step.contiguous",
    ("step", DONE): "interactions.end",
    ("step", "*"): "interactions.step.stopped",
    ("completed", "*"): "interactions.completed.last",
    ("done", "*"): "interactions.done.last",
    ("failed", "*"): "interactions.error.last",
}

_HEAD: Mapping[str, Shape] = {"id": "text", "status": "text"}
EVENTS: Mapping[str, Shape] = {
    CREATED: {"interaction": _HEAD},
    UPDATE: {"interaction_id": "text", "status": "text"},
    START: {"index": "int", "step": {"type": "text"}},
    DELTA: {"index": "int", "delta": {"type": "text"}},
    STOP: {"index": "int"},
    COMPLETED: {"interaction": {**_HEAD, "usage": "object"}},
    ERROR: {"error": {"code": "text", "message": "string"}},
}

_TOOLS = (
    "code_execution", "google_search", "google_maps", "url_context", "file_search", "mcp_server_tool", "retrieval",
    "tool_search", "processing",
)  # fmt: skip
_TOOL_STEPS = frozenset(f"{tool}_{end}" for tool in _TOOLS for end in ("call", "result"))
_MEDIA = frozenset(("image", "audio", "video", "document"))
CONTENT: Shape = {"type": "text"}
STEPS: Mapping[str, Shape] = {
    "user_input": {"content?": "array"},
    "model_output": {"content?": [CONTENT]},
    "thought": {"signature?": "string", "summary?": [CONTENT]},
    "function_call": {"id": "text", "name": "text", "arguments": "object"},
    "function_result": {"call_id": "text", "result": "any"},
    **{kind: {} for kind in _TOOL_STEPS},
}

# By delta: the steps that it belongs to, and its shape.
DELTAS: Mapping[str, tuple[frozenset[str], Shape]] = {
    "text": (one_of("model_output"), {"text": "text"}),
    "text_annotation_delta": (one_of("model_output"), {"annotations": [{"type": "text"}]}),
    "thought_summary": (one_of("thought"), {"content": CONTENT}),
    "thought_signature": (one_of("thought"), {"signature": "text"}),
    "arguments_delta": (one_of("function_call"), {"arguments": "text"}),
    "function_result": (one_of("function_result"), {"result": "any"}),
    **{kind: (one_of("model_output"), {}) for kind in _MEDIA},
    **{kind: (one_of(kind), {}) for kind in _TOOL_STEPS},
}

RUNNING = one_of("queued", "in_progress")
ENDED = one_of(
    "requires_action", "requires_continuation", "completed", "failed", "cancelled", "incomplete", "budget_exceeded"
)  # fmt: skip
CUT_SHORT = one_of("incomplete", "budget_exceeded", "requires_continuation")
SUMMED = ("total_input_tokens", "total_output_tokens", "total_thought_tokens", "total_tool_use_tokens")
COUNTS: Shape = {f"{name}?": "int" for name in (*SUMMED, "total_cached_tokens", "total_tokens")}
WHOLE: Shape = {"id": "text", "status": "text", "steps": [{"type": "text"}], "usage": "object"}


@attrs.define
class _OpenStep:
    """The open step of a stream."""

    kind: str
    pieces: list[str] = attrs.field(factory=list)
    is_signed: bool = False


class InteractionsStream(Stream):
    """A ``Stream`` of Interactions."""

    states, misplaced, end_rule, ends = STATES, MISPLACED, "interactions.end", ("done", "failed")

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._event_ids: set[str] = set()
        self._call_ids: set[str] = set()
        self._steps = 0
        self._open = _OpenStep("")
        self._unparsed: str | None = None  # the first invalid arguments, allowed only if the answer was cut short

    def check_event(self, name: str | None, value: Any) -> Iterator[Finding]:
        kind = DONE if value == DONE else string_or_empty(members(value).get("event_type"))
        if name != ("done" if kind == DONE else kind):
            yield "interactions.event.named", f"event: {name} for {kind or 'no event_type'}"
        if kind not in EVENTS and kind != DONE:
            yield "interactions.event.known", f"event_type {show(kind)}"
            return
        before = self.position
        yield from self.check_order(kind)
        if kind == DONE:
            return
        yield from self._check_shape(kind, members(value))
        if before != "failed":
            yield from self._check_content(kind, members(value))

    def _check_shape(self, kind: str, value: Mapping[str, Any]) -> Iterator[Finding]:
        if wrong := find_misfit(value, EVENTS[kind]):
            yield ("interactions.error.shape" if kind == ERROR else "interactions.event.shape"), f"{kind}: {wrong}"
        id = string_or_empty(value.get("event_id"))
        if not id or id in self._event_ids:
            yield "interactions.event.id", f"event_id {show(value.get('event_id'))}"
        self._event_ids.add(id)

    def _check_content(self, kind: str, value: Mapping[str, Any]) -> Iterator[Finding]:
        interaction = members(value.get("interaction"))
        if kind in (CREATED, COMPLETED):
            for name in ("id", "model"):
                if name in interaction and self._head.setdefault(name, interaction[name]) != interaction[name]:
                    yield "interactions.same", f"{name} {show(interaction[name])} after {show(self._head[name])}"
        if kind in (CREATED, UPDATE):
            status = (interaction or value).get("status")
            if status not in RUNNING | ENDED:
                yield "interactions.status.known", f"status {show(status)}"
        elif kind == START:
            yield from self._check_start(value.get("index"), members(value.get("step")))
        elif kind == DELTA:
            yield from self._check_delta(value.get("index"), members(value.get("delta")))
        elif kind == STOP:
            yield from self._check_stop(value.get("index"))
        elif kind == COMPLETED:
            yield from self._check_completed(interaction)

    def _check_start(self, index: Any, step: Mapping[str, Any]) -> Iterator[Finding]:
        if index != self._steps:
            yield "interactions.step.index", f"index {show(index)}, not {self._steps}"
        self._steps += 1
        self._open = _OpenStep(string_or_empty(step.get("type")))
        yield from check_step(step, self._call_ids)

    def _check_delta(self, index: Any, delta: Mapping[str, Any]) -> Iterator[Finding]:
        if index != self._steps - 1:
            yield "interactions.step.open", f"a delta of step {show(index)} in step {self._steps - 1}"
        kind = string_or_empty(delta.get("type"))
        steps, shape = DELTAS.get(kind, (one_of(), {}))
        if self._open.kind not in steps:
            yield "interactions.delta.known", f"a delta {show(kind)} in a step {show(self._open.kind)}"
        elif wrong := find_misfit(delta, shape, "delta"):
            yield "interactions.delta.shape", wrong
        if self._open.is_signed:
            yield "interactions.signature.last", f"a delta {show(kind)} after the signature"
        if kind == "thought_signature":
            self._open.is_signed = True
            if not is_base64(signature := delta.get("signature")):
                yield "interactions.signature.base64", f"signature {show(signature)}"
        if kind == "arguments_delta":
            self._open.pieces.append(string_or_empty(delta.get("arguments")))

    def _check_stop(self, index: Any) -> Iterator[Finding]:
        if index != self._steps - 1:
            yield "interactions.step.open", f"a stop of step {show(index)} in step {self._steps - 1}"
        text = "".join(self._open.pieces)
        if text and not is_object(text):
            self._unparsed = self._unparsed or text

    def _check_completed(self, interaction: Mapping[str, Any]) -> Iterator[Finding]:
        status = interaction.get("status")
        yield from _check_end(status, bool(self._call_ids), interaction.get("usage"))
        if self._unparsed is not None and status not in CUT_SHORT:
            yield "interactions.arguments.json", f"arguments {show(self._unparsed)}"


def check_step(step: Mapping[str, Any], call_ids: set[str]) -> Iterator[Finding]:
    """Check a step; ``call_ids`` are the ids of calls so far."""
    kind = string_or_empty(step.get("type"))
    if kind not in STEPS:
        yield "interactions.step.known", f"a step {show(kind)}"
        return
    if wrong := find_misfit(step, STEPS[kind], kind):
        yield "interactions.step.shape", wrong
    if "signature" in step and kind == "thought" and not is_base64(step["signature"]):
        yield "interactions.signature.base64", f"signature {show(step['signature'])}"
    if kind == "function_call":
        id = string_or_empty(step.get("id"))
        if id in call_ids:
            yield "interactions.call.unique", f"the id {show(id)} again"
        call_ids.add(id)


def _check_end(status: Any, has_calls: bool, usage: Any) -> Iterator[Finding]:
    if status not in RUNNING | ENDED:
        yield "interactions.status.known", f"status {show(status)}"
    elif status in RUNNING:
        yield "interactions.status.last", f"status {status}"
    elif (status == "requires_action" and not has_calls) or (status == "completed" and has_calls):
        yield "interactions.status.calls", f"status {status} {'with' if has_calls else 'without'} a function call"
    if wrong := find_misfit(usage, COUNTS, "usage"):
        yield "interactions.usage.ints", wrong
    elif "total_tokens" in members(usage) and "total_input_tokens" in members(usage):
        parts = sum(members(usage).get(name, 0) for name in SUMMED)
        if parts != members(usage)["total_tokens"]:
            yield "interactions.usage.total", f"the parts add up to {parts} of {members(usage)['total_tokens']}"


def is_spoken(value: Mapping[str, Any]) -> bool:
    """Return whether ``value`` is an event, an interaction or an error of this API."""
    if string_or_empty(value.get("event_type")) in EVENTS or value.get("object") == "interaction":
        return True
    error = members(value.get("error"))
    return isinstance(error.get("code"), str) and "type" not in error and "message" in error


STREAM = InteractionsStream


def outcome(value: Any) -> Outcome | None:
    """Return the outcome that ``value`` shows. See ``Grammar.outcome``."""
    found = members(value)
    if found.get("error"):
        return "failed"
    interaction = members(found.get("interaction")) if found.get("event_type") == COMPLETED else found
    if interaction.get("status") in ("failed", "cancelled") and found.get("event_type") != UPDATE:
        return "failed"
    return "complete" if found.get("event_type") == COMPLETED else None


def whole(value: Any) -> Iterator[Finding]:
    """Check an interaction, or the body of an error."""
    found = members(value)
    if found.get("error"):
        if wrong := find_misfit(value, EVENTS[ERROR]):
            yield "interactions.error.shape", wrong
        return
    if wrong := find_misfit(value, WHOLE):
        yield "interactions.whole.shape", wrong
    call_ids: set[str] = set()
    for step in elements(found.get("steps")):
        yield from check_step(members(step), call_ids)
    if found.get("status") not in RUNNING:
        yield from _check_end(found.get("status"), bool(call_ids), found.get("usage"))
