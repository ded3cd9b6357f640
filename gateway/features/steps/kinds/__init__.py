"""The built-in kinds of steps: a table of their defaults and modules, each imported with its first use.

``secrets``, ``pii``, ``regex``, ``tools`` and ``size`` search texts, ``http`` and ``presidio`` call services.
``scanning`` searches segments of a text, in the copy that ``normal`` makes. ``secret_formats`` and ``numbers`` are
tables of published formats. ``linear`` searches patterns in linear time.
``services`` sends texts to a service, and ``differences`` finds the spans that it changed."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

import attrs

from gateway.named_imports import import_named
from trigate.steps import PARTS, Action, Moment, Part

KindHold: TypeAlias = Literal["whole", "nothing", "tail"] | int
"""The text of a response that waits for the check. ``tail`` is for built-in kinds: the text that may still become a
match, by ``open_tail``."""

NO_DEFAULT_PARTS: Final[tuple[Part, ...]] = ("tools", "media")
DEFAULT_PARTS: Final[tuple[Part, ...]] = tuple(part for part in PARTS if part not in NO_DEFAULT_PARTS)


@attrs.frozen(repr=False)
class KindContext:
    """The parts of the configuration that a service needs besides its settings: the ``labels`` under ``action``,
    ``restores``: masked values return to the client, and ``ca_path``: certificates that replace the system's."""

    labels: tuple[str, ...] = ()
    restores: bool = False
    ca_path: str | None = None


@attrs.frozen(repr=False)
class KindRow:
    """A kind of step with its defaults.

    ``action`` of ``None``: the service decides. ``settings`` is the class of ``with``, ``make`` a function or class
    that makes the step from such settings; both are names in ``module``. ``is_inline``: the step is a fast pure
    function that runs without a thread. ``remembers``: its findings in a text depend on the text alone."""

    name: str
    meaning: str
    at: tuple[Moment, ...]
    action: Action | None
    settings: str
    make: str
    hold: KindHold = "tail"
    parts: tuple[Part, ...] = DEFAULT_PARTS
    is_inline: bool = True
    remembers: bool = True

    @property
    def module(self) -> str:
        return f"{__name__}.{self.name}"

    @property
    def settings_class(self) -> type:
        """The attrs class of ``with``. Imports the module."""
        return import_named(f"{self.module}:{self.settings}")  # type: ignore[no-any-return]

    def make_step(self, settings: Any, context: KindContext) -> Any:
        """Return the step with ``settings``, or an async context manager that yields it. Imports the module.

        Only services get the ``context``."""
        made = import_named(f"{self.module}:{self.make}")
        return made(settings) if self.is_inline else made(settings, context)


KINDS: Final[Mapping[str, KindRow]] = MappingProxyType({row.name: row for row in (
    KindRow("secrets", "keys, tokens, private keys and passwords", ("request",), "refuse",
            "SecretsSettings", "SecretsStep"),
    KindRow("pii", "e-mail addresses, phone, card and account numbers, IP addresses, national ids", ("request",),
            "mask", "PiiSettings", "PiiStep"),
    KindRow("regex", "your own patterns", ("request", "response"), "refuse", "RegexSettings", "RegexStep"),
    KindRow("tools", "tools by name, and the arguments of their calls", ("request", "response"), "refuse",
            "ToolsSettings", "ToolsStep", parts=("tools", "tool_calls"), remembers=False),
    KindRow("size", "too many characters, messages or images", ("request",), "refuse", "SizeSettings", "SizeStep",
            hold="whole", parts=PARTS, remembers=False),
    KindRow("http", "the findings of a service that speaks LiteLLM's generic guardrail API", ("request",), None,
            "HttpSettings", "HttpStep", hold="whole", is_inline=False, remembers=False),
    KindRow("presidio", "the findings of a Presidio analyzer", ("request",), "mask",
            "PresidioSettings", "PresidioStep", hold="whole", is_inline=False),
)})  # fmt: skip
"""The kinds by the word for ``use``."""
