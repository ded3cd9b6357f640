"""Responses clients with a model of another API, in both directions."""

import json
from typing import Any

import pytest
from openai.types.responses import ResponseToolSearchCall as ToolSearchCall

from providers.chat import CHAT
from providers.converse import CONVERSE
from providers.gemini import GEMINI
from providers.messages import MESSAGES
from providers.neutral.codec import Codec, Recipient, Reply
from providers.neutral.hints import losses
from providers.neutral.seal import seal
from providers.responses import RESPONSES
from providers.responses.incoming import read_continuation
from providers.responses.kept_items import previous_items
from streams.errors import GatewayError
from streams.events import (
    AnswerEnd,
    AnswerStart,
    BlockEnd,
    TextDelta,
)
from streams.fold import fold
from tests.support.block_events import call_events, refusal_events
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.responses_requests import (
    SENT,
    US,
    needs_recordings,
    read,
    recorded_body,
    rejection_of,
    words,
)
from tests.support.responses_streams import (
    created_event,
    ended_event,
    item_added,
    item_done,
    message,
    sdk_response,
    stream,
    text_delta,
    write_events,
)
from tests.support.responses_streams import read as heard

CODEX = [path for path in SENT if path.parent.name == "codex"]
TRANSLATED = pytest.mark.parametrize("codec", [CHAT, MESSAGES], ids=["chat", "messages"])


def send(codec: Codec, body: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    outgoing = codec.write_request(RESPONSES.read_request(body), Recipient("up", US))
    sent: dict[str, Any] = json.loads(outgoing.body)
    return sent, outgoing.dropped


@TRANSLATED
@pytest.mark.parametrize(
    "member",
    [
        {"conversation": "conv_1"},
        {"background": True},
        {"prompt": {"id": "pmpt_1"}},
        {"previous_response_id": "resp_1"},
    ],
    ids=lambda member: next(iter(member)),
)
def test_members_that_need_server_state_are_refused(codec: Codec, member: dict[str, Any]) -> None:
    """Never silently a fresh conversation (barbacane-dev/barbacane#69, ankitcharolia/kiro-gateway#38)."""
    with pytest.raises(GatewayError) as caught:
        send(codec, {"model": "m", "input": "x", **member})
    assert (caught.value.info.status, caught.value.info.param) == (400, next(iter(member)))


@TRANSLATED
def test_harmless_defaults_are_not_reported(codec: Codec) -> None:
    members = {"background": False, "truncation": "disabled", "include": [], "stream_options": {}}
    assert send(codec, {"model": "m", "input": "x", **members})[1] == ()


@TRANSLATED
def test_members_that_only_this_api_has_are_listed(codec: Codec) -> None:
    members = {
        "truncation": "auto", "max_tool_calls": 3, "context_management": [{"type": "compaction"}],
        "include": ["file_search_call.results"], "client_metadata": {"a": "b"},
        "reasoning": {"effort": "low", "context": "all_turns", "mode": "pro"},
    }  # fmt: skip
    assert set(send(codec, {"model": "m", "input": "x", **members})[1]) == {
        "truncation", "max_tool_calls", "context_management", "include", "client_metadata", "reasoning.context",
        "reasoning.mode",
    }  # fmt: skip


# Codex


@needs_recordings
@TRANSLATED
@pytest.mark.parametrize("path", CODEX, ids=lambda path: path.name)
def test_codex_loses_only_members_that_other_apis_lack(codec: Codec, path: Any) -> None:
    """Recorded requests of Codex; a client whose requests fail in strict mode could not use the gateway at all."""
    body = recorded_body(path)
    sent, dropped = send(codec, body)
    # Hosted tools, bookkeeping, members that only OpenAI supports, and reasoning of another provider, without which a
    # model with a thinking budget cannot continue to think.
    room = {
        "tools[]",
        "tools[]: web_search",
        "client_metadata",
        "prompt_cache_key",
        "store",
        "reasoning.summary",
        "input[]",
        "reasoning",
    }
    assert set(dropped) <= room
    told = json.dumps(sent, ensure_ascii=False)
    assert all(json.dumps(word, ensure_ascii=False)[1:-1] in told for word in words(body["input"]) if word[0] != "{")
    names = {(tool.get("function") or tool)["name"] for tool in sent["tools"]}
    assert {"exec_command", "multi_agent_v1__close_agent"} <= names
    assert "Tools for spawning and managing sub-agents." in told


@needs_recordings
def test_codex_gets_its_reasoning_back_where_it_came_from() -> None:
    """Codex returns a reasoning item with ``content: null``."""
    body = recorded_body(CODEX[-1])
    thinking = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
    for item in body["input"]:
        if item["type"] == "reasoning":
            assert item["content"] is None
            item["encrypted_content"] = seal(US, "messages", thinking)
    sent, dropped = send(MESSAGES, body)
    said = [message for message in sent["messages"] if message["role"] == "assistant"]
    assert said[0]["content"][0] == thinking
    assert [block["type"] for block in said[0]["content"]] == ["thinking", "text", "tool_use", "tool_use"]
    assert "input[]" not in dropped


# Custom tools


PATCH = "*** Begin Patch\n*** End Patch\n"
APPLY_PATCH = {"type": "custom", "name": "apply_patch", "description": "d", "format": {"type": "text"}}


def test_a_custom_tool_works_with_a_provider_without_custom_tools() -> None:
    """Codex refuses a ``function_call`` for apply_patch (router-for-me/CLIProxyAPI#5753, decolua/9router#1371,
    MetaFARS/codex-relay#37, BerriAI/litellm#31571)."""
    call = read(tools=[APPLY_PATCH], tool_choice={"type": "custom", "name": "apply_patch"})
    sent = json.loads(MESSAGES.write_request(call, Recipient("up", US)).body)
    assert sent["tools"][0]["input_schema"]["required"] == ["input"]
    assert sent["tool_choice"] == {"type": "tool", "name": "apply_patch"}
    answer = [AnswerStart(), *call_events(0, json.dumps({"input": PATCH}), id="toolu_1", name="apply_patch")]
    found = write_events([*answer, AnswerEnd("tool_calls")], Reply(call, US, 1))
    types = [event["type"] for event in found]
    assert "response.custom_tool_call_input.delta" in types
    assert "response.custom_tool_call_input.done" in types
    (item,) = found[-1]["response"]["output"]
    assert (item["type"], item["call_id"], item["input"]) == ("custom_tool_call", "toolu_1", PATCH)
    result = {"type": "custom_tool_call_output", "call_id": "toolu_1", "output": "Done!"}
    again = read(tools=[APPLY_PATCH], input=[{"role": "user", "content": "x"}, item, result])
    messages = json.loads(MESSAGES.write_request(again, Recipient("up", US)).body)["messages"]
    assert messages[1]["content"] == [
        {"type": "tool_use", "id": "toolu_1", "name": "apply_patch", "input": {"input": PATCH}}
    ]
    assert messages[2]["content"][0]["tool_use_id"] == "toolu_1"


def test_a_namespaced_tool_works_all_the_way() -> None:
    """Codex knows its tools by name and namespace (router-for-me/CLIProxyAPI#3725)."""
    namespace = {
        "type": "namespace", "name": "agents", "description": "All about agents.",
        "tools": [{"type": "function", "name": "close", "description": "Close it.", "parameters": {}}],
    }  # fmt: skip
    call = read(tools=[namespace], tool_choice={"type": "function", "name": "close", "namespace": "agents"})
    assert call.dropped == ()
    sent = json.loads(CHAT.write_request(call, Recipient("up", US)).body)
    assert sent["tools"][0]["function"]["name"] == "agents__close"
    assert sent["tools"][0]["function"]["description"] == "Close it.\n\nAll about agents."
    assert sent["tool_choice"]["function"] == {"name": "agents__close"}
    events = [AnswerStart(), *call_events(0, "{}", id="c", name="agents__close"), AnswerEnd("tool_calls")]
    (item,) = write_events(events, Reply(call, US, 1))[-1]["response"]["output"]
    assert (item["name"], item["namespace"]) == ("close", "agents")
    again = read(tools=[namespace], input=[{"role": "user", "content": "x"}, item])
    messages = json.loads(CHAT.write_request(again, Recipient("up", US)).body)["messages"]
    assert messages[1]["tool_calls"][0]["function"]["name"] == "agents__close"


def _namespace(name: str, *tools: str) -> dict[str, Any]:
    return {"type": "namespace", "name": name, "tools": [{"type": "function", "name": tool} for tool in tools]}


@each_row(
    ("called", "expected"),
    [
        ("browser_navigate", ("browser_navigate", "mcp__playwright__")),
        ("mcp__playwright__browser_navigate", ("browser_navigate", "mcp__playwright__")),
        ("mcp__playwright__.browser_navigate", ("browser_navigate", "mcp__playwright__")),
        ("functions__exec", ("exec", None)),
        ("functions.exec", ("exec", None)),
        ("wait", ("wait", "functions")),
        ("close", ("close", None)),  # of two namespaces
        ("open", ("open", None)),  # a tool's own name comes first
    ],
)
def test_a_tool_with_a_namespace_is_found_by_the_names_that_models_use_for_it(called, expected) -> None:
    """DeepSeek calls a tool without its namespace (router-for-me/CLIProxyAPI#4106), or a lone one in that of others
    (Wei-Shaw/sub2api#5883); Ollama has a dot between both (openai/codex#23186)."""
    tools = [
        _namespace("mcp__playwright__", "browser_navigate", "close"), _namespace("mcp__files", "close", "open"),
        _namespace("functions", "wait"), {"type": "custom", "name": "exec"}, {"type": "function", "name": "open"},
    ]  # fmt: skip
    events = [AnswerStart(), *call_events(0, "{}", id="c", name=called), AnswerEnd("tool_calls")]
    to = Reply(read(tools=tools), US, 1)
    (item,) = write_events(events, to)[-1]["response"]["output"]
    assert (item["name"], item.get("namespace")) == expected
    (whole,) = json.loads(RESPONSES.write_answer(fold(events), to))["output"]
    assert whole == {**item, "id": whole["id"]}
    assert item["type"] == ("custom_tool_call" if item["name"] == "exec" else "function_call")


@TRANSLATED
def test_codexs_metadata_of_an_item_is_a_hint(codec: Codec) -> None:
    """Codex adds it to items of every kind (chenyme/grok2api#673); no model reads it."""
    metadata = {"internal_chat_message_metadata_passthrough": {"turn_id": "t1"}}
    item = {"role": "user", "content": "hi", **metadata}
    dropped = send(codec, {"model": "m", "input": [item]})[1]
    assert dropped == ("input[].internal_chat_message_metadata_passthrough",)
    assert losses(dropped) == ()


SEARCH = {
    "type": "tool_search", "execution": "client", "description": "Find tools.",
    "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
}  # fmt: skip
CALENDAR = {
    "type": "namespace", "name": "mcp__calendar",
    "tools": [{"type": "function", "name": "add", "defer_loading": True, "parameters": {"type": "object"}}],
}  # fmt: skip
USER = {"role": "user", "content": "x"}


def test_a_search_for_tools_that_the_client_runs_works_all_the_way() -> None:
    """Codex's MCP tools are only in its results (vllm-project/agentic-api#140, looplj/axonhub#2105,
    openai/codex#26234, duolahypercho/codex-router#252)."""
    call = read(tools=[SEARCH, {"type": "web_search"}])
    sent, dropped = send(CHAT, {"model": "m", "input": "x", "tools": [SEARCH]})
    assert sent["tools"][0]["function"] == {
        "name": "tool_search", "description": "Find tools.", "parameters": SEARCH["parameters"],
    }  # fmt: skip
    assert dropped == ()
    begin = [AnswerStart(), *call_events(0, '{"query":', '"calendar"}', id="c1", name="tool_search")]
    events = [*begin, AnswerEnd("tool_calls")]
    reply = Reply(call, US, 1, unsent=("tools[]",))
    written = write_events(events, reply)
    assert [event["type"] for event in written] == [
        "response.created", "response.in_progress", "response.output_item.added", "response.output_item.done",
        "response.completed",
    ]  # fmt: skip
    (item,) = written[-1]["response"]["output"]
    assert ToolSearchCall.model_validate(item).arguments == {"query": "calendar"}
    assert (item["type"], item["call_id"], item["execution"]) == ("tool_search_call", "c1", "client")
    assert written[-1]["response"]["tools"] == [SEARCH]
    (whole,) = json.loads(RESPONSES.write_answer(fold(events), reply))["output"]
    assert whole == {**item, "id": whole["id"]}

    found = {"type": "tool_search_output", "call_id": "c1", "execution": "client", "tools": [CALENDAR]}
    again = [item, found, {**item, "call_id": "c2"}, {**found, "call_id": "c2"}]
    body = {"model": "m", "input": [USER, *again], "tools": [SEARCH]}
    sent, dropped = send(CHAT, body)
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["tool_search", "mcp__calendar__add"]
    assert sent["messages"][1]["tool_calls"][0]["function"] == {
        "name": "tool_search", "arguments": '{"query":"calendar"}',
    }  # fmt: skip
    assert sent["messages"][2] == {"role": "tool", "tool_call_id": "c1", "content": "mcp__calendar__add"}
    assert losses(dropped) == ()
    for codec in (MESSAGES, GEMINI, CONVERSE):
        assert losses(send(codec, body)[1]) == ()
    begin = [AnswerStart(), *call_events(0, "{}", id="c3", name="mcp__calendar__add")]
    (used,) = write_events([*begin, AnswerEnd("tool_calls")], Reply(read(**body), US, 1))[-1]["response"]["output"]
    assert (used["name"], used["namespace"]) == ("add", "mcp__calendar")
    sent, dropped = send(RESPONSES, body)
    without_id = {name: value for name, value in item.items() if name != "id"}
    assert sent["input"][1:] == [without_id, found, {**without_id, "call_id": "c2"}, {**found, "call_id": "c2"}]
    assert (sent["tools"], dropped) == ([SEARCH], ())


def test_a_search_for_tools_by_the_provider_stays_with_it() -> None:
    tools = [{"type": "tool_search"}, CALENDAR]
    ran = {"type": "tool_search_call", "id": "tsc_1", "call_id": None, "execution": "server", "arguments": {}}
    found = {"type": "tool_search_output", "call_id": None, "execution": "server", "tools": [CALENDAR]}
    body = {"model": "m", "input": [USER, ran, found], "tools": tools}
    sent, dropped = send(CHAT, body)
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["mcp__calendar__add"]
    assert losses(dropped) == ("input[]", "tools[]", "tools[]: tool_search")
    assert send(RESPONSES, body)[0]["input"][1:] == [ran, found]
    orphan = {**found, "execution": "client", "call_id": "c9"}
    assert "No tool call found for tool search output" in rejection_of(input=[orphan]).info.message


MARK = "encrypted_function_args"
SPAWN = {
    "type": "namespace", "name": "collaboration",
    "tools": [
        {"type": "function", "name": "spawn_agent", "parameters": {
            "type": "object", "properties": {"message": {"type": "string", "encrypted": True}},
        }},
        {"type": "function", "name": "wait_agent", "parameters": {"type": "object", "properties": {}}},
    ],
}  # fmt: skip


def test_a_task_that_codex_would_treat_as_encrypted_is_marked_as_text() -> None:
    """Without the mark, Codex sends the text as ciphertext, which OpenAI rejects (openai/codex#37858,
    MetaFARS/codex-relay#43)."""
    call = read(tools=[SPAWN])
    for name, arguments, marks in [
        ("spawn_agent", '{"message":"Count."}', {"encrypted_function_args": []}),
        ("spawn_agent", '{"message":"gAAAAABqZ-_x=="}', {}),  # OpenAI's own, in a stored conversation
        ("wait_agent", "{}", {}),
    ]:
        with case((name, arguments)):
            begin = [AnswerStart(), *call_events(0, arguments, id="c", name=f"collaboration__{name}")]
            events = [*begin, AnswerEnd("tool_calls")]
            written = write_events(events, Reply(call, US, 1))
            (item,) = written[-1]["response"]["output"]
            (whole,) = json.loads(RESPONSES.write_answer(fold(events), Reply(call, US, 1)))["output"]
            added, done = (event["item"] for event in written if "item" in event)
            for one in (item, whole, done):
                assert {key: value for key, value in one.items() if key == MARK} == marks
            assert MARK not in added
            again = read(tools=[SPAWN], input=[{"role": "user", "content": "x"}, item])
            sent = RESPONSES.write_request(again, Recipient("up", US))
            assert json.loads(sent.body)["input"][1].get(MARK) == marks.get(MARK)
            for codec in (CHAT, MESSAGES, GEMINI, CONVERSE):
                other = codec.write_request(again, Recipient("up", US))
                assert b"encrypted_function_args" not in other.body
                assert losses(other.dropped) == ()


def test_the_namespace_of_a_single_tool_returns_only_to_its_own_api() -> None:
    """OpenAI's tool search gives a function that it has loaded a namespace of the same name."""
    item = {"type": "function_call", "call_id": "c1", "name": "get", "namespace": "get", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c1", "output": "x"}
    call = read(input=[{"role": "user", "content": "x"}, item, output])
    sent = RESPONSES.write_request(call, Recipient("up", US))
    assert json.loads(sent.body)["input"][1] == item
    for codec in (CHAT, MESSAGES):
        other = codec.write_request(call, Recipient("up", US))
        assert b"namespace" not in other.body
        assert other.dropped == ()


PHASES = ("commentary", "final_answer", None)


@each_row("streamed", [True, False])
def test_the_phase_of_a_message_passes_to_the_client_and_back(streamed: bool) -> None:
    """``ResponseOutputMessage.phase`` and ``EasyInputMessageParam.phase`` of the openai package: "for models like
    gpt-5.3-codex and beyond, when sending follow-up requests, preserve and resend phase on all assistant messages"."""
    output = [message(str(i), f"msg_{i}") | ({"phase": phase} if phase else {}) for i, phase in enumerate(PHASES)]
    told = [
        event
        for i, item in enumerate(output)
        for event in (item_added(i, **{**item, "content": []}), text_delta(i, str(i)), item_done(i, **item))
    ]
    events = heard(stream(created_event(), *(told if streamed else ()), ended_event("completed", *output)))
    found = write_events(events)
    whole = json.loads(RESPONSES.write_answer(fold(events), Reply(read(), US, created=1)))
    for answer in (found[-1]["response"], whole):
        assert [item.get("phase") for item in answer["output"]] == list(PHASES)
        assert [item["content"][0]["text"] for item in answer["output"]] == ["0", "1", "2"]
    assert [event["item"].get("phase") for event in found if event["type"].endswith("item.added")] == list(PHASES)
    assert sdk_response(found).output[0].phase == "commentary"

    kept = {"status": "completed", "input": [{"role": "user", "content": "q"}], "output": whole["output"]}
    earlier = previous_items([json.dumps(kept).encode()])
    call = read_continuation({"model": "m", "input": "go on"}, earlier)
    body = json.loads(RESPONSES.write_request(call, Recipient("up", US)).body)
    assert [item.get("phase") for item in body["input"]] == [None, *PHASES, None]


def test_texts_of_one_phase_and_refusals_share_a_message() -> None:
    blocks = [
        TextDelta(0, "a", phase="commentary"), BlockEnd(0), *refusal_events(1, "no"),
        TextDelta(2, "b", phase="commentary"), BlockEnd(2), TextDelta(3, "c", phase="final_answer"), BlockEnd(3),
    ]  # fmt: skip
    events = [AnswerStart(), *blocks, AnswerEnd("stop")]
    whole = json.loads(RESPONSES.write_answer(fold(events), Reply(read(), US, created=1)))["output"]
    for output in (write_events(events)[-1]["response"]["output"], whole):
        assert [(item["phase"], len(item["content"])) for item in output] == [("commentary", 3), ("final_answer", 1)]


@each_row(
    ("name", "source"),
    [
        ({"filename": "n.txt"}, {"type": "text", "media_type": "text/plain", "data": "hello"}),
        ({"filename": "n.pdf"}, {"type": "base64", "media_type": "application/pdf", "data": "aGVsbG8="}),
        ({}, {"type": "base64", "media_type": "application/pdf", "data": "aGVsbG8="}),
    ],
)
def test_the_name_of_a_file_determines_its_type(name: dict[str, str], source: dict[str, str]) -> None:
    """Bare base64 has no media type; ``data:`` URLs have one (RFC 2397). Claude accepts text files only as text."""
    file = {"type": "input_file", "file_data": "aGVsbG8=", **name}
    call = read(input=[{"role": "user", "content": [file]}])
    body = json.loads(MESSAGES.write_request(call, Recipient("up", US)).body)
    assert body["messages"][0]["content"][0]["source"] == source


def test_a_lost_phase_is_reported_at_the_clients_path() -> None:
    for codec in [CHAT, MESSAGES]:
        for content in ["a", [{"type": "output_text", "text": "a"}, {"type": "output_text", "text": "b"}]]:
            with case((codec, content)):
                said = {"role": "assistant", "content": content, "phase": "commentary"}
                asked = {"role": "user", "content": "q", "phase": "commentary"}  # "Not used for user messages"
                call = read(input=[said, asked])
                assert codec.write_request(call, Recipient("up", US)).dropped == ("input[].phase",)
                sent = RESPONSES.write_request(call, Recipient("up", US))
                assert sent.dropped == ()
                assert [item.get("phase") for item in json.loads(sent.body)["input"]] == ["commentary", None]
                later = read_continuation({"model": "m", "input": "q"}, [said])
                assert codec.write_request(later, Recipient("up", US)).dropped == ("previous.input[].phase",)
                assert RESPONSES.write_request(later, Recipient("up", US)).dropped == ()
