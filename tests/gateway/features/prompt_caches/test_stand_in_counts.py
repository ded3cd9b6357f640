"""Verdicts on the counts of the stand-in provider, which shares no code with them: a random edit has its cause."""

import random
from typing import Any, Final

import msgspec
import pytest

from gateway.features.prompt_caches.comparisons import PromptComparison
from gateway.features.prompt_caches.conversations import (
    Boundary,
    CacheScope,
    ExchangeEnd,
    KnownConversation,
    Parent,
    Situation,
)
from gateway.features.prompt_caches.positions import boundary_positions, lifetime_of, lookup_positions, marks
from gateway.features.prompt_caches.prompts import PromptDigest, pack_prompts, unpack_prompts
from gateway.features.prompt_caches.verdicts import judge
from streams.events import Usage
from tests.support.cached_prompts import SYSTEM, TOOL_NAMES, read, request_of, row_of, tool_of, user_item
from tests.support.imitated_caches import PromptCaches
from tests.support.recorded_turns import HISTORY

_MODELS: Final = {
    "messages": "cache/anthropic", "converse": "cache/bedrock", "responses": "cache/openai-5.6", "chat": "cache/openai",
}  # fmt: skip
_EFFORTS: Final[dict[str, Any]] = {
    "messages": lambda word: {"output_config": {"effort": word}},
    "converse": lambda word: {"additionalModelRequestFields": {"output_config": {"effort": word}}},
    "chat": lambda word: {"reasoning_effort": word},
    "responses": lambda word: {"reasoning": {"effort": word}},
}
_CAUSES: Final = {
    "nothing": set(), "system": {"system"}, "tools": {"tools"}, "reorder": {"tools"}, "effort": {"settings"},
    "wait": {"expired"}, "drop": {"history"}, "edit": {"history"},
}  # fmt: skip
"""By edit, the causes that it may have. A pause may be too short, and a change may be undone."""


class _Client:
    """A client whose requests have random edits, and the entries that they left."""

    def __init__(self, api: str, seed: int) -> None:
        self.api, self.random, self.now = api, random.Random(seed), 1000.0
        self.tools, self.system, self.settings = list(TOOL_NAMES), SYSTEM * 3, {}
        self.entries: dict[bytes | None, Boundary] = {}

    def body(self, edit: str, rounds: int) -> dict[str, Any]:
        """Return the request after ``edit``; edits of messages are for this request only."""
        self.now += self.random.choice([200, 400, 4000]) if edit == "wait" else 20
        if edit == "system":
            self.system = f"It is {self.random.randint(1, 9)}:{self.random.randint(10, 59)}. " + SYSTEM * 3
        elif edit == "tools":
            self.tools = [*self.tools, f"mcp_{rounds}"]
        elif edit == "reorder":
            self.tools = self.tools[::-1]
        elif edit == "effort":
            self.settings = _EFFORTS[self.api](self.random.choice(["low", "high"]))
        tools = [tool_of(self.api, name) for name in self.tools]
        body = request_of(self.api, rounds, tools=tools, system=self.system) | self.settings
        first, items = int(self.api == "chat"), body[HISTORY[self.api]]
        if edit == "drop":
            del items[first + 1 : first + 3]
        elif edit == "edit":
            items[first] = user_item(self.api, f"Another request of the user, number {rounds}")
        return body

    def find_entries(self, prompt: PromptDigest) -> list[Boundary]:
        """Return the entries where the provider searches."""
        positions = [(at, self.entries.get(prompt.prefix(at))) for at in lookup_positions(prompt, row_of(self.api))]
        return [msgspec.structs.replace(entry, position=at) for at, entry in positions if entry is not None]

    def leave(self, prompt: PromptDigest, usage: Usage) -> Parent:
        """Record the entries of a request, and return it as the next one's parent."""
        row, left = row_of(self.api), []
        lifetimes = dict(marks(prompt, row))
        for at in boundary_positions(prompt, row):
            tokens = usage.prompt * prompt.size_at(at) // prompt.size
            if at == prompt.end:
                tokens = usage.cache_read + usage.cache_write if row.reports == "exact" else usage.prompt // 128 * 128
            ttl = lifetime_of(prompt, row, lifetimes[at]) if at in lifetimes else None
            left.append(Boundary(at, tokens, self.now, self.now, ttl, is_exact=at == prompt.end))
            self.entries[prompt.prefix(at)] = left[-1]
        end = ExchangeEnd(b"", prompt.end, self.now, self.now, usage.prompt)
        remembered = prompt.to_remember()
        assert remembered is not None
        prompts = unpack_prompts(pack_prompts(remembered, None))
        return Parent(b"", KnownConversation(_SCOPE, (end,), tuple(left)), prompts, end)


_SCOPE: Final = CacheScope(b"scope", "target")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("api", _MODELS)
def test_every_edit_has_its_cause_and_no_other(api: str, seed: int):
    client, parent, undone = _Client(api, seed), None, set()
    caches = PromptCaches(lambda: client.now)
    model = caches.select(_MODELS[api])
    assert model is not None
    for number in range(10):
        edit = client.random.choice(list(_CAUSES)) if number else "nothing"
        body = client.body(edit, 25 + number)
        counted = caches.count(model, api, body, {}, "endpoint")
        counted.begin()
        rest = counted.tokens - counted.read - counted.written
        usage = Usage(input=rest, cache_read=counted.read, cache_write=counted.written, reports_cache_read=True)
        prompt = read(api, body)
        situation = Situation(_SCOPE, client.now)
        entries = tuple(client.find_entries(prompt))
        verdict = judge(PromptComparison(prompt, None, parent, entries, row_of(api), situation), usage)
        if number:
            causes = {cause.word for cause in verdict.causes}
            assert causes <= _CAUSES[edit] | undone, (number, edit, verdict.could, verdict.readable, counted.read)
        if edit == "nothing" and not undone and number:
            assert verdict.missed == 0
        undone = {"history"} if edit in ("drop", "edit") else {"expired"} if edit == "wait" else set()
        parent = client.leave(prompt, usage)
