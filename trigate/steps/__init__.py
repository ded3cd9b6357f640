"""The types of a step: code that checks the text of requests and responses, or records finished exchanges.

A step gets a ``Check`` and returns a ``Finding`` for each span of text that it recognizes. The configuration decides
whether the gateway masks or reports a finding, or refuses the request. An observer gets ``Finished`` records.
``docs/steps.md`` describes the configuration. All names here are stable, and nothing here imports the gateway.
``testing`` runs a step in a test.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Literal, Protocol, TypeAlias, TypeVar, get_args

import attrs

Part: TypeAlias = Literal[
    "system", "user", "assistant", "reasoning", "tool_calls", "tool_results", "tools", "media", "input", "other",
]  # fmt: skip
"""The origin of a text. ``tools`` are definitions. ``input`` is the text of requests other than conversations.
``other`` is text in a member that the gateway does not know."""

PARTS: Final[tuple[Part, ...]] = get_args(Part)

Moment: TypeAlias = Literal["request", "during", "response", "finished"]
"""The time of a check: before the request is sent, during the
provider's work, on the response, or after the exchange."""

Action: TypeAlias = Literal["mask", "refuse", "report"]
"""The treatment of a finding."""


@attrs.frozen(eq=False)
class Passage:
    """One text of a request or response.

    ``path`` is its position in the client's API, such as ``messages[2].content``. ``tool`` is the name of the tool of a
    call, a result or a definition. The client already has the first ``released_length`` characters of ``text``, which
    are only context. ``media_type``, ``size`` (bytes) and ``sha256`` (hex) describe media, ``data`` are its bytes where
    the step asks for them."""

    part: Part
    path: str
    text: str
    tool: str | None = None
    released_length: int = 0
    media_type: str | None = None
    size: int | None = None
    sha256: str | None = None
    data: bytes | None = attrs.field(default=None, repr=False)


@attrs.frozen(eq=False)
class Check:
    """The input of a step: the ``passages`` in order, and the exchange that they belong to.

    ``model`` is the name that the client requested, ``target`` the entry that serves the request, once it is known.
    ``api`` is the client's API or endpoint. ``run`` is the client's name for a group of requests. ``is_last``: no text
    of this response follows."""

    at: Moment
    passages: Sequence[Passage]
    client: str | None = None
    group: str | None = None
    model: str | None = None
    target: str | None = None
    api: str = ""
    request_id: str = ""
    run: str | None = None
    is_last: bool = True


@attrs.frozen(eq=False)
class Finding:
    """A span of a passage: its characters from ``start`` to before ``end``, with a ``label`` such as ``email``.

    A masked finding becomes ``replacement``, by default a placeholder with its label. ``action`` overrides the action
    that the configuration sets for its label."""

    label: str
    passage: Passage
    start: int
    end: int
    replacement: str | None = None
    action: Action | None = None


@attrs.frozen(eq=False)
class Finished:
    """The record of a finished exchange.

    ``started`` is in Unix seconds, ``duration`` and ``first_content`` in seconds, ``cost`` in dollars, ``None`` without
    a price. ``ended`` is the reason as in the log. ``steps`` maps the steps that ran to their outcomes. ``request`` and
    ``response`` are the JSON texts after all masks, ``None`` unless the configuration asks for content."""

    request_id: str
    client: str | None
    group: str | None
    api: str
    endpoint: str | None
    model: str | None
    target: str | None
    provider_model: str | None
    status: int
    ended: str
    started: float
    duration: float
    first_content: float | None
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cost: float | None
    run: str | None
    steps: Mapping[str, str]
    error: str | None = None
    request: str | None = attrs.field(default=None, repr=False)
    response: str | None = attrs.field(default=None, repr=False)


class Step(Protocol):
    """A function that checks text. A plain function runs in a thread, an async one in trio's loop."""

    def __call__(self, check: Check, /) -> Sequence[Finding] | Awaitable[Sequence[Finding]]:
        """Return the findings. An exception counts as unchecked content."""


class Observer(Protocol):
    """A function that records finished exchanges. A plain function runs in a thread, an async one in trio's loop."""

    def __call__(self, records: list[Finished], /) -> Awaitable[None] | None:
        """Record ``records``. The gateway logs an exception, and does not call again with the same records."""


C = TypeVar("C", bound=Callable[..., Any])


@attrs.frozen
class StepOptions:
    """The defaults that the author of a step declares; the configuration overrides all but ``remember``."""

    at: tuple[Moment, ...] | None = None
    action: Action | None = None
    hold: Literal["whole", "nothing"] | int | None = None
    parts: tuple[Part, ...] | None = None
    remember: bool = False


def step(
    *,
    at: Sequence[Moment] | None = None,
    action: Action | None = None,
    hold: Literal["whole", "nothing"] | int | None = None,
    parts: Sequence[Part] | None = None,
    remember: bool = False,
) -> Callable[[C], C]:
    """Return a decorator that declares defaults of a step.

    ``remember``: the same text always has the same findings, so that the gateway may skip a text that it found clean
    for the same client before."""
    options = StepOptions(
        None if at is None else tuple(at), action, hold, None if parts is None else tuple(parts), remember
    )

    def declare(function: C) -> C:
        function.trigate_options = options  # type: ignore[attr-defined]
        return function

    return declare


def options_of(step: object) -> StepOptions:
    """Return the defaults that ``step`` declares."""
    found = getattr(step, "trigate_options", None)
    return found if isinstance(found, StepOptions) else StepOptions()
