"""``trigate explain``: the order of targets and the current one, without a request to a provider."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.commands.explaining import explain, row_text
from gateway.config_files.loading import from_mapping
from providers.catalog.prompt_caching import ROWS
from tests.support.command_line import invoke
from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, config, free_port, provider, refusing_port
from tests.support.quick_yaml import dump_yaml, load_yaml
from tests.support.upstreams import Raw, Script, Tokens

NAMES = ("gpu-1", "gpu-2", "cloud", "long")
TARGETS = [["gpu-1", "gpu-2"], "cloud", {"target": "long", "when": ["context_too_long"]}]


def route_config(**more: Any) -> dict[str, Any]:
    at = "http://127.0.0.1:9/v1"
    entries = [provider(f"vllm/{name}-model", at, ["chat"], name=name, key=f"sk-{name}") for name in NAMES]
    return config(entries, 12000, model_aliases={"best": {"targets": TARGETS, **more}, "alone": {"target": "gpu-1"}})


def write_config(folder: Path, settings: dict[str, Any]) -> Path:
    file = folder / "trigate.yaml"
    file.write_text(dump_yaml(settings))
    return file


def test_the_targets_of_a_name_are_printed_in_order(tmp_path, capsys):
    assert explain("best", "messages", write_config(tmp_path, route_config()), no_env=True) == 0
    assert capsys.readouterr().out.splitlines()[:6] == [
        "request  best from a messages client",
        "route    [gpu-1, gpu-2], then cloud, then long (for context_too_long); within a group by least_busy; "
        "at most 4 attempts in 300 s",
        "targets  gpu-1: vllm/gpu-1-model, translated to chat",
        "         gpu-2: vllm/gpu-2-model, translated to chat",
        "         cloud: vllm/cloud-model, translated to chat",
        "         long: vllm/long-model, translated to chat",
    ]


# Against a gateway that runs


@contextlib.contextmanager
def two_targets(folder: Path, upstream: Any, **more: Any) -> Iterator[tuple[Gateway, Path]]:
    """Serve ``best``, which has the targets ``a`` and ``b``, from a configuration in ``folder``."""
    port = free_port()
    entries = [provider(f"vllm/{name}", f"{upstream.url}/v1", ["chat"], name=name, key=f"sk-{name}") for name in "ab"]
    file = write_config(folder, config(entries, port, model_aliases={"best": {"targets": ["a", "b"]}}, **more))
    with gateway_thread(file, port) as gateway:
        yield gateway, file


def test_a_running_gateway_reports_skipped_targets_with_reasons(tmp_path, capsys, upstream):
    upstream.script(Raw(429, (("retry-after", "20"),), (b"{}",)), Script(text="ok"))
    with two_targets(tmp_path, upstream) as (gateway, file):
        body = {"model": "best", "messages": [{"role": "user", "content": "Hello"}]}
        assert gateway.request("POST", "/v1/chat/completions", body).status == 200
        assert explain("best", "chat", file, no_env=False, url=f"{gateway.url}/v1") == 0
        lines = capsys.readouterr().out.splitlines()
        at = next(i for i, line in enumerate(lines) if line.startswith("now "))
        assert re.fullmatch(r"now      a: in cooldown for (19|20)\S* s \(rate_limited\), 0 open requests", lines[at])
        assert lines[at + 1].strip().startswith("b: available, 0 open requests")


def test_a_target_that_is_unavailable_for_one_client_only_is_shown_with_that(tmp_path, capsys, upstream, monkeypatch):
    """Otherwise an operator reads that the target is available, and the client's requests go elsewhere."""
    keys = {name: f"sk-{name}-0123456789" for name in ("alice", "ben")}
    client_keys = [{"name": name, "key": key} for name, key in keys.items()]
    upstream.script(Raw(429, (("retry-after", "20"),), (b"{}",)), Script(text="ok"))
    with two_targets(tmp_path, upstream, client_keys=client_keys) as (gateway, file):
        body = {"model": "best", "messages": [{"role": "user", "content": "Hello"}]}
        headers = {"authorization": f"Bearer {keys['alice']}"}
        assert gateway.request("POST", "/v1/chat/completions", body, headers).status == 200
        monkeypatch.setenv("TRIGATE_API_KEY", keys["ben"])
        assert explain("best", "chat", file, no_env=False, url=gateway.url) == 0
    assert "now      a: available, but in cooldown for 1 client, 0 open requests\n" in capsys.readouterr().out


def test_a_rejected_credential_shows_the_cooldown_of_requests_with_and_without_another_target(
    tmp_path, capsys, upstream
):
    upstream.script(Raw(401, (), (b"{}",)))
    with two_targets(tmp_path, upstream) as (gateway, file):
        body = {"model": "a", "messages": [{"role": "user", "content": "Hello"}]}
        assert gateway.request("POST", "/v1/chat/completions", body).status == 502
        refused = gateway.request("POST", "/v1/chat/completions", body)
        assert explain("a", "chat", file, no_env=False, url=gateway.url) == 0
    assert b"for 10 s because the request has no other target" in refused.body
    assert "(credential), at most 10 s for requests without another target, 0 open" in capsys.readouterr().out


def test_a_model_of_a_wildcard_entry_has_the_entrys_position(tmp_path, capsys, upstream):
    port = free_port()
    file = write_config(tmp_path, config([provider("vllm/*", f"{upstream.url}/v1", ["chat"])], port))
    with gateway_thread(file, port) as gateway:
        assert explain("vllm/large", "chat", file, no_env=False, url=gateway.url) == 0
    assert "now      vllm/large: available, 0 open requests\n" in capsys.readouterr().out


@pytest.mark.parametrize("path", ["", "/v1/chat/completions"])
def test_explain_reports_that_a_url_is_no_gateway(tmp_path, capsys, path):
    file = write_config(tmp_path, route_config())
    with refusing_port() as refused:
        assert explain("best", "chat", file, no_env=True, url=f"http://127.0.0.1:{refused}{path}") == 2
    assert "/readyz?verbose: nothing is listening there" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["127.0.0.1:12000", "localhost", "ftp://localhost"])
def test_explain_refuses_a_url_without_a_scheme(tmp_path, capsys, url):
    assert explain("best", "chat", write_config(tmp_path, route_config()), no_env=True, url=url) == 2
    assert capsys.readouterr().err == f"--url {url!r} is not a URL: write it as http://HOST:PORT\n"


# Prices and limits


LIMITED = """
version: v0.4.0
model_providers:
  - {model: openai/gpt-4o-mini, access_key: x, name: small, price: {input: 0.15, output: 0.6}, budgets: [50 usd/day],
     ratelimits: {requests: 600/m}, base_url: "http://127.0.0.1:9"}
limits: {per_client: {in_flight: 9, bodies: 16MiB}}
client_groups:
  - {name: team, budgets: [5 usd/run]}
client_keys:
  - {name: alice, key: alices-key-0123456789, group: team, budgets: [20 usd/day], limits: {in_flight: 3}}
  - {name: operator, key: operators-key-0123456789}
"""


def test_explain_prints_the_price_and_the_limits_of_a_request(tmp_path, capsys):
    """Several limits apply together, and no command showed which (agentgateway/agentgateway#3302)."""
    file = write_config(tmp_path, load_yaml(LIMITED))
    assert explain("small", "chat", file, no_env=False, key="alice") == 0
    said = capsys.readouterr().out
    assert "price    input 0.15, output 0.6 (dollars per million tokens, from the config)" in said
    assert re.findall(r"^(?:limits  | {8}) (\w+\.\w+: .*)", said, re.M) == [
        "client_keys.alice: 20 usd/day",
        "client_groups.team: 5 usd/run",
        "model_providers.small: requests 600/m",
        "model_providers.small: 50 usd/day",
        "client_keys.alice: in_flight 3",
        "limits.per_client: bodies 16MiB",
    ]
    assert explain("small", "chat", file, no_env=False) == 0
    assert "client_" not in capsys.readouterr().out
    assert explain("small", "chat", file, no_env=False, key="alicia") == 2
    assert "has no client key 'alicia'" in capsys.readouterr().err


def test_a_running_gateway_reports_the_usage_of_limits(upstream, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TRIGATE_API_KEY", "operators-key-0123456789")
    upstream.script(Script("Hello.", tokens=Tokens(prompt=1_000_000, output=1)))
    port = free_port()
    settings = load_yaml(LIMITED) | {"listeners": [{"type": "model", "port": port, "address": "127.0.0.1"}]}
    settings["model_providers"][0]["base_url"] = upstream.url
    file = write_config(tmp_path, settings)
    body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 10}
    with gateway_thread(file, port) as gateway:
        key = {"authorization": "Bearer alices-key-0123456789"}
        assert gateway.request("POST", "/v1/chat/completions", body, key).status == 200
        assert explain("small", "chat", file, no_env=False, url=gateway.url, key="alice") == 0
    said = capsys.readouterr().out
    assert "client_keys.alice: 20 usd/day, 0.1500006 usd of 20 usd used (1%)" in said
    assert "client_groups.team: 5 usd/run, counted per run" in said
    assert "model_providers.small: 50 usd/day, 0.1500006 usd of 50 usd used (0%)" in said


MEMBERS = {
    "default": {"temperature": 0.25}, "set": {"store": False}, "max": {"max_tokens": 40}, "drop": ["user"],
    "system": {"before": "Be kind."},
}  # fmt: skip


@needs_feature("request_members")
def test_it_shows_the_request_members_of_each_level_and_the_lane(tmp_path, capsys):
    settings = route_config(request=MEMBERS)
    settings["client_groups"] = [{"name": "team", "request": {"default": {"seed": 1}}}]
    settings["client_keys"] = [{"name": "ann", "key": "key-of-ann-0123456789", "group": "team"}]
    settings["model_providers"][0] |= {"request": {"max": {"max_tokens": 9}}, "speaks": ["responses"]}
    file = write_config(tmp_path, settings)
    assert explain("best", "responses", file, False, key="ann") == 0
    shown = capsys.readouterr().out
    assert "members  group team: default: {seed: 1}\n" in shown
    alias = (
        "alias best: default: {temperature: 0.25}, set: {store: false}, max: {max_tokens: 40}, drop: user, "
        "system: {before: Be kind.}\n"
    )
    assert alias in shown
    assert "entry gpu-1: max: {max_tokens: 9}\n" in shown
    assert "lane     hub: translated to responses" in shown, "a provider would repeat the instructions"
    assert explain("alone", "chat", file, False) == 0
    assert "alias best" not in capsys.readouterr().out


@pytest.mark.parametrize("api", ["chat", "interactions"])
def test_it_shows_the_version_that_the_gateway_sends_if_the_client_sends_none(tmp_path, capsys, api):
    """In both lanes."""
    entry = {"model": "gemini/gemini-omni-flash-preview", "access_key": "sk-secret"}
    file = write_config(tmp_path, {"version": "v0.4.0", "model_providers": [entry]})
    assert explain(entry["model"], api, file, no_env=False) == 0
    shown = capsys.readouterr().out
    assert "url      POST https://generativelanguage.googleapis.com/v1beta/interactions\n" in shown
    assert "         api-revision: 2026-05-20\n" in shown


def test_an_unknown_model_is_reported_with_the_entries_of_the_file(tmp_path, capsys):
    """Not with all ids that its wildcards are known to have."""
    entries = [{"model": name, "access_key": "any"} for name in ("openai/gpt-4o-mini", "openai/*")]
    settings = {"version": "v0.4.0", "model_providers": entries, "model_aliases": {"fast": {"target": "gpt-4o-mini"}}}
    assert explain("nope", "chat", write_config(tmp_path, settings), no_env=True) == 2
    assert capsys.readouterr().err.endswith(" has these models: openai/gpt-4o-mini, openai/*, fast\n")


# Prompt caches

CLAUDE = "anthropic/claude-sonnet-4-6"


@pytest.fixture
def prompt_cache_file(tmp_path):
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
def test_explain_has_the_rules_of_the_prompt_cache_of_each_target_with_their_source(prompt_cache_file, model, shown):
    done = invoke("explain", model, "--api", "messages", "--config", str(prompt_cache_file))
    assert done.returncode == 0, done.stderr
    assert all(text in done.stdout for text in shown), done.stdout


@each_row("rows", ROWS.values(), ids=["/".join(filter(None, key)) for key in ROWS])
def test_every_row_has_a_text(rows):
    for _, row in rows:
        text = row_text(row)
        assert text.startswith(("caches marked prompts only", "caches prompts without marks"))
        assert "None" not in text


@needs_feature("cache_acts")
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
