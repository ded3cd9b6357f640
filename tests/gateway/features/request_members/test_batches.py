"""Request members in batches: the lines of files, and requests in the body."""

import json
from typing import Any

import msgspec

from tests.support.features import needs_feature
from tests.support.kept_clients import CLIENTS, KEYS, Served, with_gateway
from tests.support.kept_provider import form

pytestmark = needs_feature("files")

MEMBERS = {"default": {"temperature": 0.2}, "max": {"max_tokens": 40}, "drop": ["user"], "system": {"before": "FIRST"}}
CLIENT = [{**CLIENTS[0], "request": {"system": {"after": "LAST"}, "set": {"top_p": 0.5}}}, *CLIENTS[1:]]
ENTRY = {"request": {"default": {"temperature": 0.9}, "system": {"before": "SECOND"}, "max": {"max_tokens": 60}}}
LINE = (
    b'{"custom_id": "r0", "method": "POST", "url": "/v1/chat/completions", "body": '
    b'{"model": "named",  "messages": [{"role": "user",  "content": "Hi \\u00e9"}], "user": "someone"}}\n'
)
EDITED = (  # without sampling settings, which this model refuses hours later
    b'{"custom_id": "r0", "method": "POST", "url": "/v1/chat/completions", "body": '
    b'{"model":"gpt-5","messages":[{"role":"system","content":"FIRST"},{"role":"system","content":"SECOND"},'
    b'{"role":"system","content":"LAST"},{"role": "user",  "content": "Hi \\u00e9"}],'
    b'"max_completion_tokens":40}}\n'
)


@with_gateway(
    "openai", clients=CLIENT, entry=ENTRY, model_aliases={"named": {"target": "openai/gpt-5", "request": MEMBERS}}
)
def test_each_line_of_a_file_has_the_members_except_for_another_purpose(served: Served) -> None:
    for purpose, expected in (("batch", EDITED), ("user_data", LINE)):
        served.openai(KEYS["a"]).files.create(file=("b.jsonl", LINE), purpose=purpose)  # type: ignore[arg-type]
        _, sent = form(served.providers["openai"].asked[-1])["file"]
        assert sent == expected


@with_gateway(
    "anthropic", clients=CLIENT, entry=ENTRY,
    model_aliases={"named": {"target": "anthropic/claude-x", "request": MEMBERS}},
)  # fmt: skip
def test_each_request_of_an_anthropic_batch_has_the_members(served: Served) -> None:
    """Newer Claude models refuse sampling settings."""
    params: Any = {"max_tokens": 99, "messages": [{"role": "user", "content": "Hi"}], "metadata": {"user_id": "u"}}
    requests: Any = [{"custom_id": "r0", "params": {"model": "named", **params}}]
    served.anthropic(KEYS["a"]).messages.batches.create(requests=requests)
    (sent,) = msgspec.json.decode(served.providers["anthropic"].asked[-1].body)["requests"]
    texts = [{"type": "text", "text": text} for text in ("FIRST", "SECOND", "LAST")]
    assert sent["params"] == {
        "model": "claude-x", "max_tokens": 40, "messages": params["messages"],
        "system": texts,
    }  # fmt: skip


@with_gateway(
    "mistral", clients=CLIENT, model_aliases={"named": {"target": "mistral/mistral-small", "request": MEMBERS}}
)
def test_each_request_in_the_body_of_a_batch_has_the_members(served: Served) -> None:
    body = {
        "endpoint": "/v1/chat/completions", "model": "named",
        "requests": [{"custom_id": "r0", "body": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 99}}],
    }  # fmt: skip
    answer = served.http("POST", "/v1/batches", content=json.dumps(body))
    assert answer.status_code == 200, answer.text
    (sent,) = served.providers["mistral"].asked[-1].json["requests"]
    assert (sent["body"]["max_tokens"], sent["body"]["temperature"]) == (40, 0.2)
    assert [one["content"] for one in sent["body"]["messages"]] == ["FIRST", "LAST", "Hi"]
