"""Batches at a provider that keeps objects, and the costs of requests in the log."""

import json
from typing import Any

import pytest

from tests.support.kept_clients import KEYS, Served
from tests.support.kept_provider import KeptProvider

PRICE = {"price": {"input": 10, "cached": 1, "output": 100}}
HALF = (600 * 10 + 400 * 1 + 100 * 100) / 2 / 10**6  # dollars for USAGE
USAGE = {"input_tokens": 1000, "input_tokens_details": {"cached_tokens": 400}, "output_tokens": 100,
         "total_tokens": 1100}  # fmt: skip


def lines(*models: str, url: str = "/v1/chat/completions") -> bytes:
    return b"".join(
        json.dumps(
            {"custom_id": f"r{at}", "method": "POST", "url": url, "body": {"model": model, "messages": []}}
        ).encode()
        + b"\n"
        for at, model in enumerate(models)
    )


def upload(served: Served, content: bytes, key: str = KEYS["a"], **more: Any) -> Any:
    return served.openai(key).files.create(file=("b.jsonl", content), purpose="batch", **more)


def create_batch(client: Any, file: Any) -> Any:
    return client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")


def only_batch(provider: KeptProvider) -> dict[str, Any]:
    """Return the only batch that ``provider`` stores."""
    (found,) = (value for id, value in provider.kept.items() if "batch_" in id)
    return found


def create_message_batch(served: Served, *models: str, key: str = KEYS["a"]) -> Any:
    """Create a batch with Anthropic's SDK."""
    message = {"max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    requests: Any = [{"custom_id": f"r{at}", "params": {"model": one, **message}} for at, one in enumerate(models)]
    return served.anthropic(key).messages.batches.create(requests=requests)


def message_result(id: str, **usage: Any) -> bytes:
    """Return a line of the results of an Anthropic batch."""
    message = {"id": "m", "type": "message", "role": "assistant", "model": "claude-x", "content": [],
               "stop_reason": "end_turn", "usage": {"service_tier": "batch", **usage}}  # fmt: skip
    return json.dumps({"custom_id": id, "result": {"type": "succeeded", "message": message}}).encode() + b"\n"


def logged_costs(caplog: pytest.LogCaptureFixture) -> list[float]:
    """Return the costs of requests in the log."""
    found = (json.loads(one.getMessage()) for one in caplog.records if one.name.startswith("trigate.exchange"))
    return [line["cost_usd"] for line in found if line.get("cost_usd")]


def result_line(model: str = "gpt-5") -> bytes:
    usage = {"prompt_tokens": 1000, "prompt_tokens_details": {"cached_tokens": 400}, "completion_tokens": 100}
    choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
    body = {"object": "chat.completion", "model": model, "choices": [choice], "usage": usage}
    return json.dumps({"id": "q", "custom_id": "r0", "response": {"status_code": 200, "body": body}}).encode() + b"\n"
