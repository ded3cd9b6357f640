"""What a client says, for one request, of where it may go: by headers of this gateway, or in its body, in the form that
it would send to another router (``router_bodies.py``).

A wish narrows: nothing is asked for longer, more often or elsewhere than the client might have asked for without it. A
switched-off fallback ran all the same elsewhere (BerriAI/litellm#19077). One that cannot be understood is refused, with
its place, and never ignored.
"""

import math
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import attrs
import msgspec

from configfile.kinds import read_positive_duration
from configfile.wording import Wrong
from gateway.config.aliases import Balance
from gateway.config.allowances import Currency
from gateway.config.amounts import read_amount
from gateway.config.settings import ClientRouting
from gateway.request.client_request import ClientRequest
from gateway.request.parse import Incoming
from gateway.routing.target import Target
from streams.errors import invalid

MODELS, FALLBACK, DEADLINE = "x-trigate-models", "x-trigate-fallback", "x-trigate-deadline"
BUDGET = "x-trigate-budget"
WISH_HEADERS: Final = frozenset((MODELS, FALLBACK, DEADLINE, BUDGET))
MOST_NAMES: Final = 32
MOST_WORDS: Final = 128
"""Names in one list of a body: each is compared with every place that the request may go to, while nobody else is
answered."""

Word: TypeAlias = tuple[str, str]
"""A name that a client gives, behind its place in the request."""


@attrs.frozen(eq=False, repr=False)
class RequestBudget:
    """What one request may cost: ``most`` nano-dollars or tokens."""

    most: int
    currency: Currency


@attrs.frozen(eq=False, repr=False)
class Wishes:
    """What one request says of where it may go. ``names`` are the models to be asked in turn, in place of the one that
    the body names. Of the places that these stand for, those in ``order`` come first, nothing outside of ``only`` is
    asked, and nothing in ``ignored`` (names of entries and of providers).

    With ``fallback`` off the first place is the only one. ``deadline`` is in seconds, ``repeats`` how often a place may
    be asked again, ``budgets`` what it may cost. ``balance`` is that of groups; ``strict``: nobody may be asked who
    cannot be given everything; ``private``: names a member that says what becomes of the data, which no place here can
    promise.

    ``members`` are those of the body that said this, by their form, whole, and ``rest`` what is left of them;
    ``dropped`` are the places of wishes that nothing here corresponds to. ``most`` are the highest prices that may be
    paid, by the kinds that a ``Price`` has, in nano-dollars."""

    names: tuple[Word, ...] = ()
    order: tuple[Word, ...] = ()
    only: tuple[Word, ...] | None = None
    ignored: tuple[Word, ...] = ()
    fallback: Literal["as configured", "off"] = "as configured"
    deadline: float = math.inf
    repeats: int | None = None
    budgets: tuple[RequestBudget, ...] = ()
    balance: Balance | None = None
    strict: bool = False
    private: str | None = None
    members: Mapping[ClientRouting, Mapping[str, msgspec.Raw]] = attrs.field(factory=dict)
    rest: Mapping[str, msgspec.Raw] = attrs.field(factory=dict)
    dropped: tuple[str, ...] = ()
    most: tuple[tuple[str, int], ...] = ()

    @property
    def names_are_ours(self) -> bool:
        """Whether the names come from a header: those of a body may be another router's own."""
        return any(at == MODELS for at, _ in self.names)

    def within(self, headers: "Wishes") -> "Wishes":
        """The wishes of a body within those of the ``headers`` beside it."""
        return attrs.evolve(
            self,
            names=headers.names or self.names,
            fallback="off" if "off" in (headers.fallback, self.fallback) else self.fallback,
            deadline=min(headers.deadline, self.deadline),
            budgets=(*headers.budgets, *self.budgets),
        )

    def stripped(self, incoming: Incoming) -> Incoming:
        """``incoming`` without the members that said this: they were meant for this gateway."""
        gone = {name for form in self.members.values() for name in form}
        if not gone:
            return incoming
        members = {name: raw for name, raw in incoming.members.items() if name not in gone}
        return with_members(incoming, {**members, **self.rest})

    def members_for(self, target: Target) -> Mapping[str, msgspec.Raw]:
        """The members that ``target`` is to get as they are, because it is such a router itself."""
        return next((members for form, members in self.members.items() if form == target.entry.provider.id), {})


NO_WISHES: Final = Wishes()


def with_members(incoming: Incoming, members: Mapping[str, msgspec.Raw]) -> Incoming:
    """``incoming`` with other members: each value keeps its bytes."""
    return attrs.evolve(incoming, body=msgspec.json.encode(members), members=members)


def read_headers(asked: ClientRequest) -> Wishes:
    """The wishes of a request's headers. Raises ``GatewayError`` (400) with the header's name for a wrong one; whether
    there are models of such names is not looked at."""
    if WISH_HEADERS.isdisjoint(dict(asked.headers)):
        return NO_WISHES
    given = [(name, value) for name, value in asked.headers if name in WISH_HEADERS]
    models = [value for name, value in given if name == MODELS]
    return Wishes(
        names=_names(",".join(models)) if models else (),
        fallback="off" if "off" in [_fallback(value) for name, value in given if name == FALLBACK] else "as configured",
        deadline=min([_deadline(value) for name, value in given if name == DEADLINE], default=math.inf),
        budgets=tuple(_budget(value) for name, value in given if name == BUDGET),
    )


def _names(value: str) -> tuple[Word, ...]:
    names = tuple(dict.fromkeys(filter(None, map(str.strip, value.split(",")))))
    if not names:
        raise invalid(f"{MODELS} must have at least one model, such as: {MODELS}: first, second", MODELS)
    return checked([(MODELS, name) for name in names])


def checked(names: list[Word]) -> tuple[Word, ...]:
    """``names``, each once and not too many of them. Raises ``GatewayError`` (400)."""
    different: dict[str, str] = {}
    for at, name in names:
        different.setdefault(name, at)
    if len(different) > MOST_NAMES:
        at = names[MOST_NAMES][0]
        raise invalid(f"{at} is one model too many: send at most {MOST_NAMES}", at)
    return tuple((at, name) for name, at in different.items())


def _fallback(value: str) -> Literal["as configured", "off"]:
    match value.strip().lower():
        case "off":
            return "off"
        case "on":
            return "as configured"
    raise invalid(f"{FALLBACK} must be off or on, not {value[:60]!r}", FALLBACK)


def _deadline(value: str) -> float:
    try:
        return read_positive_duration(value.strip())
    except Wrong as wrong:
        raise invalid(f"{DEADLINE}: {wrong.found}; {wrong.expected}", DEADLINE) from None


def _budget(value: str) -> RequestBudget:
    try:
        return RequestBudget(*read_amount(value))
    except Wrong as wrong:
        raise invalid(f"{BUDGET}: {wrong.found}; {wrong.expected}", BUDGET) from None
