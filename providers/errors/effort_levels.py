"""Rejections of a level of effort that the model does not have.

Claude Code and Codex send ``xhigh``, ``max``, ``minimal`` or ``none`` to every model. Each turn fails at one without it
(farion1231/cc-switch#2851, openai/codex#6647, router-for-me/CLIProxyAPI#1572). The rejection states the model's levels.
"""

import re
from typing import Any, Final

from providers.errors.member_paths import Path
from providers.errors.words import Words
from providers.neutral.levels import LEVELS, known_level

PATHS: Final[tuple[Path, ...]] = (("reasoning_effort",), ("reasoning", "effort"), ("output_config", "effort"))
NAMES: Final = frozenset(map(".".join, PATHS))
"""The paths of an effort, and their texts."""

_LEVEL: Final = rf"[`'\"]?\b(?:{'|'.join(LEVELS)})\b[`'\"]?"
_LIST: Final = rf"(?P<levels>{_LEVEL}(?:(?:,? (?:and |or )?|,){_LEVEL}){{0,6}})"
_FOUND: Final = re.compile("|".join(rf"\b{level}\b" for level in LEVELS))
_NAME: Final = r"(?:reasoning[._]effort|output_config\.effort)"

WORDS: Final = Words.of(
    # OpenAI, Azure (BerriAI/litellm#39983), Kimi (Kilo-Org/cloud#3807)
    rf"(?:Unsupported value: '{_NAME}' does not support '\w{{1,20}}' with this model\. Supported values are: "
    # SGLang (router-for-me/CLIProxyAPI#1572), vLLM
    r"|'(?:reasoning_)?effort'\), 'msg': [\"']Input should be "
    # Anthropic, servers with FastAPI
    rf"|{_NAME}: Input should be "
    # DeepSeek (xunbu/docutranslate#32)
    rf"|{_NAME}: unknown variant `\w{{1,20}}`, expected (?:one of )?"
    # Copilot (microsoft/vscode#310826)
    rf"|{_NAME} \"\w{{1,20}}\" is not supported by model [\w.:/\-]{{1,200}}; supported values: \["
    # Volcengine (farion1231/cc-switch#2851)
    rf"|The parameter `{_NAME}` specified in the request are not valid: expected "
    # CLIProxyAPI (nguyenphutrong/quotio#287)
    rf"|level \"\w{{1,20}}\" not supported, valid levels: ){_LIST}",
    r"(?:Failed to deserialize the JSON body into the target type: |The model returned the following errors: |body\."
    r"|(?:1 validation error:\n  )?\[?\{'type': '\w{1,40}', 'loc': \('body', (?:'reasoning', )?)?",
    r"[\]\"']?(?:, 'input': '\w{1,20}', 'ctx': \{'expected': \"[\w', ]{1,100}\"\}\}\]?(?:\n\n  File [\s\S]{1,1000})?)?"
    r"(?:, but got `\w{1,20}` instead(?:\. Request id: \w{1,100})?)?(?: at line \d{1,9} column \d{1,9})?\.?",
)
NAMELESS: Final = Words.of(  # openai/codex#6647; the error has the name in ``param``
    rf"(?:Unsupported|Invalid) value: '\w{{1,20}}'(?: is not supported with the '[\w.:/\-]{{1,200}}' model)?\. "
    rf"Supported values are: {_LIST}"
)


def stated_levels(found: re.Match[str]) -> tuple[str, ...]:
    """Return the levels of a model, which a match of the words states."""
    named = _FOUND.findall(found["levels"])
    return tuple(level for level in LEVELS if level in named)


def nearest(effort: Any, levels: tuple[str, ...]) -> Any:
    """Return the nearest of ``levels``, ``None`` for an effort without one; other values than levels stay."""
    return known_level(effort, levels) if isinstance(effort, str) else effort
