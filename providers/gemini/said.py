"""Parts of an answer, and what stands beside them, in Gemini's words: for its streams and its whole answers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from providers.gemini.ends import REASONS
from providers.neutral.arguments import call_input
from providers.neutral.codec import Reply
from streams.events import AnswerEnd, Citation, Reason, ToolKind, Usage

_FINISH: Final[Mapping[Reason, str]] = {
    "stop": "STOP",
    "stop_sequence": "STOP",
    "tool_calls": "STOP",
    "pause": "STOP",
    "length": "MAX_TOKENS",
    "context_exceeded": "MAX_TOKENS",
    "refusal": "SAFETY",
}
_CHARACTERS_PER_TOKEN: Final = 4  # for estimates only


def call_part(id: str, name: str, arguments: str, kind: ToolKind, signature: str | None = None) -> dict[str, Any]:
    """A call, whole: clients of this API read no pieces. It always has an id, by which they give its result back."""
    part: dict[str, Any] = {"functionCall": {"id": id, "name": name, "args": call_input(arguments, kind)}}
    return part if signature is None else {**part, "thoughtSignature": signature}


def ending(end: AnswerEnd, citations: Sequence[Citation]) -> dict[str, Any]:
    """The members of a candidate that say how it ended."""
    own = end.reason == "refusal" and REASONS.get(end.raw or "") == "refusal"
    members: dict[str, Any] = {"finishReason": end.raw if own else _FINISH[end.reason]}
    if isinstance(end.details, dict) and isinstance(explained := end.details.get("explanation"), str):
        members["finishMessage"] = explained
    if grounding := _grounding(citations):
        members["groundingMetadata"] = grounding
    return members


def _grounding(citations: Iterable[Citation]) -> dict[str, Any]:
    """The pages that the answer cites, each once."""
    pages: dict[str, str] = {}
    for citation in citations:
        item = citation.item if isinstance(citation.item, dict) else {}
        item = item.get("url_citation", item) if isinstance(item.get("url_citation", item), dict) else item
        if isinstance(url := item.get("url"), str) and url:
            title = item.get("title")
            pages.setdefault(url, title if isinstance(title, str) else "")
    return {"groundingChunks": [{"web": {"uri": uri, "title": title}} for uri, title in pages.items()]} if pages else {}


def logprobs_result(logprobs: Sequence[Any]) -> dict[str, Any]:
    """``logprobsResult`` for log probabilities as OpenAI says them."""
    told = [one for one in logprobs if isinstance(one, dict)]
    return {
        "chosenCandidates": [_token(one) for one in told],
        "topCandidates": [{"candidates": [_token(two) for two in one.get("top_logprobs") or ()]} for one in told],
    }


def _token(one: Any) -> dict[str, Any]:
    return {"token": one.get("token", ""), "logProbability": one.get("logprob", 0)} if isinstance(one, dict) else {}


def usage_metadata(usage: Usage | None, reply_estimate: int, said: int) -> dict[str, Any]:
    """``usageMetadata``: what was read from a cache is part of the prompt, thoughts are no part of the candidates.
    Where the provider has counted nothing it is an estimate, the answer's by the characters ``said``."""
    if usage is None:
        usage = Usage(input=reply_estimate, output=-(-said // _CHARACTERS_PER_TOKEN))
    thoughts = min(usage.reasoning or 0, usage.output)
    counts = {
        "promptTokenCount": usage.prompt,
        "candidatesTokenCount": usage.output - thoughts,
        "totalTokenCount": usage.prompt + usage.output,
    }
    if thoughts:
        counts["thoughtsTokenCount"] = thoughts
    if usage.cache_read:
        counts["cachedContentTokenCount"] = usage.cache_read
    return counts


def shows_thoughts(reply: Reply) -> bool:
    """Whether the client has asked for the texts of thoughts: others take every text for the answer."""
    reasoning = reply.request.reasoning
    return reasoning is not None and reasoning.summary is not None
