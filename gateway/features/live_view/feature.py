"""The row of the live view, and its keys: whether the gateway serves it, and which answers it shows."""

from typing import Annotated, Final, Literal, TypeAlias

import attrs

from configfile.keys import Kind, part_of, setting
from configfile.kinds import Count
from gateway.config.limits import ClientLimits
from gateway.config.settings import Config
from gateway.seams.feature import Feature, Keys

ShownAnswers: TypeAlias = Literal["none", "own", "all"]


@attrs.frozen(repr=False)
class UiSettings:
    """The mapping ``ui`` of the root."""

    answers: ShownAnswers = setting(
        "The requests whose texts viewers can [read](ui.md#access).",
        "own",
    )


UiSwitch: TypeAlias = Annotated[
    UiSettings | Literal[False],
    Kind(
        "true, false or mapping",
        lambda given: UiSettings() if given is True else given,
        pick=lambda value: UiSettings if isinstance(value, dict) else bool,
        parts=(bool, UiSettings),
    ),
]
"""The settings, or ``False`` for no live view."""


@attrs.frozen
class LiveViewKeys:
    """The keys of the root."""

    ui: UiSwitch = setting(
        "Serve the [live view](ui.md) at `/ui`, without keys only on this machine. With `false`, only the callers' "
        "[pages](people-reference.md#pages) remain.",
        UiSettings(),
        shown="`true`",
    )
    ui_keep: bool = setting(
        "Keep ended streams for the live view, in at most 4 MiB of memory.",
        True,
    )
    ui_prompts: bool = setting(
        "Keep the last requests' bodies for viewers who can read the answers, in at most 8 MiB of memory.",
        False,
    )

    @property
    def answers(self) -> ShownAnswers:
        """The answers that the live view shows, ``none`` without a live view."""
        return self.ui.answers if self.ui else "none"


@attrs.frozen
class ViewerKeys:
    """The keys of the limits of each client."""

    viewers: Count | None = setting(
        "Open pages of the live view, of 16; the holder of `ui_key` always gets one.",
        None,
        shown="half of 16",
    )


def _is_on(config: Config) -> bool:
    return bool(part_of(config, LiveViewKeys).ui)


FEATURE: Final = Feature(
    "live_view",
    "gateway.features.live_view.opening:open_live_view",
    _is_on,
    keys=(Keys(Config, LiveViewKeys), Keys(ClientLimits, ViewerKeys)),
    first_steps=("ui",),
)
