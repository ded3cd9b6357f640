"""Routes whose vectors do not fit together are mistakes at the start (tashfeenahmed/freellmapi#195)."""

from pathlib import Path

from gateway.config_files.loading import ConfigError, from_mapping, load
from tests.support.each_row import each_row

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


def mistakes_of_route(folder: Path, targets: str) -> list[str]:
    """Return the mistakes of a route of ``targets``."""
    file = folder / "config.yaml"
    file.write_text(ENTRIES % targets)
    try:
        load(file, {})
    except ConfigError as error:
        return [str(mistake) for mistake in error.mistakes]
    return []


@each_row(
    ("targets", "told"),
    [
        ("openai/text-embedding-3-small, openrouter/openai/text-embedding-3-small", None),
        ("openai/gpt-5.4, anthropic/claude-sonnet-4-5", None),
        ("mine", None),
        (
            "openai/text-embedding-3-small, openai/text-embedding-3-large",
            "this route mixes an embedding model with another model",
        ),
        ("openai/text-embedding-3-small, openai/gpt-5.4", "this route mixes an embedding model with another model"),
        ("openai/text-embedding-3-small, mine", "this route mixes an embedding model with another model"),
        ("openrouter/openai/text-embedding-3-small, short", "this route mixes dimensions of one model: 256"),
    ],
)
def test_a_route_has_vectors_of_one_model_and_width(tmp_path, targets, told):
    mistakes = mistakes_of_route(tmp_path, targets)
    if told is None:
        assert mistakes == []
    else:
        assert len(mistakes) == 1, mistakes
        assert told in mistakes[0]


OPENAIS = "text-embedding-3-small"


@each_row(
    ("model", "url", "more", "takes"),
    [
        ("openai/m", None, {}, True),
        ("openai/m", "https://eu.api.openai.com/v1", {}, True),
        ("openai/m", "https://openai.com.example/v1", {}, False),
        ("openai/m", "http://gpu:8000/v1", {}, False),
        ("openai/m", None, {"providers": {"openai": {"base_url": "http://gpu:8000/v1"}}}, False),
        ("openai/*", "http://gpu:8000/v1", {}, False),
        ("azure_openai/m", "https://mine.openai.azure.com/openai/v1", {}, True),
        ("voyage/m", None, {}, False),
        ("mine/m", "http://gpu:8000/v1", {"interface": "openai"}, False),
        ("mine/m", "http://gpu:8000/v1", {"interface": "azure_openai"}, False),
        ("mine/m", "http://gpu:8000/v1", {}, False),
        ("mine/m", None, {"providers": {"mine": {"base_url": "http://gpu:8000", "provider_interface": "openai"}}},
         False),
        ("mistral/text-embedding-004", None, {}, False),  # Google's
        ("qwen/text-embedding-v4", "https://dashscope-intl.aliyuncs.com", {}, False),
        (f"openai/{OPENAIS}", None, {}, True),
        (f"openai/{OPENAIS}", "http://proxy:4000/v1", {}, True),
        ("openai/text-embedding-ada-002", "http://proxy:4000/v1", {}, True),
        ("openai/text-embedding-3-large", "http://proxy:4000/v1", {}, True),
        (f"mine/{OPENAIS}", "http://proxy:4000/v1", {}, True),
        (f"mine/{OPENAIS}", "http://proxy:4000/v1", {"interface": "openai"}, True),
        (f"litellm/{OPENAIS}", "http://proxy:4000", {}, True),
        (f"openrouter/openai/{OPENAIS}", None, {}, True),
    ],
)  # fmt: skip
def test_the_name_of_a_model_shows_whether_it_has_openais_vocabulary(model, url, more, takes):
    """Another model reads other words in the ids (danny-avila/rag_api#104); LangChain sends them by default."""
    said = {"model": model, "access_key": "k", **({} if url is None else {"base_url": url})}
    if "interface" in more:
        said["provider_interface"] = more["interface"]
    rest = {"providers": more["providers"]} if "providers" in more else {}
    id = model.partition("/")[2].replace("*", "m")

    def of_entry(**own: object) -> bool:
        (entry,) = from_mapping({"version": "v0.4.0", "model_providers": [{**said, **own}], **rest}).entries
        return entry.embeddings_of(id).token_arrays

    assert of_entry() is takes
    assert of_entry(embeddings={"token_arrays": True})
    assert not of_entry(embeddings={"token_arrays": False})
