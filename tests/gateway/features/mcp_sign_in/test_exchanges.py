"""Tokens of people for MCP servers, over sockets: their receivers, their lifetime, and failures without a request."""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import attrs
import httpx2
import pytest
import trio
import trio.testing

from configfile.document import ConfigError
from gateway.config_files.loading import from_mapping
from gateway.features.mcp_sign_in.exchange import ExchangedToken
from gateway.features.mcp_sign_in.tokens import MOST_OF_ONE, ExchangedTokens
from providers.auth.signer import BearerToken
from streams.errors import GatewayError
from tests.support.bare_provider import head, listening, read_request
from tests.support.in_process import InProcess, gateway
from tests.support.oidc import CLIENT_ID, CLIENT_SECRET, TOKEN_EXCHANGE, Fault, OidcProvider, open_provider

KEY = "ann-key-0123456789-0123456789"
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "add", "arguments": {}}}
RESULT = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"content": []}}).encode()


@attrs.define
class McpServer:
    """A server that notes the credential of each request, and rejects the next ``refuses`` with ``status``."""

    seen: list[str] = attrs.field(factory=list)
    refuses: int = 0
    status: int = 401

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            while request := await read_request(stream):
                lines = request[1].decode().lower().split("\r\n")
                self.seen += [line.partition(": ")[2] for line in lines if line.startswith("authorization:")]
                status = self.status if self.refuses else 200
                self.refuses -= status != 200
                length = ("content-length", str(len(RESULT)))
                await stream.send_all(head(status, ("content-type", "application/json"), length) + RESULT)


@attrs.frozen
class Stage:
    gate: InProcess
    issuer: OidcProvider
    server: McpServer
    settings: dict[str, Any]

    async def call(self, credential: str) -> httpx2.Response:
        return await self.gate.post("/mcp/tools", json=CALL, headers={"authorization": f"Bearer {credential}"})

    def token(self, person: str, **claims: Any) -> str:
        return self.issuer.token(sub=person, aud="mcp", groups=["ml"], **claims)

    @property
    def exchanges(self) -> int:
        return sum(one.form.get("grant_type") == TOKEN_EXCHANGE for one in self.issuer.seen)


def settings(provider: OidcProvider, url: str, **exchange: Any) -> dict[str, Any]:
    rule = {"when": {"groups": "ml"}, "mcp": ["tools"]}
    own = {"token_url": f"{provider.issuer}/token", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    return {
        "version": "v0.4.0",
        "model_providers": [{"model": "openai/m-1", "access_key": "k", "base_url": "http://127.0.0.1:9/v1"}],
        "issuers": [{"name": "id", "issuer": provider.issuer, "audience": ["mcp"], "admit": [rule]}],
        "client_keys": [{"name": "ann", "key": KEY, "mcp": ["tools"]}],
        "mcp_servers": [
            {"name": "tools", "base_url": f"{url}/mcp", "token_exchange": {**own, "audience": "tools", **exchange}}
        ],
    }


@contextlib.asynccontextmanager
async def open_stage(**exchange: Any) -> AsyncIterator[Stage]:
    server = McpServer()
    with open_provider() as issuer:
        async with listening(server.serve) as url:
            content = settings(issuer, url, **exchange)
            async with gateway(content, drains=True) as gate:
                yield Stage(gate, issuer, server, content)


async def test_each_person_gets_a_token_of_their_own_and_only_one():
    """BerriAI/litellm#27421: a server must know the person, and a token must never be another's."""
    async with open_stage() as stage:
        tokens = {person: stage.token(person) for person in ("1", "2")}
        for person in ("1", "2", "1", "2"):
            answer = await stage.call(tokens[person])
            assert (answer.status_code, answer.json()["id"]) == (200, 1)
            assert stage.server.seen[-1].startswith(f"bearer exchanged-for-{person}-at-tools-")
        assert (len(set(stage.server.seen)), stage.exchanges) == (2, 2)
        asked = stage.issuer.last("/token").form
        assert (asked["subject_token"], asked["audience"]) == (tokens["2"], "tools")
        assert all(token not in "".join(stage.server.seen) for token in tokens.values())


async def test_concurrent_calls_share_an_exchange():
    async with open_stage() as stage:
        token = stage.token("1")
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(stage.call, token)
        assert (stage.exchanges, len(set(stage.server.seen))) == (1, 1)


async def test_other_credentials_get_403_and_never_reach_the_server():
    async with open_stage() as stage:
        answer = await stage.call(KEY)
        assert answer.status_code == 403
        assert "accepts only people who send a token of id" in answer.json()["error"]["message"]
        assert (await stage.call(stage.token("1", exp=1))).status_code == 401
        assert (stage.server.seen, stage.exchanges) == ([], 0)


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        (Fault(status=500), 502, "the issuer responded 500"),
        (Fault(status=401, body=b'{"error":"invalid_client"}'), 502, "401 with the error invalid_client"),
        (Fault(status=400, body=b'{"error":"invalid_grant"}'), 403, "you no token for the MCP server tools (invalid"),
        (Fault(status=400, body=b'{"error":"unsupported_grant_type"}'), 502, "that the issuer exchanges tokens"),
        (Fault(status=400, body=b'{"error":"<b>"}'), 502, "the issuer responded 400: check token_url of"),
        (Fault(gone=True), 502, "the issuer is unavailable"),
        (Fault(body=b"{}"), 502, "is not a token"),
        (Fault(body=b'{"access_token":"a\\nb","token_type":"Bearer"}'), 502, "is not a bearer token"),
        (Fault(body=b'{"access_token":"ab","token_type":"DPoP"}'), 502, "is not a bearer token"),
    ],
)  # fmt: skip
async def test_without_a_token_the_server_gets_no_request(fault, status, words):
    async with open_stage() as stage:
        stage.issuer.faults["/token"] = fault
        answer = await stage.call(stage.token("1"))
        assert (answer.status_code, stage.server.seen) == (status, [])
        assert words in answer.json()["error"]["message"]
        assert CLIENT_SECRET not in answer.text
        stage.issuer.faults.clear()
        assert (await stage.call(stage.token("1"))).status_code == 200


async def test_a_lifetime_may_be_a_string():
    async with open_stage() as stage:
        body = b'{"access_token": "ab", "token_type": "Bearer", "expires_in": "3599"}'
        stage.issuer.faults["/token"] = Fault(body=body)
        assert (await stage.call(stage.token("1"))).status_code == 200


async def test_the_persons_own_token_goes_to_no_server():
    async with open_stage() as stage:
        token = stage.token("1")
        echo = json.dumps({"access_token": token, "token_type": "Bearer"}).encode()
        stage.issuer.faults["/token"] = Fault(body=echo)
        assert (await stage.call(token)).status_code == 502
        assert stage.server.seen == []


async def test_a_token_of_another_issuer_is_not_exchanged():
    """The token endpoint of one issuer must not get the tokens of another one's people."""
    server = McpServer()
    with open_provider() as issuer, open_provider() as other:
        async with listening(server.serve) as url:
            content = settings(issuer, url, issuer="id")
            content["issuers"].append({**content["issuers"][0], "name": "other", "issuer": other.issuer})
            async with gateway(content, drains=True) as gate:
                stage = Stage(gate, issuer, server, content)
                assert (await stage.call(other.token(sub="1", aud="mcp", groups=["ml"]))).status_code == 403
                assert (server.seen, stage.exchanges) == ([], 0)
                assert (await stage.call(stage.token("1"))).status_code == 200
            del content["mcp_servers"][0]["token_exchange"]["issuer"]
            with pytest.raises(ConfigError, match="several issuers could have given a person's token"):
                from_mapping(content)


async def test_a_person_without_rights_at_the_issuer_gets_403():
    async with open_stage() as stage:
        stage.issuer.revoked.add("1")
        assert (await stage.call(stage.token("1"))).status_code == 403
        assert (await stage.call(stage.token("2"))).status_code == 200


async def test_a_token_that_the_server_rejects_is_exchanged_again():
    async with open_stage() as stage:
        token = stage.token("1")
        await stage.call(token)
        stage.server.refuses = 1
        refused = await stage.call(token)
        assert refused.status_code == 502
        assert "the MCP server tools rejected the token" in refused.json()["error"]["message"]
        assert stage.exchanges == 1
        assert (await stage.call(token)).status_code == 200
        assert stage.exchanges == 2
        assert stage.server.seen[0] == stage.server.seen[1] != stage.server.seen[2]


async def test_a_person_gets_the_servers_own_403():
    """The credential belongs to the person, so the refusal concerns the person and not a setting of the gateway."""
    async with open_stage() as stage:
        stage.server.refuses, stage.server.status = 1, 403
        answer = await stage.call(stage.token("1"))
        assert (answer.status_code, answer.content) == (403, RESULT)
        assert (await stage.call(stage.token("2"))).status_code == 200


async def test_a_reload_keeps_the_tokens_of_equal_settings():
    async with open_stage() as stage:
        token, content = stage.token("1"), stage.settings
        await stage.call(token)
        stage.gate.reload({**content, "limits": {"event": "2MiB"}})
        assert (await stage.call(token)).status_code == 200
        assert stage.exchanges == 1
        (server,) = content["mcp_servers"]
        other = {**server, "token_exchange": {**server["token_exchange"], "audience": "others"}}
        stage.gate.reload({**content, "mcp_servers": [other]})
        assert (await stage.call(token)).status_code == 200
        assert stage.server.seen[-1].startswith("bearer exchanged-for-1-at-others-")


async def test_tokens_are_bounded_and_expire():
    now, made = [0.0], list[str]()

    async def exchange(subject: str) -> ExchangedToken:
        made.append(subject)
        return ExchangedToken(BearerToken(f"for {subject}"), 60)

    tokens = ExchangedTokens(exchange, lambda: now[0])
    for number in range(MOST_OF_ONE + 2):
        await tokens.token("ann", f"a{number}")
    await tokens.token("ben", "b")
    assert len(tokens) == MOST_OF_ONE + 1
    made.clear()
    assert await tokens.token("ann", "a9") == BearerToken("for a9")
    now[0] = 50.0
    await tokens.token("ann", "a9")
    assert made == ["a9"], "it is exchanged again ten seconds before its end"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mcp_servers": [{"access_key": "k"}]}, "the server has an access_key, too"),
        ({"mcp_servers": [{"issuer": "no"}]}, "there is no issuer 'no'"),
        ({"issuers": []}, "only people have tokens to exchange"),
        ({"mcp_servers": [{"token_url": "http://id.example/token"}]}, "tokens would leave this machine unencrypted"),
    ],
)
def test_mistakes_in_the_settings_are_reported(change, words):
    with open_provider() as issuer:
        content = settings(issuer, "http://127.0.0.1:9")
        for name, value in change.items():
            if name == "issuers":
                del content["issuers"]
                del content["client_keys"]
                continue
            server = content["mcp_servers"][0]
            for key, one in value[0].items():
                (server if key == "access_key" else server["token_exchange"])[key] = one
        with pytest.raises(ConfigError, match=words):
            from_mapping(content)


@pytest.mark.parametrize("fails", [True, False])
async def test_the_end_of_an_exchange_reaches_all_waiting_requests(fails):
    """The exchange may also fail, or its token may expire too soon to be kept."""
    begun, end, made = trio.Event(), trio.Event(), list[str]()

    async def exchange(subject: str) -> ExchangedToken:
        begun.set()
        made.append(subject)
        await end.wait()
        if fails:
            raise GatewayError("upstream", "no")
        return ExchangedToken(BearerToken("short"), 5)

    tokens, found = ExchangedTokens(exchange), list[str]()

    async def fetch() -> None:
        try:
            found.append((await tokens.token("ann", "a")).token)
        except GatewayError as error:
            found.append(error.info.message)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(fetch)
        await begun.wait()
        await trio.testing.wait_all_tasks_blocked()
        end.set()
    assert (found, made) == (["no" if fails else "short"] * 3, ["a"])
