"""The spans that a step masks, the placeholders that replace them, and the values that return to the client."""

import hmac
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import attrs

from trigate.steps import Finding, Passage

PLACEHOLDER: Final = re.compile(r"\[[A-Z0-9_]{1,64}_[0-9a-f]{10,64}\]")
LONGEST_PLACEHOLDER: Final = 64 + 64 + 3
"""Characters of the longest placeholder."""

_START: Final = re.compile(r"\[(?:[A-Z0-9_]{0,64}(?:_[0-9a-f]{0,64})?)?\Z")
"""The beginning of a placeholder at the end of a text."""

DIGITS: Final = 10
"""Hexadecimal digits of a digest, more if two values have the same ones, or if none of them is a letter."""


@attrs.frozen(eq=False, repr=False)
class Span:
    """The characters from ``start`` to before ``end``. ``replacement`` replaces them, by default a placeholder with
    ``label``."""

    start: int
    end: int
    label: str
    replacement: str | None = None

    @classmethod
    def of(cls, finding: Finding) -> "Span":
        return cls(finding.start, finding.end, finding.label, finding.replacement)


PassageEdit: TypeAlias = tuple[Passage, int, int, str]
"""A passage, the start and end of a span of its text, and the replacement."""


def merge_spans(spans: Iterable[Span]) -> list[Span]:
    """Return ``spans`` in order, each group of overlapping ones as their union with the label of the longest."""
    merged: list[Span] = []
    longest = 0
    for span in sorted(spans, key=lambda one: (one.start, -one.end)):
        if merged and _is_same(span, merged[-1]):
            continue
        if merged and span.start < merged[-1].end:
            last, size = merged[-1], span.end - span.start
            chosen = span if size > longest else last
            longest = max(longest, size)
            merged[-1] = Span(last.start, max(last.end, span.end), chosen.label, None)
        else:
            merged.append(span)
            longest = span.end - span.start
    return merged


def _is_same(one: Span, other: Span) -> bool:
    return (one.start, one.end, one.replacement) == (other.start, other.end, other.replacement)


class Placeholders:
    """The placeholders of one exchange.

    A placeholder is a label and a digest of ``owner`` and the value by ``key``: equal values of a client have equal
    placeholders in every turn, worker and restart, so that prompt caches still match."""

    def __init__(self, key: bytes, owner: str) -> None:
        self._key = key
        self._owner = owner
        self._values: dict[str, str] = {}
        self._own: dict[str, str] = {}
        self._texts: dict[tuple[str, str], str] = {}
        self._labels: dict[str, str] = {}

    def without_values(self) -> "Placeholders":
        """Return placeholders with the same digests, for another request of the client."""
        return Placeholders(self._key, self._owner)

    def text_for(self, span: Span, value: str) -> str:
        """Return the text that replaces ``value``."""
        text = self.placeholder(span.label, value) if span.replacement is None else span.replacement
        self._labels[text] = span.label
        return text

    def label_of(self, replacement: str) -> str:
        """Return the label of the last span with the text ``replacement``."""
        return self._labels.get(replacement, "text to mask")

    def placeholder(self, label: str, value: str) -> str:
        name = re.sub(r"[^A-Z0-9]+", "_", label.upper()).strip("_")[:48] or "MASKED"
        if (known := self._texts.get((name, value))) is not None:
            return known
        message = "\0".join((self._owner, name, value)).encode("utf-8", "surrogatepass")
        digest, digits = hmac.digest(self._key, message, "sha256").hex(), DIGITS
        while digest[:digits].isdecimal():  # it could be a phone number for the next step, or in the next turn
            digits += 1
        while self._values.get(text := f"[{name}_{digest[:digits]}]", value) != value:
            digits += 1
        self._values[text], self._texts[name, value] = value, text
        return text

    def edits_of(self, masks: Iterable[tuple[Passage, Sequence[Span]]], restores: bool = False) -> list[PassageEdit]:
        """Return the edits for ``masks``. ``restores``: the client sent their values, which return to it in the
        response."""
        edits = [
            (passage, span.start, span.end, self.text_for(span, passage.text[span.start : span.end]))
            for passage, spans in masks
            for span in spans
        ]
        if restores:
            for *_, placeholder in edits:
                self.mark_restorable(placeholder)
        return edits

    def mark_restorable(self, placeholder: str) -> None:
        """Note that the value of ``placeholder``, which the client sent, returns to it in the response."""
        if placeholder in self._values:
            self._own[placeholder] = self._values[placeholder]

    def hidden_again(self, text: str) -> str:
        """Return ``text`` with placeholders for the values that return to the client, the longest ones first."""
        for placeholder, value in sorted(self._own.items(), key=lambda one: -len(one[1])):
            text = text.replace(value, placeholder)
        return text

    def restorable(self, text: str, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int, str]]:
        """Yield the span and the value of each placeholder in ``text`` whose value returns to the client."""
        for found in PLACEHOLDER.finditer(text, start, len(text) if end is None else end):
            if (value := self._own.get(found[0])) is not None:
                yield *found.span(), value

    @property
    def values(self) -> Mapping[str, str]:
        """The client's values that return to it, by placeholder."""
        return self._own


def open_placeholder(text: str) -> int:
    """Return the index from which ``text`` may continue as a placeholder, its length if it may not."""
    at = text.rfind("[", max(0, len(text) - LONGEST_PLACEHOLDER))
    return at if at >= 0 and _START.match(text, at) else len(text)
