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
    "*input[].content[].annotations",
    "*input[].content[].logprobs",
    "reasoning.summary",  # how reasoning is shown
    "thinking.display",
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


# # Explanations of unclear paths, for readers of logs.
WORDS = {
    "*cache_control": "cache mark",
    "*prompt_cache_breakpoint": "cache mark",
    "*cachePoint": "cache mark",
    "prompt_cache_*": "prompt caching",
    "user": "the end user's id",
    "safety_identifier": "the end user's id",
    "metadata.user_id": "the end user's id",
    "client_metadata*": "the client's own notes",
    "diagnostics*": "the client's diagnostics",
    "*.$schema": "the schema's dialect",
    "*.eager_input_streaming": "tool input as it is written",
    "*.input_examples": "examples of a tool's input",
    "messages[].name": "the speaker's name",
    "*.defer_loading": "when a tool is loaded",
    "anthropic-beta*": "a beta of Anthropic's",
    "additionalModelRequestFields.anthropic_beta": "a beta of Anthropic's",
    "additionalModelResponseFieldPaths*": "what is told beside the answer",
    "requestMetadata": "the client's own notes",
    "performanceConfig": "how fast it is worked on",
    "system": "billing line",
    "system[]": "billing line",
}


_WIDER_THAN_LOST = frozenset(("system", "system[]"))
"""Paths with more than was lost: the instructions, although only Claude Code's billing line is dropped."""


def with_explanation(path: str) -> tuple[str, ...]:
    """Return ``path``, and its explanation too if the path has more than was lost.

    Programs still find the path alone.
    """
    return (path, explain_path(path)) if path in _WIDER_THAN_LOST else (path,)


def explain_path(path: str) -> str:
    """Explain an unclear path of the drop report: ``system[]: billing line``."""
    words = next((words for hint, words in WORDS.items() if fnmatch.fnmatchcase(path, _literal(hint))), None)
    return path if words is None else f"{path}: {words}"


def losses(dropped: Iterable[str]) -> tuple[str, ...]:
    """Return those of the ``dropped`` paths that may change the answer."""
    return tuple(filter(is_loss, dropped))


def is_loss(path: str) -> bool:
    """Return whether the loss of ``path`` may change the answer."""
    return _HINTS.match(path) is None


def _literal(pattern: str) -> str:
    """Escape ``[]`` in a path, which is a set of characters in shell patterns."""
    return pattern.replace("[]", "[[][]]")
