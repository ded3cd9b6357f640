"""The stand-in's prompt cache: it counts how much of each prompt the imitated provider would read and write.

A token is four bytes of the prompt's text as ``cache_prompts`` reads it."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs
import msgspec

from streams.errors import invalid
from streams.events import Api, Usage
from tests.support.cache_prompts import (
    DEFAULT_LIFETIME,
    MockBlock,
    Section,
    read_blocks,
    web_searches,
)
from tests.support.cache_rules import CacheModel, cache_model

TOKEN: Final = 4
"""Bytes of a prompt in a token."""

MAX_MARKS: Final = 4
_SECTIONS: Final[tuple[Section, ...]] = ("tools", "system", "messages")
_LONG: Final = "1h"
_CITATIONS: Final = b'"citations":{"enabled":true}'
_IMAGES: Final = (b'"type":"image"', b'{"image":{')
_EMPTY: Final = b'"text":""}]'
_AWS: Final = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/")


@attrs.frozen
class MockBoundary:
    """A position in a prompt where the cache can have an entry.

    ``key`` identifies the whole prefix, ``tokens`` is its length, ``lifetime`` that of an entry. If
    ``is_written``, this request writes an entry."""

    key: bytes
    tokens: int
    lifetime: float
    is_written: bool = True
    is_long: bool = False


@attrs.frozen
class CachedPrompt:
    """The counts of one request: all tokens of its prompt, those read and those written, by lifetime.

    ``begin`` is called when the response begins, because written entries are readable from then on."""

    model: CacheModel
    tokens: int
    read: int
    written: int
    written_long: int
    begin: Callable[[], None]

    def usage(self, counted: Usage) -> Usage:
        """Return ``counted`` with this input."""
        lifetimes = self.model.rule.report == "lifetimes"
        return attrs.evolve(
            counted,
            input=self.tokens - self.read - self.written,
            cache_read=self.read,
            cache_write=self.written,
            cache_write_5m=self.written - self.written_long if lifetimes else None,
            cache_write_1h=self.written_long if lifetimes else None,
        )


class PromptCaches:
    """The prompt caches of all models with one. ``clock`` returns seconds, and ``advance`` adds to them."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._offset = 0.0
        self._entries: dict[bytes, tuple[float, float]] = {}  # the end of each, and its lifetime
        self._names: dict[str, str] = {}
        self._sums: dict[str, dict[str, int]] = {}

    # Control

    def advance(self, seconds: float) -> None:
        """Let time pass for all entries."""
        self._offset += seconds

    def forget(self) -> None:
        """Remove all entries."""
        self._entries.clear()

    def use_for(self, names: Mapping[str, str]) -> None:
        """Use a cache for models with other names."""
        self._names |= names

    def report(self) -> dict[str, Any]:
        """Return the number of entries, and for each model its requests and tokens."""
        return {"entries": len(self._entries), "models": self._sums}

    def select(self, model: str) -> CacheModel | None:
        """Return the cache of ``model``, or ``None``."""
        if (alias := self._names.get(model)) is None:
            return cache_model(model)
        found = cache_model(alias)
        return None if found is None else attrs.evolve(found, name=model)

    # Counting

    def count(
        self, model: CacheModel, api: Api, body: Mapping[str, Any], headers: Mapping[str, str], endpoint: str
    ) -> CachedPrompt:
        """Count the tokens of a request's prompt. Raises ``GatewayError`` (400) for marks that the provider refuses."""
        blocks, now = read_blocks(api, body), self._clock() + self._offset
        if model.rule.boundaries == "marks":
            blocks = _with_top_mark(blocks, body.get("cache_control"))
            _check_marks(blocks)
        seeds = _seeds(model, blocks, body, headers, [model.name, endpoint])
        tokens, found = _BOUNDARIES[model.rule.boundaries](model, blocks, seeds, body)
        read = self._read(found, now)
        first, written = read, 0
        for one in found:
            if one.is_written:
                written = max(written, one.tokens - read)
                first = max(first, one.tokens) if one.is_long else first
        written_long = max(0, first - read)
        if not model.rule.counts_written:
            written = 0
        self._add_up(model.name, tokens, read, written)
        return CachedPrompt(model, tokens, read, written, written_long, lambda: self._write(found, now))

    def _read(self, found: Sequence[MockBoundary], now: float) -> int:
        """Return the tokens up to the last boundary with an entry, and renew the entries that this request uses."""
        last = next((at for at in reversed(range(len(found))) if self._lifetime(found[at].key, now)), -1)
        for one in found[: last + 1]:
            if (lifetime := self._lifetime(one.key, now)) is not None:
                self._entries[one.key] = (now + lifetime, lifetime)
        return found[last].tokens if last >= 0 else 0

    def _lifetime(self, key: bytes, now: float) -> float | None:
        """Return the lifetime of the live entry at ``key``, or ``None`` without one."""
        entry = self._entries.get(key)
        return None if entry is None or entry[0] <= now else entry[1]

    def _write(self, found: Sequence[MockBoundary], now: float) -> None:
        """Add the entries of a request that started at ``now``."""
        for one in reversed(found):
            if one.is_written:
                end, lifetime = self._entries.get(one.key, (0.0, 0.0))
                if now + one.lifetime > end:
                    end, lifetime = now + one.lifetime, one.lifetime
                self._entries[one.key] = (end, lifetime)

    def _add_up(self, name: str, tokens: int, read: int, written: int) -> None:
        sums = self._sums.setdefault(name, {"requests": 0, "input": 0, "read": 0, "written": 0})
        for member, number in (("requests", 1), ("input", tokens), ("read", read), ("written", written)):
            sums[member] += number


# Marks


def _with_top_mark(blocks: list[MockBlock], control: Any) -> list[MockBlock]:
    """Return ``blocks`` with the request's own mark on the last block that can have one."""
    if not isinstance(control, dict):
        return blocks
    last = next((at for at in reversed(range(len(blocks))) if blocks[at].kind != "reasoning"), None)
    if last is not None and blocks[last].mark is None:
        blocks[last] = attrs.evolve(blocks[last], mark=str(control.get("ttl") or DEFAULT_LIFETIME))
    return blocks


def _check_marks(blocks: Sequence[MockBlock]) -> None:
    """Raise a 400 for marks that Anthropic refuses, with its words."""
    marked = [block for block in blocks if block.mark is not None]
    if len(marked) > MAX_MARKS:
        raise invalid(
            f"A maximum of {MAX_MARKS} blocks with cache_control may be provided. Found {len(marked)}.", "cache_control"
        )
    if any(block.kind == "reasoning" for block in marked):
        raise invalid("cache_control cannot be set for thinking blocks", "cache_control")
    if any(block.text.endswith(_EMPTY) for block in marked):
        raise invalid("cache_control cannot be set for empty text blocks", "cache_control")
    lifetimes = [block.mark for block in marked]
    if _LONG in lifetimes and DEFAULT_LIFETIME in lifetimes[: len(lifetimes) - lifetimes[::-1].index(_LONG)]:
        raise invalid(
            "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. Note that blocks are "
            "processed in the following order: `tools`, `system`, `messages`.",
            "cache_control",
        )


# Separate caches


def _seeds(
    model: CacheModel, blocks: Sequence[MockBlock], body: Mapping[str, Any], headers: Mapping[str, str],
    scope: Sequence[str | int],
) -> dict[Section, bytes]:  # fmt: skip
    """Return the bytes that precede each section in the keys of its boundaries; ``scope`` separates all of them."""
    rule = model.rule
    found: dict[Section, list[Any]] = {
        section: [_member(body, path) for path in rule.settings.get(section, ())] for section in _SECTIONS
    }
    found["tools"] += [*scope, _account(headers) if rule.is_by_account else ""]
    if rule.is_by_content:
        found["tools"].append(sorted(headers.get("anthropic-beta", "").replace(" ", "").split(",")))
        found["system"].append(web_searches(body))
        texts = [block.text for block in blocks if block.section == "messages"]
        found["system"].append(any(_CITATIONS in text for text in texts))
        found["messages"].append(any(mark in text for text in texts for mark in _IMAGES))
    return {section: msgspec.json.encode(values) for section, values in found.items()}


def _member(body: Mapping[str, Any], path: str) -> Any:
    value: Any = body
    for name in path.split("/"):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _account(headers: Mapping[str, str]) -> str:
    """Return the credential of a request: its key, or the access key and region of an AWS signature."""
    credential = "\n".join(
        headers.get(name, "") for name in ("authorization", "x-api-key", "api-key", "x-goog-api-key")
    )
    signed = _AWS.search(credential)
    return "/".join(signed.groups()) if signed else credential


# Boundaries

Seeds = Mapping[Section, bytes]


def _sections(blocks: Sequence[MockBlock], seeds: Seeds) -> Iterator[tuple[MockBlock, bytes]]:
    """Yield each block with the seeds that precede it, which are those of sections that begin there."""
    next_section = 0
    for block in blocks:
        end = _SECTIONS.index(block.section) + 1
        yield block, b"".join(seeds[section] for section in _SECTIONS[next_section:end])
        next_section = max(next_section, end)


def _block_keys(blocks: Sequence[MockBlock], seeds: Seeds) -> Iterator[tuple[bytes, int]]:
    """Yield the key and the length in bytes of the prefix that ends with each block."""
    digest, length = hashlib.blake2b(digest_size=16), 0
    for block, seed in _sections(blocks, seeds):
        digest.update(seed)
        digest.update(b"%d " % len(block.text))
        digest.update(block.text)
        length += len(block.text)
        yield digest.digest(), length


def _total(blocks: Sequence[MockBlock]) -> int:
    return max(1, -(-sum(len(block.text) for block in blocks) // TOKEN))


def _marked_boundaries(
    model: CacheModel, blocks: Sequence[MockBlock], seeds: Seeds, _: Mapping[str, Any]
) -> tuple[int, list[MockBoundary]]:
    """Return the tokens of a prompt, and the positions that its marks reach.

    Successive calls are one position, and so are successive results."""
    rule = model.rule
    positions: list[int] = []
    for at, block in enumerate(blocks):
        joins = at > 0 and block.kind in ("call", "result") and blocks[at - 1].kind == block.kind
        positions.append(positions[-1] + (not joins) if positions else 0)
    marked = [positions[at] for at, block in enumerate(blocks) if block.mark is not None]
    found = []
    for block, position, (key, length) in zip(blocks, positions, _block_keys(blocks, seeds), strict=True):
        tokens = length // TOKEN
        if tokens >= model.minimum and any(0 <= mark - position < rule.lookup for mark in marked):
            lifetime = rule.lifetimes.get(block.mark or "", rule.lifetimes[""])
            found.append(MockBoundary(key, tokens, lifetime, block.mark is not None, block.mark == _LONG))
    return _total(blocks), found


def _end_boundaries(
    model: CacheModel, blocks: Sequence[MockBlock], seeds: Seeds, body: Mapping[str, Any]
) -> tuple[int, list[MockBoundary]]:
    """Return the tokens of a prompt, and its tried boundaries.

    Those are the last end and the ends before it, and the first 2 and last 50 explicit marks. The last end and the last
    marks are written, at most four."""
    rule = model.rule
    marks = [at for at, block in enumerate(blocks) if block.mark is not None]
    ends = [at for at, block in enumerate(blocks) if block.is_end]
    ends = ends or [at for at, block in enumerate(blocks) if block.section == "system"][:1]
    if _member(body, "prompt_cache_options/mode") == "explicit":
        ends = []
    written = {*ends[-1:], *marks[-(MAX_MARKS - len(ends[-1:])) :]}
    tried = {*ends[-1 - rule.lookup :], *marks[:2], *marks[-50:]}
    found, hidden = [], 0
    for at, (key, length) in enumerate(_block_keys(blocks, seeds)):
        hidden += len(blocks[at].text) if blocks[at].kind == "reasoning" else 0
        if at in tried and (length - hidden) // TOKEN >= model.minimum:
            found.append(MockBoundary(key, length // TOKEN, rule.lifetimes[""], at in written))
    return _total(blocks), found


def _step_boundaries(
    model: CacheModel, blocks: Sequence[MockBlock], seeds: Seeds, body: Mapping[str, Any]
) -> tuple[int, list[MockBoundary]]:
    """Return the tokens of a prompt, and its boundaries at every step."""
    rule, total = model.rule, _total(blocks)
    retention = body.get("prompt_cache_retention")
    lifetime = rule.lifetimes.get(retention if isinstance(retention, str) else "", rule.lifetimes[""])
    size, length = rule.step * TOKEN, 0
    digest, found = hashlib.blake2b(digest_size=16), list[MockBoundary]()
    least = max(model.minimum, 1)
    for block, seed in _sections(blocks, seeds):
        digest.update(seed)
        rest = memoryview(block.text)
        while rest:
            piece = rest[: size - length % size]
            digest.update(piece)
            rest, length = rest[len(piece) :], length + len(piece)
            if length % size == 0 and length // TOKEN >= least and (length // TOKEN < total or not rule.computes_last):
                found.append(MockBoundary(digest.digest(), length // TOKEN, lifetime))
        if rule.ends_input and length % size and length // TOKEN >= least:
            found.append(MockBoundary(digest.digest(), length // TOKEN, lifetime, is_written=block is blocks[-1]))
    return total, found


_BOUNDARIES: Final = {"marks": _marked_boundaries, "ends": _end_boundaries, "steps": _step_boundaries}
