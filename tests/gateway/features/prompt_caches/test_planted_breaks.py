"""Breaks planted into conversations: each one has its own cause, and turns without a break have none."""

import copy
import itertools
import json
from typing import Any

import pytest

from gateway.features.prompt_caches.conversations import CacheScope
from gateway.features.prompt_caches.values import header_of
from streams.events import APIS
from tests.support.cache_turns import CacheTurns
from tests.support.cached_prompts import SYSTEM, request_of, round_items, row_of, tool_of, user_item
from tests.support.each_row import each_row
from tests.support.recorded_turns import HISTORY

_NAMES = ("read_file", "write_file", "run_command", "search", "list_files")
_WITH_MARKS = ("messages", "converse")


def _tools(api: str, *names: str) -> list[dict[str, Any]]:
    return [tool_of(api, name) for name in names or _NAMES]


def _break_turns(api: str, before: dict[str, Any], after: dict[str, Any] | bytes, **facts: Any) -> CacheTurns:
    """Return the turns of a conversation whose last request is ``after`` instead of one that continues ``before``."""
    turns = CacheTurns(api)
    turns.send(before)
    turns.send(after, 0, **facts)
    return turns


# The client's changes


CLOCKS = [
    ("It is 09:31:07 now. ", "It is 09:31:08 now. ", "time"),
    ("Today is Monday, 23 November 2026. ", "Today is Tuesday, 24 November 2026. ", "date"),
    ("Date: 2026-11-23. ", "Date: 2026-11-24. ", "date"),
    ("Run 3f2b8c1e-7d10-4a52-9d2c-0d9e51b1c7aa. ", "Run 9c2b8c1e-7d10-4a52-9d2c-0d9e51b1c7bb. ", "uuid"),
    ("Commit 3f2b8c1e7d. ", "Commit 9c2b8c1e7d. ", "hash"),
    ("There are 17 files. ", "There are 18 files. ", "number"),
    ("You are kind, at 09:31:07. ", "You are rude, at 09:31:07. ", "changed"),
    ("You are kind. ", "You are rude. ", "changed"),
]
"""Texts, the same ones later, and the kind of the difference."""


@each_row(("api", "clock"), zip(itertools.cycle(APIS), CLOCKS, strict=False))
def test_a_clock_in_the_system_text(api: str, clock: tuple[str, str, str]):
    """https://github.com/goruck/home-generative-agent/issues/617"""
    text, other, kind = clock
    turns = _break_turns(
        api, request_of(api, 30, system=SYSTEM[:1000] + text + SYSTEM),
        request_of(api, 31, system=SYSTEM[:1000] + other + SYSTEM),
    )  # fmt: skip
    path = {
        "chat": "messages[0]", "responses": "instructions", "gemini": "systemInstruction.parts[0]",
        "interactions": "system_instruction",
    }  # fmt: skip
    assert turns.causes == ["system"]
    assert turns.at.startswith(f"{path.get(api, 'system[0]')}:960-10")
    assert turns.at.endswith(f"({kind})")
    assert "cause=system" in str(header_of(turns.prediction))


GOOGLES = ("gemini", "interactions")

_TOOLS_PATH = {
    "messages": "tools[{}]", "chat": "tools[{}]", "responses": "tools[{}]", "converse": "toolConfig.tools[{}]",
    "gemini": "tools[0].functionDeclarations[{}]", "interactions": "tools[{}]",
}  # fmt: skip
_TOOL_WORDS = {
    "messages": (".description", ".input_schema"), "chat": (".function.description", ".function.parameters"),
    "responses": (".description", ".parameters"), "gemini": (".description", ".parameters"),
    "interactions": (".description", ".parameters"),
    "converse": (".toolSpec.description", ".toolSpec.inputSchema"),
}  # fmt: skip


TOOLS = [
    (("read_file", "search", "write_file", "run_command", "list_files"), "PATH1 (reordered)"),
    (
        ("read_file", "mcp_one", "mcp_two", "write_file", "run_command", "search", "list_files"),
        "tools: 2 added at [1]",
    ),
    ((*_NAMES, "mcp_one"), "tools: 1 added at [5]"),
    (("read_file", "run_command", "search", "list_files"), "tools: 1 removed at [1]"),
    (_NAMES[:3], "tools: 2 removed at [3]"),
    (("read_file", "write_all", *_NAMES[2:]), "PATH1 (changed)"),
]
"""Tools that come after ``_NAMES``, and where the difference is."""


@each_row(("api", "tools"), [(api, one) for at, api in enumerate(APIS) for one in (TOOLS[at], TOOLS[at - 1])])
def test_other_tools(api: str, tools: tuple[tuple[str, ...], str]):
    """https://github.com/coder/aibridge/issues/49 (an order that changes), and tools of a server that appear later."""
    names, at = tools
    before = request_of(api, 30, tools=_tools(api))
    turns = _break_turns(api, before, request_of(api, 31, tools=_tools(api, *names)))
    assert turns.causes == ["tools"]
    assert turns.at == at.replace("PATH1", _TOOLS_PATH[api].format(1))


@each_row("api", APIS)
def test_another_description_or_schema_of_a_tool(api: str):
    tools = _tools(api)
    before = request_of(api, 30, tools=tools)
    path, (description, schema) = _TOOLS_PATH[api].format(3), _TOOL_WORDS[api]
    turns = _break_turns(
        api, before, request_of(api, 31, tools=[*tools[:3], tool_of(api, "search", "Other"), tools[4]])
    )
    assert (turns.causes, turns.at) == (["tools"], f"{path}{description} (changed)")
    other = tool_of(
        api,
        "search",
        schema={"properties": {"path": {"description": "The path for search", "type": "string"}}, "type": "object"},
    )
    turns = _break_turns(api, before, request_of(api, 31, tools=[*tools[:3], other, tools[4]]))
    assert (turns.causes, turns.at) == (["tools"], f"{path}{schema} (respelled)")


@each_row(
    ("api", "settings", "at"),
    [
        ("messages", {"tool_choice": {"type": "any"}}, "tool_choice"),
        ("messages", {"thinking": {"type": "disabled"}}, "thinking"),
        ("messages", {"output_config": {"effort": "low"}}, "output_config.effort"),
        ("messages", {"speed": "fast"}, "speed"),
        (
            "converse",
            {"additionalModelRequestFields": {"thinking": {"type": "adaptive"}}},
            "additionalModelRequestFields.thinking",
        ),
        ("chat", {"reasoning_effort": "low"}, "reasoning_effort"),
        ("chat", {"response_format": {"type": "json_object"}}, "response_format"),
        ("chat", {"parallel_tool_calls": False}, "parallel_tool_calls"),
        ("responses", {"reasoning": {"effort": "high"}}, "reasoning.effort"),
        ("responses", {"text": {"verbosity": "low"}}, "text.verbosity"),
    ],
)
def test_settings_that_are_in_the_key(api: str, settings: dict[str, Any], at: str):
    turns = _break_turns(api, request_of(api, 30), request_of(api, 31) | settings)
    assert (turns.causes, turns.at) == (["settings"], at)


@each_row("is_edited", [False, True])
def test_another_beta_is_a_setting(is_edited: bool):
    """The gateway may have changed the body; the client's beta is still its own."""
    turns = CacheTurns("messages")
    for rounds, betas in ((30, "one"), (31, "one,two")):
        body = request_of("messages", rounds)
        turns.send(body, 0, client_body=body if is_edited else None, headers={"anthropic-beta": betas})
    assert (turns.causes, turns.at) == (["settings"], "anthropic-beta")


@each_row("api", APIS)
@each_row(
    ("how", "number", "removed", "added"), [("changed", 0, 1, 1), ("removed", 0, 3, 0), ("added", 3, 0, 1)]
)  # fmt: skip
def test_another_history(api: str, how: str, number: int, removed: int, added: int):
    before, after = request_of(api, 30), request_of(api, 31)
    at = number + (api == "chat")
    after[HISTORY[api]][at : at + removed] = [user_item(api, "Please read no file of this project at all.")] * added
    turns = _break_turns(api, before, after)
    part = {"messages": ".content[0]", "converse": ".content[0]", "gemini": ".parts[0]"}.get(api, "")
    path = f"{HISTORY[api]}[{at}]{part if how == 'changed' else ''}"
    assert (turns.causes, turns.at) == (["history"], f"{path} ({how})")


def test_a_reminder_moves():
    """Claude Code appends a reminder to the last message, and moves it in the next turn."""
    reminder = {"type": "text", "text": "<system-reminder>The user opened a file in the editor.</system-reminder>"}
    bodies = [request_of("messages", rounds) for rounds in (30, 31)]
    for body in bodies:
        mark = body["messages"][-1]["content"][-1].pop("cache_control")
        body["messages"][-1]["content"].append({**reminder, "cache_control": mark})
    turns = _break_turns("messages", *bodies)
    assert (turns.causes, turns.at) == (["history"], "messages[60].content[1] (removed)")


@pytest.mark.parametrize(
    ("api", "old", "new"),
    [("messages", '{"path": "/src/4.py"}', '{"path":"\\u002fsrc/4.py"}'), ("chat", '\\"path\\": ', '\\"path\\":')],
)
def test_arguments_in_another_spelling(api: str, old: str, new: str):
    text = json.dumps(request_of(api, 31))
    assert old in text
    turns = _break_turns(api, request_of(api, 30), text.replace(old, new, 1).encode())
    assert turns.causes == ["history"]
    assert str(turns.at).endswith("(respelled)")


def test_a_difference_in_the_forgotten_middle_is_a_range():
    body = {"messages": [user_item("chat", f"Message {number} of a long conversation. " * 3) for number in range(600)]}
    after = copy.deepcopy(body)
    after["messages"][200] = user_item("chat", "Something else")
    after["messages"].append(user_item("chat", "The newest message"))
    turns = _break_turns("chat", body, after)
    assert (turns.causes, turns.at) == (["history"], "messages[32..375] (changed)")


def test_compaction():
    items = {"type": "compaction", "encrypted_content": "…"}
    compacted = request_of("responses", 31)
    compacted["input"][:-6] = [items]
    turns = _break_turns("responses", request_of("responses", 30), compacted)
    assert turns.causes == ["compacted"]
    summary = request_of("messages", 0) | {"messages": [user_item("messages", "A summary of the work. " * 50)]}
    turns = CacheTurns("messages")
    turns.send(request_of("messages", 30), session="a session")
    turns.send(summary, 0, session="a session")
    assert turns.causes == ["compacted"]


@each_row("api", APIS)
def test_a_rewind_and_forks_miss_nothing(api: str):
    """https://github.com/mweinbach/open-grok/issues/19"""
    turns = CacheTurns(api)
    start = turns.send(request_of(api, 30))
    turns.send(request_of(api, 34))
    for name in ("one", "two", "three"):
        body = request_of(api, 30)
        body[HISTORY[api]] += [*round_items(api, 77, name * 50), user_item(api, f"Try {name} instead")]
        turns.send(body)
        assert (turns.causes, turns.verdict.missed) == ([], 0)
        assert turns.verdict.could == start


@each_row("api", APIS)
def test_the_billing_line_image_and_new_messages_miss_nothing(api: str):
    turns = CacheTurns(api)
    turns.send(request_of(api, 30))
    body = request_of(api, 31)
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGVsbG8="}}
    if api == "messages":
        body["system"].insert(0, {"type": "text", "text": "x-anthropic-billing-header: cch=9;"})
        body["messages"][-1]["content"].append(image)
    else:
        body[HISTORY[api]].append(user_item(api, "A very long new message. " * 5000))
    turns.send(body)
    assert (turns.causes, turns.verdict.missed) == ([], 0)


# The gateway's changes


_ELSEWHERE = CacheScope(b"other", "gpu-2")


@each_row("api", APIS)
def test_a_move_to_another_target(api: str):
    turns = CacheTurns(api)
    turns.send(request_of(api, 30), scope=CacheScope(b"one", "gpu-1"))
    turns.send(request_of(api, 31), 0, scope=_ELSEWHERE, move="busy")
    assert (turns.causes, turns.at) == (["moved"], "gpu-1>gpu-2 (busy)")
    assert turns.verdict.readable == 0
    turns.send(request_of(api, 32), scope=_ELSEWHERE)
    assert turns.causes == []


@each_row("cause", ["model", "key", "tier"], every=3)
@each_row("api", APIS)
def test_the_client_selects_another_cache_and_returns(api: str, cause: str):
    turns = CacheTurns(api)
    first = turns.send(request_of(api, 30), scope=CacheScope(b"one", "a/one"))
    turns.send(request_of(api, 31), 0, scope=CacheScope(b"two", "a/two", **{cause: b"other"}))
    assert (turns.causes, turns.at) == ([cause], None)
    turns.send(request_of(api, 32), scope=CacheScope(b"one", "a/one"))
    assert turns.verdict.read == turns.verdict.readable == first, "the cache that it left is still warm"


def test_another_cache_key_that_routes_to_another_machine():
    """OpenAI's models before GPT-5.6 have one cache for all keys, but each key may lead to another machine."""
    turns = CacheTurns("chat")
    turns.send(request_of("chat", 30), scope=CacheScope(b"one", "a/one"))
    turns.send(request_of("chat", 31), 0, scope=CacheScope(b"one", "a/one", key=b"other"))
    assert (turns.causes, turns.at) == (["key"], None)
    turns.send(request_of("chat", 32), 0, scope=CacheScope(b"one", "a/one", key=b"other"))
    assert turns.causes == ["provider"]


@each_row("api", APIS)
def test_a_step_that_changes_the_prefix(api: str):
    """A mask with other random names in each turn: the client's own prefix is equal."""
    turns = CacheTurns(api)
    for number, rounds in enumerate((30, 31)):
        client = request_of(api, rounds)
        sent = json.loads(json.dumps(client).replace("careful", f"NAME_{number}"))
        turns.send(sent, 0, client_body=client, edits=("steps.mask",))
    assert turns.causes == ["edited"]
    assert turns.at.startswith("steps.mask: ")


@each_row("api", APIS)
def test_a_reload_that_changes_the_system_text(api: str):
    turns = CacheTurns(api)
    turns.send(request_of(api, 30, system="Old rule. " + SYSTEM), client_body=request_of(api, 30))
    turns.send(request_of(api, 31, system="New rule. " + SYSTEM), 0, client_body=request_of(api, 31))
    assert turns.causes == ["edited"]
    assert ":0-64" in (turns.at or "")


# Marks and time


@pytest.mark.parametrize("api", _WITH_MARKS)
def test_a_request_without_marks(api: str):
    bare = {"messages": '"cache_control": {"type": "ephemeral"}', "converse": '{"cachePoint": {"type": "default"}}'}[
        api
    ]
    unmarked = [json.loads(json.dumps(request_of(api, rounds)).replace(f", {bare}", "")) for rounds in (30, 31)]
    turns = CacheTurns(api)
    turns.send(unmarked[0])
    turns.send(unmarked[1], 0)
    assert (turns.causes, turns.at) == (["marks"], "none in the request before")
    turns.send(json.loads(json.dumps(unmarked[1]).replace("careful", "careless")), 0)
    assert turns.causes == ["marks"]  # nothing was cached, so a changed text loses nothing
    turns = _break_turns(api, request_of(api, 30), unmarked[1])
    assert (turns.causes, turns.at) == (["marks"], "none")


@pytest.mark.parametrize("api", _WITH_MARKS)
def test_too_many_rounds_in_one_turn(api: str):
    """Ten rounds of calls move the mark 20 positions; 40 calls at the same time and their results move it 2."""
    turns = CacheTurns(api)
    turns.send(request_of(api, 30))
    turns.send(request_of(api, 55), 0)
    assert (turns.causes, turns.at) == (["marks"], "no boundary in reach")
    assert turns.verdict.readable < turns.verdict.could / 2


def test_many_calls_at_the_same_time_stay_in_reach():
    first, second = request_of("messages", 30), request_of("messages", 30)
    calls = [{"type": "tool_use", "id": f"p{number}", "name": "search", "input": {}} for number in range(40)]
    results = [{"type": "tool_result", "tool_use_id": f"p{number}", "content": "found"} for number in range(40)]
    results[-1]["cache_control"] = {"type": "ephemeral"}
    second["messages"] += [{"role": "assistant", "content": calls}, {"role": "user", "content": results}]
    turns = CacheTurns("messages")
    turns.send(first)
    turns.send(second)
    assert turns.verdict.readable == turns.verdict.could
    assert turns.causes == []


@each_row("api", APIS)
@each_row("minutes", [4, 6, 61, 24 * 60 - 1])
def test_pauses(api: str, minutes: int):
    """A miss without a reason is the provider's: https://github.com/anthropics/claude-code/issues/87966"""
    lifetime = row_of(api).lifetime
    turns = CacheTurns(api)
    turns.send(request_of(api, 30))
    turns.send(request_of(api, 31), 0, after=minutes * 60)
    if lifetime is None or minutes * 60 <= lifetime:
        assert turns.causes == ["provider"]
        assert turns.verdict.idle is None
    else:
        assert turns.causes == ["expired"]
        assert turns.verdict.idle == minutes * 60


@pytest.mark.parametrize("api", _WITH_MARKS)
def test_a_lost_lifetime(api: str):
    """https://github.com/anthropics/claude-code/issues/84253"""
    hour = json.loads(
        json.dumps(request_of(api, 30))
        .replace('"ephemeral"', '"ephemeral", "ttl": "1h"')
        .replace('"default"', '"default", "ttl": "1h"')
    )
    turns = CacheTurns(api)
    turns.send(hour)
    turns.send(request_of(api, 31), after=50 * 60)
    assert turns.causes == []
    turns.send(request_of(api, 32), 0, after=6 * 60)
    assert (turns.causes, turns.at) == (["marks"], "5m after 1h")
    turns.send(request_of(api, 33), 0, after=61 * 60)
    assert turns.causes == ["expired"]


@each_row("api", APIS)
def test_a_prefix_below_the_minimum(api: str):
    turns = CacheTurns(api)
    first = turns.send(request_of(api, 8 if api in GOOGLES else 0, system=SYSTEM[:900]))
    turns.send(request_of(api, 9 if api in GOOGLES else 1, system=SYSTEM[:900]), 0)
    assert first < (row_of(api).minimum or 0)
    assert turns.causes == (["small"] if turns.verdict.missed >= 2000 else [])
    assert turns.verdict.missed == first


# The provider


def test_more_requests_than_one_machine_serves():
    turns = _break_turns("chat", request_of("chat", 30), request_of("chat", 31), rate=16)
    assert turns.causes == ["busy"]
    turns = _break_turns("chat", request_of("chat", 30), request_of("chat", 31), rate=15)
    assert turns.causes == ["provider"]


@each_row("api", APIS)
def test_a_difference_after_the_last_boundary_explains_nothing(api: str):
    """https://github.com/yuki-uix/agent-cost-lab/issues/22"""
    turns = CacheTurns(api)
    turns.send(request_of(api, 30))
    other = request_of(api, 30)
    other[HISTORY[api]].append(user_item(api, "Something that is new in this turn"))
    turns.send(other, 0)
    assert turns.causes == ["provider"]


@pytest.mark.parametrize(("tools", "causes"), [(20, []), (21, ["marks"])])
def test_a_cache_of_message_ends_searches_at_twenty_earlier_ones(tools: int, causes: list[str]):
    """https://developers.openai.com/api/docs/guides/prompt-caching"""
    turns = CacheTurns("responses")
    turns.send(request_of("responses", 30))
    turns.send(request_of("responses", 30 + tools), None if not causes else 0)
    assert turns.causes == causes


def test_the_clients_effort_is_its_own_after_a_translation():
    """The client's Chat has another member for the effort than the provider's Messages."""
    turns = CacheTurns("messages")
    for rounds, effort in ((30, "low"), (31, "high")):
        client = request_of("chat", rounds) | {"reasoning_effort": effort}
        sent = request_of("messages", rounds) | {"output_config": {"effort": effort}}
        turns.send(sent, 0, client_body=client, client_api="chat")
    assert (turns.causes, turns.at) == (["settings"], "reasoning_effort")
    turns.send(request_of("messages", 32), 0, client_body=client, client_api="chat")
    assert turns.causes == ["edited"]
