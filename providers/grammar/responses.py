"""The grammar of OpenAI Responses.

``response.created``, ``response.in_progress``, for every item ``response.output_item.added`` …
``response.output_item.done``, and one terminal event with the whole response; all numbered from 0. Sources: OpenAI's
streaming reference and the types of the openai package.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from providers.grammar import chat
from providers.grammar.frames import DONE, FRAME_RULES, NO_ID, SSE_FRAMES
from providers.grammar.responses_fields import (
    EVENTS,
    ITEMS,
    OPEN_MEMBERS,
    PART,
    PARTS,
    PREFIXES,
    REPEATED,
    RESPONSE,
    RESPONSE_MEMBERS,
    STATUS,
    STREAMED_CALLS,
    TEXTS,
    USAGE,
    WHY,
    WRITES,
    WRITTEN,
    Text,
)
from providers.grammar.rules import Finding, Outcome, Rule, States, Stream, table
from providers.grammar.shapes import elements, find_misfit, is_object, members, show, string_or_empty

SPEC = "OpenAI, Responses streaming reference"
TYPES = "types of the openai package"
OLD = "recordings of before 2026"
OTHERS = "other servers of this API"

FRAMES = SSE_FRAMES

RULES: Mapping[str, Rule] = table(
    *FRAME_RULES,
    NO_ID,
    Rule("responses.frame.name", "the event: line is there and equals the type in the data", SPEC,
         "OpenRouter, bedrock-mantle: none"),
    Rule("responses.done", "there is no data: [DONE]", "BerriAI/litellm#22102", "OpenRouter"),
    Rule("responses.number", "sequence_number is 0 and rises by 1", "BerriAI/litellm#28899", "OpenAI in early 2025"),
    Rule("responses.event.known", "the event's type is one of the API's", TYPES, "OpenAI: keepalive and new ones"),
    Rule("responses.event.shape", "the event has the members that its type needs", TYPES),
    # Order
    Rule("responses.created.first", "response.created is the first event", "openai SDKs raise without"),
    Rule("responses.created.once", "response.created comes once", SPEC),
    Rule("responses.in_progress", "response.in_progress comes once, right after created and queued", SPEC),
    Rule("responses.end.last", "nothing follows the terminal event", "router-for-me/CLIProxyAPI#1407"),
    Rule("responses.end", "the stream ends with completed, incomplete or failed", "router-for-me/CLIProxyAPI#2358"),
    Rule("responses.error.event", "an error event with a member error precedes response.failed",
         "openai SDKs raise for nothing else", OTHERS),
    # The response
    Rule("responses.response.shape", "a response has id, object, status and output", TYPES),
    Rule("responses.response.members", "a response has all its members, possibly null",
         "Oaklight/llm-rosetta#56", OTHERS),
    Rule("responses.response.open", "a response has the members that Open Responses requires "
                                    "in addition", "openresponses.org",
         "OpenAI of before 2026, other servers"),
    Rule("responses.response.id", "all events name the same response", SPEC),
    Rule("responses.response.prefix", "the id begins with resp_ and has at most 64 characters", SPEC, OTHERS),
    Rule("responses.response.status", "the status matches the event", SPEC),
    Rule("responses.response.why", "incomplete has a reason, failed has an error, and other statuses have "
                                   "neither", SPEC),
    Rule("responses.usage.there", "a finished response has usage", "OpenCode repeats the request forever without it"),
    Rule("responses.usage.ints", "token counts are integers ≥ 0, in the details too", "BerriAI/litellm#28899"),
    Rule("responses.usage.writes", "input_tokens_details has cache_write_tokens", TYPES, OLD),
    Rule("responses.usage.total", "total_tokens is input_tokens + output_tokens", SPEC),
    Rule("responses.usage.parts", "cached and reasoning tokens are part of sums", "BerriAI/litellm#10667", OTHERS),
    # Items
    Rule("responses.item.index", "items have the output_index 0, 1, 2, … as they are added", SPEC),
    Rule("responses.item.known", "the item's type is one of the API's", TYPES, "OpenAI: new ones come unannounced"),
    Rule("responses.item.shape", "the item has the members that its type needs", TYPES),
    Rule("responses.item.written", "calls have an id and a status", "Wei-Shaw/sub2api#2875", OTHERS),
    Rule("responses.item.prefix", "ids begin with msg_, rs_, fc_ or ctc_ and have at most 64 characters", SPEC, OTHERS),
    Rule("responses.item.unique", "no two items share an id or a call_id", "openai Python: conflicting identities"),
    Rule("responses.item.open", "an event of an item comes between its added and its done", "BerriAI/litellm#22102"),
    Rule("responses.item.id", "item_id is the id in added", "BerriAI/litellm#32777"),
    Rule("responses.item.same", "type, id and call_id stay the same from added to done", "openai Python: identity"),
    Rule("responses.item.whole", "a finished item contains all streamed texts", SPEC, OTHERS),
    Rule("responses.end.items", "every item is done before the terminal event", "openai Python: unfinished items"),
    Rule("responses.end.output", "the terminal event's output lists all done items in order", TYPES, OTHERS),
    # Parts and texts
    Rule("responses.event.fits", "the event fits the item, the delta the part", SPEC),
    Rule("responses.part.index", "parts have the index 0, 1, 2, … in their item", SPEC, "bedrock-mantle"),
    Rule("responses.part.shape", "the part has the members that its type needs", "Oaklight/llm-rosetta#56"),
    Rule("responses.part.open", "a delta comes between its part's added and done", "openai Python: IndexError"),
    Rule("responses.part.closed", "every part is done before its item", SPEC),
    Rule("responses.text.logprobs", "output_text events have logprobs, an array", "Oaklight/llm-rosetta#56", OLD),
    Rule("responses.text.empty", "no delta is empty", "Wei-Shaw/sub2api#2875", OTHERS),
    Rule("responses.text.same", "the text of done equals the joined deltas", SPEC, OTHERS),
    Rule("responses.text.last", "no delta of a text follows its done", SPEC),
    Rule("responses.text.closed", "a started text, and every call's input, is done before its part and item",
         SPEC, OTHERS),
    Rule("responses.call.name", "function_call_arguments.done has the function's name", "openai Node types", "OpenAI"),
    Rule("responses.call.json", "the arguments of a function are a JSON object", "su-kaka/gcli2api#406"),
    # Errors and whole answers
    Rule("responses.error.shape", "an error is {error: {message, type, param, code}}", "openai SDKs", OTHERS),
    Rule("responses.error.code", "an error's code is text, not a number", "anthropics/claude-code#51700", OTHERS),
    Rule("responses.whole.json", "the body is JSON", SPEC),
    Rule("responses.whole.ended", "the status is completed, incomplete or failed", SPEC, "OpenAI: queued, cancelled"),
)  # fmt: skip

# The state machine, by short names of the events; "event" is any other.
STATES: States = {
    "start": {"created": "created"},
    "created": {"queued": "created", "in_progress": "open", "failed": "ended", "error": "erring"},
    "open": {"event": "open", "completed": "ended", "incomplete": "ended", "failed": "ended", "error": "erring"},
    "erring": {"failed": "ended"},
    "ended": {},
}
MISPLACED: Mapping[tuple[str, str], str] = {
    ("start", "*"): "responses.created.first",
    ("created", "created"): "responses.created.once",
    ("created", "*"): "responses.in_progress",
    ("open", "created"): "responses.created.once",
    ("open", "*"): "responses.in_progress",
    ("erring", "*"): "responses.end.last",
    ("ended", "*"): "responses.end.last",
}
_SHORT_NAMES = {f"response.{name}": name for moves in STATES.values() for name in moves} | {"error": "error"}
_LONGEST_ID = 64


class TextState:
    """A text whose deltas are still arriving; ``whole`` is the text of its ``done`` event."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.whole: str | None = None


class ItemState:
    """An output item whose events are still arriving."""

    def __init__(self, item: Mapping[str, Any]) -> None:
        self.added = item
        self.type = string_or_empty(item.get("type"))
        self.done: Mapping[str, Any] | None = None
        self.parts: dict[tuple[str, int], str] = {}  # types by index member and index
        self.open: set[tuple[str, int]] = set()
        self.texts: dict[tuple[str, int], TextState] = {}  # texts by event name and index


class ResponsesStream(Stream):
    """A ``Stream`` of Responses."""

    states, misplaced, end_rule, ends = STATES, MISPLACED, "responses.end", ("ended",)

    def __init__(self) -> None:
        self.number = 0
        self.id: str | None = None
        self.items: dict[int, ItemState] = {}
        self.ids: set[tuple[str, str]] = set()
        self.unparsed: str | None = None
        self.has_error = False

    def check_event(self, name: str | None, value: Any) -> Iterator[Finding]:
        if value == DONE:
            yield "responses.done", "data: [DONE]"
            return
        kind = string_or_empty(value.get("type"))
        if name != kind:
            yield "responses.frame.name", f"event: {name or 'none'} over type {show(value.get('type'))}"
        yield from self.check_order(_SHORT_NAMES.get(kind, "event"))
        if value.get("sequence_number") != self.number:
            yield "responses.number", f"sequence_number {show(value.get('sequence_number'))}, not {self.number}"
        self.number += 1
        if kind not in EVENTS:
            yield "responses.event.known", f"type {show(value.get('type'))}"
        elif wrong := find_misfit(value, EVENTS[kind]):
            yield "responses.event.shape", f"{kind}: {wrong}"
        else:
            yield from _check_event(self, kind, value)


def _check_event(stream: ResponsesStream, kind: str, value: Mapping[str, Any]) -> Iterator[Finding]:
    base, _, last = kind.rpartition(".")
    if kind in STATUS:
        yield from _check_response_event(stream, kind, value["response"])
    elif kind == "error":
        stream.has_error = True
        if not members(value.get("error")):
            yield "responses.error.event", f"error: {show(value.get('message'))}"
    elif kind == "response.output_item.added":
        yield from _check_item_added(stream, value)
    elif "output_index" in EVENTS[kind]:
        item = stream.items.get(value["output_index"])
        if item is None or item.done is not None:
            yield "responses.item.open", f"{kind} at output_index {value['output_index']}, where no item is open"
            return
        if "item_id" in value and value["item_id"] != item.added.get("id"):
            yield "responses.item.id", f"item_id {show(value['item_id'])} in {show(item.added.get('id'))}"
        if kind == "response.output_item.done":
            yield from _check_item_done(stream, item, value["item"])
        elif base in PARTS:
            yield from _check_part(item, base, last, value)
        elif base in TEXTS:
            yield from _check_text(item, TEXTS[base], last, value)
        elif base.removeprefix("response.") in ITEMS and base.removeprefix("response.") != item.type:
            yield "responses.event.fits", f"{kind} in an item of type {item.type}"


# The response


def _check_response_event(stream: ResponsesStream, kind: str, response: Mapping[str, Any]) -> Iterator[Finding]:
    yield from _check_response(response)
    id = response.get("id")
    if stream.id is None:
        stream.id = string_or_empty(id)
    elif id != stream.id:
        yield "responses.response.id", f"id {show(id)} after {show(stream.id)}"
    if response.get("status") not in STATUS[kind]:
        yield "responses.response.status", f"status {show(response.get('status'))} in {kind}"
    if kind in ("response.completed", "response.incomplete"):
        yield from _check_end(stream, kind, response)
    elif kind == "response.failed" and not stream.has_error:
        yield "responses.error.event", "response.failed without an error event"


def _check_response(response: Any) -> Iterator[Finding]:
    if wrong := find_misfit(response, RESPONSE, "response"):
        yield "responses.response.shape", wrong
        return
    if wrong := find_misfit(response, RESPONSE_MEMBERS, "response"):
        yield "responses.response.members", wrong
    elif wrong := find_misfit(response, OPEN_MEMBERS, "response") or _find_misfit_repeated(response):
        yield "responses.response.open", wrong
    if not response["id"].startswith("resp_") or len(response["id"]) > _LONGEST_ID:
        yield "responses.response.prefix", f"id {show(response['id'])}"
    if wrong := find_misfit(response, WHY.get(response["status"], "any"), "response"):
        yield "responses.response.why", wrong
    yield from _check_usage(response.get("usage"), response["status"])


def _find_misfit_repeated(response: Mapping[str, Any]) -> str | None:
    """Return the first error in the request members that a response repeats, or ``None``."""
    choice = response["tool_choice"]
    repeated = {f"tools[{i}]": tool for i, tool in enumerate(response["tools"])} | {
        "text.format": response["text"]["format"],
        "tool_choice": choice if members(choice).get("type") == "allowed_tools" else None,
    }
    found = (
        find_misfit(one, REPEATED.get(string_or_empty(members(one).get("type")), "any"), at)
        for at, one in repeated.items()
    )
    return next(filter(None, found), None)


def _check_usage(usage: Any, status: str) -> Iterator[Finding]:
    if usage is None:
        if status in ("completed", "incomplete"):
            yield "responses.usage.there", "usage is missing or null"
        return
    if wrong := find_misfit(usage, USAGE, "usage"):
        yield "responses.usage.ints", wrong
        return
    if wrong := find_misfit(usage, WRITES, "usage"):
        yield "responses.usage.writes", wrong
    total, read, said = usage["total_tokens"], usage["input_tokens"], usage["output_tokens"]
    if total != read + said:
        yield "responses.usage.total", f"{total} is not {read} + {said}"
    cached = usage["input_tokens_details"]["cached_tokens"]
    reasoned = usage["output_tokens_details"]["reasoning_tokens"]
    if cached > read or reasoned > said:
        yield "responses.usage.parts", f"{cached} cached of {read}, {reasoned} reasoning of {said}"


def _check_end(stream: ResponsesStream, kind: str, response: Mapping[str, Any]) -> Iterator[Finding]:
    unfinished = [index for index, item in stream.items.items() if item.done is None]
    if unfinished:
        yield "responses.end.items", f"{kind} while the items {show(unfinished)} are open"
    done = [stream.items[index].done for index in sorted(stream.items)]
    if elements(response.get("output")) != done:
        found = [members(item).get("type") for item in elements(response.get("output"))]
        yield "responses.end.output", f"output holds {show(found)}, not what {len(done)} output_item.done said"
    if kind == "response.completed" and stream.unparsed is not None:
        yield "responses.call.json", f"the arguments {show(stream.unparsed)}"


# Items


def _check_item_added(stream: ResponsesStream, value: Mapping[str, Any]) -> Iterator[Finding]:
    index, item = value["output_index"], value["item"]
    if index != len(stream.items):
        yield "responses.item.index", f"output_index {index} where {len(stream.items)} is next"
    yield from _check_item(item, stream.ids)
    stream.items[index] = ItemState(item)


def _check_item(item: Any, ids: set[tuple[str, str]]) -> Iterator[Finding]:
    """Check the rules of every item; ``ids`` are the ids of earlier items."""
    yield from _check_item_shape(item)
    kind = string_or_empty(members(item).get("type"))
    # A call and its output share the call_id, so it is only unique among items of one type.
    for place, id in (("id", members(item).get("id")), (kind, members(item).get("call_id"))):
        if isinstance(id, str) and id:
            if (place, id) in ids:
                yield "responses.item.unique", f"{show(id)} again"
            ids.add((place, id))


def _check_item_shape(item: Any) -> Iterator[Finding]:
    kind = string_or_empty(members(item).get("type"))
    if kind not in ITEMS:
        yield "responses.item.known", f"an item of type {show(members(item).get('type'))}"
        return
    if wrong := find_misfit(item, ITEMS[kind], kind):
        yield "responses.item.shape", wrong
        return
    if wrong := find_misfit(item, WRITTEN.get(kind, "any"), kind):
        yield "responses.item.written", wrong
    id = string_or_empty(item.get("id"))
    # A provider's own reasoning keeps its id, because encrypted_content is only valid with it.
    is_own_id = kind in PREFIXES and not item.get("encrypted_content")
    if is_own_id and not (id.startswith(PREFIXES[kind]) and len(id) <= _LONGEST_ID):
        yield "responses.item.prefix", f"id {show(id)} of a {kind}"
    for member in ("content", "summary"):
        for part in elements(item.get(member)):
            yield from _check_part_shape(part)


def _check_item_done(stream: ResponsesStream, item: ItemState, done: Mapping[str, Any]) -> Iterator[Finding]:
    item.done = done
    for name in ("type", "id", "call_id"):
        if done.get(name) != item.added.get(name):
            yield "responses.item.same", f"{name} {show(done.get(name))} after {show(item.added.get(name))}"
    yield from _check_item_shape(done)
    if item.open:
        yield "responses.part.closed", f"output_item.done while {len(item.open)} part is open"
    begun = {name for (name, _), said in item.texts.items() if said.whole is None}
    if item.type in STREAMED_CALLS and not item.texts:
        begun.add(item.type)
    if begun:
        yield "responses.text.closed", f"output_item.done without the done of {', '.join(sorted(begun))}"
    for (name, index), said in item.texts.items():
        final = _final_text(done, TEXTS[name], index)
        if said.whole is not None and final != said.whole:
            yield "responses.item.whole", f"{show(final)}, where {show(said.whole)} was said"
    arguments = done.get("arguments")
    if item.type == "function_call" and isinstance(arguments, str) and not is_object(arguments):
        stream.unparsed = stream.unparsed or arguments


def _final_text(done: Mapping[str, Any], text: Text, index: int) -> Any:
    """Return the member of a finished item that corresponds to ``text``."""
    if not text.place:
        return done.get(text.member)
    parts = elements(done.get("summary" if text.place == "summary_index" else "content"))
    return members(parts[index]).get(text.member) if index < len(parts) else None


# Parts and texts


def _check_part(item: ItemState, base: str, last: str, value: Mapping[str, Any]) -> Iterator[Finding]:
    place, fitting = PARTS[base]
    part, key = value["part"], (place, value[place])
    if part["type"] not in fitting.get(item.type, ()):
        yield "responses.event.fits", f"a part {show(part['type'])} in an item of type {item.type}"
    yield from _check_part_shape(part)
    if last == "added":
        following = sum(1 for other, _ in item.parts if other == place)
        if value[place] != following:
            yield "responses.part.index", f"{place} {value[place]} where {following} is next"
        item.parts[key] = part["type"]
        item.open.add(key)
        return
    if key not in item.open:
        yield "responses.part.open", f"{base}.done at {place} {value[place]}, where no part is open"
    item.open.discard(key)
    for (name, index), said in item.texts.items():
        if TEXTS[name].part == part["type"] and (TEXTS[name].place, index) == key:
            if said.whole is None:
                yield "responses.text.closed", f"{base}.done without {name}.done"
            elif part.get(TEXTS[name].member) != said.whole:
                yield "responses.item.whole", f"a part with {show(part.get(TEXTS[name].member))}"


def _check_part_shape(part: Any) -> Iterator[Finding]:
    kind = string_or_empty(members(part).get("type"))
    if wrong := find_misfit(part, PART.get(kind, {"type": "text"}), kind or "part"):
        yield "responses.part.shape", wrong


def _check_text(item: ItemState, text: Text, last: str, value: Mapping[str, Any]) -> Iterator[Finding]:
    if text.item != item.type:
        yield "responses.event.fits", f"{text.name}.{last} in an item of type {item.type}"
        return
    index = value[text.place] if text.place else 0
    if text.part:
        if (text.place, index) not in item.open:
            yield "responses.part.open", f"{text.name}.{last} at {text.place} {index}, where no part is open"
        elif item.parts[text.place, index] != text.part:
            yield "responses.event.fits", f"{text.name}.{last} in a part {item.parts[text.place, index]}"
    if text.part == "output_text" and (wrong := find_misfit(value, {"logprobs": "array"})):
        yield "responses.text.logprobs", wrong
    said = item.texts.setdefault((text.name, index), TextState())
    if said.whole is not None:
        yield "responses.text.last", f"{text.name}.{last} after {text.name}.done"
    if last == "delta":
        said.pieces.append(value["delta"])
        if not value["delta"]:
            yield "responses.text.empty", f"an empty {text.name}.delta"
        return
    said.whole = value[text.member]
    if "".join(said.pieces) != said.whole:
        yield "responses.text.same", f"{show(said.whole)} after deltas that say {show(''.join(said.pieces))}"
    if item.type == "function_call" and value.get("name") != item.added.get("name"):
        yield "responses.call.name", f"name {show(value.get('name'))}"


STREAM = ResponsesStream


def outcome(value: Any) -> Outcome | None:
    """Return the outcome that ``value`` shows. See ``Grammar.outcome``."""
    kind = members(value).get("type")
    if kind in ("response.completed", "response.incomplete"):
        return "complete"
    return "failed" if kind in ("response.failed", "error") else None


def whole(value: Any) -> Iterator[Finding]:
    """Check a ``Response``, or the body of an error."""
    if members(value).get("object") != "response" and members(value).get("error"):
        yield from chat.error(value, "responses")
        return
    yield from _check_response(value)
    if members(value).get("status") not in WHY:
        yield "responses.whole.ended", f"status {show(members(value).get('status'))}"
    ids: set[tuple[str, str]] = set()
    for item in elements(members(value).get("output")):
        yield from _check_item(item, ids)
        arguments = string_or_empty(members(item).get("arguments"))
        completed = members(value).get("status") == "completed"
        if completed and members(item).get("type") == "function_call" and not is_object(arguments):
            yield "responses.call.json", f"the arguments {show(arguments)}"
