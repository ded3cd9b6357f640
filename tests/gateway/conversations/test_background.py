"""Which turns are left to run without their client, and what becomes of them where no state is kept."""

import pytest
import trio

from gateway.conversations.background import BackgroundTurn, NoBackground
from gateway.conversations.local_turn import LocalTurn
from gateway.conversations.provider_turn import ProviderTurn
from gateway.conversations.recorder import UNRECORDED
from gateway.conversations.resolved import StateOptions
from gateway.http.request_scope import RequestScope
from gateway.http.response import Response
from gateway.stores.memory import MemoryStore
from providers.apis import CODECS
from providers.neutral.codec import Reply
from providers.neutral.seal import Issuer
from providers.responses.output import ResponseTemplate
from streams.errors import GatewayError
from tests.support.state_endpoints import LEDGER


def local(background: bool) -> LocalTurn:
    return LocalTurn(MemoryStore(60, 10_000), "alice", StateOptions(background=background), None, b'"Hi"')


def test_a_turn_is_left_alone_only_where_its_client_asked_for_that():
    asked = local(background=True)
    assert asked.background is asked
    assert local(background=False).background is None
    assert UNRECORDED.background is None


def test_what_a_provider_runs_in_the_background_is_not_run_here():
    assert ProviderTurn(MemoryStore(60, 10_000), "alice", "openai/m", in_background=True).background is None


async def test_without_state_no_turn_begins_and_none_is_found():
    async def answer(scope: RequestScope) -> Response:
        raise AssertionError("nothing is to be asked")

    turn, background = local(background=True), NoBackground()
    call = CODECS["responses"].read_request({"model": "m", "input": "Hi"})
    head = ResponseTemplate.of(turn.reply(Reply(call, Issuer("provider", ""), 1_700_000_000)))
    record = LEDGER.open("background", "responses")
    async with trio.open_nursery() as nursery:
        scope = RequestScope(nursery, "asked")
        with pytest.raises(GatewayError, match="this gateway keeps no state") as caught:
            await background.start(BackgroundTurn("alice", scope, turn, head, record, answer))
    assert (caught.value.failed.status, caught.value.failed.param) == (400, "background")
    assert background.follow("alice", turn.id, -1, 15.0) is None
    assert background.running == 0
