"""The kind ``tools`` leaves out or refuses definitions, and refuses calls by name and arguments; ``size`` counts."""

import json

import pytest

from configfile.wording import Wrong
from gateway.features.steps.kinds.size import SizeSettings, SizeStep
from gateway.features.steps.kinds.tools import ToolsSettings, ToolsStep
from gateway.features.steps.request_texts import RequestTexts
from tests.support.each_row import each_row
from trigate.steps import Check, Passage

STEP = ToolsStep(ToolsSettings(("read_*", "search"), ("read_secret",), {"read_file": {"path": "^/srv/"}}))


def findings(step, *passages: Passage) -> list[tuple[str, str | None]]:
    return [(one.label, one.action) for one in step(Check("response", passages))]


@each_row(("name", "arguments", "label"), [
    ("read_file", '{"path": "/srv/a"}', None), ("read_file", '{"path": "/etc/passwd"}', "argument"),
    ("read_file", '{"path": "/srv/a", "path": "/etc/passwd"}', "argument"),
    ("read_file", '{"path": ["/srv/a", "/etc/b"]}', "argument"), ("read_file", '{"path": 5}', "argument"),
    ("read_file", '{"path": "/srv/a"', "argument"), ("read_file", '"/srv/a"', "argument"), ("read_file", "{}", None),
    ("read_secret", "{}", "tool"), ("write", "", "tool"), ("search", '{"q": "x"}', None), ("Search", "{}", "tool"),
    (None, "{}", "tool"), ("read_file", '{"Path": "/etc/passwd"}', "argument"),
    ("read_File", '{"path": "/etc/passwd"}', "argument"), ("read_file ", '{" path": "/etc/passwd"}', "argument"),
    ("read_SECRET", "{}", "tool"), ("read_secret ", "{}", "tool"), ("read_File", '{"PATH": "/srv/a"}', None),
])  # fmt: skip
def test_a_call_needs_a_permitted_name_and_arguments(name, arguments, label):
    found = findings(STEP, Passage("tool_calls", "content[0]", arguments, name))
    assert found == ([] if label is None else [(label, "refuse")])


BODIES = {
    "chat": {"tools": [{"type": "function", "function": {"name": name}} for name in ("read_a", "rm", "search")]},
    "messages": {"tools": [{"name": name, "input_schema": {"type": "object"}} for name in ("read_a", "rm", "search")]},
    "responses": {"tools": [{"type": "function", "name": name} for name in ("read_a", "rm", "search")]},
    "gemini": {"tools": [{"functionDeclarations": [{"name": name} for name in ("read_a", "rm", "search")]}]},
    "converse": {"toolConfig": {"tools": [{"toolSpec": {"name": name}} for name in ("read_a", "rm", "search")]}},
}


@each_row("api", BODIES)
def test_a_mask_leaves_a_definition_out(api):
    body = json.dumps({"a": 1, **BODIES[api], "z": 2}).encode()
    texts = RequestTexts.of(api, body)
    found = STEP(Check("request", texts.passages))
    assert [(one.passage.tool, one.replacement) for one in found] == [("rm", "")]
    left = texts.replace([(one.passage, one.start, one.end, "") for one in found])
    assert {name: value for name, value in json.loads(left).items() if name in "az"} == {"a": 1, "z": 2}
    assert b'"rm"' not in left
    assert left.count(b'"name"') == 2


@each_row("api", BODIES)
def test_without_any_permitted_tool_the_list_is_left_out(api):
    choice = {"tool_choice": "auto"} if api != "converse" else {}
    body = json.dumps({"a": 1, **BODIES[api], **choice, "z": 2}).encode()
    texts = RequestTexts.of(api, body)
    step = ToolsStep(ToolsSettings(("nothing",)))
    found = step(Check("request", texts.passages))
    assert json.loads(texts.replace([(one.passage, one.start, one.end, "") for one in found])) == {"a": 1, "z": 2}


def test_a_tool_of_the_provider_has_its_type_as_its_name():
    body = json.dumps({"tools": [{"type": "web_search"}, {"type": "search"}], "tool_choice": "auto"}).encode()
    found = STEP(Check("request", RequestTexts.of("responses", body).passages))
    assert [one.passage.path for one in found] == ["tools[0]"]


@each_row(("api", "body", "left"), [
    ("gemini", {"tools": [{"googleSearch": {}}, {"url_context": {}}, {"mcpServers": [{"name": "x"}]}]}, {}),
    ("gemini", {"tools": [{"codeExecution": {}}, {"google_search": {"a": 1}}]}, {"tools": [{"codeExecution": {}}]}),
    ("converse", {"additionalModelRequestFields": {"tools": [{"type": "computer_1"}, {"name": "rm"}], "b": 1}},
     {"additionalModelRequestFields": {"tools": [], "b": 1}}),
    ("converse", {"additionalModelRequestFields": {"mcp_servers": [{"name": "x"}, {"name": "read_a"}]}},
     {"additionalModelRequestFields": {"mcp_servers": [{"name": "read_a"}]}}),
    ("chat", {"web_search_options": {"search_context_size": "low"}}, {}),
    ("chat", {"plugins": [{"id": "web"}, {"id": "read_pdf"}]}, {"plugins": [{"id": "read_pdf"}]}),
])  # fmt: skip
def test_a_tool_that_the_provider_runs_needs_a_permitted_name(api, body, left):
    step = ToolsStep(ToolsSettings(("read_*", "code_execution")))
    texts = RequestTexts.of(api, json.dumps({"a": 1, **body, "z": 2}).encode())
    found = step(Check("request", texts.passages))
    replaced = texts.replace([(one.passage, one.start, one.end, "") for one in found])
    assert json.loads(replaced) == {"a": 1, **left, "z": 2}


def test_settings_that_permit_everything_are_a_mistake():
    with pytest.raises(Wrong, match="there is no setting"):
        ToolsStep(ToolsSettings())
    with pytest.raises(Wrong, match=r"the pattern of f\.x: .* a backreference"):
        ToolsStep(ToolsSettings(arguments={"f": {"x": r"(a)\1"}}))
    with pytest.raises(Wrong, match="there is no limit"):
        SizeStep(SizeSettings())


SIZED = {
    "chat": {"messages": [
        {"role": "user", "content": [
            {"type": "text", "text": "12345"},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}},
        ]},
        {"role": "assistant", "content": "123"}, {"role": "user", "content": "12"},
    ]},
    "messages": {"messages": [
        {"role": "user", "content": [
            {"type": "text", "text": "12345"},
            {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGVsbG8="}},
        ]},
        {"role": "assistant", "content": "123"}, {"role": "user", "content": "12"},
    ]},
}  # fmt: skip


@pytest.mark.parametrize("api", SIZED)
def test_sizes_are_counted(api):
    passages = RequestTexts.of(api, json.dumps(SIZED[api]).encode()).passages
    for limits, labels in (((10, 3, 2), []), ((9, 3, 2), ["characters"]), ((None, 2, 1), ["messages", "images"])):
        assert [one[0] for one in findings(SizeStep(SizeSettings(*limits)), *passages)] == labels
