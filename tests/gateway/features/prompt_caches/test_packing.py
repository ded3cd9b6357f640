"""Prompts as few bytes."""

import json
import re
from typing import Any

from gateway.features.prompt_caches.differences import first_difference
from gateway.features.prompt_caches.positions import boundary_positions, each_anchor, lookup_positions
from gateway.features.prompt_caches.prompts import LARGEST, PromptDigest, pack_prompts, unpack_prompts
from gateway.features.prompt_caches.rows import blocks_of
from streams.events import APIS
from tests.support.cached_prompts import KEY, read, request_of, row_of, tool_of, user_item
from tests.support.each_row import each_row
from tests.support.recorded_turns import HISTORY

MARKER = "zanzibar-7731-secret-marker"


def remember(prompt: PromptDigest, most: int = LARGEST) -> PromptDigest:
    """Return a prompt as the memory returns it."""
    kept = prompt.to_remember(most)
    assert kept.memory_size <= most
    data = pack_prompts(kept, None)
    assert len(data) <= most
    return unpack_prompts(data)[0]


def _facts(prompt: PromptDigest) -> list[Any]:
    return [blocks_of(prompt.tools + prompt.system + prompt.history), prompt.tool_parts, prompt.chunks, prompt.marks]


@each_row("api", APIS)
@each_row("rounds", [0, 3, 60])
def test_a_remembered_prompt_is_the_same(api: str, rounds: int):
    prompt = read(api, request_of(api, rounds) | {"tool_choice": "auto", "reasoning_effort": "low"})
    other = remember(prompt, 100_000)
    assert _facts(other) == _facts(prompt)
    assert other.size == prompt.size
    assert [other.prefix(position) for position in range(other.end + 1)] == [
        prompt.prefix(position) for position in range(prompt.end + 1)
    ]
    assert boundary_positions(other, row_of(api)) == boundary_positions(prompt, row_of(api))
    assert lookup_positions(other, row_of(api)) == lookup_positions(prompt, row_of(api))
    assert [*each_anchor(other, KEY)] == [*each_anchor(prompt, KEY)]


@each_row("most", [LARGEST, LARGEST // 2, 3000], every=2)
def test_a_remembered_prompt_fits(most: int):
    system = "".join(f"{number} times a rule. " for number in range(2000))
    items = [user_item("messages", f"Message {number}") for number in range(2000)]
    prompt = read("messages", request_of("messages", 0, system=system) | {"messages": items})
    other = remember(prompt, most)
    assert other.prefix(other.end) == prompt.prefix(prompt.end)
    assert other.size == prompt.size
    last = other.block_before(other.end)
    assert last.path == "messages[1999].content[0]"


@each_row("most", [LARGEST, LARGEST // 2])
@each_row("place", [0, 9_000, 14_000, 40_000])
def test_a_difference_is_located_correctly_with_few_chunks_too(most: int, place: int):
    texts = ["".join(f"Rule {number} of many. " for number in range(2_500))]
    texts.append(f"{texts[0][:place]}It is 09:31. {texts[0][place:]}")
    old, new = (read("chat", request_of("chat", 60, system=text)) for text in texts)
    found = first_difference(remember(old, most), new)
    span = re.fullmatch(r"messages\[0\]:(\d+)-(\d+) \(\w+\)", found.at)
    assert int(span[1]) <= place < int(span[2])


def test_a_prompt_with_too_many_tools_is_not_remembered():
    tools = [tool_of("messages", f"tool_{number}") for number in range(2000)]
    assert read("messages", request_of("messages", 0, tools=tools)).to_remember() is None


@each_row("api", APIS)
def test_no_text_is_remembered(api: str):
    text = json.dumps(request_of(api, 2, system=f"{MARKER} " * 30, tools=[tool_of(api, MARKER, MARKER)]))
    body = json.loads(text.replace("Reading", MARKER).replace("/src", MARKER).replace("Text of", MARKER))
    body["metadata"] = {"user_id": MARKER}
    body["tool_choice"] = {"type": "tool", "name": MARKER}
    prompt = read(api, body)
    shown = [repr(prompt), repr(prompt.settings), str(pack_prompts(prompt, None)), repr(_facts(remember(prompt)))]
    assert [text for text in shown if "zanzibar" in text] == []
    assert HISTORY[api] in body
