"""Words of Converse that whole answers and streams share when they are written: why an answer ended, ids, reasoning."""

import re
from typing import Any, Final

from providers.converse.ends import STOP_SEQUENCE, WORDS
from providers.neutral.call_ids import replacement_id
from providers.neutral.codec import settled_reason
from providers.neutral.request import Request
from providers.neutral.seal import Issuer, seal
from streams.events import AnswerEnd, ReasoningState

_GUARDED: Final = "guardrail_intervened"
"""A refusal that only this API has a word for: given back as it was."""

_GOOD_ID: Final = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")

NOT_MEASURED: Final = {"latencyMs": 0}
"""The metrics of an answer, which have to be there. Who translates it knows only what was said."""


def tool_use_id(id: str) -> str:
    """``id`` if the API takes it, else always the same one made from it."""
    return id if _GOOD_ID.fullmatch(id) else replacement_id("tooluse_", id)


def write_end(end: AnswerEnd, called: bool, asked: Request) -> dict[str, Any]:
    """The members of an answer, and of ``messageStop``, that say why it ended."""
    word = WORDS[settled_reason(end.reason, called)]
    said: dict[str, Any] = {"stopReason": _GUARDED if end.reason == "refusal" and end.raw == _GUARDED else word}
    paths = asked.source.get("additionalModelResponseFieldPaths")
    if isinstance(paths, list) and STOP_SEQUENCE in paths:
        said["additionalModelResponseFields"] = {STOP_SEQUENCE[1:]: end.stop_sequence}
    return said


def signature(issuer: Issuer, state: ReasoningState | None) -> str | None:
    """The signature of reasoning with text: the provider's own if the block is one of this API's, else our seal;
    ``None`` where nothing is wanted back."""
    if state is None:
        return None
    if (own := _own(state, "reasoningText")) is not None:
        return own.get("signature") if isinstance(own, dict) and isinstance(own.get("signature"), str) else None
    return seal(issuer, state.api, state.item)


def wordless(issuer: Issuer, state: ReasoningState) -> dict[str, Any]:
    """Return the content of ``reasoningContent`` without text: the provider's own, or an empty text with our seal as
    its signature. Clients carry a signature from turn to turn; of ``redactedContent`` several make nothing, or
    an error (langchain-ai/langchain-aws#1223, UKGovernmentBEIS/inspect_ai#5217)."""
    if _own(state, "reasoningText") is not None or _own(state, "redactedContent") is not None:
        item: dict[str, Any] = state.item
        return item
    return {"reasoningText": {"text": "", "signature": seal(issuer, state.api, state.item)}}


def _own(state: ReasoningState, member: str) -> Any:
    return state.item.get(member) if state.api == "converse" and isinstance(state.item, dict) else None
