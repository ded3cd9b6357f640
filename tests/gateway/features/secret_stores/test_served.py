"""Secrets in stores, as a gateway serves them: read at start, again while it runs, and once after a provider's 401."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.bare_provider import listening, read_request
from tests.support.command_line import invoke, run, running_command
from tests.support.features import members_of, needs_feature, rows_of
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, Reply, config, eventually, provider, request, with_ports
from tests.support.metrics_page import HEAD, Numbers, chunk
from tests.support.processes import workers
from tests.support.quick_yaml import dump_yaml
from tests.support.secret_store import FIXED_TOKEN, SecretStoreServer, open_stores
from tests.support.upstreams import PATHS, Raw, Script, Upstream

PLACE = "secret/trigate"
OLD, NEW = "sk-old-0123456789abcdef", "sk-new-0123456789abcdef"
OPERATOR = "sk-of-the-operator-0123456789"
CLIENT = "sk-of-the-client-0123456789"
END = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
in_thread = trio.to_thread.run_sync
REJECTED = Raw(401, (("content-type", "application/json"),), (b'{"error":{"message":"Incorrect API key"}}',))
HEADERS = {"authorization": f"Bearer {CLIENT}"}
SHOWN = {"authorization": f"Bearer {OPERATOR}"}


@pytest.fixture
def stores() -> Iterator[SecretStoreServer]:
    with open_stores() as server:
        server.secrets[PLACE] = {"openai": OLD, "client": CLIENT}
        yield server


def settings(stores: SecretStoreServer, url: str, *more: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """Return a configuration with an entry and a client whose keys are in the store."""
    refresh = keys.pop("refresh", "5m")
    first = provider("openai/up", url, ["chat"], key={"vault": f"{PLACE}#openai"})
    return config(
        [first, *more],
        client_keys=[{"name": "alice", "key": {"vault": f"{PLACE}#client"}}],
        secret_stores={"vault": {"url": stores.url, "token": FIXED_TOKEN}, "refresh": refresh},
        metrics_key=OPERATOR,
        **keys,
    )


def ask(gateway: Gateway, model: str = "up", api: str = "chat") -> int:
    body = {"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    return gateway.request("POST", PATHS[api], body, HEADERS).status


def sent_keys(upstream: Upstream) -> list[str]:
    return [dict(seen.headers)["authorization"].removeprefix("Bearer ") for seen in upstream.seen]


def assert_no_secret_in_log(gateway: Gateway) -> None:
    log = "\n".join(gateway.log)
    assert not [text for text in (OLD, NEW, CLIENT, FIXED_TOKEN) if text in log]


@pytest.mark.parametrize("api", ["chat", "messages"])
def test_keys_of_providers_and_clients_come_from_a_store(stores, upstream, api):
    upstream.script(Script(text="hello"))
    with gateway_thread(settings(stores, upstream.url)) as gateway:
        assert ask(gateway, api=api) == 200
        assert gateway.request("POST", PATHS[api], {"model": "up"}, {"authorization": "Bearer x"}).status == 401
        assert_no_secret_in_log(gateway)
    assert sent_keys(upstream) == [OLD]
    assert len([path for path in stores.calls if "/data/" in path]) == 1, "one request reads all members"


def test_a_new_value_needs_no_restart(stores, upstream):
    upstream.script(*[Script(text="hello")] * 50)
    with gateway_thread(settings(stores, upstream.url, refresh="1s")) as gateway:
        assert ask(gateway) == 200
        stores.secrets[PLACE] = {"openai": NEW, "client": CLIENT}
        eventually(lambda: "has a new value" in "\n".join(gateway.log))
        eventually(lambda: "the configuration was reloaded" in "\n".join(gateway.log))
        assert ask(gateway) == 200
        assert f"the secret vault {PLACE}#openai has a new value" in "\n".join(gateway.log)
        assert f"the secret vault {PLACE}#client has a new value" not in "\n".join(gateway.log)
        assert_no_secret_in_log(gateway)
    assert sent_keys(upstream) == [OLD, NEW]


async def test_a_running_stream_survives_a_new_value(stores):
    """The stream got its configuration, including its key, before the reload."""
    may_end = trio.Event()
    sent: list[bytes] = []
    replies: list[Reply] = []

    async def serve(stream: trio.SocketStream) -> None:
        while (found := await read_request(stream)) is not None:
            sent.append(found[1])
            await stream.send_all(HEAD + chunk("one"))
            await may_end.wait()
            await stream.send_all(chunk("two") + END)

    async with listening(serve) as url, trio.open_nursery() as nursery:
        with gateway_thread(settings(stores, url, refresh="1s")) as gateway:

            async def ask_for_stream() -> None:
                body = {"model": "up", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
                replies.append(await in_thread(gateway.request, "POST", PATHS["chat"], body, HEADERS))

            nursery.start_soon(ask_for_stream)
            await in_thread(eventually, lambda: sent)
            stores.secrets[PLACE] = {"openai": NEW, "client": CLIENT}
            await in_thread(eventually, lambda: "the configuration was reloaded" in "\n".join(gateway.log))
            may_end.set()
            await in_thread(eventually, lambda: replies)
    texts = [event["choices"][0]["delta"]["content"] for _, event in replies[0].events()[:2]]
    assert texts == ["one", "two"]
    assert f"bearer {OLD}".encode() in sent[0].lower()


def test_a_401_of_the_provider_reads_the_secret_once_more(stores, upstream):
    upstream.script(REJECTED, Script(text="hello"), Script(text="hello"))
    with gateway_thread(settings(stores, upstream.url)) as gateway:
        stores.secrets[PLACE] = {"openai": NEW, "client": CLIENT}
        calls = len(stores.calls)
        stores.calls.clear()
        assert ask(gateway) == 200
        assert ask(gateway) == 200
        assert calls
        assert len([path for path in stores.calls if "/data/" in path]) == 1
    assert sent_keys(upstream) == [OLD, NEW, NEW]


def test_a_401_without_a_new_value_reaches_the_client_without_a_second_read(stores, upstream):
    upstream.script(*[REJECTED] * 10)
    with gateway_thread(settings(stores, upstream.url)) as gateway:
        stores.calls.clear()
        assert {ask(gateway) for _ in range(5)} <= {401, 502, 503, 500}
        assert len([path for path in stores.calls if "/data/" in path]) <= 1
        assert_no_secret_in_log(gateway)


@pytest.mark.parametrize("new", ["sk-new\r\nx-other: 1", "sk-nëw-value-of-openai", "sk-new\x00value"])
def test_a_new_value_that_no_header_can_contain_leaves_the_last_one(stores, upstream, new):
    upstream.script(*[REJECTED] * 3)
    with gateway_thread(settings(stores, upstream.url)) as gateway:
        stores.secrets[PLACE] = {"openai": new, "client": CLIENT}
        assert ask(gateway) == ask(gateway) != 500
        assert_no_secret_in_log(gateway)
    assert set(sent_keys(upstream)) == {OLD}


@needs_feature("metrics")
@pytest.mark.parametrize("outage", ["down", pytest.param("deleted", marks=pytest.mark.soak)])
def test_the_last_value_stays_while_the_store_does_not_give_it(stores, upstream, outage):
    upstream.script(*[Script(text="hello")] * 50)

    def stale(gateway: Gateway) -> float:
        return Numbers(gateway.request("GET", "/metrics", headers=SHOWN).body.decode())("trigate_secret_stale_seconds")

    with gateway_thread(settings(stores, upstream.url, refresh="1s")) as gateway:
        assert ask(gateway) == 200
        if outage == "down":
            stores.down = 503
        else:
            stores.deleted.add(PLACE)
        eventually(lambda: "cannot be read; the last value stays in use" in "\n".join(gateway.log))
        assert ask(gateway) == 200
        eventually(lambda: stale(gateway) > 0)
        stores.down = 0
        stores.deleted.clear()
        eventually(lambda: stale(gateway) == 0)
        assert "can be read again" in "\n".join(gateway.log)


def test_an_entry_whose_key_is_missing_is_out_until_its_store_has_it(stores, upstream):
    del stores.secrets[PLACE]["openai"]
    upstream.script(*[Script(text="hello")] * 50)
    second = provider("openai/second", upstream.url, ["chat"], key="sk-of-the-second")
    aliases = {"model_aliases": {"both": {"targets": ["up", "second"]}}}
    with gateway_thread(settings(stores, upstream.url, second, refresh="1s", **aliases)) as gateway:
        shown = gateway.request("GET", "/readyz?verbose", headers=SHOWN).json["targets"]
        (up,) = [one for one in shown if one["target"] == "openai/up"]
        assert (up["state"], up["reason"]) == ("out", "credential")
        assert ask(gateway, "both") == 200
        assert ask(gateway) in (401, 500, 502, 503)
        assert sent_keys(upstream) == ["sk-of-the-second"]
        stores.secrets[PLACE]["openai"] = NEW
        eventually(lambda: ask(gateway) == 200)
        assert sent_keys(upstream)[-1] == NEW


def file_of(folder: Path, content: dict[str, Any]) -> str:
    file = folder / "trigate.yaml"
    file.write_text(dump_yaml(with_ports(content)[0]))
    file.chmod(0o600)
    return str(file)


@pytest.mark.process
def test_serve_names_any_other_missing_secret_and_exits(stores, upstream, tmp_path):
    del stores.secrets[PLACE]["client"]
    found = run("serve", file_of(tmp_path, settings(stores, upstream.url)))
    assert found.returncode == 1
    assert f"cannot read the secret vault {PLACE}#client: it has no member client with a text" in found.stderr
    assert "client_keys[0].key" in found.stderr
    assert "Traceback" not in found.stderr


def test_check_contacts_no_store_and_check_secrets_prints_no_text(stores, upstream, tmp_path):
    file = file_of(tmp_path, settings(stores, upstream.url))
    assert invoke("check", file).returncode == 0
    assert stores.calls == []
    found = invoke("check", "--secrets", file)
    assert found.returncode == 0, found.stderr
    assert f"vault {PLACE}#openai: {len(OLD)} characters, 1 day old" in found.stdout
    assert OLD not in found.stdout + found.stderr
    stores.down = 503
    lost = invoke("check", "--secrets", file)
    assert lost.returncode == 1
    assert "cannot be read: the store returns status 503: the store is sealed" in lost.stderr + lost.stdout


@pytest.mark.parametrize("command", rows_of("admin", ["keys", "list"], *rows_of("people", ["people", "list"])))
def test_commands_on_the_storage_read_its_address_from_a_store(stores, upstream, tmp_path, command):
    """``trigate people`` once used the reference to the secret as the address."""
    stores.secrets[PLACE]["database"] = "postgresql://trigate:secret-of-the-database@127.0.0.1:9/trigate"
    storage = {"type": "postgres", "connection_string": {"vault": f"{PLACE}#database"}}
    issuer = {
        "name": "okta",
        "issuer": "https://issuer.example",
        "audience": ["trigate"],
        "admit": [{"when": {"a": "b"}}],
    }
    more = {**members_of("admin", stored_keys=True, **members_of("people", issuers=[issuer]))}
    content = settings(stores, upstream.url, state_storage=storage, **more)
    found = invoke(*command, "--config", file_of(tmp_path, content))
    assert found.returncode == 1
    assert [path for path in stores.calls if "/data/" in path]
    assert "secret-of-the-database" not in found.stdout + found.stderr
    assert "Traceback" not in found.stderr


def ask_at(url: str) -> int:
    body = {"model": "up", "messages": [{"role": "user", "content": "hi"}]}
    return request(url, "POST", PATHS["chat"], body, HEADERS).status


@pytest.mark.process
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found in Linux's /proc")
def test_workers_get_secrets_and_new_values_without_arguments_or_variables(stores, upstream, tmp_path):
    upstream.script(*[Script(text="hello")] * 1000)
    file = file_of(tmp_path, settings(stores, upstream.url, refresh="1s"))
    with running_command("serve", file, "--workers", "2") as started:
        eventually(lambda: len(workers(started.process.pid)) == 2)
        for pid in (started.process.pid, *workers(started.process.pid)):
            for name in ("environ", "cmdline"):
                data = Path(f"/proc/{pid}/{name}").read_bytes()
                assert not [text for text in (OLD, CLIENT) if text.encode() in data]
        eventually(lambda: ask_at(started.url) == 200)
        stores.secrets[PLACE] = {"openai": NEW, "client": CLIENT}
        eventually(lambda: len(with_words(started.log, "has a new value")) == 2)

        def all_send_the_new_key() -> bool:
            upstream.seen.clear()
            return {ask_at(started.url) for _ in range(20)} == {200} and set(sent_keys(upstream)) == {NEW}

        eventually(all_send_the_new_key)
        assert not [text for text in (OLD, NEW, CLIENT) if text in "\n".join(started.log)]


@pytest.mark.process
@pytest.mark.parametrize("count", [1, 2])
def test_a_reload_reads_the_secrets_that_are_new_in_the_file(stores, upstream, tmp_path, count):
    upstream.script(*[Script(text="hello")] * 1000)
    content, _ = with_ports(settings(stores, upstream.url))
    plain = {**content, "model_providers": [provider("openai/up", upstream.url, ["chat"], key=OLD)]}
    plain["client_keys"] = [{"name": "alice", "key": CLIENT}]
    file = file_of(tmp_path, plain)
    with running_command("serve", file, "--workers", str(count)) as started:
        eventually(lambda: ask_at(started.url) == 200)
        stores.secrets[PLACE]["openai"] = NEW
        file_of(tmp_path, content)
        started.process.send_signal(signal.SIGHUP)
        eventually(lambda: ask_at(started.url) == 200 and sent_keys(upstream)[-1] == NEW)
        file_of(tmp_path, {**content, "ui_key": {"vault": f"{PLACE}#missing"}})
        started.process.send_signal(signal.SIGHUP)
        eventually(lambda: with_words(started.log, "it has no member missing"))
        eventually(lambda: with_words(started.log, "the configuration was not reloaded"))
        assert ask_at(started.url) == 200


def with_words(log: list[str], words: str) -> list[str]:
    return [line for line in list(log) if words in line]
