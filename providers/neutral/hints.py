"""The losses that matter, and hints, which cannot change the answer: cache marks, user ids, annotations of schemas,
accounting.

Lost hints are reported, but strict mode does not refuse them.
"""

import fnmatch
import re
from collections.abc import Iterable

# Shell-style patterns over the paths of the drop report.
HINTS = (
    "*cache_control",
    "*cache_control.*",
    "*prompt_cache_breakpoint",
    "*cachePoint",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "user",
    "safety_identifier",
    "metadata",
    "metadata.*",
    "client_metadata",
    "client_metadata.*",
    "diagnostics",
    "diagnostics.*",
    "store",  # an API without it stores nothing; gateway/request/prepare.py handles APIs that refuse it
    "stream_options",
    "stream_options.*",
    "*.$schema",
    "*.eager_input_streaming",
    "*.input_examples",
    "messages[].name",
    "*.phase",
    "*input[].encrypted_function_args",  # the arguments themselves are sent
    "*input[].internal_chat_message_metadata_passthrough",  # Codex's
    "*input[].content[].annotations",
    "*input[].content[].logprobs",
    "*.citationsContent.citations",  # of an earlier answer
    "reasoning.summary",  # how reasoning is shown
    "*thinking.display",
    "*.includeThoughts",
    "*.include_thoughts",
    "*.thinking_summaries",
    "*.defer_loading",  # when a tool is loaded
    "anthropic-beta",
    "anthropic-beta.*",
    "additionalModelRequestFields.anthropic_beta",
    "additionalModelResponseFieldPaths[]",  # extra information, not the answer
    "requestMetadata",
    "performanceConfig",
    "system",
    "system[]",  # Claude Code's billing line (anthropics/claude-code#68900)
)


_HINTS = re.compile("|".join(fnmatch.translate(hint.replace("[]", "[[][]]")) for hint in HINTS))


EXPLANATIONS = {
    "*cache_control": "cache mark",
    "*prompt_cache_breakpoint": "cache mark",
    "*cachePoint": "cache mark",
    "prompt_cache_*": "prompt caching setting",
    "user": "the end user's id",
    "safety_identifier": "the end user's id",
    "metadata.user_id": "the end user's id",
    "client_metadata*": "the client's metadata",
    "diagnostics*": "the client's diagnostics",
    "*.$schema": "the schema's dialect",
    "*.eager_input_streaming": "streaming of a tool's input",
    "*.input_examples": "examples of a tool's input",
    "messages[].name": "the author's name",
    "x-trigate-*": "unknown to the gateway",
    "*.encrypted_function_args": "names of encrypted arguments",
    "*.internal_chat_message_metadata_passthrough": "the client's metadata",
    "*.defer_loading": "deferred loading of a tool",
    "anthropic-beta*": "an Anthropic beta",
    "additionalModelRequestFields.anthropic_beta": "an Anthropic beta",
    "additionalModelResponseFieldPaths*": "additional response fields",
    "requestMetadata": "the client's metadata",
    "performanceConfig": "the latency setting",
    "system": "billing line",
    "system[]": "billing line",
}
"""Explanations of unclear paths, for readers of the log."""


_WIDER_THAN_LOST = frozenset(("system", "system[]"))
"""Paths with more than was lost: the instructions, although only Claude Code's billing line is dropped."""


def with_explanation(path: str) -> tuple[str, ...]:
    """Return ``path``, followed by its explanation if only a part of it was lost.

    Programs still find the path alone.
    """
    return (path, explain_path(path)) if path in _WIDER_THAN_LOST else (path,)


def explain_path(path: str) -> str:
    """Explain an unclear path of the drop report: ``system[]: billing line``."""
    patterns = ((hint.replace("[]", "[[][]]"), text) for hint, text in EXPLANATIONS.items())
    explanation = next((text for pattern, text in patterns if fnmatch.fnmatchcase(path, pattern)), None)
    return path if explanation is None else f"{path}: {explanation}"


def losses(dropped: Iterable[str]) -> tuple[str, ...]:
    """Return the ``dropped`` paths whose loss may change the answer."""
    return tuple(filter(is_loss, dropped))


def is_loss(path: str) -> bool:
    """Return whether the loss of ``path`` may change the answer."""
    return _HINTS.match(path) is None
