"""An imitation of providers' prompt caches, which shares no code with the gateway's verdicts.

``POST /cache`` with JSON sets the caches: ``{"forget": true}`` removes all entries, and
``{"models": {"claude-sonnet-4-6": "cache/anthropic"}}`` uses a cache for a model with another name."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs
import msgspec

from gateway.http.response import JSON_HEADERS, Response
from gateway.mock.faults import Fault
from gateway.mock.server import NO_FAULT, ModelCaches
from gateway.serving.incoming_request import IncomingRequest, ignore_arrived
from gateway.serving.route_table import RouteTable
from streams.events import AnswerStart, Api, Event, Usage

TOKEN: Final = 4
"""Bytes of a prompt's JSON in a token."""

_MEMBERS: Final = (
    "tools", "toolConfig", "system", "system_instruction", "systemInstruction", "instructions", "messages", "input",
    "contents",
)  # fmt: skip
"""The members of all APIs with the prompt, in the order in which a provider reads it."""

_LISTS: Final = ("content", "parts", "tools")
_MARKS: Final = ("cache_control", "prompt_cache_breakpoint", "cachePoint")
_CREDENTIALS: Final = ("authorization", "x-api-key", "api-key", "x-goog-api-key")

Block: TypeAlias = tuple[bytes, bool]
"""A block of a prompt without marks, and true if it has a mark."""


@attrs.frozen
class CacheRule:
    """The rules of one provider's cache, whose shortest prefix has ``least`` tokens.

    With a ``step``, it has entries after so many tokens. Otherwise, it has them after marks, and with ``has_ends``
    after each prompt."""

    least: int = 1024
    step: int = 0
    has_ends: bool = False
    is_by_account: bool = True


RULES: Final[Mapping[str, CacheRule]] = {
    "anthropic": CacheRule(),
    "bedrock": CacheRule(),
    "openai": CacheRule(step=128),
    "openai-5.6": CacheRule(has_ends=True),
    "blocks": CacheRule(least=16, step=16, is_by_account=False),  # like vLLM
}


class ImitatedCaches(ModelCaches):
    """The prompt caches of ``cache/`` models, for ``create_mock``."""

    def __init__(self) -> None:
        self._entries: set[bytes] = set()
        self._names: dict[str, str] = {}

    def add_routes(self, routes: RouteTable) -> None:
        routes.add("/cache", self._change, ("POST",))

    async def _change(self, incoming: IncomingRequest) -> Response:
        wanted = msgspec.json.decode(await incoming.read(ignore_arrived), type=dict[str, Any])
        assert wanted.keys() <= {"forget", "models"}
        self._names |= wanted.get("models", {})
        if wanted.get("forget"):
            self._entries.clear()
        return Response(200, JSON_HEADERS, b"{}")

    def count(self, model: str, api: Api, body: Mapping[str, Any], headers: Mapping[str, str], endpoint: str) -> Fault:
        rule = RULES.get(self._names.get(model, model).removeprefix("cache/"))
        if rule is None:
            return NO_FAULT
        account = [headers.get(name) for name in _CREDENTIALS] if rule.is_by_account else []
        scope, blocks = msgspec.json.encode([model, endpoint, account]), list(_read_blocks(body))
        entries = [one for one in _find_entries(rule, scope, blocks) if one.tokens >= rule.least]
        read = max([one.tokens for one in entries if one.key in self._entries], default=0)
        written = max([one.tokens for one in entries if one.is_written], default=0)
        self._entries.update(one.key for one in entries if one.is_written)
        total = max(1, -(-sum(len(text) for text, _ in blocks) // TOKEN))
        written = 0 if rule.step else max(0, written - read)
        counts = {"input": total - read - written, "cache_read": read, "cache_write": written}
        return Fault("a cached prompt", events=_with_counts(counts))


def _with_counts(counts: Mapping[str, int]) -> Callable[[Sequence[Event], int], Sequence[Event]]:
    """Return a change of events that adds ``counts``, also at the start, as Messages reports them."""

    def change(events: Sequence[Event], _: int) -> list[Event]:
        found = [attrs.evolve(event, **counts) if isinstance(event, Usage) else event for event in events]
        first = next((at for at, event in enumerate(found) if isinstance(event, AnswerStart)), -1)
        return [*found[: first + 1], Usage(output=1, **counts), *found[first + 1 :]]

    return change


def _read_blocks(body: Mapping[str, Any]) -> Iterator[Block]:
    """Yield the blocks of a prompt: its tools, its instructions and the parts of its messages."""
    for name in _MEMBERS:
        value = body.get(name)
        for item in value if isinstance(value, list) else [] if value is None else [value]:
            yield from _blocks_of(item)


def _blocks_of(item: Any) -> Iterator[Block]:
    inner = next((name for name in _LISTS if isinstance(item, dict) and isinstance(item.get(name), list)), None)
    parts = [item] if inner is None else item[inner]
    found = [_without_marks(part) for part in parts]
    if inner is not None:
        head = _without_marks({name: value for name, value in item.items() if name != inner})[0]
        found[:1] = [([head, part], is_marked) for part, is_marked in found[:1]]
    for at, (part, is_marked) in enumerate(found):
        if part != {}:  # a point of Converse marks the block before it
            yield msgspec.json.encode(part), is_marked or found[at + 1 : at + 2] == [({}, True)]


def _without_marks(value: Any) -> tuple[Any, bool]:
    """Return a value without the marks in it, and whether it has any."""
    if isinstance(value, list):
        parts = [_without_marks(one) for one in value]
        return [one for one, _ in parts], any(is_marked for _, is_marked in parts)
    if not isinstance(value, dict):
        return value, False
    rest = {name: _without_marks(one) for name, one in value.items() if name not in _MARKS}
    is_marked = len(rest) < len(value) or any(marked for _, marked in rest.values())
    return {name: one for name, (one, _) in rest.items()}, is_marked


@attrs.frozen
class _Entry:
    """A position in a prompt where the cache may have an entry; ``key`` identifies everything up to there."""

    key: bytes
    tokens: int
    is_written: bool = True


def _find_entries(rule: CacheRule, scope: bytes, blocks: Sequence[Block]) -> Iterator[_Entry]:
    digest, length = hashlib.blake2b(scope, digest_size=16), 0
    if rule.step:
        text, size = b"".join(text for text, _ in blocks), rule.step * TOKEN
        for at in range(0, len(text) - size, size):
            digest.update(text[at : at + size])
            yield _Entry(digest.digest(), (at + size) // TOKEN)
        return
    last = max([at for at, (_, is_marked) in enumerate(blocks) if is_marked or rule.has_ends], default=-1)
    for at, (text, is_marked) in enumerate(blocks[: last + 1]):
        digest.update(b"%d " % len(text) + text)
        length += len(text)
        yield _Entry(digest.digest(), length // TOKEN, is_marked or at == last)
