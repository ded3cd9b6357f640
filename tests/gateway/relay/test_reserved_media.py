"""Pictures and sound that are billed by tokens have to fit into a budget before they are made."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import attrs
import pytest
import trio

from tests.support.asgi_app import eventually
from tests.support.audio_files import wav
from tests.support.cases import case
from tests.support.endpoint_provider import ScriptedAnswer, before, events, json_answer
from tests.support.features import needs_feature
from tests.support.multipart import KIND, multipart, part
from tests.support.reserved import HEAD, KEY, HeldProvider, Levels
from tests.support.settled_lines import SettledLines

DRAWING = {"model": "mine", "prompt": "A cat", "size": "1024x1024", "quality": "high"}


def with_budget(amount: str) -> list[dict[str, Any]]:
    return [{"name": "ann", "key": KEY, "budgets": [f"{amount} usd/day"]}]


def image(number: int = 1, tokens: int = 4160, given: int = 10, of_pictures: int = 0) -> dict[str, Any]:
    details = {"text_tokens": given - of_pictures, "image_tokens": of_pictures}
    usage = {"input_tokens": given, "output_tokens": number * tokens, "input_tokens_details": details}
    return {"created": 1, "data": [{"b64_json": "AAAA"}] * number, "usage": usage}


@attrs.frozen
class Media:
    """A request, and the provider's answer with the tokens that it used."""

    model: str
    path: str
    answer: dict[str, Any]
    json: dict[str, Any] | None = None
    form: bytes = b""

    @property
    def request_options(self) -> dict[str, Any]:
        if self.json is not None:
            return {"json": self.json, "headers": HEAD}
        return {"content": self.form, "headers": {**HEAD, "content-type": KIND}}


MINE = part("model", b"mine")
PICTURE = part("image", b"\x89PNG", "a.png")
IMAGES = "/v1/images"
SOUND = {"text": "Hello.", "usage": {"type": "tokens", "input_tokens": 25, "output_tokens": 6,
                                     "input_token_details": {"audio_tokens": 25}}}  # fmt: skip
MEDIA = {
    "a picture": Media("gpt-image-1", f"{IMAGES}/generations", image(), DRAWING),
    "four pictures of any size": Media("gpt-image-1", f"{IMAGES}/generations", image(4, 6240, 8),
                                       {"model": "mine", "prompt": "A cat", "n": 4}),
    "a picture whose tokens have a price": Media("gpt-image-1.5", f"{IMAGES}/generations", image(), DRAWING),
    "a larger picture": Media("gpt-image-2", f"{IMAGES}/generations", image(1, 13342), DRAWING | {"size": "3840x2160"}),
    "an edit in JSON": Media("gpt-image-1", f"{IMAGES}/edits", image(1, 4160, 2 * 6400, 2 * 6390),
                             {**DRAWING, "images": [{"image_url": "https://example.test/a.png"}] * 2}),
    "an edit of a file": Media("gpt-image-1", f"{IMAGES}/edits", image(1, 6240, 6400, 6390),
                               form=multipart([MINE, PICTURE])),
    "speech": Media("gpt-4o-mini-tts", "/v1/audio/speech", {}, {"model": "mine", "input": "x" * 900, "voice": "y"}),
    "a transcript": Media("gpt-4o-transcribe", "/v1/audio/transcriptions", SOUND,
                          form=multipart([MINE, part("file", wav(2.5), "a.wav")])),
    "a translation": Media("gpt-4o-transcribe", "/v1/audio/translations", SOUND,
                           form=multipart([MINE, part("file", wav(2.5), "a.wav")])),
}  # fmt: skip


SPOKEN = ScriptedAnswer((b"mp3",), headers=(("content-type", "audio/mpeg"),))


@pytest.fixture(params=["expected", "max"])
def reserve(request) -> Iterator[str]:
    return request.param


@needs_feature("other_endpoints")
@pytest.mark.parametrize("name", MEDIA)
async def test_media_billed_by_tokens_is_reserved_during_generation(name, reserve):
    media = MEDIA[name]
    gate = HeldProvider(json_answer(media.answer) if media.answer else SPOKEN)
    config = {"client_keys": with_budget("100"), "reserve": reserve}
    async with (
        before(gate, f"openai/{media.model}", {"name": "mine"}, **config) as (served, provider),
        trio.open_nursery() as nursery,
    ):
        levels, found = Levels(served), []

        async def ask() -> None:
            found.append(await served.post(media.path, **media.request_options))

        nursery.start_soon(ask)
        await eventually(lambda: len(provider.asked) == 1)
        held = levels.held_amounts["usd"]
        gate.released.set()
        await eventually(lambda: bool(found) and not levels.held_amounts["usd"])
        assert found[0].status_code == 200, found[0].text
        assert 0 < levels.used_amounts["usd"] <= held
        assert held < 50 * levels.used_amounts["usd"], "what nobody could afford is no expectation"


@needs_feature("other_endpoints")
async def test_simultaneous_image_requests_stay_within_the_budget():
    gate = HeldProvider(json_answer(image()))
    async with (
        before(gate, "openai/gpt-image-1", {"name": "mine"}, client_keys=with_budget("1")) as (served, provider),
        trio.open_nursery() as nursery,
    ):
        statuses: list[int] = []

        async def ask() -> None:
            statuses.append((await served.post(f"{IMAGES}/generations", json=DRAWING, headers=HEAD)).status_code)

        for _ in range(24):
            nursery.start_soon(ask)
        await eventually(lambda: len(provider.asked) == 6)
        gate.released.set()
        await eventually(lambda: len(statuses) == 24)
        assert (statuses.count(200), statuses.count(402)) == (6, 18)
        assert Levels(served).used_amounts["usd"] == pytest.approx(6 * (4160 * 40 + 10 * 5) * 1000)


@needs_feature("other_endpoints")
async def test_a_picture_that_does_not_fit_is_refused_beforehand(reserve):
    answer, config = json_answer(image()), {"client_keys": with_budget("0.10"), "reserve": reserve}
    async with before(lambda asked: answer, "openai/gpt-image-1", {"name": "mine"}, **config) as (served, provider):
        ask = partial(served.post, f"{IMAGES}/generations", headers=HEAD)
        assert (await ask(json=DRAWING)).status_code == 402
        assert (await ask(json={"model": "mine", "prompt": "A cat"})).status_code == 402
        assert provider.asked == []
        assert (await ask(json={**DRAWING, "quality": "low"})).status_code == 200


@needs_feature("other_endpoints")
async def test_tokens_are_reserved_only_where_they_are_billed():
    """A model with a price for each picture has no tokens, so a budget of tokens does not apply to it."""
    keys = [{"name": "ann", "key": KEY, "budgets": ["100 tokens/day"]}]
    media = [one for one in MEDIA.values() if one.path != f"{IMAGES}/edits"]
    price = {"price": {"per": {"image": 0.01, "character": 0.001, "second": 0.001}}}
    for one in media:
        with case(one.path):
            async with before(
                lambda asked: json_answer({"text": "x"}), "trigate/m-1", {"name": "mine", **price}, client_keys=keys
            ) as (served, _):
                body = {**one.json, "input": "x"} if one.json and "input" in one.json else one.json
                request_options = attrs.evolve(one, json=body).request_options
                assert (await served.post(one.path, **request_options)).status_code == 200


@needs_feature("other_endpoints")
@pytest.mark.parametrize(("speed", "tokens"), [(1, 1260), (0.25, 5040), ("0.25", 5040), ("nan", 5040), ("fast", 1260)])
async def test_speech_without_reported_tokens_is_billed_by_an_estimate(speed, tokens):
    """Raw sound cannot contain its usage, and cost nothing in a ledger (BerriAI/litellm#36914)."""
    body = {"model": "mine", "input": "x" * 900, "voice": "y", "speed": speed}
    async with before(lambda asked: SPOKEN, "openai/gpt-4o-mini-tts", {"name": "mine"}) as (served, _):
        settled = SettledLines(served)
        assert (await served.post("/v1/audio/speech", json=body)).content == b"mp3"
        (line,) = await settled.next()
    assert (line["input_tokens"], line["output_tokens"]) == (225, tokens)
    assert line["cost_usd"] == pytest.approx((225 * 0.6 + tokens * 12) / 10**6)
    assert (line["cost_grade"], line["usage_estimated"]) == ("estimated", True)


PARTIAL = (
    b'event: image_generation.partial_image\ndata: {"type": "image_generation.partial_image", "b64_json": "A"}\n\n'
)


@needs_feature("other_endpoints")
@pytest.mark.parametrize("answer", [json_answer({"created": 1, "data": [{"b64_json": "AAAA"}]}), events(PARTIAL)])
async def test_a_picture_without_reported_tokens_is_billed_by_an_estimate(answer):
    """A model billed by tokens has no price for an image, so the count of images alone would be free."""
    config = {"client_keys": with_budget("1")}
    async with before(lambda asked: answer, "openai/gpt-image-1", {"name": "mine"}, **config) as (served, _):
        settled = SettledLines(served)
        await served.post(f"{IMAGES}/generations", json=DRAWING, headers=HEAD)
        (line,) = await settled.next()
        assert (line["cost_grade"], line["usage_estimated"]) == ("estimated", True)
        assert line["cost_usd"] == pytest.approx(4160 * 40 / 10**6, rel=0.01)
        assert Levels(served).used_amounts["usd"] == line["cost_usd"] * 10**9


@needs_feature("other_endpoints")
@pytest.mark.parametrize("price", ["free", {"per": {"image": 0.5}}])
async def test_a_picture_that_has_a_price_is_not_estimated(price):
    answer = json_answer({"created": 1, "data": [{"b64_json": "AAAA"}]})
    async with before(lambda asked: answer, "openai/gpt-image-1", {"name": "mine", "price": price}) as (served, _):
        settled = SettledLines(served)
        await served.post(f"{IMAGES}/generations", json=DRAWING)
        (line,) = await settled.next()
    assert (line["cost_grade"], line.get("usage_estimated"), line["units"]) == ("exact", None, {"image": 1})


@needs_feature("other_endpoints")
async def test_searches_of_a_model_billed_by_tokens_cost_estimated_tokens():
    ranking = {"results": [{"index": 0, "relevance_score": 0.9}], "meta": {"billed_units": {"search_units": 3}}}
    entry = {"name": "mine", "price": {"input": 10, "output": 10}}
    async with before(lambda asked: json_answer(ranking), "litellm/m", entry) as (served, _):
        settled = SettledLines(served)
        await served.post("/v1/rerank", json={"model": "mine", "query": "q" * 400, "documents": ["a" * 400]})
        (line,) = await settled.next()
    assert (line["units"], line["cost_grade"], line["usage_estimated"]) == ({"search": 3}, "estimated", True)
    assert line["cost_usd"] == pytest.approx(200 * 10 / 10**6, rel=0.1)
