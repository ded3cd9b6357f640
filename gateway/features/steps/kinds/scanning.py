"""The base of kinds that search text for values: findings do not depend on how a stream is cut.

A text consists of segments, between which no value continues. A segment is checked when it is complete; a long one is
cut at positions that depend on its text alone. So the findings in a text equal those in its pieces, and many segments
are searched together, by few calls of functions."""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby
from typing import Final, TypeAlias

from gateway.features.steps.joined_texts import JoinedPassage, part_spans, without_repetitions
from gateway.features.steps.kinds.normal import (
    DecodedTexts,
    NormalText,
    copies_of,
    decode_texts,
    is_plain,
    unescape_text,
)
from gateway.features.steps.runner import MOST_FINDINGS, UncheckedText, list_limited
from trigate.steps import Check, Finding, Passage

Match: TypeAlias = tuple[str, int, int]
"""A label, and the span of a value."""

RankedSpan: TypeAlias = tuple[int, int, int]
"""The rank of a format, and the span of a value."""

LONGEST_SEGMENT: Final = 4096
"""Characters that wait for the end of a segment."""

LONGEST_VALUE: Final = 65536
"""Characters of one value, such as a private key, which waits for its own end."""

MARGIN: Final = 512
"""Characters before a cut in which an incomplete value may begin."""

LONGEST_FORMAT: Final = 1024
"""Characters of the longest value whose format has a limit."""

_HALF: Final = LONGEST_SEGMENT // 2


class ScanningStep:
    """A step that searches each segment of a text. ``labels`` are those that it finds."""

    labels: tuple[str, ...] = ()

    sizes: tuple[int, ...] = (LONGEST_SEGMENT, LONGEST_VALUE)
    """The lengths at which a segment, or one value in it, is cut."""

    segment: re.Pattern[str]
    """The pattern of a segment. Spaces in it are single and between other characters."""

    candidate: str | None = None
    """A pattern: text without a match of it, and without one at its end, has no finding, and no segment with a space.
    ``None`` if every text may have a finding."""

    characters: str = ""
    """The characters of segments without a match of ``candidate``: those of ASCII alone if ``is_ascii_only``."""

    is_ascii_only: bool = False

    def __call__(self, check: Check) -> list[Finding]:
        """Return the findings in text that the client does not have yet. Raises ``UncheckedText`` for too many."""
        found: list[Finding] = []
        for passage in check.passages:
            found += self._findings(passage, passage.text, passage.released_length)
            if isinstance(passage, JoinedPassage):
                for start, end in part_spans(passage):
                    found += self._findings(passage, passage.text[start:end], 0, start)
            if len(found) > MOST_FINDINGS:
                raise UncheckedText("too_many", "")
        return without_repetitions(found) if found else found

    def _findings(self, passage: Passage, text: str, released_length: int, base: int = 0) -> Iterator[Finding]:
        """Yield the findings in ``text``, which begins at position ``base`` of ``passage``."""
        if is_plain(text) and not self.may_match(text, released_length):
            return  # most words of a stream
        for normal in self.copies(text):
            start = normal.position(released_length)
            if self.may_match(normal.text, start):
                for first, last in self._stretches(normal, start):
                    for label, a, b in sorted(list_limited(self.search(normal.text, first, last)), key=_start):
                        begin, end = normal.span(a, b)
                        yield Finding(label, passage, base + begin, base + end)

    def open_tail(self, text: str, released_length: int = 0) -> int:
        """Return the position from which ``text`` may still become a part of a finding.

        The first ``released_length`` characters were checked before."""
        if is_plain(text) and (tail := self.short_tail(text, released_length)) is not None:
            return tail
        return min(self._open_tail(normal, released_length, len(text)) for normal in self.copies(text))

    def _open_tail(self, normal: NormalText, released_length: int, end: int) -> int:
        last = self._last_segment(normal, normal.position(released_length))
        return normal.origin(last[0]) if last is not None and self.is_open(normal.text, last[1]) else end

    def _last_segment(self, normal: NormalText, start: int) -> tuple[int, int] | None:
        """Return the last segment after ``start``, or its last piece."""
        first = last = start
        for first, last in self._stretches(normal, start):  # noqa: B007  # the last one counts
            pass
        if self.end_of_segment(normal.text, first, last) == last:
            return first, last
        found = None
        for found in self.segment.finditer(normal.text, max(first, last - 2 * LONGEST_SEGMENT), last):  # noqa: B007
            pass
        return None if found is None else found.span()

    def _stretches(self, normal: NormalText, start: int) -> Iterator[tuple[int, int]]:
        """Yield the text after ``start`` in stretches of complete segments, and the pieces of long segments."""
        text, block = normal.text, -1
        while start < len(text):
            if block < start:
                block = self.next_block(text, start)
            first = self._long_segment(text, start, block)
            if start < first:
                yield start, first
            if first == len(text):
                return
            start = self._end_of_piece(normal, first)
            yield first, start

    def _long_segment(self, text: str, start: int, end: int) -> int:
        """Return the position of the first long segment between two positions, or ``end``.

        A long segment has all characters of one of the halves of its greatest length that begin at ``start``."""
        match, before = self.segment.match, start
        for probe in range(start, end - _HALF, _HALF):
            at = probe + (text[probe] == " ")
            found = match(text, at, probe + _HALF)
            if found is None or found.end() < probe + _HALF - 1:
                before = at if found is None else found.end()
                continue
            for one in self.segment.finditer(text, before, min(end, at + 2 * LONGEST_SEGMENT)):
                if (before := one.end()) > at:
                    if before - one.start() > LONGEST_SEGMENT:
                        return one.start()
                    break
        return end

    def _end_of_piece(self, normal: NormalText, first: int) -> int:
        """Return the end of the segment at ``first``, or of its first piece: before the value that may continue
        there."""
        text, end = normal.text, first
        for size in self.sizes:
            if (end := self.end_of_segment(text, first, first + size + 1)) <= first + size:
                return end
            end = first + size
            cut = start = end - MARGIN
            for _, a, b in self.search_end(text, first, end):
                if a < start and (b > start or b == end):
                    cut = min(cut, a)
            cut = min(cut, self.open_value(text, first, end))
            cut = normal.position(normal.origin(cut))
            if cut > first:
                return cut
        return end

    def copies(self, text: str) -> Sequence[NormalText]:
        """Return the copies of ``text`` to search."""
        return copies_of(text)

    def next_block(self, text: str, start: int) -> int:
        """Return the position of the first segment after ``start`` that ``segment`` does not match, or the end."""
        return len(text)

    def end_of_segment(self, text: str, first: int, limit: int) -> int:
        """Return the end of the segment at ``first``, at most ``limit``."""
        found = self.segment.match(text, first, limit)
        return first if found is None else found.end()

    def short_tail(self, text: str, start: int) -> int | None:
        """Return what ``open_tail`` returns for ASCII, ``None`` if that takes more than the last characters."""
        return None

    def is_open(self, text: str, end: int) -> bool:
        """Return whether a segment that ends at ``end`` may continue."""
        return end == len(text)

    def open_value(self, text: str, start: int, end: int) -> int:
        """Return the position of a value that is longer than ``MARGIN``, incomplete and not recognized yet, or
        ``end``."""
        return end

    def search_end(self, text: str, first: int, end: int) -> Iterable[Match]:
        """Yield the values between two positions that reach into the last ``MARGIN``, and possibly others."""
        return self.search(text, max(first, end - MARGIN - LONGEST_FORMAT), end)

    def may_match(self, text: str, start: int) -> bool:
        """Return whether ``text`` may have findings after ``start``. A fast test: false is certain."""
        raise NotImplementedError

    def search(self, text: str, start: int, end: int) -> Iterator[Match]:
        """Yield the values in the segments between two positions, also encoded and escaped ones; the text before them
        is context."""
        yield from self.search_plain(text, start, end)
        if (decoded := decode_texts(text, start, end)) is not None:
            yield from self.search_decoded(decoded)
        if (unescaped := unescape_text(text, start, end)) is not None:
            for label, first, last in self.search_plain(unescaped.text, 0, len(unescaped.text)):
                a, b = unescaped.span(first, last)
                if b - a > last - first and self.end_of_segment(text, a, b) == b:
                    yield label, a, b

    def search_decoded(self, decoded: DecodedTexts) -> Iterator[Match]:
        """Yield the values in decoded text."""
        for label, first, last in self.search_plain(decoded.text, 0, len(decoded.text)):
            if (span := decoded.span(first, last)) is not None:
                yield label, *span

    def search_plain(self, text: str, start: int, end: int) -> Iterable[Match]:
        """Yield the values in the text between two positions, without decoding it."""
        raise NotImplementedError


def without_overlaps(found: Sequence[RankedSpan]) -> list[RankedSpan]:
    """Return the values, of several that overlap the one with the lowest rank."""
    taken: list[tuple[int, int]] = []  # of lower ranks, in order
    kept: list[RankedSpan] = []
    for _, values in groupby(sorted(found), key=_rank):
        own: list[tuple[int, int]] = []
        for one in values:
            _, first, last = one
            at = bisect_left(taken, (last, 0))
            if (at == 0 or taken[at - 1][1] <= first) and (not own or own[-1][1] <= first):
                own.append((first, last))
                kept.append(one)
        taken = sorted(chain(taken, own))
    return kept


def _rank(value: RankedSpan) -> int:
    return value[0]


def _start(match: Match) -> int:
    return match[1]
