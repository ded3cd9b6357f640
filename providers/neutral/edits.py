"""The list of what was changed on a request's way to a provider: the one source of what a client hears about it.

``x-trigate-dropped`` and the log name what was lost, ``x-trigate-adapted`` what goes out in another form; strict mode
refuses losses that may change the answer.
"""

from collections.abc import Iterable
from typing import Literal, TypeAlias

import attrs

from providers.neutral.fields import Drops
from providers.neutral.request import Parameter

Why: TypeAlias = Literal["translation", "provider", "rejected", "seal"]
"""The API that the provider is asked in has no word for it; it is known that the provider or the model does not take
it; the provider has rejected it; it is sealed reasoning of another provider."""


@attrs.frozen(repr=False)
class Edit:
    """One change. ``path`` is the client's place, array indices as ``[]``. ``lost``: something that the client said
    does not reach the provider as it was meant. ``form`` says how it goes out instead: ``->NAME`` or ``=VALUE``."""

    path: str
    lost: bool = True
    form: str = ""
    why: Why = "provider"


def losses_of(paths: Iterable[str], why: Why) -> tuple[Edit, ...]:
    """Return an edit for each of ``paths``, which are lost."""
    return tuple(Edit(path, why=why) for path in paths)


def raised(limit: Parameter | None, sent: object) -> tuple[Edit, ...]:
    """Return the edit of the client's token ``limit``, if the one that is ``sent`` is larger: it holds the reasoning,
    too."""
    if limit is None or not isinstance(sent, int) or sent <= max(1, limit.value):
        return ()
    return (Edit(limit.at, lost=False, form=f"={sent}", why="translation"),)


def dropped(edits: Iterable[Edit]) -> tuple[str, ...]:
    """Return the paths of what was lost, each once."""
    return Drops(edit.path for edit in edits if edit.lost).paths()


def adapted(edits: Iterable[Edit]) -> tuple[str, ...]:
    """Return what goes out in another form, and in which: ``max_tokens->max_completion_tokens``."""
    return tuple(dict.fromkeys(edit.path + edit.form for edit in edits if edit.form))
