"""Members of the operator that a model refuses."""

import json
from typing import Any

import pytest

from providers.members.editing import apply_level
from providers.members.level import compile_level
from providers.members.refused import drop_refused
from providers.neutral.draft import Draft
from providers.neutral.quirks import Quirks
from tests.support.each_row import each_row


@each_row(
    ("wire", "body", "default", "quirks", "after"),
    [
        ("messages", {}, {"temperature": 0.2}, {"sampling": "never"}, {}),
        ("messages", {"top_p": 0.5}, {"temperature": 0.2}, {"sampling": "never"}, {"top_p": 0.5}),
        ("messages", {}, {"temperature": 1.5}, {}, {"temperature": 1}),
        ("messages", {"thinking": {"type": "enabled", "budget_tokens": 2000}}, {"temperature": 0.2},
         {"sampling": "unless_thinking"}, {"thinking": {"type": "enabled", "budget_tokens": 2000}}),
        ("messages", {"temperature": 0.5, "max_tokens": 9000}, {"thinking_budget": 2000},
         {"sampling": "unless_thinking"}, {"temperature": 0.5, "max_tokens": 9000}),
        ("messages", {}, {"reasoning_effort": "low"}, {}, {}),
        ("messages", {}, {"reasoning_effort": "low"}, {"efforts": ("low", "high")},
         {"output_config": {"effort": "low"}}),
        ("converse", {}, {"temperature": 0.2}, {"sampling": "never"}, {}),
        ("chat", {}, {"temperature": 1.5}, {"sampling": "never"}, {"temperature": 1.5}),
    ],
)  # fmt: skip
def test_a_refused_default_is_dropped_and_the_clients_values_stay(
    wire: str, body: dict[str, Any], default: dict[str, Any], quirks: dict[str, Any], after: dict[str, Any]
) -> None:
    draft = Draft.of(json.dumps(body).encode())
    level = compile_level(default, {}, {}, (), None, None, lambda path, wrong: pytest.fail(str(wrong.words)))
    applied = apply_level(level, draft, wire)
    drop_refused(draft, wire, Quirks(**quirks), applied.placed)
    assert json.loads(draft.encode()) == after
