"""The step for a guardrail of another gateway, while ``trigate import`` reads its parameters."""

from collections.abc import Container, Iterator, Mapping
from typing import Any, Final

import attrs

from gateway.commands.imports.imported_secrets import SecretOwner
from gateway.commands.imports.losses import Group

ACTIONS: Final[Mapping[str, str]] = {"MASK": "mask", "BLOCK": "refuse"}
"""The actions of steps by LiteLLM's."""

_COMMON: Final = frozenset(
    ("guardrail", "mode", "default_on", "unreachable_fallback", "fail_on_error", "skip_system_message_in_guardrail",
     "skip_tool_message_in_guardrail", "guardrail_name", "description")
)  # fmt: skip
"""The members of ``litellm_params`` that all guardrails have."""


class GuardLost(Exception):
    """The reason why a guardrail has no step."""


@attrs.define(repr=False)
class GuardDraft:
    """The step for one guardrail: ``settings`` and ``at`` are changed while its parameters are read."""

    title: str
    owner: SecretOwner
    params: Mapping[str, Any]
    at: list[str]
    losses: dict[str, tuple[Group, str]] = attrs.field(factory=dict)
    notes: list[str] = attrs.field(factory=list)
    read: set[str] = attrs.field(factory=lambda: set(_COMMON))

    def take(self, name: str) -> Any:
        """Return a parameter, which is then converted."""
        self.read.add(name)
        return self.params.get(name)

    def lose(self, name: str, why: str, group: Group = Group.PROTECTION) -> None:
        """Record that a parameter is not converted."""
        self.read.add(name)
        self.losses[name] = group, why


def items_of(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the mappings in a list."""
    yield from (one for one in (value if isinstance(value, list) else ()) if isinstance(one, dict))


def free_name(name: str, taken: Container[str], joint: str) -> str:
    """Return ``name``, with a number if it is in ``taken``."""
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}{joint}{number}"
    return found
