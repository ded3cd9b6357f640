"""Every client API on a hedged route before every provider API, whole and streamed: nobody notices but the log."""

import httpx2
import pytest
import trio

from tests.support.cases import case
from tests.support.harness import PATIENCE
from tests.support.in_process import gateway
from tests.support.played_provider import entry, played_provider
from tests.support.wire_clients import ALL, body_of, path_of, text_of

NEVER_OUT = {"circuit": {"failures": 1000, "error_rate": "100%"}}
COURSES = {
    "in time": {},
    "first wins": {"first": "late", "second": "silent"},
    "second wins": {"first": "silent"},
    "first fails": {"first": "busy"},
}


@pytest.mark.parametrize("course", COURSES)
@pytest.mark.parametrize("provider_api", ALL)
async def test_a_hedged_answer_is_that_of_a_lone_target(provider_api, course):
    acts, wins = COURSES[course], "second" if course in ("second wins", "first fails") else "first"
    sent = {"in time": 1, "first fails": 2}.get(course, 2)
    async with played_provider() as provider:
        entries = [entry(provider, provider_api, name) for name in ("first", "second")]
        after = "20ms" if "wins" in course else "10s"
        route = {"targets": ["first", "second"], "hedge": {"after": after, "at_most": "100%"}}
        content = {"version": "v0.4.0", "model_providers": entries, "model_aliases": {"r": route}, **NEVER_OUT}
        async with (
            gateway(content) as running,
            httpx2.AsyncClient(base_url=running.url, timeout=PATIENCE, trust_env=False) as client,
        ):
            for api in ALL:
                for stream in (False, True):
                    with case(f"{api} {'streamed' if stream else 'whole'}"):
                        provider.reset(**acts)
                        async with trio.open_nursery() as nursery:
                            nursery.start_soon(_release, provider)
                            body = body_of(api, "r", stream=stream)
                            if api == "responses":
                                body["store"] = False
                            reply = await client.post(path_of(api, "r", stream=stream), json=body)
                            nursery.cancel_scope.cancel()
                        assert reply.status_code == 200, reply.text
                        assert text_of(api, reply.content, stream=stream) == provider.text(wins)
                        assert reply.headers["x-trigate-target"].rpartition("/")[2] == wins
                        assert provider.asked.total() == sent


async def _release(provider):
    """Let a late answer go once both have been asked."""
    while provider.asked.total() < 2:  # noqa: ASYNC110  # nobody tells of it
        await trio.lowlevel.checkpoint()
    provider.released.set()
