"""Request members together with the operator's steps."""

import json
from collections.abc import Iterator

import pytest
import yaml

from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, config, free_port, provider
from tests.support.upstreams import Script
from tests.support.wire_clients import ALL, body_of, path_of

CODE = """
from trigate.steps import Finding

async def secrets(check):
    return [Finding("word", one, 0, len(one.text)) for one in check.passages if "SECRET" in one.text]

async def names(check):
    return [
        Finding("name", one, one.text.index("Ada"), one.text.index("Ada") + 3)
        for one in check.passages if "Ada" in one.text
    ]
"""


@pytest.fixture(scope="module")
def gateway(upstream, tmp_path_factory) -> Iterator[Gateway]:
    folder, port = tmp_path_factory.mktemp("steps"), free_port()
    (folder / "steps.py").write_text(CODE)
    steps = [
        {"use": "./steps.py:secrets", "name": "secrets", "action": "refuse", "at": ["request"]},
        {"use": "./steps.py:names", "name": "names", "action": "mask", "at": ["request"]},
    ]
    members = {"default": {"temperature": 0.5}, "system": {"before": "SECRET of the operator"}, "drop": ["user"]}
    settings = config(
        [provider("up/m", f"{upstream.url}/v1", ["chat"], name="m")], port, steps=steps,
        model_aliases={"alias": {"target": "m", "request": members}},
        signing_key="c2lnbmluZy1rZXktZm9yLXRlc3RzLTAxMjM0NTY3ODk=",
    )  # fmt: skip
    file = folder / "trigate.yaml"
    file.write_text(yaml.safe_dump(settings, sort_keys=False))
    with gateway_thread(file, port) as running:
        yield running


@needs_feature("steps")
@each_row("api", ALL)
def test_steps_see_no_text_of_the_operator_and_members_survive_a_mask(gateway, upstream, api):
    upstream.script(Script("ok"))
    path, body = path_of(api, "alias", stream=False), body_of(api, "alias", "Ada is here", stream=False)
    reply = gateway.request("POST", path, body)
    assert reply.status == 200, reply.body
    sent = upstream.seen[0].json
    assert sent["temperature"] == 0.5
    words = json.dumps(sent)
    assert ("SECRET of the operator" in words, "Ada" in words, "[NAME_" in words) == (True, False, True)
    refused = body_of(api, "alias", "my SECRET", stream=False)
    assert gateway.request("POST", path, refused).status == 400
