"""The request bodies that the live view shows if the operator has switched on ``ui_prompts``."""

import json
from typing import Any

from gateway.features.live_view.live import LiveView
from gateway.features.live_view.prompts import EACH, MOST, KeptPrompt
from gateway.ledger.ledger import Ledger
from tests.support.each_row import each_row
from tests.support.in_process import InProcess, gateway, providers

APIS = ("chat", "messages", "responses")
SECRET = "sk-of-the-provider-0123456789"


def test_the_beginning_and_end_of_a_long_prompt_are_kept():
    prompt = KeptPrompt(b"first" + b"." * EACH + b"last")
    assert prompt.size == EACH + 9
    assert EACH <= len(prompt.body) <= EACH + 5
    assert prompt.body.startswith(b"first")
    assert prompt.body.endswith(b"last")


def test_the_client_with_the_most_bytes_loses_its_oldest_prompts():
    live_view, ledger = LiveView(), Ledger()
    live_view.keep(True, prompts=True)

    def prompt_of(client: str) -> KeptPrompt | None:
        record = ledger.open("call", "chat")
        record.client = client
        live_view.store_prompt(shown := live_view.observe(record), bytes(EACH))
        return shown.prompt

    one, *many = (prompt_of(client) for client in ("one", *["many"] * (MOST // EACH + 3)))
    assert [bool(prompt.body) for prompt in (one, *many[:5])] == [True, False, False, False, False, True]
    live_view.keep(True)
    assert not one.body


def test_requests_without_a_body_take_no_memory():
    """They need no room, so none of them made room for others."""
    live_view, ledger = LiveView(), Ledger()
    live_view.keep(True, prompts=True)
    live_view.store_prompt(shown := live_view.observe(ledger.open("call", "chat")), b"")
    assert shown.prompt is None


def config(url: str, **more: Any) -> dict[str, Any]:
    entry = {"model": "vllm/a", "name": "a", "base_url": f"{url}/v1", "access_key": SECRET, "speaks": list(APIS)}
    keys = [{"name": name, "key": f"{name}-0123456789-0123456789-0123456789"} for name in ("ann", "ben")]
    return {"version": "v0.4.0", "model_providers": [entry], "client_keys": keys, **more}


async def opened_event(running: InProcess, number: int, client: str = "ann") -> dict[str, Any]:
    """Return the first event of an opened exchange, or ``{}`` if the client cannot see the exchange."""
    reply = await running.get(f"/ui/streams/{number}", f"{client}-0123456789-0123456789-0123456789")
    lines = reply.text.split("\n")
    at = lines.index("event: opened") if reply.status_code == 200 else -1
    found: dict[str, Any] = {} if at < 0 else json.loads(lines[at + 1].removeprefix("data: "))
    return found


@each_row("stream", [True, False])
@each_row("api", APIS)
async def test_a_prompt_is_shown_if_the_operator_has_chosen_so(api, stream):
    async with providers(1) as [place], gateway(config(place.url, ui_prompts=True)) as running:
        said = {"metadata": {"note": f"my key is {SECRET}"}}
        headers = (("authorization", "Bearer ann-0123456789-0123456789-0123456789"),)
        await running.ask("a", api, stream=stream, headers=headers, **said)
        told = await opened_event(running, 1)
        asked = json.loads(told["prompt"])
        assert asked.get("input", asked.get("messages")) in ("Hi", [{"role": "user", "content": "Hi"}])
        assert SECRET not in told["prompt"], "credentials of the configuration stay hidden"
        assert told["bytes"] > 50
        assert await opened_event(running, 1, "ben") == {}, "a client sees only its own prompts"


async def test_without_that_setting_no_prompt_is_kept_or_shown_and_a_reload_drops_kept_prompts():
    async with providers(1) as [place], gateway(config(place.url)) as running:
        headers = (("authorization", "Bearer ann-0123456789-0123456789-0123456789"),)
        await running.ask("a", headers=headers)
        assert "prompt" not in await opened_event(running, 1)
        running.reload(config(place.url, ui_prompts=True))
        assert "prompt" not in await opened_event(running, 1)
        await running.ask("a", headers=headers)
        assert "prompt" in await opened_event(running, 2)
        running.reload(config(place.url))
        assert "prompt" not in await opened_event(running, 2)
