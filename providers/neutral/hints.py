"""Losses that matter, and those that do not. A hint cannot change the answer (cache marks, user ids, schema
annotations, accounting): losing it is shown, and is no reason to refuse a request in strict mode."""

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
    "store",  # an API without it keeps nothing; of one that refuses it gateway/request/prepare.py knows
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
    "additionalModelResponseFieldPaths[]",  # what is told beside the answer
    "requestMetadata",
    "performanceConfig",
    "system",
    "system[]",  # Claude Code's billing line (anthropics/claude-code#68900)
)


_HINTS = re.compile("|".join(fnmatch.translate(hint.replace("[]", "[[][]]")) for hint in HINTS))


# What is behind a path that does not say it itself, for whoever reads a log.
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
"""Paths that name more than was lost: instructions are there, and only Claude Code's billing line is dropped."""


def explained(path: str) -> tuple[str, ...]:
    """Return ``path``, and where it names more than was lost also with its words: ``system[]``, ``system[]: billing
    line``. Programs that look for the path still find it."""
    return (path, in_words(path)) if path in _WIDER_THAN_LOST else (path,)


def in_words(path: str) -> str:
    """Return a path of the drop report, with words where it does not say what is there: ``system[]: billing line``."""
    words = next((words for hint, words in WORDS.items() if fnmatch.fnmatchcase(path, _literal(hint))), None)
    return path if words is None else f"{path}: {words}"


def losses(dropped: Iterable[str]) -> tuple[str, ...]:
    """Those of the ``dropped`` paths that may have changed the answer."""
    return tuple(filter(is_loss, dropped))


def is_loss(path: str) -> bool:
    """Return whether losing what is at ``path`` may have changed the answer."""
    return _HINTS.match(path) is None


def _literal(pattern: str) -> str:
    """``[]`` in a path stands for itself, which the shell's patterns know only as a set of one character each."""
    return pattern.replace("[]", "[[][]]")
