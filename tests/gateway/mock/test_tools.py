"""The stand-in's choice of tools, their arguments, and its answers, for programs of today and recorded requests."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import attrs
import jsonschema
import pytest

from gateway.mock.script import script
from gateway.mock.tools import AVOIDED_WORDS, ToolPick, choose
from gateway.mock.words import split_words
from providers.apis import CODECS
from providers.neutral.request import (
    Format,
    Message,
    Part,
    Request,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
)
from streams.errors import GatewayError
from streams.events import TextDelta
from tests.support.cases import case
from tests.support.converse_requests import recipient
from tests.support.each_row import each_row
from tests.support.recorded_requests import requests
from tests.support.recordings import ABSENT


def offer(
    *tools: str | Tool, mode: Any = "auto", name: str | None = None, said: str = "What is in this folder?", **more: Any
) -> Request:
    """Return a request that offers ``tools``; a tool that is only a name needs no arguments."""
    offered = tuple(tool if isinstance(tool, Tool) else needing(tool) for tool in tools)
    turns = more.pop("messages", (Message("user", (TextPart(said),)),))
    return Request("chat", "m", turns, tools=offered, tool_choice=ToolChoice(mode, name), **more)


def needing(name: str, **members: str) -> Tool:
    """Return a tool that requires ``members``, which map names to types."""
    properties = {member: {"type": kind} for member, kind in members.items()}
    return Tool(name, schema={"type": "object", "properties": properties, "required": list(members)})


def add_result(request: Request, pick: ToolPick, result: str = "two files", is_error: bool = False) -> Request:
    """Return the conversation's next request, with the call of the tool and its result."""
    back = ToolResultPart("call_1", (TextPart(result),), is_error)
    made: tuple[Part, ...] = (ToolCallPart("call_1", pick.tool.name, pick.input),)
    return attrs.evolve(request, messages=(*request.messages, Message("assistant", made), Message("user", (back,))))


def text(request: Request) -> str:
    return "".join(event.text for event in script(request, request.api) if isinstance(event, TextDelta))


# Programs of today, with the tools that they offer

SHELL = needing("Bash", command="string")
CLAUDE_CODE = (
    "Agent", SHELL, "CronCreate", "CronDelete", "CronList", "DesignSync", needing("Edit", file_path="string"),
    "EnterWorktree", "ExitWorktree", "NotebookEdit", needing("Read", file_path="string"), "ReportFindings",
    "ScheduleWakeup", needing("SendMessage", to="string"), needing("Skill", skill="string"), "TaskCreate", "TaskGet",
    "TaskList", "TaskOutput", "TaskStop", "TaskUpdate", needing("WebFetch", url="string"), "Workflow",
    needing("Write", file_path="string"), "AskUserQuestion", "EnterPlanMode", "ExitPlanMode", "Task", "TodoWrite",
)  # fmt: skip
CODEX = (
    needing("exec_command", cmd="string"), needing("write_stdin", session_id="number"), "request_user_input",
    needing("view_image", path="string"), "multi_agent_v1__spawn_agent", "multi_agent_v1__wait_agent", "get_goal",
    needing("create_goal", objective="string"), "update_plan",
    Tool("apply_patch", kind="custom", format={"type": "grammar"}),
)  # fmt: skip
OPENCODE = (
    needing("bash", command="string"), "edit", needing("glob", pattern="string"), needing("grep", pattern="string"),
    needing("read", filePath="string"), "skill", "task", "todowrite", needing("webfetch", url="string"), "write",
)  # fmt: skip
CLINE = (
    needing("execute_command", command="string", requires_approval="boolean"), needing("read_file", path="string"),
    "write_to_file", needing("list_files", path="string"), "ask_followup_question", "new_task", "plan_mode_respond",
    needing("attempt_completion", result="string"),
)  # fmt: skip


@each_row(
    ("tools", "name", "arguments"),
    [
        (CLAUDE_CODE, "Bash", {"command": "ls"}),
        (CODEX, "exec_command", {"cmd": "ls"}),
        (OPENCODE, "bash", {"command": "ls"}),
        (CLINE, "execute_command", {"command": "ls", "requires_approval": False}),
        ((*OPENCODE[1:],), "glob", {"pattern": "*"}),
        ((needing("read_file", path="string"), needing("list_dir", path="string")), "list_dir", {"path": "."}),
        ((needing("mcp__disk__list_directory", path="string"), SHELL), "Bash", {"command": "ls"}),
        (("delete_order", needing("get_order", order_id="string")), "get_order", {"order_id": "example order id"}),
        (("send_email", needing("get_weather", city="string")), "get_weather", {"city": "Paris"}),
        ((needing("web_search", query="string"),), "web_search", {"query": "What is in this folder?"}),
        ((needing("mcp__vault__lookup", key="string"),), "mcp__vault__lookup", {"key": "example key"}),
        ((needing("add", a="integer", b="number"), "multiply"), "multiply", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_stand_in_calls_harmless_tools_and_then_answers(tools, name, arguments):
    call = offer(*tools)
    pick = choose(call)
    assert (pick.tool.name, json.loads(pick.input)) == (name, arguments)
    ended = add_result(call, pick)
    reminder = Message("user", (TextPart("<system-reminder>be brief</system-reminder>"),))
    for later in (ended, attrs.evolve(ended, messages=(*ended.messages, reminder))):
        again = choose(later)
        assert again is None or "completion" in again.tool.name
        assert "two files" in text(attrs.evolve(later, tools=()))


def test_a_web_search_is_called_first_if_the_person_asks_for_one():
    for tools in ((*CODEX, needing("web_search", query="string")), (SHELL, needing("WebSearch", query="string"))):
        pick = choose(offer(*tools, said="Search the web for trio"))
        assert (pick.tool.name, json.loads(pick.input)) == (tools[-1].name, {"query": "Search the web for trio"})


def test_a_web_search_that_a_program_loads_by_its_tool_search_is_called_after_it():
    """Claude Code 2.1.332 declares its web search only once ``ToolSearch`` has found it."""
    tools = SHELL, needing("ToolSearch", query="string")
    call = offer(*tools, said="Search the web for trio")
    pick = choose(call)
    assert pick.tool.name == "ToolSearch"
    loaded = add_result(call, pick)
    assert choose(loaded) is None, "it has found nothing"
    loaded = attrs.evolve(loaded, tools=(*loaded.tools, *offer(needing("WebSearch", query="string")).tools))
    pick = choose(loaded)
    assert (pick.tool.name, json.loads(pick.input)) == ("WebSearch", {"query": "Search the web for trio"})
    assert choose(add_result(loaded, pick)) is None


@each_row(
    "tools",
    [
        ("Agent", "Task", "spawn_agent", "transfer_to_billing", "handoff", "delegate_work"),
        ("AskUserQuestion", "ExitPlanMode", "EnterWorktree", "TodoWrite", "Skill", "get_goal", "TaskGet"),
        ("send_email", "delete_file", needing("read_file", path="string"), needing("fetch", url="string")),
        (needing("write_stdin", session_id="number"), needing("apply_patch", patch="string")),
    ],
    ids=["agents", "the program itself", "changes and places", "what has not begun"],
)
def test_unsuitable_tools_are_not_called_and_the_answer_is_reported(tools):
    call = offer(*tools)
    assert choose(call) is None
    assert "tool_choice" in text(call)


def test_a_tool_that_converse_only_declares_is_not_called():
    """A turn without tools after one with a call, as agents send it after a handoff."""
    request = offer(needing("get_weather", city="string"))
    before = add_result(request, choose(request))
    turns = (*before.messages, Message("assistant", (TextPart("sunny"),)), Message("user", (TextPart("more"),)))
    later = attrs.evolve(before, messages=turns, tools=(), tool_choice=None)
    converse = CODECS["converse"]
    declared = converse.read_request(json.loads(converse.write_request(later, recipient("claude")).body))
    assert [tool.name for tool in declared.tools] == ["get_weather"]
    assert choose(declared) is None
    assert text(declared) == text(offer(said="more"))


def test_an_answer_lists_only_some_of_many_tools():
    assert "`Agent`, `Task`, `handoff` and 2 more" in text(offer("Agent", "Task", "handoff", "TodoWrite", "Skill"))


# The tool choice of the request


def test_a_tool_requested_by_name_is_called():
    pick = choose(offer("get_weather", needing("send_email", email="string"), mode="tool", name="send_email"))
    assert (pick.tool.name, json.loads(pick.input)) == ("send_email", {"email": "someone@example.com"})


OBSERVED = (
    Message("user", (TextPart("New task"),)),
    Message("assistant", (TextPart("Calling get_secret"),)),
    Message("user", (TextPart("Observation: sesame"),)),
)
ALLOWED = ToolChoice("auto", allowed=("get_time",))


@each_row(
    ("call", "name"),
    [
        (offer("get_secret", "final_answer", mode="required", messages=OBSERVED), "final_answer"),
        (offer("send_email", mode="required"), "send_email"),
        (offer("get_weather", mode="none"), None),
        (attrs.evolve(offer("get_weather", "get_time"), tool_choice=ALLOWED), "get_time"),
        (offer(Tool("notes", kind="custom", format={"type": "grammar"})), None),
        (offer(Tool("notes", kind="custom", format={"type": "text"})), "notes"),
    ],
    ids=["told in the person's words", "required", "forbidden", "allowed", "an unknown grammar", "text"],
)
def test_the_called_tool_follows_from_the_request(call, name):
    pick = choose(call)
    assert (pick and pick.tool.name) == name


def test_required_calls_use_the_best_tool_and_then_the_answering_one():
    call = offer("final_answer", "get_secret", "Agent", mode="required")
    first = choose(call)
    assert first.tool.name == "get_secret"
    second = choose(add_result(call, first))
    assert second.tool.name == "final_answer"


def test_required_calls_do_not_repeat_a_tool_while_others_are_left():
    call = offer("get_secret", "City", mode="required")
    names = []
    for _ in range(3):
        pick = choose(call)
        names.append(pick.tool.name)
        call = add_result(call, pick)
    assert names[:2] == ["get_secret", "City"]


@pytest.mark.parametrize(("name", "input"), [("shell", "ls"), ("python_exec", "1 + 1"), ("note", "Hello from")])
def test_a_tool_with_free_text_input_gets_a_runnable_command(name, input):
    pick = choose(offer(Tool(name, kind="custom")))
    assert pick.input.startswith(input)


def test_codex_in_its_code_mode_runs_the_command_in_a_script():
    about = "Run JavaScript; nested tools are functions, for example `await tools.exec_command(...)`"
    script = Tool("functions__exec", about, kind="custom", format={"type": "grammar"})
    pick = choose(offer("functions__wait", script, "collaboration__spawn_agent"))
    assert pick.input == 'text((await tools.exec_command({cmd: "ls"})).output)'


def test_a_call_whose_input_no_value_fits_is_made_only_if_it_must_be():
    tool = Tool("get_nothing", schema={"type": "object", "properties": {"x": False}, "required": ["x"]})
    assert choose(offer(tool)) is None
    pick = choose(offer(tool, mode="required"))
    assert pick.input == "{}"


# Texts of answers


@each_row(
    ("texts", "said"),
    [
        (["<system-reminder>be brief</system-reminder>", "Hello"], "Hello"),
        (["Hello", "<system-reminder>be brief</system-reminder>"], "Hello"),
        (["<environment_context><cwd>/</cwd></environment_context>"], ""),
        (["<task>\nHello\n</task>\n<environment_details>long</environment_details>"], "Hello"),
        (['"Hello"'], "Hello"),
        (["Is <b>this</b> bold?"], "Is <b>this</b> bold?"),
    ],
    ids=["before", "behind", "alone", "wrapped", "quoted", "markup"],
)
def test_the_persons_words_are_repeated_without_those_of_the_program(texts, said):
    call = offer(messages=(Message("user", tuple(map(TextPart, texts))),))
    assert f"You said: “{said}”." in text(call)


@each_row(
    ("result", "is_error", "shown"),
    [
        ("a.txt\nb.txt", False, "which returned:\n\n```\na.txt\nb.txt\n```"),
        ("", False, "which returned nothing."),
        ("no such command", True, "which failed:\n\n```\nno such command\n```"),
        ("Chunk ID: 1\nProcess exited with code 0\nOutput:\n", False, "which returned nothing."),
        ("x" * 5000, False, "xx…\n```"),
    ],
    ids=["text", "nothing", "failure", "codex", "long"],
)
def test_the_answer_to_a_result_reports_the_call_and_its_outcome(result, is_error, shown):
    call = offer(SHELL)
    pick = choose(call)
    assert pick is not None
    answer = text(add_result(call, pick, result, is_error))
    assert 'your program ran Bash with `{"command": "ls"}`, ' in answer
    assert shown in answer
    assert "stand-in" in answer


def test_a_new_question_is_answered_automatically():
    call = offer(SHELL)
    pick = choose(call)
    assert pick is not None
    ended = add_result(call, pick)
    further = attrs.evolve(ended, messages=(*ended.messages, Message("user", (TextPart("And now?"),))))
    assert choose(further) is None
    assert "You said: “And now?”." in text(further)
    assert "two files" not in text(further)


@pytest.mark.parametrize(
    ("instruction", "said", "title"),
    [
        ("You are a title generator. You output ONLY a title.", "what is in this folder?", "What is in this folder"),
        ("Generate a concise title", "<session>\nfix the tests\n</session>\n\nIn English.", "Fix the tests"),
        ("Generate a title for this conversation", "x" * 90, "X" + "x" * 48 + "…"),
    ],
    ids=["opencode", "claude", "long"],
)  # fmt: skip
def test_a_request_for_a_title_gets_only_a_title(instruction, said, title):
    turns = (Message("system", (TextPart(instruction),)), Message("user", (TextPart(said),)))
    assert text(offer(messages=turns)) == title


def test_talk_of_titles_is_answered_like_other_talk():
    assert "stand-in" in text(offer(said="Which title has that book?"))


def test_a_schema_is_filled_with_words_that_describe_themselves():
    schema = {
        "type": "object",
        "properties": {"title": {"type": "string"}, "answer": {"type": "string"}, "city": {"type": "string"},
                       "people": {"type": "integer", "minimum": 5}},
        "required": ["title"], "additionalProperties": False,
    }  # fmt: skip
    assert json.loads(text(offer(format=Format("json_schema", "x", schema)))) == {
        "title": "What is in this folder", "answer": "This is the stand-in model of trigate.", "city": "Paris",
        "people": 5,
    }  # fmt: skip


def test_json_without_a_schema_is_an_object():
    answer = json.loads(text(offer(format=Format("json_object"))))
    assert answer == {"answer": "This is the stand-in model of trigate."}


def test_a_schema_that_nothing_fits_is_refused_by_name():
    schema = {"type": "object", "properties": {"x": False}, "required": ["x"]}
    with pytest.raises(GatewayError, match="cannot find a value that fits") as raised:
        text(offer(format=Format("json_schema", "x", schema, at="response_format")))
    assert (raised.value.info.status, raised.value.info.param) == (400, "response_format")


# Recorded requests, those of real programs among them


def readable() -> Iterator[tuple[str, Request]]:
    for request in requests():
        with contextlib.suppress(GatewayError):
            yield request.key, CODECS[request.api].read_request(request.body)


RECORDED = dict(readable())
recorded = pytest.mark.skipif(not RECORDED, reason=ABSENT)


def picks(request: Request) -> Iterator[ToolPick]:
    """Yield the calls of a conversation that receives the results, three at most."""
    for _ in range(3):
        pick = choose(request)
        if pick is None:
            return
        yield pick
        request = add_result(request, pick)


def judge(schema: Any, text: str) -> None:
    jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)(schema).validate(json.loads(text))


@recorded
def test_recorded_programs_get_at_most_one_harmless_call():
    for name, call in RECORDED.items():
        with case(name):
            made = list(picks(call))
            for pick in made:
                if pick.tool.kind == "function":
                    judge(pick.tool.schema or {}, pick.input)
            if call.tool_choice is None or call.tool_choice.mode == "auto":
                assert len([pick for pick in made if "final" not in pick.tool.name]) <= 1
                assert not AVOIDED_WORDS & {
                    word for pick in made for word in split_words(pick.tool.name.rpartition("__")[2])
                }


FORMATS = {key: call for key, call in RECORDED.items() if call.format and call.format.kind == "json_schema"}


@recorded
@pytest.mark.parametrize("call", FORMATS.values(), ids=FORMATS)
def test_recorded_formats_are_filled(call):
    judge(call.format.schema, text(attrs.evolve(call, tools=())))
