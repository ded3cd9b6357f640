"""Load scenarios as they are written."""

import math
from collections.abc import Callable
from types import GenericAlias
from typing import Annotated, Any, Literal, TypeAlias

import attrs

from configfile.keys import Kind
from configfile.kinds import Count, Duration, Secret, Wait, read_text
from configfile.wording import Wrong
from loadtest.figures.conditions import early, parse
from loadtest.plan.asked_loads import Burst, Burstiness
from loadtest.plan.comparison import NoCondition
from loadtest.plan.kinds import (
    HTTP_1,
    PERCENTILES,
    STREAMS,
    Address,
    Clients,
    FilePath,
    HttpVersion,
    Percentiles,
    Rate,
    Requests,
    Speed,
    StreamCount,
    TokenCount,
    as_keys,
)
from loadtest.plan.load_request import LoadRequest
from loadtest.plan.objectives import objectives
from loadtest.plan.scenario import Spacing
from loadtest.plan.shares import Processes


def _texts(read: Callable[[str], object], kind: Callable[[], Any]) -> Kind:
    """Return the kind of one text, a list of them, or a mapping of the parts of the load that they are about."""

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
        try:
            read(text)
        except NoCondition as error:
            raise Wrong(error.found, error.expected) from None
        return (text,)

    return Kind("texts", flat, pick=pick)


Conditions: TypeAlias = Annotated[tuple[str, ...], _texts(parse, lambda: Conditions)]
EarlyConditions: TypeAlias = Annotated[tuple[str, ...], _texts(early, lambda: EarlyConditions)]
Objectives: TypeAlias = Annotated[tuple[str, ...], _texts(objectives, lambda: Objectives)]

# The defaults
AS_RECORDED = 1.0
GRACE, PATIENCE, SEED, ONCE = 30.0, 300.0, 1, 1
SECONDS, EVER = 30.0, math.inf  # EVER: until there is the count


@attrs.frozen(field_transformer=as_keys)
class RawRequest(LoadRequest):
    """One kind of request as it is written: its objectives are read here, above what they are about."""

    slo: Objectives = ()


@attrs.frozen(field_transformer=as_keys)
class RawRateStep:
    seconds: Wait
    rate: Rate | None = None
    concurrency: Clients | None = None
    to: Rate | None = None


@attrs.frozen(field_transformer=as_keys)
class RawScenario:
    requests: tuple[RawRequest, ...]
    targets: dict[str, Address] | None = None
    url: Address | None = None
    rate: Rate | None = None
    steps: tuple[RawRateStep, ...] | None = None
    spacing: Spacing = "even"
    burstiness: Burstiness | None = None
    burst: Burst | None = None
    concurrency: Clients | None = None
    trace: FilePath | None = None
    speed: Speed = AS_RECORDED
    find_rate: bool = False
    find_concurrency: bool = False
    max_rate: Rate | None = None
    max_concurrency: Count | None = None
    repeat: Count = ONCE
    seconds: Wait | None = None
    count: Requests | None = None
    max_tokens: TokenCount | None = None
    warmup: Duration = 0.0
    grace: Duration = GRACE
    timeout: Wait = PATIENCE
    idle: Wait | None = None
    deadline: Wait | None = None
    respect_retry_after: bool = False
    connections: Literal["keep", "new"] = "keep"
    http: HttpVersion = HTTP_1
    streams_per_connection: StreamCount = STREAMS
    resend: bool = True
    dns_ttl: Duration = 0.0
    key_env: str | None = None
    headers: dict[str, Secret] = attrs.field(factory=dict)
    strict: bool = False
    fail_if: Conditions = ()
    until: EarlyConditions = ()
    slo: Objectives = ()
    seed: Count = SEED
    processes: Processes = 1
    probe: Rate | None = None
    percentiles: Percentiles = PERCENTILES
    same_prompts: bool = False
