"""The conversation of a request, which clients of each API state in a field or reveal in the content."""

import json
from collections.abc import Mapping
from typing import Any

import attrs
import pytest
import trio

from gateway.balancing.affinity import AUTO, LONG, SHORT, Affinity, find_affinity
from gateway.request.parse import EarlierItems, read_incoming
from streams.events import Api
from tests.support.each_row import each_row

SESSION = "f457fe7e-38a4-4a88-9ac9-d02b10e53e2e"
SYSTEM = {"role": "system", "content": "Be brief."}
HELLO = {"role": "user", "content": "Hello."}
LATER = [{"role": "assistant", "content": "Hello!"}, {"role": "user", "content": "What is the time?"}]


def affinity(
    body: Mapping[str, Any], api: Api = "chat", owner: str = "alice", sticky: str | None = AUTO, **headers: str
) -> Affinity | None:
    sent = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return trio.run(find_affinity, sticky, owner, sent, read_incoming(api, json.dumps(body).encode()))


def key(*arguments: Any, **keywords: Any) -> bytes:
    found = affinity(*arguments, **keywords)
    return found.key


CHAT = {"model": "m", "messages": [SYSTEM, HELLO]}
MESSAGES = {"model": "m", "system": "Be brief.", "messages": [HELLO]}
RESPONSES = {"model": "m", "instructions": "Be brief.", "input": [HELLO]}
BODIES: dict[Api, dict[str, Any]] = {"chat": CHAT, "messages": MESSAGES, "responses": RESPONSES}
CONVERSATION: dict[Api, str] = {"chat": "messages", "messages": "messages", "responses": "input"}


# The fields of each API


@each_row("api", BODIES)
@each_row(
    ("headers", "sticky", "source"),
    [
        ({"x_tenant": "t", "x_claude_code_session_id": SESSION}, "x-tenant", "header"),
        ({"x_claude_code_session_id": SESSION}, "x-tenant", "session"),
        ({"x_tenant": "t"}, AUTO, "beginning"),
        ({"x_claude_code_session_id": SESSION}, AUTO, "session"),
        ({"session_id": SESSION}, AUTO, "session"),
        ({"x_session_affinity": SESSION}, AUTO, "session"),
        ({"x_claude_code_session_id": ""}, AUTO, "beginning"),
        ({}, AUTO, "beginning"),
    ],
)
def test_headers_name_a_conversation(api, headers, sticky, source):
    found = affinity(BODIES[api], api, sticky=sticky, **headers)
    assert found.source == source


@pytest.mark.parametrize("header", ["session-id", "session_id"])
def test_both_spellings_of_codexs_header_are_known(header):
    """SEMOSS/Monolith#340"""
    incoming = read_incoming("responses", json.dumps(RESPONSES).encode())
    found = trio.run(find_affinity, AUTO, "alice", ((header, SESSION),), incoming)
    assert found.source == "session"


@each_row(
    ("members", "source"),
    [
        ({"prompt_cache_key": SESSION}, "cache_key"),
        ({"prompt_cache_key": None}, "beginning"),
        ({"prompt_cache_key": 7}, "beginning"),
        ({"prompt_cache_key": ""}, "beginning"),
        ({"prompt_cache_key": "k" * 10_000}, "beginning"),
        ({"metadata": {"user_id": json.dumps({"device_id": "d", "session_id": SESSION})}}, "user"),
        ({"metadata": {"user_id": f"user_{'0' * 64}_account__session_{SESSION}"}}, "user"),
        ({"metadata": {"user_id": "user-7"}}, "beginning"),
        ({"metadata": {}}, "beginning"),
        ({"metadata": None}, "beginning"),
        ({"metadata": {"user_id": json.dumps({"session_id": SESSION})}, "prompt_cache_key": "k"}, "cache_key"),
    ],
)
def test_members_name_a_conversation(members, source):
    found = affinity({**MESSAGES, **members}, "messages")
    assert found.source == source


def test_a_route_that_is_not_sticky_has_no_affinity():
    assert affinity(CHAT, sticky=None, session_id=SESSION) is None


# Requests of the same conversation


@pytest.mark.parametrize("api", BODIES)
def test_every_turn_has_the_key_of_the_first(api):
    conversation = CONVERSATION[api]
    longer = {**BODIES[api], conversation: [*BODIES[api][conversation], *LATER]}
    assert key(longer, api) == key(BODIES[api], api)


@each_row("api", BODIES)
@each_row("change", ["first words", "system"])
def test_another_beginning_is_another_conversation(api, change):
    text = json.dumps(BODIES[api])
    other = text.replace("Hello.", "Good evening.") if change == "first words" else text.replace("brief", "long")
    assert key(json.loads(other), api) != key(BODIES[api], api)


@each_row(
    "arguments",
    [
        {"body": CHAT},
        {"body": CHAT, "session_id": SESSION},
        {"body": {**CHAT, "prompt_cache_key": SESSION}},
        {"body": CHAT, "sticky": "x-tenant", "x_tenant": "t"},
    ],
    ids=["beginning", "session", "cache-key", "header"],
)
def test_no_two_client_keys_share_a_conversation(arguments):
    keys = {key(**arguments, owner=owner) for owner in ("alice", "ben", "", "nobody")}
    assert len(keys) == 4


def test_cache_marks_do_not_change_the_affinity():
    """Clients put them on the last turn, which at the start is also the first one."""
    marked = {"type": "text", "text": "Hello.", "cache_control": {"type": "ephemeral"}}
    first = {**MESSAGES, "messages": [{"role": "user", "content": [marked]}]}
    assert key(first, "messages") == key({**MESSAGES, "messages": [HELLO, *LATER]}, "messages")


def test_a_prompt_that_is_a_string_alone_is_the_users_first_message():
    assert key({**RESPONSES, "input": "Hello."}, "responses") == key(RESPONSES, "responses")


def test_a_turn_that_continues_a_stored_one_has_its_beginning():
    kept = attrs.evolve(
        read_incoming("responses", json.dumps({**RESPONSES, "input": LATER}).encode()),
        earlier=(EarlierItems("responses", (HELLO,)),),
    )
    found = trio.run(find_affinity, AUTO, "alice", (), kept)
    assert found.key == key(RESPONSES, "responses")


def test_long_texts_that_differ_at_their_ends_are_different():
    document = "word " * 50_000
    keys = {
        key({**CHAT, "messages": [SYSTEM, {"role": "user", "content": text}]})
        for text in (document + "one", document + "two", "A" + document + "one", document)
    }
    assert len(keys) == 4


@pytest.mark.parametrize(
    "body",
    [{"model": "m", "messages": []}, {"model": "m", "messages": [SYSTEM]}, {"model": "m", "messages": [None, 7, []]}],
)
def test_a_request_without_a_user_message_has_no_affinity(body):
    assert affinity(body) is None


# Lifetimes


@each_row(
    ("members", "lifetime"),
    [
        ({}, SHORT),
        ({"system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}]}, SHORT),
        ({"system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral", "ttl": "5m"}}]}, SHORT),
        ({"system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]}, LONG),
        ({"messages": [{"role": "user", "content": '"ttl": "1h"'}]}, SHORT),
        ({"cache_control": {"type": "ephemeral", "ttl": "1h"}}, LONG),
        ({"tools": [{"name": "n", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]}, LONG),
        ({"prompt_cache_retention": "24h"}, LONG),
        ({"prompt_cache_retention": "in_memory"}, SHORT),
    ],
)
def test_a_pin_lasts_as_long_as_the_requested_cache_lifetime(members, lifetime):
    found = affinity({**MESSAGES, **members}, "messages")
    assert found.lifetime == lifetime


@pytest.mark.parametrize("at", [0, -1])
def test_a_mark_is_found_at_either_end_of_a_large_request(at):
    """Clients mark the system's text and tools, or the last turns."""
    turns = [{"role": "user", "content": [{"type": "text", "text": "word " * 1000}]} for _ in range(200)]
    turns[at]["content"][0]["cache_control"] = {"type": "ephemeral", "ttl": "1h"}  # type: ignore[index]
    found = affinity({"model": "m", "messages": turns}, "messages")
    assert found.lifetime == LONG


def test_keys_of_one_client_have_an_owner_in_common():
    """A full list of conversations makes room by owner."""
    alices = {key(body, owner="alice")[:4] for body in (CHAT, {**CHAT, "messages": [HELLO]})}
    assert len(alices) == 1
    assert key(CHAT, owner="bob")[:4] not in alices
