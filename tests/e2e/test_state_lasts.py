"""Tests that stored responses and conversations outlive the process, and are the same in every worker."""

import base64
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.support.harness import eventually, free_port, running
from tests.support.processes import stop, workers
from tests.support.sdk_conversation import TURNS, Talk, as_heard, conversation_in, openai_client, settings
from tests.support.upstreams import Upstream

pytestmark = pytest.mark.process

SHARED = ("sqlite encrypted", "postgres")
KEY = base64.b64encode(bytes(range(32))).decode()
NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found in Linux's /proc")


@pytest.mark.parametrize(
    ("store", "more", "apis"),
    [
        pytest.param("sqlite", {"encryption_key": KEY}, ("chat", "responses"), marks=pytest.mark.soak),
        ("postgres", {}, ("messages", "responses")),
    ],
    ids=SHARED,
)
def test_stored_turns_are_unchanged_after_a_restart(upstream, storage, store, more, apis):
    """Stored turns are the same for each API of a provider."""
    place, port = {**storage(store), **more}, free_port()
    chains: dict[str, tuple[Any, list[Any]]] = {}
    conversations: dict[str, str] = {}
    for some in (range(2), range(2, 5)):
        with (
            running(settings(upstream, port, state_storage=place), port) as gateway,
            openai_client(gateway.url) as sdk,
        ):
            assert all(is_unchanged(sdk, *chain) for chain in chains.values())
            for api in apis:
                for i in some:
                    talk = Talk(sdk, i % 2 == 1)
                    previous = chains[api][0].id if api in chains else None
                    response = say(talk, upstream, api, i, previous_response_id=previous)
                    chains[api] = (response, talk.again(response.id))
                    if api not in conversations:
                        conversations[api] = sdk.conversations.create().id
                    say(talk, upstream, api, i, conversation=conversations[api])
    assert len(chains) == len(conversations) == 2


def say(talk: Talk, upstream: Upstream, api: str, i: int, **where: str | None) -> Any:
    """Send turn number ``i``, check that the provider gets all earlier turns, and return the answer."""
    turn = TURNS[i]
    upstream.script(turn.answer)
    response = talk.ask(api, turn.input, **where, **turn.more)
    said = [line for earlier in TURNS[:i] for line in (*earlier.asked, *earlier.conversation_in)] + [*turn.asked]
    assert conversation_in(upstream.seen[0]) == [*turn.system, *as_heard(api, said)]
    return response


def is_unchanged(sdk: openai.OpenAI, response: Any, events: list[Any]) -> bool:
    middle = len(events) // 2
    again = list(sdk.responses.retrieve(response.id, stream=True, starting_after=middle))
    return sdk.responses.retrieve(response.id) == response and again == events[middle + 1 :]


# Workers


@contextlib.contextmanager
def pause_process(pid: int) -> Iterator[None]:
    """Let only the other worker accept connections."""
    stop(pid)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@NEEDS_PROC
@pytest.mark.parametrize(
    ("more", "api"),
    [({}, "chat"), pytest.param({"state_storage": {"type": "memory"}}, "messages", marks=pytest.mark.soak)],
    ids=["default", "memory"],
)
def test_each_worker_continues_from_what_another_has_stored(upstream, more, api):
    with running(settings(upstream, 0) | more, 0, "--workers", "2") as gateway:
        one, other = eventually(lambda: len(found := workers(gateway.pid)) == 2 and found, 15, "two workers")
        previous = None
        for i in range(3):
            here, there = (one, other) if i % 2 else (other, one)
            with pause_process(there), openai_client(gateway.url) as sdk:
                talk = Talk(sdk, i % 3 == 0)
                response = say(talk, upstream, api, i, previous_response_id=previous)
                previous, events = response.id, talk.again(response.id)
            with pause_process(here), openai_client(gateway.url) as sdk:
                assert is_unchanged(sdk, response, events)
