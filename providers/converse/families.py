"""Features that families of Bedrock models support in Converse, which is one format but accepts different members for
each.

``Quirks.bedrock_family`` names a row. Sources: member descriptions in Bedrock's API reference, its pages "Call a tool",
"Prompt caching for faster model inference" and those of the models' own parameters, November 2026.
"""

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import attrs

Place: TypeAlias = Literal["tools", "system", "messages"]


@attrs.frozen
class Family:
    """A family of models.

    ``effort`` is the member of ``additionalModelRequestFields`` for reasoning, ``top_k`` the path of that setting
    there. ``choices`` are the forms of ``toolChoice`` besides ``auto``, ``cached`` the parts of a request where a
    ``cachePoint`` is allowed.
    """

    effort: Literal["", "thinking", "reasoning_config", "reasoningConfig", "reasoning_effort"] = ""
    top_k: tuple[str, ...] = ()
    choices: tuple[Literal["any", "tool"], ...] = ()
    cached: tuple[Place, ...] = ()
    result_status: bool = False
    structured_output: bool = False
    strict_tools: bool = False
    stop_string: bool = False
    """True if the model can report the stop string that matched (``additionalModelResponseFieldPaths``)."""


_NOVA: Final = Family(
    top_k=("inferenceConfig", "topK"),
    choices=("any", "tool"),
    cached=("system", "messages"),
    result_status=True,
)

_CLAUDE: Final = Family(
    effort="thinking",
    top_k=("top_k",),
    choices=("any", "tool"),
    cached=("tools", "system", "messages"),
    result_status=True,
    structured_output=True,
    strict_tools=True,
    stop_string=True,
)

FAMILIES: Final[Mapping[str, Family]] = {
    "claude": _CLAUDE,
    "claude3": attrs.evolve(_CLAUDE, effort="", cached=()),  # models without thinking and caching
    "nova": _NOVA,
    "nova2": attrs.evolve(_NOVA, effort="reasoningConfig", strict_tools=True),
    "mistral": Family(choices=("any",)),
    "openai": Family("reasoning_effort"),
    "qwen": Family("reasoning_config"),
    "zai": Family(structured_output=True),
    "minimax": Family(structured_output=True),
    "other": Family(),
}
