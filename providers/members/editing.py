"""Edits of a request by a ``MemberLevel``. All other members keep their order and bytes; new ones follow the last."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs
import msgspec

from providers.catalog.effort import CLAUDE_LEVELS, MIN_BUDGET, budget_of, largest_budget
from providers.gemini.spellings import snake
from providers.members.level import MemberLevel, MemberValue
from providers.members.names import BUDGET, EFFORT, LIMIT, WITH_TOOLS, NamedMember, Wire, read_member
from providers.members.raw_paths import (
    EVERY,
    Path,
    change_member,
    change_members,
    encode,
    has_member,
    is_absent,
    remove_members,
)
from providers.neutral.draft import Draft, Edit, Why
from providers.neutral.fields import parse_json
from providers.neutral.levels import LEVELS, known_level
from providers.neutral.quirks import Quirks
from providers.neutral.request import Reasoning
from providers.neutral.values import as_object
from streams.events import APIS

_SHOWN: Final = re.compile(r"[a-z_]{1,20}")
"""Texts that headers and logs repeat; others may be private."""

_IDENTIFIERS: Final = frozenset(("user", "user_id", "safety_identifier", "prompt_cache_key", "metadata"))
"""Members whose texts identify someone."""

_LIMIT: Final = read_member(LIMIT, "max")
_CHAT: Final = "chat"
_NEW_LIMIT: Final = "max_completion_tokens"
"""The name of a new token limit in Chat."""
_EFFORT: Final = read_member(EFFORT, "max")
_BUDGET: Final = read_member(BUDGET, "max")
CLAUDE_THINKING: Final[Mapping[Wire, Path]] = {
    "messages": ("thinking",),
    "converse": ("additionalModelRequestFields", "thinking"),
}
"""Claude's thinking."""

_OFF: Final = {"type": "disabled"}


@attrs.frozen(repr=False)
class _Levels:
    """The levels of effort of an API, and how ``none`` is expressed if it is not one of them."""

    known: tuple[str, ...]
    off_path: Path
    off_value: Any


_LEVELS: Final[Mapping[Wire, _Levels]] = {
    **{wire: _Levels(CLAUDE_LEVELS, path, _OFF) for wire, path in CLAUDE_THINKING.items()},
    "gemini": _Levels(
        ("minimal", "low", "medium", "high"), ("generationConfig", "thinkingConfig", "thinkingBudget"), 0
    ),
    "interactions": _Levels(
        ("minimal", "low", "medium", "high", "xhigh"), ("generation_config", "thinking_level"), "minimal"
    ),
}
"""APIs that do not have all levels."""


@attrs.frozen(repr=False)
class PlacedMember:
    """A member that the operator added to a request in the format ``wire``: its path there, and whether it is a
    default."""

    member: NamedMember
    wire: Wire
    path: str
    is_default: bool

    @property
    def why_lost(self) -> Why:
        """The reason of its loss. The loss of a default concerns only the operator."""
        return "operator" if self.is_default else "provider"


@attrs.frozen(repr=False)
class AppliedChanges:
    """The changes of a level: the ``edits`` for reports, and the members that were ``placed``."""

    edits: tuple[Edit, ...] = ()
    placed: tuple[PlacedMember, ...] = ()

    def plus(self, other: "AppliedChanges") -> "AppliedChanges":
        """Return the changes of both."""
        return AppliedChanges((*self.edits, *other.edits), (*self.placed, *other.placed))

    def placed_at(self, path: str) -> tuple[PlacedMember, ...]:
        """Return the operator's members that were added at ``path`` or within it."""
        return tuple(one for one in self.placed if one.path == path or one.path.startswith(f"{path}."))


def apply_level(level: MemberLevel, draft: Draft, wire: Wire, limit_field: str = "") -> AppliedChanges:
    """Edit ``draft``, a request in the format ``wire``.

    ``limit_field`` is the provider's name of Chat's token limit. Raises ``GatewayError`` (400) for invalid JSON text.
    """
    return _Editor(draft, wire, limit_field).apply(level)


def present_members(draft: Draft, wire: Wire, members: Iterable[NamedMember]) -> frozenset[NamedMember]:
    """Return the neutral ``members`` that a request contains, including those that a translation would lose."""
    editor = _Editor(draft, wire, "")
    return frozenset(member for member in members if editor.has(member))


def without_overridden(edits: Iterable[Edit], later: AppliedChanges, wire: Wire) -> tuple[Edit, ...]:
    """Return ``edits`` without those of members that the changes ``later`` have replaced."""
    names = (edit.path for edit in later.edits if edit.form)
    paths = {_path_text(path) for name in names for path in NamedMember("", (name,), name).paths_in(wire)}
    return tuple(edit for edit in edits if not (edit.form.startswith("=") and edit.path in paths))


def apply_for_provider(
    level: MemberLevel, draft: Draft, wire: Wire, quirks: Quirks, earlier: AppliedChanges
) -> AppliedChanges:
    """Edit ``draft``, a request for a provider with ``quirks``, after the changes ``earlier`` to the client's request.

    Raises ``GatewayError`` (400) for invalid JSON text.
    """
    if wire != _CHAT:
        return apply_level(level, draft, wire).plus(AppliedChanges(_unsupported_sets(level, wire)))
    limit_field = quirks.max_tokens_field
    is_placed = limit_field != _NEW_LIMIT and any(one.path == _NEW_LIMIT for one in earlier.placed)
    if is_placed and (limit := draft.raw(_NEW_LIMIT)) is not None:
        draft.put(_NEW_LIMIT, None)  # older servers have another name
        draft.put(limit_field, limit)
    return apply_level(level, draft, wire, limit_field).plus(AppliedChanges(_unsupported_sets(level, wire)))


def _unsupported_sets(level: MemberLevel, wire: Wire) -> tuple[Edit, ...]:
    """Return a reported loss for each member that ``level`` sets but the API ``wire`` lacks."""
    if wire not in APIS:
        return ()
    names = (one.member for one in level.sets if one.member.scope == "")
    return tuple(Edit(one.shown, why="translation") for one in names if not one.paths_in(wire))


_OWN_LIMITS: Final[tuple[Path, ...]] = (("n_predict",), ("num_predict",), ("max_new_tokens",))
"""Limits of output tokens that llama.cpp (https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md),
Ollama and transformers apply instead of the API's. They are changed, but not counted as the request's limit, because
other servers ignore them."""


class _Editor:
    """One run over a request."""

    def __init__(self, draft: Draft, wire: Wire, limit_field: str) -> None:
        self._draft = draft
        self._wire = wire
        self._limit_field = limit_field
        self._edits: dict[str, Edit] = {}
        self._placed: list[PlacedMember] = []

    def has(self, member: NamedMember) -> bool:
        if member.neutral in (EFFORT, BUDGET):
            return self._sets_reasoning()
        return not member.scope and any(has_member(self._draft, path) for path in self._paths_of(member))

    def apply(self, level: MemberLevel) -> AppliedChanges:
        for one in level.defaults:
            self._apply_default(one)
        for one in level.sets:
            self._apply_set(one)
        for one in level.maxima:
            self._apply_limit(one)
        changed = [one.member.neutral for one in (*level.sets, *level.maxima)]
        changed += [one.member.neutral for one in self._placed if one.member.neutral == BUDGET]
        if not {LIMIT, EFFORT, BUDGET}.isdisjoint(changed):
            self._fit_thinking_budget()
        for member in level.drops:
            self._apply_drop(member)
        return AppliedChanges(tuple(self._edits.values()), tuple(self._placed))

    # One member

    def _apply_default(self, setting: MemberValue) -> None:
        paths = self._paths_of(setting.member)
        if not paths:
            return
        if setting.member.neutral in (EFFORT, BUDGET):
            if not self._sets_reasoning() and self._put_effort(setting.member, setting.value):
                self._note_applied_default(setting, [""], paths[0])
            return
        present = [path for path in paths if has_member(self._draft, path)]
        added: list[str] = []
        place = present[0] if present else self._new_member_path(paths)
        if not present:
            if not setting.member.may_be_added(self._wire) or not change_member(
                self._draft, place, lambda raw: encode(setting.value) if is_absent(raw) else raw
            ):
                return
            added.append("")
        elif isinstance(setting.value, dict):
            change_member(self._draft, place, lambda raw: merge_absent(raw, setting.value, added))
        if added:
            self._note_applied_default(setting, added, place)

    def _note_applied_default(self, setting: MemberValue, added: list[str], path: Path) -> None:
        at = _path_text(path)
        self._placed.extend(
            PlacedMember(setting.member, self._wire, f"{at}.{name}" if name else at, True) for name in added
        )
        self._note_change(setting.member, setting.value)

    def _apply_set(self, setting: MemberValue) -> None:
        if not self._paths_of(setting.member):
            return
        if setting.member.neutral == EFFORT:
            changed = self._put_effort(setting.member, setting.value)
            if setting.value != "none":
                budget = budget_of(Reasoning(effort=setting.value))
                changed = self._change(_BUDGET, lambda raw: replace_present(raw, budget)) or changed
        else:
            changed = self._put(setting.member, setting.value)
            own_names = _OWN_LIMITS if setting.member.is_limit else ()
            change_members(self._draft, own_names, lambda raw: replace_present(raw, setting.value))
        self._placed.extend(
            PlacedMember(setting.member, self._wire, _path_text(path), False)
            for path in self._paths_of(setting.member)
            if has_member(self._draft, path)
        )
        if changed:
            self._note_change(setting.member, setting.value)

    def _put(self, member: NamedMember, value: Any) -> bool:
        """Set a member where the request has it, else at its usual path."""
        paths, raw_value = self._paths_of(member), encode(value)
        places = [path for path in paths if has_member(self._draft, path)]
        if not places and member.may_be_added(self._wire):
            places = [self._new_member_path(paths)]
        return change_members(self._draft, places, lambda raw: replace_differing(raw, raw_value))

    def _put_effort(self, member: NamedMember, value: Any) -> bool:
        """Set an effort or a budget in the API's words."""
        levels = _LEVELS.get(self._wire)
        if member.neutral == BUDGET or levels is None or not isinstance(value, str):
            changed = self._put(member, value)
            if changed and member.neutral == BUDGET and (head := CLAUDE_THINKING.get(self._wire)) is not None:
                change_member(self._draft, (*head, "type"), lambda raw: encode("enabled"))
            return changed
        if (level := known_level(value, levels.known)) is not None:
            return self._put(member, level)
        off = encode(levels.off_value)
        removed = self._change(member, lambda raw: None)
        return change_member(self._draft, levels.off_path, lambda raw: replace_differing(raw, off)) or removed

    def _change(self, member: NamedMember, change: Callable[[msgspec.Raw | None], msgspec.Raw | None]) -> bool:
        return change_members(self._draft, self._paths_of(member), change)

    def _apply_limit(self, setting: MemberValue) -> None:
        member, most = setting.member, setting.value
        paths = self._paths_of(member)
        if not paths and member.neutral != EFFORT:
            return
        if isinstance(most, str):
            self._apply_limit_to_effort(member, paths, most)
            return
        own_names = _OWN_LIMITS if member.is_limit else ()
        changed = [
            change_member(self._draft, path, lambda raw: _lower_number(raw, most)) for path in (*paths, *own_names)
        ]
        if member.is_limit and not any(has_member(self._draft, path) for path in paths):
            place = self._new_member_path(paths)
            changed.append(change_member(self._draft, place, lambda raw: encode(most)))
            self._placed.append(PlacedMember(member, self._wire, _path_text(place), False))
        if any(changed):
            self._note_change(member, most)

    def _apply_limit_to_effort(self, member: NamedMember, paths: tuple[Path, ...], most: str) -> None:
        levels = _LEVELS.get(self._wire)
        level = most if levels is None else known_level(most, levels.known)
        changed = [change_member(self._draft, path, lambda raw: _lower_level(raw, most, level)) for path in paths]
        if member.neutral == EFFORT:
            thinking = as_object(self._draft.value("thinking") if self._wire == "messages" else None)
            is_set = any(has_member(self._draft, path) for path in paths)
            if thinking.get("type") == "adaptive" and level is not None and not is_set:
                changed.append(change_member(self._draft, paths[0], lambda raw: encode(level)))
            if (head := CLAUDE_THINKING.get(self._wire)) is not None and most == "none":
                changed.append(change_member(self._draft, head, lambda raw: replace_present(raw, _OFF)))
            if (budget := largest_budget(most)) is not None:
                changed.append(self._change(_BUDGET, lambda raw: _lower_number(raw, budget)))
        if any(changed):
            self._note_change(member, most)

    def _apply_drop(self, member: NamedMember) -> None:
        if remove_members(self._draft, self._paths_of(member)):
            self._edits.pop(member.shown, None)
            self._edits[f"-{member.shown}"] = Edit(member.shown, why="operator")
            if member.neutral == "tools":
                for name in WITH_TOOLS.get(self._wire, ()):
                    change_member(self._draft, (name,), lambda raw: None)

    # Reasoning

    def _sets_reasoning(self) -> bool:
        """Return whether the client controls reasoning by an effort, a budget, or by switching it on or off."""
        own = CLAUDE_THINKING.get(self._wire)
        paths = (*self._paths_of(_EFFORT), *self._paths_of(_BUDGET), *(() if own is None else (own,)))
        return any(has_member(self._draft, path) for path in paths)

    def _fit_thinking_budget(self) -> None:
        """Keep Claude's thinking budget below the token limit, which providers require. Too low a limit turns thinking
        off."""
        if (head := CLAUDE_THINKING.get(self._wire)) is None:
            return
        limits = [_number_at(self._draft, path) for path in self._paths_of(_LIMIT)]
        limit = next((number for number in limits if number is not None), None)
        budget = _number_at(self._draft, (*head, "budget_tokens"))
        if (
            budget is None
            or (limit is None and budget >= MIN_BUDGET)
            or (limit is not None and MIN_BUDGET <= budget < limit)
        ):
            return
        if budget < MIN_BUDGET or (limit is not None and limit <= MIN_BUDGET):
            change_member(self._draft, head, lambda raw: encode(_OFF))
            self._edits["thinking"] = Edit("thinking", lost=False, form="=disabled", why="operator")
        elif limit is not None:
            fitting = max(MIN_BUDGET, limit // 2)
            change_member(self._draft, (*head, "budget_tokens"), lambda raw: encode(fitting))
            self._edits[BUDGET] = Edit(BUDGET, lost=False, form=f"={fitting}", why="operator")

    # Reports

    def _paths_of(self, member: NamedMember) -> tuple[Path, ...]:
        paths = member.paths_in(self._wire)
        if member.is_limit and self._limit_field and (self._limit_field,) in paths:
            return ((self._limit_field,), *(path for path in paths if path != (self._limit_field,)))
        return paths

    def _new_member_path(self, paths: tuple[Path, ...]) -> Path:
        """Return the path of a new member, with the client's spelling of the objects that it has."""
        alike = [path for path in paths if tuple(map(snake, path)) == tuple(map(snake, paths[0]))]
        if len(alike) == 1:
            return paths[0]
        return max(alike, key=lambda path: sum(has_member(self._draft, path[:end]) for end in range(1, len(path))))

    def _note_change(self, member: NamedMember, value: Any) -> None:
        self._edits[member.shown] = Edit(member.shown, lost=False, form=f"={value_text(member, value)}", why="operator")


def _path_text(path: Path) -> str:
    return ".".join(path).replace(f".{EVERY}", EVERY)


def merge_absent(raw: msgspec.Raw | None, value: dict[str, Any], added: list[str]) -> msgspec.Raw | None:
    """Return an object with the absent members of ``value``, recursively; ``added`` gets their paths."""
    if raw is None or bytes(memoryview(raw)[:1]) != b"{":
        return raw
    members: dict[str, msgspec.Raw] = parse_json(raw, dict[str, msgspec.Raw])
    before = len(added)
    for name, inner in value.items():
        own = members.get(name)
        if is_absent(own):
            members[name] = encode(inner)
            added.append(name)
        elif isinstance(inner, dict):
            deeper: list[str] = []
            merged = merge_absent(own, inner, deeper)
            if deeper and merged is not None:
                members[name] = merged
                added.extend(f"{name}.{path}" for path in deeper)
    return raw if len(added) == before else encode(members)


def replace_differing(raw: msgspec.Raw | None, value: msgspec.Raw) -> msgspec.Raw:
    return raw if raw is not None and bytes(raw) == bytes(value) else value


def _lower_number(raw: msgspec.Raw | None, most: float) -> msgspec.Raw | None:
    """Return a number of at most ``most``. Other values and Gemini's -1, for any number, become the maximum."""
    if raw is None or is_absent(raw):
        return raw
    value: Any = parse_json(raw, Any)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return raw if is_number and 0 <= value <= most else encode(most)


def _lower_level(raw: msgspec.Raw | None, most: str, level: str | None) -> msgspec.Raw | None:
    """Return a level of at most ``most``, which is ``level`` in the API; ``None`` if it has no such level."""
    if raw is None or is_absent(raw):
        return raw
    value = parse_json(raw, Any)
    own = value.lower() if isinstance(value, str) else None
    if own in LEVELS[: LEVELS.index(most) + 1]:
        return raw
    return None if level is None else replace_differing(raw, encode(level))


def replace_present(raw: msgspec.Raw | None, value: Any) -> msgspec.Raw | None:
    """Return ``value`` in place of a member that exists."""
    return raw if raw is None or is_absent(raw) else replace_differing(raw, encode(value))


def _number_at(draft: Draft, path: Path) -> int | None:
    value: Any = draft.value(path[0])
    for name in path[1:]:
        value = value.get(name) if isinstance(value, dict) else None
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def value_text(member: NamedMember, value: Any) -> str:
    """Return a number or a word of a setting for reports, and ``...`` for anything else."""
    if isinstance(value, bool | int | float):
        return msgspec.json.encode(value).decode()
    is_word = isinstance(value, str) and _SHOWN.fullmatch(value) and _IDENTIFIERS.isdisjoint(member.path)
    return value if is_word else "..."
