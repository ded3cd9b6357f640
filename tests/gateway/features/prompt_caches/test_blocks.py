"""Requests as blocks: their paths, and which changes of the bytes are changes of the prompt."""

import json
from typing import Any

import pytest

from gateway.features.prompt_caches.memory import PromptMemory
from gateway.features.prompt_caches.positions import each_anchor
from gateway.features.prompt_caches.prompts import HEAD, TAIL, PromptDigest
from gateway.features.prompt_caches.requests import PromptReader, SentRequest
from gateway.features.prompt_caches.rows import blocks_of
from gateway.features.prompt_caches.tables.kinds import TEXT, TOOL_RESULT
from gateway.features.prompt_caches.tables.layouts import ASSISTANT
from streams.events import APIS
from tests.support.cached_prompts import KEY, read, request_of, row_of, tool_of, user_item
from tests.support.each_row import each_row
from tests.support.recorded_turns import HISTORY

_PATHS = {
    "messages": ("tools[3]", "system[0]", "messages[2].content[0]"),
    "converse": ("toolConfig.tools[3]", "system[0]", "messages[2].content[0]"),
    "chat": ("tools[3]", "messages[0]", "messages[3]"),
    "responses": ("tools[3]", "instructions", "input[2]"),
    "gemini": ("tools[0].functionDeclarations[3]", "systemInstruction.parts[0]", "contents[2].parts[0]"),
    "interactions": ("tools[3]", "system_instruction", "input[2]"),
}


def _prefixes(prompt: PromptDigest) -> list[bytes | None]:
    return [prompt.prefix(position) for position in range(1, prompt.end + 1)]


@each_row("api", APIS)
def test_blocks_have_the_paths_of_the_client(api: str):
    prompt = read(api, request_of(api, 1))
    ends = [prompt.block_before(position) for position in (prompt.tool_count, prompt.history_start, prompt.end)]
    assert tuple(one.path for one in ends if one is not None) == _PATHS[api]
    assert [one.kind for one in blocks_of(prompt.history) if one.role != ASSISTANT] == [TEXT, TOOL_RESULT]
    assert prompt.has_answer


@each_row("api", APIS)
def test_white_space_between_tokens_is_no_part_of_the_prompt(api: str):
    body = request_of(api, 2)
    assert _prefixes(read(api, json.dumps(body, indent=2).encode())) == _prefixes(read(api, json.dumps(body).encode()))


@pytest.mark.parametrize("api", ["messages", "converse"])
def test_marks_are_no_part_of_the_prompt(api: str):
    body = request_of(api, 2)
    bare = json.loads(json.dumps(body).replace(', "cache_control": {"type": "ephemeral"}', ""))
    for blocks in (bare["system"], bare["messages"][-1]["content"]):
        blocks[:] = [block for block in blocks if "cachePoint" not in block]
    assert _prefixes(read(api, body)) == _prefixes(read(api, bare))
    assert read(api, body).marks[-1] == (read(api, body).end, "")
    assert read(api, bare).marks == ()


@each_row(
    ("api", "part"),
    [
        ("messages", [{"type": "text", "text": "Hello \u00e9"}]),
        ("chat", [{"type": "text", "text": "Hello \u00e9"}]),
        ("responses", [{"type": "input_text", "text": "Hello \u00e9"}]),
    ],
)
def test_a_text_is_the_same_as_a_list_with_one_text(api: str, part: list[dict[str, Any]]):
    """Claude Code sends a message as a list while it marks it, and as a text afterwards."""
    other = [{"role": "user", "content": part}]
    text = [{"role": "user", "content": "Hello \u00e9"}]
    assert _prefixes(read(api, {HISTORY[api]: text})) == _prefixes(read(api, {HISTORY[api]: other}))


def test_the_billing_line_and_deferred_tools_are_no_part_of_the_prompt():
    """https://github.com/anthropics/claude-code/issues/87966 and the page "Prompt caching" of Anthropic."""
    body = request_of("messages", 1)
    other = json.loads(json.dumps(body))
    other["system"].insert(0, {"type": "text", "text": "x-anthropic-billing-header: cc_version=2; cch=1f2e3;"})
    other["tools"].append({**tool_of("messages", "later"), "defer_loading": True})
    assert _prefixes(read("messages", body)) == _prefixes(read("messages", other))
    assert blocks_of(read("messages", other).system)[0].path == "system[1]"


@each_row(
    ("api", "member", "value"),
    [
        ("messages", "tool_choice", {"type": "any"}),
        ("messages", "output_config", {"effort": "low"}),
        ("chat", "reasoning_effort", "low"),
        ("responses", "text", {"verbosity": "low"}),
    ],
)
def test_members_of_the_key_change_the_prefix_from_their_section_on(api: str, member: str, value: Any):
    first, second = read(api, request_of(api, 1)), read(api, {**request_of(api, 1), member: value})
    (setting,) = second.settings
    changed = [old != new for old, new in zip(_prefixes(first), _prefixes(second), strict=True)]
    start = {"tools": 0, "system": first.tool_count, "history": first.history_start}[setting.section]
    assert changed == [position >= start for position in range(first.end)]


def test_ids_of_items_are_no_part_of_the_prompt():
    items: list[dict[str, Any]] = [{"type": "function_call_output", "call_id": "c", "output": "ok"}]
    named = [{**items[0], "id": "fc_1", "status": "completed"}]
    assert _prefixes(read("responses", {"input": items})) == _prefixes(read("responses", {"input": named}))


@each_row("api", APIS, every=3)
def test_long_histories_keep_their_first_and_last_blocks(api: str):
    items = [user_item(api, f"Message number {number} of a long list") for number in range(1000)]
    whole = read(api, {HISTORY[api]: items})
    prompt = whole.to_remember(100_000)
    assert prompt.end == 1000
    assert (len(blocks_of(prompt.history)), prompt.gap) == (HEAD + TAIL, 1000 - HEAD - TAIL)
    known = [number for number in range(1001) if prompt.prefix(number) is not None]
    assert known == [*range(HEAD + 1), *range(1001 - TAIL, 1001)]
    assert [prompt.prefix(number) for number in known] == [whole.prefix(number) for number in known]
    assert [prompt.size_at(number) for number in known] == [whole.size_at(number) for number in known]


@each_row("api", APIS)
@each_row("before", [3, 400])
def test_a_turn_continues_the_messages_that_its_provider_keeps(api: str, before: int):
    items = [user_item(api, f"Message number {number} of a long list") for number in range(before)]
    new = [user_item(api, "And another one, which is the last of all")]
    whole = read(api, {HISTORY[api]: items + new})
    earlier = read(api, {HISTORY[api]: items}).to_remember()
    continued = earlier.continued_by(read(api, {HISTORY[api]: new}))
    assert continued.prefix(continued.end) == whole.prefix(whole.end)
    assert continued.size == whole.size
    assert continued.block_before(continued.end) is not None


def test_the_results_of_one_message_are_one_anchor():
    results = [{"type": "tool_result", "tool_use_id": str(number), "content": "A short result"} for number in range(40)]
    body = {
        "messages": [
            user_item("messages", "Please run all of these small tools."),
            {"role": "user", "content": results},
        ]
    }
    assert [anchor.position for anchor in each_anchor(read("messages", body), KEY)] == [41, 1, 32]


def test_short_blocks_are_no_anchor():
    body = {"messages": [user_item("chat", "Explain all the files of this project"), user_item("chat", "yes")]}
    assert [anchor.position for anchor in each_anchor(read("chat", body), KEY)] == [1, 2]


def prompt_or_none(api: Any, body: bytes) -> PromptDigest | None:
    """Return the prompt of a request that may be none."""
    reader = PromptReader(PromptMemory.make_private(2**20))
    sent = SentRequest("ann", api, body, {}, row_of(api), b"account", "entry", 1.0, api)
    found = reader.read(reader.open(sent, len(body)))
    return None if found is None else found.prompt


@each_row("api", APIS)
@each_row("value", [None, 7, "text", {}, [], [1, None, "x"], [{}], [{"role": 3, "content": 4}]])
def test_odd_requests_are_read_or_refused_without_an_error(api: str, value: Any):
    for member in ("tools", "system", "instructions", "systemInstruction", "toolConfig", HISTORY[api]):
        prompt = prompt_or_none(api, json.dumps(request_of(api, 1) | {member: value}).encode())
        assert prompt is None or prompt.end >= 0


_SURROGATE = b'{"messages":[{"role":"user","content":"\\ud800"}]}'


@each_row("body", [b"", b"[]", b"nonsense", b'{"messages":[' + b"[" * 5000, _SURROGATE])
def test_bodies_that_are_no_request_have_no_prompt(body: bytes):
    assert prompt_or_none("messages", body) is None


MARKED_RESULTS = {
    "messages": {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "PARTS"}]},
    "chat": {"role": "tool", "tool_call_id": "c1", "content": "PARTS"},
    "responses": {"type": "function_call_output", "call_id": "c1", "output": "PARTS"},
}


@each_row("api", MARKED_RESULTS)
@each_row("word", ["cache_control", "prompt_cache_breakpoint"])
def test_a_mark_inside_a_tools_result_is_no_part_of_the_prompt(api: str, word: str):
    """A mark moves on in the next turn, also if it was inside a result (theopenco/llmgateway#3723)."""
    part = {"type": "input_text" if api == "responses" else "text", "text": "a.py and b.py, and a third file"}

    def prompt_of(parts: list[Any]) -> PromptDigest:
        body = request_of(api, 1)
        result = json.loads(json.dumps(MARKED_RESULTS[api]).replace('"PARTS"', json.dumps(parts)))
        return read(api, {**body, HISTORY[api]: [*body[HISTORY[api]], result]})

    marked, bare = prompt_of([part, {**part, word: {"mode": "explicit"}}]), prompt_of([part, part])
    assert _prefixes(marked) == _prefixes(bare)
    assert marked.marks[-1][0] >= marked.end - 1
