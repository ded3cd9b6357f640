"""Log probabilities of tokens, as Chat and Responses have them. Source: ``LogprobsResult`` of the Gemini API."""

from collections.abc import Mapping
from typing import Any

from providers.neutral.bounds import bounded


def token_logprobs(result: Any) -> list[dict[str, Any]] | None:
    """The tokens in ``logprobsResult``, ``None`` where there are none."""
    chosen = result.get("chosenCandidates") if isinstance(result, dict) else None
    if not isinstance(chosen, list) or not chosen:
        return None
    tops = result.get("topCandidates")
    tops = tops if isinstance(tops, list) else []
    return [
        {**_token(one), "top_logprobs": _top(tops[i] if i < len(tops) else None)}
        for i, one in enumerate(chosen)
        if isinstance(one, dict)
    ]


def _top(held: Any) -> list[dict[str, Any]]:
    candidates = held.get("candidates") if isinstance(held, dict) else None
    several = bounded(candidates, "log probabilities") if isinstance(candidates, list) else []
    return [_token(one) for one in several if isinstance(one, dict)]


def _token(one: Mapping[str, Any]) -> dict[str, Any]:
    token, value = one.get("token"), one.get("logProbability", 0.0)
    text = token if isinstance(token, str) else ""
    return {"token": text, "logprob": value, "bytes": list(text.encode("utf-8", "surrogatepass"))}
