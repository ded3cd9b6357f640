"""The list of changes to a request on its way to a provider.

``x-trigate-dropped`` and the log list the losses, ``x-trigate-adapted`` the new forms. Strict mode refuses losses that
may change the answer.
"""

from collections.abc import Iterable
from typing import Literal, TypeAlias

import attrs

from providers.neutral.fields import Drops
from providers.neutral.request import Parameter

Why: TypeAlias = Literal["translation", "provider", "rejected", "seal", "operator"]
"""The reason of an edit.

``translation``: the provider's API cannot express it. ``provider``: the provider or model is known to refuse it.
``rejected``: the provider has rejected it. ``seal``: it is sealed reasoning of another provider. ``operator``: the
configuration sets or drops it.
"""


@attrs.frozen(repr=False)
class Edit:
    """One change, at the client's ``path`` with ``[]`` for array indices.

    ``lost``: the provider does not get the client's meaning. ``form``: the new form, ``->NAME`` or ``=VALUE``.
    """

    path: str
    lost: bool = True
    form: str = ""
    why: Why = "provider"


def losses_of(paths: Iterable[str], why: Why) -> tuple[Edit, ...]:
    return tuple(Edit(path, why=why) for path in paths)


def raised_limit_edit(limit: Parameter | None, sent: object) -> tuple[Edit, ...]:
    """Return the edit of the client's token ``limit`` if ``sent`` is higher, to include the reasoning."""
    if limit is None or not isinstance(sent, int) or sent <= max(1, limit.value):
        return ()
    return (Edit(limit.at, lost=False, form=f"={sent}", why="translation"),)


def dropped_paths(edits: Iterable[Edit]) -> tuple[str, ...]:
    """Return the lost paths, each once."""
    return Drops(edit.path for edit in edits if edit.lost).paths()


def adapted_paths(edits: Iterable[Edit]) -> tuple[str, ...]:
    """Return paths with their new forms: ``max_tokens->max_completion_tokens``."""
    return tuple(dict.fromkeys(edit.path + edit.form for edit in edits if edit.form))
