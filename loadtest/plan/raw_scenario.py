"""Load scenarios as written in a file, before they are checked."""

from collections.abc import Callable
from types import GenericAlias
from typing import Annotated, Any, TypeAlias

import attrs

from configfile.keys import Kind
from configfile.kinds import Count, Secret, Wait, read_text
from loadtest.figures.conditions import parse_condition, parse_until
from loadtest.plan.kinds import (
    Address,
    Clients,
    Rate,
    as_keys,
)
from loadtest.plan.load_request import LoadRequest
from loadtest.plan.objectives import parse_objectives
from loadtest.plan.scenario import ScenarioKeys


def _texts_kind(read: Callable[[str], object], kind: Callable[[], Any]) -> Kind:
    """Return the kind of one text, a list of texts, or a mapping from parts of the load to texts."""

    def pick(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return GenericAlias(tuple, (kind(), ...))
        return GenericAlias(dict, (str, kind())) if isinstance(value, dict) else None

    def flat(found: Any) -> tuple[str, ...]:
        if isinstance(found, tuple):
            return tuple(text for texts in found for text in texts)
        if isinstance(found, dict):
            return tuple(f"{name}: {text}" for name, texts in found.items() for text in texts)
        text = read_text(found)
        read(text)
        return (text,)

    return Kind("texts", flat, pick=pick)


Conditions: TypeAlias = Annotated[tuple[str, ...], _texts_kind(parse_condition, lambda: Conditions)]
EarlyConditions: TypeAlias = Annotated[tuple[str, ...], _texts_kind(parse_until, lambda: EarlyConditions)]
Objectives: TypeAlias = Annotated[tuple[str, ...], _texts_kind(parse_objectives, lambda: Objectives)]


@attrs.frozen(field_transformer=as_keys)
class RawRequest(LoadRequest):
    """A kind of request as written in a file.

    Its objectives are parsed here, because their syntax is checked first.
    """

    slo: Objectives = ()


@attrs.frozen(field_transformer=as_keys)
class RawRateStep:
    seconds: Wait
    rate: Rate | None = None
    concurrency: Clients | None = None
    to: Rate | None = None


@attrs.frozen(field_transformer=as_keys)
class RawScenario(ScenarioKeys):
    requests: tuple[RawRequest, ...]
    targets: dict[str, Address] | None = None
    url: Address | None = None
    rate: Rate | None = None
    steps: tuple[RawRateStep, ...] | None = None
    concurrency: Clients | None = None
    find_rate: bool = False
    find_concurrency: bool = False
    max_rate: Rate | None = None
    max_concurrency: Count | None = None
    seconds: Wait | None = None
    headers: dict[str, Secret] = attrs.field(factory=dict)
    fail_if: Conditions = ()
    until: EarlyConditions = ()
    slo: Objectives = ()
    probe: Rate | None = None
