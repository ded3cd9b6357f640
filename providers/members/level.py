"""The members that one level of a configuration sets: an entry, an alias, a group or a key."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs

from configfile.expanded import Unresolved
from configfile.kinds import plain_value
from configfile.wording import Wrong, describe, nearest
from providers.members.names import BUDGET, EFFORT, OTHER, NamedMember, Use, Wire, checked_value, read_member
from providers.neutral.levels import LEVELS

Report = Callable[[tuple[str, ...], Wrong], None]
"""A function that reports an error at a path within the level."""


@attrs.frozen(repr=False)
class MemberValue:
    """A member with its value."""

    member: NamedMember
    value: Any = attrs.field(eq=False)
    text: str = ""
    """The value as JSON, by which two of them are compared."""


@attrs.frozen(repr=False)
class MemberLevel:
    """The members that one level sets, or several levels together.

    ``defaults`` apply to absent members, ``sets`` replace, ``maxima`` limit, and ``drops`` remove, in this order.
    ``before`` and ``after`` are texts around the client's instructions, in the order of the request.
    """

    defaults: tuple[MemberValue, ...] = ()
    sets: tuple[MemberValue, ...] = ()
    maxima: tuple[MemberValue, ...] = ()
    drops: tuple[NamedMember, ...] = ()
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    @property
    def edits_members(self) -> bool:
        """Whether the level changes members, not only the instructions."""
        return bool(self.defaults or self.sets or self.maxima or self.drops)

    @property
    def has_instructions(self) -> bool:
        return bool(self.before or self.after)

    def within(self, inner: "MemberLevel") -> "MemberLevel":
        """Return this level together with ``inner``, the next one towards the provider.

        The outer default and the inner ``set`` win; of two maxima, ``editing`` applies both.
        """
        return MemberLevel(
            defaults=(*self.defaults, *inner.defaults),
            sets=(*self.sets, *inner.sets),
            maxima=(*self.maxima, *inner.maxima),
            drops=tuple(dict.fromkeys((*self.drops, *inner.drops))),
            before=(*self.before, *inner.before),
            after=(*inner.after, *self.after),
        )

    def without_instructions(self) -> "MemberLevel":
        return attrs.evolve(self, before=(), after=())

    def instructions(self) -> "MemberLevel":
        """Return the level with nothing but its instructions."""
        return MemberLevel(before=self.before, after=self.after)

    def with_instructions_of(self, other: "MemberLevel") -> "MemberLevel":
        return attrs.evolve(self, before=other.before, after=other.after)

    def for_attempt(self, client: Wire, provider: Wire, entry: "MemberLevel") -> "MemberLevel":
        """Return what applies to a translated request, after this level was applied to the client's.

        Members that the client's API lacks, and ``other`` ones, apply now. Maxima and drops apply again, because a
        translation or ``entry`` may have added a member. Members of one API stay with the client's request.
        """
        again = provider != client or entry.edits_members
        return MemberLevel(
            defaults=(*(one for one in self.defaults if _is_for_provider(one.member, client)), *entry.defaults),
            sets=(*(one for one in self.sets if _is_for_provider(one.member, client)), *entry.sets),
            maxima=(*(one for one in self.maxima if again and not _is_prefixed(one.member)), *entry.maxima),
            drops=(
                *(one for one in self.drops if one.scope == OTHER or (again and not _is_prefixed(one))),
                *entry.drops,
            ),
        )


NO_MEMBERS: Final = MemberLevel()


def _is_prefixed(member: NamedMember) -> bool:
    return member.scope not in ("", OTHER)


def _is_for_provider(member: NamedMember, client: Wire) -> bool:
    return member.scope == OTHER or (not member.scope and not member.may_be_added(client))


def combine(levels: Iterable[MemberLevel | None]) -> MemberLevel:
    """Return ``levels``, from the outside in, as one."""
    found = NO_MEMBERS
    for level in levels:
        if level is not None:
            found = level if found is NO_MEMBERS else found.within(level)
    return found


def compile_level(
    default: Mapping[str, Any],
    set_to: Mapping[str, Any],
    most: Mapping[str, Any],
    drop: tuple[str, ...],
    before: str | None,
    after: str | None,
    report: Report,
) -> MemberLevel:
    """Return the level of the settings in a file, and ``report`` their mistakes."""
    sets = _read_values("set", set_to, report)
    drops = _read_drops(drop, report)
    dropped = {one.path: one for one in drops}
    for one in sets:
        if one.member in dropped.values():
            report(("set", _member_text(one.member)), Wrong("it is in `drop`, too", "remove one of them"))
    return MemberLevel(
        _read_values("default", default, report), sets, _read_values("max", most, report), drops,
        (before,) if before else (), (after,) if after else (),
    )  # fmt: skip


def _member_text(member: NamedMember) -> str:
    return f"{member.scope}.{member.shown}" if member.scope else member.shown


def _read_values(use: Use, members: Mapping[str, Any], report: Report) -> tuple[MemberValue, ...]:
    found = []
    for text, value in members.items():
        try:
            member = read_member(text, use)
            if not isinstance(value, Unresolved):
                value = _read_value(member, value, _read_maximum if use == "max" else checked_value)
        except Wrong as wrong:
            report((use, text), wrong)
            continue
        found.append(MemberValue(member, value, repr(value)))
    return tuple(found)


def _read_value(member: NamedMember, value: Any, read: Callable[[NamedMember, Any], Any]) -> Any:
    """Return the value of a member. The text of a variable is a number or a boolean if text is invalid."""
    try:
        return read(member, value)
    except Wrong:
        if (plain := plain_value(value)) is value:
            raise
    try:
        return read(member, plain)
    except Wrong as wrong:
        raise Wrong(describe(value), wrong.expected) from None  # without the variable's value


def _read_maximum(member: NamedMember, value: Any) -> Any:
    """Return a maximum: a number, or a level of effort. Raises ``Wrong``."""
    if member.neutral == EFFORT or (isinstance(value, str) and member.neutral is None):
        if value not in LEVELS:
            near = nearest(value, LEVELS) if isinstance(value, str) else None
            raise Wrong(describe(value), f"expected one of {', '.join(LEVELS)}", near)
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Wrong(describe(value), "a maximum is a number, or a level of effort")
    value = checked_value(member, value)
    least = 0 if member.neutral in (None, BUDGET) else None
    if member.is_limit and value < 1:
        raise Wrong(describe(value), "expected 1 or more")
    if least is not None and value < least:
        raise Wrong(describe(value), "expected 0 or more")
    return value


def _read_drops(names: tuple[str, ...], report: Report) -> tuple[NamedMember, ...]:
    found = []
    for index, text in enumerate(names):
        try:
            found.append(read_member(text, "drop"))
        except Wrong as wrong:
            report(("drop", str(index)), wrong)
    return tuple(dict.fromkeys(found))
