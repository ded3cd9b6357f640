"""A step sees the name of a call also if the model sends no arguments, whatever the step holds
(https://github.com/BerriAI/litellm/issues/35999)."""

import json
from typing import Final

from gateway.steps.loading import load_steps
from tests.support.each_row import each_row
from tests.support.growing_streams import chunk, wire
from tests.support.released_streams import release
from tests.support.step_files import step_config

CALL: Final = {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "rm", "arguments": ""}}]}
KINDS: Final = {
    "at once": {},
    "whole": {"hold": "whole"},
    "window": {"hold": 9},
    "nothing": {"hold": "nothing"},
    "report": {"action": "report"},
}


@each_row("kind", KINDS)
def test_a_step_sees_a_call_without_arguments(tmp_path, kind):
    row = {"use": "tools", "with": {"deny": ["rm"]}, "at": ["response"], **KINDS[kind]}
    steps = load_steps(step_config(tmp_path, f"  - {json.dumps(row)}\n")).steps
    events = [chunk(CALL), chunk({}, "tool_calls")]
    found = release(steps, "chat", [wire("chat", [event]) for event in events])
    assert [dict(record.labels) for record in found.records] == [{"tool": 1}]
    assert (found.refused is None) == (kind == "report")
