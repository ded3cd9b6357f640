"""The rules of prompt caches in ``trigate explain``, and the warnings of ``check`` about marks without effect."""

import pytest

from gateway.commands.explaining import row_text
from gateway.config.loading import from_mapping
from providers.catalog.prompt_caching import ROWS
from tests.support.command_line import invoke
from tests.support.each_row import each_row
from tests.support.harness import config, provider
from tests.support.quick_yaml import dump_yaml

CLAUDE = "anthropic/claude-sonnet-4-6"


@pytest.fixture
def file(tmp_path):
    entries = [
        provider(CLAUDE, "http://127.0.0.1:9", ["messages"]),
        provider("openai/gpt-5", "http://127.0.0.1:9/v1", ["chat"]),
        provider("server/m", "http://127.0.0.1:9/v1", provider_interface="vllm"),
    ]
    path = tmp_path / "trigate.yaml"
    path.write_text(dump_yaml(config(entries, 1, model_aliases={"best": {"targets": [CLAUDE, "openai/gpt-5"]}})))
    return path


@pytest.mark.parametrize(
    ("model", "shown"),
    [
        (CLAUDE, [
            "cache    caches marked prompts only, from 1,024 tokens, kept for 5m (1h on request), at most 4 marks "
            "(https://platform.claude.com/docs/en/build-with-claude/prompt-caching, read "]),
        ("best", [
            f"cache    {CLAUDE}: caches marked prompts only",
            "         openai/gpt-5: caches prompts without marks, from 1,024 tokens, in steps of 128 tokens, "]),
        ("server/m", ["caches prompts without marks, in steps of 16 tokens"]),  # by its interface
    ],
)  # fmt: skip
def test_explain_has_the_rules_of_the_prompt_cache_of_each_target_with_their_source(file, model, shown):
    done = invoke("explain", model, "--api", "messages", "--config", str(file))
    assert done.returncode == 0, done.stderr
    assert all(text in done.stdout for text in shown), done.stdout


@each_row("rows", ROWS.values(), ids=["/".join(filter(None, key)) for key in ROWS])
def test_every_row_has_a_text(rows):
    for _, row in rows:
        text = row_text(row)
        assert text.startswith(("caches marked prompts only", "caches prompts without marks"))
        assert "None" not in text


@each_row(
    ("model", "speaks", "warns"),
    [
        (CLAUDE, ["messages"], False),
        (CLAUDE, ["chat", "messages"], False),
        (CLAUDE, ["chat"], True),
        ("openai/gpt-5", ["chat", "responses"], True),
        ("amazon_bedrock/anthropic.claude-sonnet-4-6", ["converse"], False),
    ],
)
def test_marks_where_no_request_takes_them_are_a_warning(model, speaks, warns):
    entry = provider(model, "http://127.0.0.1:9/v1", speaks, prompt_cache={"marks": "5m"})
    found = [text for text in from_mapping(config([entry], 1)).warnings if "prompt_cache.marks" in text]
    assert bool(found) == warns
