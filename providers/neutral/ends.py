"""The words that end an answer: those of providers, with their neutral meaning, and those that the gateway writes.

Only some of them mean a complete answer. A word that no table has is unknown: the answer counts as complete if it
has content, and as failed without any.
"""

from collections.abc import Mapping
from typing import Final, TypeAlias

import attrs

from streams.events import AnswerEnd, Api, ErrorInfo, ErrorKind, FailureReason, Reason


@attrs.frozen
class Failed:
    """The meaning of a word for an answer that is cut or unusable, although it ends like a complete one."""

    reason: FailureReason


Meaning: TypeAlias = Reason | Failed

SERVER: Final = Failed("server_error")
OVERLOADED: Final = Failed("overloaded")
TIMEOUT: Final = Failed("timeout")
BAD_ANSWER: Final = Failed("bad_answer")
CREDENTIAL: Final = Failed("credential")

_OF_SERVERS: Final[Mapping[str, Meaning]] = {
    "error": SERVER,  # OpenRouter, Mistral, vLLM
    "abort": SERVER,  # vLLM, SGLang, Z.ai (vllm-project/vllm#57082, earendil-works/pi#1750)
    "aborted": SERVER,
    "failed": SERVER,  # a status of Responses, which servers of other APIs forward; so is "incomplete"
    "server_error": SERVER,
    "cancelled": SERVER,  # watsonx
    "canceled": SERVER,
    "user_cancel": SERVER,  # Cohere
    "network_error": SERVER,  # GLM (NousResearch/hermes-agent#92161, mozilla-ai/any-llm#1204)
    "insufficient_system_resource": OVERLOADED,  # DeepSeek (its documentation, can1357/oh-my-pi#8563)
    "timeout": TIMEOUT,  # Cohere
    "time_limit": TIMEOUT,  # watsonx
    "sensitive": "refusal",  # GLM and Hunyuan (earendil-works/pi#1509); also in Messages (earendil-works/pi#978)
    "guardrail_intervened": "refusal",  # Bedrock's, which its gateways forward (pydantic/pydantic-ai#7816)
    "content_filtered": "refusal",
    "incomplete": "length",
    "max_output_tokens": "length",
    "repetition": "length",  # vLLM stopped a model that repeats itself
    "repetition_truncation": "length",  # Xiaomi MiMo did
}
"""Words of inference servers and routers, which they use in each API that they serve."""

ENDS: Final[Mapping[Api, Mapping[str, Meaning]]] = {
    "chat": {
        **_OF_SERVERS,
        "stop": "stop",
        "eos": "stop",  # Together
        "eos_token": "stop",  # TGI
        "complete": "stop",  # Cohere
        "normal": "stop",  # Qianfan
        "end": "stop",  # local servers (earendil-works/pi#2107)
        "end_turn": "stop",
        "stop_sequence": "stop",
        "pause_turn": "stop",
        "length": "length",
        "max_tokens": "length",
        "token_limit": "length",  # watsonx
        "model_length": "length",  # Mistral
        "error_limit": "length",  # Cohere: the context is full
        "model_context_window_exceeded": "length",
        "tool_calls": "tool_calls",
        "tool_call": "tool_calls",
        "tool_use": "tool_calls",
        "tool-calls": "tool_calls",  # Vercel AI Gateway, like ``content-filter``: the words of its AI SDK
        "content-filter": "refusal",
        "function_call": "tool_calls",
        "content_filter": "refusal",
        "refusal": "refusal",
        "safety": "refusal",
        "recitation": "refusal",
        "blocklist": "refusal",
        "blacklist": "refusal",  # GigaChat
        "prohibited_content": "refusal",
        "spii": "refusal",
        "image_safety": "refusal",
        "error_toxic": "refusal",  # Cohere
        "malformed_function_call": BAD_ANSWER,  # Google's, like those below
        "malformed_response": BAD_ANSWER,
        "unexpected_tool_call": BAD_ANSWER,
        "missing_thought_signature": BAD_ANSWER,
        "function_call_filter": BAD_ANSWER,
        "too_many_tool_calls": BAD_ANSWER,
    },
    "messages": {
        **_OF_SERVERS,
        "end_turn": "stop",
        "stop_sequence": "stop_sequence",
        "max_tokens": "length",
        "tool_use": "tool_calls",
        "refusal": "refusal",
        "pause_turn": "pause",
        "model_context_window_exceeded": "context_exceeded",
        "compaction": "stop",
        # Servers of other APIs that forward their own words
        "stop": "stop",
        "length": "length",
        "tool_calls": "tool_calls",
        "content_filter": "refusal",
    },
    "responses": {  # the status, or the reason of an incomplete answer
        **_OF_SERVERS,
        "completed": "stop",
        "max_tokens": "length",
        "content_filter": "refusal",
        "max_messages": "length",
        "steered": "length",
    },
    "gemini": {  # ``FinishReason`` of the Gemini API and of Vertex AI
        "STOP": "stop",
        "MAX_TOKENS": "length",
        "CONTINUATION": "length",
        "SAFETY": "refusal",
        "RECITATION": "refusal",
        "LANGUAGE": "refusal",
        "BLOCKLIST": "refusal",
        "PROHIBITED_CONTENT": "refusal",
        "SPII": "refusal",
        "MODEL_ARMOR": "refusal",
        "ESCALATION": "refusal",
        "IMAGE_SAFETY": "refusal",
        "IMAGE_PROHIBITED_CONTENT": "refusal",
        "IMAGE_RECITATION": "refusal",
        # The content of these must not be used, calls least of all (NousResearch/hermes-agent#83886,
        # BerriAI/litellm#40477).
        "MALFORMED_FUNCTION_CALL": BAD_ANSWER,
        "MALFORMED_RESPONSE": BAD_ANSWER,
        "UNEXPECTED_TOOL_CALL": BAD_ANSWER,
        "MISSING_THOUGHT_SIGNATURE": BAD_ANSWER,
        "TOO_MANY_TOOL_CALLS": BAD_ANSWER,
        "PUP_LIMITED_DISABLED": CREDENTIAL,  # Google has limited or disabled the account
    },
    "converse": {  # ``StopReason`` of Amazon Bedrock's API reference
        "end_turn": "stop",
        "stop_sequence": "stop_sequence",
        "max_tokens": "length",
        "tool_use": "tool_calls",
        "guardrail_intervened": "refusal",
        "content_filtered": "refusal",
        "model_context_window_exceeded": "context_exceeded",
        # A client would run an incomplete call, or accept an empty answer (Wei-Shaw/sub2api#7081).
        "malformed_model_output": BAD_ANSWER,
        "malformed_tool_use": BAD_ANSWER,
    },
    "interactions": {
        "completed": "stop",
        "idle": "stop",  # all processing has ended
        "requires_action": "tool_calls",
        "incomplete": "length",
        "budget_exceeded": "length",
        "requires_continuation": "length",
    },
}
"""The meaning of each word by API: in lower case for ``chat``, ``messages`` and ``responses``."""

_COLUMNS: Final[tuple[Api, ...]] = ("chat", "messages", "responses", "gemini", "converse", "interactions")
_WRITTEN: Final[Mapping[Reason, tuple[str, str, str, str, str, str]]] = {
    "stop": ("stop", "end_turn", "", "STOP", "end_turn", "completed"),
    "stop_sequence": ("stop", "stop_sequence", "", "STOP", "stop_sequence", "completed"),
    "tool_calls": ("stop", "tool_use", "", "STOP", "tool_use", "requires_action"),
    "pause": ("stop", "pause_turn", "", "STOP", "end_turn", "incomplete"),
    "length": ("length", "max_tokens", "max_output_tokens", "MAX_TOKENS", "max_tokens", "incomplete"),
    "context_exceeded": (
        "length", "model_context_window_exceeded", "max_output_tokens", "MAX_TOKENS", "model_context_window_exceeded",
        "incomplete",
    ),
    "refusal": ("content_filter", "refusal", "content_filter", "SAFETY", "content_filtered", "incomplete"),
}  # fmt: skip

WRITTEN: Final[Mapping[Api, Mapping[Reason, str]]] = {
    api: {reason: words[column] for reason, words in _WRITTEN.items()} for column, api in enumerate(_COLUMNS)
}
"""The word of each reason by API: for ``responses`` that of an incomplete answer, "" for a complete one."""

_KINDS: Final[Mapping[FailureReason, ErrorKind]] = {"overloaded": "overloaded", "timeout": "timeout"}
"""The kinds of failures other than ``upstream``."""

_UNFINISHED: Final = "the provider could not finish its answer: "


def end_failure(failed: Failed, word: str, loggable_word: str, *, native: bool = False) -> ErrorInfo:
    """Return the failure that ``word`` means. It may have details, unlike ``loggable_word``.

    ``native``: clients of the same API know the word.
    """
    kind = _KINDS.get(failed.reason, "upstream")
    return ErrorInfo(
        kind, _UNFINISHED + word, reason=failed.reason, native=native, is_end=True,
        log_message=_UNFINISHED + loggable_word,
    )  # fmt: skip


def unknown_end_failure(end: AnswerEnd) -> ErrorInfo:
    """Return the failure of an answer without content whose word no table has."""
    word = (end.raw or "")[:100]
    return ErrorInfo("upstream", f"the provider's answer is empty and ends with {word!r}", reason="bad_answer")


NO_CALL: Final = ErrorInfo(
    "upstream", "the provider sent arguments of a tool call without its start", reason="bad_answer"
)


def bad_arguments(name: str) -> ErrorInfo:
    """Return the failure of an answer with a call of the tool ``name`` whose arguments are incomplete or invalid."""
    message = f"the model called {name[:64]} with arguments that are not a JSON object"
    return ErrorInfo("upstream", message, reason="bad_answer")
