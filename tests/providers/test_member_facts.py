"""One table has the members of each API's requests, and no other table repeats it."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from providers.errors.rejected import may_omit
from providers.neutral.api_members import (
    API_MEMBERS,
    SETTINGS,
    conversation_members,
    other_members,
    setting_paths,
)
from providers.neutral.parameters import ROWS
from streams.events import APIS
from tests.support.each_row import each_row
from tests.support.features import is_of_deleted_feature
from tests.support.repository import ROOT

PLACES: Final = ("providers/neutral/api_members.py", "providers/neutral/parameters.py")
JUDGE: Final = "providers/grammar"
"""It judges what the codecs write, so it has lists of its own."""

OTHER_FACTS: Final = {
    "providers/chat/settings.py": "how a Chat provider's settings are written",
    "providers/endpoints/fim.py": "what endpoints for code completion ignore",
    "providers/errors/rejected.py": "what a member protects",
    "providers/gemini/settings.py": "settings that the codec writes itself",
    "providers/members/names.py": "settings of the older text completions",
    "providers/messages/outgoing.py": "the order of members in a body",
    "providers/neutral/hints.py": "members without an effect on the answer",
    "providers/responses/outgoing.py": "the order of members in a body",
    "providers/responses/output.py": "members that a response repeats",
    "gateway/commands/imports/litellm_members.py": "names in another gateway's configuration",
    "gateway/features/tracing/spans.py": "names of a span's attributes",
    **{f"gateway/features/steps/tables/{api}.py": "which members have texts" for api in APIS},
}
"""The modules with lists of members for another reason."""

LISTED: Final = 8
"""As many members of one API are a list of its members."""


def words_of(declared: object) -> list[str]:
    fields = ("conversation", "tools", "with_tools", "hints", "own", "more")
    return [word for field in fields for word in getattr(declared, field).split()]


@each_row("api", APIS)
def test_no_member_is_stated_twice(api):
    declared, within = API_MEMBERS[api], SETTINGS.get(api)
    settings = [name for row in ROWS if (name := row.field(api))]
    inner = declared.inner.get(within, "").split() if within else []
    words = words_of(declared)
    assert len(words) == len({*words})
    assert not {*settings} & {*(inner if within else words)}


def lists_members(words: set[str], members: Mapping[str, set[str]]) -> bool:
    return len(words) >= LISTED and any(len(words & own) >= LISTED for own in members.values())


def lists_in(path: Path, members: Mapping[str, set[str]]) -> Iterator[set[str]]:
    """Yield the words of each list, mapping and call in a module, and of each text with several words.

    Only modules with enough members anywhere are parsed: one in twenty.
    """
    text = path.read_text()
    if not lists_members({*re.findall(r"\w+", text.replace(r"\n", " "))}, members):
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield {*node.value.split()}
            continue
        items = getattr(node, "elts", None) or getattr(node, "keys", None) or getattr(node, "args", None)
        texts = items if isinstance(items, list) else []
        yield {one.value for one in texts if isinstance(one, ast.Constant) and isinstance(one.value, str)}
        if isinstance(node, ast.Call):
            yield {one.arg for one in node.keywords if one.arg}


def test_no_other_table_lists_the_members_of_an_api():
    """Add a table with another fact to ``OTHER_FACTS``. Derive all others from ``api_members``."""
    members = {api: {*other_members(api), *conversation_members(api)} for api in APIS}
    paths = [path for package in ("providers", "gateway") for path in (ROOT / package).rglob("*.py")]
    names = {path: path.relative_to(ROOT).as_posix() for path in paths}
    others = [path for path in paths if names[path] not in PLACES and not names[path].startswith(JUDGE)]
    found = {names[path] for path in others if any(lists_members(words, members) for words in lists_in(path, members))}
    assert found == {name for name in OTHER_FACTS if not is_of_deleted_feature(name)}


def test_settings_have_the_paths_of_each_spelling():
    assert setting_paths("max_tokens", "chat") == ("max_completion_tokens", "max_tokens")
    assert setting_paths("n", "gemini")[0] == "generationConfig.candidateCount"
    assert "generation_config.candidateCount" in setting_paths("n", "gemini")
    assert setting_paths("n", "messages") == ()


@pytest.mark.parametrize(
    "at", ["generation_config.maxOutputTokens", "generationConfig.max_output_tokens", "continuationToken", "compaction"]
)
def test_no_spelling_of_an_essential_member_is_omitted(at):
    """The client would get another answer: it must see the rejection."""
    assert not may_omit(at, {})
