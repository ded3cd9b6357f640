"""The writer of a conversation for a Responses provider, and its restoration in the byte lane."""

from typing import Any

from providers.chat import CHAT
from providers.neutral.quirks import Quirks
from providers.neutral.request import (
    Message,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from providers.neutral.seal import Seal
from providers.neutral.tool_names import short_call_id
from providers.responses import RESPONSES
from providers.responses.tools import own_id
from tests.support.each_row import each_row
from tests.support.responses_requests import ITEM, US, assistant, foreign, items, read, send, user


def test_leading_system_text_is_instructions_and_the_rest_stays_in_place() -> None:
    """MetaFARS/codex-relay#65, theopenco/llmgateway#1807."""
    lead = Message("system", (TextPart("A", "system[0]", {"cache_control": {}}), TextPart("B")), "system")
    late = Message("system", (TextPart("C"),))
    body, outgoing = send(foreign(lead, user(TextPart("x")), late))
    assert body["instructions"] == "A\n\nB"
    assert [item["role"] for item in body["input"]] == ["user", "system"]
    assert outgoing.dropped == ("system[].cache_control",)
    developer = Message("developer", (TextPart("D"),))
    assert items(developer, user(TextPart("x")))[0]["role"] == "developer"


@each_row("kind", ["function", "custom"])
def test_ids_of_calls_have_64_characters_at_most(kind: Any) -> None:
    """OpenAI: "Expected a string with maximum length 64" (openclaw/openclaw#875, RooCodeInc/Roo-Code#10763)."""
    for id, same in (("c" * 64, True), ("c" * 65, False), ("c" * 64 + "d", False)):
        call, result = items(assistant(ToolCallPart(id, "f", "{}", kind)), user(ToolResultPart(id, (TextPart("ok"),))))
        assert (call["call_id"] == id) is same
        assert call["call_id"] == result["call_id"] == short_call_id(id)
        assert len(call["call_id"]) <= 64
        assert result["type"].startswith(kind)
    assert short_call_id("c" * 65) != short_call_id("c" * 66)


def test_calls_and_results_pair_by_call_id_and_empty_turns_vanish() -> None:
    """A text marks errors (agentgateway/agentgateway#909); empty texts are dropped (anthropics/claude-code#62396)."""
    written = items(
        user(TextPart("go")),
        assistant(
            TextPart(""), ToolCallPart("c1", "f", ""), TextPart("and"), ToolCallPart("c2", "sql", "SELECT", "custom")
        ),
        user(
            ToolResultPart("c1", (TextPart("a"), TextPart("b")), is_error=True),
            ToolResultPart("c2", ()),
            TextPart("next"),
        ),
        assistant(TextPart("")),
    )
    assert written == [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "go"}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "message", "role": "assistant",
         "content": [{"type": "output_text", "text": "and", "annotations": []}]},
        {"type": "custom_tool_call", "call_id": "c2", "name": "sql", "input": "SELECT"},
        {"type": "function_call_output", "call_id": "c1", "output": "Error: a\nb"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": ""},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "next"}]},
    ]  # fmt: skip


def test_reasoning_is_never_left_last_or_alone() -> None:
    """400: "reasoning was provided without its required following item" (experientiallabs/experiential#965)."""
    ours = ReasoningPart("", Seal(US, "responses", ITEM), at="messages[1].content[0]")
    for tail in ((), (user(TextPart("y")),), (user(ToolResultPart("c", ())),)):
        body, outgoing = send(foreign(user(TextPart("x")), assistant(ours), *tail))
        assert "reasoning" not in [item["type"] for item in body["input"]]
        assert outgoing.dropped == ("messages[].content[]",)
    body, _ = send(foreign(assistant(ours, ToolCallPart("c", "f", "{}"))))
    assert [item["type"] for item in body["input"]] == ["reasoning", "function_call"]


# Cache marks

MARKED = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
BREAKPOINT = {"mode": "explicit", "ttl": "12h"}
BREAKS = Quirks(cache_breakpoints=True)


def test_cache_marks_are_breakpoints_where_the_model_has_them() -> None:
    """garrytan/gbrain#2442; five minutes are the default lifetime here."""
    short = {"cache_control": {"type": "ephemeral", "ttl": "5m"}}
    call = foreign(
        Message("system", (TextPart("A", "system[0]"), TextPart("B", "system[1]", MARKED)), "system"),
        user(ToolResultPart("c", (TextPart("done"), TextPart("so")), marks=short), TextPart("x", "at", short)),
    )
    body, outgoing = send(call, quirks=BREAKS)
    assert outgoing.dropped == ()
    assert "instructions" not in body
    system, result, message = body["input"]
    assert (system["role"], system["content"][1]) == (
        "system", {"type": "input_text", "text": "B", "prompt_cache_breakpoint": BREAKPOINT},
    )  # fmt: skip
    assert [part.get("prompt_cache_breakpoint") for part in result["output"]] == [None, {"mode": "explicit"}]
    assert message["content"][0]["prompt_cache_breakpoint"] == {"mode": "explicit"}


def test_a_clients_own_breakpoint_stays_where_it_is() -> None:
    own = {"type": "input_text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit"}}
    body, _ = send(read(input=[{"role": "user", "content": [own]}]))
    assert body["input"][0]["content"] == [own]
    chat = {"type": "text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit"}}
    call = CHAT.read_request({"model": "m", "messages": [{"role": "user", "content": [chat]}]})
    assert send(call)[0]["input"][0]["content"] == [own]


# Ids and phases


def test_ids_that_trigate_made_never_reach_a_provider() -> None:
    """Kilo-Org/kilocode#10197: a provider refuses an id that it does not know, and keeps items without one."""
    text = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "ok"}]}
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    empty = {"type": "reasoning", "id": own_id("rs_"), "summary": [{"type": "summary_text", "text": "hm"}]}
    reference = {"type": "item_reference", "id": own_id("msg_")}
    given = [empty, {**text, "id": own_id("msg_")}, reference, {**call, "id": own_id("fc_")}, {**text, "id": "msg_up"}]
    restored, dropped = RESPONSES.restore({"input": given}, US)
    assert (restored, dropped) == ({"input": [text, call, {**text, "id": "msg_up"}]}, ("input[]",))
    body, outgoing = send(read(input=[empty, *given[1:2], {"type": "reasoning", "id": "rs_up", "summary": []}, call]))
    assert [item.get("id") for item in body["input"]] == [None, "rs_up", None]
    assert outgoing.dropped == ("input[]",)


def test_reasoning_stays_with_the_reference_that_it_led_to() -> None:
    """maximhq/bifrost#5892: a reasoning item without the item that followed it is refused."""
    reference = {"type": "item_reference", "id": "msg_1"}
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    body, outgoing = send(read(input=[{"role": "user", "content": "x"}, ITEM, reference, call]))
    assert [item["type"] for item in body["input"]] == ["message", "function_call"]
    assert outgoing.dropped == ("input[]",)


def test_audio_and_file_detail_are_returned_to_their_own_api() -> None:
    content = [
        {"type": "input_audio", "input_audio": {"data": "CC", "format": "wav"}},
        {"type": "input_file", "file_url": "https://x.test/f", "detail": "low"},
    ]
    body, outgoing = send(read(input=[{"role": "user", "content": content}]))
    assert (body["input"][0]["content"], outgoing.dropped) == (content, ())
