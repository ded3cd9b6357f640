"""Facts about models from a dated list in the package: token limits and abilities.

The data comes from the maintained package ``litellm``; ``python -m tests.pages.model_facts`` writes the list.

It ranks third: the configuration comes first, then the manual rows with sources (``models.py``), whose
patterns also match future names. A missing fact excludes nothing, and no fact removes anything from a request:
elsewhere an outdated table removed good parameters (truefoundry/models#2122).
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, cast, get_args

import attrs
import msgspec

from providers.catalog.models import MAX_NAME, plain_name
from providers.catalog.providers import find, maker
from providers.neutral.quirks import Ability, Quirks, Skill

FILE: Final = Path(__file__).with_name("model_facts.json")

LISTED_AS: Final = {
    "amazon_bedrock": "bedrock", "azure_openai": "azure", "bedrock_invoke": "bedrock", "foundry": "azure",
    "google-vertex": "vertex", "google_vertex": "vertex", "moonshotai": "moonshot", "qwen": "dashscope",
    "together_ai": "together", "vertex_ai": "vertex", "zhipu": "zai",
}  # fmt: skip
"""The list's names of providers that differ from the catalogue's."""


USUAL_ANSWER: Final = 64_000
"""The most tokens that the gateway requests if a limit is required and the client set none.

Providers reserve the limit, and reject requests whose prompt and limit do not fit together.
"""

_VERSION_SUFFIX: Final = re.compile(r"(?:@.*|-v\d+(?::\d+)?|:\d+|-latest|-20\d{6}|-20\d\d-\d\d-\d\d|-preview)$")
"""Version suffixes of model names; they are removed if the list lacks the full name."""

SEPARATE_INPUTS: Final = (272_000, 922_000)
"""Input limits of OpenAI's models from GPT-5 on, which exclude the longest answer from the window
(https://developers.openai.com/api/docs/models).

For other models prompt and answer share the window.
"""

_PROTOTYPE: Final = Quirks()


@attrs.frozen(repr=False)
class ModelFacts:
    """The list's facts about a model.

    ``window`` and ``max_output`` are in tokens; abilities in neither ``can`` nor ``cannot`` are unknown.
    """

    window: int | None = None
    max_output: int | None = None
    can: tuple[Skill, ...] = ()
    cannot: tuple[Ability, ...] = ()


NOTHING: Final = ModelFacts()


def find_facts(provider: str, model: str) -> ModelFacts:
    """Return the facts about ``model`` at ``provider``.

    If the list only has the model at its maker, returns its window and abilities: the answer's limit and lacking
    abilities depend on the host.
    """
    name = model.lower()
    row = find(provider)
    id = provider if row is None else row.id
    if (own := _find_listed(LISTED_AS.get(id, id), name)) is not None:
        return own
    plain = plain_name(name)
    maker_row = maker(plain)
    maker_facts = None if maker_row is None else _find_listed(LISTED_AS.get(maker_row.id, maker_row.id), plain)
    if maker_facts is None or maker_row is None:
        return NOTHING
    return maker_facts if maker_row.id == id else attrs.evolve(maker_facts, max_output=None, cannot=())


def with_facts(quirks: Quirks, provider: str, model: str) -> Quirks:
    """Return ``quirks``, with gaps filled by the list's facts about ``model``."""
    return _with_facts(quirks, provider, model) if len(model) <= MAX_NAME else quirks


@lru_cache(maxsize=1024)
def _with_facts(quirks: Quirks, provider: str, model: str) -> Quirks:
    facts = find_facts(provider, model)
    if facts is NOTHING:
        return quirks
    changes: dict[str, Any] = {}
    if quirks.context_window is None:
        changes["context_window"] = facts.window
    if quirks.max_output is None:
        changes["max_output"] = facts.max_output
    if quirks.default_max_tokens == _PROTOTYPE.default_max_tokens and facts.max_output is not None:
        changes["default_max_tokens"] = min(facts.max_output, USUAL_ANSWER)
    changes["can"] = tuple(skill for skill in facts.can if skill not in quirks.cannot)
    changes["cannot"] = tuple(dict.fromkeys((*quirks.cannot, *facts.cannot)))
    return attrs.evolve(quirks, **changes)


def prompt_limit(window: int | None, max_output: int | None) -> int | None:
    """Return the limit of a prompt in tokens, for a model with this ``window``."""
    if window is None or max_output is None or window - max_output not in SEPARATE_INPUTS:
        return window
    return window - max_output


def source() -> str:
    """Return the list's source and date, such as ``litellm 1.109.1, 2026-11-22``."""
    return f"{_load_list()['source']}, {_load_list()['as_of']}"


def _find_listed(provider: str, name: str) -> ModelFacts | None:
    rows = _load_list()["providers"].get(provider, {})
    for candidate in (name, _VERSION_SUFFIX.sub("", name)):
        if (row := rows.get(candidate)) is not None:
            return _make_facts(*row)
    return None


def _make_facts(window: int | None, max_output: int | None, can: str, cannot: str) -> ModelFacts:
    """Return the facts of a row of the list.

    Only lacking media are accepted: for tools and schemas the list is often outdated (``deepseek-reasoner`` without
    tools).
    """
    lacking = tuple(cast("Ability", word) for word in cannot.split() if word in ("images", "pdf"))
    known = tuple(cast("Skill", word) for word in can.split() if word in get_args(Skill))
    return ModelFacts(window, max_output, known, lacking)


@lru_cache(maxsize=1)
def _load_list() -> Mapping[str, Any]:
    found: Mapping[str, Any] = msgspec.json.decode(FILE.read_bytes())
    return found
