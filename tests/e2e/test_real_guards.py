"""Real guards as steps: Presidio's analyzer, and a guard with LiteLLM's own classes, in every API."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.guard_programs import litellm_guard, presidio_analyzer
from tests.support.harness import Gateway
from tests.support.step_gateway import client_keys, own_steps, post_as, step_gateway
from tests.support.step_providers import entries_of
from tests.support.upstreams import Script
from tests.support.wire_clients import ALL, body_of, path_of, text_of, with_tool

pytestmark = pytest.mark.process

cells = pytest.mark.parametrize(("api", "stream"), [(api, stream) for api in ALL for stream in (False, True)])
some_cells = pytest.mark.parametrize(("api", "stream"), [(api, at % 2 == 0) for at, api in enumerate(ALL)])
BOTH: Final = ["request", "response"]


def serving(upstream: Any, folder: Path, use: str, url: str, steps: dict[str, dict[str, Any]]) -> Any:
    """Return a gateway in which each step, with the guard at ``url``, checks the client of its name."""
    own = own_steps({name: {"deadline": "20s", "with": {"url": url}, **more} for name, more in steps.items()}, use)
    return step_gateway(folder, entries_of(upstream.url), client_keys=client_keys(steps), steps=own)


def ask(gateway: Gateway, client: str, api: str, prompt: str, *, stream: bool) -> Any:
    body = with_tool(api, body_of(api, f"on-{api}", prompt, stream=stream))
    return post_as(gateway, client, path_of(api, f"on-{api}", stream=stream), body)


@pytest.fixture(scope="module")
def guard_gateway(upstream, tmp_path_factory) -> Iterator[Gateway]:
    with litellm_guard() as url:
        steps = {
            "guard": {"at": BOTH, "with": {"url": url, "params": {"threshold": 0.5}}},
            "window": {"at": BOTH, "hold": 12},
            "during": {"at": ["during"]},
        }
        with serving(upstream, tmp_path_factory.mktemp("steps"), "http", url, steps) as served:
            yield served


@pytest.mark.soak
@cells
@pytest.mark.parametrize("client", ["guard", "window"])
def test_litellms_contract_masks_requests_and_responses(guard_gateway, upstream, client, api, stream):
    upstream.script(Script(text="it is falcon-77 today, and more words follow"))
    status, _, body = ask(guard_gateway, client, api, "about falcon-12 now", stream=stream)
    assert status == 200, body
    assert text_of(api, body, stream=stream) == "it is <HIDDEN> today, and more words follow"
    (seen,) = upstream.seen
    assert b"about <HIDDEN> now" in seen.body
    assert b"falcon" not in seen.body


@some_cells
def test_litellms_contract_refuses_requests_and_responses(guard_gateway, upstream, api, stream):
    for client, moment in (("guard", "request"), ("during", "request"), ("guard", "response"), ("window", "response")):
        upstream.script(Script(text="forbidden words" if moment == "response" else "fine"))
        prompt = "a forbidden question" if moment == "request" else "hi"
        status, headers, body = ask(guard_gateway, client, api, prompt, stream=stream)
        assert (status, headers["x-trigate-refused-by"]) == (400, client), (client, moment, body)
        assert b"falcon" not in body
        assert b"forbidden" not in body


@pytest.fixture(scope="module")
def analyzer_gateway(upstream, tmp_path_factory) -> Iterator[Gateway]:
    action = {"EMAIL_ADDRESS": "mask", "CREDIT_CARD": "mask", "US_SSN": "refuse"}
    with presidio_analyzer() as url:
        steps = {"both": {"action": action, "at": BOTH}}
        with serving(upstream, tmp_path_factory.mktemp("steps"), "presidio", url, steps) as served:
            yield served


MAIL: Final = "ann@example.com"
CARD: Final = "4111 1111 1111 1111"


@some_cells
def test_presidio_masks_and_refuses(analyzer_gateway, upstream, api, stream):
    upstream.script(Script(text=f"🙂 write to {MAIL}, and pay with {CARD}, please"))
    status, _, body = ask(analyzer_gateway, "both", api, f"🙂 I am {MAIL}, my card is {CARD}", stream=stream)
    assert status == 200, body
    hidden = re.sub(r"_[0-9a-f]{10,}\]", "]", text_of(api, body, stream=stream))
    assert hidden == "🙂 write to [EMAIL_ADDRESS], and pay with [CREDIT_CARD], please"
    (seen,) = upstream.seen
    assert b"[EMAIL_ADDRESS_" in seen.body
    assert b"[CREDIT_CARD_" in seen.body
    assert not re.search(rb"example\.com|4111", seen.body)
    assert not re.search(r"example\.com|4111", "\n".join(analyzer_gateway.log))
    status, headers, body = ask(analyzer_gateway, "both", api, "my ssn is 219-09-9999", stream=stream)
    assert (status, headers["x-trigate-refused-by"], b"219" in body) == (400, "both", False), body
    assert len(upstream.seen) == 1
