"""Request members on the paths of other servers, in the background, and over translations from there."""

from typing import Any, Final

from tests.support.compatible_requests import compatible_requests
from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.gateway_thread import serve_module
from tests.support.harness import config, eventually
from tests.support.step_providers import entries_of
from tests.support.upstreams import Script, Upstream

pytestmark = needs_feature("compatible_clients")

TARGETS: Final = ("chat", "messages", "responses")
REQUEST: Final = {
    "set": {"temperature": 0.5},
    "default": {"top_p": 0.25},
    "max": {"max_tokens": 40},
    "system": {"before": "ALIAS-BEFORE"},
}


def requests(model: str, *, stream: bool) -> dict[str, dict[str, Any]]:
    return compatible_requests(model, "hi", stream=stream, temperature=1)


CELLS: Final = [
    (path, target, stream)
    for turn, target in enumerate(TARGETS)
    for stream in (False, True)
    for at, path in enumerate(requests(f"a-{target}", stream=stream))
    if (at + turn + stream) % len(TARGETS) == 0
]
"""Each path, streamed and whole, with targets by turns."""


@serve_module
def gateway(upstream):
    aliases = {f"a-{api}": {"target": f"on-{api}", "request": REQUEST} for api in TARGETS}
    more = {"state_storage": {"type": "memory"}, "compatibility": ["azure", "litellm"]}
    return config(entries_of(upstream.url, TARGETS), model_aliases=aliases, **more)


def check_members(upstream: Upstream, target: str) -> None:
    (seen,) = upstream.seen
    assert (seen.json["temperature"], seen.json["top_p"]) == (0.5, 0.25)
    names = ("max_tokens", "max_completion_tokens", "max_output_tokens")
    assert [seen.json[name] for name in names if name in seen.json] == [40]
    assert seen.body.count(b"ALIAS-BEFORE") == 1


@each_row(("path", "target", "stream"), CELLS)
def test_members_apply_on_the_paths_of_other_servers(gateway, upstream, path, target, stream):
    upstream.script(Script("It is done."))
    reply = gateway.request("POST", path, requests(f"a-{target}", stream=stream)[path])
    assert reply.status == 200, reply.body
    check_members(upstream, target)
    assert b"ALIAS" not in reply.body
    assert {"temperature=0.5", "top_p=0.25", "system+"} <= set(reply.headers["x-trigate-adapted"].split(","))


@each_row("target", TARGETS)
def test_members_apply_to_background_turns(gateway, upstream, target):
    upstream.script(Script("It is done."))
    body = {"model": f"a-{target}", "input": "hi", "background": True, "store": True}
    reply = gateway.request("POST", "/v1/responses", body)
    assert reply.status == 200, reply.body
    path = f"/v1/responses/{reply.json['id']}"
    eventually(lambda: gateway.request("GET", path).json["status"] == "completed", what="the turn's end")
    check_members(upstream, target)
    assert b"ALIAS" not in gateway.request("GET", path).body
