"""The configurations of ``docs/routing.md`` load, and requests to its example to try end as the page states."""

import pytest
import yaml

from gateway.config_files.loading import load
from gateway.config_reports.warnings import warnings_of
from tests.support.doc_blocks import blocks_in
from tests.support.gateway_thread import gateway_thread, mock_thread
from tests.support.harness import ROOT, free_port

PAGE = (ROOT / "docs" / "routing.md").read_text()
BLOCKS = blocks_in(PAGE, "yaml")
KEYS = {f"{name}_API_KEY": f"sk-of-{name}" for name in ("OPENAI", "ANTHROPIC", "OPENROUTER", "GEMINI", "DEEPSEEK")}


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_a_block_is_a_configuration_without_a_mistake_or_a_doubt(block, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(block)
    config = load(path, KEYS)
    assert config.routes
    assert not warnings_of(config)
    assert not config.ineffective


def test_the_example_to_try_goes_as_the_page_says():
    port, example = free_port(), blocks_in(PAGE.partition("\n## Try it\n")[2], "yaml")[0]
    body = {"model": "steady", "messages": [{"role": "user", "content": "hi"}]}
    with mock_thread() as mock:
        settings = yaml.safe_load(example.replace("http://127.0.0.1:51001", mock.url))
        settings["listeners"][0]["port"] = port
        with gateway_thread(settings, port) as gateway:
            replies = [gateway.request("POST", "/v1/chat/completions", body) for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 200]
    assert [reply.headers["x-trigate-tried"] for reply in replies] == [
        "first=overloaded, second=quota, third=ok",
        "first=overloaded, third=ok",
        "first=ok",
    ]
