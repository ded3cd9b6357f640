"""What is known of a name that a client may ask for: the facts of its model, or what all targets of a route have in
common, so that a client that goes by them is right at whichever of them it lands."""

from typing import Final

import attrs

from gateway.config.names import Found
from providers.catalog.model_facts import prompt_limit
from providers.catalog.models import is_claude
from providers.endpoints.endpoint import ENDPOINTS
from providers.endpoints.model_types import ENDPOINTS_OF, ModelType
from providers.neutral.quirks import Quirks, Skill
from streams.events import Api

CONVERSATIONS: Final = ("/v1/chat/completions", "/v1/messages", "/v1/responses")
"""Where every model for conversations can be asked, whatever its provider speaks."""


@attrs.frozen(repr=False)
class Description:
    """The facts of a name: tokens that it takes (``window``) and gives (``longest``), what it ``can`` do, the
    ``quirks`` of the first target, and all that it was ``found`` to stand for."""

    window: int | None
    longest: int | None
    can: tuple[Skill, ...]
    quirks: Quirks
    found: tuple[Found, ...]

    @property
    def prompt(self) -> int | None:
        """The tokens that a prompt may have."""
        return prompt_limit(self.window, self.longest)

    @property
    def is_known(self) -> bool:
        return bool(self.can) or self.window is not None

    @property
    def type(self) -> ModelType:
        """What it is for: of several targets, what the first is."""
        return self.found[0].entry.type_of(self.found[0].model)

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths at which a client can ask for it, one of each endpoint: those of its type that a target has."""
        there = (
            ENDPOINTS[name].paths[0]
            for name in ENDPOINTS_OF[self.type]
            if any(one.entry.place_of(name, one.model) is not None for one in self.found)
        )
        return (*(CONVERSATIONS if self.type == "chat" else ()), *there)

    def is_claude_in(self, api: Api) -> bool:
        """True if requests of ``api`` reach a Claude model in the same API, wherever they go."""
        return all(is_claude(one.model) and one.entry.api_for(api, one.model) == api for one in self.found)


def described(found: tuple[Found, ...]) -> Description:
    """The description of a name that stands for ``found``, the first of which is asked first."""
    quirks = [one.entry.quirks_of(one.model) for one in found]
    first = quirks[0]
    can = tuple(skill for skill in first.can if all(skill in one.can for one in quirks))
    return Description(
        _least([one.context_window for one in quirks]), _least([one.max_output for one in quirks]), can, first, found
    )


def _least(numbers: list[int | None]) -> int | None:
    """The smallest of ``numbers``; ``None`` where one is not known."""
    known = [number for number in numbers if number is not None]
    return min(known) if len(known) == len(numbers) else None
