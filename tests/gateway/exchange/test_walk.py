"""Plans with several targets, carried out with providers on real sockets."""

import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Any

import attrs
import pytest
import trio

from gateway.access.admission import Admission
from gateway.access.authentication import Authenticator
from gateway.access.shares import Shares
from gateway.config.limits import Limits
from gateway.config.loading import from_mapping
from gateway.exchange.attempt_answer import UnchangedAnswer
from gateway.exchange.context import ExchangeContext
from gateway.exchange.disconnect import Audience
from gateway.exchange.exchange import Exchange
from gateway.exchange.planned import SMALL_TEXT, PlannedRequest
from gateway.exchange.service import Service, ServiceSettings
from gateway.exchange.stream import StreamedAnswer, make_first_lane
from gateway.exchange.walk import Walk
from gateway.http.request_scope import RequestScope
from gateway.ledger.record import Record
from gateway.request.client_request import ClientRequest
from gateway.request.parse import read_incoming
from gateway.request.prepare import prepare
from gateway.routing.plan import Candidate, Conditions, Outcome, Plan, Send, Step, send_once
from gateway.routing.router import Router
from gateway.serving.lifecycle import Lifecycle
from gateway.upstream.client import Upstream
from streams.errors import GatewayError
from tests.support.bare_provider import listening, read_request, response
from tests.support.upstreams import Script, render

SCRIPT = Script(text="fine")
DOWN = (503, b'{"error": {"message": "try later", "type": "overloaded_error"}}')


def next_target(plan: Plan, outcomes: Sequence[Outcome], conditions: Conditions) -> Step:
    """Continue with the next target after any failure."""
    going_on = 0 < len(outcomes) < len(plan.targets)
    return Send(plan.targets[len(outcomes)]) if going_on else send_once(plan, outcomes, conditions)


@attrs.define
class Providers:
    """Answers by path, and the list of received requests."""

    answers: Mapping[str, tuple[int, bytes]]
    asked: list[tuple[str, dict[str, Any]]] = attrs.field(factory=list)

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            path, _, body = await read_request(stream)
            self.asked.append((path, json.loads(body)))
            status, answer = self.answers[path]
            kind = "text/event-stream" if answer.startswith((b"event:", b"data:")) else "application/json"
            await stream.send_all(response(status, answer, kind, ("connection", "close")))

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]


@attrs.frozen
class Stage:
    """An exchange, and plans over a chat and a messages provider."""

    exchange: Exchange
    router: Router

    @property
    def context(self) -> ExchangeContext:
        return self.exchange.context

    async def walk(self, models: Sequence[str], policy: Any = next_target, **members: Any) -> Walk:
        body = {"model": "any", "messages": [{"role": "user", "content": "hi"}], **members}
        incoming = read_incoming("chat", json.dumps(body).encode())
        targets = tuple(self.router.resolve(model, "chat") for model in models)
        request = PlannedRequest(incoming, Plan(tuple(map(Candidate, targets)), policy), partial(prepare, incoming))
        return await self.exchange.start_walk(request)


@contextlib.asynccontextmanager
async def open_stage(providers: Providers, *, strict: bool = False) -> AsyncIterator[Stage]:
    async with listening(providers.serve) as url, trio.open_nursery() as nursery:
        base = f"{url}/v1"
        entries = [
            {"model": "openai/by-chat", "access_key": "k", "base_url": base, "speaks": ["chat"]},
            {"model": "anthropic/by-messages", "access_key": "k", "base_url": base, "speaks": ["messages"]},
        ]
        config = from_mapping({"version": "v0.3.0", "model_providers": entries})
        router, upstream = Router(config), Upstream()
        authenticator = Authenticator(config)
        admission = Admission(config, authenticator, Shares())
        service = Service(
            router, upstream, Lifecycle(), ServiceSettings(Limits(), 15.0, strict), authenticator, admission
        )
        record = Record("req_1", "chat")
        scope = RequestScope(nursery, "req_1")
        yield Stage(Exchange(service, "chat", ClientRequest((), ""), scope, record), router)
        await upstream.aclose()
        nursery.cancel_scope.cancel()


def answer(api: str, *, stream: bool = False) -> tuple[int, bytes]:
    return 200, b"".join(render(SCRIPT, api, {"stream": stream, "model": "up"}).pieces)


async def test_each_attempt_is_prepared_for_its_own_target():
    providers = Providers({"/v1/chat/completions": DOWN, "/v1/messages": answer("messages")})
    async with open_stage(providers) as stage:
        walk = await stage.walk(["by-chat", "by-messages"])
        assert stage.context.record.lane == "byte"
        found = await stage.exchange.read_unchanged(walk)
    assert found.response.status == 200
    assert [(path, body["model"]) for path, body in providers.asked] == [
        ("/v1/chat/completions", "by-chat"),
        ("/v1/messages", "by-messages"),
    ]
    assert "max_tokens" in providers.asked[1][1], "Messages cannot do without"
    assert (walk.target_request.target.model, stage.context.record.lane) == ("by-messages", "hub")
    assert stage.context.record.attempts == 2


async def test_the_error_of_the_attempt_that_the_policy_gives_up_with_is_raised():
    down = {"/v1/chat/completions": DOWN, "/v1/messages": (404, b'{"type": "error", "error": {"message": "gone"}}')}
    providers = Providers(down)
    async with open_stage(providers) as stage:
        walk = await stage.walk(["by-chat", "by-messages"])
        with pytest.raises(GatewayError) as raised:
            await stage.exchange.read_unchanged(walk)
    assert (raised.value.info.status, raised.value.info.message) == (404, "gone")
    assert len(providers.asked) == 2


async def test_a_plan_may_be_walked_once_only():
    providers = Providers({"/v1/chat/completions": DOWN})
    async with open_stage(providers) as stage:
        with pytest.raises(GatewayError) as raised:
            await stage.exchange.read_unchanged(await stage.walk(["by-chat", "by-messages"], send_once))
    assert raised.value.info.status == 503
    assert json.loads(raised.value.info.body)["error"]["message"] == "try later", "the provider's own"
    assert providers.paths == ["/v1/chat/completions"]


async def test_a_target_that_strict_mode_forbids_is_an_outcome():
    providers = Providers({"/v1/chat/completions": answer("chat")})
    async with open_stage(providers, strict=True) as stage:
        walk = await stage.walk(["by-messages", "by-chat"], logit_bias={"1": 1})
        await stage.exchange.read_unchanged(walk)
    assert providers.paths == ["/v1/chat/completions"]
    assert stage.context.record.dropped == (), "of what was sent nothing was lost"


async def test_strict_mode_names_the_loss_if_no_target_is_left():
    async with open_stage(Providers({}), strict=True) as stage:
        with pytest.raises(GatewayError, match="logit_bias"):
            await stage.walk(["by-messages"], logit_bias={"1": 1})
    assert "logit_bias" in stage.context.record.dropped


async def test_a_stream_takes_its_lane_from_the_attempt_that_answers():
    providers = Providers({"/v1/chat/completions": DOWN, "/v1/messages": answer("messages", stream=True)})
    async with open_stage(providers) as stage:
        walk = await stage.walk(["by-chat", "by-messages"], stream=True)
        scope, first_lane = stage.exchange.scope, await make_first_lane(walk)
        body = await StreamedAnswer(stage.context, walk, scope, Audience.CLIENT, first_lane).begin()
        text = b"".join([data async for data in body])
    assert text.count(b'"chat.completion.chunk"') > 1
    assert text.endswith(b"data: [DONE]\n\n"), "in the client's words"
    assert b"message_stop" not in text
    assert providers.paths == ["/v1/chat/completions", "/v1/messages"]


async def test_the_text_of_a_request_is_released_once_an_attempt_commits():
    async with open_stage(Providers({"/v1/chat/completions": answer("chat")})) as stage:
        walk = await stage.walk(["by-chat"], metadata={"note": "x" * SMALL_TEXT})
        await stage.exchange.read_unchanged(walk)
        walk.release()
    held = (
        walk.request.incoming.body,
        walk.target_request.request.incoming.body,
        walk.target_request.prepared.outgoing.body,
    )
    assert held == (b"", b"", b"")


async def test_a_mistake_of_our_own_is_put_on_record_as_one_and_leaves_nothing_open():
    async with open_stage(Providers({})) as stage:
        walk = await stage.walk(["by-chat", "by-messages"])

        class Crashes(UnchangedAnswer):
            async def begin(self) -> None:
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await walk.run(partial(Crashes, stage.exchange.scope))
        counts, target = stage.context.service.balancer.loads.counts, walk.target_request.target
    assert [one.reason for one in stage.context.record.bill.attempt_records] == ["internal"]
    assert counts.count(target.identity.place) == 0
