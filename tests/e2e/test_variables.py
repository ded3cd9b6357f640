"""Texts from environment variables in every role that encoders write: names, models, members and instructions."""

from tests.support.apis import OLDER, question
from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import config, eventually, exchanges, provider
from tests.support.upstreams import PATHS, Script

KEY = "sk-gw-search-0123456789"
VARIABLES = {
    "PROVIDER_MODEL": "one/a", "ENTRY": "mine", "ALIAS_TARGET": "mine", "TEAM": "search", "GROUP": "research",
    "USER": "ann", "WORDS": "Answer briefly.", "PATTERN": "falcon",
}  # fmt: skip


@needs_feature("steps")
@needs_feature("request_members")
@needs_feature("model_lists")
@each_row("api", OLDER)
def test_texts_from_variables_are_logged_listed_and_sent(upstream, api):
    members = {"set": {"user": "$USER"}, "default": {"metadata": {"team": "$TEAM"}}, "system": {"before": "$WORDS"}}
    settings = config(
        [{**provider("$PROVIDER_MODEL", upstream.url, ["chat"]), "name": "$ENTRY", "request": members}],
        model_aliases={"best": {"targets": ["$ALIAS_TARGET"]}},
        client_groups=[{"name": "$GROUP"}],
        client_keys=[{"name": "$TEAM", "key": KEY, "group": "$GROUP"}],
        steps=[{"use": "regex", "action": "report", "with": {"patterns": {"project": "$PATTERN"}}}],
    )
    upstream.script(Script(text="ok"))
    with gateway_thread(settings, env=VARIABLES) as gateway:
        headers = {"authorization": f"Bearer {KEY}"}
        listed = gateway.request("GET", "/v1/models", None, headers)
        assert sorted(model["id"] for model in listed.json["data"]) == ["best", "mine"]
        reply = gateway.request("POST", PATHS[api], question(api, "best", "falcon"), headers)
        assert reply.status == 200, reply.body
        (line,) = eventually(lambda: [one for one in exchanges(gateway.log) if one["api"] == api])
    assert (line["client"], line["target"]) == ("search", "one/a")
    assert line["model"] == "best"
    (sent,) = upstream.seen
    assert sent.json["user"] == "ann"
    assert sent.json["metadata"] == {"team": "search"}
    assert sent.json["messages"][0] == {"role": "system", "content": "Answer briefly."}
