"""The kind ``tools``: the tools that a request may define and a model may call, and the arguments of calls."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from configfile.keys import setting
from configfile.wording import Wrong
from gateway.config.patterns import matches_one
from gateway.features.steps.kinds.linear import LinearPattern
from trigate.steps import Check, Finding, Passage

TOOL: Final = "tool"
ARGUMENT: Final = "argument"

_DEFINITION: Final = re.compile(r"\btools\[\d+\](?:\.(\w+))?\Z|\A(web_search)_options\Z")
"""The path of a definition, with the member that names a provider's own tool, such as Google's ``googleSearch``."""
_CAPITAL: Final = re.compile(r"(?<=[a-z])[A-Z]")


@attrs.frozen(repr=False)
class ToolsSettings:
    """The settings of ``tools``."""

    allow: tuple[str, ...] | None = setting(
        "Patterns of the names of permitted tools, such as `read_*`.", None, shown="all", absent="all"
    )
    deny: tuple[str, ...] = setting("Patterns of forbidden tools, case-insensitive, even if `allow` permits them.", ())
    arguments: Mapping[str, Mapping[str, str]] = setting(
        "Patterns that permitted values must match, by pattern of a tool's name and by argument, both "
        "case-insensitive: `{read_file: {path: ^/srv/}}`.",
        factory=dict,
    )


class ToolsStep:
    """A step that finds tools that are not permitted, and calls with such arguments. Raises ``Wrong``."""

    labels = (TOOL, ARGUMENT)

    def __init__(self, settings: ToolsSettings) -> None:
        self._allow, self._deny = settings.allow, tuple(map(_fold_name, settings.deny))
        self._arguments = [
            (
                _fold_name(tool),
                [(_fold_name(name), _parse_pattern(tool, name, text)) for name, text in patterns.items()],
            )
            for tool, patterns in settings.arguments.items()
        ]
        if settings.allow is None and not settings.deny and not settings.arguments:
            raise Wrong("there is no setting", "give `allow`, `deny` or `arguments`")

    def __call__(self, check: Check) -> list[Finding]:
        """Return a finding for each definition to leave out, and for each call to refuse."""
        found = []
        for passage in check.passages:
            if passage.part == "tools":
                if (name := _name_of(passage)) is not None and not self._is_permitted(name):
                    found.append(Finding(TOOL, passage, 0, len(passage.text), replacement=""))
            elif passage.part == "tool_calls":
                if not self._is_permitted(passage.tool or ""):
                    found.append(Finding(TOOL, passage, 0, len(passage.text), action="refuse"))
                elif not self._has_permitted_arguments(passage):
                    found.append(Finding(ARGUMENT, passage, 0, len(passage.text), action="refuse"))
        return found

    def open_tail(self, text: str, released_length: int = 0) -> int:
        """Return the end of ``text``: calls are checked when they are complete."""
        return len(text)

    def _is_permitted(self, name: str) -> bool:
        is_allowed = self._allow is None or matches_one(name, self._allow)
        return is_allowed and not matches_one(_fold_name(name), self._deny)

    def _has_permitted_arguments(self, passage: Passage) -> bool:
        called = _fold_name(passage.tool or "")
        rules = [rule for tool, rules in self._arguments if matches_one(called, (tool,)) for rule in rules]
        if not rules:
            return True
        try:
            members = json.loads(passage.text or "{}", object_pairs_hook=Members)
        except (ValueError, RecursionError):
            return False
        if not isinstance(members, Members):
            return False
        return all(
            pattern.is_in(text)
            for name, pattern in rules
            for member, value in members.pairs
            if _fold_name(member) == name
            for text in _texts_of(value)
        )


def _fold_name(name: str) -> str:
    """Return the name of a tool or argument without differences that some programs ignore, such as those in Go."""
    return name.strip().casefold()


class Members:
    """The members of a JSON object, duplicates included: programs differ in which of them they use."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = pairs


def _texts_of(value: Any) -> Iterable[str]:
    """Yield the texts in a value that a pattern must match: a string, each item of a list, or JSON."""
    if isinstance(value, list):
        for one in value:
            yield from _texts_of(one)
    elif isinstance(value, Members):
        for _, one in value.pairs:
            yield from _texts_of(one)
    else:
        yield value if isinstance(value, str) else json.dumps(value)


def _name_of(passage: Passage) -> str | None:
    """Return the name of a definition, or the type of a tool that a provider runs; ``None`` for the choice of tools."""
    if passage.tool:
        return passage.tool
    if (found := _DEFINITION.search(passage.path)) is None:
        return None
    if member := found[1] or found[2]:
        return _CAPITAL.sub(lambda capital: f"_{capital[0]}", member).lower()
    try:
        definition = json.loads(passage.text)
    except ValueError:
        return ""
    return str(definition.get("type") or next(iter(definition), "")) if isinstance(definition, dict) else ""


def _parse_pattern(tool: str, name: str, source: str) -> LinearPattern:
    try:
        return LinearPattern(source, has_edges=True)
    except Wrong as wrong:
        raise Wrong(f"the pattern of {tool}.{name}: {wrong.found}", wrong.expected) from None
