"""The key ``ui``: whether the gateway serves the live view, and whose answers it shows."""

from typing import Annotated, Literal, TypeAlias

import attrs

from configfile.keys import Kind, setting

ShownAnswers: TypeAlias = Literal["none", "own", "all"]


@attrs.frozen(repr=False)
class UiSettings:
    """The mapping ``ui`` of the root."""

    answers: ShownAnswers = setting(
        "The answers, prompts and texts that viewers can read. `own`: of their own requests, also for admins. `all`: "
        "admins and the holder of the `ui_key` read all. `none`: none are kept.",
        "own",
    )


def shown_answers(ui: UiSettings | Literal[False]) -> ShownAnswers:
    """Return whose answers the live view shows, ``none`` without a live view."""
    return ui.answers if ui else "none"


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
