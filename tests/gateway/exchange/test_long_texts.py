"""Requests with one very long text: searches in it leave the event loop free."""

import pytest

from tests.support.gateway_thread import gateway_thread
from tests.support.harness import config, provider
from tests.support.loop_steps import check_steps
from tests.support.upstreams import PATHS, Script

KEYS = [{"name": name, "key": f"sk-of-{name}-which-is-long"} for name in ("alice", "bob")]
LIMITS = {"request_body": "64MiB"}


@pytest.mark.parametrize("api", ["chat", pytest.param("messages", marks=pytest.mark.soak)])
def test_a_text_of_tens_of_megabytes_is_not_searched_in_the_loop(api, upstream):
    """Ten searches for words that may begin an id took 0.6 s in one step: no stream got an event (CWE-400)."""
    settings = config([provider("openai/up", upstream.url, ["chat"])], client_keys=KEYS, limits=LIMITS)
    body = {"model": "up", "max_tokens": 9, "messages": [{"role": "user", "content": "word " * 2_000_000}]}
    with gateway_thread(settings) as gateway:
        headers = {"authorization": "Bearer sk-of-alice-which-is-long"}
        assert gateway.request("GET", "/healthz").status == 200

        def send() -> None:
            upstream.script(Script(text="hello"))
            assert gateway.request("POST", PATHS[api], body, headers).status == 200

        check_steps(gateway, send)


@pytest.mark.soak
@pytest.mark.parametrize("api", ["chat", "messages"])
def test_a_history_of_tens_of_megabytes_is_explained_outside_the_loop(api, upstream):
    """Prompts are compared after each turn, also by the second one, which continues the first (C59)."""
    settings = config([provider("openai/up", upstream.url, ["chat"])], client_keys=KEYS, limits=LIMITS)
    text = "A line of a file that a tool returned, with some words. " * 60
    talk = [{"role": ("user", "assistant")[at % 2], "content": f"{at}. {text}"} for at in range(6_001)]
    turns = [talk, [*talk, {"role": "assistant", "content": "Done."}, {"role": "user", "content": "Another file"}]]
    with gateway_thread(settings) as gateway:
        headers = {"authorization": "Bearer sk-of-alice-which-is-long"}
        assert gateway.request("GET", "/healthz").status == 200

        def send() -> None:
            for messages in turns:
                upstream.script(Script(text="hello"))
                body = {"model": "up", "max_tokens": 9, "messages": messages}
                assert gateway.request("POST", PATHS[api], body, headers).status == 200

        check_steps(gateway, send)
