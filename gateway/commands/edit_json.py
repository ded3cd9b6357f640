"""The editor of JSON settings files, including comments and trailing commas, which many programs accept."""

import json
import re
from collections.abc import Mapping
from typing import Any

import attrs

from gateway.commands.notation import MISSING, Notation, Path

_TOKENS = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/', re.S)
_COMMAS = re.compile(r'"(?:\\.|[^"\\])*"|,(?=\s*[}\]])', re.S)
_DECODER = json.JSONDecoder()


def _blank_comments(text: str) -> str:
    """Return ``text`` as plain JSON of the same length, so that offsets stay the same."""
    for pattern in (_TOKENS, _COMMAS):
        text = pattern.sub(lambda found: found[0] if found[0][0] == '"' else re.sub(r"\S", " ", found[0]), text)
    return text


def _parse_json(text: str) -> Any:
    plain = _blank_comments(text)
    return json.loads(plain) if plain.strip() else {}


@attrs.frozen
class _Object:
    """The offsets of an object: its braces, the values of its members (start and end), and their names."""

    opened: int
    closed: int
    members: Mapping[str, tuple[int, int]]
    names: Mapping[str, int]

    @classmethod
    def at(cls, plain: str, opened: int) -> "_Object":
        """Return the object whose opening brace is at ``opened``. Raises ``ValueError`` if there is no brace."""
        if plain[opened] != "{":
            raise ValueError("not an object")
        members: dict[str, tuple[int, int]] = {}
        names: dict[str, int] = {}
        place = _skip_space(plain, opened + 1)
        while plain[place] != "}":
            name_start = place
            name, place = _DECODER.raw_decode(plain, place)
            names[name] = name_start
            start = _skip_space(plain, place, ":")
            _, end = _DECODER.raw_decode(plain, start)
            members[name] = (start, end)
            place = _skip_space(plain, end, ",")
        return cls(opened, place, members, names)


def _skip_space(plain: str, place: int, mark: str = "") -> int:
    while plain[place].isspace() or plain[place] == mark:
        place += 1
    return place


def _change_json(text: str, path: Path, value: Any) -> str:
    text = text if _blank_comments(text).strip() else text + "{}\n"
    plain = _blank_comments(text)
    place = _skip_space(plain, 0)
    for depth, name in enumerate(path):
        found = _Object.at(plain, place)
        if name not in found.members:
            for step in reversed(path[depth + 1 :]):
                value = {step: value}
            return _insert_json(text, plain, found, name, value, depth)
        place, end = found.members[name]
    if value is MISSING:
        return _remove_json(text, found, path[-1])
    same = value == {} and plain[place] == "{"
    return text if same else text[:place] + json.dumps(value, ensure_ascii=False) + text[end:]


def _insert_json(text: str, plain: str, found: _Object, name: str, value: Any, depth: int) -> str:
    """Return ``text`` with ``name`` as the last member of ``found``, after its comments, in the file's indentation."""
    unit = next(iter(re.findall(r'\n([ \t]+)"', plain)), "  ")
    indent = unit * (depth + 1)
    member = f"{json.dumps(name, ensure_ascii=False)}: {json.dumps(value, ensure_ascii=False, indent=unit)}"
    last = max((end for _, end in found.members.values()), default=None)
    start = found.opened + 1 if last is None else last
    content_end = start + len(text[start : found.closed].rstrip())
    between = text[start:content_end]
    comma = "" if last is None or "," in _TOKENS.sub("", between) else ","
    tail = text[content_end : found.closed]
    tail = tail if "\n" in tail else "\n" + unit * depth
    added = f"\n{indent}" + member.replace("\n", f"\n{indent}")
    return text[:start] + comma + between + added + tail + text[found.closed :]


def _remove_json(text: str, found: _Object, name: str) -> str:
    """Return ``text`` without the member ``name`` of ``found`` and its comma; comments stay."""
    start, (_, end) = found.names[name], found.members[name]
    own = _comma_after(text, end)
    if own is not None:
        return _cut_out(text, start, own + 1)
    text = _cut_out(text, start, end)
    before = [other for _, other in found.members.values() if other < start]
    comma = _comma_after(text, max(before)) if before else None
    return text if comma is None else text[:comma] + text[comma + 1 :]


def _comma_after(text: str, place: int) -> int | None:
    rest = _TOKENS.sub(lambda found: found[0] if found[0][0] == '"' else " " * len(found[0]), text[place:])
    gap = len(rest) - len(rest.lstrip())
    return place + gap if rest[gap : gap + 1] == "," else None


def _cut_out(text: str, start: int, end: int) -> str:
    """Return ``text`` without ``start`` to ``end``, and without the line if it becomes empty."""
    left, right = text[:start].rstrip(" \t"), text[end:].lstrip(" \t")
    if left.endswith("\n") and right.startswith("\n"):
        return left + right[1:]
    return text[:start] + text[end:]


JSON = Notation(_parse_json, _change_json)
