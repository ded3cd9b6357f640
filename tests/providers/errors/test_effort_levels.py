"""Rejections of a level of effort that a model does not have, in the words of servers, and the changed requests."""

import json
from typing import Any

from providers.errors.failures import read_failure
from providers.errors.other_shapes import EFFORT_LEVELS, find_shape
from providers.errors.rejected import find_rejected, find_sole_rejected
from tests.support.each_row import each_row

ROWS: list[tuple[str, dict[str, Any], str]] = [
    # BerriAI/litellm#39983
    (
        "Unsupported value: 'reasoning_effort' does not support 'max' with this model. Supported values are: 'none', "
        "'low', 'medium', 'high', and 'xhigh'.",
        {"param": "reasoning_effort", "code": "unsupported_value"},
        "none,low,medium,high,xhigh",
    ),
    # Kilo-Org/cloud#3807
    (
        "Unsupported value: 'reasoning_effort' does not support 'none' with this model. Supported values are: "
        "'minimal', 'low', 'medium', and 'high'.",
        {},
        "minimal,low,medium,high",
    ),
    # openai/codex#6647
    (
        "Unsupported value: 'none' is not supported with the 'gpt-5.1-codex' model. Supported values are: 'low', "
        "'medium', and 'high'.",
        {"param": "reasoning.effort", "code": "unsupported_value"},
        "low,medium,high",
    ),
    # router-for-me/CLIProxyAPI#1572
    (
        "1 validation error:\n  {'type': 'literal_error', 'loc': ('body', 'reasoning_effort'), 'msg': \"Input should "
        "be 'low', 'medium' or 'high'\", 'input': 'xhigh', 'ctx': {'expected': \"'low', 'medium' or 'high'\"}}\n\n  "
        'File "/sgl-workspace/sglang/python/sglang/srt/entrypoints/http_server.py", line 1324, in openai_v1_chat_comple'
        "tions\n    POST /v1/chat/completions [{'type': 'literal_error', 'loc': ('body', 'reasoning_effort')}]",
        {},
        "low,medium,high",
    ),
    # vLLM
    (
        "[{'type': 'literal_error', 'loc': ('body', 'reasoning_effort'), 'msg': \"Input should be 'low', 'medium' or "
        "'high'\", 'input': 'xhigh', 'ctx': {'expected': \"'low', 'medium' or 'high'\"}}]",
        {},
        "low,medium,high",
    ),
    ("output_config.effort: Input should be 'low', 'medium', 'high' or 'max'", {}, "low,medium,high,max"),
    # xunbu/docutranslate#32
    (
        "Failed to deserialize the JSON body into the target type: reasoning_effort: unknown variant `none`, expected "
        "one of `high`, `low`, `medium`, `max`, `xhigh` at line 1 column 6572",
        {},
        "low,medium,high,xhigh,max",
    ),
    # microsoft/vscode#310826
    (
        'output_config.effort "high" is not supported by model claude-opus-4.7; supported values: [medium]',
        {"code": "invalid_reasoning_effort"},
        "medium",
    ),
    (
        'reasoning_effort "max" is not supported by model gpt-5.4; supported values: [low medium high]',
        {"code": "invalid_reasoning_effort"},
        "low,medium,high",
    ),
    # farion1231/cc-switch#2851
    (
        "The parameter `output_config.effort` specified in the request are not valid: expected `low`, `medium`, `high` "
        "or `max`, but got `xhigh` instead. Request id: 021778996796425d54a2e8b6146550b9b78e5e06cf50b223556ee",
        {},
        "low,medium,high,max",
    ),
    # nguyenphutrong/quotio#287
    ('level "max" not supported, valid levels: low, medium, high, xhigh', {}, "low,medium,high,xhigh"),
]


def read_error(message: str, **more: Any):
    return read_failure(400, json.dumps({"error": {"message": message, "type": "x", **more}}).encode())


@each_row(("message", "more", "levels"), ROWS)
def test_the_words_of_servers_are_known_and_remembered(message, more, levels):
    error = read_error(message, **more)
    assert find_rejected(error) == find_sole_rejected(error) == ((EFFORT_LEVELS, levels),)


@each_row(
    ("message", "more"),
    [
        # of other members: text.verbosity
        (
            "Unsupported value: 'low' is not supported with the 'gpt-5.1-codex' model. Supported values are: 'medium'.",
            {"param": "text.verbosity"},
        ),
        ("Unsupported value: 'low' is not supported with the 'x' model. Supported values are: 'medium'.", {}),
        ("reasoning_effort must be one of `none` or `default`", {}),
        ("detail: Input should be 'low' or 'high'", {}),
    ],
)
def test_other_rejections_name_no_levels(message, more):
    assert all(path[0] != EFFORT_LEVELS for path in find_rejected(read_error(message, **more)))


def test_a_quotation_is_not_remembered():
    error = read_error("messages[3]: \"output_config.effort: Input should be 'low' or 'high'\" is not allowed")
    assert (find_rejected(error), find_sole_rejected(error)) == (((EFFORT_LEVELS, "low,high"),), ())


@each_row(
    ("levels", "body", "changed", "at"),
    [
        ("low,medium,high", {"reasoning_effort": "xhigh"}, {"reasoning_effort": "high"}, "reasoning_effort=high"),
        ("high", {"reasoning_effort": "low"}, {"reasoning_effort": "high"}, "reasoning_effort=high"),
        ("low,high", {"reasoning_effort": "none"}, {"reasoning_effort": None}, "reasoning_effort"),
        (
            "low,medium,high,max",
            {"output_config": {"effort": "xhigh", "format": {}}},
            {"output_config": {"effort": "high", "format": {}}},
            "output_config.effort=high",
        ),
        (
            "low,medium,high",
            {"reasoning": {"effort": "minimal", "summary": "auto"}},
            {"reasoning": {"effort": "low", "summary": "auto"}},
            "reasoning.effort=low",
        ),
        ("low", {"reasoning": {"effort": "none"}}, {"reasoning": None}, "reasoning.effort"),
    ],
)
def test_the_effort_becomes_the_nearest_level(levels, body, changed, at):
    shape = find_shape((EFFORT_LEVELS, levels))
    assert shape is not None
    assert shape.change(body) == changed
    ((name, value),) = changed.items()
    edit = shape.describe(name, value)
    assert (f"{edit.path}{edit.form}", edit.lost) == (at, True)


@each_row(
    "body",
    [
        {"reasoning_effort": "low"}, {"reasoning_effort": "default"}, {"reasoning_effort": 1}, {"reasoning": "x"},
        {"output_config": {"effort": None}}, {"output_config": {"format": {}}}, {},
    ],
)  # fmt: skip
def test_other_bodies_stay(body):
    shape = find_shape((EFFORT_LEVELS, "low,high"))
    assert shape is not None
    assert shape.change(body) == {}
