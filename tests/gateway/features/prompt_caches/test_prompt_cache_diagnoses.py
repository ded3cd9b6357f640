"""A provider's own diagnosis of a miss: in the log as the provider's word, as evidence, and on request.

https://platform.claude.com/docs/en/build-with-claude/cache-diagnostics,
https://developers.openai.com/api/docs/guides/prompt-caching/diagnostics"""

import itertools
import json
from typing import Any, Final

import attrs
import pytest

from tests.support.features import needs_feature
from tests.support.gateway_thread import gateway_thread, serve_module
from tests.support.harness import Gateway, Reply, config, eventually, exchanges, provider
from tests.support.scripts import Script, Tokens
from tests.support.upstreams import JSON, PATHS, Raw, Upstream

pytestmark = needs_feature("cache_acts")

NUMBERS: Final = itertools.count(1)
TEXT: Final = "Answer as an engineer would, in full sentences and with examples. " * 300
MARK: Final = {"cache_control": {"type": "ephemeral"}}


@serve_module
def running(upstream):
    asks = {"diagnose": True}
    entries = [
        provider("anthropic/claude-sonnet-4-6", upstream.url, ["messages"], name="quiet"),
        provider("anthropic/claude-sonnet-4-6", upstream.url, ["messages"], name="asking", prompt_cache=asks),
        provider("openai/gpt-5.6-sol", upstream.url + "/v1", ["responses"], name="sol"),
        provider("openai/gpt-5.6-sol", upstream.url + "/v1", ["responses"], name="asking-sol", prompt_cache=asks),
        provider("openai/gpt-5.2", upstream.url + "/v1", ["chat"], name="asking-gpt", prompt_cache=asks),
    ]
    return config(entries)


@attrs.define
class Talk:
    """A conversation whose provider reports what the test wants."""

    gateway: Gateway
    upstream: Upstream
    model: str
    api: str
    name: str = attrs.field(factory=lambda: f"talk {next(NUMBERS)}")
    turns: int = 0

    def body(self, system: str, **more: Any) -> dict[str, Any]:
        said = [
            {"role": ("user", "assistant")[number % 2], "content": f"Part {number} of a {self.name} that has no equal."}
            for number in range(2 * self.turns + 1)
        ]
        text = f"{self.name}: {system} {TEXT}"
        if self.api == "responses":
            return {"model": self.model, "instructions": text, "input": said, "store": False, **more}
        if self.api == "chat":
            return {"model": self.model, "messages": [{"role": "system", "content": text}, *said], **more}
        said[-1]["content"] = [{"type": "text", "text": said[-1]["content"], **MARK}]  # type: ignore[assignment]
        system_blocks = [{"type": "text", "text": text, **MARK}]
        return {"model": self.model, "max_tokens": 9, "system": system_blocks, "messages": said, **more}

    def send(self, id: str, word: str | None, read: int, system: str = "same", **more: Any) -> dict[str, Any]:
        """Send a turn, to which the provider responds with ``id`` and a diagnosis, and return its log line."""
        reply = self.reply(id, word, read, system, **more)
        return dict(eventually(lambda: exchanges(self.gateway.log, reply.headers["x-request-id"]))[0])

    def reply(self, id: str, word: str | None, read: int, system: str = "same", **more: Any) -> Reply:
        self.upstream.script(self.answer(id, word, read))
        reply = self.gateway.request("POST", PATHS[self.api], self.body(system, **more))
        assert reply.status == 200, reply.body
        self.turns += 1
        return reply

    def answer(self, id: str, word: str | None, read: int) -> Script:
        """Return the answer ``id``, whose prompt missed its cache after ``read`` tokens because of ``word``."""
        total = 6000 + 20 * self.turns
        if self.api == "messages":
            reason = {"type": word, "cache_missed_input_tokens": total}
            more = {"diagnostics": {"cache_miss_reason": reason} if word else None}
        else:
            miss = {"type": "cache_miss", "reason": word, "cache_missed_tokens": total}
            given = (miss if word.endswith("changed") else {"type": word}) if word else None
            more = {"prompt_cache_diagnostics": given}
        tokens = Tokens(prompt=total, cache_read=read, cache_write=total - read, output=1)
        return Script("Yes.", tokens=tokens, more={"id": id, **more})

    @property
    def last_request(self) -> dict[str, Any]:
        """The last request that the provider received."""
        return dict(self.upstream.seen[-1].json)


def compared(id: str, api: str) -> dict[str, Any]:
    if api == "messages":
        return {"diagnostics": {"previous_message_id": id}}
    return {"prompt_cache_options": {"comparison_response_id": id}}


@pytest.mark.parametrize(
    ("model", "api", "stream"), [("quiet", "messages", False), ("quiet", "messages", True), ("sol", "responses", False)]
)
def test_the_providers_word_is_in_the_log(running, upstream, model, api, stream):
    talk = Talk(running, upstream, model, api)
    talk.send("id_1", None, 0)
    line = talk.send("id_2", "tools_changed", 6000, **compared("id_1", api), **({"stream": True} if stream else {}))
    assert line["prompt_cache_provider"] == "tools_changed"


def test_a_short_request_and_a_first_turn_have_it_too(running, upstream):
    """The client requested it, whatever the gateway knows of the conversation."""
    talk = Talk(running, upstream, "quiet", "messages")
    line = talk.send("id_1", "previous_message_not_found", 0, **compared("id_0", "messages"))
    assert line["prompt_cache_provider"] == "previous_message_not_found"
    upstream.script(talk.answer("id_2", "unavailable", 0))
    short = {"model": "quiet", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    reply = running.request("POST", PATHS["messages"], {**short, **compared("id_1", "messages")})
    line = eventually(lambda: exchanges(running.log, reply.headers["x-request-id"]))[0]
    assert line["prompt_cache_provider"] == "unavailable"


@pytest.mark.parametrize(
    ("model", "api", "agrees", "denies"),
    [
        ("quiet", "messages", "system_changed", "tools_changed"),
        ("sol", "responses", "input_changed", "reasoning_effort_changed"),
    ],
)
def test_a_diagnosis_of_the_same_requests_is_evidence(running, upstream, model, api, agrees, denies):
    for word, cause in ((agrees, "system"), (denies, "unknown:contradiction")):
        talk = Talk(running, upstream, model, api)
        talk.send("id_1", None, 0)
        line = talk.send("id_2", word, 0, "other", **compared("id_1", api))
        assert (line["prompt_cache_cause"], line["prompt_cache_provider"]) == (cause, word)


def test_a_diagnosis_against_another_response_denies_nothing(running, upstream):
    talk = Talk(running, upstream, "quiet", "messages")
    talk.send("id_1", None, 0)
    line = talk.send("id_2", "tools_changed", 0, "other", **compared("id_of_another_program", "messages"))
    assert (line["prompt_cache_cause"], line["prompt_cache_provider"]) == ("system", "tools_changed")


@pytest.mark.parametrize("word", [7, None, {"a": 1}, "", "x" * 1000, "new\nline"])
def test_a_strange_word_is_left_out(running, upstream, word):
    talk = Talk(running, upstream, "quiet", "messages")
    upstream.script(Script("Yes.", more={"diagnostics": {"cache_miss_reason": {"type": word}}}))
    reply = running.request("POST", PATHS["messages"], talk.body("same", **compared("id_0", "messages")))
    line = eventually(lambda: exchanges(running.log, reply.headers["x-request-id"]))[0]
    assert "prompt_cache_provider" not in line


# Requested by the gateway


@pytest.mark.parametrize("system", ["same", "other"])
def test_an_entry_compares_each_turn_with_the_one_before_from_the_first_on(running, upstream, system):
    talk = Talk(running, upstream, "asking", "messages")
    talk.send("msg_1", None, 0)
    assert talk.last_request["diagnostics"] == {"previous_message_id": None}
    line = talk.send("msg_2", "system_changed" if system == "other" else None, 0, system)
    assert talk.last_request["diagnostics"] == {"previous_message_id": "msg_1"}
    assert line["adapted"] == "diagnostics+"
    reply = talk.reply("msg_3", "messages_changed", 0)
    assert talk.last_request["diagnostics"] == {"previous_message_id": "msg_2"}
    assert json.loads(reply.body)["diagnostics"]["cache_miss_reason"]["type"] == "messages_changed"


def test_a_diagnosis_that_the_gateway_requested_denies(running, upstream):
    talk = Talk(running, upstream, "asking", "messages")
    talk.send("msg_1", None, 0)
    line = talk.send("msg_2", "tools_changed", 0, "other")
    assert line["prompt_cache_cause"] == "unknown:contradiction"


def test_other_providers_start_with_the_second_turn(running, upstream):
    talk = Talk(running, upstream, "asking-sol", "responses")
    talk.send("resp_1", None, 0)
    assert "prompt_cache_options" not in talk.last_request
    talk.send("resp_2", "cache_hit", 6000)
    assert talk.last_request["prompt_cache_options"] == {"comparison_response_id": "resp_1"}


def test_a_clients_own_request_stays(running, upstream):
    talk = Talk(running, upstream, "asking", "messages")
    talk.send("msg_1", None, 0)
    talk.send("msg_2", None, 6000, **compared("msg_of_mine", "messages"))
    assert talk.last_request["diagnostics"] == {"previous_message_id": "msg_of_mine"}
    sol = Talk(running, upstream, "asking-sol", "responses")
    sol.send("resp_1", None, 0)
    sol.send("resp_2", None, 6000, prompt_cache_options={"ttl": "12h"})
    assert sol.last_request["prompt_cache_options"] == {"ttl": "12h"}


def test_a_conversation_never_gets_the_id_of_another(running, upstream):
    one, other = (Talk(running, upstream, "asking", "messages") for _ in range(2))
    one.send("msg_one", None, 0)
    other.send("msg_other", None, 0)
    assert other.last_request["diagnostics"] == {"previous_message_id": None}
    one.send("msg_more", None, 6000)
    assert one.last_request["diagnostics"] == {"previous_message_id": "msg_one"}


def test_a_provider_without_diagnoses_gets_no_member(running, upstream):
    talk = Talk(running, upstream, "asking-gpt", "chat")
    upstream.script(Script(text="Yes."))
    body = talk.body("same")
    reply = running.request("POST", PATHS["chat"], body)
    assert reply.status == 200
    assert upstream.seen[-1].json.keys() == body.keys()


@pytest.mark.parametrize("path", ["diagnostics", "diagnostics.previous_message_id"])
def test_a_provider_that_rejects_the_request_gets_none(upstream, path):
    """A server in front of the provider may not know the member that the gateway adds."""
    error = {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": f"{path}: Extra inputs are not permitted"},
    }
    entry = provider(
        "anthropic/claude-sonnet-4-6", upstream.url, ["messages"], name="asking", prompt_cache={"diagnose": True}
    )
    with gateway_thread(config([entry])) as gateway:
        talk = Talk(gateway, upstream, "asking", "messages")
        upstream.script(Raw(400, JSON, (json.dumps(error).encode(),)), *[talk.answer("msg_1", None, 0)] * 2)
        for _ in range(2):
            assert gateway.request("POST", PATHS["messages"], talk.body("same")).status == 200
        assert ["diagnostics" in seen.json for seen in upstream.seen] == [True, False, False]
