"""The settings of endpoints in entries and providers of the configuration."""

from typing import Any

import pytest

from gateway.config.model_entry import ModelEntry
from gateway.config_files.loading import ConfigError, from_mapping
from gateway.config_reports.changes import changes
from providers.catalog.provider import endpoint_url
from providers.endpoints.endpoint import STANDARD_PLACES, EndpointName
from tests.support.command_line import invoke
from tests.support.each_row import each_row


def entry(providers: dict[str, Any] | None = None, **said: Any) -> ModelEntry:
    content = {"version": "v0.4.0", "model_providers": [said], **({"providers": providers} if providers else {})}
    return from_mapping(content).entries[0]


def url(found: ModelEntry, endpoint: EndpointName, model: str = "m") -> str | None:
    place = found.place_of(endpoint, model)
    return None if place is None else endpoint_url(found.base_url, found.row(model), place, model)


def test_an_entry_sets_the_addresses_of_its_endpoints():
    """Their paths follow ``base_url`` unchanged: a server of embeddings has none of OpenAI's paths
    (huggingface/text-embeddings-inference#683)."""
    own = {"embeddings": {"path": "/embed", "shape": "tei"}, "rerank": "/x/{model}?a=1", "speech": False}
    found = entry(model="acme/*", base_url="http://gpu:8080/v1", endpoints=own)
    assert url(found, "embeddings") == "http://gpu:8080/v1/embed"
    assert found.place_of("embeddings", "m").shape == "tei"
    assert url(found, "rerank", "org/m") == "http://gpu:8080/v1/x/org%2Fm?a=1"
    assert found.place_of("rerank", "m").shape == "jina"
    assert url(found, "speech") is None
    assert url(found, "moderations") == "http://gpu:8080/v1/moderations"


def test_a_vendor_gets_an_endpoint_that_its_row_lacks_and_loses_one():
    found = entry(model="groq/*", endpoints={"moderations": True, "speech": False, "rerank": "https://h.example/rr"})
    assert url(found, "moderations") == "https://api.groq.com/openai/v1/moderations"
    assert url(found, "rerank") == "https://h.example/rr"
    assert url(found, "speech") is None
    assert url(found, "embeddings") == "https://api.groq.com/openai/v1/embeddings"


def test_a_configured_provider_sets_endpoints_for_its_entries():
    acme = {"base_url": "http://h/api", "endpoints": {"score": "/score", "embeddings": "/e"}}
    found = entry({"acme": acme}, model="acme/m", endpoints={"embeddings": "/mine"})
    assert (url(found, "score"), url(found, "embeddings")) == ("http://h/api/score", "http://h/api/mine")


@each_row(
    ("said", "words"),
    [
        ({"embedings": True}, ("endpoints.embedings", "did you mean embeddings?")),
        ({"score": True}, ("endpoints.score", "score has no standard path", "{score: /…}")),
        ({"score": {"shape": "vllm"}}, ("endpoints.score", "set the path")),
        ({"rerank": "rerank"}, ("endpoints.rerank", "expected a path such as /embed, a whole URL, true or false")),
        ({"rerank": {"shape": "coher"}}, ("endpoints.rerank.shape", "did you mean cohere?")),
        ({"rerank": {"route": "/x"}}, ("endpoints.rerank.route", "unknown key")),
    ],
    ids=str,
)
def test_a_mistake_is_reported_with_its_place(said, words):
    with pytest.raises(ConfigError) as caught:
        entry(model="acme/m", base_url="http://h", endpoints=said)
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_a_change_is_reported():
    base = {"model": "acme/m", "base_url": "http://h"}
    old, new = (
        from_mapping({"version": "v0.4.0", "model_providers": [one]})
        for one in (base, {**base, "endpoints": {"embeddings": {"path": "/embed", "shape": "tei"}, "speech": False}})
    )
    (line,) = [str(one) for one in changes(old, new)]
    assert "endpoints {} → {embeddings: http://h/embed (tei), speech: none}" in line


def test_check_lists_the_endpoints_of_each_entry(tmp_path):
    file = tmp_path / "trigate.yaml"
    file.write_text(
        "version: v0.4.0\nmodel_providers:\n  - {model: cohere/*}\n  - {model: cerebras/*}\n"
        "  - {model: acme/m, base_url: 'http://h'}\n"
    )
    lines = invoke("check", str(file), "--endpoints").stdout.splitlines()
    assert (
        "  cohere/*: embeddings at /v2/embed (cohere) (up to 96 texts per request), rerank at /v2/rerank (cohere), "
        in lines[1]
    )
    assert lines[2] == "  cerebras/*: conversations only"
    assert lines[3] == "  acme/m: " + ", ".join(name for name in STANDARD_PLACES)
