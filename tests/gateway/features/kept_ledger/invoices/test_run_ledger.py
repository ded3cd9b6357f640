"""A gateway runs, its provider counts, and the provider's invoice is compared with the ledger of that gateway."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final

import pytest

from tests.support.apis import question
from tests.support.command_line import invoke
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import config, provider
from tests.support.quick_yaml import dump_yaml
from tests.support.upstreams import Script, Tokens, fake_upstream

USD: Final = Decimal("0.0022")
"""The price of this usage: 400 tokens for 2, 600 for 1 and 100 for 8 dollars a million."""
PRICE: Final = {"input": 2, "cached": 1, "output": 8}
MODEL: Final = "gpt-5-2025-08-07"
OWN: Final = 5  # requests through the gateway


def _pages(requests: int, usd: Decimal) -> dict[str, str]:
    """Return OpenAI's pages of today for ``requests`` equal requests."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    times = {"start_time": int(today.timestamp()), "end_time": int((today + timedelta(days=1)).timestamp())}
    results = {
        "costs": {"amount": {"value": "USD", "currency": "usd"}, "line_item": f"{MODEL}, input", "project_id": None},
        "usage.completions": {"model": MODEL, "num_model_requests": requests, "input_tokens": 1000 * requests,
                              "input_cached_tokens": 600 * requests, "output_tokens": 100 * requests},
    }  # fmt: skip
    pages = {
        name: {"object": "bucket", **times, "results": [{"object": f"organization.{name}.result", **one}]}
        for name, one in results.items()
    }
    return {
        f"{name}.json": json.dumps({"object": "page", "data": [one], "has_more": False}).replace('"USD"', f"{usd:f}")
        for name, one in pages.items()
    }


@pytest.mark.parametrize(
    ("past", "share", "causes"),
    [
        (0, 1, {}),
        (3, 1, {"past_gateway": "0.0066"}),
        (0, 2, {"price": "0.011"}),
        (2, 2, {"past_gateway": "0.0198"}),
    ],
)
def test_the_ledger_of_a_gateway_agrees_with_its_providers_count(tmp_path: Path, past, share, causes):
    storage = {"type": "sqlite", "path": str(tmp_path / "state.sqlite")}
    with fake_upstream(Script("Hi", tokens=Tokens(1000, 600, output=100))) as upstream:
        known = config([provider("openai/gpt-5", upstream.url, ["chat"], price=PRICE)], state_storage=storage)
        with gateway_thread(known) as served:
            for _ in range(OWN):
                assert served.request("POST", "/v1/chat/completions", question("chat", "gpt-5")).status == 200
        pages = _pages(len(upstream.seen) + past, USD * (len(upstream.seen) + past) * share)
    for name, page in {"trigate.yaml": dump_yaml({**known, "listeners": []}), **pages}.items():
        (tmp_path / name).write_text(page)
    tolerance = ("--tolerance", "0%", "--tolerance", "0usd", "--format", "json")
    files = [str(tmp_path / name) for name in pages]
    done = invoke("reconcile", "--config", str(tmp_path / "trigate.yaml"), *files, *tolerance)
    assert not done.stderr
    total = json.loads(done.stdout)["total"]
    assert Decimal(total["ledger_usd"]) == USD * OWN
    found = {cause: Decimal(usd) for cause, usd in total["causes"].items()}
    assert found == {cause: Decimal(usd) for cause, usd in causes.items()}
    assert done.returncode == (3 if causes else 0)
