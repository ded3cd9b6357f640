"""Which losses matter. A hint cannot change the answer (cache marks, user ids, schema annotations, accounting): losing
it is shown, and is no reason to refuse a request in strict mode."""

import fnmatch
from collections.abc import Iterable

# Shell-style patterns over the paths of the drop report.
HINTS = (
    "*cache_control",
    "*cache_control.*",
    "*prompt_cache_breakpoint",
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
    "store",
    "stream_options",
    "stream_options.*",
    "*.$schema",
    "*.eager_input_streaming",
    "*.input_examples",
    "messages[].name",
    "*.phase",
    "*input[].content[].annotations",
    "*input[].content[].logprobs",
    "reasoning.summary",  # how thoughts are shown
    "thinking.display",
    "*.defer_loading",  # when a tool is loaded
    "anthropic-beta",
    "anthropic-beta.*",
    "system",
    "system[]",  # Claude Code's billing line (anthropics/claude-code#68900)
)


def losses(dropped: Iterable[str]) -> tuple[str, ...]:
    """Those of the ``dropped`` paths that may have changed the answer."""
    return tuple(path for path in dropped if not any(fnmatch.fnmatchcase(path, _literal(hint)) for hint in HINTS))


def _literal(pattern: str) -> str:
    """``[]`` in a path stands for itself, which the shell's patterns know only as a set of one character each."""
    return pattern.replace("[]", "[[][]]")
