"""Failures that a client's own input causes: they never make a target unavailable for another client."""

import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import attrs
import httpx2
import pytest
import trio

from tests.support.bare_provider import listening, read_request, response
from tests.support.features import members_of, needs_feature
from tests.support.harness import PATIENCE
from tests.support.in_process import InProcess, gateway
from tests.support.upstreams import Script, render
from tests.support.websocket_caller import calling
from tests.support.wire_clients import ALL, body_of, path_of

ANN, BOB, CID = (f"{name}-key-0123456789-0123456789" for name in ("ann", "bob", "cid"))
POISON: Final = "the words that fail"
NUMBERS = itertools.count()


@attrs.frozen
class Failing:
    """A provider's response to a request with ``POISON``: closes the connection without a ``status``."""

    status: int | None
    message: str = "not possible"
    headers: tuple[tuple[str, str], ...] = ()
    members: dict[str, Any] = attrs.field(factory=dict)

    def bytes(self) -> bytes:
        if self.status is None:
            return b""
        error = {"type": "api_error", "message": self.message, **self.members}
        body = {"type": "error", "message": self.message, "error": error}
        return response(self.status, json.dumps(body).encode(), "application/json", *self.headers)


FAILURES: Final = {
    # googleapis/python-genai#1218
    "a file of someone else": Failing(403, "You do not have permission to access the File abc1 or it may not exist."),
    "a forbidden object": Failing(403, "The caller does not have permission"),
    # posit-dev/positron#10683
    "a model that IAM denies": Failing(
        403, "User: arn:aws:sts::1:assumed-role/r/s is not authorized to perform: bedrock:InvokeModel on resource: "
        "arn:aws:bedrock:us-east-1::foundation-model/x because no identity-based policy allows it",
        (("x-amzn-errortype", "AccessDeniedException"),),
    ),
    "a guardrail that IAM denies": Failing(
        403, "User: arn:aws:sts::1:assumed-role/r/s is not authorized to perform: bedrock:ApplyGuardrail on resource: "
        "arn:aws:bedrock:us-east-1:1:guardrail/g", (("x-amzn-errortype", "AccessDeniedException"),),
    ),
    "a stored prompt": Failing(404, "Prompt with id 'pmpt_0123' not found."),
    "another model": Failing(404, "The model `x` does not exist", members={"code": "model_not_found"}),
    "nothing": Failing(404),
    # https://openrouter.ai/docs/api-reference/errors
    "a large answer": Failing(402, "This request requires more credits, or fewer max_tokens."),
    "a large request": Failing(429, "Request too large for m on tokens per min (TPM)"),
    "a limit with a time": Failing(429, "Extra usage is required for this", (("retry-after", "60"),)),
    "a credential of a tool": Failing(401, "Error retrieving tool list", members={"param": "tools"}),
    # winfunc/opcode#358
    "a model that a gateway denies": Failing(
        401, "key not allowed to access model", members={"type": "key_model_access_denied", "param": "model"}
    ),
    # OpenRouterTeam/ai-sdk-provider#24
    "a key of one model's provider": Failing(
        401, "Provider returned error", members={"code": 401, "metadata": {"provider_name": "Anthropic", "raw": "{}"}}
    ),
    "a limit of one model": Failing(429, "Rate limit exceeded: free-models-per-day"),
    "a bad call": Failing(400, members={"code": "tool_use_failed"}),
    "an error without a reason": Failing(400, "Provider returned error"),
    "a crash": Failing(500),
    "an overload": Failing(503),
    "a cut": Failing(None),
}  # fmt: skip


class Provider:
    """A provider of all APIs that fails as ``failing`` for requests with ``POISON``, or for ``everybody``."""

    def __init__(self) -> None:
        self.url = ""
        self.failing = FAILURES["nothing"]
        self.everybody = False
        self.asked = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with stream:
                while request := await read_request(stream):
                    self.asked += 1
                    path, head, body = request
                    if self.everybody or POISON.encode() in body or b"upgrade" in head.lower():
                        if not (answer := self.failing.bytes()):
                            return
                        await stream.send_all(answer)
                    else:
                        await stream.send_all(self._answer(path, json.loads(body)))

    def _answer(self, path: str, request: dict[str, Any]) -> bytes:
        ends = {"completions": "chat"} | {api: api for api in ("messages", "responses", "interactions")}
        streams = "tream" in path or bool(request.get("stream"))
        api = "converse" if "/converse" in path else ends.get(path.rpartition("/")[2], "gemini")
        raw = render(Script(text="Hello."), api, {"model": "m", **request, "stream": streams})
        return response(raw.status, b"".join(raw.pieces), dict(raw.headers)["content-type"])

    def entry(self, api: str, name: str, **more: Any) -> dict[str, Any]:
        rows = {"gemini": "gemini", "converse": "amazon_bedrock", "interactions": "gemini"}
        row = rows.get(api, more.pop("vendor", "vllm"))
        base = self.url if api in rows else f"{self.url}/v1"
        return {"model": f"{row}/m-{name}", "name": name, "base_url": base, "access_key": "k0123456789",
                "speaks": [api], **more}  # fmt: skip


@attrs.frozen
class Scene:
    """A gateway with the route ``r`` of the targets ``a`` and ``b``, one provider each."""

    running: InProcess
    client: httpx2.AsyncClient
    a: Provider
    b: Provider

    async def ask(self, key: str, text: str, api: str = "chat", model: str = "r", *, stream: bool = False) -> str:
        """Send a request with ``text``, and return the attempts as ``x-trigate-tried`` lists them."""
        body, path = body_of(api, model, text, stream=stream), path_of(api, model, stream=stream)
        headers = {"authorization": f"Bearer {key}"}
        answer = await self.client.post(self.running.url + path, json=body, headers=headers)
        return str(answer.headers.get("x-trigate-tried", answer.status_code))

    async def poison(self, key: str, api: str = "chat", **how: Any) -> str:
        """Send a request that fails, unlike any other one."""
        return await self.ask(key, f"{POISON} {next(NUMBERS)}", api, **how)

    async def greet(self, key: str) -> str:
        """Send a request unlike any other one, which fails only while everybody's do."""
        return await self.ask(key, f"Hi {next(NUMBERS)}")

    def states(self) -> list[str]:
        return [one.state for one in self.running.service.health.target_states()]


@contextlib.asynccontextmanager
async def scene(
    api: str = "chat", keys: tuple[str, ...] = (ANN, BOB, CID), vendor: str = "vllm"
) -> AsyncIterator[Scene]:
    with trio.fail_after(PATIENCE):
        async with contextlib.AsyncExitStack() as stack:
            a, b = Provider(), Provider()
            for one in (a, b):
                one.url = await stack.enter_async_context(listening(one.serve))
            content = {
                "version": "v0.4.0",
                "model_providers": [
                    a.entry(api, "a", vendor=vendor, **members_of("pass_through", passthrough=True)),
                    b.entry(api, "b", vendor=vendor),
                ],
                "model_aliases": {"r": {"targets": ["a", "b"], "retries": {"attempts": 2, "wait": "1ms"}}},
            }  # fmt: skip
            if keys:
                rights = members_of("pass_through", passthrough=["a"])
                content["client_keys"] = [{"name": key[:3], "key": key, **rights} for key in keys]
            running = await stack.enter_async_context(gateway(content))
            client = await stack.enter_async_context(
                httpx2.AsyncClient(verify=False, trust_env=False, timeout=PATIENCE)
            )
            yield Scene(running, client, a, b)


def forms_of_requests() -> Iterator[Any]:
    """Yield each API, lane and form. By default each API is streamed in one lane and whole in the other."""
    for number, api in enumerate(ALL):
        for lane, stream in itertools.product(("byte", "hub"), (False, True)):
            is_default = (lane == "hub") is (stream ^ (number % 2 == 0))
            name = f"{api}-{lane}-{'streamed' if stream else 'whole'}"
            if is_default:
                yield pytest.param(api, lane, stream, some_failures(2 * number + (lane == "hub"), 6), id=name)
            yield pytest.param(api, lane, stream, FAILURES, id=f"{name}-each", marks=pytest.mark.soak)


def some_failures(number: int, parts: int) -> dict[str, Failing]:
    """Return one of ``parts`` parts of the failures: ``parts`` consecutive numbers have all."""
    return dict(itertools.islice(FAILURES.items(), number % parts, None, parts))


@pytest.mark.parametrize(("api", "lane", "stream", "failures"), list(forms_of_requests()))
async def test_failures_caused_by_one_client_keep_targets_available_to_others(api, lane, stream, failures):
    """A file id of someone else made a provider's 403 take its credential out of all routes."""
    asked_in = api if lane == "byte" else {"chat": "messages"}.get(api, "chat")
    taken = {}
    async with scene(api) as at:
        for name, failing in failures.items():
            at.a.failing = at.b.failing = failing
            for _ in range(6):
                await at.poison(ANN, asked_in, stream=stream)
            tried, states = await at.ask(BOB, "Hi", asked_in, stream=stream), at.states()
            if (tried, states) != ("a=ok", ["in", "in"]):
                taken[name] = tried, states
            at.running.clock.now += 2000
    assert taken == {}


async def test_the_client_itself_is_spared_the_failing_target():
    """Its own requests skip the target, as they would without other clients."""
    async with scene() as at:
        at.a.failing, at.b.failing = Failing(403, "The caller does not have permission"), Failing(400)
        assert await at.poison(ANN) == "a=credential, b=invalid"
        assert await at.ask(ANN, "Hi") == "b=ok"
        assert await at.ask(BOB, "Hi") == "a=ok"
        at.running.clock.now += 10
        assert await at.ask(ANN, "Hi") == "a=ok"


async def test_a_target_that_fails_most_requests_of_a_client_is_unavailable_to_it():
    """Even if it never fails often in a row: a fallback to the next target has a limited rate, an available one has
    none."""
    async with scene() as at:
        at.a.failing = Failing(503)
        for at.a.everybody in (True, True, False) * 3:
            assert await at.greet(ANN) == ("a=overloaded, b=ok" if at.a.everybody else "a=ok")
        at.a.everybody = True
        assert await at.greet(ANN) == "a=overloaded, b=ok"
        at.a.everybody = False
        assert await at.greet(ANN) == "b=ok"
        assert await at.greet(BOB) == "a=ok"


async def test_a_target_that_fails_some_requests_of_a_client_stays_available_to_it():
    async with scene() as at:
        at.a.failing = Failing(503)
        for at.a.everybody in (True, False, False) * 8:
            assert await at.greet(ANN) == ("a=overloaded, b=ok" if at.a.everybody else "a=ok")


@pytest.mark.parametrize("seconds", [20, 40])
async def test_failures_of_a_client_count_for_half_a_minute(seconds):
    async with scene() as at:
        at.a.failing = Failing(503)
        for at.a.everybody in (True, True, False) * 3:
            await at.greet(ANN)
        at.running.clock.now += seconds
        for at.a.everybody in (False, True):
            await at.greet(ANN)
        at.a.everybody = False
        assert await at.greet(ANN) == ("b=ok" if seconds == 20 else "a=ok")


async def test_operators_see_for_how_many_clients_a_target_is_unavailable():
    """Such an outage was only in the log."""
    async with scene() as at:
        at.a.failing, at.b.failing = Failing(403, "The caller does not have permission"), Failing(400)
        assert await at.poison(ANN) == "a=credential, b=invalid"
        shown = (await at.running.get("/readyz?verbose", BOB)).json()["targets"]
        assert [(one["target"], one["state"], one.get("clients_out")) for one in shown] == [
            ("a", "in", 1),
            ("b", "in", None),
        ]
        at.running.clock.now += 2000
        assert all("clients_out" not in one for one in (await at.running.get("/readyz?verbose", BOB)).json()["targets"])


async def test_another_client_with_another_request_confirms_a_failure():
    """Two clients with one model lose that model; with two models, the credential is the cause."""
    async with scene() as at:
        at.a.failing, at.a.everybody = Failing(403, "The caller does not have permission"), True
        assert await at.ask(ANN, "Hi") == "a=credential, b=ok"
        assert await at.ask(BOB, "Hello") == "a=credential, b=ok"
        assert at.states() == ["out", "in"]
        assert await at.ask(CID, "Good morning") == "b=ok"
        assert at.a.asked == 2


async def test_a_success_in_between_refutes_a_failure():
    async with scene() as at:
        at.a.failing, at.b.failing = Failing(403, "The caller does not have permission"), Failing(400)
        await at.poison(ANN)
        assert await at.ask(CID, "Hi") == "a=ok"
        await at.poison(BOB)
        assert await at.ask(CID, "Hi") == "a=ok"
        assert at.states() == ["in", "in"]


async def test_the_same_request_of_two_clients_proves_nothing():
    """Two agents of one template fail alike for what the template contains."""
    async with scene() as at:
        at.a.failing = at.b.failing = Failing(404)
        for key in (ANN, BOB, ANN, BOB):
            await at.ask(key, POISON)
        assert await at.ask(CID, "Hi") == "a=ok"


async def test_failures_of_several_clients_open_a_circuit():
    async with scene() as at:
        at.a.failing, at.a.everybody = Failing(500), True
        for number in range(9):
            assert (await at.ask((ANN, BOB, CID)[number % 3], f"Hi {number}")).endswith("b=ok")
        assert at.states() == ["out", "in"]
        assert at.a.asked == 6  # the first one has no witness yet
        at.a.everybody = False
        at.running.clock.now += 5
        assert await at.ask(ANN, "Hi") == "a=ok"


async def test_one_client_s_failing_trials_do_not_prolong_an_outage():
    async with scene() as at:
        at.running.fail("a", "quota")
        at.running.clock.now += 600
        at.a.failing = at.b.failing = Failing(500)
        for _ in range(3):
            await at.poison(ANN)
        assert await at.ask(BOB, "Hi") == "a=ok"


KEY_WORDS: Final = {
    "401": Failing(401, "Invalid bearer token"),
    # continuedev/continue#11541
    "leaked": Failing(403, "Your API key was reported as leaked. Please use another API key."),
    "disabled": Failing(403, "API key has been disabled"),
    "Google": Failing(400, "API key not valid. Please pass a valid API key."),
    "AWS": Failing(403, "The security token included in the request is invalid.",
                   (("x-amzn-errortype", "UnrecognizedClientException"),)),
    # anthropics/claude-code#65101
    "Anthropic": Failing(403, "OAuth authentication is currently not allowed for this organization."),
    "quota": Failing(429, "You exceeded your current quota", members={"code": "insufficient_quota"}),
}  # fmt: skip


@pytest.mark.parametrize(("api", "name"), [*zip(itertools.cycle(ALL), [*KEY_WORDS] * 2, strict=False)])
async def test_a_revoked_key_leaves_all_routes_with_its_first_request(api, name):
    async with scene(api) as at:
        at.a.failing, at.a.everybody = KEY_WORDS[name], True
        for key in (ANN, BOB, CID):
            assert (await at.ask(key, "Hi", api)).endswith("b=ok")
        assert at.a.asked == 1
        assert at.states() == ["out", "in"]


@pytest.mark.parametrize("keys", [(), (ANN,)], ids=["no keys", "one key"])
async def test_a_single_client_s_failures_are_the_target_s(keys):
    """It takes the target from no other client, and the operator sees its state."""
    async with scene(keys=keys) as at:
        at.a.failing, at.a.everybody = Failing(403, "The caller does not have permission"), True
        assert await at.ask(ANN, "Hi") == "a=credential, b=ok"
        for _ in range(3):
            assert await at.ask(ANN, "Hi") == "b=ok"
            at.running.clock.now += 3
        at.running.clock.now += 1
        assert await at.ask(ANN, "Hello") == "a=credential, b=ok"
        at.running.clock.now += 599
        assert await at.ask(ANN, "Hi") == "b=ok"
        assert at.states() == ["out", "in"]


@pytest.mark.parametrize("keys", [(), (ANN,)], ids=["no keys", "one key"])
async def test_a_single_client_s_repeated_request_proves_nothing(keys):
    async with scene(keys=keys) as at:
        at.a.failing, at.b.failing = Failing(403, "The caller does not have permission"), Failing(400)
        for _ in range(3):
            await at.ask(ANN, POISON)
            at.running.clock.now += 10
        assert await at.ask(ANN, "Hi") == "a=ok"


@needs_feature("realtime")
@needs_feature("pass_through")
@pytest.mark.parametrize(("status", "keys"), [(403, ()), (404, (ANN,)), (429, (ANN, BOB)), (500, ())])
async def test_a_passed_websocket_does_not_affect_its_targets_health(keys, status):
    """Its path is the client's own, and may not exist."""
    async with scene(keys=keys) as at:
        at.a.failing = Failing(status, headers=(("retry-after", "60"),))
        for number in range(12):
            headers = (("authorization", f"Bearer {ANN}"),)
            async with calling(at.running.url, f"/a/{('realtime', 'any/path')[number % 2]}", headers) as caller:
                assert caller.status >= 400
        assert at.states() == ["in", "in"]
        assert await at.ask(ANN, "Hi") == "a=ok"
        assert at.a.asked == 13


@needs_feature("pass_through")
@pytest.mark.parametrize(("part", "path"), list(enumerate(["responses", "anything/else", "models/x"])))
async def test_a_passed_request_does_not_affect_its_targets_health(part, path):
    async with scene(keys=()) as at:
        for failing in some_failures(part, 6).values():
            at.a.failing, at.a.everybody = failing, True
            for _ in range(6):
                url = f"{at.running.url}/a/{path}"
                answer = await at.client.post(url, json={"model": "m-a", "input": POISON})
                assert answer.status_code >= 400
        at.a.everybody = False
        assert at.states() == ["in", "in"]
        assert await at.ask(ANN, "Hi") == "a=ok"


ENDPOINTS: Final = {
    "/v1/embeddings": {"input": POISON},
    "/v1/completions": {"prompt": POISON},
    "/v1/moderations": {"input": POISON},
    "/v1/rerank": {"query": POISON, "documents": ["a"]},
    "/v1/images/generations": {"prompt": POISON},
    "/v1/audio/speech": {"input": POISON, "voice": "alloy"},
    "/v1/messages/count_tokens": {"messages": [{"role": "user", "content": POISON}]},
    "/v1/responses/input_tokens": {"input": POISON},
    "/v1/responses/compact": {"input": POISON},
}


def failing_endpoints() -> Iterator[Any]:
    """Yield each path with a part of the failures, and for the soak with all."""
    for number, path in enumerate(ENDPOINTS):
        yield pytest.param(path, some_failures(number, len(ENDPOINTS)), id=path)
        yield pytest.param(path, FAILURES, id=f"{path}-each", marks=pytest.mark.soak)


@needs_feature("other_endpoints")
@pytest.mark.parametrize(("path", "failures"), list(failing_endpoints()))
async def test_requests_that_are_no_conversations_take_no_target_away(path, failures):
    """Not even from a single client: the provider may lack the endpoint. A compaction may be a conversation."""
    vendor = "vllm" if path in ("/v1/rerank", "/v1/messages/count_tokens") else "openai"
    async with scene(keys=(ANN, BOB) if path.endswith("compact") else (), vendor=vendor) as at:
        headers = {"authorization": f"Bearer {ANN}"}
        for failing in failures.values():
            at.a.failing = at.b.failing = failing
            for model in ("a", "r"):
                for _ in range(5):
                    url, body = at.running.url + path, {"model": model, **ENDPOINTS[path]}
                    answer = await at.client.post(url, json=body, headers=headers)
                    assert answer.status_code >= 400 or path.endswith("tokens")  # they are estimated
        assert at.a.asked > 0 or path.endswith("tokens")
        assert at.states() == ["in", "in"]
        assert await at.ask(BOB, "Hi") == "a=ok"


@needs_feature("responses_websocket")
async def test_a_client_s_websocket_takes_no_target_from_another():
    """Responses over a WebSocket are requests like any other."""
    async with scene("responses") as at:
        at.a.failing = at.b.failing = Failing(403, "The caller does not have permission")
        async with calling(at.running.url, "/v1/responses", (("authorization", f"Bearer {ANN}"),)) as caller:
            for number in range(6):
                await caller.send({"type": "response.create", "model": "r", "input": f"{POISON} {number}"})
                assert (await caller.event())["type"] in ("error", "response.failed")
        assert at.a.asked >= 1
        assert at.states() == ["in", "in"]
        assert await at.ask(BOB, "Hi", "responses") == "a=ok"
