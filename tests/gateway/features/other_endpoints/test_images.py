"""Images over real sockets, requested with OpenAI's SDK and with plain requests."""

import base64
import json
import socket
from functools import partial
from typing import Any

import httpx2
import openai
import pytest
import trio

from gateway.relay.endpoint_plans import endpoint_plan
from streams.events import Usage
from tests.support.asgi_app import eventually
from tests.support.endpoint_provider import (
    ReceivedRequest,
    ScriptedAnswer,
    before,
    endpoint_provider,
    events,
    json_answer,
)
from tests.support.in_process import InProcess
from tests.support.multipart import KIND, multipart, part
from tests.support.openai_client import openai_client
from tests.support.settled import lines, usages

ENTRY = {"name": "mine"}
PER_IMAGE = {"per": {"image": 0.04}}
MODEL = "openai/gpt-image-1"
TOLD = {
    "input_tokens": 50, "output_tokens": 4160, "total_tokens": 4210,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
}  # fmt: skip
COUNTED = Usage(input=50, output=4160, units=(("image", 1), ("input_image_token", 40)))
BOTH = Usage(input=50, output=4160, units=(("image", 2), ("input_image_token", 40)))
PICTURE = "iVBORw0KGgo" * 100


async def post(served: InProcess, path: str, **sent: Any) -> httpx2.Response:
    return await served.post(f"/v1/images/{path}", **sent)


def whole(size: int = 1, number: int = 1, **members: Any) -> dict[str, Any]:
    return {"created": 1, "data": [{"b64_json": PICTURE * size}] * number, "size": "1024x1024", **members}


def event(kind: str, **members: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, **members}).encode())


async def test_image_settings_pass_and_none_is_added():
    """GPT image models refuse `response_format`, others need it (langwatch/langwatch#7769, managoat/fountain#110)."""
    async with before(lambda asked: json_answer(whole(usage=TOLD)), MODEL, ENTRY) as (served, provider):
        async with openai_client(served.url) as client:
            found = await client.images.generate(model="mine", prompt="A cat", size="auto", n=1)
        assert found.data[0].b64_json == PICTURE
        assert provider.asked[-1].json == {"model": "gpt-image-1", "prompt": "A cat", "size": "auto", "n": 1}
    async with before(lambda asked: json_answer(whole()), "openai/dall-e-3", ENTRY) as (served, provider):
        body = b'{"model":"mine","prompt":"A cat","response_format":"b64_json","size":"31x77","x-new":[1.50]}'
        found = await post(served, "generations", content=body)
        assert provider.asked[-1].body == body.replace(b"mine", b"dall-e-3")
        assert "x-trigate-adapted" not in found.headers


async def test_an_aliased_model_gets_no_member_that_it_refuses():
    """Open WebUI sends `response_format` unless the model's name is on its list of models that refuse it."""
    async with before(lambda asked: json_answer(whole()), MODEL, ENTRY) as (served, provider):
        for form, header, named in (
            ("b64_json", "x-trigate-adapted", "response_format=b64_json"),
            ("url", "x-trigate-dropped", "response_format"),
        ):
            found = await post(served, "generations", json={"model": "mine", "prompt": "x", "response_format": form})
            assert provider.asked[-1].json == {"model": "gpt-image-1", "prompt": "x"}
            assert found.headers[header] == named


async def test_requests_without_a_model_use_the_entry_for_images():
    """OpenAI's SDK sends no model by default."""
    form = multipart([part("prompt", b"x"), part("image", b"x", "a.png")])
    async with before(lambda asked: json_answer(whole()), MODEL, {**ENTRY, "type": "chat"}) as (served, _):
        found = await post(served, "generations", json={"prompt": "x"})
        assert found.status_code == 400
        assert "model" in found.json()["error"]["message"]
    async with before(lambda asked: json_answer(whole()), MODEL, {**ENTRY, "type": "image"}) as (served, provider):
        async with openai_client(served.url) as client:
            await client.images.generate(prompt="x")
        assert provider.asked[-1].json == {"prompt": "x", "model": "gpt-image-1"}
        found = await post(served, "edits", content=form, headers={"content-type": KIND})
        assert found.status_code == 200
        added = multipart([part("model", b"gpt-image-1"), part("prompt", b"x"), part("image", b"x", "a.png")])
        assert provider.asked[-1].body == added


async def test_tokens_and_pictures_are_counted_however_large_the_pictures_are():
    entry = {**ENTRY, "price": PER_IMAGE}  # without it, the tokens that are not reported would be estimated
    dated = {**whole(number=2), "usage": None}
    for answer, number, expected in (
        (whole(usage=TOLD), 1, COUNTED),
        (whole(3000, usage=TOLD), 1, COUNTED),
        ({"usage": TOLD, **whole(3000)}, 1, COUNTED),
        (whole(3000), 4, Usage(units=(("image", 4),))),
        (dated, 2, Usage(units=(("image", 2),))),
        ({"created": 1, "data": [{"url": "https://example.test/a.png"}]}, 1, Usage(units=(("image", 1),))),
    ):
        async with before(lambda asked, answer=answer: json_answer(answer), MODEL, entry) as (served, _):
            with usages(served) as found:
                got = await post(served, "generations", json={"model": "mine", "prompt": "x", "n": number})
            assert got.json() == answer
            assert found == [expected]
            assert [one.units for one in found] == [expected.units]


@pytest.mark.soak
async def test_large_partial_pictures_pass_one_by_one():
    """BerriAI/litellm#19569, labring/aiproxy#535, stdapi-ai/stdapi.ai#84."""
    for kind, path, size in (("image_generation", "generations", 5 * 2**20), ("image_edit", "edits", 2**17)):
        partial = event(f"{kind}.partial_image", b64_json="A" * size, partial_image_index=0)
        done = event(f"{kind}.completed", b64_json="B" * 2**17, usage=TOLD)
        answer = events(*(piece[at : at + 2**19] for piece in (partial, done) for at in range(0, len(piece), 2**19)))
        async with before(lambda asked, answer=answer: answer, MODEL, ENTRY) as (served, _):
            body = {"model": "mine", "prompt": "x", "stream": True, "partial_images": 3}
            with usages(served) as used:
                found = await post(served, path, json=body)
            assert found.headers["content-type"] == "text/event-stream"
            assert found.content == partial + done
            assert used == [COUNTED]


async def test_the_sdk_reads_partial_pictures():
    answer = events(
        event("image_generation.partial_image", b64_json="AAAA", partial_image_index=0),
        event("image_generation.completed", b64_json="BBBB", usage=TOLD),
    )
    async with before(lambda asked: answer, MODEL, ENTRY) as (served, _), openai_client(served.url) as client:
        stream = await client.images.generate(model="mine", prompt="x", stream=True, partial_images=1)
        assert [one.type async for one in stream] == ["image_generation.partial_image", "image_generation.completed"]


async def test_a_stream_with_only_the_picture_is_complete():
    half = event("image_generation.partial_image", b64_json="AAAA", partial_image_index=0)
    for answer, said in (
        (events(half), "before the image was complete"),
        (events(half, cut=True), ""),
        (events(half, event("error", error={"message": "against the rules"})), "against the rules"),
        (events(half, b'data: {"error": {"message": "against the rules"}}\n\n'), "against the rules"),
    ):
        async with before(lambda asked, answer=answer: answer, MODEL, ENTRY) as (served, _):
            found = await post(served, "generations", json={"model": "mine", "prompt": "x", "stream": True})
            assert found.content.startswith(half)
            last = json.loads(found.content.strip().rpartition(b"data: ")[2])
            assert said in last["error"]["message"]


async def test_edits_take_one_picture_or_several_and_a_mask():
    """The field names are those of the SDK (BerriAI/litellm#41625, basketikun/chatgpt2api#18)."""
    async with (
        before(lambda asked: json_answer(whole(usage=TOLD)), MODEL, ENTRY) as (served, provider),
        openai_client(served.url) as client,
    ):
        one = ("a.png", b"\x89PNG one", "image/png")
        await client.images.edit(model="mine", prompt="x", image=one, mask=("m.png", b"\x89PNG mask"))
        body = provider.asked[-1].body
        assert b'name="image"; filename="a.png"' in body
        assert b'name="mask"; filename="m.png"' in body
        await client.images.edit(model="mine", prompt="x", image=[one, ("b.png", b"\x89PNG two")], n=2)
        body = provider.asked[-1].body
        assert body.count(b'name="image[]"; filename=') == 2
        assert b"\x89PNG one" in body
        assert b"\x89PNG two" in body
        assert b'name="model"\r\n\r\ngpt-image-1\r\n' in body


async def test_variations_are_sent_to_providers_with_that_endpoint():
    """OpenAI no longer has this endpoint."""
    form = multipart([part("image", b"x", "a.png"), part("model", b"mine")])
    own = {**ENTRY, "endpoints": {"image_variations": True}}
    async with before(lambda asked: json_answer(whole()), MODEL, own) as (served, provider):
        assert (await post(served, "variations", content=form, headers={"content-type": KIND})).status_code == 200
        assert provider.asked[-1].path == "/v1/images/variations"


async def test_edits_in_json_pass_too():
    body = {"model": "mine", "prompt": "x", "images": [{"image_url": "https://example.test/a.png"}]}
    async with before(lambda asked: json_answer(whole(usage=TOLD)), MODEL, ENTRY) as (served, provider):
        assert (await post(served, "edits", json=body)).status_code == 200
        assert provider.asked[-1].json == {**body, "model": "gpt-image-1"}


async def test_an_edit_is_counted_by_its_tokens_and_pictures():
    for answer, expected in ((whole(usage=TOLD), BOTH), (whole(2000, 2), Usage(units=(("image", 2),)))):
        async with before(lambda asked, answer=answer: json_answer(answer), MODEL, {**ENTRY, "price": PER_IMAGE}) as (
            served,
            _,
        ):
            form = multipart([part("n", b"2"), part("image", b"x", "a.png"), part("model", b"mine")])
            with usages(served) as found:
                assert (await post(served, "edits", content=form, headers={"content-type": KIND})).status_code == 200
            assert found == [expected]
            assert [one.units for one in found] == [expected.units]


async def test_image_settings_are_in_the_log():
    fields = [part("n", b"2"), part("image", b"x", "a.png"), part("model", b"mine"), part("quality", b"high")]
    async with before(lambda asked: json_answer(whole(usage=TOLD)), MODEL, ENTRY) as (served, _):
        with lines(served) as found:
            await post(
                served, "generations", json={"model": "mine", "prompt": "x", "size": "9x9", "n": 3, "quality": []}
            )
            await post(served, "edits", content=multipart(fields), headers={"content-type": KIND})
            await post(served, "generations", json={"model": "mine", "prompt": "x"})
        assert [line.get("picture") for line in found] == [
            {"size": "9x9", "n": "3"}, {"n": "2", "quality": "high"}, None,
        ]  # fmt: skip


async def test_a_refusal_of_the_provider_keeps_its_words():
    error = {"error": {"message": "Your request was rejected", "code": "moderation_blocked", "type": "user_error"}}
    async with (
        before(lambda asked: json_answer(error, 400), MODEL, ENTRY) as (served, _),
        openai_client(served.url) as client,
    ):
        with pytest.raises(openai.BadRequestError) as found:
            await client.images.generate(model="mine", prompt="x")
        assert found.value.code == "moderation_blocked"


async def test_minutes_may_pass_before_the_first_byte():
    """Wei-Shaw/sub2api#2225, CookSleep/gpt_image_playground#7."""
    async with before(lambda asked: json_answer(whole()), MODEL, ENTRY) as (served, _):
        for endpoint in ("image_generations", "image_edits", "transcriptions"):
            plan = endpoint_plan(served.service.router, "mine", endpoint, frozenset(["openai"]))
            assert plan.first.entry.timeouts.first_byte == 600


# Pictures at URLs


PNG = b"\x89PNG\r\n" * 50


async def test_picture_urls_pass_unless_the_client_wants_the_pictures_in_the_answer():
    """Open WebUI would send the gateway's key to these URLs. The gateway fetches them without a credential, only from
    the provider or public servers. A URL whose content is no picture stays."""
    async with endpoint_provider(
        lambda asked: ScriptedAnswer((PNG,), headers=(("content-type", "image/png"),))
    ) as other:
        answers: dict[str, ScriptedAnswer] = {
            "/a.png": ScriptedAnswer((PNG,), headers=(("content-type", "image/png"),), length=True),
            "/page": ScriptedAnswer((b"<html>",), headers=(("content-type", "text/html"),)),
            "/moved": ScriptedAnswer((), 302, (("location", f"{other.url}/a.png"),), length=True),
            "/large.png": ScriptedAnswer((PNG * 9000,), headers=(("content-type", "image/png"),)),
        }

        def answering(asked: ReceivedRequest) -> ScriptedAnswer:
            urls = [f"http://{asked.headers['host']}{path}" for path in answers]
            urls += [f"{other.url}/a.png", "https://127.0.0.1:1/a.png", "file:///etc/passwd", "http://[::1", ""]
            return answers.get(asked.path) or json_answer(
                {"created": 1, "data": [{"url": url, "x": 1} for url in urls]}
            )

        for entry in (ENTRY, {**ENTRY, "images": {"inline": True}}):
            async with before(answering, MODEL, entry, limits={"answer": "1MiB"}) as (served, provider):
                found = await post(served, "generations", json={"model": "mine", "prompt": "x"})
                one, *rest = found.json()["data"]
                assert all("url" in item for item in rest)
                if entry is ENTRY:
                    assert one["url"] == f"{provider.url}/a.png"
                    assert len(provider.asked) == 1
                else:
                    assert one == {"b64_json": base64.b64encode(PNG).decode(), "x": 1}
                    fetched = provider.asked[1:]
                    assert [asked.path for asked in fetched] == list(answers)
                    assert all("authorization" not in asked.headers for asked in fetched)
        assert other.asked == []


class ReboundName(trio.abc.HostnameResolver):
    """A name with a public address in the first lookup and one of this machine in all others (DNS rebinding)."""

    def __init__(self) -> None:
        self.lookups = 0

    async def getaddrinfo(self, host: Any, port: Any, *rest: Any) -> list[Any]:
        self.lookups += 1
        address = "93.184.215.14" if self.lookups == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    async def getnameinfo(self, *names: Any) -> tuple[str, str]:
        raise OSError


async def test_a_host_name_that_changes_to_an_internal_address_gets_no_byte(nursery):
    received: list[bytes] = []

    async def note(stream: trio.SocketStream) -> None:
        received.append(await stream.receive_some())

    (internal,) = await nursery.start(partial(trio.serve_tcp, note, 0, host="127.0.0.1"))
    url = f"https://rebound.example:{internal.socket.getsockname()[1]}/a.png"
    name = ReboundName()
    trio.socket.set_custom_hostname_resolver(name)  # it applies until trio's run ends
    answer = json_answer({"created": 1, "data": [{"url": url}]})
    async with before(lambda asked: answer, MODEL, {**ENTRY, "images": {"inline": True}}) as (served, _):
        found = await post(served, "generations", json={"model": "mine", "prompt": "x"})
    assert found.json()["data"] == [{"url": url}]
    assert name.lookups == 2
    assert received == [b""]
    nursery.cancel_scope.cancel()


async def test_a_client_that_leaves_while_its_pictures_are_fetched_is_logged_as_disconnected():
    async def answering(asked: ReceivedRequest) -> ScriptedAnswer:
        if asked.path == "/a.png":
            await trio.sleep_forever()
        return json_answer({"created": 1, "data": [{"url": f"http://{asked.headers['host']}/a.png"}]})

    entry = {**ENTRY, "price": PER_IMAGE, "images": {"inline": True}}
    async with before(answering, MODEL, entry) as (served, provider), trio.open_nursery() as nursery:
        with lines(served) as settled:
            nursery.start_soon(partial(post, served, "generations", json={"model": "mine", "prompt": "x"}))
            await eventually(lambda: len(provider.asked) == 2)
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await eventually(lambda: bool(settled))
    (line,) = settled
    assert (line["ended"], line["status"], line["cost_usd"]) == ("client_disconnected", 499, 0.04)
