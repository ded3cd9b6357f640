"""The steps that check, mask or record content: the keys of an item of ``steps``."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

import attrs

from configfile.document import Mistake
from configfile.expanded import Unresolved
from configfile.keys import Kind, part_of, setting
from configfile.kinds import Natural, Wait, any_of, text_matching
from configfile.wording import Wrong, describe
from gateway.config.kinds import ShortName, list_of
from gateway.config.settings import Config

StepMoment: TypeAlias = Literal["request", "during", "response", "finished"]
StepAction: TypeAlias = Literal["mask", "refuse", "report"]
StepPart: TypeAlias = Literal[
    "system", "user", "assistant", "reasoning", "tool_calls", "tool_results", "tools", "media", "input", "other",
]  # fmt: skip
"""The words of ``trigate.steps``, which the start does not import."""

Unchecked: TypeAlias = Literal["refuse", "pass"]
"""The treatment of content that a step could not check."""

RefusalForm: TypeAlias = Literal["error", "stop"]
"""The form of a refusal: an HTTP error, or a response that ends with the API's word for filtered content."""

HoldWord: TypeAlias = Literal["whole", "nothing"]

ON_REQUEST: Final = "on_request"

StepUse: TypeAlias = Annotated[
    str,
    text_matching(
        r"[A-Za-z0-9][A-Za-z0-9_.-]*|[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*"
        r"|[^:\0]*[/.][^:\0]*:[A-Za-z_][A-Za-z0-9_.]*",
        "a kind such as pii, package.module:name, or ./file.py:name",
    ),
]
"""A kind, an entry point, or the module or file of code with a name in it."""


def _read_hold(value: Any) -> HoldWord | int:
    if value in ("whole", "nothing"):
        return value  # type: ignore[no-any-return]
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    if isinstance(number, bool) or not isinstance(number, int) or not 0 < number <= 10**6:
        raise Wrong(describe(value), "expected whole, nothing, or a number of characters from 1 to 1000000")
    return number


Hold: TypeAlias = Annotated[
    HoldWord | int,
    Kind(
        "`whole`, `nothing` or number of characters",
        _read_hold,
        any_of({"enum": ["whole", "nothing"]}, {"type": "integer", "minimum": 1, "maximum": 10**6}),
    ),
]
"""The text of a response that is held until its check: all of it, nothing, or its last characters."""

Actions: TypeAlias = Annotated[
    StepAction | Mapping[str, StepAction],
    Kind(
        "`mask`, `refuse` or `report`, or mapping of labels to them",
        pick=lambda value: dict[str, StepAction] if isinstance(value, dict) else StepAction,
        parts=(StepAction, dict[str, StepAction]),
    ),
]

_ALL: Final[dict[str, Any]] = {"shown": "all", "absent": "all", "shape": {"minItems": 1}}
"""The facts of a list whose absence means all."""


@attrs.frozen(repr=False)
class StepScope:
    """The requests that a step applies to: patterns over their names, ``None`` for all.

    A pattern that begins with ``!`` excludes. All lists must match. With ``on_request``, the client must also list the
    step in its request."""

    clients: tuple[str, ...] | None = setting("Names of `client_keys`.", None, **_ALL)
    groups: tuple[str, ...] | None = setting("Names of `client_groups`.", None, **_ALL)
    models: tuple[str, ...] | None = setting(
        "The names that clients request. To cover a provider under every name, use `entries`.", None, **_ALL
    )
    entries: tuple[str, ...] | None = setting(
        "The names of entries, also as fallbacks.",
        None,
        **_ALL,
    )
    endpoints: tuple[str, ...] | None = setting(
        "The endpoints, such as `embeddings`, or the API of a conversation, such as `chat`. Others are unchecked.",
        None,
        **_ALL,
    )
    on_request: bool = setting(
        "Run the step only for requests that list it in `x-trigate-steps`, as `for: on_request` does.", False
    )

    @property
    def is_for_all(self) -> bool:
        return self == EVERYTHING


EVERYTHING: Final = StepScope()


def _read_scope(value: Any) -> StepScope:
    if isinstance(value, StepScope):
        return value
    if value == ON_REQUEST:
        return StepScope(on_request=True)
    raise Wrong(describe(value), "expected on_request, or a mapping such as {clients: [app]}")


Scope: TypeAlias = Annotated[
    StepScope,
    Kind(
        "mapping, or `on_request`",
        _read_scope,
        pick=lambda value: StepScope if isinstance(value, dict) else None,
        parts=(Literal["on_request"], StepScope),
    ),
]


@attrs.frozen(repr=False)
class StepRefusal:
    """The response to a refused request."""

    form: RefusalForm = setting(
        "`error`: 400 with `code: content_filter`. `stop`: a response with `message` as its text, and the API's "
        "reason for filtered content.",
        "error",
        name="as",
    )
    message: str | None = setting("The text for the client.", None, shown="names the step and the label")


@attrs.frozen(repr=False)
class StepSettings:
    """One item of ``steps``.

    ``settings`` are those in the file, ``kind_settings`` the same of a built-in kind, read with its class. ``secrets``
    are the credentials in them. ``written`` is the position of ``use``, for later messages."""

    holds_secrets = True

    use: StepUse = setting(
        "A [kind](#kinds-of-steps), an entry point in `trigate.steps`, `package.module:name`, or `./file.py:name` "
        "relative to this file."
    )
    name: ShortName = setting("Its unique name in headers, log and metrics.", "", shown="from `use`", compared=False)
    at: tuple[StepMoment, ...] | None = setting(
        "The [moments](steps-reference.md#moments) at which it runs.",
        None,
        shown="the kind's; for code `[request, response]`",
        absent="the default",
        shape={"minItems": 1},
    )
    action: Actions | None = setting(
        "`mask` the text, `refuse`, or `report` in log and metrics. A mapping sets it by label; other labels are "
        "refused.",
        None,
        shown="the kind's; for code `refuse`",
        absent="the default",
    )
    scope: Scope = setting(
        "The requests that it applies to. Every list in it must match.",
        EVERYTHING,
        shown="all requests",
        name="for",
    )
    settings: dict[str, Any] = setting(
        "The settings of the [kind](#kinds-of-steps), or of your code.", factory=dict, secret=True, name="with"
    )
    hold: Hold | None = setting(
        "The part of a response that [waits](steps-reference.md#moments) for the check.",
        None,
        shown="the kind's; for code `whole`",
        absent="the default",
    )
    parts: tuple[StepPart, ...] | None = setting(
        "The texts that it sees: `system`, `user`, `assistant`, `reasoning`, `tool_calls`, `tool_results`, `tools` "
        "(definitions), `media`, `input` (of requests without a conversation), `other`.",
        None,
        shown="all except `tools` and `media`",
        absent="the default",
        shape={"minItems": 1},
    )
    latest: bool = setting("See only the messages after the last one of the assistant.", False)
    restore: bool = setting("Replace masks in responses with the client's own values.", False)
    deadline: Wait = setting("The longest time of one call.", 5.0)
    concurrent: Natural = setting(
        "The most simultaneous calls in each worker. One client gets at most half of them.", 64
    )
    unchecked: Unchecked = setting("The treatment of content that the step could not check.", "refuse")
    refusal: StepRefusal = setting("The response to a refused request.", factory=StepRefusal, shown="a 400")
    kind_settings: Any = attrs.field(default=None, eq=False)
    secrets: tuple[str, ...] = attrs.field(default=(), eq=False)
    written: Mistake | None = attrs.field(default=None, eq=False)

    @property
    def texts_of_secrets(self) -> tuple[str, ...]:
        return self.secrets

    @property
    def is_code(self) -> bool:
        """Whether ``use`` names a module or file."""
        return ":" in self.use


Steps: TypeAlias = Annotated[tuple[StepSettings, ...], list_of(StepSettings)]


@attrs.frozen
class StepKeys:
    """The keys of the root."""

    steps: Steps = setting(
        "The [steps](steps.md) that check, mask, refuse or record requests and responses, in this order.",
        (),
        items="step",
        ordered=True,
    )


def steps_of(config: Config) -> tuple[StepSettings, ...]:
    """Return the steps of ``config``, in order."""
    return part_of(config, StepKeys).steps


def texts_in(value: Any) -> Iterator[str]:
    """Yield every text in ``value``, which may be a mapping or a list."""
    if isinstance(value, str):
        yield value
    for member in value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ():
        yield from texts_in(member)


def has_unresolved(value: Any) -> bool:
    """Return whether ``value`` contains a variable without a value, or the path of a file that was not read."""
    return any(isinstance(text, Unresolved) for text in texts_in(value))
