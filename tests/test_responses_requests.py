"""The Responses codec on requests: read from clients, written for providers, restored on the byte lane."""

import json
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.call import (
    AudioPart,
    Call,
    CallPart,
    Control,
    FilePart,
    Format,
    ImagePart,
    NativePart,
    NativeTool,
    Part,
    Reasoning,
    RefusalPart,
    ResultPart,
    Source,
    TextPart,
    ThinkingPart,
    Tool,
    ToolChoice,
    Turn,
)
from providers.codec import Outgoing, Recipient
from providers.quirks import Quirks
from providers.responses import RESPONSES
from providers.seal import Issuer, Seal, seal
from streams.errors import GatewayError

SHARED = Path(__file__).parents[2] / "shared"
CLIENTS = ("codex", "openai-agents-responses", "ai-sdk-openai", "opencode-responses", "pydantic-ai-responses")
RECORDED = sorted((SHARED / "corpus" / "openai_responses").glob("*.request.json"))
SENT = sorted(
    path
    for client in CLIENTS
    for path in (SHARED / "clients" / client).glob("*.request.json")
    if json.loads(path.read_bytes())["path"].startswith("/v1/responses")
)
needs_recordings = pytest.mark.skipif(not RECORDED or not SENT, reason="the recorded traffic is not here")

US = Issuer("openai", "a1")
OTHER = Issuer("claude", "b2")


def read(**members: Any) -> Call:
    return RESPONSES.read_request({"model": "m", "input": "hi", **members})


def turns(*items: Any) -> tuple[Turn, ...]:
    return read(input=list(items)).turns


def refused(**members: Any) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        read(**members)
    assert caught.value.failed.status == 400
    return caught.value


# Reading


def test_a_string_is_a_user_turn_and_instructions_lead() -> None:
    assert read(instructions="A").turns == (
        Turn("system", (TextPart("A", "instructions"),), "instructions"),
        Turn("user", (TextPart("hi", "input"),), "input"),
    )
    assert read(instructions="").turns[0].role == "user"


def test_roles_stay_in_place_and_content_may_be_a_string() -> None:
    found = turns({"role": "developer", "content": "B"}, {"type": "message", "role": "user", "content": "C"})
    assert found == (
        Turn("developer", (TextPart("B", "input[0].content"),), "input[0]"),
        Turn("user", (TextPart("C", "input[1].content"),), "input[1]"),
    )


def test_input_is_required_unless_something_stands_for_it() -> None:
    with pytest.raises(GatewayError, match="input is required"):
        RESPONSES.read_request({"model": "m"})
    call = RESPONSES.read_request({"model": "m", "previous_response_id": "resp_1"})
    assert call.turns == ()
    assert call.controls["previous_response_id"].value == "resp_1"


def test_every_kind_of_content_is_read() -> None:
    content = [
        {"type": "input_text", "text": "t", "prompt_cache_breakpoint": {"mode": "explicit"}},
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"},
        {"type": "input_image", "image_url": "https://x.test/i.png"},
        {"type": "input_image", "file_id": "file_1", "detail": "auto"},
        {"type": "input_file", "file_data": "data:application/pdf;base64,BBBB", "filename": "a.pdf"},
        {"type": "input_file", "file_url": "https://x.test/a.pdf"},
        {"type": "input_audio", "input_audio": {"data": "CC", "format": "wav"}},
    ]
    (turn,) = turns({"role": "user", "content": content})
    at = [f"input[0].content[{i}]" for i in range(len(content))]
    assert turn.parts == (
        TextPart("t", at[0], {"prompt_cache_breakpoint": {"mode": "explicit"}}),
        ImagePart(Source("base64", "AAAA", "image/png"), "low", at[1]),
        ImagePart(Source("url", "https://x.test/i.png"), None, at[2]),
        ImagePart(Source("file_id", "file_1"), "auto", at[3]),
        FilePart(Source("base64", "BBBB", "application/pdf"), "a.pdf", at[4]),
        FilePart(Source("url", "https://x.test/a.pdf"), None, at[5]),
        AudioPart("CC", "wav", at[6]),
    )


def test_what_the_model_said_is_one_turn_and_the_results_another() -> None:
    reasoning = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "hm"}],
        "content": None,
    }
    found = turns(
        reasoning,
        {"role": "assistant", "content": [{"type": "output_text", "text": "ok", "annotations": []}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}", "namespace": "ns"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "sql", "input": "SELECT"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "function_call_output", "call_id": "c1", "output": "done"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "x"}]},
    )
    assert [turn.role for turn in found] == ["assistant", "user", "user"]
    assert found[0].parts == (
        ThinkingPart("hm", native=reasoning, at="input[0]"),
        TextPart("ok", "input[1].content[0]"),
        RefusalPart("no", "input[2].content[0]"),
        CallPart("c1", "ns__f", "{}", at="input[3]"),
        CallPart("c2", "sql", "SELECT", "custom", "input[4]"),
        NativePart("responses", "web_search_call", {"type": "web_search_call", "id": "ws_1", "status": "completed"},
                   "input[5]"),
    )  # fmt: skip
    assert found[1].parts == (ResultPart("c1", (TextPart("done", "input[6].output"),), at="input[6]"),)
    assert found[2].parts[0] == ResultPart(
        "c2", (TextPart("x", "input[7].output[0]"),), kind="custom", at="input[7]"
    )  # fmt: skip


def test_sealed_reasoning_is_opened_and_a_broken_seal_is_dropped() -> None:
    item = {"type": "thinking", "thinking": "hm", "signature": "S"}
    good = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": seal(OTHER, "messages", item)}
    call = read(input=[good, {**good, "encrypted_content": "tg1.!!"}])
    assert call.turns[0].parts == (ThinkingPart("", seal=Seal(OTHER, "messages", item), at="input[0]"),)
    assert call.dropped == ("input[]",)


def test_references_are_dropped_by_name_and_compaction_is_refused() -> None:
    call = read(input=[{"type": "item_reference", "id": "msg_1"}, {"role": "user", "content": "x"}])
    assert call.dropped == ("input[]",)
    assert len(call.turns) == 1
    error = refused(input=[{"role": "user", "content": "x"}, {"type": "compaction_trigger"}])
    assert "not supported" in error.failed.message
    assert error.failed.param == "input[1]"


def test_tools_of_a_namespace_become_flat_and_hosted_ones_stay_native() -> None:
    search = {"type": "web_search", "external_web_access": True}
    call = read(
        tools=[
            {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False, "defer_loading": True},
            {"type": "custom", "name": "patch", "description": "d", "format": {"type": "text"}},
            {"type": "namespace", "name": "ns", "description": "lost", "tools": [{"type": "function", "name": "g"}]},
            search,
        ]
    )
    assert call.tools == (
        Tool("f", None, {"type": "object"}, "function", False, None, "tools[0]", {"defer_loading": True}),
        Tool("patch", "d", None, "custom", None, {"type": "text"}, "tools[1]"),
        Tool("ns__g", at="tools[2].tools[0]"),
        NativeTool("responses", "web_search", search, "tools[3]"),
    )
    assert call.dropped == ("tools[].description",)


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
    assert call.reasoning is not None
    assert call.reasoning.effort == "low"
    assert call.format is not None
    assert call.dropped == ()


AT = "tool_choice"


@pytest.mark.parametrize(
    ("value", "choice", "dropped"),
    [
        ("auto", ToolChoice("auto", at=AT), ()),
        ("none", ToolChoice("none", at=AT), ()),
        ("required", ToolChoice("required", at=AT), ()),
        ({"type": "function", "name": "f"}, ToolChoice("tool", "f", at=AT), ()),
        ({"type": "custom", "name": "c"}, ToolChoice("tool", "c", "custom", at=AT), ()),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "f"}, {"type": "mcp"}],
            },
            ToolChoice("required", allowed=("f",), at=AT),
            (),
        ),
        ({"type": "web_search"}, None, ("tool_choice",)),
        (None, None, ()),
    ],
)
def test_every_tool_choice_is_read(value: Any, choice: ToolChoice | None, dropped: tuple[str, ...]) -> None:
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
    assert call.parallel_tools == Control(False, "parallel_tool_calls")
    assert call.reasoning == Reasoning("enabled", "low", None, "auto", "reasoning")
    assert call.format == Format("json_schema", "n", {"type": "object"}, True, None, "text.format")
    assert {name: control.value for name, control in call.controls.items()} == {
        "max_tokens": 50, "store": False, "include": ["reasoning.encrypted_content"], "verbosity": "low",
    }  # fmt: skip
    assert call.dropped == ("reasoning.context", "client_metadata")


@pytest.mark.parametrize(
    ("reasoning", "want"),
    [
        ({"effort": "none"}, Reasoning("disabled", "none", at="reasoning")),
        ({"summary": "auto"}, Reasoning("adaptive", None, None, "auto", "reasoning")),
        ({"effort": None, "summary": None}, None),
        ({}, None),
    ],
)
def test_reasoning_says_no_more_than_the_client_did(reasoning: Any, want: Reasoning | None) -> None:
    assert read(reasoning=reasoning).reasoning == want


@pytest.mark.parametrize("text", [None, {}, {"format": None}, {"format": {"type": "text"}}])
def test_text_without_a_format_is_text(text: Any) -> None:
    assert read(text=text).format is None


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"input": 3}, "input"),
        ({"input": ["x"]}, "input[0]"),
        ({"input": [{}]}, "input[0]"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"type": "video"}]}]}, "input[0].content[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0]"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"text": {"format": {"type": "xml"}}}, "text.format"),
        ({"temperature": "hot"}, "temperature"),
        ({"instructions": 1}, "instructions"),
    ],
)
def test_a_mistake_is_named_with_its_place(members: dict[str, Any], param: str) -> None:
    assert refused(**members).failed.param == param


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["auto", "function", "message", "user", "x"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["type", "role", "content", "name", "tools", "call_id", "output", "text", "format", "summary",
                         "encrypted_content", "effort", "image_url", "file_data", "namespace"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip
BODY = st.dictionaries(
    st.sampled_from(["model", "input", "tools", "tool_choice", "reasoning", "text", "instructions", "stream", "x"]),
    VALUE,
)


@settings(max_examples=200, deadline=None)
@given(BODY)
def test_no_request_makes_anything_but_a_400(body: dict[str, Any]) -> None:
    status = 400
    try:
        call = RESPONSES.read_request(body)
        RESPONSES.write_request(call, Recipient("up", US))
    except GatewayError as error:
        status = error.failed.status
    assert status == 400
    restored, _ = RESPONSES.restore(body, US)
    assert restored == {}


# Writing


def send(call: Call, **to: Any) -> tuple[dict[str, Any], Outgoing]:
    outgoing = RESPONSES.write_request(call, Recipient("up", US, **to))
    body: dict[str, Any] = json.loads(outgoing.body)
    return body, outgoing


def foreign(*turns: Turn, **members: Any) -> Call:
    """The call of a Messages client."""
    return Call(**{"api": "messages", "model": "m", "turns": turns, **members})


def user(*parts: Part) -> Turn:
    return Turn("user", parts, "messages[0]")


def assistant(*parts: Part) -> Turn:
    return Turn("assistant", parts, "messages[1]")


def items(*turns: Turn, **members: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = send(foreign(*turns, **members))[0]["input"]
    return found


def test_leading_system_text_is_instructions_and_the_rest_stays_in_place() -> None:
    lead = Turn("system", (TextPart("A", "system[0]", {"cache_control": {}}), TextPart("B")), "system")
    late = Turn("system", (TextPart("C"),))
    body, outgoing = send(foreign(lead, user(TextPart("x")), late))
    assert body["instructions"] == "A\n\nB"
    assert [item["role"] for item in body["input"]] == ["user", "system"]
    assert outgoing.dropped == ("system[].cache_control",)
    developer = Turn("developer", (TextPart("D"),))
    assert items(developer, user(TextPart("x")))[0]["role"] == "developer"


def test_media_is_written_with_what_the_api_requires() -> None:
    (message,) = items(
        user(
            TextPart("t"),
            TextPart(""),
            ImagePart(Source("base64", "AA", "image/jpeg")),
            ImagePart(Source("url", "https://x.test/i"), "high"),
            FilePart(Source("base64", "BB", "application/pdf")),
            FilePart(Source("url", "https://x.test/f"), "f.pdf"),
            FilePart(Source("text", "plain")),
        )
    )
    assert message["content"] == [
        {"type": "input_text", "text": "t"},
        {"type": "input_image", "detail": "auto", "image_url": "data:image/jpeg;base64,AA"},
        {"type": "input_image", "detail": "high", "image_url": "https://x.test/i"},
        {"type": "input_file", "filename": "document.pdf", "file_data": "data:application/pdf;base64,BB"},
        {"type": "input_file", "file_url": "https://x.test/f"},
        {"type": "input_text", "text": "plain"},
    ]


@pytest.mark.parametrize(
    "turn",
    [
        user(AudioPart("CC", "wav", "messages[0].content[0]")),
        user(ImagePart(Source("file_id", "f"), None, "messages[0].content[0]")),
        assistant(ImagePart(Source("url", "u"), None, "messages[0].content[0]")),
    ],
)
def test_content_that_cannot_be_sent_is_refused_with_its_place(turn: Turn) -> None:
    with pytest.raises(GatewayError) as caught:
        send(foreign(turn))
    assert (caught.value.failed.status, caught.value.failed.param) == (400, "messages[0].content[0]")


def test_calls_and_results_pair_by_call_id_and_empty_turns_vanish() -> None:
    written = items(
        user(TextPart("go")),
        assistant(TextPart(""), CallPart("c1", "f", ""), TextPart("and"), CallPart("c2", "sql", "SELECT", "custom")),
        user(ResultPart("c1", (TextPart("a"), TextPart("b")), is_error=True), ResultPart("c2", ()), TextPart("next")),
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


def test_an_image_in_a_result_stays_in_the_result() -> None:
    image = ImagePart(Source("url", "https://x.test/i"))
    result = ResultPart("c", (TextPart("see"), image), is_error=True)
    assert items(user(result))[0]["output"] == [
        {"type": "input_text", "text": "Error: "},
        {"type": "input_text", "text": "see"},
        {"type": "input_image", "detail": "auto", "image_url": "https://x.test/i"},
    ]


ITEM = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}


def test_reasoning_goes_back_whole_to_who_made_it_and_to_nobody_else() -> None:
    ours = ThinkingPart("", Seal(US, "responses", [ITEM, {**ITEM, "id": "rs_2"}]), at="messages[1].content[0]")
    theirs = ThinkingPart("", Seal(OTHER, "responses", ITEM), at="messages[1].content[1]")
    chat = ThinkingPart("", Seal(US, "chat", {}), at="messages[1].content[2]")
    own = ThinkingPart("hm", native={"type": "thinking"}, at="messages[1].content[3]")
    body, outgoing = send(foreign(user(TextPart("x")), assistant(ours, theirs, chat, own, TextPart("ok"))))
    assert [item.get("id") for item in body["input"]] == [None, "rs_1", "rs_2", None]
    assert body["input"][1] == ITEM
    assert outgoing.dropped == ("messages[].content[]",)


def test_reasoning_is_never_left_last_or_alone() -> None:
    ours = ThinkingPart("", Seal(US, "responses", ITEM), at="messages[1].content[0]")
    for tail in ((), (user(TextPart("y")),), (user(ResultPart("c", ())),)):
        body, outgoing = send(foreign(user(TextPart("x")), assistant(ours), *tail))
        assert "reasoning" not in [item["type"] for item in body["input"]]
        assert outgoing.dropped == ("messages[].content[]",)
    body, _ = send(foreign(assistant(ours, CallPart("c", "f", "{}"))))
    assert [item["type"] for item in body["input"]] == ["reasoning", "function_call"]


def test_tools_are_flat_with_strict_and_parameters() -> None:
    tools = (
        Tool("f", "d", {"$schema": "x", "b": 1, "a": 2.0}, at="tools[0]", marks={"cache_control": {}}),
        Tool("g", strict=True),
        Tool("c", kind="custom", format={"type": "text"}),
        NativeTool("messages", "bash", {}, "tools[3]"),
    )
    choice = ToolChoice("auto", allowed=("f", "c"))
    body, outgoing = send(foreign(user(TextPart("x")), tools=tools, tool_choice=choice))
    assert body["tools"] == [
        {"type": "function", "name": "f", "description": "d", "parameters": {"$schema": "x", "b": 1, "a": 2.0},
         "strict": False},
        {"type": "function", "name": "g", "parameters": {"type": "object", "properties": {}}, "strict": True},
        {"type": "custom", "name": "c", "format": {"type": "text"}},
    ]  # fmt: skip
    assert b'{"$schema":"x","b":1,"a":2.0}' in outgoing.body
    assert body["tool_choice"] == {
        "type": "allowed_tools", "mode": "auto",
        "tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "c"}],
    }  # fmt: skip
    assert outgoing.dropped == ("tools[].cache_control", "tools[]")


def test_without_tools_nothing_about_them_is_sent() -> None:
    native = (NativeTool("messages", "bash", {}, "tools[0]"),)
    call = foreign(
        user(TextPart("x")), tools=native, tool_choice=ToolChoice("tool", "bash"), parallel_tools=Control(False, "p")
    )
    body, _ = send(call)
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(body)
    forced, _ = send(attrs.evolve(call, tools=(Tool("bash", kind="custom"),)))
    assert forced["tool_choice"] == {"type": "custom", "name": "bash"}
    assert forced["parallel_tool_calls"] is False


@pytest.mark.parametrize(
    ("reasoning", "want"),
    [
        (Reasoning("enabled", budget=2048), {"effort": "low"}),
        (Reasoning("enabled", budget=2049), {"effort": "medium"}),
        (Reasoning("enabled", budget=24000), {"effort": "high"}),
        (Reasoning("enabled", budget=31999), {"effort": "xhigh"}),
        (Reasoning("adaptive", "high", summary="auto"), {"effort": "high", "summary": "auto"}),
        (Reasoning("adaptive"), None),
        (Reasoning("disabled"), {"effort": "none"}),
    ],
)
def test_reasoning_is_an_effort(reasoning: Reasoning, want: Any) -> None:
    body, _ = send(foreign(user(TextPart("x")), reasoning=reasoning))
    assert body.get("reasoning") == want
    assert body["store"] is False
    assert body.get("include") == (None if reasoning.mode == "disabled" else ["reasoning.encrypted_content"])


def test_settings_of_other_apis_are_carried_or_named() -> None:
    controls = {
        "max_tokens": Control(5, "max_tokens"),
        "stop": Control(["x"], "stop"),
        "top_k": Control(3, "top_k"),
        "store": Control(True, "store"),
        "logprobs": Control(True, "logprobs"),
        "top_logprobs": Control(2, "top_logprobs"),
        "service_tier": Control("standard_only", "service_tier"),
        "verbosity": Control("low", "verbosity"),
        "temperature": Control(0.5, "temperature"),
        "n": Control(1, "n"),
    }
    form = Format("json_schema", schema={"type": "object"})
    body, outgoing = send(foreign(user(TextPart("x")), controls=controls, format=form, stream=True))
    assert (body["max_output_tokens"], body["temperature"], body["stream"], body["store"]) == (16, 0.5, True, False)
    schema = {"type": "json_schema", "name": "output", "schema": {"type": "object"}}
    assert body["text"] == {"format": schema, "verbosity": "low"}
    assert set(outgoing.dropped) == {"stop", "top_k", "store", "logprobs", "top_logprobs", "service_tier"}


@pytest.mark.parametrize("control", [{"n": Control(2, "n")}, {"max_tokens": Control(0, "max_tokens")}])
def test_what_would_change_the_answer_is_refused(control: dict[str, Control]) -> None:
    with pytest.raises(GatewayError) as caught:
        send(foreign(user(TextPart("x")), controls=control))
    assert caught.value.failed.param in control


def test_fields_that_the_provider_refuses_are_left_out_by_name() -> None:
    body, outgoing = send(foreign(user(TextPart("x"))), quirks=Quirks(refused_fields=("store", "user")))
    assert "store" not in body
    assert outgoing.dropped == ("store",)


def test_a_request_of_this_api_survives_reading_and_writing() -> None:
    body = {
        "model": "m",
        "instructions": "A",
        "input": [
            {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "S"}]},
            {"type": "message", "role": "user", "content": [{"type": "input_image", "detail": "auto", "file_id": "f"}]},
            ITEM,
            {"type": "web_search_call", "id": "ws_1", "status": "completed"},
            {"type": "message", "role": "assistant", "phase": "commentary",
             "content": [{"type": "output_text", "text": "ok", "annotations": []}]},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a": 1.0}'},
            {"type": "function_call_output", "call_id": "c1", "output": "3"},
            {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAA"},
        ],
        "tools": [
            {"type": "function", "name": "f", "parameters": {}, "strict": True, "defer_loading": True},
            {"type": "web_search"},
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "max_output_tokens": 99,
        "store": True,
        "include": ["reasoning.encrypted_content"],
        "truncation": "auto",
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"format": {"type": "json_object"}, "verbosity": "low"},
        "stream": True,
    }  # fmt: skip
    sent, outgoing = send(RESPONSES.read_request(body))
    assert sent == {**body, "model": "up"}
    assert outgoing.dropped == ()


def test_a_continued_response_needs_no_input() -> None:
    body, _ = send(RESPONSES.read_request({"model": "m", "previous_response_id": "resp_1"}))
    assert body == {"model": "up", "previous_response_id": "resp_1", "stream": False}


# The byte lane


def test_seals_are_restored_or_removed_and_the_rest_is_untouched() -> None:
    sealed = {"type": "reasoning", "id": "rs_tg", "summary": [], "encrypted_content": seal(US, "responses", ITEM)}
    other = {**sealed, "encrypted_content": seal(OTHER, "responses", ITEM)}
    messages = {**sealed, "encrypted_content": seal(US, "messages", {"type": "thinking"})}
    native = {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gBBB"}
    text = {"role": "user", "content": "tg1.not a seal"}
    body = {"model": "m", "input": [sealed, other, messages, native, text]}
    assert RESPONSES.restore(body, US) == ({"input": [ITEM, native, text]}, ("input[]",))
    assert RESPONSES.restore({"input": [sealed]}, US) == ({"input": [ITEM]}, ())
    assert RESPONSES.restore({"input": [native, text]}, US) == ({}, ())
    assert RESPONSES.restore({"input": "tg1.x"}, US) == ({}, ())


# Recorded requests


def recorded(path: Path) -> dict[str, Any]:
    value = msgspec.json.decode(path.read_bytes())
    body: dict[str, Any] = value["body"] if "path" in value else value
    return body


@needs_recordings
@pytest.mark.parametrize("path", [*RECORDED, *SENT], ids=lambda path: f"{path.parent.name[:8]}-{path.name[:50]}")
def test_recorded_requests_lose_nothing_that_a_responses_provider_could_use(path: Path) -> None:
    body = recorded(path)
    call = RESPONSES.read_request(body)
    sent, outgoing = send(call)
    known = {"reasoning.context", "client_metadata", "tools[].description", "input[]"}
    assert set(outgoing.dropped) <= known | ({"top_logprobs"} & set(body))
    assert words(sent["input"]) == words(body["input"]) if "input" in body else "input" not in sent
    assert len(sent.get("tools", ())) >= len(body.get("tools") or ())


def words(value: Any) -> list[str]:
    """Every text that a person or a model wrote, in order."""
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, list):
        return [word for each in value for word in words(each)]
    if not isinstance(value, dict) or value.get("type") in ("reasoning", "additional_tools"):
        return []
    names = ("content", "text", "arguments", "input", "output", "refusal", "image_url", "file_data")
    return [word for name in names if name in value for word in words(value[name])]
