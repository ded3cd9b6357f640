"""``trigate doctor``: its report on providers that work, that lack something, and that are broken."""

import json
import socket

import pytest

from gateway.commands import tables
from gateway.commands.doctor import run
from gateway.commands.probing import FEATURES, PROBES
from tests.support.features import members_of, needs_feature, rows_of
from tests.support.harness import config, provider, refusing_port
from tests.support.quick_yaml import dump_yaml
from tests.support.upstreams import Raw, Script, ToolCall, data, fake_upstream

CITY = '{"city": "Oslo"}'
TEXT = Script(text="Hello there")
CALL = Script(calls=(ToolCall("call_1", "get_weather", CITY),), stop="tool_calls")
THOUGHT = Script(thinking="9.9 is larger", seal="c2VhbA==", text="9.9")
STRUCTURE = Script(text=CITY)
GOOD = (TEXT, TEXT, CALL, THOUGHT, STRUCTURE)
COUNT = Raw(200, (("content-type", "application/json"),), (b'{"input_tokens": 9}',))
NO_COUNT = Raw(404, (), (b"",))
APIS = ("chat", "messages", "responses")
BODIES = (*APIS, "interactions")
"""The APIs whose bodies have the stream flag."""


@pytest.fixture
def upstream():
    with fake_upstream() as found:
        yield found


@pytest.fixture
def doctor(tmp_path, capsys, monkeypatch):
    """Return a function that runs it on entries and returns the exit status, standard output and standard error."""
    monkeypatch.setenv("NO_COLOR", "1")

    def examine(entries, *models, apis=(), limit=15.0, as_json=True, **more):
        path = tmp_path / "trigate.yaml"
        path.write_text(dump_yaml(config(entries, 1, **more)))
        status = run(models, path, apis, limit, 4, as_json)
        out, err = capsys.readouterr()
        return status, json.loads(out) if as_json and out else out, err

    return examine


@needs_feature("steps")
@pytest.mark.parametrize(
    ("use", "says"),
    [
        ("./steps.py:unreachable", "the step unreachable could not start: OSError (steps.py, line 5, in unreachable)"),
        ("./steps.py:reachable", "steps[0].use: ./steps.py has no function or class 'reachable'"),
    ],
)
def test_a_step_that_cannot_start_is_a_message_with_status_1(doctor, tmp_path, use, says):
    code = [
        "from contextlib import asynccontextmanager",
        "",
        "@asynccontextmanager",
        "async def unreachable(settings):",
    ]
    (tmp_path / "steps.py").write_text("\n".join([*code, "    raise OSError('no words')", "    yield", ""]))
    status, out, err = doctor([provider("openai/m", "http://127.0.0.1:9/v1")], steps=[{"use": use}])
    assert (status, out) == (1, "")
    assert says in err
    assert "Traceback" not in err


def states(found, number=0):
    return {name: outcome["state"] for name, outcome in found["models"][number]["outcomes"].items()}


@pytest.mark.parametrize("spoken", BODIES)
@pytest.mark.parametrize("api", BODIES)
def test_doctor_reports_ok_for_every_pair_of_apis(upstream, doctor, api, spoken):
    upstream.script(*GOOD, COUNT if spoken == "messages" else NO_COUNT)
    url = upstream.url + ("/v1beta" if spoken == "interactions" else "")
    status, found, err = doctor([provider("p/m", url, [spoken])], apis=[api])
    assert (status, err) == (0, "")
    assert states(found) == dict.fromkeys(FEATURES, "ok")
    (model,) = found["models"]
    assert (model["model"], model["api"], model["target"]) == ("p/m", api, "p/m")
    assert model["lane"] == ("byte" if api == spoken else "hub")
    assert model["outcomes"]["count"]["says"] == ("exact" if spoken == "messages" else "estimate")
    assert 0 < model["outcomes"]["stream"]["first_byte_ms"] <= model["outcomes"]["stream"]["ms"]
    assert [bool(seen.json.get("stream")) for seen in upstream.seen[:5]] == [probe.stream for probe in PROBES.values()]


def test_the_api_is_by_default_the_richest_that_the_provider_speaks(upstream, doctor):
    entries = [provider(f"p{i}/m", upstream.url, list(APIS[: i + 1])) for i in range(3)]
    upstream.script(*[TEXT] * 30)
    _, found, _ = doctor(entries)
    assert [model["api"] for model in found["models"]] == list(APIS)


def test_doctor_reports_a_missing_ability_without_failing(upstream, doctor):
    upstream.script(TEXT, TEXT, TEXT, TEXT, TEXT, NO_COUNT)
    status, found, _ = doctor([provider("p/m", upstream.url)])
    assert status == 0
    assert states(found) == {
        "chat": "ok",
        "stream": "ok",
        "tools": "absent",
        "thinking": "absent",
        "schema": "absent",
        "count": "ok",
    }
    says = {name: outcome["says"] for name, outcome in found["models"][0]["outcomes"].items()}
    assert says["tools"] == "the model did not call the tool"
    assert says["schema"] == "the answer does not match the JSON schema"


ERROR = (
    b'{"error": {"message": "tools are not supported by this model, key sk-upstream", "type": "invalid_request_error"}}'
)
HALF = data({"choices": [{"delta": {"content": "Hi"}}]})
BROKEN = Raw(400, (("content-type", "application/json"),), (ERROR,))


def test_an_error_is_shown_unchanged_but_without_secrets(upstream, doctor):
    upstream.script(TEXT, TEXT, BROKEN, THOUGHT, STRUCTURE, NO_COUNT)
    status, out, err = doctor([provider("p/m", upstream.url)], as_json=False)
    assert (status, err) == (0, "")
    assert "p/m (chat), test tools: 400 tools are not supported by this model" in out
    assert "sk-upstream" not in out


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Raw(401, (), (b'{"error": {"message": "bad key"}}',)), "credential: check access_key of p/m"),
        (Raw(200, (("content-type", "text/html"),), (b"<html>",)), "check that base_url is the address of its API"),
        (Raw(200, (("content-type", "text/event-stream"),), (HALF,), "cut"), "502 "),
        (Raw(200, (("content-type", "application/json"),), (), "hang"), "response within 0.5 s (--timeout)"),
    ],
    ids=["refused", "no API", "cut", "silent"],
)  # fmt: skip
def test_a_provider_that_does_not_answer_fails_and_gets_no_more_requests(upstream, doctor, answer, says):
    upstream.script(*[answer] * 6)
    status, found, _ = doctor([provider("p/m", upstream.url)], limit=0.5 if "0.5 s" in says else 20.0)
    assert status == 1
    assert not found["good"]
    assert states(found) == {"chat": "failed", "stream": "failed", **dict.fromkeys(FEATURES[2:], "skipped")}
    assert says in found["models"][0]["outcomes"]["stream"]["says"]


def test_one_that_is_down_does_not_hide_the_others(upstream, doctor):
    upstream.script(*GOOD, NO_COUNT)
    with refusing_port() as port:
        status, found, _ = doctor([provider("down/m", f"http://127.0.0.1:{port}"), provider("p/m", upstream.url)])
    assert status == 1
    assert [model["good"] for model in found["models"]] == [False, True]
    says = found["models"][0]["outcomes"]["chat"]["says"]
    assert "refused the connection" in says
    assert "check that the server runs" in says


def test_a_file_in_place_of_a_model_is_an_error_with_the_option(doctor, tmp_path):
    file = str(tmp_path / "trigate.yaml")
    status, _, err = doctor([provider("openai/m", "http://127.0.0.1:9")], file)
    assert (status, err) == (2, f"{file} is a file, not a model: trigate doctor --config {file}\n")


@pytest.mark.parametrize("stored", [{}, *rows_of("admin", {"stored_keys": True})], ids=str)
def test_clients_keys_issuers_and_the_configured_port_are_not_in_the_way(upstream, doctor, tmp_path, stored):
    upstream.script(*GOOD, NO_COUNT)
    issuer = {
        "name": "o",
        "issuer": "http://127.0.0.1:9",
        "audience": ["trigate"],
        "admit": [{"when": {"groups": "ml"}}],
    }
    storage = {"type": "sqlite", "path": str(tmp_path / "state.sqlite")}
    more = {**members_of("people", issuers=[issuer]), "client_keys": [{"name": "a", "key": "k"}]}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, found, err = doctor(
            [provider("p/m", upstream.url)], **more, **stored, state_storage=storage,
            listener={"port": taken.getsockname()[1]},
        )  # fmt: skip
    assert not err
    assert (status, states(found)) == (0, dict.fromkeys(FEATURES, "ok"))


def test_responses_are_not_to_be_stored(upstream, doctor):
    upstream.script(*GOOD, NO_COUNT)
    doctor([provider("p/m", upstream.url, ["responses"])])
    assert [seen.json["store"] for seen in upstream.seen if seen.path == "/v1/responses"] == [False] * 5


def test_an_entry_for_the_clients_own_keys_is_left_out(doctor):
    status, found, _ = doctor([{"model": "openai/gpt-5", "passthrough_auth": True}])
    assert (status, set(states(found).values())) == (0, {"skipped"})


def test_models_are_read_from_the_command_line_or_from_the_config(upstream, doctor):
    entries = [provider("p/one", upstream.url), provider("groq/*", upstream.url)]
    upstream.script(*[TEXT] * 12)
    _, found, _ = doctor(entries)
    assert [model["model"] for model in found["models"]] == ["p/one", "groq/llama-3.1-8b-instant"]
    upstream.script(*[TEXT] * 6)
    _, found, _ = doctor(entries, "groq/mine")
    assert [model["target"] for model in found["models"]] == ["groq/mine"]
    status, out, err = doctor(entries, "two")
    assert (status, out) == (2, "")
    assert "'two' is not configured here" in err
    status, _, err = doctor([provider("mine/*", upstream.url)])
    assert status == 2
    assert "lists no model names" in err
    assert "skipped mine/*: trigate knows no model name of mine; give one: trigate doctor mine/MODEL" in err


ALIASES = {
    "smart": {"targets": ["groq/large", "p/one"]},
    "fast": {"targets": ["groq/small", "two"]},
    "one": {"target": "p/one"},
}


def test_each_target_of_each_alias_and_route_is_tried(upstream, doctor):
    entries = [
        provider("p/one", upstream.url),
        provider("groq/*", f"{upstream.url}/v1"),
        provider("p/two", upstream.url, name="two"),
    ]
    upstream.script(*[TEXT] * 24)
    status, found, _ = doctor(entries, model_aliases=ALIASES)
    assert status == 0
    names = {model["model"]: model["names"] for model in found["models"]}
    assert names == {"p/one": ["one", "smart"], "groq/large": ["smart"], "groq/small": ["fast"], "two": ["fast"]}


def test_a_route_name_means_all_of_its_targets(upstream, doctor):
    """The first target of a route would be hidden by the second one, which answers for it."""
    entries = [provider("p/one", "http://127.0.0.1:1"), provider("p/two", upstream.url)]
    upstream.script(*[TEXT] * 6)
    status, found, _ = doctor(entries, "smart", model_aliases={"smart": {"targets": ["p/one", "p/two"]}})
    assert status == 1
    assert {model["model"]: model["good"] for model in found["models"]} == {"p/one": False, "p/two": True}


def test_doctor_reports_skipped_entries_with_the_reason(upstream, doctor):
    entries = [provider("p/one", upstream.url), provider("openrouter/*", upstream.url),
               provider("openai/text-embedding-3-small", upstream.url)]  # fmt: skip
    upstream.script(*[TEXT] * 12)
    status, out, _ = doctor(entries, as_json=False)
    assert status == 0
    assert (
        "skipped openrouter/*: trigate knows no model name of OpenRouter; give one: trigate doctor openrouter/MODEL"
        in out
    )
    assert "skipped openai/text-embedding-3-small: its type is embedding, and doctor tests only chat models" in out
    status, found, _ = doctor(entries)
    assert [one["name"] for one in found["skipped"]] == ["openrouter/*", "openai/text-embedding-3-small"]


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("api", ["chat", "responses", "interactions"])
def test_the_table_fits_the_terminal(upstream, doctor, monkeypatch, api, columns):
    monkeypatch.setattr(tables, "real_columns", lambda _: columns)
    upstream.script(*GOOD, NO_COUNT)
    url = upstream.url + ("/v1beta" if api == "interactions" else "")
    _, out, _ = doctor([provider("provider/a-model-with-a-long-name", url, [api])], as_json=False)
    assert max(map(len, out.splitlines())) <= columns
    assert len(out.splitlines()) == {60: 4, 80: 3, 120: 2}[columns]
    *head, _, ms = out.split()
    names = ["provider/a-model-with-a-long-name", api]
    assert ms == "ms"
    assert head == [
        *(["api"] if columns == 120 else []), *FEATURES, "first", "byte", *names, *["ok"] * 5, "estimate",
    ]  # fmt: skip


def test_a_failed_sign_in_reports_its_reason(upstream, doctor, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_BEARER_TOKEN_BEDROCK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    entry = {"model": "mine/x", "base_url": upstream.url, "sign_in": {"type": "aws", "region": "eu-west-1"}}
    status, _, err = doctor([entry])
    assert status == 1
    assert "aws: sign-in failed: NoAwsCredentials: found no AWS credentials" in err
