"""Clients that bring the provider's key themselves, to a gateway without keys of its own: what of their headers is that
key, and whose the turns are that are kept for them (OWASP API1:2023, broken object level authorization)."""

from tests.support.each_row import each_row
from tests.support.gateway_thread import serve_module
from tests.support.harness import config, provider
from tests.support.upstreams import PATHS, Script

ALICE, BOB = "sk-own-alice-0123456789", "sk-own-bob-0123456789"
BASIC = "Basic dXNlcjpwYXNzd29yZA=="


@serve_module
def gateway(upstream):
    entries = []
    for model, speaks in (("openai/by-chat", "chat"), ("anthropic/by-messages", "messages")):
        entry = provider(model, upstream.url, [speaks], passthrough_auth=True)
        del entry["access_key"]
        entries.append(entry)
    return config(entries)


@each_row(
    ("shown", "passed"),
    [
        ({"authorization": f"Bearer {ALICE}"}, ALICE),
        ({"authorization": f"bearer  {ALICE}"}, ALICE),
        ({"x-api-key": ALICE}, ALICE),
        ({"authorization": BASIC, "x-api-key": ALICE}, ALICE),
        ({"authorization": "Bearer ", "x-api-key": ALICE}, ALICE),
        ({"authorization": BASIC}, None),
        ({"authorization": "Negotiate YII="}, None),
        ({"authorization": ALICE}, None),
        ({}, None),
    ],
)
@each_row("api", ["chat", "messages"])
def test_a_bearers_token_or_an_api_key_is_passed_on_and_nothing_else(gateway, upstream, api, shown, passed):
    upstream.script(Script(text="ok"))
    body = {"model": f"by-{api}", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    assert gateway.request("POST", PATHS[api], body, shown).status == 200
    (seen,) = upstream.seen
    as_bearer = api == "chat" or shown.get("authorization", "").lower().strip().startswith("bearer ")
    header, form = ("authorization", "Bearer {}") if as_bearer else ("x-api-key", "{}")
    assert seen.header(header) == (None if passed is None else form.format(passed))
    assert seen.header("x-api-key" if as_bearer else "authorization") is None
    assert "dXNlcjpwYXNzd29yZA" not in str(seen.headers)


def bearer(key: str | None) -> dict[str, str]:
    return {} if key is None else {"authorization": f"Bearer {key}"}


def test_an_id_alone_opens_nothing(gateway, upstream):
    upstream.script(*[Script(text="ok")] * 4)
    turn = {"model": "by-chat", "input": "a secret"}
    id = gateway.request("POST", "/v1/responses", turn, bearer(ALICE)).json["id"]
    conversation = gateway.request("POST", "/v1/conversations", {"metadata": {"a": "b"}}, bearer(ALICE)).json["id"]
    own = [f"/v1/responses/{id}", f"/v1/responses/{id}/input_items", f"/v1/conversations/{conversation}"]
    others = (bearer(BOB), bearer(None), {"authorization": BASIC}, {"x-trigate-key": ALICE})
    for path in own:
        assert [gateway.request("GET", path, None, shown).status for shown in others] == [404] * 4
        assert gateway.request("GET", path, None, bearer(ALICE)).status == 200
        assert gateway.request("GET", path, None, {"x-api-key": ALICE}).status == 200, "the same key in another header"
    for shown in others:
        for refers in ({"previous_response_id": id}, {"conversation": conversation}):
            assert gateway.request("POST", "/v1/responses", {**turn, **refers}, shown).status in (400, 404)
        assert gateway.request("DELETE", own[0], None, shown).status == 404
    assert len(upstream.seen) == 1
    again = {**turn, "previous_response_id": id}
    assert gateway.request("POST", "/v1/responses", again, bearer(ALICE)).status == 200
    assert "a secret" in upstream.seen[-1].body.decode()
