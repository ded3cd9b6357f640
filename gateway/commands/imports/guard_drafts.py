"""The step for a guardrail of another gateway, while ``trigate import`` reads its parameters."""

from collections.abc import Mapping
from typing import Any, Final

import attrs

from gateway.commands.imports.imported_secrets import SecretOwner
from gateway.commands.imports.losses import Group, Reason

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
    """The step for one guardrail: ``at`` and the notes of ``owner`` are changed while its ``params`` are read."""

    owner: SecretOwner
    params: Mapping[str, Any]
    at: list[str]
    losses: dict[str, Reason] = attrs.field(factory=dict)
    read: set[str] = attrs.field(factory=lambda: set(_COMMON))

    def take(self, name: str) -> Any:
        """Return a parameter, which is then converted."""
        self.read.add(name)
        return self.params.get(name)

    def lose(self, name: str, why: str, group: Group = Group.PROTECTION) -> None:
        """Record that a parameter is not converted."""
        self.read.add(name)
        self.losses[name] = group, why
