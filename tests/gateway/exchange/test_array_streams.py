"""Streams as one JSON array, which Google's clients on REST read, if keep-alives precede the first content."""

import json

from tests.support.cases import case
from tests.support.every_api import entries_of_every_api
from tests.support.gateway_thread import serve_module
from tests.support.harness import Gateway, config
from tests.support.lanes import events_of
from tests.support.scripts import Script
from tests.support.upstreams import STREAM, Raw
from tests.support.wire_clients import body_of

SILENT = Raw(200, STREAM, (b": wait\n\n",) * 4, "chunked", interval=0.1)
"""An answer without content, during which the gateway sends several keep-alives."""
APIS = ("chat", "messages", "gemini")


@serve_module
def gateway(upstream):
    routes = {f"route-{api}": {"targets": [f"m-{api}", "m-responses"]} for api in APIS}
    entries = entries_of_every_api(upstream.url)
    return config(entries, keep_alive=0.05, model_aliases=routes)


def array_for(gateway: Gateway, model: str) -> tuple[list[dict[str, object]], str]:
    """Return the elements of a streamed answer, and its text."""
    body = body_of("gemini", model, stream=True)
    found = json.loads(gateway.request("POST", f"/v1beta/models/{model}:streamGenerateContent", body).body)
    parts = [part for one in found for part in one.get("candidates", [{}])[0].get("content", {}).get("parts", ())]
    return found, "".join(part.get("text", "") for part in parts)


def test_an_array_stays_one_value_if_the_only_target_fails_after_keep_alives(gateway, upstream):
    for api in APIS:
        with case(api):
            upstream.script(SILENT, SILENT)
            found, _ = array_for(gateway, f"m-{api}")
            assert len(found) > 2
            assert [*found[-1]] == ["error"]


def test_an_array_stays_one_value_if_another_target_answers_after_keep_alives(gateway, upstream):
    for api in APIS:
        with case(api):
            upstream.script(SILENT, Script(text="The answer is 42."))
            found, text = array_for(gateway, f"route-{api}")
            assert len(found) > 3
            assert text == "The answer is 42."


def test_an_array_stays_one_value_if_keep_alives_precede_an_event_without_content(gateway, upstream):
    first = b'data: {"candidates":[{"content":{"role":"model","parts":[{"text":""}]},"index":0}]}\r\n\r\n'
    rest = events_of("gemini", Script(text="The answer is 42."))
    upstream.script(Raw(200, STREAM, (first, *SILENT.pieces, *rest), "chunked", interval=0.1))
    found, text = array_for(gateway, "m-gemini")
    assert len(found) > 3
    assert text == "The answer is 42."
