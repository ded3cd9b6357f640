"""The key ``request`` of entries, aliases, groups and client keys: members of requests that the operator sets."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs

from configfile.document import Path
from configfile.keys import setting
from configfile.wording import Wrong
from gateway.config.findings import Findings

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

    before: str | None = setting("The text before the client's instructions.", None)
    after: str | None = setting("The text after the client's instructions.", None)


@attrs.frozen(repr=False)
class RequestMembers:
    """The members of requests that one level sets. ``level`` is their compiled form."""

    default: Mapping[str, Any] = setting(
        "Members that the gateway adds if the client sends none, or `null`. Objects are merged.",
        factory=dict,
    )
    set: Mapping[str, Any] = setting("Members that replace the client's, such as `{store: false}`.", factory=dict)
    max: Mapping[str, Any] = setting(
        "The highest values of numbers, and of `reasoning_effort`. The gateway lowers higher ones, and sends "
        "`max_tokens` if the client does not.",
        factory=dict,
    )
    drop: tuple[str, ...] = setting('Members that the gateway removes, such as `[user, "tools[].strict"]`.', ())
    system: Instructions = setting("Instructions around the client's.", factory=Instructions, shown="none")
    level: "MemberLevel | None" = attrs.field(default=None, eq=False)

    def __hash__(self) -> int:
        return hash((self.drop, self.system, *self.default, *self.set, *self.max))


def build_members(members: RequestMembers | None, path: Path, findings: Findings) -> RequestMembers | None:
    """Return ``members``, the value of the key at ``path``, in their compiled form, and report mistakes in them."""
    if members is None:
        return None
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
