"""The memory of parts that were read before."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.features.prompt_caches import memo as memo_module
from gateway.features.prompt_caches.items import OBJECT
from gateway.features.prompt_caches.memo import PromptMemo
from gateway.features.prompt_caches.prompts import PromptDigest, pack_prompts
from gateway.features.prompt_caches.reading import members_of
from providers.catalog.prompt_caching import ROWS, CachingRow
from streams.events import APIS
from streams.surrogates import NOT_JSON
from tests.support.cached_prompts import read, request_of, user_item
from tests.support.each_row import each_row
from tests.support.examples import examples
from tests.support.recorded_turns import HISTORY


def _facts(prompt: PromptDigest) -> tuple[Any, ...]:
    return prompt.prefix(prompt.end), prompt.has_answer, prompt.marks, pack_prompts(prompt, None)


@each_row("api", APIS, every=2)
def test_turns_are_read_as_without_a_memo(api: str):
    memo = PromptMemo[Any]()
    for rounds in (0, 1, 2, 2, 5, 3, 60, 61):
        body = request_of(api, rounds)
        assert _facts(read(api, body, memo=memo)) == _facts(read(api, body))


_SETTINGS = {
    "chat": {"reasoning_effort": "low", "tool_choice": "auto"}, "responses": {"reasoning": {"effort": "low"}},
    "messages": {"tool_choice": {"type": "auto"}, "thinking": {"type": "adaptive"}, "cache_control": {"ttl": "1h"}},
    "converse": {"additionalModelRequestFields": {"thinking": {"type": "adaptive"}}},
}  # fmt: skip


@each_row("api", _SETTINGS, every=2)
def test_a_request_is_read_by_the_rules_of_each_model_that_receives_it(api: str):
    """A fallback may have another row, with other members in its key."""
    body, headers = {**request_of(api, 2), **_SETTINGS[api]}, {"b": "value"}
    rows = [*{repr(row): row for models in ROWS.values() for _, row in models}.values()]
    rows += [CachingRow(settings=tuple((f"header:{name}", "tools") for name in names)) for names in ("ab", "bc")]
    memo, without = PromptMemo[Any](), [read(api, body, row, headers=headers) for row in rows]
    for row, expected in (*zip(rows, without, strict=True), *zip(rows, without, strict=True)):
        found = read(api, body, row, memo, headers)
        assert _facts(found) == _facts(expected)
        assert [(one.name, one.section) for one in found.settings] == [
            (one.name, one.section) for one in expected.settings
        ]
        assert (found.end_mark, found.lifetime) == (expected.end_mark, expected.lifetime)


def test_stored_turns_are_read_as_without_a_memo():
    memo = PromptMemo[Any]()
    for turns in (0, 1, 2, 5, 40, 41):
        stored = [{"id": f"msg_{number}", **user_item("responses", f"Question {number}")} for number in range(turns)]
        own = [user_item("responses", text) for text in (f"Question {turns}", "and another one")]
        body = {"input": [*stored, *own]}
        assert _facts(read("responses", body, memo=memo, earlier=turns)) == _facts(read("responses", body))


MARK = {"cache_control": {"type": "ephemeral"}}


def marked_item(api: str, text: str) -> dict[str, Any]:
    """Return a message of the user that ends with a mark, which the API may not know."""
    item = user_item(api, text)
    for name in ("content", "parts"):
        if isinstance(content := item.get(name), list) and content:
            return {**item, name: [*content[:-1], {**content[-1], **MARK}]}
    return {**item, "content": [{"type": "text", "text": text, **MARK}]}


_STEPS = st.sampled_from(
    ["append", "append", "append", "repeat", "go back", "edit", "drop first", "mark two", "mark none", "spaces"]
)


@settings(max_examples=examples(100))
@given(st.sampled_from(APIS), st.lists(st.tuples(_STEPS, st.text(max_size=40), st.integers(0, 30)), max_size=14))
def test_any_turns_are_read_as_without_a_memo(api: str, steps: list[tuple[str, str, int]]):
    """Marks may move, and the client may change its messages or the spaces between them."""
    memo, texts, marks, indent = PromptMemo[Any](), ["start"], 1, None
    for step, text, at in steps:
        marks = {"mark two": 2, "mark none": 0}.get(step, marks if step == "repeat" else 1)
        match step:
            case "append" | "mark two" | "mark none":
                texts.append(text)
            case "go back":
                texts = [*texts[: at % len(texts)], text]
            case "edit":
                texts[at % len(texts)] = text
            case "drop first" if len(texts) > 1:
                texts = texts[1:]
            case "spaces":
                indent = 1 if indent is None else None
        first = len(texts) - marks
        items = [(marked_item if number >= first else user_item)(api, one) for number, one in enumerate(texts)]
        if api == "responses":
            items = [{**item, "id": f"msg_{number}"} for number, item in enumerate(items)]
        body = json.dumps({HISTORY[api]: items}, indent=indent).encode()
        assert _facts(read(api, body, memo=memo)) == _facts(read(api, body))


@settings(max_examples=examples(60))
@given(
    st.lists(st.tuples(st.text(max_size=20), st.sampled_from(["", '"messages":['])), min_size=1, max_size=6),
    st.sampled_from(['{"model":"m","messages":%s}', '{"messages":%s,"n":1}', '{"messages":[],"messages":%s}',
                     '{"a":{"messages":%s},"messages":%s}', '{"messages":%s,"messages":[1]}', '{"a":[%s]}', "%s"]),
    st.sampled_from(["", "]", "}", "x"]),
)  # fmt: skip
def test_all_members_of_a_body_with_a_known_history_are_read(texts: list[tuple[str, str]], form: str, end: str):
    """The known beginning of a history is not decoded again, also in odd requests."""
    memo, items = PromptMemo[Any](), [user_item("chat", text + more) for text, more in texts]
    read("chat", {"messages": items[:-1] or items}, memo=memo)
    messages = json.dumps(items, separators=(",", ":"), ensure_ascii=False)
    body = (form.replace("%s", messages) + end).encode()
    try:
        expected = {name: bytes(value) for name, value in OBJECT.decode(body).items()}
    except NOT_JSON:
        with pytest.raises(NOT_JSON):
            members_of("chat", body, memo)
    else:
        assert {name: bytes(value) for name, value in members_of("chat", body, memo)[0].items()} == expected


@pytest.mark.parametrize("steps", [(2, 3, 4), (2, 3, 3, 4), (2, 3, 4, 3, 4)])
def test_a_history_is_known_up_to_its_mark_when_that_moves(steps: tuple[int, ...]):
    """The client may also repeat a request before the next one, or return to an earlier turn."""
    memo, texts = PromptMemo[Any](), [f"Message {number} of a conversation" for number in range(5)]

    def items_of(count: int) -> list[Any]:
        return [*(user_item("messages", one) for one in texts[: count - 1]), marked_item("messages", texts[count - 1])]

    for count in steps:
        read("messages", json.dumps({"messages": items_of(count)}).encode(), memo=memo)
    found = memo.find("messages:messages", memoryview(json.dumps(items_of(5)).encode()))
    assert found.checkpoint.items == 3


def test_reading_is_linear():
    """With 25,000 blocks the time of one block is that of 2,500 blocks."""
    times = []
    for count in (2_500, 25_000):
        item = json.dumps(user_item("messages", "A short message")).encode()
        body = b'{"messages":[' + b",".join([item] * count) + b"]}"
        started = time.thread_time()
        prompt = read("messages", body)
        times.append((time.thread_time() - started) / count)
        assert prompt.end == count
    assert times[1] < 3 * times[0]


def test_the_memo_of_many_blocks_is_bounded(monkeypatch):
    """Otherwise a client with 200,000 blocks in each of its histories would use 50 MB."""
    monkeypatch.setattr(memo_module, "MOST_MEMO", 2**18)
    memo = PromptMemo[Any]()
    item = json.dumps(user_item("messages", "A short message")).encode()
    for number in range(5):
        first = json.dumps(user_item("messages", f"Conversation {number}")).encode()
        read("messages", b'{"messages":[' + b",".join([first, *[item] * 4_000]) + b"]}", memo=memo)
        assert 0 < memo.size <= 2**18


@pytest.mark.parametrize("api", ["messages", pytest.param("chat", marks=pytest.mark.soak)])
def test_long_system_texts_count_with_their_chunks(api: str, monkeypatch):
    monkeypatch.setattr(memo_module, "MOST_MEMO", 2**19)
    memo, sizes = PromptMemo[Any](), []
    for number in range(8):
        texts = [f"{number} {text} ".ljust(16_500, "x") for text in range(20)]
        body: dict[str, Any] = {"messages": [user_item("messages", "Hello")]}
        if api == "messages":
            body["system"] = [{"type": "text", "text": text} for text in texts]
        else:
            body["messages"][:0] = [{"role": "system", "content": text} for text in texts]
        prompt = read(api, body, memo=memo)
        chunks = sum(map(len, prompt.chunks.values()))
        assert chunks > 20 * 100 * 8
        sizes.append(memo.size)
    assert sizes[0] > chunks
    assert sizes[0] < sizes[1] <= max(sizes) <= 2**19


def test_the_memo_is_bounded_and_forgets_the_oldest():
    memo = PromptMemo[Any]()
    bodies = [json.dumps({"messages": [user_item("chat", f"Conversation {number}")]}).encode() for number in range(50)]
    for body in bodies:
        read("chat", body, memo=memo)
    raw = [body.removeprefix(b'{"messages": ')[:-1] for body in bodies]
    known = [memo.find("chat:messages", memoryview(one + b" ")) is not None for one in raw]
    assert known == [False] * 18 + [True] * 32
