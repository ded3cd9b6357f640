"""Routes whose vectors do not fit together are mistakes at the start (tashfeenahmed/freellmapi#195)."""

from pathlib import Path

import pytest

from gateway.config.loading import ConfigError, load

ENTRIES = """version: v0.4.0
model_providers:
  - {model: openai/text-embedding-3-small, access_key: k}
  - {model: openai/text-embedding-3-large, access_key: k}
  - {model: openrouter/openai/text-embedding-3-small, access_key: k}
  - {model: openai/text-embedding-3-small, name: short, access_key: k, embeddings: {dimensions: 256}}
  - {model: openai/gpt-5.4, access_key: k}
  - {model: anthropic/claude-sonnet-4-5, access_key: k}
  - {model: mine/secret-model, name: mine, type: embedding, base_url: "http://h:1", access_key: k}
model_aliases:
  route: {targets: [%s]}
"""


def loaded(folder: Path, targets: str) -> list[str]:
    """The mistakes of a route of ``targets``."""
    file = folder / "config.yaml"
    file.write_text(ENTRIES % targets)
    try:
        load(file, {})
    except ConfigError as error:
        return [str(mistake) for mistake in error.mistakes]
    return []


@pytest.mark.parametrize(
    ("targets", "told"),
    [
        ("openai/text-embedding-3-small, openrouter/openai/text-embedding-3-small", None),
        ("openai/gpt-5.4, anthropic/claude-sonnet-4-5", None),
        ("mine", None),
        ("openai/text-embedding-3-small, openai/text-embedding-3-large", "another embedding model"),
        ("openai/text-embedding-3-small, openai/gpt-5.4", "another embedding model"),
        ("openai/text-embedding-3-small, mine", "another embedding model"),
        ("openrouter/openai/text-embedding-3-small, short", "other dimensions of the same model: 256"),
    ],
)
def test_a_route_has_vectors_of_one_model_and_width(tmp_path, targets, told):
    mistakes = loaded(tmp_path, targets)
    if told is None:
        assert mistakes == []
    else:
        assert len(mistakes) == 1, mistakes
        assert told in mistakes[0]
