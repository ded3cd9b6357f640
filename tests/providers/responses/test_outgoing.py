"""The writer of tools and settings for a Responses provider."""

from providers.chat import CHAT
from providers.neutral.codec import Recipient
from providers.neutral.quirks import Quirks
from providers.neutral.request import Format, Message, NativeTool, Parameter, Reasoning, TextPart, Tool, ToolChoice
from providers.responses import RESPONSES
from tests.support.cases import case
from tests.support.responses_requests import US, foreign, read, send, user

LOGPROBS = "message.output_text.logprobs"
ENCRYPTED = "reasoning.encrypted_content"
CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


def test_tools_are_flat_with_strict_and_parameters() -> None:
    """BerriAI/litellm#22878, router-for-me/CLIProxyAPI#1725: no mark gets into the schema; keys keep their order."""
    tools = (
        Tool("f", "d", {"$schema": "x", "b": 1, "a": 2.0}, at="tools[0]", marks={"cache_control": {}}),
        Tool("g", schema=CLOSED, strict=True),
        Tool("c", kind="custom", format={"type": "text"}),
        NativeTool("messages", "bash", {}, "tools[3]"),
    )
    choice = ToolChoice("auto", allowed=("f", "c"))
    body, outgoing = send(foreign(user(TextPart("x")), tools=tools, tool_choice=choice))
    assert body["tools"] == [
        {"type": "function", "name": "f", "description": "d", "parameters": {"$schema": "x", "b": 1, "a": 2.0},
         "strict": False},
        {"type": "function", "name": "g", "parameters": CLOSED, "strict": True},
        {"type": "custom", "name": "c", "format": {"type": "text"}},
    ]  # fmt: skip
    assert b'{"$schema":"x","b":1,"a":2.0}' in outgoing.body
    assert body["tool_choice"] == {
        "type": "allowed_tools", "mode": "auto",
        "tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "c"}],
    }  # fmt: skip
    assert outgoing.dropped == ("tools[].cache_control", "tools[]", "tools[]: bash")


def test_settings_of_other_apis_are_carried_or_reported() -> None:
    """chatboxai/chatbox#2627; a limit below 16 is raised to it (anomalyco/opencode#37964)."""
    controls = {
        "max_tokens": Parameter(5, "max_tokens"),
        "stop": Parameter(["x"], "stop"),
        "top_k": Parameter(3, "top_k"),
        "store": Parameter(True, "store"),
        "logprobs": Parameter(True, "logprobs"),
        "top_logprobs": Parameter(2, "top_logprobs"),
        "service_tier": Parameter("flex", "service_tier"),
        "verbosity": Parameter("low", "verbosity"),
        "temperature": Parameter(0.5, "temperature"),
        "n": Parameter(1, "n"),
    }
    form = Format("json_schema", schema={"type": "object"})
    body, outgoing = send(foreign(user(TextPart("x")), parameters=controls, format=form, stream=True))
    assert (body["max_output_tokens"], body["temperature"], body["stream"], body["store"]) == (16, 0.5, True, True)
    schema = {"type": "json_schema", "name": "output", "schema": {"type": "object"}}
    assert body["text"] == {"format": schema, "verbosity": "low"}
    assert set(outgoing.dropped) == {"stop", "top_k"}
    assert (body["service_tier"], body["top_logprobs"], body["include"]) == ("flex", 2, [LOGPROBS])


def test_the_name_of_a_participant_in_instructions_is_reported() -> None:
    named = Message("system", (TextPart("a"),), "messages[0]", name="b")
    body, outgoing = send(foreign(named, user(TextPart("c"))))
    assert (body["instructions"], outgoing.dropped) == ("a", ("messages[].name",))


def test_a_format_without_a_schema_gets_one():
    """Chat's schema is optional, this API's is not (types of the openai package)."""
    body, _ = send(foreign(user(TextPart("x")), format=Format("json_schema", "n")))
    assert body["text"]["format"] == {"type": "json_schema", "name": "n", "schema": {}}


def test_a_continued_response_needs_no_input() -> None:
    body, _ = send(RESPONSES.read_request({"model": "m", "previous_response_id": "resp_1"}))
    assert body == {"model": "up", "previous_response_id": "resp_1", "stream": False}


# Reasoning and sampling, by the known features of the model


THINKER = Quirks(efforts=("minimal", "low", "medium", "high"), sampling="never")
LATER = Quirks(efforts=("none", "low", "medium", "high", "xhigh"), sampling="only_effort_none")


def test_encrypted_reasoning_is_requested_if_the_model_may_think() -> None:
    """Otherwise the next turn cannot return any reasoning; models that never think reject the setting."""
    for reasoning, quirks, asked in [
        (None, Quirks(), False),
        (None, THINKER, True),
        (Reasoning("enabled", "low"), Quirks(), True),
        (Reasoning("disabled", "none"), LATER, False),
    ]:
        with case((reasoning, quirks, asked)):
            body, _ = send(foreign(user(TextPart("x")), reasoning=reasoning), quirks=quirks)
            assert (ENCRYPTED in body.get("include", ())) == asked


# Log probabilities, caches, the form of the answer


def test_included_items_are_requested_from_the_provider() -> None:
    asked = ["message.input_image.image_url", ENCRYPTED, LOGPROBS, "web_search_call.action.sources"]
    call = read(include=asked)
    assert call.parameters["include"].value == asked[:1]
    assert call.parameters["logprobs"].value is True
    assert sorted(send(call)[0]["include"]) == sorted(asked)
    assert read(include=[ENCRYPTED, "web_search_call.action.sources"]).parameters == {}
    assert send(read(top_logprobs=2))[0]["include"] == [LOGPROBS]


def test_a_limit_of_nothing_warms_the_cache_where_the_model_can() -> None:
    call = foreign(user(TextPart("x")), parameters={"max_tokens": Parameter(0, "max_tokens")})
    body, _ = send(call, quirks=Quirks(cache_breakpoints=True))
    assert body["prompt_cache_options"] == {"prewarm": True}
    assert "max_output_tokens" not in body


def test_penalties_go_only_to_providers_of_the_clients_api() -> None:
    """OpenAI's API does not document them; other servers of this API do (openai/openai-python#3040)."""
    penalties = {"presence_penalty": 0.5, "frequency_penalty": 0}
    body, outgoing = send(RESPONSES.read_request({"model": "m", "input": "x", **penalties}))
    assert {name: body[name] for name in penalties} == penalties
    assert outgoing.dropped == ()
    call = CHAT.read_request({"model": "m", "messages": [{"role": "user", "content": "x"}], **penalties})
    body, outgoing = send(call)
    assert not body.keys() & penalties.keys()
    assert outgoing.dropped == ("presence_penalty",)


def test_strict_stays_as_other_clients_set_it() -> None:
    form = Format("json_schema", schema={"type": "object"}, strict=True)
    tools = (Tool("f", strict=True), Tool("g"))
    body, _ = send(foreign(user(TextPart("x")), api="chat", format=form, tools=tools))
    assert body["text"]["format"]["strict"] is True
    assert [tool["strict"] for tool in body["tools"]] == [True, False]
    assert "strict" not in send(read(tools=[{"type": "function", "name": "f"}]))[0]["tools"][0]


# Hosted tools


FILES = {"type": "file_search"}
MIXED = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}, FILES]}


def test_the_choice_of_a_hosted_tool_is_sent_only_with_the_tool() -> None:
    """``ToolChoiceTypesParam``, ``ToolChoiceMcpParam`` and ``ToolChoiceAllowedParam`` of the openai package. Other
    APIs receive neither, and both are reported (ding113/claude-code-hub#1328)."""
    for choice, places in [
        (FILES, {"tool_choice"}),
        ({"type": "mcp", "server_label": "s", "name": "n"}, {"tool_choice"}),
        ({"type": "allowed_tools", "mode": "auto", "tools": [FILES]}, {"tool_choice.tools[]", "tool_choice"}),
        (MIXED, {"tool_choice.tools[]"}),
    ]:
        with case((choice, places)):
            tools = [{"type": "file_search", "vector_store_ids": ["vs_1"]}, {"type": "function", "name": "f"}]
            call = RESPONSES.read_request({"model": "m", "input": "q", "tools": tools, "tool_choice": choice})
            body, outgoing = send(call)
            assert (body["tool_choice"], outgoing.dropped) == (choice, ())
            other = CHAT.write_request(call, Recipient("up", US))
            assert set(other.dropped) == {"tools[]", "tools[]: file_search", *places}
            assert b"file_search" not in other.body
            body, outgoing = send(RESPONSES.read_request({"model": "m", "input": "q", "tool_choice": choice}))
            assert "tool_choice" not in body
            assert outgoing.dropped == ("tool_choice",)


def test_a_call_for_a_summary_forces_no_hosted_tool() -> None:
    items = [{"role": "user", "content": "q"}, {"type": "compaction_trigger"}]
    tools = [{"type": "web_search"}, {"type": "function", "name": "f"}]
    body, _ = send(read(input=items, tools=tools, tool_choice={"type": "web_search"}))
    assert body["tool_choice"] == "none"
