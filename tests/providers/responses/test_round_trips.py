"""Any written values are read unchanged."""

import json
import re
from typing import Any

import attrs
import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from providers.neutral.codec import Recipient
from providers.neutral.request import (
    FilePart,
    Format,
    ImagePart,
    MediaSource,
    Message,
    NativePart,
    NativeTool,
    Parameter,
    Reasoning,
    ReasoningPart,
    RefusalPart,
    Request,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
)
from providers.neutral.seal import unseal
from providers.responses import RESPONSES
from streams import sse
from streams.events import ErrorInfo, Event, Usage
from streams.fold import Answer, NativeBlock, ReasoningBlock, TextBlock, ToolCallBlock, fold
from tests.support.examples import examples
from tests.support.provider_streams import check_order, without_places
from tests.support.responses_strategies import TOOLS, legal_events
from tests.support.responses_streams import (
    ISSUER,
    accumulate,
    encode_event,
    part_text,
    read,
    reply,
    sdk_response,
    write_events,
)


def essence(answer: Answer) -> Any:
    """Return the parts that must survive writing and reading."""

    def plain(block: Any) -> Any:
        match block:
            case ReasoningBlock(text=text, state=state):
                return ("thought", text, state is not None)
            case TextBlock(text=text, citations=citations):
                return ("text", text, [cited.item for cited in citations])
            case ToolCallBlock(id=id, name=name, input=input, kind=kind):
                return ("call", id, name, input if name == "f" or kind == "custom" else None)
            case _:
                return attrs.evolve(block, kind="") if isinstance(block, NativeBlock) else block

    blocks = [plain(b) for b in answer.blocks if not (isinstance(b, NativeBlock) and b.api != "responses")]
    return [b[:3] if isinstance(b, tuple) and b[0] == "call" else b for b in blocks], answer.usage or Usage()


def zero(value: Any, counted: Usage | None) -> Any:
    """Return the parts with a count for reasoning, and without the counts if ``counted`` lacks some."""
    blocks, usage = value
    is_complete = counted is not None and counted.prompt and counted.output
    return blocks, attrs.evolve(usage, reasoning=usage.reasoning or 0) if is_complete else None


@settings(max_examples=examples(120), deadline=None)
@given(legal_events())
def test_any_answer_survives_the_writer_and_our_own_reader(events: list[Event]) -> None:
    to = reply(tools=TOOLS, source={"store": False})
    found = write_events(events, to)
    sdk_response(found)
    again = read(b"".join(map(encode_event, found)))
    check_order(again)
    if isinstance(events[-1], ErrorInfo):
        assert isinstance(again[-1], ErrorInfo)
        return
    answer = fold(events)
    assert zero(essence(fold(again)), answer.usage) == zero(essence(answer), answer.usage)
    whole = msgspec.json.decode(RESPONSES.write_answer(answer, to))
    assert set(whole) == set(found[-1]["response"])
    assert whole["status"] == found[-1]["response"]["status"]
    reread = fold(RESPONSES.read_answer(sse.dump(whole)))
    assert zero(essence(reread), answer.usage) == zero(essence(answer), answer.usage)


# Requests


NOTE = {"type": "url_citation", "url": "https://x.test", "title": "X", "start_index": 0, "end_index": 1}
NAMES = st.sampled_from(["f", "g_1", "search-it"])
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=6)
SCHEMAS = st.sampled_from([{"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]}, {}])
MARKS = st.just({}) | st.just({"prompt_cache_breakpoint": {"mode": "explicit"}})
MEDIA = st.sampled_from([
    MediaSource("url", "https://x.test/a"), MediaSource("base64", "QUJD", "image/png"),
    MediaSource("file_id", "file_1"),
])  # fmt: skip
GIVEN_TEXT = st.builds(TextPart, TEXTS, st.just(""), MARKS)
GIVEN = (
    GIVEN_TEXT
    | st.builds(ImagePart, MEDIA, st.sampled_from(["auto", "low"]), st.just(""), MARKS)
    | st.builds(FilePart, st.just(MediaSource("base64", "QUJD", "application/pdf")), TEXTS, st.just(""), MARKS)
    | st.builds(FilePart, st.sampled_from([MediaSource("url", "https://x.test/f"), MediaSource("file_id", "f")]))
)
SAID = (
    st.builds(TextPart, TEXTS, st.just(""), st.just({}) | st.just({"annotations": [NOTE]}),
              st.none() | st.just("commentary"))
    | st.builds(RefusalPart, TEXTS)
    | st.builds(ToolCallPart, st.uuids().map(str), NAMES, st.sampled_from(["{}", '{"a": 1.0}']))
    | st.builds(ToolCallPart, st.uuids().map(str), NAMES, TEXTS, st.just("custom"))
    | st.builds(NativePart, st.just("responses"), st.just("web_search_call"),
                st.just({"type": "web_search_call", "id": "ws_1", "status": "completed"}))
)  # fmt: skip


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Message, ...]:
    """Generate conversations of this API: consecutive output of a model is one turn, and every call has a result."""
    turns: list[Message] = []
    if draw(st.booleans()):
        turns.append(Message("system", (TextPart(draw(TEXTS), "instructions"),), "instructions"))
    for _ in range(draw(st.integers(1, 3))):
        role = draw(st.sampled_from(["user", "developer", "system"]))
        content = GIVEN if role == "user" else GIVEN_TEXT
        turns.append(Message(role, tuple(draw(st.lists(content, min_size=1, max_size=3)))))
        parts: list[Any] = draw(st.lists(SAID, min_size=1, max_size=4))
        if draw(st.booleans()):
            item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
            parts.insert(draw(st.integers(0, len(parts) - 1)), ReasoningPart("", native=item))
        turns.append(Message("assistant", tuple(parts)))
        for part in parts:
            if isinstance(part, ToolCallPart):
                output = tuple(draw(st.just([TextPart("done")]) | st.lists(GIVEN, min_size=1, max_size=2)))
                turns.append(Message("user", (ToolResultPart(part.id, output, kind=part.kind),)))
    return tuple(turns)


TOOL = st.builds(
    Tool, NAMES, st.none() | TEXTS, SCHEMAS, st.just("function"), st.none() | st.booleans(), st.none(), st.just(""),
    st.just({}) | st.just({"defer_loading": True}),
) | st.builds(Tool, st.just("patch"), st.none() | TEXTS, st.none(), st.just("custom"),
              format=st.none() | st.just({"type": "text"})) | st.just(
    NativeTool("responses", "web_search", {"type": "web_search"})
)  # fmt: skip
LEVEL = st.sampled_from(["minimal", "low", "medium", "high", "xhigh", "max"])
SUMMARY = st.none() | st.builds(Parameter, st.sampled_from(["auto", "concise", "detailed"]))
REASONING = (
    st.none()
    | st.builds(Reasoning, st.just("enabled"), LEVEL, st.none(), SUMMARY)
    | st.builds(Reasoning, st.just("disabled"), st.just("none"))
    | st.builds(Reasoning, st.just("adaptive"), summary=SUMMARY.filter(bool))
)
FORMAT = st.none() | st.just(Format("json_object")) | st.builds(
    Format, st.just("json_schema"), NAMES, SCHEMAS, st.none() | st.booleans(), st.none() | TEXTS
)  # fmt: skip
CONTROLS: dict[str, st.SearchStrategy[Any]] = {
    "max_tokens": st.integers(16, 9000), "temperature": st.floats(0, 2), "top_p": st.floats(0, 1),
    "logprobs": st.just(True), "top_logprobs": st.integers(1, 20), "verbosity": st.sampled_from(["low", "high"]),
    "metadata": st.dictionaries(NAMES, TEXTS), "prompt_cache_key": TEXTS, "safety_identifier": TEXTS, "user": TEXTS,
    "prompt_cache_options": st.just({"mode": "explicit"}), "prompt_cache_retention": st.just("24h"),
    "service_tier": st.sampled_from(["auto", "flex", "ultrafast"]), "store": st.booleans(),
    "previous_response_id": st.just("resp_1"), "conversation": st.just({"id": "conv_1"}), "background": st.booleans(),
    "prompt": st.just({"id": "pmpt_1"}), "include": st.just(["file_search_call.results"]),
    "truncation": st.just("auto"), "max_tool_calls": st.integers(1, 9),
    "context_management": st.just([{"type": "compaction"}]), "moderation": st.just({"model": "m"}),
}  # fmt: skip


@st.composite
def calls(draw: st.DrawFn) -> Request:
    names = draw(st.lists(st.sampled_from(sorted(CONTROLS)), unique=True, max_size=6))
    if "top_logprobs" in names:  # nothing else asks for them
        names.append("logprobs")
    tools = tuple(draw(st.lists(TOOL, max_size=3, unique_by=lambda tool: getattr(tool, "name", ""))))
    own = [tool for tool in tools if isinstance(tool, Tool)]
    choices = [ToolChoice("auto"), ToolChoice("none"), ToolChoice("required")] if tools else []
    choices += [ToolChoice("tool", tool.name, tool.kind) for tool in own]
    choices += [ToolChoice("required", allowed=tuple(tool.name for tool in own))] if own else []
    return Request(
        api="responses",
        model="up",
        messages=draw(conversations()),
        stream=draw(st.booleans()),
        tools=tools,
        tool_choice=draw(st.sampled_from(choices)) if choices and draw(st.booleans()) else None,
        parallel_tools=Parameter(draw(st.booleans()), "") if tools and draw(st.booleans()) else None,
        reasoning=draw(REASONING),
        format=draw(FORMAT),
        parameters={name: Parameter(draw(CONTROLS[name]), "") for name in names},
    )


@settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(calls())
def test_any_request_of_this_api_is_the_same_when_it_is_read_again(request: Request) -> None:
    outgoing = RESPONSES.write_request(request, Recipient("up", ISSUER))
    assert outgoing.dropped == ()
    again = RESPONSES.read_request(json.loads(outgoing.body))
    assert set(again.dropped) <= {"input[].phase"}  # a member for other APIs
    assert without_places(again) == without_places(request)


# Comparison with the SDK


NORMAL = re.compile(r'"(msg|rs|fc|ctc|resp)_tg1\.[0-9a-f]{24}"')


def without_ids(response: Any) -> Any:
    """Remove the new ids from a response.

    Reasoning with text and our id has the provider's item sealed in the stream, and unsealed in a whole answer.
    """
    output = []
    for item in response["output"]:
        seal = unseal(item.get("encrypted_content") or "") if item["type"] == "reasoning" else None
        output.append(seal.item if seal is not None and seal.api == "responses" else item)
    text = json.dumps({**response, "output": output}, sort_keys=True)
    return json.loads(NORMAL.sub(r'"\1"', text))


@settings(max_examples=examples(80), deadline=None)
@given(legal_events(whole=True))
def test_the_sdk_rebuilds_any_streamed_answer_like_the_whole_one(events: list[Event]) -> None:
    to = reply(tools=TOOLS, source={"store": False})
    found = write_events(events, to)
    whole = json.loads(RESPONSES.write_answer(fold(events), to))
    assert without_ids(found[-1]["response"]) == without_ids(whole)
    if found[-1]["type"] == "response.completed":
        final = sdk_response(found).to_dict(warnings=False)
        assert [item["type"] for item in final["output"]] == [item["type"] for item in whole["output"]]
        assert final["usage"] == whole["usage"]
    for collected, item in zip(accumulate(found), whole["output"], strict=True):
        assert collected["type"] == item["type"]
        if item["type"] == "message":
            assert [part_text(part) for part in collected["content"]] == [part_text(part) for part in item["content"]]
        assert collected.get("arguments") == item.get("arguments")
        assert collected.get("call_id") == item.get("call_id")
