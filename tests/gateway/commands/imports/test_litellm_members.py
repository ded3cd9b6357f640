"""Request members of LiteLLM's ``litellm_params``, converted to ``request`` of an entry."""

import pytest

from gateway.commands.imports.litellm_members import read_members
from gateway.config_files.loading import from_mapping
from tests.support.each_row import each_row
from tests.support.features import needs_feature


@needs_feature("request_members")
@each_row(
    ("params", "request_members"),
    [
        ({"temperature": 0, "max_tokens": 100, "seed": None}, {"default": {"temperature": 0, "max_tokens": 100}}),
        ({"max_completion_tokens": 5, "stop": "END"}, {"default": {"max_tokens": 5, "stop": ["END"]}}),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, {"default": {"thinking_budget": 2000}}),
        ({"thinking": {"type": "disabled"}}, {"default": {"messages.thinking": {"type": "disabled"}}}),
        ({"extra_body": {"min_p": 0.1, "a": {"b": "$x"}}}, {"default": {"other.min_p": 0.1, "other.a": {"b": "$$x"}}}),
        ({"extra_body": {"a": {"b": "", "c": ["", "d"]}}}, {"default": {"other.a": {"b": "", "c": ["", "d"]}}}),
        ({"chat_template_kwargs": {"a": False}}, {"default": {"other.chat_template_kwargs": {"a": False}}}),
        ({"model": "x", "api_key": "k"}, {}),
    ],
)  # fmt: skip
def test_members_become_defaults_and_drops(params, request_members):
    assert read_members(params) == (request_members, {})
    entry = {"model": "openai/m", "access_key": "k", "request": request_members}
    assert from_mapping({"version": "v0.4.0", "model_providers": [entry]}).entries


@pytest.mark.parametrize("params", [{"seed": "many"}, {"extra_body": {"model": "x"}}])
def test_a_member_without_a_counterpart_is_a_loss(params):
    request, losses = read_members(params)
    assert (request, len(losses)) == ({}, 1)
