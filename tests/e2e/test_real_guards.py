"""Real guards as steps: Presidio's analyzer and a guard with LiteLLM's own classes, in every API, streamed and whole,
and what clients get if a guard lies, hangs, dies or returns garbage."""

import os
import re
import signal
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.support.gateway_thread import gateway_thread
from tests.support.guard_programs import Guard, litellm_guard, presidio_analyzer
from tests.support.harness import Gateway, Reply, config, provider
from tests.support.step_providers import BASES, VENDORS
from tests.support.upstreams import Script
from tests.support.wire_clients import ALL, body_of, path_of, text_of, with_tool

pytestmark = pytest.mark.process

cells = pytest.mark.parametrize(("api", "stream"), [(api, stream) for api in ALL for stream in (False, True)])
some_cells = pytest.mark.parametrize(("api", "stream"), [(api, at % 2 == 0) for at, api in enumerate(ALL)])
FAULTS: Final = ("hang", "garbage", "lie", "other")


def step(name: str, guard: Guard, use: str = "http", params: Any = None, **more: Any) -> dict[str, Any]:
    settings = {"url": guard.url} | ({"params": params} if params else {})
    return {"use": use, "name": name, "for": {"clients": [name]}, "with": settings, "deadline": "10s", **more}


def late(mode: str) -> dict[str, Any]:
    """Return a short deadline for a guard that hangs."""
    return {"deadline": "300ms"} if mode == "hang" else {}


def serving(upstream: Any, steps: list[dict[str, Any]]) -> Any:
    """Return a gateway in which each step checks the client of its name."""
    entries = [
        provider(f"{VENDORS[api]}/on-{api}", upstream.url + BASES.get(api, "/v1"), [api], name=f"on-{api}")
        for api in ALL
    ]
    keys = [{"name": name, "key": key_of(name)} for name in [one["name"] for one in steps] + ["free"]]
    key = "c2lnbmluZy1rZXktZm9yLXRlc3RzLTAxMjM0NTY3ODk="
    return gateway_thread(config(entries, client_keys=keys, steps=steps, signing_key=key), check_streams=True)


def key_of(client: str) -> str:
    return f"key-of-{client}-0123456789"


def ask(gateway: Gateway, client: str, api: str, prompt: str, *, stream: bool) -> Reply:
    headers = {"authorization": f"Bearer {key_of(client)}"}
    body = with_tool(api, body_of(api, f"on-{api}", prompt, stream=stream))
    return gateway.request("POST", path_of(api, f"on-{api}", stream=stream), body, headers)


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    with litellm_guard() as served:
        yield served


@pytest.fixture(scope="module")
def guard_gateway(upstream, guard) -> Iterator[Gateway]:
    steps = [
        step("guard", guard, at=["request", "response"], params={"mode": "masking"}),
        step("window", guard, at=["request", "response"], hold=12),
        step("returning", guard, at=["request"], restore=True),
        step("during", guard, at=["during"]),
        step("die", guard, params={"mode": "die"}),
        *(step(mode, guard, params={"mode": mode}, **late(mode)) for mode in FAULTS),
        *(step(f"{mode}-response", guard, params={"mode": mode}, at=["response"], **late(mode)) for mode in FAULTS),
        *(step(f"{mode}-pass", guard, params={"mode": mode}, unchecked="pass", **late(mode)) for mode in FAULTS),
    ]
    with serving(upstream, steps) as served:
        yield served


@pytest.mark.soak
@cells
@pytest.mark.parametrize("client", ["guard", "window"])
def test_litellms_contract_masks_requests_and_responses(guard_gateway, upstream, client, api, stream):
    upstream.script(Script(text="it is falcon-77 today, and more words follow"))
    reply = ask(guard_gateway, client, api, "about falcon-12 now", stream=stream)
    assert reply.status == 200, reply.body
    assert text_of(api, reply.body, stream=stream) == "it is <HIDDEN> today, and more words follow"
    (seen,) = upstream.seen
    assert b"about <HIDDEN> now" in seen.body
    assert b"falcon" not in seen.body


@some_cells
def test_litellms_contract_refuses_requests_and_responses(guard_gateway, upstream, api, stream):
    for client, moment in (("guard", "request"), ("during", "request"), ("guard", "response"), ("window", "response")):
        upstream.script(Script(text="forbidden words" if moment == "response" else "fine"))
        prompt = "a forbidden question" if moment == "request" else "hi"
        reply = ask(guard_gateway, client, api, prompt, stream=stream)
        assert (reply.status, reply.headers["x-trigate-refused-by"]) == (400, client), (client, moment, reply.body)
        assert b"falcon" not in reply.body
        assert b"forbidden" not in reply.body


@pytest.mark.soak
@cells
def test_words_that_the_guard_hides_return(guard_gateway, upstream, api, stream):
    upstream.script(Script(text="fine"))
    ask(guard_gateway, "returning", api, "about falcon-12 now", stream=stream)
    found = re.search(r"\[MASKED_[0-9a-f]+\]", upstream.seen[0].body.decode())
    assert found is not None
    upstream.script(Script(text=f"you asked about {found[0]}."))
    reply = ask(guard_gateway, "returning", api, "about falcon-12 now", stream=stream)
    assert text_of(api, reply.body, stream=stream) == "you asked about falcon-12."
    assert b"falcon" not in upstream.seen[0].body


@pytest.mark.soak
@cells
@pytest.mark.parametrize("fault", FAULTS)
def test_a_guard_that_fails_harms_only_requests_that_it_must_check(guard_gateway, upstream, fault, api, stream):
    clients = [fault, f"{fault}-response", f"{fault}-pass"]
    for client in clients:
        upstream.script(Script(text="it is falcon-77"))
        reply = ask(guard_gateway, client, api, "about falcon-12", stream=stream)
        if client.endswith("pass"):
            assert reply.status == 200, reply.body
            assert text_of(api, reply.body, stream=stream) == "it is falcon-77"
        else:
            assert reply.status == 503, reply.body
            assert b"step_unavailable" in reply.body
            assert b"falcon" not in reply.body
            assert "retry-after" in reply.headers
            assert len(upstream.seen) == client.endswith("response")
    assert "falcon" not in "\n".join(guard_gateway.log)


@pytest.mark.soak
def test_a_guard_that_dies_or_stops_delays_only_its_own_requests(guard_gateway, upstream, guard):
    upstream.script(*[Script(text="fine")] * 2)
    assert ask(guard_gateway, "die", "chat", "hi", stream=True).status == 503
    assert ask(guard_gateway, "guard", "chat", "hi", stream=True).status == 503
    assert ask(guard_gateway, "free", "chat", "hi", stream=True).status == 200
    assert len(upstream.seen) == 1
    guard.start()
    assert ask(guard_gateway, "guard", "chat", "hi", stream=True).status == 200
    os.kill(guard.pid, signal.SIGSTOP)
    try:
        upstream.script(Script(text="fine"))
        assert ask(guard_gateway, "hang", "chat", "hi", stream=True).status == 503
        assert ask(guard_gateway, "free", "chat", "hi", stream=True).status == 200
    finally:
        os.kill(guard.pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def analyzer() -> Iterator[Guard]:
    with presidio_analyzer() as served:
        yield served


@pytest.fixture(scope="module")
def analyzer_gateway(upstream, analyzer) -> Iterator[Gateway]:
    action = {"EMAIL_ADDRESS": "mask", "CREDIT_CARD": "mask", "US_SSN": "refuse"}
    steps = [
        step("both", analyzer, "presidio", action=action, at=["request", "response"], deadline="20s"),
        step("returning", analyzer, "presidio", action=action, restore=True, deadline="20s"),
    ]
    with serving(upstream, steps) as served:
        yield served


MAIL: Final = "ann@example.com"
CARD: Final = "4111 1111 1111 1111"


@some_cells
def test_presidio_masks_requests_and_responses(analyzer_gateway, upstream, api, stream):
    upstream.script(Script(text=f"🙂 write to {MAIL}, and pay with {CARD}, please"))
    reply = ask(analyzer_gateway, "both", api, f"🙂 I am {MAIL}, my card is {CARD}", stream=stream)
    assert reply.status == 200, reply.body
    hidden = re.sub(r"_[0-9a-f]{10,}\]", "]", text_of(api, reply.body, stream=stream))
    assert hidden == "🙂 write to [EMAIL_ADDRESS], and pay with [CREDIT_CARD], please"
    (seen,) = upstream.seen
    assert b"[EMAIL_ADDRESS_" in seen.body
    assert b"[CREDIT_CARD_" in seen.body
    assert not re.search(rb"example\.com|4111", seen.body)
    assert not re.search(r"example\.com|4111", "\n".join(analyzer_gateway.log))


@pytest.mark.soak
@cells
def test_presidio_refuses_what_it_must(analyzer_gateway, upstream, api, stream):
    upstream.script(Script(text="fine"))
    reply = ask(analyzer_gateway, "both", api, "my ssn is 219-09-9999", stream=stream)
    assert (reply.status, reply.headers["x-trigate-refused-by"]) == (400, "both"), reply.body
    assert b"219" not in reply.body
    assert not upstream.seen


@pytest.mark.soak
@cells
def test_values_that_presidio_finds_return(analyzer_gateway, upstream, api, stream):
    upstream.script(Script(text="fine"))
    ask(analyzer_gateway, "returning", api, f"I am {MAIL}", stream=stream)
    found = re.search(r"\[EMAIL_ADDRESS_[0-9a-f]+\]", upstream.seen[0].body.decode())
    assert found is not None
    upstream.script(Script(text=f"Hello {found[0]}!"))
    reply = ask(analyzer_gateway, "returning", api, f"I am {MAIL}", stream=stream)
    assert text_of(api, reply.body, stream=stream) == f"Hello {MAIL}!"
