"""The routing options of a client for one request.

They are in headers of this gateway, or in the body in another router's form (``gateway.seams.request_forms``).

An option only narrows: it never makes a request run longer, more often or elsewhere than without it. A fallback ran
although the client had disabled it (BerriAI/litellm#19077). An invalid option is rejected with its path and never
ignored."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Final, Literal, TypeAlias

import attrs
import msgspec

from configfile.kinds import read_positive_duration
from configfile.wording import Wrong
from gateway.config.aliases import Balance
from gateway.config.allowances import Currency
from gateway.config.amounts import read_amount
from gateway.request.client_request import ClientRequest
from gateway.request.parse import Incoming
from gateway.routing.target import Target
from streams.errors import GatewayError, invalid

MODELS, FALLBACK, DEADLINE = "x-trigate-models", "x-trigate-fallback", "x-trigate-deadline"
BUDGET, REQUESTED_STEPS, STRICT = "x-trigate-budget", "x-trigate-steps", "x-trigate-strict"
ROUTING_HEADERS: Final = frozenset((MODELS, FALLBACK, DEADLINE, BUDGET, REQUESTED_STEPS, STRICT))
MOST_NAMES: Final = 32
MOST_WORDS: Final = 128
"""Names in one list of a body: each is compared with every candidate while the event loop waits."""

Word: TypeAlias = tuple[str, str]
"""The path of a name in the request, and the name."""


@attrs.frozen(eq=False, repr=False)
class RequestBudget:
    """The budget of one request: ``amount`` nano-dollars or tokens."""

    amount: int
    currency: Currency


@attrs.frozen(eq=False, repr=False)
class RoutingOptions:
    """The routing options of one request.

    ``names`` are the models to use in turn instead of the body's. Their targets in ``order`` come first; only targets
    in ``only`` and not in ``ignored`` are used (names of entries and of providers). With ``fallback`` off, only the
    first one is used. ``deadline`` is in seconds, ``max_repeats`` is the limit of retries, ``budgets`` that of costs.
    ``balance`` applies to groups. ``strict``: only targets that support the whole request. ``private`` names a member
    about the use of the data, which no target here can guarantee. ``members`` are the body's routing members by form,
    whole, and ``rest`` their remaining parts. ``dropped`` are the paths of unsupported options. ``max_prices`` are the
    maximum prices in nano-dollars, by the fields of ``Price``. ``steps`` are the checks that the client adds."""

    names: tuple[Word, ...] = ()
    order: tuple[Word, ...] = ()
    only: tuple[Word, ...] | None = None
    ignored: tuple[Word, ...] = ()
    fallback: Literal["as configured", "off"] = "as configured"
    deadline: float = math.inf
    max_repeats: int | None = None
    budgets: tuple[RequestBudget, ...] = ()
    balance: Balance | None = None
    strict: bool = False
    private: str | None = None
    members: Mapping[str, Mapping[str, msgspec.Raw]] = attrs.field(factory=dict)
    rest: Mapping[str, msgspec.Raw] = attrs.field(factory=dict)
    dropped: tuple[str, ...] = ()
    max_prices: tuple[tuple[str, int], ...] = ()
    steps: tuple[Word, ...] = ()

    @property
    def names_are_ours(self) -> bool:
        """Whether the names come from a header; names in a body may be another router's."""
        return any(at == MODELS for at, _ in self.names)

    def limited_by(self, headers: "RoutingOptions") -> "RoutingOptions":
        """Return these options, read from a body, with the limits in the ``headers`` applied."""
        return attrs.evolve(
            self,
            names=headers.names or self.names,
            fallback="off" if "off" in (headers.fallback, self.fallback) else self.fallback,
            deadline=min(headers.deadline, self.deadline),
            budgets=(*headers.budgets, *self.budgets),
            steps=(*headers.steps, *self.steps),
        )

    def without_members_in(self, incoming: Incoming) -> Incoming:
        """Return ``incoming`` without its routing members, which were for this gateway."""
        removed = {name for form in self.members.values() for name in form}
        if not removed:
            return incoming
        members = {name: raw for name, raw in incoming.members.items() if name not in removed}
        return with_members(incoming, {**members, **self.rest})

    def members_for(self, target: Target) -> Mapping[str, msgspec.Raw]:
        """Return the routing members that ``target`` receives unchanged because it is such a router."""
        return next((members for form, members in self.members.items() if form == target.entry.provider.id), {})


NO_OPTIONS: Final = RoutingOptions()


def with_members(incoming: Incoming, members: Mapping[str, msgspec.Raw]) -> Incoming:
    """Return ``incoming`` with other members, whose values keep their bytes."""
    return attrs.evolve(incoming, body=msgspec.json.encode(members), members=members)


def without_members(incoming: Incoming, names: Collection[str]) -> Incoming:
    """Return ``incoming`` without the members in ``names``."""
    return with_members(incoming, {name: raw for name, raw in incoming.members.items() if name not in names})


def read_headers(client_request: ClientRequest) -> RoutingOptions:
    """Return the routing options in a request's headers.

    Raises ``GatewayError`` (400) with the header's name for an invalid one; does not check whether the models exist."""
    if ROUTING_HEADERS.isdisjoint(dict(client_request.headers)):
        return NO_OPTIONS
    headers = [(name, value) for name, value in client_request.headers if name in ROUTING_HEADERS]
    models = [value for name, value in headers if name == MODELS]
    return RoutingOptions(
        names=_read_models(",".join(models)) if models else (),
        fallback="off"
        if False in [read_switch(name, value) for name, value in headers if name == FALLBACK]
        else "as configured",
        deadline=min([_read_deadline(value) for name, value in headers if name == DEADLINE], default=math.inf),
        budgets=tuple(_read_budget(value) for name, value in headers if name == BUDGET),
        strict=True in [read_switch(name, value) for name, value in headers if name == STRICT],
        steps=read_steps([value for name, value in headers if name == REQUESTED_STEPS]),
    )


def read_steps(values: Sequence[str]) -> tuple[Word, ...]:
    """Return the steps in the ``values`` of the header for them. Raises ``GatewayError`` (400) for an empty list."""
    names = [(REQUESTED_STEPS, name) for value in values for name in map(str.strip, value.split(",")) if name]
    if values and not names:
        raise invalid(
            f"{REQUESTED_STEPS} must have at least one step, such as: {REQUESTED_STEPS}: pii", REQUESTED_STEPS
        )
    return check_names(names)


def _read_models(value: str) -> tuple[Word, ...]:
    names = tuple(dict.fromkeys(filter(None, map(str.strip, value.split(",")))))
    if not names:
        raise invalid(f"{MODELS} must have at least one model, such as: {MODELS}: first, second", MODELS)
    return check_names([(MODELS, name) for name in names])


def refuse_requested_steps(client_request: ClientRequest) -> None:
    """Raise ``GatewayError`` (400) if the header lists a step, because none are configured."""
    if client_request.header(REQUESTED_STEPS) is not None:
        raise unknown_step_error(*read_headers(client_request).steps[0])


def unknown_step_error(path: str, name: str) -> GatewayError:
    """Return the error for a step that a client requests and cannot have."""
    return invalid(
        f"{path}: there is no step {name[:100]!r} for this client; remove the name, or ask the operator for it", path
    )


def check_names(names: list[Word]) -> tuple[Word, ...]:
    """Remove duplicates from ``names``. Raises ``GatewayError`` (400) for too many."""
    different: dict[str, str] = {}
    for at, name in names:
        different.setdefault(name, at)
    if len(different) > MOST_NAMES:
        at = names[MOST_NAMES][0]
        raise invalid(f"{at} is one name too many: send at most {MOST_NAMES}", at)
    return tuple((at, name) for name, at in different.items())


_SWITCHES: Final = {"on": True, "1": True, "true": True, "off": False, "0": False, "false": False}


def read_switch(name: str, value: str) -> bool:
    """Return whether the header ``name`` is on. Raises ``GatewayError`` (400) for another word."""
    try:
        return _SWITCHES[value.strip().lower()]
    except KeyError:
        raise invalid(f"{name} must be off or on, not {value[:60]!r}", name) from None


def _read_deadline(value: str) -> float:
    try:
        return read_positive_duration(value.strip())
    except Wrong as wrong:
        raise invalid(f"{DEADLINE}: {wrong.found}; {wrong.expected}", DEADLINE) from None


def _read_budget(value: str) -> RequestBudget:
    try:
        return RequestBudget(*read_amount(value))
    except Wrong as wrong:
        raise invalid(f"{BUDGET}: {wrong.found}; {wrong.expected}", BUDGET) from None
