"""Endpoints whose requests pass unread except for their model, over real sockets: moderations, scores and others."""

from typing import Any

import pytest

from tests.support.each_row import each_row
from tests.support.endpoint_provider import endpoint_provider, json_answer, settings
from tests.support.features import needs_feature, rows_of
from tests.support.in_process import gateway
from tests.support.settled_lines import SettledLines

MODERATED = {"id": "modr-1", "model": "omni-moderation-2024", "results": [{"flagged": False, "categories": {}}]}


def _entry(url: str, model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "access_key": "k", "base_url": url, **more}


async def test_moderations_without_a_model_use_the_moderation_model():
    """openai-python sends no model, and the default for conversations is never used (BerriAI/litellm#4336, #6946)."""
    body = {"input": ["a", {"type": "text", "text": "b"}]}
    async with endpoint_provider(lambda asked: json_answer(MODERATED)) as provider:
        chat = _entry(provider.url, "openai/gpt-5.1", default=True)
        configurations = (
            [chat, _entry(provider.url, "openai/omni-moderation-latest")],
            [chat, _entry(provider.url, "openai/house-rules", name="mine", type="moderation")],
            [chat, _entry(provider.url, "anthropic/claude-opus-5")],
            [_entry(provider.url, "openai/*"), _entry(provider.url, "groq/llama")],
        )
        names = ("openai/omni-moderation-latest", "mine", "openai/gpt-5.1", "openai/omni-moderation-latest")
        for entries, asked in zip(configurations, names, strict=True):
            async with gateway(settings(*entries)) as served:
                lines = SettledLines(served)
                found = await served.post("/v1/moderations", json=body)
                assert found.json() == MODERATED, asked
                assert (provider.asked[-1].path, provider.asked[-1].json) == ("/v1/moderations", body)
                (line,) = await lines.next(1)
                assert line["model"] == asked
                assert not line.get("cost_usd"), "free unless priced"
                assert not line.get("usage_estimated")


async def test_moderations_without_a_target_are_a_400_with_advice():
    async with endpoint_provider(lambda asked: json_answer(MODERATED)) as provider:
        two = [_entry(provider.url, "openai/omni-moderation-latest"), _entry(provider.url, "mistral/x-moderation-1")]
        none = [_entry(provider.url, "anthropic/claude-opus-5")]
        several = [_entry(provider.url, "openai/gpt-5.1"), _entry(provider.url, "mistral/mistral-large-latest")]
        for entries, word in ((two, "choose one of openai"), (none, "add an entry"), (several, ": request a model")):
            async with gateway(settings(*entries)) as served:
                found = await served.post("/v1/moderations", json={"input": "x"})
                assert (found.status_code, found.json()["error"]["param"]) == (400, "model")
                assert word in found.json()["error"]["message"]
        assert provider.asked == []


async def test_moderations_have_no_fallback():
    """Other models have other categories."""
    async with endpoint_provider(lambda asked: json_answer({"error": {"message": "down"}}, 503)) as provider:
        entries = [_entry(provider.url, "openai/omni-moderation-latest", name="a"),
                   _entry(provider.url, "mistral/mistral-moderation-latest", name="b")]  # fmt: skip
        route = {"safe": {"targets": ["a", "b"]}}
        async with gateway(settings(*entries, model_aliases=route, retries={"attempts": 2, "wait": 0})) as served:
            found = await served.post("/v1/moderations", json={"model": "safe", "input": "x"})
            assert found.status_code == 503
            assert {asked.json["model"] for asked in provider.asked} == {"omni-moderation-latest"}


async def test_each_path_is_sent_to_the_path_of_the_provider():
    """These are vLLM's and TEI's own endpoints, and those of Mistral in its row, such as ``/v1/ocr``."""
    answer = {"id": "x", "data": [], "usage": {"prompt_tokens": 3, "total_tokens": 3}}
    cases = {
        "vllm/m": {"/score": "/v1/score", "/v1/score": "/v1/score", "/pooling": "/pooling", "/classify": "/classify"},
        "tei/m": {"/predict": "/predict", "/similarity": "/similarity"},
        "mistral/m": {"/v1/chat/moderations": "/v1/chat/moderations", "/v1/ocr": "/v1/ocr",
                      "/v1/classifications": "/v1/classifications", "/v1/moderations": "/v1/moderations",
                      "/v1/chat/classifications": "/v1/chat/classifications"},
    }  # fmt: skip
    async with endpoint_provider(lambda asked: json_answer(answer)) as provider:
        for model, paths in cases.items():
            async with gateway(settings(_entry(provider.url, model, name="mine"))) as served:
                lines = SettledLines(served)
                for path, at in paths.items():
                    found = await served.post(path, json={"text_1": "a", "model": "mine", "text_2": ["b"]})
                    assert found.json() == answer, (path, found.text)
                    asked = provider.asked[-1]
                    assert (asked.path, asked.json) == (at, {"text_1": "a", "model": "m", "text_2": ["b"]})
                assert {line["input_tokens"] for line in await lines.next(len(paths))} == {3}


@pytest.mark.parametrize("size", [1, 2**21])
async def test_a_document_costs_its_pages(size):
    """The pages are reserved before, and were never charged. With pictures, a response has megabytes."""
    page = {"index": 0, "markdown": 'It has "pages_processed": 9.', "images": [{"image_base64": "A" * size}]}
    answer = {"pages": [page], "model": "m", "usage_info": {"pages_processed": 3, "doc_size_bytes": 5}}
    async with endpoint_provider(lambda asked: json_answer(answer)) as provider:
        entry = _entry(provider.url, "mistral/m", price={"per": {"page": 0.1}})
        async with gateway(settings(entry)) as served:
            lines = SettledLines(served)
            found = await served.post("/v1/ocr", json={"model": "m", "document": {"document_url": "https://x"}})
            assert found.json() == answer
            (line,) = await lines.next(1)
    assert (line["units"], line["cost_usd"], line["cost_grade"]) == ({"page": 3}, 0.3, "exact")


@each_row(
    ("price", "usage", "cost", "grade"),
    [
        (None, None, 0, "exact"),
        ("free", None, 0, "exact"),
        ({"input": 1, "output": 1}, None, 2.3e-05, "estimated"),
        ({"input": 1, "output": 1}, {"prompt_tokens": 7}, 7e-06, "exact"),
    ],
)
async def test_moderations_are_free_unless_a_price_is_set(price: Any, usage: Any, cost: float, grade: str):
    answer = MODERATED if usage is None else {**MODERATED, "usage": usage}
    async with endpoint_provider(lambda asked: json_answer(answer)) as provider:
        more = {} if price is None else {"price": price}
        async with gateway(settings(_entry(provider.url, "openai/omni-moderation-latest", **more))) as served:
            lines = SettledLines(served)
            assert (await served.post("/v1/moderations", json={"input": "x" * 80})).status_code == 200
            (line,) = await lines.next(1)
    assert (line["cost_usd"], line["cost_grade"]) == (cost, grade)


async def test_a_key_gets_moderations_of_a_model_that_it_may_use():
    """The request may have the model or omit it (BerriAI/litellm#10750)."""
    key = "ann-key-0123456789-0123456789"
    headers = {"authorization": f"Bearer {key}"}
    chat, omni, every = "openai/gpt-5.1", "openai/omni-moderation-latest", "openai/*"
    cases = (
        ([chat, omni], [chat], {"model": omni}, 403), ([chat, omni], [chat], {}, 400), ([chat], [chat], {}, 400),
        ([chat], None, {}, 200), ([chat, omni], [omni], {}, 200), ([every], [every], {}, 200),
        ([every], [chat], {}, 400), ([every], [omni], {}, 200),
    )  # fmt: skip
    async with endpoint_provider(lambda asked: json_answer(MODERATED)) as provider:
        for entries, models, named, status in cases:
            keys = [{"name": "ann", "key": key, **({} if models is None else {"models": models})}]
            content = settings(*(_entry(provider.url, model) for model in entries), client_keys=keys)
            asked = len(provider.asked)
            async with gateway(content) as served:
                found = await served.post("/v1/moderations", json={"input": "x", **named}, headers=headers)
                assert found.status_code == status, (entries, models, named, found.text)
            assert len(provider.asked) == asked + (status == 200)


CHAT = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}
CASES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hello"}]},
    "/v1/moderations": {"input": "Hello"},
}


@needs_feature("client_routing")
async def test_no_provider_gets_members_of_litellms_proxy():
    proxys = {"cache": {"no-cache": True}, "drop_params": True, "allowed_openai_params": ["tools"]}
    async with endpoint_provider(lambda asked: json_answer(CHAT)) as provider:
        entry = _entry(provider.url, "openai/m", name="m", type="chat")
        async with gateway(settings(entry, client_routing=["litellm"])) as served:
            for path, body in CASES.items():
                found = await served.post(path, json={"model": "m", **body, **proxys})
                assert found.status_code == 200, found.text
                assert not set(proxys) & set(provider.asked[-1].json), path


@needs_feature("client_routing")
async def test_blocked_end_users_are_refused():
    """LiteLLM refuses them, too: `LiteLLM_EndUserTable.blocked`."""
    async with endpoint_provider(lambda asked: json_answer(CHAT)) as provider:
        entry = _entry(provider.url, "openai/m", name="m", type="chat")
        users = {"client_routing": ["litellm"], "blocked_end_users": ["eve"]}
        async with gateway(settings(entry, **users)) as served:
            for path, body in CASES.items():
                for user, headers, status in (
                    ("eve", {}, 403), ("ada", {}, 200), ("ada", {"x-litellm-end-user-id": "eve"}, 403),
                ):  # fmt: skip
                    found = await served.post(path, json={"model": "m", "user": user, **body}, headers=headers)
                    assert found.status_code == status, (path, user, found.text)
            form = {"model": (None, "m"), "file": ("a.wav", b"RIFF")}
            found = await served.post("/v1/audio/transcriptions", files=form, headers={"x-litellm-end-user-id": "eve"})
            assert found.status_code == 403
            forms = [("/v1/images/edits", "image"), ("/v1/audio/transcriptions", "file"),
                     *rows_of("files", ("/v1/videos", "input_reference"))]  # fmt: skip
            for path, file in forms:
                form = {"model": (None, "m"), "user": (None, "eve"), file: ("a.png", b"RIFF")}
                found = await served.post(path, files=form)
                assert found.status_code == 403, (path, found.text)
        assert len(provider.asked) == 2
