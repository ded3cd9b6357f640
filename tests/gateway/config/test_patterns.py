"""The key ``model_names``: names that no entry may serve, although its provider or a wildcard has them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.patterns import ModelNames
from gateway.config_files.loading import from_mapping
from gateway.routing.router import Router
from gateway.viewing.listed_models import list_models
from streams.errors import GatewayError
from tests.support.each_row import each_row

ENTRIES = [
    {"model": "openai/*", "access_key": "a"},
    {"model": "openai/*", "name": "team/*", "access_key": "b"},
    {"model": "openai/gpt-4o", "name": "mine", "access_key": "c"},
    {"model": "groq/*", "access_key": "d"},
]


def find_served(name: str, **names: object) -> str:
    """Return the key with which ``name`` is requested and its model, or the error's status."""
    content = {
        "version": "v0.4.0", "model_providers": ENTRIES, "model_names": names,
        "model_aliases": {"short": {"target": "team/gpt-4o"}, "legacy-mine": {"target": "mine"}},
    }  # fmt: skip
    try:
        target = Router(from_mapping(content)).resolve(name, "chat")
    except GatewayError as error:
        return str(error.info.code or error.info.kind)
    return f"{target.entry.key} {target.model}"


@each_row(
    ("name", "loose", "exact"),
    [
        ("mine", "c gpt-4o", "c gpt-4o"),
        ("openai/gpt-4o", "c gpt-4o", "a gpt-4o"),  # the wildcard of that name, not the entry with that model
        ("gpt-4o", "c gpt-4o", "a gpt-4o"),
        ("openai/gpt-9", "a gpt-9", "a gpt-9"),  # only one of the two wildcards has this name
        ("gpt-9", "invalid_request", "a gpt-9"),
        ("team/gpt-4o", "b gpt-4o", "b gpt-4o"),
        ("short", "b gpt-4o", "b gpt-4o"),
        ("groq/x", "d x", "d x"),
        ("mistral/x", "model_not_found", "model_not_found"),
    ],
)
def test_exact_names_are_those_in_the_file(name, loose, exact):
    assert (find_served(name), find_served(name, exact=True)) == (loose, exact)


def test_a_wildcard_of_a_providers_name_serves_its_known_models_at_any_address():
    entry = {"model": "compatible/*", "name": "openai/*", "base_url": "http://127.0.0.1:1/v1", "access_key": "a"}
    own = {"model": "compatible/*", "name": "own/*", "base_url": "http://127.0.0.1:2/v1", "access_key": "b"}
    content = {"version": "v0.4.0", "model_providers": [entry, own], "model_names": {"exact": True}}
    router = Router(from_mapping(content))
    assert router.resolve("gpt-4o", "chat").entry.key == "a"
    with pytest.raises(GatewayError):
        router.resolve("claude-x", "chat")


@each_row(
    ("entry", "expected"),
    [
        ({"model": "openai/*"}, []),
        ({"model": "openai/*", "name": "mine/*"}, []),
        ({"model": "openai/*", "name": "mine"}, []),
        (
            {"model": "openai/gpt-4*"},
            ["openai/gpt-4*: this is one model id, not a pattern; write openai/* for all models of the provider"],
        ),
        (
            {"model": "openai/*", "name": "mine-*"},
            ["mine-*: this name is not a pattern, so clients must request mine-*/MODEL; write a name without *"],
        ),
        (
            {"model": "openai/*", "name": "*"},
            ["*: this name is not a pattern, so clients must request */MODEL; write a name without *"],
        ),
        (
            {"model": "openai/gpt-4o", "name": "gpt-*"},
            ["gpt-*: this name is not a pattern, so clients must request gpt-*; write a name without *"],
        ),
    ],
)
def test_a_star_that_is_no_pattern_has_a_warning(entry, expected):
    config = from_mapping({"version": "v0.4.0", "model_providers": [{"access_key": "k", **entry}]})
    assert [warning for warning in config.warnings if "*" in warning] == expected


@each_row(
    ("name", "refused", "expected"),
    [
        ("dall-e-2", ["dall-e-2"], "model_not_found"),
        ("dall-e-2[1m]", ["dall-e-2"], "model_not_found"),  # a mark for a long window is no part of the name
        ("dall-e-3", ["dall-e-2"], "a dall-e-3"),
        ("openai/dall-e-2", ["dall-e-2"], "a dall-e-2"),
        ("gpt-4.1", ["gpt-*"], "model_not_found"),
        ("gpt-4.1", ["*"], "model_not_found"),
        ("groq/x", ["*"], "d x"),  # the wildcard's pattern is longer
        ("groq/llama-3", ["groq/llama-*"], "model_not_found"),
        ("groq/other", ["groq/llama-*"], "d other"),
        ("mine", ["min*", "*"], "c gpt-4o"),  # an entry has the name
        ("mine", ["mine"], "model_not_found"),
        ("legacy-mine", ["mine"], "c gpt-4o"),
        ("legacy-mine", ["legacy-*"], "c gpt-4o"),
        ("short", ["team/*"], "b gpt-4o"),  # targets of aliases are not requested names
    ],
)
def test_refused_names_get_404(name, refused, expected):
    assert find_served(name, exact=True, refused=refused) == expected


def test_the_error_states_the_key_and_lists_lack_refused_names():
    content = {"version": "v0.4.0", "model_providers": ENTRIES[3:], "model_names": {"refused": ["groq/llama-*"]}}
    router = Router(from_mapping(content))
    with pytest.raises(GatewayError, match=r"'groq/llama-3' is not configured here; `model_names.refused`"):
        router.plan("groq/llama-3", "chat")
    listed = [one.id for one in list_models(router, {"groq/*": ("llama-3", "other")})]
    assert listed == ["groq/other"]


def test_lists_lack_an_entry_that_only_aliases_reach():
    aliases = {"ours": {"target": "mine"}, "route": {"targets": ["mine", "groq/x"]}}
    content = {"version": "v0.4.0", "model_providers": ENTRIES[2:], "model_aliases": aliases}
    router = Router(from_mapping({**content, "model_names": {"exact": True, "refused": ["mine"]}}))
    assert [one.id for one in list_models(router, {"groq/*": ("x",)})] == ["groq/x", "ours", "route"]
    assert [one.target.entry.name for one in router.plan("route", "chat").candidates] == ["mine", "groq/*"]


@given(st.text("a*/.", max_size=40), st.text("a/.\n", max_size=40))
def test_a_pattern_matches_any_text_for_its_stars(pattern, name):
    """Runs of ``*`` are one, so that no pattern takes exponential time."""

    def matches(rest: str, text: str) -> bool:
        if not rest:
            return not text
        if rest[0] == "*":
            return any(matches(rest.lstrip("*"), text[start:]) for start in range(len(text) + 1))
        return text[:1] == rest[0] and matches(rest[1:], text[1:])

    found = ModelNames(refused=(pattern,)).refused_length(name)
    expected = len(pattern) if pattern and matches(pattern[:8], name) else 0
    if len(pattern) <= 8:
        assert found == expected


def test_a_long_name_takes_linear_time():
    """Any client may send one of megabytes. With all ways to divide it, it would take half an hour."""
    began = time.process_time()
    assert ModelNames(refused=("*a*b", "*a*b*a")).refused_length("a" * 10**6) == 0
    assert time.process_time() - began < 5
