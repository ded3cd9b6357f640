"""The key ``request`` of entries, aliases, groups and clients: members of requests that the operator sets."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

import attrs

from configfile.document import Path
from configfile.keys import part_of, setting
from configfile.wording import Wrong
from gateway.config.findings import Findings
from gateway.config.parts import ItemPart

_CACHES: Final = (
    "request.system: after a change of `before`, providers' prompt caches miss once, because prompts have a new start"
)
_RESPONSES: Final = (
    "request.system: the gateway translates and stores the turns of Responses clients itself, because a provider's "
    "responses repeat the instructions"
)

if TYPE_CHECKING:
    from providers.members.level import MemberLevel


@attrs.frozen(repr=False)
class Instructions:
    """Constant texts around the client's instructions."""

    shown_members: ClassVar = "given"

    before: str | None = setting("The text before the client's instructions.", None)
    after: str | None = setting("The text after the client's instructions.", None)


@attrs.frozen(repr=False)
class RequestMembers:
    """The members of requests that one level sets. ``level`` is their compiled form."""

    shown_members: ClassVar = "given"

    default: Mapping[str, Any] = setting(
        "Members that the gateway adds if the client sends none, or `null`. Objects are merged.",
        factory=dict,
    )
    set: Mapping[str, Any] = setting("Members that replace the client's, such as `{store: false}`.", factory=dict)
    max: Mapping[str, Any] = setting(
        "The highest numbers and `reasoning_effort`. Higher ones are lowered; a missing `max_tokens` is added.",
        factory=dict,
    )
    drop: tuple[str, ...] = setting('Members that the gateway removes, such as `[user, "tools[].strict"]`.', ())
    system: Instructions = setting("Instructions around the client's.", factory=Instructions, shown="none")
    level: "MemberLevel | None" = attrs.field(default=None, eq=False)

    def __hash__(self) -> int:
        return hash((self.drop, self.system, *self.default, *self.set, *self.max))


@attrs.frozen
class RequestKeys(ItemPart):
    """The keys of entries, aliases, groups and clients."""

    request: RequestMembers | None = setting(
        "Members that the gateway [sets](request-members.md) in every request.",
        None,
    )

    def complete(self, item: Any, path: Path, config: Any, findings: Findings) -> "RequestKeys":
        return self if self.request is None else RequestKeys(_compile(self.request, (*path, "request"), findings))

    def beyond_lead(self) -> tuple[str, str] | None:
        """Let a lead set only members that a client may send, and remove none: others may name models or foreign
        objects, and ``drop`` would remove what the group sets and limits."""
        members = self.request or RequestMembers()
        if members.drop:
            return "request.drop", "drop no members, which the group may set: remove request.drop"
        for kind, given in (("default", members.default), ("set", members.set)):
            for name, value in given.items():
                if "." in name or not isinstance(value, str | int | float):
                    reason = "set only texts and numbers of neutral members, such as temperature: remove "
                    return f"request.{kind}.{name[:100]}", f"{reason}request.{kind}[{name[:100]!r}]"
        return None


def _compile(members: RequestMembers, path: Path, findings: Findings) -> RequestMembers:
    """Return ``members``, the value of the key at ``path``, in their compiled form, and report mistakes in them."""
    from providers.members.level import compile_level  # imported only for a configuration with such a key

    def report(place: tuple[str, ...], wrong: Wrong) -> None:
        *parts, last = place
        step = int(last) if parts == ["drop"] else last
        findings.wrong((*path, *parts, step), wrong.found, wrong.expected, wrong.suggestion)

    system = members.system
    level = compile_level(members.default, members.set, members.max, members.drop, system.before, system.after, report)
    if level.has_instructions:
        findings.note(_CACHES)
        findings.note(_RESPONSES)
    return attrs.evolve(members, level=level)


def request_of(item: Any) -> RequestMembers | None:
    """Return the members that an entry, alias, group or client sets."""
    return part_of(item, RequestKeys).request
