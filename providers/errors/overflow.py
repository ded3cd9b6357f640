"""Recognition of prompts that exceed the model's window, and the messages that clients act on.

Claude Code compacts its conversation, or requests a shorter answer, only on Anthropic's two sentences; Codex and the
OpenAI SDKs read the code (musistudio/claude-code-router#1799, raine/claude-code-proxy#29,
Yeachan-Heo/oh-my-claudecode#3574).
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import attrs

from streams.events import ErrorInfo

CODE = "context_length_exceeded"

_CODES = frozenset(
    (
        CODE,
        "model_context_window_exceeded",  # Anthropic
        "too_many_prompt_tokens",  # Perplexity
        "exceed_context_size_error",  # llama.cpp
        "context_exceeded",
        "model_max_prompt_tokens_exceeded",  # GitHub Copilot
        "tokens_limit_reached",  # GitHub Models
    )
)

# Statuses of such errors; some servers report them as their own failure (ggml-org/llama.cpp#14566). Token rate limits
# are 429 and have similar messages.
_STATUSES = (400, 413, 422, 500, 502)
_MAX_TEXT = 4000  # characters of a message that are searched

_BEGINNING = "prompt is too long: "
_OWN_WORDS = re.compile(
    r"prompt is too long: \d+ tokens > \d+ maximum"
    r"|input length and `max_tokens` exceed context limit: \d+ \+ \d+ > \d+"
)

_GOOGLE_WORDS = re.compile(r"input token count .{0,40}exceeds the maximum")

# Groups: `input` and `output` (the requested answer), their `total`, and the model's `limit`.
_SENTENCES = (
    # Anthropic
    r"prompt is too long: (?P<input>#) tokens > (?P<limit>#) maximum",
    r"input length and `?max_tokens`? exceed context limit: (?P<input>#) \+ (?P<output>#) > (?P<limit>#)",
    # OpenAI and servers with its words: vLLM, DeepSeek, OpenRouter, SGLang
    r"maximum context length (?:is|of) (?P<limit>#) tokens.{1,60}requested (?:about )?(?P<total>#) tokens "
    r"\([^()]{0,200}?(?P<output>#) (?:in|for) the (?:completion|output)",
    r"maximum context length (?:is|of) (?P<limit>#) tokens.{1,60}requested a total of (?P<total>#) tokens: "
    r"(?P<input>#) tokens .{1,60}? (?P<output>#) tokens for the completion",
    r"maximum context length (?:is|of) (?P<limit>#) tokens.{1,60}requested (?P<output>#) output tokens and your "
    r"prompt contains (?:at least )?(?P<input>#) input tokens",
    r"maximum context length (?:is|of) (?P<limit>#) tokens.{1,60}has (?P<input>#) input tokens \((?P<output>#) >",
    r"maximum context length (?:is|of) (?P<limit>#) tokens.{1,60}resulted in (?P<input>#) tokens",
    r"passed (?P<input>#) input tokens and requested (?P<output>#) output tokens\..{1,40}context length is only "
    r"(?P<limit>#)",
    # LM Studio (lmstudio-ai/lmstudio-bug-tracker#546)
    r"keep the first (?P<input>#) tokens when context the overflows.{1,80}context length of only (?P<limit>#) tokens",
    # xAI, Gemini, Mistral, llama.cpp, SGLang, Fireworks, Cohere, Copilot, text-generation-inference, Qwen, Moonshot
    r"maximum prompt length is (?P<limit>#) but the request contains (?P<input>#) tokens",
    r"input token count \((?P<input>#)\) exceeds the maximum number of tokens allowed \((?P<limit>#)\)",
    r"prompt contains (?P<input>#) tokens.{1,60}too large for model with (?P<limit>#) maximum context length",
    r"request \((?P<input>#) tokens\) exceeds the available context size \((?P<limit>#) tokens\)",
    r"prompt tokens \((?P<input>#)\) exceeds? context size \((?P<limit>#)\)",
    r"input \((?P<input>#) tokens\) is longer than the model's context length \((?P<limit>#) tokens\)",
    r"prompt is too long: (?P<input>#), model maximum context length: (?P<limit>#)",
    r"total number of tokens .{1,60}cannot exceed (?P<limit>#) - received (?P<input>#)",
    r"prompt token count of (?P<input>#) exceeds the limit of (?P<limit>#)",
    r"must be <= (?P<limit>#)\. Given: (?P<input>#) `inputs` tokens and (?P<output>#) `max_new_tokens`",
    r"range of input length should be \[#, (?P<limit>#)\]",
    r"exceeded model token limit: (?P<limit>#)",
    # No figures: Bedrock, Ollama, LM Studio, MiniMax, Zhipu, and what all the others have in common
    r"maximum context length",
    r"input is too long for requested model",
    r"number of input tokens exceeds maximum length",
    r"input token count exceeds the maximum",
    r"(?:exceed(?:s|ed|ing)?|larger than|longer than|greater than) .{0,40}context (?:window|length|size|limit)",
    r"context (?:window|length|size|limit) (?:is )?exceed(?:s|ed)",
    r"prompt (?:is )?too long",
    r"prompt exceeds max(?:imum)? length",
    # vLLM, NIM: the window's rest for the answer (vllm-project/vllm#36789, Alishahryar1/free-claude-code#1650)
    r"max_tokens must be at least ?1, got -#",
)


@cache
def _compiled_sentences() -> tuple[re.Pattern[str], ...]:
    """Return ``_SENTENCES``, compiled for the first error."""
    return tuple(re.compile(words.replace("#", r"\d[\d,]*"), re.IGNORECASE | re.DOTALL) for words in _SENTENCES)


def overflows(error: Mapping[str, Any], status: int) -> bool:
    """Return whether ``error``, of any API, means that the conversation is too long.

    ``status`` is the status of the error, 200 inside a stream.
    """
    if any(isinstance(word := error.get(name), str) and word in _CODES for name in ("code", "type")):
        return True
    message = error.get("message")
    return isinstance(message, str) and (status in _STATUSES or status < 300) and _match_sentence(message) is not None


def as_overflow(error: ErrorInfo) -> ErrorInfo:
    """Return ``error`` as an error of the client, whatever its original kind."""
    figures = ", ".join(f"{name} {number}" for name, number in _read_figures(error.message).items())
    logged = f"{error.log_message}; tokens: {figures}" if error.log_message and figures else error.log_message
    return attrs.evolve(
        error, kind="invalid_request", status=400, code=CODE, reason="context_too_long", wait=None, log_message=logged,
    )  # fmt: skip


def with_anthropic_message(error: ErrorInfo) -> ErrorInfo:
    """Return an overflow with a message that Anthropic's clients act on; other errors stay unchanged."""
    if error.code != CODE or _OWN_WORDS.search(error.message):
        return error
    return attrs.evolve(error, message=_anthropic_sentence(error.message))


def with_google_message(error: ErrorInfo) -> ErrorInfo:
    """Return an overflow with a message in Google's words; other errors stay unchanged."""
    if error.code != CODE or _GOOGLE_WORDS.search(error.message):
        return error
    figures = _read_figures(error.message)
    prompt, limit = figures.get("input", figures.get("total")), figures.get("limit")
    if prompt is None or limit is None:
        return attrs.evolve(error, message=f"The input token count exceeds the maximum: {error.message}")
    message = f"The input token count ({prompt}) exceeds the maximum number of tokens allowed ({limit})."
    return attrs.evolve(error, message=message)


def has_anthropic_words(error: Mapping[str, Any]) -> bool:
    """Return whether Anthropic's clients understand ``error`` unchanged; always true for other errors than
    overflows."""
    return not overflows(error, 400) or bool(_OWN_WORDS.search(str(error.get("message"))))


def has_openai_code(error: Mapping[str, Any]) -> bool:
    """Return whether OpenAI's clients understand ``error`` unchanged; always true for other errors than overflows."""
    return not overflows(error, 400) or error.get("code") == CODE


def _match_sentence(message: str) -> re.Match[str] | None:
    text = message[:_MAX_TEXT]
    return next((found for pattern in _compiled_sentences() if (found := pattern.search(text))), None)


def _anthropic_sentence(message: str) -> str:
    """Return Anthropic's sentence with the provider's figures, or with its message if they are missing or
    inconsistent."""
    figures = _read_figures(message)
    prompt, output, limit = figures.get("input"), figures.get("output", 0), figures.get("limit")
    if prompt is None and "total" in figures:
        prompt = figures["total"] - output
    if prompt is not None and limit is not None:
        if prompt > limit:
            return f"prompt is too long: {prompt} tokens > {limit} maximum"
        if prompt + output > limit:
            return (
                f"input length and `max_tokens` exceed context limit: {prompt} + {output} > {limit}, "
                "decrease input length or `max_tokens` and try again"
            )
    return message if message.startswith(_BEGINNING) else _BEGINNING + message


def _read_figures(message: str) -> dict[str, int]:
    """Return the token counts in ``message`` by name."""
    found = _match_sentence(message)
    groups = {} if found is None else found.groupdict()
    return {name: int(text.replace(",", "")) for name, text in groups.items() if text is not None}
