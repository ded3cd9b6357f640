"""The parts of a load by their names: one target, one kind of request, or one kind on one target."""

import re
from collections.abc import Collection
from typing import Final

import attrs

from configfile.wording import nearest

_ON: Final = " on "


class NoPart(ValueError):
    """Raised for a name that no part has; ``found`` says what is wrong, ``expected`` which there are."""

    def __init__(self, found: str, expected: str) -> None:
        self.found, self.expected = found, expected
        super().__init__(f"{found}; {expected}")


@attrs.frozen
class LoadPart:
    """A part of a load; "" stands for all targets, and for all kinds of requests."""

    target: str = ""
    request: str = ""

    @property
    def rank(self) -> int:
        """The narrower, the higher; a kind is narrower than a target."""
        return 2 * bool(self.request) + bool(self.target)

    def holds(self, target: str, request: str) -> bool:
        """Whether a request of this kind, on this target, is in it."""
        return self.target in ("", target) and self.request in ("", request)


def part_of(name: str, targets: Collection[str], requests: Collection[str]) -> LoadPart:
    """The part that is called ``name``: a target's, a kind's, or ``KIND on TARGET``; "" is all. Raises ``NoPart``."""
    if not name:
        return LoadPart()
    if name in requests and name in targets:
        raise NoPart(f"{name} is a target and a kind of request", "give the request another name")
    if name in requests:
        return LoadPart(request=name)
    if name in targets:
        return LoadPart(target=name)
    for place in (found.start() for found in re.finditer(_ON, name)):
        request, target = name[:place], name[place + len(_ON) :]
        if request in requests and target in targets:
            return LoadPart(target, request)
    names = [*requests, *filter(None, targets)]
    near = nearest(name, names)
    raise NoPart(
        f"{name} is no target and no kind of request",
        f"did you mean {near}?" if near else f"there are {', '.join(names)}",
    )
