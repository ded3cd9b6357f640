"""Answers of endpoints that are no conversation: what they say, and whether they are whole.

The readers of ``providers.endpoints`` judge where there is one; else a good answer is JSON with something in it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeGuard

import msgspec

from loadtest.exchange.record import AnswerTokens
from loadtest.plan.load_endpoints import LOAD_ENDPOINTS, LoadApi, wire_of
from providers.endpoints.completions import CompletionReader
from providers.endpoints.embeddings.openai import read_answer
from providers.endpoints.rerank import read_costs
from providers.neutral.billing import MOST_TOKENS
from streams.errors import GatewayError
from streams.surrogates import NOT_JSON


def endpoint_tokens(value: Mapping[str, Any]) -> AnswerTokens | None:
    """The tokens that an answer counts, in OpenAI's older or newer words, or in Cohere's."""
    usage = value.get("usage")
    words = usage if isinstance(usage, Mapping) else {}
    output = next((one for name in ("completion_tokens", "output_tokens") if is_count(one := words.get(name))), None)
    taken = next((one for name in ("prompt_tokens", "input_tokens") if is_count(one := words.get(name))), None)
    taken = read_costs(value).tokens if taken is None else taken
    return None if taken is None and output is None else AnswerTokens(taken, output)


def is_count(value: Any) -> TypeGuard[int]:
    """Whether it is a number of tokens that an answer can have."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS


def broken_rule(api: LoadApi, body: bytes, *, streamed: bool) -> tuple[str, str]:
    """The rule that a complete answer of an endpoint breaks, with what was found; empty where it is good."""
    if not body:
        return f"{api}.empty", "there is nothing in it"
    try:
        _JUDGES.get(api, _listed)(api, body, streamed)
    except (GatewayError, ValueError) as error:
        return f"{api}.answer", str(error)
    return "", ""


def _embeddings(api: LoadApi, body: bytes, streamed: bool) -> None:
    if not read_answer(body, "float", None).count:
        raise ValueError("it has no vectors")


def _completions(api: LoadApi, body: bytes, streamed: bool) -> None:
    if not streamed:
        _listed(api, body, streamed)
        return
    reader, framing = CompletionReader(1), wire_of(api).framing
    for raw in framing.splitter(len(body) + 1).feed(body):
        if (found := framing.parse(raw)) is not None:
            reader.event(*found)
    reader.close(streamed=True)


def _listed(api: LoadApi, body: bytes, streamed: bool) -> None:
    member = LOAD_ENDPOINTS[api].answer
    value = _json(body)
    if not isinstance(value, dict) or not isinstance(value.get(member), list) or not value[member]:
        raise ValueError(f"{member} is no list with anything in it")


def _transcript(api: LoadApi, body: bytes, streamed: bool) -> None:
    """As JSON, or in one of the forms of text that can be asked for."""
    if body.lstrip()[:1] == b"{" and not isinstance(_json(body).get("text"), str):
        raise ValueError("text is no text")


def _sound(api: LoadApi, body: bytes, streamed: bool) -> None:
    if body.lstrip()[:1] == b"{":
        raise ValueError("it is JSON, not sound")


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except NOT_JSON:
        raise ValueError("it is no JSON") from None


_JUDGES: Final[Mapping[LoadApi, Callable[[LoadApi, bytes, bool], None]]] = {
    "embeddings": _embeddings,
    "completions": _completions,
    "transcriptions": _transcript,
    "speech": _sound,
}
