"""Rejections of a level of effort that the model does not have.

Claude Code and Codex send ``xhigh``, ``max``, ``minimal`` or ``none`` to every model. Each turn fails at one without it
(farion1231/cc-switch#2851, openai/codex#6647, router-for-me/CLIProxyAPI#1572). The rejection states the model's levels.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from providers.errors.words import Change, Words
from providers.neutral.levels import LEVELS, known_level

_FLAT: Final = "reasoning_effort"
_HOLDERS: Final = ("reasoning", "output_config")
_EFFORT: Final = "effort"
MEMBERS: Final = (_FLAT, *_HOLDERS)
_PLACES: Final = frozenset((_FLAT, *(f"{holder}.{_EFFORT}" for holder in _HOLDERS)))

_LEVEL: Final = rf"[`'\"]?\b(?:{'|'.join(LEVELS)})\b[`'\"]?"
_LIST: Final = rf"{_LEVEL}(?:(?:,? (?:and |or )?|,){_LEVEL}){{0,6}}"
_END: Final = re.compile(rf"{_LIST}\Z")
_FOUND: Final = re.compile("|".join(rf"\b{level}\b" for level in LEVELS))
_NAME: Final = r"(?:reasoning[._]effort|output_config\.effort)"

_WORDS: Final = Words.of(
    # OpenAI, Azure (BerriAI/litellm#39983), Kimi (Kilo-Org/cloud#3807)
    rf"Unsupported value: '{_NAME}' does not support '\w{{1,20}}' with this model\. Supported values are: {_LIST}"
    # SGLang (router-for-me/CLIProxyAPI#1572), vLLM
    rf"|'(?:reasoning_)?effort'\), 'msg': [\"']Input should be {_LIST}"
    # Anthropic, servers with FastAPI
    rf"|{_NAME}: Input should be {_LIST}"
    # DeepSeek (xunbu/docutranslate#32)
    rf"|{_NAME}: unknown variant `\w{{1,20}}`, expected (?:one of )?{_LIST}"
    # Copilot (microsoft/vscode#310826)
    rf"|{_NAME} \"\w{{1,20}}\" is not supported by model [\w.:/\-]{{1,200}}; supported values: \[{_LIST}"
    # Volcengine (farion1231/cc-switch#2851)
    rf"|The parameter `{_NAME}` specified in the request are not valid: expected {_LIST}"
    # CLIProxyAPI (nguyenphutrong/quotio#287)
    rf"|level \"\w{{1,20}}\" not supported, valid levels: {_LIST}",
    r"(?:Failed to deserialize the JSON body into the target type: |The model returned the following errors: |body\."
    r"|(?:1 validation error:\n  )?\[?\{'type': '\w{1,40}', 'loc': \('body', (?:'reasoning', )?)?",
    r"[\]\"']?(?:, 'input': '\w{1,20}', 'ctx': \{'expected': \"[\w', ]{1,100}\"\}\}\]?(?:\n\n  File [\s\S]{1,1000})?)?"
    r"(?:, but got `\w{1,20}` instead(?:\. Request id: \w{1,100})?)?(?: at line \d{1,9} column \d{1,9})?\.?",
)
_NAMELESS: Final = Words.of(  # openai/codex#6647; the error has the name in ``param``
    rf"(?:Unsupported|Invalid) value: '\w{{1,20}}'(?: is not supported with the '[\w.:/\-]{{1,200}}' model)?\. "
    rf"Supported values are: {_LIST}"
)


def find_levels(message: str, param: str | None) -> tuple[str, ...]:
    """Return the levels of a model, which a provider's ``message`` states about ``param`` or another member."""
    found = next(iter(_words_for(param).matches_in(message)), None)
    listed = None if found is None else _END.search(found[0])
    named = () if listed is None else _FOUND.findall(listed[0])
    return tuple(level for level in LEVELS if level in named)


def states_only_levels(message: str, param: str | None) -> bool:
    """Return whether ``message`` consists of such a rejection, so that it quotes no client."""
    return _words_for(param).are_all_of(message)


def _words_for(param: str | None) -> Words:
    return _WORDS | _NAMELESS if param in _PLACES else _WORDS


def use_levels(levels: tuple[str, ...]) -> Change:
    """Return a function that returns the members of a body with another effort, changed to the nearest of ``levels``.

    It returns ``{}`` for a body without one."""

    def change(body: Mapping[str, Any]) -> dict[str, Any]:
        changed: dict[str, Any] = {}
        if (value := _other_level(body.get(_FLAT))) is not None:
            changed[_FLAT] = known_level(value, levels)
        for holder in _HOLDERS:
            members = body.get(holder)
            if isinstance(members, dict) and (value := _other_level(members.get(_EFFORT))) is not None:
                level = known_level(value, levels)
                rest = {name: inner for name, inner in members.items() if name != _EFFORT}
                changed[holder] = ({_EFFORT: level} if level is not None else {}) | rest or None
        return changed

    def _other_level(value: Any) -> str | None:
        return value if isinstance(value, str) and value in LEVELS and value not in levels else None

    return change


def place_of(name: str, value: Any) -> tuple[str, str]:
    """Return the path of the effort in the member ``name``, and its new form, from the member's new ``value``."""
    level = value.get(_EFFORT) if isinstance(value, dict) else value
    return name if name == _FLAT else f"{name}.{_EFFORT}", "" if level is None else f"={level}"
