"""Tests of responses and conversations that a provider stores: calls about them pass, but only for their owner."""

import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from providers.responses.tools import is_own_id
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, Wire, complaint, config, post, provider
from tests.support.raw_call import END, SSE, check_log, chunks, line
from tests.support.responses_api import bearer, check_stream, final, read_chunks, refusal, stored, turn
from tests.support.upstreams import (
    JSON,
    STREAM,
    Raw,
    Script,
    Seen,
    Upstream,
    fake_upstream,
    responses_answer,
    responses_stream,
)

ALICE, BOB = "sk-gw-alice-0123456789", "sk-gw-bob-0123456789"
KEYS = [{"name": "alice", "key": ALICE}, {"name": "bob", "key": BOB}]
NUMBERS = itertools.count()
NO = json.dumps({"error": {"message": "no such thing", "type": "invalid_request_error"}}).encode()


def json_response(value: Any, status: int = 200) -> Raw:
    return Raw(status, JSON, (json.dumps(value).encode(),))


def with_id(id: str, pieces: Iterable[bytes]) -> list[bytes]:
    return [piece.replace(b"resp_up1", id.encode()) for piece in pieces]


class Keeper:
    """A provider that stores its responses; their ids contain its name."""

    def __init__(self, upstream: Upstream, name: str) -> None:
        self.url, self.name = upstream.url, name
        self.kept: dict[str, dict[str, Any]] = {}
        self.seen: list[Seen] = []
        self.fails: int | None = None
        self.replies: Callable[[Seen], Raw | None] = lambda seen: None
        upstream.answer = self.answer  # type: ignore[method-assign]

    def answer(self, seen: Seen) -> Raw:
        self.seen.append(seen)
        if self.fails is not None:
            return Raw(self.fails, JSON, (NO,))
        if (raw := self.replies(seen)) is not None:
            return raw
        if seen.path == "/v1/responses":
            return self._make(seen.json)
        found = re.fullmatch(r"/v1/responses/([^/]+)(/cancel|/input_items)?", seen.path)
        if found is None or found[1] not in self.kept:
            return Raw(404, JSON, (NO,))
        if seen.method == "DELETE":
            del self.kept[found[1]]
            return json_response({"id": found[1], "object": "response.deleted", "deleted": True})
        if found[2] == "/cancel":
            self.kept[found[1]]["status"] = "cancelled"
        if found[2] == "/input_items":
            return json_response({"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False})
        return json_response(self.kept[found[1]])

    def _make(self, asked: dict[str, Any]) -> Raw:
        id = f"resp_{self.name}{next(NUMBERS)}"
        answer = {**responses_answer(Script(text="It is 7."), asked["model"]), "id": id}
        if asked.get("background"):
            answer |= {"status": "queued", "output": [], "background": True}
        self.kept[id] = answer
        if not asked.get("stream"):
            return json_response(answer)
        pieces = tuple(
            piece.replace(b"resp_up1", id.encode()) for piece in responses_stream(Script(text="It is 7."), asked)
        )
        return Raw(200, STREAM, pieces, "chunked")


@pytest.fixture(scope="module")
def ups() -> Iterator[tuple[Upstream, Upstream]]:
    with fake_upstream() as one, fake_upstream() as two:
        yield one, two


@pytest.fixture
def keeper(ups) -> Keeper:
    return Keeper(ups[0], "one")


@pytest.fixture
def other_keeper(ups) -> Keeper:
    return Keeper(ups[1], "two")


@pytest.fixture(scope="module")
def chat() -> Iterator[Upstream]:
    with fake_upstream() as up:
        yield up


def models(ups, chat, by_hand) -> list[dict[str, Any]]:
    return [
        provider("openai/one", ups[0].url, key="sk-number-one"),
        provider("openai/one-more", ups[0].url, key="sk-number-one"),  # the same account
        provider("openai/two", ups[1].url, key="sk-number-two", headers={"x-team": "search"}),
        provider("openai/chat", chat.url, ["chat"], key="sk-chat"),
        provider("openai/hand", by_hand.url, key="sk-hand"),
    ]


@pytest.fixture(scope="module")
def gateway(ups, chat, by_hand) -> Iterator[Gateway]:
    with gateway_thread(config(models(ups, chat, by_hand)[:-1])) as process:
        yield process
    check_log(process)


@pytest.fixture(scope="module")
def with_keys(ups, chat, by_hand) -> Iterator[Gateway]:
    with gateway_thread(config(models(ups, chat, by_hand), client_keys=KEYS)) as process:
        yield process
    check_log(process)


# Without keys


def test_a_turn_passes_byte_for_byte(gateway, keeper):
    body = b'{ "model":"one","previous_response_id" : "resp_theirs",\n "store":true, "input":"hi", "conversation":null}'
    reply = gateway.request("POST", "/v1/responses", body)
    assert (reply.status, reply.headers["x-trigate-lane"]) == (200, "byte")
    assert keeper.seen[0].body == body
    assert reply.json["id"] in keeper.kept


def test_a_conversation_of_the_providers_passes(gateway, keeper):
    assert turn(gateway, "one", conversation="conv_theirs").status == 200
    assert keeper.seen[0].json["conversation"] == "conv_theirs"


CALLS = [
    ("GET", "?include%5B%5D=message.output_text.logprobs&unknown=a%20b", None),
    ("GET", "/input_items?limit=2&after=msg_1&order=asc", None),
    ("POST", "/cancel", None),
    ("POST", "/cancel", b"{}"),
    ("DELETE", "", None),
]


@pytest.mark.parametrize(("method", "rest", "body"), CALLS)
def test_calls_about_a_response_pass_with_the_providers_credentials(gateway, keeper, other_keeper, method, rest, body):
    id = turn(gateway, "one").json["id"]
    keeper.seen.clear()
    headers = {"authorization": "Bearer sk-of-the-client", "x-api-key": "sk-of-the-client"}
    reply = gateway.request(method, f"/v1/responses/{id}{rest}", body, headers)
    assert reply.status == 200
    (seen,) = keeper.seen
    path, _, query = rest.partition("?")
    assert (seen.method, seen.path, seen.query) == (
        method,
        f"/v1/responses/{id}{path}",
        query.removesuffix("&unknown=a%20b"),
    )
    assert seen.body == (body or b"")
    assert seen.header("authorization") == "Bearer sk-number-one"
    assert "sk-of-the-client" not in str(seen.headers)
    assert other_keeper.seen == []


@pytest.mark.parametrize(
    ("method", "rest", "body"),
    [
        ("GET", "", None),
        ("POST", "", b'{"metadata":{"a": "b"}}'),
        ("DELETE", "", None),
        ("GET", "/items?limit=3", None),
        ("POST", "/items", b'{ "items":[{"role":"user","content":"hi tg1."}]}'),
        ("GET", "/items/msg_1", None),
        ("DELETE", "/items/msg_1", None),
    ],
)
def test_calls_about_a_conversation_pass(gateway, keeper, other_keeper, method, rest, body):
    def reply(seen: Seen) -> Raw | None:
        return json_response({"id": "conv_theirs"}) if "conv_theirs" in seen.path else None

    other_keeper.replies = reply
    assert gateway.request(method, f"/v1/conversations/conv_theirs{rest}", body).json == {"id": "conv_theirs"}
    (seen,) = other_keeper.seen
    path, _, query = rest.partition("?")
    assert (seen.method, seen.path, seen.query) == (method, f"/v1/conversations/conv_theirs{path}", query)
    assert seen.body == (body or b"")
    assert (seen.header("authorization"), seen.header("x-team")) == ("Bearer sk-number-two", "search")
    assert keeper.seen[0].header("authorization") == "Bearer sk-number-one"  # this provider does not know it


def test_a_stream_that_is_replayed_passes(gateway, keeper):
    pieces = tuple(responses_stream(Script(text="It is 7."), {"model": "one"}))[-4:]
    keeper.replies = lambda seen: Raw(200, STREAM, pieces, "chunked")
    reply = stored(gateway, "resp_theirs", "?stream=true&starting_after=4")
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.body == b"".join(pieces)
    assert (keeper.seen[0].path, keeper.seen[0].query) == ("/v1/responses/resp_theirs", "stream=true&starting_after=4")


def test_each_account_is_queried_once_in_turn(gateway, keeper, other_keeper):
    id = turn(gateway, "two").json["id"]
    assert stored(gateway, id).json["id"] == id
    assert [seen.path for seen in keeper.seen] == [f"/v1/responses/{id}"]
    other_keeper.seen.clear()
    reply = stored(gateway, "resp_nobodys")
    assert refusal(reply, 404)["message"] == "Response with id 'resp_nobodys' not found."
    assert (len(keeper.seen), len(other_keeper.seen)) == (2, 1)


@pytest.mark.parametrize("status", [400, 401, 500, 503])
def test_a_failing_provider_does_not_hide_another_providers_response(gateway, keeper, other_keeper, status):
    id = turn(gateway, "two").json["id"]
    keeper.fails = status
    reply = stored(gateway, id)
    assert (reply.status, reply.json["id"]) == (200, id)
    assert line(gateway, reply.headers["x-request-id"])["ended"] == "complete"
    assert complaint("responses", stored(gateway, "resp_nobodys"), {401: 502}.get(status, status), passed=True)


def test_an_id_of_the_gateway_is_never_sent_to_a_provider(gateway, keeper, other_keeper, chat):
    chat.script(Script(text="It is 7."))
    id = final(turn(gateway, "chat"))["id"]
    for method, rest in (("GET", ""), ("GET", "/input_items"), ("POST", "/cancel"), ("DELETE", ""), ("GET", "")):
        gateway.request(method, f"/v1/responses/{id}{rest}")
    assert keeper.seen == other_keeper.seen == []


# Conversations that began at the gateway


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_a_gateways_response_continues_with_a_provider_that_stores_its_own(gateway, keeper, chat, stream):
    chat.script(Script(text="It is 7."), Script(text="Yes."))
    first = final(turn(gateway, "chat", "What is it?"))["id"]
    second = final(turn(gateway, "one", "Sure?", previous_response_id=first, stream=stream))
    assert is_own_id(second["id"])
    assert second["previous_response_id"] == first
    asked = keeper.seen[0].json
    assert "previous_response_id" not in asked
    assert asked["store"] is False
    assert "It is 7." in json.dumps(asked["input"])
    assert "tg1." not in keeper.seen[0].body.decode()
    third = final(turn(gateway, "chat", "Really?", previous_response_id=second["id"]))
    assert third["status"] == "completed"


def test_a_reference_to_a_gateways_item_is_resolved_for_such_a_provider(gateway, keeper, chat):
    chat.script(Script(text="It is 7."))
    (item,) = final(turn(gateway, "chat", "What is it?"))["output"]
    input = [{"role": "user", "content": "What is it?"}, {"type": "item_reference", "id": item["id"]},
             {"role": "user", "content": "Sure?"}]  # fmt: skip
    assert turn(gateway, "one", input).status == 200
    assert "It is 7." in json.dumps(keeper.seen[0].json)
    assert "item_reference" not in keeper.seen[0].body.decode()
    assert "tg1." not in keeper.seen[0].body.decode()


# With keys


def test_each_client_reaches_its_own_responses(with_keys, keeper, other_keeper):
    for model in ("one", "two"):
        id = turn(with_keys, model, key=ALICE).json["id"]
        assert stored(with_keys, id, key=ALICE).json["id"] == id
        assert turn(with_keys, model, previous_response_id=id, key=ALICE).status == 200
    assert {seen.header("authorization") for seen in keeper.seen} == {"Bearer sk-number-one"}
    assert {seen.header("authorization") for seen in other_keeper.seen} == {"Bearer sk-number-two"}


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_another_keys_response_returns_404_without_a_provider_request(with_keys, keeper, other_keeper, stream):
    id = final(turn(with_keys, "one", key=ALICE, stream=stream))["id"]
    keeper.seen.clear()
    for method, rest, _ in CALLS:
        assert refusal(with_keys.request(method, f"/v1/responses/{id}{rest}", headers=bearer(BOB)), 404)
    error = refusal(turn(with_keys, "one", previous_response_id=id, key=BOB))
    assert error["code"] == "previous_response_not_found"
    for path in ("input_tokens", "compact"):
        asked = {"model": "one", "input": "hi", "previous_response_id": id}
        assert refusal(with_keys.request("POST", f"/v1/responses/{path}", asked, bearer(BOB)))["code"] == error["code"]
    assert keeper.seen == other_keeper.seen == []


@pytest.mark.parametrize("conversation", ["conv_theirs", {"id": "conv_theirs"}])
def test_a_conversation_of_another_key_returns_404(with_keys, keeper, conversation):
    assert refusal(turn(with_keys, "one", conversation=conversation, key=BOB), 404)
    assert refusal(with_keys.request("GET", "/v1/conversations/conv_theirs", headers=bearer(BOB)), 404)
    assert keeper.seen == []


@pytest.mark.parametrize(
    "conversation", ['{"id":"conv_theirs","id":null}', '{"id":"conv_theirs","id":""}', '{"Id":"conv_theirs"}']
)
def test_a_conversation_with_another_id_for_other_decoders_is_refused(with_keys, keeper, conversation):
    """https://bishopfox.com/blog/json-interoperability-vulnerabilities"""
    body = f'{{"model":"one","input":"hi","conversation":{conversation}}}'.encode()
    assert refusal(with_keys.request("POST", "/v1/responses", body, bearer(BOB)))["param"] == "conversation"
    assert keeper.seen == []


def test_with_keys_and_without_a_store_no_client_counts_as_owner(ups, chat, by_hand, keeper):
    settings = config(models(ups, chat, by_hand), client_keys=KEYS, state_storage={"type": "none"})
    with gateway_thread(settings) as own:
        id = turn(own, "one", key=ALICE).json["id"]
        keeper.seen.clear()
        for key in (ALICE, BOB):
            for more in ({"previous_response_id": id}, {"conversation": "conv_x"}, {"background": True}):
                error = refusal(turn(own, "one", key=key, **more))
                assert error["param"] in more
                assert "stores no state" in error["message"]
            for method, rest, _ in CALLS:
                assert own.request(method, f"/v1/responses/{id}{rest}", headers=bearer(key)).status in (400, 404)
        assert keeper.seen == []


def test_only_the_owner_polls_a_turn_in_the_providers_background(with_keys, keeper):
    reply = turn(with_keys, "one", background=True, key=ALICE)
    assert reply.json["status"] == "queued"
    id = reply.json["id"]
    assert stored(with_keys, id, key=ALICE).json["status"] == "queued"
    assert with_keys.request("POST", f"/v1/responses/{id}/cancel", headers=bearer(ALICE)).json["status"] == "cancelled"
    assert stored(with_keys, id, key=BOB).status == 404


def test_only_the_owner_resumes_a_lost_stream_in_the_background(with_keys, keeper, by_hand):
    pieces = [
        piece.replace(b"resp_up1", b"resp_lost") for piece in responses_stream(Script(text="one two"), {"model": "h"})
    ]
    at = next(i for i, piece in enumerate(pieces) if b"delta" in piece and b"one" in piece) + 1
    asked = {"model": "hand", "input": "hi", "background": True, "stream": True}
    with Wire.connect(with_keys.port) as client:
        client.send(post("/v1/responses", asked, bearer(ALICE)))
        with by_hand.accept() as up:
            up.read_request()
            up.send(SSE + chunks(*pieces[:at]))
            client.read_until(b"one")
            client.reset()
            with Wire.connect(with_keys.port) as again:
                path = f"/v1/responses/resp_lost?stream=true&starting_after={at - 1}"
                head = f"GET {path} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {ALICE}\r\nconnection: close\r\n\r\n"
                again.send(head.encode())
                with by_hand.accept() as other:
                    assert other.read_until(b"\r\n\r\n").startswith(f"GET {path} ".encode())
                    other.send(SSE + chunks(*pieces[at:]) + END)
                    rest = read_chunks(again.read_to_end())
    check_stream(b"".join(pieces[:at]) + rest)


# Hostile ids

HOSTILE = [
    "..", "%2e%2e", "%2E%2E%2Fadmin", "..%2f..%2fadmin", "a%2Fb", "a/b/c", "%252e%252e", ".", "%00",
    "a%0d%0aHost:%20evil", "a%3Fx=1", "a%23b", "%ff", "a;b", "x" * 6000, "%F0%9F%98%80", "a%20b", "%5c..%5c",
]  # fmt: skip


@pytest.mark.parametrize("kind", ["responses", "conversations"])
@pytest.mark.parametrize("rest", ["", "/input_items", "/cancel", "/items", "/items/%2e%2e"])
def test_no_id_changes_the_path_of_a_provider_request(gateway, keeper, other_keeper, kind, rest):
    for id in HOSTILE:
        for method in ("GET", "POST", "DELETE"):
            with Wire.connect(gateway.port) as client:
                asked = f"{method} /v1/{kind}/{id}{rest} HTTP/1.1"
                client.send(f"{asked}\r\nhost: g\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".encode())
                status = client.read_to_end()[:12]
            assert status.startswith((b"HTTP/1.1 404", b"HTTP/1.1 405", b"HTTP/1.1 400", b"HTTP/1.1 308")), (id, status)
    for seen in (*keeper.seen, *other_keeper.seen):
        steps = seen.path.split("/")
        assert steps[:3] == ["", "v1", kind], seen.path
        assert len(steps) == 4 + rest.count("/"), seen.path
        assert not {".", "..", ""} & set(steps[1:]), seen.path
        assert re.fullmatch(r"[A-Za-z0-9/_.~%-]+", seen.path), seen.path
        assert seen.query == ""
        assert seen.header("host") == keeper.url.removeprefix("http://") or seen in other_keeper.seen


def test_a_providers_error_about_an_unknown_id_has_no_credential(gateway, keeper, other_keeper):
    leak = {"error": {"message": "there is none of sk-number-one", "type": "invalid_request_error"}}
    keeper.replies = lambda seen: json_response(leak, 400)
    other_keeper.replies = keeper.replies
    assert "there is none of" in (text := stored(gateway, "resp_x").body.decode())
    assert "sk-number-one" not in text


def passing(upstream: Upstream, name: str) -> dict[str, Any]:
    entry = provider(f"openai/{name}", upstream.url, passthrough_auth=True)
    del entry["access_key"]
    return entry


def test_no_provider_gets_a_key_of_this_gateway(ups, keeper):
    """Clients that send the provider's key as their credential send the gateway's key in another header."""
    with gateway_thread(config([passing(ups[0], "one")], client_keys=KEYS)) as own:
        named = {"authorization": "Bearer sk-own", "x-trigate-key": ALICE}
        id = own.request("POST", "/v1/responses", {"model": "one", "input": "hi"}, named).json["id"]
        assert own.request("GET", f"/v1/responses/{id}", None, named).status == 200
        keeper.seen.clear()
        reply = own.request("GET", f"/v1/responses/{id}", None, bearer(ALICE))
        complaint("responses", reply, 401)
        assert keeper.seen == []


def test_a_clients_key_for_one_provider_is_shown_to_no_other(ups, keeper, other_keeper):
    with gateway_thread(config([passing(ups[0], "one"), passing(ups[1], "two")])) as own:
        complaint("responses", own.request("GET", "/v1/responses/resp_up77", None, bearer("sk-own")), 404)
        assert (keeper.seen, other_keeper.seen) == ([], [])


def test_a_providers_refusal_of_a_call_without_a_body_is_reported(gateway, keeper):
    id = turn(gateway, "one").json["id"]
    words = "Unknown parameter: 'include'."
    error = {"error": {"message": words, "type": "invalid_request_error", "param": "include", "code": None}}
    keeper.replies = lambda seen: json_response(error, 400)
    assert refusal(stored(gateway, id, "?include=foo"))["message"] == words


def test_a_provider_that_cannot_stream_a_stored_response_is_reported(gateway, keeper):
    id = turn(gateway, "one").json["id"]
    error = complaint("responses", stored(gateway, id, "?stream=true"), 502)
    assert "without stream=true" in error["message"]
