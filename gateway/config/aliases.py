"""The names in ``model_aliases`` and in Plano's preferences, which can each have several targets."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args

import attrs

from configfile.keys import Kind, Shape, ignored, parts, setting
from configfile.kinds import HeaderName, Wait, Weight, text_matching
from configfile.wording import Wrong, describe_word
from gateway.config.attempts import Hedge, Retries
from gateway.config.kinds import BY_NAME, Name, Reasons
from streams.events import UNAVAILABLE, FailureReason

Balance: TypeAlias = Literal["least_busy", "weighted", "lowest_latency", "cheapest"]


@attrs.frozen(repr=False)
class RouteTarget:
    """A target of a route: an entry's name or a wildcard's model, its share within its group, and the failures of
    earlier targets and kinds of requests that lead to it."""

    target: str = setting("As in [model_aliases](#model_aliases).")
    weight: Weight = setting("Its share within its group. `0`: only while the others are unavailable.", 1.0)
    when: Reasons = setting(
        "The failures of earlier targets that lead to this one, and the [kinds of "
        "requests](routing.md#targets-by-kind-of-request) that go to it first.",
        UNAVAILABLE,
        shown="`[unavailable]`",
        shape={"minItems": 1},
    )

    @property
    def failures(self) -> frozenset[FailureReason]:
        """The failures of earlier targets that lead to it; none if it is only for ``kinds`` of requests."""
        return frozenset(reason for reason in get_args(FailureReason) if reason in self.when)

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of requests that go to it first."""
        return self.when - self.failures


_Target: TypeAlias = Annotated[
    RouteTarget,
    Kind(
        "name or mapping",
        lambda value: RouteTarget(value) if isinstance(value, str) else value,
        pick=lambda value: RouteTarget if isinstance(value, dict) else str,
        parts=(str, RouteTarget),
    ),
]
_Group: TypeAlias = Annotated[
    tuple[RouteTarget, ...],
    Kind(
        "name, mapping or list",
        lambda value: value if isinstance(value, tuple) else (value,),
        pick=lambda value: tuple[_Target, ...] if isinstance(value, list) else _Target,
    ),
]
_SHAPE: Final[Shape] = {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/RouteTarget"}]}
_GROUPS: Final[Shape] = {
    "items": {"anyOf": [*_SHAPE["anyOf"], {"type": "array", "items": _SHAPE, "minItems": 1}]},
    "minItems": 1,
}
TargetGroups: TypeAlias = Annotated[
    tuple[tuple[RouteTarget, ...], ...],
    Kind(
        "list of names, mappings and lists",
        pick=lambda _: tuple[_Group, ...],
        parts=(tuple[_Target, ...],),
    ),
]
"""The targets of a name; a list within the list is a group."""


def _pick_sticky_type(value: Any) -> Any:
    if value is False:
        return None
    if isinstance(value, str):
        return HeaderName
    raise Wrong(describe_word(value), "expected auto, false or the name of a header")


Stickiness: TypeAlias = Annotated[
    str | None,
    Kind(
        "`auto`, `false` or the name of a header",
        lambda value: value or None,
        pick=_pick_sticky_type,
        parts=(Literal[False], HeaderName),
    ),
]
"""The header that pins a conversation's turns to a target, ``auto``, or ``None`` for no pinning."""


@attrs.frozen(repr=False)
class Route:
    """A name for one ``target``, or for ``groups`` that are tried in order, each balanced by ``balance``.

    ``first_content`` is the wait for each target but the last, in seconds. ``retries`` of ``None`` means the
    configuration's."""

    target: str | None = setting(
        "One model: a `name`, a `provider/model id` or a bare model id.",
        None,
        compared=False,
    )
    groups: TargetGroups = setting(
        "Several models, tried in this order until one responds.",
        (),
        name="targets",
        shape=_GROUPS,
        compared=False,
    )
    default: bool = setting(
        "Use this name for requests without a model. One default for each `type`, with entries.",
        False,
        compared=False,
    )
    balance: Balance = setting(
        "The [choice](routing.md#load-balancing) within a group.",
        "least_busy",
    )
    sticky: Stickiness = setting(
        "Keep a [conversation](routing.md#conversations-stay-with-one-member) with the target that has its prompt in "
        "the cache. A header name identifies conversations by that header.",
        "auto",
        absent="false",
    )
    first_content: Wait | None = setting(
        "The longest time to a stream's first content while another target is available.",
        None,
        shown="no extra limit",
    )
    hedge: Hedge | None = setting("Also send a slow request to the next target.", None, shown="never")
    retries: Retries | None = setting("For this name only.", None, shown="the root's")
    parts: Mapping[type, Any] = parts()
    name: str = ""

    @property
    def places(self) -> tuple[tuple[int, RouteTarget], ...]:
        """Return each target with the number of its group."""
        return tuple((number, one) for number, group in enumerate(self.groups) for one in group)

    @property
    def is_wildcard(self) -> bool:
        """True for the name of a family: it has a ``*``."""
        return "*" in self.name

    def matches(self, requested_name: str) -> bool:
        """Return whether this wildcard alias is for ``requested_name``."""
        before, _, after = self.name.partition("*")
        is_long_enough = len(requested_name) >= len(self.name)
        return is_long_enough and requested_name.startswith(before) and requested_name.endswith(after)

    def target_for(self, target: str, requested_name: str) -> str:
        """Return ``target`` of this wildcard alias for ``requested_name``.

        Its ``*`` is the whole model id after a slash, otherwise the part that the ``*`` of the alias matches."""
        start, star, end = target.partition("*")
        before, _, after = self.name.partition("*")
        if star and start.endswith("/") and not end:
            return start + requested_name[before.rfind("/") + 1 :]
        return start + requested_name[len(before) : len(requested_name) - len(after)] + end if star else target

    def name_for(self, target: str, specific: str) -> str | None:
        """Return the requested name for which ``target`` of this wildcard alias is ``specific``, if any."""
        start, _, end = target.partition("*")
        part = specific[len(start) : len(specific) - len(end)]
        before, _, after = self.name.partition("*")
        whole = before[: before.rfind("/") + 1] + part
        for name in (whole, f"{before}{part}{after}"):
            if self.matches(name) and self.target_for(target, name) == specific:
                return name
        return None


Alias: TypeAlias = Annotated[
    Route,
    Kind(
        "mapping",
        lambda value: Route(value) if isinstance(value, str) else value,
        pick=lambda value: str if isinstance(value, str) and "*" in value else Route,
        parts=(Annotated[str, text_matching(r"[^*]*[*].*", "a model with a `*`")], Route),
    ),
]
"""An item of ``model_aliases``. ``'house-*': openai/gpt-*`` means ``{target: openai/gpt-*}``."""


@attrs.frozen(repr=False)
class EntryPreference:
    """A use for which an entry's model is preferred."""

    name: Name = setting("Plano's older form of a route: entries with the same name become its targets, in file order.")
    description: Any = ignored(BY_NAME)


@attrs.frozen(repr=False)
class SelectionPolicy:
    """The choice between preferred models."""

    prefer: Literal["cheapest", "fastest", "none"] = setting(
        "`cheapest` and `fastest` make one group, with `balance: cheapest` or `lowest_latency`. `none` keeps the "
        "order.",
        "none",
    )


@attrs.frozen(repr=False)
class RoutingPreference:
    """A use, and its preferred models."""

    name: Name = setting("The name of the route.")
    models: tuple[str, ...] = setting("Its targets.")
    selection_policy: SelectionPolicy | None = setting("`prefer` sets the choice among them.", None, shown="in order")
    description: Any = ignored(BY_NAME)
