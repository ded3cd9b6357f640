"""The names of ``model_aliases``, and Plano's preferences: names that stand for several targets."""

from typing import Annotated, Any, Final, Literal, TypeAlias

import attrs

from configfile.keys import Kind, Shape, ignored, setting
from configfile.kinds import HeaderName, Wait, Weight
from configfile.wording import Wrong, described_word
from gateway.config.attempts import Hedge, Retries
from gateway.config.cached_answers import CacheUse
from gateway.config.kinds import BY_NAME, Reasons
from streams.events import UNAVAILABLE

Balance: TypeAlias = Literal["least_busy", "weighted", "lowest_latency", "cheapest"]


@attrs.frozen
class RouteTarget:
    """A place in a route: the ``target``, an entry's name or a model that a wildcard takes, its share within its group,
    and the failures of those before it that lead here."""

    target: str = setting("A `name`, a `provider/model id` or a bare model id of `model_providers`.")
    weight: Weight = setting("Its share within its group. With `0` it is asked only when the others are out.", 1.0)
    when: Reasons = setting(
        "The failures of those before it that lead here; see [targets](#targets).",
        UNAVAILABLE,
        shown="`[unavailable]`",
        shape={"minItems": 1},
    )


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
"""The targets of a name: a list in the list is a group."""


def _sticky(value: Any) -> Any:
    if value is False:
        return None
    if isinstance(value, str):
        return HeaderName
    raise Wrong(described_word(value), "this must be auto, false or the name of a header")


Stickiness: TypeAlias = Annotated[
    str | None,
    Kind(
        "`auto`, `false` or the name of a header",
        lambda value: value or None,
        pick=_sticky,
        parts=(Literal[False], HeaderName),
    ),
]
"""The header by which turns of a conversation stay with their target, ``auto``, or ``None`` for not at all."""


@attrs.frozen
class Route:
    """A name for one model, its ``target``, or for several in ``groups``, which are tried in order; in each group
    ``balance`` decides. ``first_content`` is the patience with each target but the last, in seconds. ``retries`` of
    ``None`` are those of the configuration."""

    target: str | None = setting(
        "A `name`, a `provider/model id` or a bare model id of the list above.", None, example=True, compared=False
    )
    groups: TargetGroups = setting(
        "In place of `target`: several of these, asked in this order until one answers; see [targets](#targets).",
        (),
        name="targets",
        shape=_GROUPS,
    )
    default: bool = setting(
        "Serves requests that name no model, as an entry's `default` does; one of both for each `type`.", False
    )
    balance: Balance = setting(
        "Which one of a group is asked: the one with the fewest open answers, each by its `weight`, the one whose "
        "answers begin soonest, or the one that costs least.",
        "least_busy",
    )
    sticky: Stickiness = setting(
        "Whether the turns of a conversation stay with the one of a group that has them in its prompt cache: `auto` "
        "goes by what clients send anyway, the name of a header by that header's value.",
        "auto",
        absent="false",
    )
    first_content: Wait | None = setting(
        "How long a streamed answer may go without content while there is another target; then that is asked.",
        None,
        shown="no limit of its own",
    )
    hedge: Hedge | None = setting(
        "Ask the next target as well when the first one is slow; see [hedge](#hedge).", None, shown="never"
    )
    retries: Retries | None = setting("As [retries](#retries), for this name only.", None, shown="the root's")
    cache: CacheUse | None = setting(
        "Give the same answer to the same request again; see [below](#of-a-name-or-a-client).", None, shown="never"
    )
    name: str = ""

    @property
    def places(self) -> tuple[tuple[int, RouteTarget], ...]:
        """Each target with the number of its group."""
        return tuple((number, one) for number, group in enumerate(self.groups) for one in group)


@attrs.frozen
class EntryPreference:
    """A use that the model of an entry is preferred for."""

    name: str = setting("The name of a route that this entry is a target of.")
    description: Any = ignored(BY_NAME)


@attrs.frozen
class SelectionPolicy:
    """How one of the preferred models is chosen."""

    prefer: Literal["cheapest", "fastest", "none"] = setting(
        "`cheapest` and `fastest` make a group of them all, with the `balance` that is called so or `lowest_latency`; "
        "`none` keeps their order.",
        "none",
    )


@attrs.frozen
class RoutingPreference:
    """A use, and the models that are preferred for it."""

    name: str = setting("The name of a route.")
    models: tuple[str, ...] = setting("Its targets.")
    selection_policy: SelectionPolicy | None = setting(
        "`prefer` says how one of them is chosen.", None, shown="in their order"
    )
    description: Any = ignored(BY_NAME)
