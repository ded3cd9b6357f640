"""No large request, answer, stream, turn or page delays the streams of other clients (CWE-400)."""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import msgspec
import pytest

from tests.support.cases import case
from tests.support.features import has_feature, members_of, needs_feature, rows_of
from tests.support.gateway_thread import gateway_thread
from tests.support.growing_requests import REQUESTS
from tests.support.growing_streams import STREAMS, wire
from tests.support.harness import PATIENCE, Gateway, Reply, config, eventually, provider
from tests.support.hostile_bodies import MB, HostileAnswer
from tests.support.loop_steps import LONGEST, check_steps
from tests.support.set_answer import SetAnswer, set_answer_provider
from tests.support.upstreams import Script
from tests.support.websocket_client import Client
from tests.support.wire_clients import ALL, body_of, path_of

MEMBERS: Final = {"default": {"temperature": 0.2}, "system": {"before": "Before.", "after": "After."}}
PROVIDERS: Final = {
    "chat": ("openai/chat", "/v1"),
    "messages": ("anthropic/messages", ""),
    "responses": ("openai/responses", "/v1"),
    "gemini": ("gemini/gemini", "/v1beta"),
    "converse": ("amazon_bedrock/converse", ""),
    "interactions": ("gemini/interactions", "/v1beta"),
}
"""The model and the base path of each provider's API."""


@pytest.fixture(scope="module")
def gateway(upstream) -> Iterator[Gateway]:
    """Run a gateway with an entry for each API before a set answer, and before a script with members of requests."""
    with set_answer_provider() as url:
        entries = [provider(model, url + end, [api], name=api) for api, (model, end) in PROVIDERS.items()]
        entries += [
            provider(
                f"{model}-m",
                upstream.url + end,
                [api],
                name=f"{api}-members",
                **members_of("request_members", request=MEMBERS),
            )
            for api, (model, end) in PROVIDERS.items()
        ]
        entries.append(provider("openai/up", f"{upstream.url}/v1", ["chat"], name="up"))
        with gateway_thread(config(entries, limits={"request_body": "64MiB"})) as served:
            yield served


def post(gateway: Gateway, path: str, body: Any, status: int = 200) -> Callable[[], None]:
    def send() -> None:
        assert gateway.request("POST", path, body).status == status

    return send


# Streams: their events arrive as fast as the gateway reads, so that most of them share a turn of its loop.

SIZE: Final = 2_000_000
SLOW: Final = (
    ("chat", "calls in one event", "chat", True),
    ("gemini", "thoughts and text by turns", "interactions", True),
    ("gemini", "signatures alone", "responses", True),
    ("interactions", "steps by turns", "converse", True),
    ("gemini", "signed texts", "messages", False),
)
"""Streams that took 0.1 to 0.4 s of a turn once, and whether their clients expect a stream."""


def streams() -> Iterator[Any]:
    """Yield the slow streams. For the soak, yield each with a client of the same API or, by turns, of another."""
    for row in SLOW:
        yield pytest.param(*row)
    for number, (api, shape) in enumerate((api, shape) for api, shapes in STREAMS.items() for shape in shapes):
        others = [each for each in ALL if each != api]
        for row in itertools.product((api,), (shape,), (api, others[number % len(others)]), (True, False)):
            if row not in SLOW:
                yield pytest.param(*row, marks=pytest.mark.soak)


@pytest.mark.slow
@pytest.mark.parametrize(("api", "shape", "client", "is_streamed"), [*streams()])
def test_no_stream_blocks_the_loop(gateway, api, shape, client, is_streamed):
    make = STREAMS[api][shape]
    kind = "application/vnd.amazon.eventstream" if api == "converse" else "text/event-stream"
    SetAnswer.answer = HostileAnswer(wire(api, make(min(40_000, 100 * SIZE // len(wire(api, make(100)))))), kind)
    path, body = path_of(client, api, stream=is_streamed), body_of(client, api, stream=is_streamed)
    check_steps(gateway, lambda: gateway.request("POST", path, body))


@pytest.mark.slow
@pytest.mark.parametrize("size", [MB, 18 * MB], ids=["stored", "too large for the store"])
@pytest.mark.parametrize("is_streamed", [True, False])
def test_a_large_answer_is_stored_outside_the_loop(gateway, is_streamed, size):
    """The log of 90 MB of events took 98 ms of one turn, and their change after a refusal of the store 212 ms."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "word " * (size // 5)}, "finish_reason": "stop"}
    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    SetAnswer.answer = HostileAnswer(json.dumps(answer).encode())
    check_steps(gateway, post(gateway, "/v1/responses", {"model": "chat", "input": "x", "stream": is_streamed}))


# Requests


TURNS: Final = {
    "chat": "messages", "messages": "messages", "responses": "input", "gemini": "contents", "converse": "messages",
    "interactions": "input",
}  # fmt: skip


@needs_feature("request_members")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("api", "to"),
    [
        ("messages", "gemini"), ("responses", "responses"),
        *(pytest.param(*row, marks=pytest.mark.soak) for row in (
            ("chat", "messages"), ("gemini", "chat"), ("converse", "gemini"), ("interactions", "gemini"),
        )),
    ],
)  # fmt: skip
def test_no_large_request_with_request_members_blocks_the_loop(gateway, upstream, api, to):
    make, name = REQUESTS[api][f".{TURNS[api]}[0]"], f"{to}-members"
    members = make(100 * SIZE // len(msgspec.json.encode(make(100))))
    body = msgspec.json.encode(members if api in ("gemini", "converse") else {**members, "model": name})
    send = post(gateway, path_of(api, name, stream=False), body)

    def send_scripted() -> None:
        upstream.script(Script("ok"))
        send()

    check_steps(gateway, send_scripted)


LINES: Final = "A line of a file that a tool returned, with some words. " * 60
TALK: Final = [{"role": ("user", "assistant")[at % 2], "content": f"{at}. {LINES}"} for at in range(6_001)]
AGAIN: Final = [*TALK, {"role": "assistant", "content": "Done."}, {"role": "user", "content": "Another file"}]


@pytest.mark.parametrize(
    ("api", "turns"),
    [
        # ten searches for words that may begin an id took 0.6 s in one step
        ("chat", [[{"role": "user", "content": "word " * 2_000_000}]]),
        # prompts are compared after each turn, also by the second one, which continues the first
        pytest.param("messages", [TALK, AGAIN], marks=pytest.mark.soak),
    ],
    ids=["a text", "a history"],
)
def test_tens_of_megabytes_of_text_are_not_searched_in_the_loop(gateway, upstream, api, turns):
    assert gateway.request("GET", "/healthz").status == 200

    def send() -> None:
        for messages in turns:
            upstream.script(Script(text="hello"))
            body = {"model": "up", "max_tokens": 9, "messages": messages}
            assert gateway.request("POST", path_of(api, "up", stream=False), body).status == 200

    check_steps(gateway, send)


TURN: Final = [{"role": "user", "content": "x"}]
MANY_TOOLS: Final = [{"name": f"t{at}", "description": "d", "input_schema": {"type": "object"}} for at in range(20_000)]
IMAGE: Final = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD" * 4 * MB}}
LARGE: Final = {
    "tools": {"messages": TURN, "tools": MANY_TOOLS},
    "an image": {"messages": [{"role": "user", "content": [IMAGE]}]},
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", LARGE)
def test_the_usage_of_a_failed_large_request_is_not_estimated_in_the_loop(gateway, kind):
    """20,000 tools took 35 ms of one turn, and an image of 16 MB took 40 ms."""
    SetAnswer.answer = HostileAnswer(b"{}")  # no answer of the API, but the provider may bill it
    send = post(gateway, "/v1/messages", {"model": "messages", "max_tokens": 9, **LARGE[kind]}, 502)
    check_steps(gateway, send, longest=LONGEST / 4)


# Headers and names: clients choose them, up to the size of a head, and of a body without a thread

LONG: Final = 60_000
LONG_UNITS: Final = ("a ", "@", "a=00000000;", '"', "\\", "%25", "/", "claude-", "-v1", '{"a":')
HEADERS: Final = (
    *("authorization", "x-api-key", "x-goog-api-key", "x-trigate-key", "cookie"),
    *("x-trigate-project", "x-trigate-run", "x-trigate-steps", "x-trigate-cache", "x-trigate-deadline"),
    *("anthropic-beta", "openai-beta", "accept", "origin", "user-agent", "x-forwarded-for", "traceparent", "baggage"),
    *("content-type", "connection", "cache-control", "if-none-match", "session-id", "x-litellm-tags"),
)
NAMES: Final[Mapping[str, Callable[[str], dict[str, Any]]]] = {
    "model": lambda text: {"model": f"openai/{text}"},
    "tool": lambda text: {"tools": [{"name": text, "input_schema": {"properties": {text: {"$ref": text}}}}]},
    "member": lambda text: {text: 1},
    "user": lambda text: {"metadata": {"user_id": text}},
    "image": lambda text: {
        "messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": text}}]}]
    },
}
FEATURES: Final = {
    **members_of("steps", steps=[{"use": "pii", "action": "mask"}, {"use": "secrets", "action": "mask"}]),
    **members_of("client_routing", client_routing=["openrouter", "vercel", "litellm"]),
    **members_of("compatible_clients", compatibility=["litellm", "azure"]),
    **members_of("failures", keep_failures=True),
}


@pytest.fixture(scope="module")
def featured(upstream) -> Iterator[Gateway]:
    """Run a gateway with a wildcard and with features."""
    with set_answer_provider() as url:
        entries = [
            provider("openai/*", f"{url}/v1", ["chat"]),
            {"model": "anthropic/claude-x", "name": "theirs", "base_url": url, "passthrough_auth": True},
        ]
        names = {"refused": ["*x*-y*-z*", "a*b*c"]}
        with gateway_thread(config(entries, model_names=names, **FEATURES)) as served:
            yield served


@pytest.fixture
def reject() -> Iterator[Callable[[str], None]]:
    """Return a function that sets the message with which the provider rejects everything."""

    def answer(message: str) -> None:
        SetAnswer.status = 400
        SetAnswer.answer = HostileAnswer(json.dumps({"type": "error", "error": {"message": message}}).encode())

    yield answer
    SetAnswer.status = 200


def ask(gateway: Gateway, headers: Mapping[str, str], **members: Any) -> None:
    body = {"model": "openai/gpt-5", "max_tokens": 9, "messages": TURN, **members}
    assert gateway.request("POST", "/v1/messages", body, headers=headers).status in range(400, 500)


@pytest.mark.slow
@pytest.mark.parametrize("unit", LONG_UNITS)
def test_no_header_and_no_name_blocks_the_loop(featured, reject, unit):
    """A credential of 30 kB took 6.6 s, and a model's name of 80 kB 7.9 s."""
    text = unit * (LONG // len(unit)) + "x"
    reject(f"bad \\u0061: {text[:4000]}")
    for name in HEADERS:
        with case(name):
            check_steps(featured, partial(ask, featured, {"x-api-key": "sk-client-0123456789", name: text}))
    for name, members in NAMES.items():
        with case(name):
            check_steps(featured, partial(ask, featured, {}, **members(f"{text[: LONG // 2]}\nx")))


@pytest.mark.slow
def test_no_repetition_of_a_clients_names_blocks_the_loop(featured, reject):
    """80 of 20,000 betas took 3 s of one turn, and 400 members of 60 kB took 0.13 s."""
    names = ["".join(pair) for pair in itertools.product("abcdefghijklmnopqrst", repeat=2)]
    reject(f"Unexpected value(s) {', '.join(f'`{name}`' for name in names[:80])} for the `anthropic-beta` header")
    betas = {"anthropic-beta": ",".join(names * 50)[:LONG], "x-api-key": "sk-client-0123456789"}
    check_steps(featured, partial(ask, featured, betas, model="theirs"))
    reject(f"Unknown parameters: {', '.join(names)}")
    check_steps(featured, partial(ask, featured, {}, tools=[{"name": "f", "input_schema": {"enum": ["a"] * 10_000}}]))


# Stored turns: their events are made outside the gateway's loop.

TOOLS: Final = [
    {"type": "function", "name": f"tool_{at}", "description": "x" * 200, "parameters": {"type": "object"}}
    for at in range(10_000)
]
"""About 3 MB, which each event with the response repeats."""


def create(gateway: Gateway, upstream: Any, **more: Any) -> str:
    upstream.script(Script("ok"))
    reply = gateway.request("POST", "/v1/responses", {"model": "up", "input": "hi", "tools": TOOLS, **more})
    return str(json.loads(reply.body)["id"])


def read(gateway: Gateway, id: str, query: str = "") -> Reply:
    return gateway.request("GET", f"/v1/responses/{id}{query}")


@pytest.mark.soak
@pytest.mark.parametrize("is_replayed", [True, False], ids=["replayed", "in the background"])
def test_no_large_turn_blocks_the_loop(gateway, upstream, is_replayed):
    replayed = create(gateway, upstream) if is_replayed else ""

    def run() -> None:
        if is_replayed:
            assert read(gateway, replayed, "?stream=true").body.count(b"event: response.completed") == 1
            return
        id = create(gateway, upstream, background=True)
        eventually(lambda: b'"status":"completed"' in read(gateway, id).body[:500], PATIENCE, "the end of the turn")

    check_steps(gateway, run, longest=LONGEST / 2)


@needs_feature("responses_websocket")
@pytest.mark.soak
def test_a_large_turn_over_a_websocket_has_its_whole_stream(gateway, upstream):
    """The first event of its stream repeats the request, and has more elements than a provider may send in an event."""
    upstream.script(Script("ok"))
    with Client.connect(gateway.port) as client:
        body = REQUESTS["responses"]["all with f.0"](21_000) | {"input": "hi"}
        client.send({**body, "type": "response.create", "model": "up", "store": False})
        frames = client.answer()
    assert [frame["type"] for frame in frames][:1] == ["response.created"]
    assert frames[-1]["type"] == "response.completed"
    assert len(frames[-1]["response"]["tools"]) > 21_000


# Pages about a thousand keys and hundreds of models

OF_OPERATORS: Final = (*rows_of("metrics", "/metrics"), *rows_of("live_view", "/ui/models"), "/readyz?verbose")
OF_CLIENTS: Final = (
    *rows_of("model_lists", "/v1/models", "/v1beta/models", "/v1/audio/models"),
    *(rows_of("model_lists", "/v1/model/info") if has_feature("compatible_clients") else ()),
)


def key(number: int) -> str:
    return f"key-number-{number:06d}-0123456789"


@pytest.mark.slow
@pytest.mark.parametrize(("keys", "models"), [(100, 30), pytest.param(1000, 300, marks=pytest.mark.soak)])
def test_no_page_about_keys_and_models_delays_a_stream(keys, models):
    names = [f"m{at}" for at in range(models)]
    entries = [
        provider(f"vllm/{name}", "http://127.0.0.1:9/v1", name=name, price={"input": 1, "output": 1}) for name in names
    ]
    limits = {"budgets": ["9 usd/day", "1 usd/hour"], "ratelimits": {"requests": "100/m"}}
    clients = [{"name": f"k{at}", "key": key(at), **limits} for at in range(keys)]
    clients.append({"name": "limited", "key": key(keys), "models": names, "role": "admin"})
    routes = {f"a{at}": {"targets": [f"m{at}", f"m{at + 1}"]} for at in range(models // 2)}
    file = config(
        entries,
        client_keys=clients,
        model_aliases=routes,
        **members_of("compatible_clients", compatibility=["litellm"]),
    )
    with gateway_thread(file) as gateway:
        for path in (*OF_OPERATORS, *OF_CLIENTS):
            sent = {"authorization": f"Bearer {key(7 if path in OF_OPERATORS else keys)}"}

            def ask(path: str = path, sent: dict[str, str] = sent) -> None:
                assert gateway.request("GET", path, headers=sent).status == 200

            ask()  # what happens once in a process
            check_steps(gateway, ask)
