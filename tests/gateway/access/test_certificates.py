"""Clients that are known by their certificates (mutual TLS, RFC 8446, section 4.3.2), over real sockets."""

import base64
import contextlib
import hashlib
import os
import ssl
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import trio
from cryptography import x509

from gateway.access.authentication import Authenticator
from gateway.app import create_app
from gateway.commands.listening import options_of
from gateway.config_files.loading import Config, ConfigError, from_mapping
from gateway.http.certificates import as_name
from gateway.processes.binding import bind
from gateway.serving.lifecycle import Lifecycle
from gateway.serving.worker import serve
from streams.errors import GatewayError
from tests.support.certificates import LOOPBACK, Authority, Pair
from tests.support.each_row import each_row
from tests.support.features import rows_of
from tests.support.harness import PATIENCE

KEY = "sk-gw-alice-0123456789"
SEARCH = "spiffe://example.org/search"
CLIENTS = [
    {"name": "batch", "certificate": "CN=batch", "models": ["mine/m"]},
    {"name": "search", "certificate": SEARCH, "models": ["mine/m"]},
    {"name": "alice", "key": KEY, "models": ["mine/m"]},
]
LISTENER = {"port": 12443, "tls": {"certificate": "localhost.pem", "key": "localhost.key", "client_ca": "clients.pem"}}
OTHERS = {"model": "openai/other", "access_key": "k", "base_url": "http://127.0.0.1:9"}
MINE = {"name": "mine/m", "model": "openai/m", "access_key": "k", "base_url": "http://127.0.0.1:9"}


def config(clients: list[Any] | None = None, **listener: Any) -> Config:
    return from_mapping(
        {
            "version": "v0.3.0",
            "listeners": [{**LISTENER, **listener}],
            "model_providers": [OTHERS, MINE],
            "client_keys": CLIENTS if clients is None else clients,
        }
    )


class Folder:
    """The files of a listener that requires client certificates, and a client's connection to it."""

    def __init__(self, folder: Any) -> None:
        self.servers, self.clients = Authority(folder), Authority(folder, "clients")
        self.served = self.servers.pair("localhost", *LOOPBACK)
        self.config = config(
            tls={"certificate": str(self.served.certificate), "key": str(self.served.key),
                 "client_ca": str(self.clients.root)}
        )  # fmt: skip

    def context(self, pair: Pair | None) -> ssl.SSLContext:
        return self.servers.client(pair)


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder(tmp_path)


@contextlib.asynccontextmanager
async def serving(config: Config) -> AsyncIterator[int]:
    state, sock = Lifecycle(), bind("127.0.0.1", 0)
    app, options = create_app(config, state), [options_of(config.listeners[0])]
    with trio.fail_after(4 * PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve(app, [sock], state=state, signals=False, options=options))
            yield sock.getsockname()[1]
            nursery.cancel_scope.cancel()


async def ask(
    port: int, context: ssl.SSLContext, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, str]:
    """Send a request over TLS, and return the status and the body of the response."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx2.AsyncClient(verify=context, trust_env=False, timeout=PATIENCE) as client:
        reply = await client.request(method, f"https://127.0.0.1:{port}{path}", json=body, headers=named)
    return reply.status_code, reply.text


def upgrade() -> dict[str, str]:
    key = base64.b64encode(os.urandom(16)).decode()
    return {"connection": "Upgrade", "upgrade": "websocket", "sec_websocket_version": "13", "sec_websocket_key": key}


CHAT = {"model": "openai/other", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize(("name", "also"), [("batch", ()), ("search", (x509.UniformResourceIdentifier(SEARCH),))])
async def test_a_certificate_is_its_client_on_every_way_in(folder, name, also):
    pair = folder.clients.pair(name, *also)
    async with serving(folder.config) as port:
        status, _ = await ask(port, folder.context(pair), "GET", "/nowhere")  # by Quart
        assert status == 404
        status, body = await ask(port, folder.context(pair), "POST", "/v1/chat/completions", CHAT)  # past it
        assert status == 403
        assert f"the key '{name}' may not use" in body
        for path in rows_of("responses_websocket", "/v1/responses"):
            status, _ = await ask(port, folder.context(pair), "GET", path, **upgrade())
            assert status == 101


async def test_a_key_of_this_gateway_outranks_the_certificate_and_any_other_does_not(folder):
    pair = folder.clients.pair("batch")
    async with serving(folder.config) as port:
        for key, client in ((KEY, "alice"), ("sk-openai-own", "batch")):
            _, body = await ask(
                port, folder.context(pair), "POST", "/v1/chat/completions", CHAT, authorization=f"Bearer {key}"
            )
            assert f"the key '{client}' may not use" in body
        status, _ = await ask(port, folder.context(pair), "GET", "/nowhere", x_trigate_key="sk-wrong")
        assert status == 401


async def test_an_unknown_certificate_needs_a_key(folder):
    pair = folder.clients.pair("stranger")
    async with serving(folder.config) as port:
        status, body = await ask(port, folder.context(pair), "GET", "/nowhere")
        assert status == 401
        assert "the client certificate matches none of" in body
        assert (await ask(port, folder.context(pair), "GET", "/nowhere", x_api_key=KEY))[0] == 404


@pytest.mark.parametrize("shown", ["none", "another root's", "ended"])
async def test_without_a_certificate_of_the_roots_there_is_no_connection(folder, tmp_path, shown):
    (tmp_path / "other").mkdir()
    pair = {
        "none": lambda: None,
        "another root's": lambda: Authority(tmp_path / "other", "clients").pair("batch"),
        "ended": lambda: folder.clients.pair("batch", days=-1),
    }[shown]()
    async with serving(folder.config) as port:
        plain = await trio.open_tcp_stream("127.0.0.1", port)
        stream = trio.SSLStream(plain, folder.context(pair), server_hostname="localhost")
        with pytest.raises(trio.BrokenResourceError) as caught:  # the alert, which contains the reason
            await stream.receive_some()
        await trio.aclose_forcefully(stream)
        assert isinstance(caught.value.__cause__, ssl.SSLError)
        assert "ALERT" in str(caught.value.__cause__.reason)


async def test_a_page_cannot_make_a_browser_show_its_certificate(folder):
    """Browsers send certificates with any page's requests, as they do cookies."""
    pair = folder.clients.pair("batch")
    async with serving(folder.config) as port:
        for headers in ({"origin": "https://evil.example"}, {"sec_fetch_site": "cross-site"}):
            status, _ = await ask(port, folder.context(pair), "POST", "/v1/chat/completions", CHAT, **headers)
            assert status == 403, headers
            status, _ = await ask(port, folder.context(pair), "GET", "/v1/responses/resp_1", **headers)
            assert status == 403, headers


def test_a_fingerprint_is_of_one_certificate(folder):
    pair = folder.clients.pair("batch")
    encoded = ssl.PEM_cert_to_DER_cert(pair.certificate.read_text())
    digest = hashlib.sha256(encoded).hexdigest().upper()
    spelled = ":".join(digest[i : i + 2] for i in range(0, 64, 2))
    authenticator = Authenticator(config([{"name": "batch", "certificate": f"SHA256:{spelled}"}]))
    assert authenticator.authenticate((), frozenset({f"sha256:{digest.lower()}"})) == "batch"


def test_a_client_that_has_ended_is_refused_with_its_certificate_too():
    authenticator = Authenticator(config([{"name": "batch", "certificate": "CN=batch", "until": "2020-01-01"}]))
    with pytest.raises(GatewayError, match="expired on"):
        authenticator.authenticate((), frozenset({"cn:batch"}))


@each_row(
    ("written", "name"),
    [("CN=a b", "cn:a b"), ("cn: a", "cn:a"), ("DNS:A.example", "dns:a.example"), (SEARCH, f"uri:{SEARCH}"),
     ("URI=urn:x", "uri:urn:x"), ("email:a@b", "email:a@b"), ("SHA256:" + "aB:" * 31 + "ab", "sha256:" + "ab" * 32),
     ("sha256:" + "a" * 63, None), ("search", None), ("O=org", None), ("CN=", None)],
)  # fmt: skip
def test_a_name_is_written_as_people_write_it(written, name):
    assert as_name(written) == name


@pytest.mark.parametrize(
    ("clients", "said"),
    [([{"name": "a", "certificate": "a"}], "CN=NAME"),
     ([{"name": "a", "certificate": "CN=x"}, {"name": "b", "certificate": "cn: x"}], "a has the same one")],
)  # fmt: skip
def test_mistakes_about_certificates_are_reported(clients, said):
    with pytest.raises(ConfigError, match=said):
        config(clients)


def test_a_certificate_that_no_listener_asks_for_is_a_warning():
    found = config([{"name": "a", "certificate": "CN=a"}], tls=None)
    assert any("no listener requests one" in text for text in found.warnings)
    assert not config([{"name": "a", "certificate": "CN=a"}]).warnings
