"""Steps that clients request at endpoints besides conversations, and where no steps are configured."""

import contextlib
from typing import Any, Final

import httpx2

from tests.support import word_steps
from tests.support.each_row import each_row
from tests.support.endpoint_provider import endpoint_provider, json_answer, settings
from tests.support.in_process import gateway

STEP: Final = {
    "use": "tests.support.word_steps:words", "name": "words", "for": {"on_request": True, "models": ["m-1"]},
}  # fmt: skip
VECTORS: Final = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
                  "usage": {"prompt_tokens": 1, "total_tokens": 1}}  # fmt: skip
REQUESTS: Final[dict[str, tuple[str, str, Any]]] = {
    "embeddings": ("POST", "/v1/embeddings", {"json": {"model": "m-1", "input": "falcon-12"}}),
    "completions": ("POST", "/v1/completions", {"json": {"model": "m-1", "prompt": "falcon-12"}}),
    "moderations": ("POST", "/v1/moderations", {"json": {"model": "m-1", "input": "falcon-12"}}),
    "images": ("POST", "/v1/images/generations", {"json": {"model": "m-1", "prompt": "falcon-12"}}),
    "transcriptions": (
        "POST", "/v1/audio/transcriptions",
        {"files": {"file": ("a.wav", b"RIFF", "audio/wav")}, "data": {"model": "m-1", "prompt": "falcon-12"}},
    ),
    "files": ("GET", "/v1/files", {}),
    "pass-through": ("GET", "/openai/v1/anything", {}),
    "chat": (
        "POST", "/v1/chat/completions", {"json": {"model": "m-1", "messages": [{"role": "user", "content": "a"}]}},
    ),
    "token counts": (
        "POST", "/v1/messages/count_tokens",
        {"json": {"model": "m-1", "messages": [{"role": "user", "content": "a"}]}},
    ),
}  # fmt: skip


@contextlib.asynccontextmanager
async def serving(*steps: dict[str, Any]):
    word_steps.seen.clear()
    async with endpoint_provider(lambda asked: json_answer(VECTORS)) as provider:
        entry = {"model": "openai/m-1", "name": "m-1", "access_key": "k", "base_url": f"{provider.url}/v1"}
        more = {"steps": list(steps)} if steps else {}
        async with gateway(
            {**settings({**entry, "passthrough": True}), "client_routing": ["litellm"], **more}
        ) as served:
            yield served, provider


async def send(served: Any, name: str, header: str | None = None, **members: Any) -> httpx2.Response:
    method, path, content = REQUESTS[name]
    if members:
        content = {"json": {**content["json"], **members}}
    headers = {} if header is None else {"x-trigate-steps": header}
    async with httpx2.AsyncClient(base_url=served.url, verify=False, trust_env=False, timeout=20) as client:
        return await client.request(method, path, headers=headers, **content)


@each_row("name", REQUESTS, every=3)
@each_row("steps", [(), (STEP,)])
async def test_an_unknown_name_is_a_400_at_every_endpoint(name, steps):
    async with serving(*steps) as (served, provider):
        reply = await send(served, name, "missing")
        assert reply.status_code == 400
        assert "x-trigate-steps: there is no step 'missing' for this client" in reply.text
        assert not provider.asked


@each_row("name", ["embeddings", "completions", "moderations", "images"], every=2)
async def test_a_requested_step_checks_other_endpoints_too(name):
    async with serving(STEP) as (served, provider):
        assert (await send(served, name)).status_code == 200
        sent = len(provider.asked)
        for reply in (await send(served, name, "words"), await send(served, name, guardrails=["words"])):
            assert (reply.status_code, reply.headers["x-trigate-refused-by"]) == (400, "words")
        assert len(provider.asked) == sent
        unknown = await send(served, name, guardrails=["missing"])
        assert unknown.status_code == 400
        assert "guardrails[0]: there is no step 'missing'" in unknown.text


async def test_the_names_in_a_body_do_not_reach_the_provider():
    async with serving(STEP) as (served, provider):
        reply = await send(served, "embeddings", input="fine", guardrails=["words"])
        assert reply.status_code == 200
        assert provider.asked[0].json == {"model": "m-1", "input": "fine"}
