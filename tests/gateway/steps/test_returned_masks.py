"""Masks that the code of a step returns, although its settings have none: nothing passes unmasked."""

import re
from typing import Any, Final

import pytest
import yaml

from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, Reply, config, free_port, provider
from tests.support.upstreams import Script

CODE: Final = """
from trigate.steps import Finding

async def masking(check):
    return [Finding("word", one, one.text.index("falcon"), one.text.index("falcon") + 6, action="mask")
            for one in check.passages if "falcon" in one.text]

async def other(check):
    return [Finding("word", one, one.text.index("eagle"), one.text.index("eagle") + 5, "<BIRD>", "mask")
            for one in check.passages if "eagle" in one.text]

async def clean(check):
    return []
"""
ALONE: Final = [{"use": "./steps.py:masking"}]
TOGETHER: Final = [{"use": f"./steps.py:{name}"} for name in ("clean", "masking", "other")]


def ask(gateway: Gateway, text: str) -> Reply:
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    return gateway.request("POST", "/v1/chat/completions", body)


@pytest.mark.parametrize("steps", [ALONE, TOGETHER], ids=["alone", "together"])
def test_a_request_has_them_and_a_response_is_refused(upstream, tmp_path, steps: list[dict[str, Any]]):
    (tmp_path / "steps.py").write_text(CODE)
    port, file = free_port(), tmp_path / "trigate.yaml"
    file.write_text(yaml.safe_dump(config([provider("openai/m", upstream.url + "/v1", ["chat"])], port, steps=steps)))
    with gateway_thread(file, port) as served:
        upstream.script(Script(text="fine"))
        assert ask(served, "the falcon and the eagle").status == 200
        (sent,) = upstream.seen
        end = "and the <BIRD>" if steps is TOGETHER else "and the eagle"
        assert re.fullmatch(rf"the \[WORD_[0-9a-f]{{10,}}\] {end}", sent.json["messages"][0]["content"])

        upstream.script(Script(text="a falcon"))
        reply = ask(served, "hi")
        assert reply.status == 400
        assert b"falcon" not in reply.body
