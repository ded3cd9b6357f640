"""Clients add checks to their own requests, and can remove none, at conversations and other endpoints.

LiteLLM's form: https://docs.litellm.ai/docs/proxy/guardrails/quick_start. Bypasses by the body of a request:
https://github.com/BerriAI/litellm/issues/33944."""

import contextlib
from typing import Any, Final

import httpx2

from tests.support import word_steps
from tests.support.each_row import each_row
from tests.support.endpoint_provider import ReceivedRequest, ScriptedAnswer, endpoint_provider, json_answer, settings
from tests.support.features import members_of, needs_feature
from tests.support.in_process import gateway
from tests.support.upstreams import Script, render

STEPS: Final[list[dict[str, Any]]] = [
    {"use": "tests.support.word_steps:words", "name": name, "for": scope}
    for name, scope in (
        ("words", {"on_request": True, "models": ["m-1", "always"]}),
        ("others", {"on_request": True, "models": ["other"]}), ("always", {"models": ["always"]}),
    )
]  # fmt: skip
VECTORS: Final = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
                  "usage": {"prompt_tokens": 1, "total_tokens": 1}}  # fmt: skip
HI: Final = [{"role": "user", "content": "hi"}]
REQUESTS: Final[dict[str, tuple[str, str, Any]]] = {
    "embeddings": ("POST", "/v1/embeddings", {"json": {"model": "m-1", "input": "falcon-12"}}),
    "completions": ("POST", "/v1/completions", {"json": {"model": "m-1", "prompt": "falcon-12"}}),
    "moderations": ("POST", "/v1/moderations", {"json": {"model": "m-1", "input": "falcon-12"}}),
    "images": ("POST", "/v1/images/generations", {"json": {"model": "m-1", "prompt": "falcon-12"}}),
    "transcriptions": (
        "POST", "/v1/audio/transcriptions",
        {"files": {"file": ("a.wav", b"RIFF", "audio/wav")}, "data": {"model": "m-1", "prompt": "falcon-12"}},
    ),
    **members_of("files", files=("GET", "/v1/files", {})),
    **members_of("pass_through", passed=("GET", "/openai/v1/anything", {})),
    "chat": (
        "POST", "/v1/chat/completions",
        {"json": {"model": "m-1", "messages": [{"role": "user", "content": "falcon-12"}]}},
    ),
    "token counts": (
        "POST", "/v1/messages/count_tokens",
        {"json": {"model": "m-1", "messages": [{"role": "user", "content": "a"}]}},
    ),
}  # fmt: skip


def respond(asked: ReceivedRequest) -> ScriptedAnswer:
    if not asked.path.endswith("/chat/completions"):
        return json_answer({**VECTORS, "choices": []})
    made = render(Script(text="fine"), "chat", asked.json)
    return ScriptedAnswer(made.pieces, headers=made.headers)


@contextlib.asynccontextmanager
async def serving(*steps: dict[str, Any]):
    word_steps.seen.clear()
    async with endpoint_provider(respond) as provider:
        entries = [
            {"model": "openai/m-1", "name": name, "access_key": "k", "base_url": f"{provider.url}/v1"}
            for name in ("m-1", "always", "other")
        ]
        entries[0] |= members_of("pass_through", passthrough=True)
        more = {"steps": list(steps)} if steps else {}
        content = {**settings(*entries), **members_of("client_routing", client_routing=["litellm"]), **more}
        async with gateway(content) as served:
            yield served, provider


async def send(served: Any, name: str, header: str | None = None, **members: Any) -> httpx2.Response:
    method, path, content = REQUESTS[name]
    if members:
        content = {"json": {**content["json"], **members}}
    headers = {} if header is None else {"x-trigate-steps": header}
    async with httpx2.AsyncClient(base_url=served.url, verify=False, trust_env=False, timeout=20) as client:
        return await client.request(method, path, headers=headers, **content)


@needs_feature("other_endpoints")
@each_row("name", REQUESTS, every=3)
@each_row("steps", [(), STEPS])
async def test_an_unknown_name_is_a_400_at_every_endpoint(name, steps):
    async with serving(*steps) as (served, provider):
        reply = await send(served, name, "missing")
        assert reply.status_code == 400
        assert "x-trigate-steps: there is no step 'missing' for this client" in reply.text
        assert not provider.asked


@needs_feature("other_endpoints")
@needs_feature("client_routing")
@each_row("name", ["embeddings", "completions", "moderations", "images", "chat"], every=2)
async def test_a_requested_step_checks_other_endpoints_too(name):
    async with serving(*STEPS) as (served, provider):
        assert (await send(served, name)).status_code == 200
        sent = len(provider.asked)
        for reply in (
            await send(served, name, "words"),
            await send(served, name, guardrails=["words"]),
            await send(served, name, guardrails=[{"words": {}}]),
        ):
            assert (reply.status_code, reply.headers["x-trigate-refused-by"]) == (400, "words")
        assert len(provider.asked) == sent
        unknown = await send(served, name, guardrails=["missing"])
        assert unknown.status_code == 400
        assert "guardrails[0]: there is no step 'missing'" in unknown.text


@needs_feature("other_endpoints")
@needs_feature("client_routing")
@each_row(
    ("name", "text", "sent"),
    [
        ("embeddings", {"input": "fine"}, {"model": "m-1", "input": "fine"}),
        ("chat", {"messages": HI}, {"model": "m-1", "messages": HI}),
    ],
)
async def test_the_names_in_a_body_do_not_reach_the_provider(name, text, sent):
    async with serving(*STEPS) as (served, provider):
        reply = await send(served, name, **text, guardrails=["words"])
        assert reply.status_code == 200
        assert provider.asked[0].json == sent


@needs_feature("client_routing")
@each_row(
    ("header", "members", "message"),
    [
        ("words, missing", {}, "x-trigate-steps: there is no step 'missing' for this client"),
        ("others", {}, "x-trigate-steps: there is no step 'others' for this client"),
        (",", {}, "x-trigate-steps must have at least one step"),
        (None, {"guardrails": "words"}, "guardrails must be a list of names"),
        (None, {"guardrails": [{"words": {"extra_body": {"score": 1}}}]}, "clients cannot set parameters of a step"),
    ],
)
async def test_another_mistake_in_the_names_is_one_of_the_request(header, members, message):
    async with serving(*STEPS) as (served, provider):
        reply = await send(served, "chat", header, messages=HI, **members)
        assert reply.status_code == 400
        assert message in reply.text
        assert not provider.asked


@needs_feature("other_endpoints")
@needs_feature("client_routing")
@each_row("name", ["chat", "embeddings"])
@each_row(
    ("header", "members"),
    [("", {}), ("words", {}), (None, {"steps": [], "metadata": {"guardrails": []}}),
     *((None, {"guardrails": names}) for names in ([], ["words"], None))],
)  # fmt: skip
async def test_no_member_or_header_of_a_client_removes_a_step(name, header, members):
    async with serving(*STEPS) as (served, provider):
        reply = await send(served, name, header, **{"model": "always", **members})
        assert reply.status_code == 400
        assert reply.headers.get("x-trigate-refused-by") in ("always", "words") or header == ""
        assert not provider.asked
