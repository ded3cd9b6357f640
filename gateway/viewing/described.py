"""The description of a name: the facts of its model, or the facts that apply to all targets of a route."""

from functools import lru_cache
from typing import Final

import attrs

from gateway.config.names import Found
from gateway.routing.router import SHORT, Router
from providers.catalog.model_facts import prompt_limit
from providers.catalog.models import is_claude
from providers.endpoints.endpoint import ENDPOINTS
from providers.endpoints.model_types import ENDPOINTS_OF, ModelType
from providers.neutral.quirks import Quirks, Skill
from streams.errors import GatewayError
from streams.events import Api

CONVERSATIONS: Final = ("/v1/chat/completions", "/v1/messages", "/v1/responses")
"""The endpoints of every conversation model, whatever API its provider speaks."""


DESCRIBED: Final = 4096
"""Number of remembered descriptions; large enough for a list of all models."""


@attrs.frozen(repr=False)
class Description:
    """The facts of a name.

    ``window`` and ``longest`` are the limits of its input and output tokens, ``can`` its capabilities, ``quirks`` those
    of the first target, and ``found`` all targets."""

    window: int | None
    longest: int | None
    can: tuple[Skill, ...]
    quirks: Quirks
    found: tuple[Found, ...]

    @property
    def prompt(self) -> int | None:
        """The limit of a prompt's tokens."""
        return prompt_limit(self.window, self.longest)

    @property
    def is_known(self) -> bool:
        return bool(self.can) or self.window is not None

    @property
    def type(self) -> ModelType:
        """The type of the first target's model."""
        return self.found[0].entry.type_of(self.found[0].model)

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths at which clients can request it, one for each endpoint of its type that a target has."""
        there = (
            ENDPOINTS[name].paths[0]
            for name in ENDPOINTS_OF[self.type]
            if any(one.entry.place_of(name, one.model) is not None for one in self.found)
        )
        return (*(CONVERSATIONS if self.type == "chat" else ()), *there)

    def is_claude_in(self, api: Api) -> bool:
        """Return whether every target serves requests of ``api`` with a Claude model in the same API."""
        return all(is_claude(one.model) and one.entry.api_for(api, one.model) == api for one in self.found)


class Descriptions:
    """The descriptions of the names that ``router`` resolves, remembered."""

    def __init__(self, router: Router) -> None:
        self._names = router.names
        self._remembered = lru_cache(DESCRIBED)(self._describe)

    def of(self, name: str) -> Description | None:
        """Return the description of ``name``, or ``None`` if it is unknown or ambiguous."""
        try:
            return self._remembered(name) if len(name) <= SHORT else self._describe(name)
        except GatewayError:
            return None

    def _describe(self, name: str) -> Description:
        return describe_targets(self._names.meaning(name).found)


def describe_targets(found: tuple[Found, ...]) -> Description:
    """Return the description of a name with the targets ``found``, in order of preference."""
    quirks = [one.entry.quirks_of(one.model) for one in found]
    first = quirks[0]
    can = tuple(skill for skill in first.can if all(skill in one.can for one in quirks))
    return Description(
        _smallest_or_none([one.context_window for one in quirks]),
        _smallest_or_none([one.max_output for one in quirks]),
        can,
        first,
        found,
    )


def _smallest_or_none(numbers: list[int | None]) -> int | None:
    """Return the smallest number, or ``None`` if one is unknown."""
    known = [number for number in numbers if number is not None]
    return min(known) if len(known) == len(numbers) else None
