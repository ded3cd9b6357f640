"""The cost of prompts that a provider's content filter rejects.

Azure bills them, although their status is 400
(https://learn.microsoft.com/azure/ai-services/openai/how-to/manage-costs); other providers do not.
"""

import pytest

from tests.support.endpoint_provider import before, json_answer
from tests.support.settled_lines import SettledLines

FILTERED = {"error": {
    "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
    "type": None, "param": "prompt", "code": "content_filter", "status": 400,
}}  # fmt: skip
TOO_LONG = {"error": {"message": "Too long.", "type": "invalid_request_error", "code": "context_length_exceeded"}}
ASKED = {"model": "mine", "messages": [{"role": "user", "content": "x" * 4000}], "max_tokens": 10}
DRAWN = {"model": "mine", "prompt": "x" * 4000, "n": 4}


@pytest.mark.parametrize(
    ("model", "path", "request_body", "answer", "is_billed"),
    [
        ("azure_openai/gpt-5", "chat/completions", ASKED, FILTERED, True),
        ("foundry/gpt-5", "chat/completions", {**ASKED, "stream": True}, FILTERED, True),
        ("azure_openai/gpt-image-1", "images/generations", DRAWN, FILTERED, True),
        ("azure_openai/gpt-5", "chat/completions", ASKED, TOO_LONG, False),
        ("openai/gpt-5", "chat/completions", ASKED, FILTERED, False),
    ],
)
async def test_only_azure_bills_a_filtered_prompt(model, path, request_body, answer, is_billed):
    entry = {"name": "mine", "price": {"input": 1, "output": 10, "per": {"image": 1}}}
    async with before(lambda asked: json_answer(answer, 400), model, entry) as (served, _):
        lines = SettledLines(served)
        assert (await served.post(f"/v1/{path}", json=request_body)).status_code == 400
        (line,) = await lines.next()
    if is_billed:  # about a token for four characters, and no image
        assert 1000 <= line["cost_usd"] * 10**6 <= 1050
        assert line["cost_grade"] == "estimated"
    else:
        assert not line.get("cost_usd")


async def test_the_data_of_an_image_is_no_text_of_a_filtered_prompt():
    """Otherwise a megabyte costs as much as 300,000 tokens."""
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{'QUJD' * 250_000}"}}
    asked = {"model": "mine", "messages": [{"role": "user", "content": [image]}]}
    entry = {"name": "mine", "price": {"input": 1, "output": 10}}
    async with before(lambda asked: json_answer(FILTERED, 400), "azure_openai/gpt-5", entry) as (served, _):
        lines = SettledLines(served)
        assert (await served.post("/v1/chat/completions", json=asked)).status_code == 400
        (line,) = await lines.next()
    assert 1000 <= line["cost_usd"] * 10**6 <= 3000
