"""Requests as blocks: their paths, and which changes of the bytes are changes of the prompt."""

import json
from typing import Any

import pytest

from gateway.features.prompt_caches.blocks import read_prompt
from gateway.features.prompt_caches.positions import continue_prompt, each_anchor
from gateway.features.prompt_caches.prompt_blocks import HEAD, TAIL
from gateway.features.prompt_caches.prompts import PromptDigest
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
    assert (prompt.tools[-1].path, prompt.system[-1].path, prompt.history[-1].path) == _PATHS[api]
    assert [block.kind for block in prompt.history if block.role != "assistant"] == ["text", "tool_result"]
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
    assert read(api, body).history[-1].mark == ""
    assert read(api, bare).history[-1].mark is None


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
    assert read("messages", other).system[0].path == "system[1]"


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
    start = {"tools": 0, "system": len(first.tools), "history": first.history_start}[setting.section]
    assert changed == [position >= start for position in range(first.end)]


def test_ids_of_items_are_no_part_of_the_prompt():
    items: list[dict[str, Any]] = [{"type": "function_call_output", "call_id": "c", "output": "ok"}]
    named = [{**items[0], "id": "fc_1", "status": "completed"}]
    assert _prefixes(read("responses", {"input": items})) == _prefixes(read("responses", {"input": named}))


@each_row("api", APIS, every=3)
def test_long_histories_keep_their_first_and_last_blocks(api: str):
    items = [user_item(api, f"Message number {number} of a long list") for number in range(1000)]
    prompt = read(api, {HISTORY[api]: items})
    assert prompt.end == 1000
    assert (len(prompt.history), prompt.head, prompt.gap) == (HEAD + TAIL, HEAD, 1000 - HEAD - TAIL)
    known = read(api, {HISTORY[api]: items[: 1000 - TAIL]})
    assert prompt.history_digest(1000 - TAIL) == known.history_digest(known.end)
    assert prompt.size == known.size + sum(block.size for block in prompt.history[HEAD:])


@each_row("api", APIS)
@each_row("before", [3, 400])
def test_a_turn_continues_the_messages_that_its_provider_keeps(api: str, before: int):
    items = [user_item(api, f"Message number {number} of a long list") for number in range(before)]
    new = [user_item(api, "And another one, which is the last of all")]
    whole = read(api, {HISTORY[api]: items + new})
    continued = continue_prompt(read(api, {HISTORY[api]: items}), read(api, {HISTORY[api]: new}), KEY)
    assert continued.prefix(continued.end) == whole.prefix(whole.end)
    assert continued.size == whole.size
    assert continued.block_before(continued.end) is not None


@each_row("api", APIS)
def test_the_next_turn_has_the_last_anchor_of_the_one_before(api: str):
    first, second = read(api, request_of(api, 3)), read(api, request_of(api, 4))
    earlier, later = [*each_anchor(first, KEY)], [*each_anchor(second, KEY)]
    last = earlier[0]
    assert last.digest in {anchor.digest for anchor in later[1:]}
    assert earlier[-1].digest == later[-1].digest
    assert last.position == first.end


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


@pytest.mark.sample(2)
@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("value", [None, 7, "text", {}, [], [1, None, "x"], [{}], [{"role": 3, "content": 4}]])
def test_odd_requests_are_read_or_refused_without_an_error(api: str, value: Any):
    for member in ("tools", "system", "instructions", "systemInstruction", "toolConfig", HISTORY[api]):
        body = request_of(api, 1) | {member: value}
        prompt = read_prompt(api, json.dumps(body).encode(), row_of(api), KEY)
        assert prompt is None or prompt.end >= 0


_SURROGATE = b'{"messages":[{"role":"user","content":"\\ud800"}]}'


@each_row("body", [b"", b"[]", b"nonsense", b'{"messages":[' + b"[" * 5000, _SURROGATE])
def test_bodies_that_are_no_request_have_no_prompt(body: bytes):
    assert read_prompt("messages", body, row_of("messages"), KEY) is None


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
    assert any(block.mark is not None for block in marked.history[-2:])
