"""Providers that a configuration adds, changes or substitutes for known ones, and the mistakes in them."""

import pytest

from gateway.config_files.loading import ConfigError, from_mapping, load
from gateway.config_reports.changes import changes
from gateway.routing.router import Router
from gateway.viewing.listed_models import list_models
from tests.support.each_row import each_row

HEAD = {"version": "v0.4.0"}


def config(providers, *entries):
    return from_mapping({**HEAD, "providers": providers, "model_providers": list(entries)})


def urls(made, model):
    """Return the URLs for Chat, Messages and Responses clients."""
    return [Router(made).resolve(model, api).url for api in ("chat", "messages", "responses")]


def test_three_lines_are_a_provider():
    own = {"acme": {"base_url": "https://acme.example/v2", "speaks": ["chat", "messages"]}}
    made = config(own, {"model": "acme/*", "access_key": "k"})
    assert (made.warnings, made.notes) == ((), ())
    at = "https://acme.example/v2"
    assert urls(made, "acme/m") == [f"{at}/chat/completions", f"{at}/messages", f"{at}/chat/completions"]
    target = Router(made).resolve("acme/m", "messages")
    assert (target.headers(None), target.lane) == ((("x-api-key", "k"),), "byte")


def test_every_attribute_of_a_row_can_be_configured():
    own = {
        "acme": {
            "base_url": "https://acme.example",
            "speaks": {"chat": "messages", "messages": "messages", "responses": "responses"},
            "paths": {"messages": "/anthropic/v1/messages", "responses": "/answers"},
            "auth": {"messages": "x-acme-key", "responses": "bearer"},
            "headers": {"x-team": "one", "x-other": "row"},
            "quirks": {"billing_line": False},
            "families": ["acme-*"],
            "models": ["acme-1"],
            "display_name": "Acme",
        }
    }
    made = config(own, {"model": "acme/*", "access_key": "k", "headers": {"x-other": "entry"}})
    messages, answers = "https://acme.example/anthropic/v1/messages", "https://acme.example/answers"
    assert urls(made, "acme-next-year") == [messages, messages, answers]
    assert [Router(made).resolve("acme-1", api).headers(None)[0] for api in ("messages", "responses")] == [
        ("x-acme-key", "k"), ("authorization", "Bearer k"),
    ]  # fmt: skip
    (entry,) = made.entries
    assert dict(entry.headers) == {"x-team": "one", "x-other": "entry"}
    assert entry.quirks_of("acme-1").billing_line is False
    assert [(model.id, model.owned_by) for model in list_models(Router(made))] == [("acme/acme-1", "Acme")]


def test_a_known_provider_is_changed_and_keeps_the_rest():
    proxy = {"deepseek": {"base_url": "https://proxy.example", "auth": "x-proxy-key"}}
    made = config(proxy, {"model": "deepseek/m", "access_key": "k"})
    assert urls(made, "deepseek/m") == [
        "https://proxy.example/v1/chat/completions", "https://proxy.example/anthropic/v1/messages",
        "https://proxy.example/v1/chat/completions",
    ]  # fmt: skip
    assert Router(made).resolve("deepseek/m", "messages").headers(None) == (("x-proxy-key", "k"),)
    by_alias = config({"kimi": {"speaks": ["chat"]}}, {"model": "moonshotai/m", "access_key": "k"})
    assert {url.rpartition("/v1")[2] for url in urls(by_alias, "moonshotai/m")} == {"/chat/completions"}


def test_a_known_provider_is_replaced_by_another_ones_row():
    own = {"openai": {"provider_interface": "anthropic", "base_url": "http://claude.internal"}}
    made = config(own, {"model": "openai/m"})
    assert Router(made).resolve("openai/m", "messages").url == "http://claude.internal/v1/messages"
    assert made.warnings == ()


def test_an_entry_may_override_the_address_of_its_provider():
    own = {"acme": {"base_url": "https://acme.example/v2"}}
    made = config(own, {"model": "acme/m", "base_url": "http://other:8000/v1"}, {"model": "acme/n"})
    assert urls(made, "acme/m")[0] == "http://other:8000/v1/chat/completions"
    assert urls(made, "acme/n")[0] == "https://acme.example/v2/chat/completions"


def test_a_running_process_applies_a_change_of_a_row():
    entry = {"model": "acme/m", "access_key": "k"}
    old, new = (config({"acme": {"base_url": f"https://{host}.example"}}, entry) for host in ("a", "b"))
    (change,) = changes(old, new)
    assert (str(change), change.restart) == ("~ model acme/m: another provider", False)


@each_row(
    ("own", "mistake"),
    [
        ("{acme: {base_uri: 'http://h'}}", "providers.acme.base_uri: unknown key; did you mean base_url?"),
        ("{acme: {base_url: h}}", "providers.acme.base_url: 'h'; expected a URL"),
        ("{acme: {speaks: [chatt]}}", "providers.acme.speaks[0]: 'chatt'; did you mean chat?"),
        ("{acme: {paths: {messages: v1/messages}}}", "paths.messages: 'v1/messages'; expected a path such as /api"),
        ("{acme: {paths: {mesages: /v1}}}", "'mesages'"),
        ("{acme: {auth: 3}}", "providers.acme.auth: 3; expected bearer, a header's name"),
        ("{acme: {provider_interface: antropic}}", "unknown interface 'antropic'; did you mean anthropic?"),
        ("{'a/b': {base_url: 'http://h'}}", "'a/b'; use only letters"),
        ("{kimi: {speaks: [chat]}, moonshotai: {speaks: [chat]}}", "moonshotai is defined twice; remove one"),
        ("{chatgpt: {speaks: [chat]}}", "ChatGPT has no path for chat; set the path: `paths: {chat: /…}`"),
        ("{acme: {quirks: {max_token: 3}}}", "providers.acme.quirks.max_token: unknown key"),
        ("[acme]", "providers: a list; expected a mapping"),
    ],
)
def test_mistakes_in_own_providers_are_reported_with_their_line(tmp_path, own, mistake):
    path = tmp_path / "trigate.yaml"
    path.write_text(f"version: v0.4.0\nmodel_providers: [{{model: openai/m, access_key: k}}]\nproviders: {own}\n")
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    told = [str(one) for one in caught.value.mistakes]
    assert any(mistake in one and ":3:" in one for one in told), told


def test_a_provider_without_entries_is_reported():
    made = config({"acme": {"base_url": "http://h"}}, {"model": "openai/m", "access_key": "k"})
    assert made.warnings == ("providers.acme: no entry uses it: add one, such as `- model: acme/*`",)
