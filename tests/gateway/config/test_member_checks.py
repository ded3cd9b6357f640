"""``trigate check`` notes where the members of ``request`` have no effect."""

from typing import Any, Final

import pytest

from gateway.config.loading import from_mapping
from tests.support.features import members_of, needs_feature, rows_of

ENTRIES: Final = [
    {"model": "openai/gpt-5", "access_key": "k"},
    {"model": "openai/gpt-realtime", "name": "voice", "access_key": "k"},
    {"model": "mistral/*", "access_key": "k", **members_of("pass_through", passthrough=True)},
]
MEMBERS: Final = {"request": {"default": {"temperature": 0.2}}}
REALTIME: Final = "request: its members have no effect on realtime sessions (voice)"
PASSED: Final = "request: its members have no effect on pass-through (mistral/*)"


def notes_of(**more: Any) -> list[str]:
    """Return the notes on ``request`` of a configuration."""
    notes = from_mapping({"version": "v0.4.0", "model_providers": ENTRIES, **more}).notes
    return [note for note in notes if note.startswith("request:")]


@needs_feature("request_members")
@pytest.mark.parametrize(
    "more",
    [
        {"client_keys": [{"name": "ann", "key": "key-of-ann-0123456789", **MEMBERS}]},
        {"client_groups": [{"name": "team", **MEMBERS}]},
        {"model_providers": [{**one, **MEMBERS} for one in ENTRIES]},
    ],
)
def test_members_of_clients_and_entries_reach_neither_sessions_nor_pass_through(more):
    assert notes_of(**more) == [REALTIME, *rows_of("pass_through", PASSED)]


@needs_feature("request_members")
def test_members_of_a_name_concern_its_targets():
    assert notes_of(model_aliases={"talk": {"target": "voice", **MEMBERS}}) == [REALTIME]
    assert notes_of(model_aliases={"talk": {"targets": ["gpt-5", "voice"], **MEMBERS}}) == [REALTIME]
    assert notes_of(model_aliases={"chat": {"target": "gpt-5", **MEMBERS}}) == []


@needs_feature("request_members")
def test_members_of_another_entry_need_no_note():
    assert notes_of(model_providers=[{**ENTRIES[0], **MEMBERS}, *ENTRIES[1:]]) == []
    assert notes_of() == []
