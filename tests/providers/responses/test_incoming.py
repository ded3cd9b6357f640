"""The reader of Responses requests."""

from typing import Any

import pytest

from providers.chat import CHAT
from providers.converse import CONVERSE
from providers.gemini import GEMINI
from providers.interactions import INTERACTIONS
from providers.messages import MESSAGES
from providers.neutral.codec import Recipient
from providers.neutral.request import (
    Format,
    Message,
    NativeTool,
    Parameter,
    Reasoning,
    ReasoningPart,
    TextPart,
    Tool,
    ToolChoice,
)
from providers.neutral.seal import Seal, seal
from providers.responses import RESPONSES
from providers.responses.incoming import read_continuation
from streams.errors import GatewayError
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.responses_requests import OTHER, read, rejection_of, send, turns


def test_a_string_is_a_user_turn_and_instructions_lead() -> None:
    assert read(instructions="A").messages == (
        Message("system", (TextPart("A", "instructions"),), "instructions"),
        Message("user", (TextPart("hi", "input"),), "input"),
    )
    assert read(instructions="").messages[0].role == "user"


def test_input_is_required_unless_another_member_replaces_it() -> None:
    with pytest.raises(GatewayError, match="input is required"):
        RESPONSES.read_request({"model": "m"})
    call = RESPONSES.read_request({"model": "m", "previous_response_id": "resp_1"})
    assert call.messages == ()
    assert call.parameters["previous_response_id"].value == "resp_1"


def test_sealed_reasoning_is_opened_and_a_broken_seal_is_dropped() -> None:
    item = {"type": "thinking", "thinking": "hm", "signature": "S"}
    good = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": seal(OTHER, "messages", item)}
    call = read(input=[good, {**good, "encrypted_content": "tg1.!!"}])
    assert call.messages[0].parts == (ReasoningPart("", seal=Seal(OTHER, "messages", item), at="input[0]"),)
    assert call.dropped == ("input[]",)


def test_tools_of_a_namespace_become_flat_and_hosted_ones_stay_native() -> None:
    search = {"type": "web_search", "external_web_access": True}
    call = read(
        tools=[
            {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False, "defer_loading": True},
            {"type": "custom", "name": "patch", "description": "d", "format": {"type": "text"}},
            {"type": "namespace", "name": "ns", "description": "about", "tools": [{"type": "function", "name": "g"}]},
            search,
        ]
    )
    assert call.tools == (
        Tool("f", None, {"type": "object"}, "function", False, None, "tools[0]", {"defer_loading": True}),
        Tool("patch", "d", None, "custom", None, {"type": "text"}, "tools[1]"),
        Tool("ns__g", "about", at="tools[2].tools[0]"),
        NativeTool("responses", "web_search", search, "tools[3]"),
    )
    assert call.dropped == ()


def test_additional_tools_and_configuration_updates_count() -> None:
    call = read(
        input=[
            {"type": "additional_tools", "role": "developer", "tools": [{"type": "function", "name": "f"}]},
            {"role": "user", "content": "x"},
            {
                "type": "configuration_update",
                "reasoning": {"effort": "low"},
                "text": {"format": {"type": "json_object"}},
            },
        ],
        reasoning={"effort": "high"},
    )
    assert [tool.name for tool in call.tools if isinstance(tool, Tool)] == ["f"]
    assert call.reasoning.effort == "low"
    assert call.format is not None
    assert call.dropped == ()


def test_annotations_stay_for_responses_and_are_reported_elsewhere() -> None:
    note = {"type": "url_citation", "url": "https://x.test", "title": "X", "start_index": 0, "end_index": 2}
    text = {"type": "output_text", "text": "ok", "annotations": [note], "logprobs": []}
    program = {"type": "program", "caller_id": "call_0"}
    call = read(
        input=[
            {"role": "assistant", "content": [text]},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}", "caller": {"type": "direct"}},
            {"type": "function_call", "call_id": "c2", "name": "f", "arguments": "{}", "caller": program},
        ]
    )
    assert call.messages[0].parts[0] == TextPart("ok", "input[0].content[0]", {"annotations": [note]})
    assert call.dropped == ("input[].caller",)


def test_unsupported_stream_padding_is_reported() -> None:
    for options, dropped in [
        (None, ()), ({}, ()), ({"include_obfuscation": False}, ()),
        ({"include_obfuscation": True}, ("stream_options.include_obfuscation",)), ({"x": 1}, ("stream_options.x",)),
    ]:  # fmt: skip
        with case((options, dropped)):
            assert read(stream_options=options).dropped == dropped


AT = "tool_choice"


def test_choices_of_hosted_tools_are_read() -> None:
    """theopenco/llmgateway#4149; a hosted tool goes with its choice (ding113/claude-code-hub#1328)."""
    for value, choice, dropped in [
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "f"}, {"type": "mcp"}],
            },
            ToolChoice("required", allowed=("f",), at=AT, hosted=({"type": "mcp"},)),
            ("tool_choice.tools[]",),
        ),
        ({"type": "web_search"}, ToolChoice("auto", at=AT, hosted=({"type": "web_search"},)), ("tool_choice",)),
        (None, None, ()),
    ]:
        with case((value, choice, dropped)):
            call = read(tool_choice=value)
            assert (call.tool_choice, call.dropped) == (choice, dropped)


def test_settings_are_read() -> None:
    call = read(
        stream=True, parallel_tool_calls=False, max_output_tokens=50, store=False, client_metadata={"a": "b"},
        include=["reasoning.encrypted_content"], stream_options={"include_obfuscation": False}, temperature=None,
        reasoning={"effort": "low", "summary": "auto", "context": "all_turns"},
        text={"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True},
              "verbosity": "low"},
    )  # fmt: skip
    assert call.stream is True
    assert call.parallel_tools == Parameter(False, "parallel_tool_calls")
    assert call.reasoning == Reasoning("enabled", "low", None, Parameter("auto", "reasoning.summary"), "reasoning")
    assert call.format == Format("json_schema", "n", {"type": "object"}, True, None, "text.format")
    assert {name: control.value for name, control in call.parameters.items()} == {
        "max_tokens": 50, "store": False, "verbosity": "low",
    }  # fmt: skip
    assert call.dropped == ("reasoning.context", "client_metadata")


def test_reasoning_settings_state_no_more_than_the_clients() -> None:
    for reasoning, want in [
        ({"effort": "none"}, Reasoning("disabled", "none", at="reasoning")),
        ({"summary": "auto"}, Reasoning("adaptive", None, None, Parameter("auto", "reasoning.summary"), "reasoning")),
        ({"effort": None, "summary": None}, None),
        ({}, None),
    ]:
        with case((reasoning, want)):
            assert read(reasoning=reasoning).reasoning == want


@each_row("text", [None, {}, {"format": None}, {"format": {"type": "text"}}])
def test_text_without_a_format_is_text(text) -> None:
    """BerriAI/litellm#28899."""
    assert read(text=text).format is None


CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "x"}


def test_an_output_that_answers_no_call_is_refused() -> None:
    """OpenAI refuses it with these words (continuedev/continue#10092)."""
    for input, place, said in [
        ([OUTPUT], 0, "No tool call found for function call output with call_id c1"),
        ([CALL, {**OUTPUT, "call_id": "c2"}], 1, "with call_id c2"),
        ([OUTPUT, CALL], 0, "call_id c1"),  # no provider takes it before its call
        ([CALL, {**OUTPUT, "call_id": "c3", "type": "custom_tool_call_output"}], 1, "custom tool call output with"),
        ([{"type": "item_reference", "id": "fc_1"}, OUTPUT], 1, "is not enough"),
    ]:
        with case((input, place, said)):
            error = rejection_of(input=input)
            assert (error.info.param, error.info.status) == (f"input[{place}].call_id", 400)
            assert said in error.info.message
            assert "previous_response_id" in error.info.message


def test_a_call_may_be_in_a_compaction() -> None:
    assert turns({"type": "compaction", "encrypted_content": "gAAA"}, OUTPUT)[-1].parts[0].call_id == "c1"


def test_earlier_calls_count_and_stored_items_are_not_validated() -> None:
    """A client that continues a stored conversation cannot fix the items in it."""
    call = read_continuation({"model": "m", "input": [OUTPUT]}, [CALL])
    assert call.messages[-1].parts[0].call_id == "c1"
    call = read_continuation({"model": "m", "input": "go on"}, [OUTPUT])
    assert call.messages[0].parts[0].call_id == "c1"


@each_row("type", ["function_call_output", "custom_tool_call_output"])
def test_a_task_that_codex_starts_with_an_output_is_a_message(type: str) -> None:
    """It has a tool's name, but no call (openai/codex#45318, Wei-Shaw/sub2api#6402, lidge-jun/opencodex#3732)."""
    task = {"type": type, "id": "fco_1", "name": "create_thread", "namespace": "codex_app", "output": "<task/>"}
    for call_id in [{}, {"call_id": None}, {"call_id": ""}]:
        request = read(input=[task | call_id])
        (turn,) = request.messages
        assert (turn.role, turn.parts, request.dropped) == ("user", (TextPart("<task/>", "input[0].output"),), ())
        body, outgoing = send(request)  # its own API knows the form
        assert (body["input"], outgoing.dropped) == ([task | call_id], ())
    assert rejection_of(input=[{"type": type, "output": "x"}]).info.param == "input[0].call_id"


NEW_TASK = {"type": "input_text", "text": "Message Type: NEW_TASK\nSender: /root\nPayload:\n"}
CIPHERTEXT = {"type": "encrypted_content", "encrypted_content": "gAAAAABqZ-_x" + "a0" * 40 + "=="}


def agent_message(*content: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "agent_message", "id": "amsg_1", "author": "/root", "recipient": "/root/worker",
        "content": list(content),
    }  # fmt: skip


def test_a_message_between_agents_is_the_users() -> None:
    """Codex gives an agent its task in it (ollama/ollama#18286, openai/codex#37822, james-6-23/codex2api#341).

    Models of other providers do not encrypt the task.
    """
    task = {"type": "encrypted_content", "encrypted_content": "Count the files."}
    request = read(input=[agent_message(NEW_TASK, task)])
    (turn,) = request.messages
    assert (turn.role, [part.text for part in turn.parts]) == ("user", [NEW_TASK["text"], "Count the files."])
    assert request.dropped == ()
    assert send(request)[0]["input"] == [agent_message(NEW_TASK, task)]
    assert turns(agent_message()) == turns({**agent_message(), "content": None}) == ()


def test_only_openai_can_read_encrypted_messages_between_agents() -> None:
    """MetaFARS/codex-relay#60: others reject it."""
    result = {**OUTPUT, "output": [NEW_TASK, CIPHERTEXT]}
    user = {"type": "message", "role": "user", "content": [NEW_TASK, CIPHERTEXT, NEW_TASK]}
    for items, dropped in [
        ([agent_message(NEW_TASK, CIPHERTEXT)], "input[].content[]"),
        ([{"type": "function_call_output", "name": "f", "output": [NEW_TASK, CIPHERTEXT]}], "input[].output[]"),
        ([CALL, result], "input[].output[]"),
        ([user], "input[].content[]"),
    ]:
        with case(items):
            request = read(input=items)
            for codec in (CHAT, MESSAGES, GEMINI, CONVERSE, INTERACTIONS):
                outgoing = codec.write_request(request, Recipient("up", OTHER))
                assert b"gAAAA" not in outgoing.body
                assert b"NEW_TASK" in outgoing.body
                assert outgoing.dropped == (dropped,)
            body, outgoing = send(request)
            assert (body["input"], outgoing.dropped) == (items, ())
    task = {"type": "function_call_output", "name": "f", "output": [CIPHERTEXT]}
    assert send(read(input=[task]))[0]["input"] == [task]


def test_the_ids_of_a_search_are_as_short_as_those_of_other_calls() -> None:
    search = {"type": "tool_search_call", "call_id": "c" * 65, "execution": "client", "arguments": {}}
    found = {"type": "tool_search_output", "call_id": "c" * 65, "execution": "client", "tools": []}
    sent = send(read(input=[search, found]))[0]["input"]
    assert sent[0]["call_id"] == sent[1]["call_id"] != search["call_id"]
    assert len(sent[0]["call_id"]) <= 64


def test_penalties_are_read() -> None:
    """Members of Open Responses that OpenAI's own API has not."""
    call = read(presence_penalty=0.5, frequency_penalty=-1)
    assert {name: control.value for name, control in call.parameters.items()} == {
        "presence_penalty": 0.5, "frequency_penalty": -1,
    }  # fmt: skip
