"""The memory that prompts of hostile clients occupy in a process: it is counted, and it is bounded."""

import json
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from gateway.features.prompt_caches import requests as requests_module
from gateway.features.prompt_caches.memo import PromptMemo
from gateway.features.prompt_caches.memory import PromptMemory
from gateway.features.prompt_caches.prompts import PromptDigest
from gateway.features.prompt_caches.requests import PromptReader, SentRequest
from tests.support.cached_prompts import read, sent_request
from tests.support.each_row import each_row
from tests.support.set_clock import SetClock

MANY: Final = 200
MEMO_BYTES: Final = 8 * 2**20
"""A lower bound than that of a gateway, so that few clients exceed it."""
TALK: Final = [{"role": "user", "content": "hi " * 20}, {"role": "assistant", "content": "a"}]
MARK: Final = "x" * 50


def _text(number: int, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": f"text {number}", **more}


def _marked_text(number: int) -> dict[str, Any]:
    return _text(number, cache_control={"ttl": f"{number}{MARK}"})


REQUESTS: Final[Mapping[str, Callable[[], dict[str, Any]]]] = {
    "tools": lambda: {"tools": [{"name": f"f{i}", "input_schema": {}} for i in range(MANY)], "messages": TALK},
    "system texts": lambda: {"system": [_text(i) for i in range(MANY)], "messages": TALK},
    "long system texts": lambda: {"system": [_text(i) | {"text": f"{i} a " * 900} for i in range(9)], "messages": TALK},
    "marked system texts": lambda: {"system": [_marked_text(i) for i in range(MANY)], "messages": TALK},
    "marked texts": lambda: {"messages": [{"role": "user", "content": [_marked_text(i) for i in range(MANY)]}, *TALK]},
    "marked messages": lambda: {"messages": [{"role": "user", "content": [_marked_text(i)]} for i in range(MANY)]},
    "messages": lambda: {"messages": [{"role": "user", "content": f"message {i}"} for i in range(MANY)]},
}  # fmt: skip


@contextmanager
def counted_bytes() -> Iterator[Callable[[], int]]:
    """Yield a function that returns the bytes that were allocated since, and are still in use."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield lambda: tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


def _use(prompt: PromptDigest) -> None:
    """Compute everything that a prompt computes once."""
    assert prompt.prefix(prompt.history_start)
    assert prompt.size_at(prompt.end) == prompt.size
    assert len(prompt.kinds) == len(prompt.roles) == prompt.end
    assert len(prompt.marks) <= prompt.end


@each_row("name", REQUESTS, every=4)
def test_a_memo_counts_the_memory_of_its_values(name: str):
    raw, memo = json.dumps(REQUESTS[name]()).encode(), PromptMemo[Any]()
    read("messages", json.loads(raw))  # fills caches
    body = json.loads(raw)
    with counted_bytes() as count:
        _use(read("messages", body, memo=memo))
        assert count() <= 1.3 * memo.size + 20_000


def _make_request(client: str, texts: int) -> SentRequest:
    """Return a request of ``client`` with so many system texts."""
    system = [_text(number) for number in range(texts)]
    messages = [{"role": "user", "content": f"message of {client}"}]
    return sent_request("messages", {"system": system, "messages": messages}, client=client)


def test_memos_of_many_clients_occupy_bounded_memory(monkeypatch):
    """Each client sends one request, whose prompt makes its memo large."""
    monkeypatch.setattr(requests_module, "MOST_MEMO_BYTES", MEMO_BYTES)
    reader = PromptReader(PromptMemory.make_private(2**20, SetClock()))
    for number in range(12):  # 13 MB
        assert reader.read(reader.open(_make_request(f"client {number}", 4 * MANY))) is not None
        assert reader.memo_size <= MEMO_BYTES


def test_the_memos_of_idle_clients_make_room_for_a_larger_one(monkeypatch):
    """The client that sends requests is recognized, however large its prompt is. Small memos stay."""
    monkeypatch.setattr(requests_module, "MOST_MEMO_BYTES", MEMO_BYTES)
    reader = PromptReader(PromptMemory.make_private(2**20, SetClock()))
    small = _make_request("small", 1)
    assert reader.read(reader.open(small)) is not None
    for number in range(12):
        sent = _make_request(f"client {number}", 4 * MANY + number)
        assert reader.read(reader.open(sent)) is not None
        assert reader.open(sent).new < 0
    assert reader.memo_size <= MEMO_BYTES
    assert reader.open(small).new < 0
