"""The page ``docs/mcp-sign-in.md``: its configuration and steps with the stand-in, and the errors that it lists."""

import gc
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any, Final

import attrs
import httpx2
import pytest
import trio
import yaml

from tests.support.doc_blocks import blocks_in
from tests.support.gateway_thread import gateway_thread, mock_thread
from tests.support.harness import PATIENCE, ROOT, free_port
from tests.support.mcp_people import Browser, sign_in, signed_in_client
from tests.support.no_tls import NO_TLS

# The SDK's client leaves generators of responses to the garbage collector, which trio reports.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

PAGE: Final = (ROOT / "docs" / "mcp-sign-in.md").read_text()
CURL: Final = next(block for block in blocks_in(PAGE, "sh") if "login_hint" in block)
ERRORS: Final = re.findall(r"^\| (\d+) \| `([^`]+)` \|", PAGE, re.M)
CALL: Final = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "get_person"}}
KEY: Final = "ann-key-0123456789-0123456789"


@attrs.frozen
class Site:
    """The gateway of the page at ``gateway``, and its stand-in at ``issuer``."""

    gateway: str
    issuer: str

    @property
    def tools(self) -> str:
        return f"{self.gateway}/mcp/tools"

    def place(self, text: str) -> str:
        """Return ``text`` with the addresses of this site in place of the page's."""
        return text.replace("http://127.0.0.1:12000", self.gateway).replace("http://127.0.0.1:51001", self.issuer)

    def settings(self) -> dict[str, Any]:
        """Return the configuration of the page."""
        content: dict[str, Any] = yaml.safe_load(self.place(blocks_in(PAGE, "yaml")[0]))
        port = int(self.gateway.rpartition(":")[2])
        listener = {"name": "own", "type": "model", "address": "127.0.0.1", "port": port}
        return {**content, "listeners": [listener]}

    async def token(self, person: str, resource: str | None = None) -> str:
        granted = await sign_in(self.issuer, person, resource=resource or self.tools)
        return str(granted["access_token"])

    async def call(self, token: str | None) -> httpx2.Response:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(timeout=PATIENCE, verify=NO_TLS, trust_env=False) as http:
            return await http.post(self.tools, json=CALL, headers=headers)


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with mock_thread() as mock:
        yield mock.url


@pytest.fixture(scope="module")
def site(issuer: str) -> Iterator[Site]:
    found = Site(f"http://127.0.0.1:{free_port()}", issuer)
    settings = found.settings()
    with gateway_thread(settings, settings["listeners"][0]["port"]):
        yield found


@pytest.fixture(autouse=True)
def collect_garbage() -> Iterator[None]:
    """Collect what the SDK left here, and not during another test, which it would fail."""
    yield
    gc.collect()


async def test_the_sdks_client_signs_in_and_the_server_knows_the_person(site):
    """IBM/mcp-context-forge#3385, BerriAI/litellm#27421"""
    for person in ("ada", "ben"):
        with trio.fail_after(PATIENCE):
            async with signed_in_client(site.tools, Browser(person)) as client:
                assert {tool.name for tool in (await client.list_tools()).tools} == {"get_person", "echo"}
                found = await client.call_tool("get_person")
                assert found.content[0].text == f"{person} ({person}@example.com)"
                assert (await client.call_tool("echo", {"text": "Grüezi"})).content[0].text == "Grüezi"


@pytest.mark.process
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_commands_with_curl_print_the_person(site):
    found = subprocess.run(["bash", "-c", site.place(CURL)], capture_output=True, text=True, timeout=PATIENCE)
    assert "ben (ben@example.com)" in found.stdout, found.stderr


async def test_concurrent_calls_are_each_of_their_own_person(site):
    tokens = [(person, await site.token(person)) for person in ("ada", "ben") * 3]
    wrong = list[str]()

    async def call(person: str, token: str) -> None:
        answer = (await site.call(token)).text
        if f'"{person} ({person}@example.com)"' not in answer:
            wrong.append(answer)

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            for person, token in tokens * 3:
                nursery.start_soon(call, person, token)
    assert wrong == []


# Errors

Change = Callable[[dict[str, Any]], object]


def exchange(content: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = content["mcp_servers"][0]["token_exchange"]
    return found


FAULTS: Final[dict[str, Change]] = {
    "is not one of the gateway's": lambda content: content["issuers"][0].update(issuer="http://localhost:9/"),
    "is not for this gateway": lambda content: content["issuers"][0].update(audience=["other"]),
    "accepts only people": lambda content: content.update(client_keys=[{"name": "a", "key": KEY, "mcp": ["tools"]}]),
    "the issuer responded": lambda content: exchange(content).update(token_url=f"{exchange(content)['token_url']}/no"),
    "the issuer is unavailable": lambda content: exchange(content).update(token_url="http://127.0.0.1:9/token"),
    "rejected the token": lambda content: exchange(content).update(audience="other"),
}
"""By the words of an error of the page, the mistake in the configuration that causes it."""


@pytest.mark.parametrize("words", FAULTS)
async def test_a_mistake_in_the_configuration_has_the_error_of_the_page(issuer, words):
    site = Site(f"http://127.0.0.1:{free_port()}", issuer)
    settings = site.settings()
    FAULTS[words](settings)
    with gateway_thread(settings, settings["listeners"][0]["port"]):
        answer = await site.call(KEY if "client_keys" in settings else await site.token("ada"))
    assert (str(answer.status_code), words) in ERRORS
    assert words in answer.json()["error"]["message"]


CREDENTIALS: Final = ("requires a key", "no rule of the issuer", "is not for this gateway")


@pytest.mark.parametrize("words", CREDENTIALS)
async def test_a_credential_without_rights_has_the_error_of_the_page(site, words):
    match words:
        case "requires a key":
            token = None
        case "no rule of the issuer":
            token = await site.token("eve")
        case _:
            token = await site.token("ada", "http://127.0.0.1/other")
    answer = await site.call(token)
    assert (str(answer.status_code), words) in ERRORS
    assert words in answer.json()["error"]["message"]


def test_each_error_of_the_page_is_tested():
    elsewhere = {"has expired", "gives you no token"}  # test_tokens.py of people, and test_exchanges.py
    assert {words for _, words in ERRORS} == {*FAULTS, *CREDENTIALS, *elsewhere}
