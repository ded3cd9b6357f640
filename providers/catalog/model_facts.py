"""Facts of models from one dated list that comes with the package: how many tokens each takes and gives, and what it
can do, as the data of the maintained package ``litellm`` had it on the day that the list names.
``python -m tests.pages.model_facts`` writes it.

It is the last word of three. What stands in the configuration comes first, then the rows that are kept by hand with
their sources (``abilities.py``, ``models.py``), whose patterns know next year's names too; the list fills in what both
leave open. A fact that is missing refuses nothing, and none takes anything out of a request: a table that was out of
date removed good parameters elsewhere (truefoundry/models#2122).
"""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, cast, get_args

import attrs

from providers.catalog.models import plain_name
from providers.catalog.providers import find, maker
from providers.neutral.quirks import Ability, Quirks, Skill

FILE: Final = Path(__file__).with_name("model_facts.json")

LISTED_AS: Final = {
    "amazon_bedrock": "bedrock", "azure_openai": "azure", "bedrock_invoke": "bedrock", "foundry": "azure",
    "google-vertex": "vertex", "google_vertex": "vertex", "moonshotai": "moonshot", "qwen": "dashscope",
    "together_ai": "together", "vertex_ai": "vertex", "zhipu": "zai",
}  # fmt: skip
"""Names of providers in the list, where they are others than the catalogue's."""

LONGEST: Final = 300  # characters of a model's name; what a client asks for may be megabytes

USUAL_ANSWER: Final = 64_000
"""The most tokens that are asked for in place of a client that gives no limit, where one has to be given: providers
reserve what is asked for, and refuse what does not fit beside the prompt."""

_ENDS: Final = re.compile(r"(?:@.*|-v\d+(?::\d+)?|:\d+|-latest|-20\d{6}|-20\d\d-\d\d-\d\d|-preview)$")
"""What stands behind a model's name for its version; it is left off where the list has no such version."""

INPUT_APART: Final = (272_000, 922_000)
"""Tokens that a prompt may have for OpenAI's models from GPT-5 on, which keep the room of the longest answer out of it
(https://developers.openai.com/api/docs/models). Of all others prompt and answer share the window."""

_PROTOTYPE: Final = Quirks()


@attrs.frozen
class ModelFacts:
    """What the list knows of a model. ``window`` and ``max_output`` are tokens; what stands neither in ``can`` nor in
    ``cannot`` is not known."""

    window: int | None = None
    max_output: int | None = None
    can: tuple[Skill, ...] = ()
    cannot: tuple[Ability, ...] = ()


NOTHING: Final = ModelFacts()


def facts_of(provider: str, model: str) -> ModelFacts:
    """Return what is known of ``model`` at ``provider``. Where the list has it of its maker alone, that is the window
    and what it can do: how long its answers may be, and what it cannot do, is a matter of who serves it."""
    if len(model) > LONGEST:
        return NOTHING
    name = model.lower()
    row = find(provider)
    id = provider if row is None else row.id
    if (own := _listed(LISTED_AS.get(id, id), name)) is not None:
        return own
    plain = plain_name(name)
    made = maker(plain)
    theirs = None if made is None else _listed(LISTED_AS.get(made.id, made.id), plain)
    if theirs is None or made is None:
        return NOTHING
    return theirs if made.id == id else attrs.evolve(theirs, max_output=None, cannot=())


@lru_cache(maxsize=1024)
def with_facts(quirks: Quirks, provider: str, model: str) -> Quirks:
    """Return ``quirks`` with what the list knows of ``model`` where they say nothing themselves."""
    facts = facts_of(provider, model)
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


def longest_prompt(window: int | None, max_output: int | None) -> int | None:
    """Return the tokens that a prompt may have, for a model with this ``window``."""
    if window is None or max_output is None or window - max_output not in INPUT_APART:
        return window
    return window - max_output


def source() -> str:
    """Return what the list is, and of which day: ``litellm 1.109.1, 2026-11-22``."""
    return f"{_content()['source']}, {_content()['as_of']}"


def _listed(provider: str, name: str) -> ModelFacts | None:
    rows = _content()["providers"].get(provider, {})
    for each in (name, _ENDS.sub("", name)):
        if (row := rows.get(each)) is not None:
            return _read(*row)
    return None


def _read(window: int | None, max_output: int | None, can: str, cannot: str) -> ModelFacts:
    """Read a row of the list. What a model is said not to do is taken of what it sees alone: of tools and schemas the
    list has too often what was true once (``deepseek-reasoner`` without tools)."""
    lacked = tuple(cast("Ability", word) for word in cannot.split() if word in ("images", "pdf"))
    known = tuple(cast("Skill", word) for word in can.split() if word in get_args(Skill))
    return ModelFacts(window, max_output, known, lacked)


@lru_cache(maxsize=1)
def _content() -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(FILE.read_bytes())
    return found
