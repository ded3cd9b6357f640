"""Endpoints as rows, and their places at providers."""

from typing import get_args
from urllib.parse import urlsplit

from providers.catalog.provider import endpoint_url
from providers.catalog.providers import CATALOG, generic
from providers.endpoints.endpoint import ENDPOINTS, STANDARD_PLACES, EndpointName, Place
from tests.support.cases import case


def test_every_endpoint_has_a_row_and_no_two_the_same_path():
    assert tuple(ENDPOINTS) == get_args(EndpointName)
    paths = [path for row in ENDPOINTS.values() for path in row.paths]
    assert len(paths) == len(set(paths))


def test_embeddings_fall_back_only_to_the_same_model_and_stored_objects_never():
    """No fallback to another model's vectors or categories (tashfeenahmed/freellmapi#195); what a provider
    keeps, it alone has."""
    by_rule = {name: row.fallback for name, row in ENDPOINTS.items()}
    assert by_rule["embeddings"] == by_rule["moderations"] == "same_model"
    assert {by_rule[name] for name in ("files", "uploads", "vector_stores", "batches", "realtime")} == {"never"}
    assert by_rule["completions"] == by_rule["speech"] == by_rule["rerank"] == "any"


def test_a_provider_without_a_row_has_all_of_openais_endpoints():
    """Servers that imitate OpenAI have them at OpenAI's paths, and usually also have `/rerank`."""
    row = generic("mine")
    assert {name for name in ENDPOINTS if row.place_of(name)} == set(STANDARD_PLACES)
    assert endpoint_url("http://h:1", row, STANDARD_PLACES["embeddings"], "m") == "http://h:1/v1/embeddings"
    assert endpoint_url("http://h:1/x", row, STANDARD_PLACES["speech"], "m") == "http://h:1/x/audio/speech"


def test_a_vendor_has_the_features_of_its_row():
    assert CATALOG["openai"].place_of("embeddings") == Place("/embeddings")
    for name in ("rerank", "image_variations", "message_batches", "score"):
        assert CATALOG["openai"].place_of(name) is None, name
    assert CATALOG["chatgpt"].place_of("embeddings") is None


def test_a_place_gives_its_url():
    for base_url, place, rest, url in [
        (None, Place("/files"), "/f-1/content", "https://api.cohere.ai/compatibility/v1/files/f-1/content"),
        (None, Place("/embed", prefix="/v2"), "", "https://api.cohere.ai/v2/embed"),
        ("http://h/compatibility/v1", Place("/embed", prefix="/v2"), "", "http://h/v2/embed"),
        ("http://h/proxy", Place("/embed", prefix="/v2"), "", "http://h/proxy/v2/embed"),
        ("http://h/proxy?a=1", Place("/embed?b=2", prefix=""), "/x", "http://h/proxy/embed/x?a=1"),
        ("http://h/", Place("/m/{model}?b=2", prefix=""), "/x", "http://h/m/org%2Fm:1/x?b=2"),
        ("http://h", Place("https://other/embed?c=1"), "/x", "https://other/embed/x?c=1"),
    ]:
        with case((base_url, place, rest, url)):
            assert endpoint_url(base_url, CATALOG["cohere"], place, "org/m:1", rest) == url


def test_no_row_leads_away_from_the_base_url_of_an_entry():
    """Scheme, host and port are always those of ``base_url``: the entry's credential goes there."""
    for row in CATALOG.values():
        for name, place in row.endpoints.items():
            if place is not None:
                url = endpoint_url("http://stand-in:9", row, place, "m")
                assert urlsplit(url).netloc == "stand-in:9", (row.id, name)
