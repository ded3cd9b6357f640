"""Tests that stored responses and conversations outlive the process, and are the same in every worker."""

import base64
import os
import signal
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import yaml

from tests.support.command_line import running_command
from tests.support.harness import eventually, free_port, running
from tests.support.processes import peers, stop, workers
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


class Crew:
    """Two workers, and an SDK that opens a connection for each request; ``met`` has the worker of each request."""

    def __init__(self, url: str, supervisor: int) -> None:
        self.port = int(url.rpartition(":")[2])
        self.pids: Set[int] = eventually(lambda: len(found := workers(supervisor)) == 2 and found, 15, "two workers")
        self.met: list[int] = []
        plain = httpx2.Client(
            verify=False, trust_env=False, event_hooks={"response": [self._note]},
            limits=httpx2.Limits(max_keepalive_connections=0),
        )  # fmt: skip
        self.sdk = openai.OpenAI(api_key="test-key", base_url=f"{url}/v1", max_retries=0, timeout=20, http_client=plain)

    def _note(self, response: httpx2.Response) -> None:
        """Record the worker of the response: its connection is still open."""
        client = response.extensions["network_stream"].get_extra_info("client_addr")[1]
        self.met += [pid for pid in self.pids if client in peers(pid, self.port)]

    def only(self, pid: int) -> None:
        """Let no other worker accept anything."""
        os.kill(pid, signal.SIGCONT)
        for other in self.pids - {pid}:
            stop(other)

    def resume_all(self) -> None:
        for pid in self.pids:
            os.kill(pid, signal.SIGCONT)


STORES: dict[str, dict[str, Any]] = {"default": {}, "memory": {"state_storage": {"type": "memory"}}}


@pytest.fixture(params=STORES)
def crew(request, upstream, tmp_path) -> Iterator[Crew]:
    file = tmp_path / "trigate.yaml"
    file.write_text(yaml.safe_dump(settings(upstream, 1) | STORES[request.param]))
    with running_command("serve", str(file), "--workers", "2", "--port", "0") as process:
        found = Crew(process.url, process.process.pid)
        with found.sdk:
            try:
                yield found
            finally:
                print(*process.log, sep="\n")  # pytest prints this if a test fails
                found.resume_all()


@NEEDS_PROC
@pytest.mark.parametrize(
    ("crew", "api"),
    [("default", "chat"), pytest.param("memory", "messages", marks=pytest.mark.soak)],
    indirect=["crew"],
)
def test_each_worker_continues_from_what_another_has_stored(crew, upstream, api):
    one, other = sorted(crew.pids)
    previous = None
    for i in range(3):
        here, there = (one, other) if i % 2 else (other, one)
        crew.only(here)
        talk = Talk(crew.sdk, i % 3 == 0)
        response = say(talk, upstream, api, i, previous_response_id=previous)
        previous, events = response.id, talk.again(response.id)
        crew.only(there)
        assert is_unchanged(crew.sdk, response, events)
        assert crew.met[-4:] == [here, here, there, there]
