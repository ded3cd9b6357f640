"""A Chat client's own request for another maker's Chat, or another model than the client thinks: what is known to be
refused there is renamed, set to what is known, or left out.

Only what a row of the catalogue (its ``providers`` and ``models``) or the configuration says; where nothing is known,
nothing is touched.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias

from providers.catalog.effort import known_level
from providers.catalog.sampling import takes_sampling
from providers.chat.settings import SAMPLING
from providers.neutral.codec import Recipient
from providers.neutral.draft import Draft, ask_usage
from providers.neutral.edits import Edit
from providers.neutral.parameters import BY_NAME
from providers.neutral.quirks import Quirks

_Step: TypeAlias = Callable[[Draft, Quirks], None]


def adapt(draft: Draft, to: Recipient) -> None:
    """See ``providers.neutral.codec.Codec.adapt``."""
    for step in _steps(to.known):
        step(draft, to.known)
    if not to.quirks.stream_usage:
        draft.drop("stream_options")
    elif to.counts_usage:
        ask_usage(draft)


@lru_cache(maxsize=256)
def _steps(known: Quirks) -> tuple[_Step, ...]:
    """The edits that a request may need for what is ``known``; mostly none."""
    steps: tuple[tuple[bool, _Step], ...] = (
        (known.max_tokens_field == "max_tokens" or not known.takes_max_tokens, _rename_limit),
        (not known.developer_role, _rename_role),
        (bool(known.efforts) or not known.reasoning_effort, _lower_effort),
        (known.sampling != "free" or known.one_of_temperature_top_p, _drop_sampling),
    )
    return tuple(step for wanted, step in steps if wanted)


def _rename_limit(draft: Draft, known: Quirks) -> None:
    other = "max_completion_tokens" if known.max_tokens_field == "max_tokens" else "max_tokens"
    if draft.value(other) is not None:
        draft.rename(other, known.max_tokens_field)


def _rename_role(draft: Draft, known: Quirks) -> None:
    """Send role ``developer`` as ``system``, its name before OpenAI's reasoning models."""
    if not draft.mentions(b'"developer"'):
        return
    changed = {
        index: {**message, "role": "system"}
        for index, message in draft.items("messages")
        if bytes(message.get("role", b"")) == b'"developer"'
    }
    if changed:
        draft.put_items("messages", changed)
        draft.note(Edit("messages[].role", lost=False, form="=system"))


def _lower_effort(draft: Draft, known: Quirks) -> None:
    asked = draft.value("reasoning_effort")
    if not isinstance(asked, str):
        return
    level = known_level(asked, known.efforts) if known.reasoning_effort else None
    if level != asked:
        draft.put("reasoning_effort", level)
        draft.note(Edit("reasoning_effort", form="" if level is None else f"={level}"))


def _drop_sampling(draft: Draft, known: Quirks) -> None:
    """Leave out what the model refuses. A value that is the default is taken everywhere, and stays."""
    if takes_sampling(known, draft.value("reasoning_effort")):
        if known.one_of_temperature_top_p and draft.value("temperature") is not None and _is_set(draft, "top_p"):
            draft.drop("top_p")
        return
    draft.drop(*(name for name in (*SAMPLING, "logprobs", "top_logprobs") if _is_set(draft, name)))


def _is_set(draft: Draft, name: str) -> bool:
    """True if the member says something else than its absence would."""
    value: Any = draft.value(name)
    return value is not None and value != BY_NAME[name].default
