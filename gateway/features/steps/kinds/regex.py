"""The kind ``regex``: the operator's own patterns, which are searched in linear time."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import attrs

from configfile.keys import setting
from configfile.wording import Wrong
from gateway.features.steps.kinds.linear import LinearPattern
from gateway.features.steps.kinds.normal import SHORTEST, DecodedTexts, NormalText, copies_of
from gateway.features.steps.kinds.scanning import LONGEST_SEGMENT, Match, ScanningStep

ENCODED: Final = "[A-Za-z0-9+/_%-]"
"""The characters of encoded text, which belongs to a segment although no pattern has them all."""


@attrs.frozen(repr=False)
class RegexSettings:
    """The settings of ``regex``."""

    patterns: Mapping[str, str] = setting(
        "Patterns by label, in Python's syntax without backreferences, lookarounds, `^` and `$`. Matches are as long "
        "as possible."
    )


class RegexStep(ScanningStep):
    """A step that finds the matches of patterns by label. Raises ``Wrong``."""

    sizes: tuple[int, ...] = (LONGEST_SEGMENT,)
    is_ascii_only = True

    def __init__(self, settings: RegexSettings) -> None:
        if not settings.patterns:
            raise Wrong("`patterns` is empty", "give a pattern by label, such as {project: 'project-[a-z]+'}")
        self._patterns = [(label, _parse_pattern(label, source)) for label, source in settings.patterns.items()]
        self.labels = tuple(settings.patterns)
        self._is_ascii = all(source.isascii() for source in settings.patterns.values())
        leaves = dict.fromkeys(leaf for _, pattern in self._patterns for leaf in pattern.leaves)
        accepted = [
            ENCODED,
            *(f"(?i:{leaf.pattern})" if leaf.flags & re.IGNORECASE else leaf.pattern for leaf in leaves),
        ]
        if any(pattern.has_boundaries for _, pattern in self._patterns):
            accepted.append(r"\w")
        self.segment = re.compile(f"(?:{'|'.join(accepted)})++")
        self.characters = "".join(char for char in map(chr, range(128)) if self.segment.match(char))
        prefixes = [pattern.prefix for _, pattern in self._patterns]
        if all(prefixes):
            found = (f"(?:{prefix.pattern})" for prefix in prefixes if prefix is not None)
            self.candidate = "|".join((*found, "%", f"{ENCODED}{{{SHORTEST}}}"))

    def copies(self, text: str) -> Sequence[NormalText]:
        return copies_of(text, is_folded=self._is_ascii)

    def open_value(self, text: str, start: int, end: int) -> int:
        return min(pattern.open_from(text, start, end) for _, pattern in self._patterns)

    def search_end(self, text: str, first: int, end: int) -> Iterator[Match]:
        return self.search(text, first, end)

    def may_match(self, text: str, start: int) -> bool:
        return start < len(text)

    def search_decoded(self, decoded: DecodedTexts) -> Iterator[Match]:
        for run in decoded.runs:
            for label, first, last in self.search_plain(run.text, 0, len(run.text)):
                yield label, *run.span(first, last)

    def search_plain(self, text: str, start: int, end: int) -> Iterator[Match]:
        for label, pattern in self._patterns:
            for first, last in pattern.spans(text, start, end):
                yield label, first, last


def _parse_pattern(label: str, source: str) -> LinearPattern:
    try:
        pattern = LinearPattern(source)
    except Wrong as wrong:
        raise Wrong(f"the pattern of {label!r}: {wrong.found}", wrong.expected) from None
    if pattern.matches_nothing:
        raise Wrong(f"the pattern of {label!r} matches the empty text", "use `+` instead of `*`")
    return pattern
