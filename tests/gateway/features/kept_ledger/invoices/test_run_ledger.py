"""A gateway runs, its provider counts, and the provider's invoice is compared with the ledger of that gateway."""

import http.client
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.features.kept_ledger.commands import reconcile
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import config
from tests.support.hostile_bodies import HostileAnswer
from tests.support.quick_yaml import dump_yaml
from tests.support.set_answer import SetAnswer, set_answer_provider

USAGE: Final = {"prompt_tokens": 1000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 600}}
USD: Final = Decimal("0.0022")
"""The price of this usage: 400 tokens for 2, 600 for 1 and 100 for 8 dollars a million."""
PRICE: Final = {"input": 2, "cached": 1, "output": 8}


@pytest.fixture
def request_ids(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make the provider count its requests, and return their ids."""
    ids: list[str] = []
    end_headers = SetAnswer.end_headers

    def with_id(self: SetAnswer) -> None:
        ids.append(f"req_{len(ids)}")
        self.send_header("x-request-id", ids[-1])
        end_headers(self)

    monkeypatch.setattr(SetAnswer, "end_headers", with_id)
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    answer = {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-5",
        "choices": [choice],
        "usage": USAGE,
    }
    SetAnswer.answer = HostileAnswer(json.dumps(answer).encode())
    return ids


def _send(port: int, times: int) -> None:
    for _ in range(times):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        body = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hi"}]}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
        assert connection.getresponse().read()
        connection.close()


def _pages(requests: int, usd: Decimal) -> dict[str, bytes]:
    """Return OpenAI's pages of today for ``requests`` equal requests."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    times = {"start_time": int(today.timestamp()), "end_time": int((today + timedelta(days=1)).timestamp())}
    cost: dict[str, Any] = {"object": "organization.costs.result", "amount": {"value": "USD", "currency": "usd"},
                            "line_item": "gpt-5-2025-08-07, input", "project_id": None}  # fmt: skip
    usage = {
        "object": "organization.usage.completions.result", "model": "gpt-5-2025-08-07", "num_model_requests": requests,
        "input_tokens": 1000 * requests, "input_cached_tokens": 600 * requests, "output_tokens": 100 * requests,
    }  # fmt: skip
    pages = {
        name: json.dumps(
            {"object": "page", "data": [{"object": "bucket", **times, "results": [one]}], "has_more": False}
        )
        for name, one in (("costs.json", cost), ("usage.json", usage))
    }
    return {name: page.replace('"USD"', f"{usd:f}").encode() for name, page in pages.items()}


@pytest.mark.parametrize(
    ("past", "share", "causes"),
    [
        (0, 1, {}),
        (3, 1, {"past_gateway": "0.0066"}),
        (0, 2, {"price": "0.011"}),
        (2, 2, {"past_gateway": "0.0198"}),
    ],
)
def test_the_ledger_of_a_gateway_agrees_with_its_providers_count(
    request_ids: list[str], tmp_path: Path, capsys: Any, past: int, share: int, causes: dict[str, str]
) -> None:
    storage = {"type": "sqlite", "path": str(tmp_path / "state.sqlite")}
    with set_answer_provider() as url:
        entry = {"model": "openai/gpt-5", "access_key": "sk-up", "base_url": f"{url}/v1", "price": PRICE}
        with gateway_thread(config([entry], 0, state_storage=storage)) as served:
            _send(served.port, 5)
        _send(int(url.rpartition(":")[2]), past)
    paths = []
    for name, content in _pages(len(request_ids), USD * len(request_ids) * share).items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(content)
    file = tmp_path / "trigate.yaml"
    file.write_text(dump_yaml({"version": "v0.4.0", "model_providers": [entry], "state_storage": storage}))
    status = reconcile.run(paths, file, tolerance=("0%", "0usd"), form="json")
    found = json.loads(capsys.readouterr().out)
    assert Decimal(found["total"]["ledger_usd"]) == USD * 5
    assert {cause: Decimal(usd) for cause, usd in found["total"]["causes"].items()} == {
        cause: Decimal(usd) for cause, usd in causes.items()
    }
    assert status == (3 if causes else 0)
