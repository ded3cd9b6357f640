"""Clients add checks to their own requests, and can remove none.

LiteLLM's form: https://docs.litellm.ai/docs/proxy/guardrails/quick_start. Bypasses by the body of a request:
https://github.com/BerriAI/litellm/issues/33944."""

from typing import Any

import pytest
import yaml

from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import config, free_port, provider, request
from tests.support.upstreams import Script

CODE = """
from trigate.steps import Finding

def word(check):
    return [Finding("word", one, 0, 1) for one in check.passages if "falcon" in one.text]
"""


STEPS: list[dict[str, Any]] = [
    {"use": "./steps.py:word", "name": "wanted", "for": "on_request"},
    {"use": "./steps.py:word", "name": "others", "for": {"on_request": True, "models": ["other"]}},
    {"use": "./steps.py:word", "name": "always", "for": {"models": ["always"]}},
]


def serve(upstream, folder, **more: Any) -> Any:
    """Return a context with a gateway for three models."""
    file, port = folder / "trigate.yaml", free_port()
    (folder / "steps.py").write_text(CODE)
    entries = [
        provider(f"openai/{name}", upstream.url + "/v1", ["chat"], name=name) for name in ("plain", "always", "other")
    ]
    file.write_text(yaml.safe_dump(config(entries, port, client_routing=["litellm"], **more), sort_keys=False))
    return gateway_thread(file, port)


@pytest.fixture(scope="module")
def gateway(upstream, tmp_path_factory):
    with serve(upstream, tmp_path_factory.mktemp("steps"), steps=STEPS) as served:
        yield served


def ask(gateway, model: str = "plain", *, names: str | None = None, text: str = "about falcon", **members: Any) -> Any:
    """Return the reply to a request about ``text`` with the header ``names``."""
    body = {"model": model, "messages": [{"role": "user", "content": text}], **members}
    headers = {} if names is None else {"x-trigate-steps": names}
    return request(f"http://127.0.0.1:{gateway.port}", "POST", "/v1/chat/completions", body, headers)


def test_a_step_on_request_runs_only_for_requests_that_list_it(gateway, upstream):
    upstream.script(Script(text="fine"), Script(text="fine"))
    assert ask(gateway).status == 200
    refused = ask(gateway, names="wanted")
    assert (refused.status, refused.headers["x-trigate-refused-by"]) == (400, "wanted")
    assert ask(gateway, names="wanted", text="about planes").status == 200


@pytest.mark.parametrize("guardrails", [["wanted"], [{"wanted": {}}]])
def test_a_body_in_litellms_form_lists_it_too(gateway, upstream, guardrails):
    assert ask(gateway, guardrails=guardrails).headers["x-trigate-refused-by"] == "wanted"
    upstream.script(Script(text="fine"))
    assert ask(gateway, guardrails=guardrails, text="about planes").status == 200
    assert b"guardrails" not in upstream.seen[0].body


@each_row(
    ("names", "members", "message"),
    [
        ("missing", {}, "x-trigate-steps: there is no step 'missing' for this client"),
        ("wanted, missing", {}, "x-trigate-steps: there is no step 'missing' for this client"),
        ("others", {}, "x-trigate-steps: there is no step 'others' for this client"),
        (" ,", {}, "x-trigate-steps must have at least one step"),
        (None, {"guardrails": ["missing"]}, "guardrails[0]: there is no step 'missing' for this client"),
        (None, {"guardrails": "wanted"}, "guardrails must be a list of names"),
        (None, {"guardrails": [{"wanted": {"extra_body": {"score": 1}}}]}, "clients cannot set parameters of a step"),
    ],
)
def test_a_step_that_does_not_exist_for_the_client_is_a_mistake_of_its_request(gateway, names, members, message):
    reply = ask(gateway, names=names, text="about planes", **members)
    assert reply.status == 400
    assert message in reply.body.decode()


def test_no_request_removes_a_step(gateway):
    for more in ({"names": "wanted"}, {"guardrails": []}, {"guardrails": ["wanted"]}, {"guardrails": None}):
        reply = ask(gateway, "always", **more)
        assert reply.status == 400
        assert reply.headers["x-trigate-refused-by"] in ("always", "wanted")


def test_without_steps_every_name_is_unknown(upstream, tmp_path):
    with serve(upstream, tmp_path) as plain:
        upstream.script(Script(text="fine"))
        assert ask(plain).status == 200
        for more in ({"names": "wanted"}, {"guardrails": ["wanted"]}):
            reply = ask(plain, **more)
            assert reply.status == 400
            assert "there is no step 'wanted' for this client" in reply.body.decode()
