"""Each step on the requests and responses of every API pair, streamed and not.

Hooks that never ran on streams: https://github.com/BerriAI/litellm/issues/8628."""

import base64
import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import attrs
import pytest

from tests.support.cases import case
from tests.support.check_services import analyzer, masking
from tests.support.compatible_requests import compatible_requests
from tests.support.each_row import each_row
from tests.support.features import members_of, needs_feature
from tests.support.harness import exchanges, provider
from tests.support.step_gateway import client_keys, own_steps, placeholder_of, post_as, step_gateway
from tests.support.step_providers import BASES, CODE, VENDORS
from tests.support.upstreams import Script, ToolCall, Upstream, fake_upstream
from tests.support.wire_clients import ALL, body_of, path_of, text_of, with_tool

KEY: Final = "ghp_" + "a1B2c3D4e5F6" * 3
ABOUT: Final = "about falcon-12"
FINE: Final = Script(text="fine")
FOUND: Final = Script(text="it is falcon-77 today")
LONG: Final = "one two three four five six falcon-77 seven eight nine ten eleven twelve falcon-88 thirteen"
BOTH: Final = ("request", "response")
SECRET: Final = r"\[GITHUB_TOKEN_\w+\]"
WORD: Final = r"\[WORD_[0-9a-f]{10,}\]"


def block(_: Any) -> Any:
    return {"action": "BLOCKED", "blocked_reason": "because of falcon-99"}


def hold_back(request: Any) -> Any:
    """Respond as a service that masks a long value, and holds its beginning back."""
    (text,) = request["texts"]
    at = text.find("falcon")
    if at < 0 or "!" in text:
        return masking(r"falcon[^!]*!")(request)
    return {"action": "NONE", "stream_holdback_chars": [len(text) - at]}


@attrs.frozen
class Feature:
    """A step with a prompt, the provider's ``answer`` to it, and what provider and client get.

    ``sent`` and ``received`` are patterns of text; nothing may be sent if ``sent`` is ``None``. ``unsent`` and
    ``unseen`` are texts that the provider and the client never get, ``seen`` is one that the client gets. ``outcome``
    is that in the header, which is absent if it is ``""``. A service answers with ``respond``."""

    step: dict[str, Any]
    prompt: str = "hi"
    answer: Script = FINE
    status: tuple[int, ...] = (200,)
    sent: str | None = "hi"
    received: str | None = "fine"
    outcome: str | None = None
    unsent: str | None = None
    unseen: str | None = None
    seen: str = ""
    respond: Callable[[Any], Any] | None = None
    has_tool: bool = False


def masks(step: dict[str, Any], **more: Any) -> Feature:
    return Feature(step, **{"outcome": "masked", "unsent": "falcon-1", "unseen": "falcon-7", "sent": f"about {WORD}",
                            "prompt": ABOUT, "answer": FOUND, "received": f"it is {WORD} today", **more})  # fmt: skip


def refuses(step: dict[str, Any], **more: Any) -> Feature:
    """Return a step that refuses requests, or responses if there is an answer."""
    values = {"prompt": ABOUT, "sent": None} if "answer" not in more else {}
    return Feature(step, **{"status": (400,), "seen": "content_filter", "unseen": "falcon", **values, **more})


def guard(**more: Any) -> dict[str, Any]:
    return {"use": "http", "at": list(BOTH), **more}


def call(name: str, arguments: str, text: str = "") -> Script:
    return Script(text=text, calls=(ToolCall("call_1", name, arguments),), stop="tool_calls")


def kind(use: str, *at: str, action: str = "refuse", **settings: Any) -> dict[str, Any]:
    return {"use": use, "action": action, "at": list(at or BOTH), "with": settings}


STOP: Final = {"action": "refuse", "refusal": {"as": "stop", "message": "Not here."}}
TOOLS: Final = kind("tools", allow=["read_*"], arguments={"read_file": {"path": "^/srv/"}})
LEFT_OUT: Final = kind("tools", action="mask", allow=["read_*"])
PEOPLE: Final = analyzer({"PERSON": "Ann Lee|Zoë 🦅", "US_SSN": r"\d{3}-\d{2}-\d{4}", "DATE_TIME": "today"})
PRESIDIO: Final = {
    "use": "presidio", "action": {"PERSON": "mask", "US_SSN": "refuse"}, "with": {"language": "en", "score": 0.6}
}  # fmt: skip

FEATURES: Final[dict[str, Feature]] = {
    "mask": masks({"action": "mask"}, prompt=f"{ABOUT} and falcon-12", sent=f"about ({WORD}) and \\1"),
    "mask-window": masks(
        {"action": "mask", "hold": 20, "at": ["response"]}, prompt="hi", sent="hi", outcome=None, unseen="alcon",
        answer=Script(text="a long text about nothing, then it is falcon-77 today, and more follows after it"),
        received=f"a long text about nothing, then it is {WORD} today, and more follows after it",
    ),
    "refuse": refuses({"action": "refuse"}),
    "refuse-response": refuses({"action": "refuse"}, answer=Script(text="falcon-77")),
    "refuse-window": refuses({"action": "refuse", "hold": 20, "at": ["response"]}, answer=Script(text="falcon-77")),
    "during": refuses({"action": "refuse", "at": ["during"]}, sent=""),
    "stop": Feature(STOP, answer=Script(text="it is falcon-77"), received="Not here[.]", unseen="falcon"),
    "report": Feature(
        {"action": "report"}, ABOUT, Script(text="it is falcon-77"), sent=ABOUT, received="it is falcon-77", outcome=""
    ),
    "restore": masks(
        {"action": "mask", "at": ["request"], "restore": True},
        answer=Script(text=f"you said {placeholder_of('restore', 'falcon-12')} and [WORD_0123456789] too"),
        received=r"you said falcon-12 and \[WORD_0123456789\] too",
    ),
    "broken": Feature({"use": "./steps.py:broken"}, status=(503,), sent=None, seen="step_unavailable"),
    "broken-pass": Feature({"use": "./steps.py:broken", "unchecked": "pass"}, outcome="unchecked"),
    # Built-in kinds
    "pii": masks(
        kind("pii", action="mask", labels=["email", "card"]), prompt="I am joe@example.com.", sent=r"I am \[EMAIL_",
        answer=Script(text="write to bob@example.org, card 4111 1111 1111 1111, today"), unsent="joe@", unseen="1111",
        received=r"write to \[EMAIL_\w+\], card \[CARD_\w+\], today",
    ),
    "secrets": refuses(kind("secrets"), prompt=f"use {KEY}", seen="github_token", unseen=KEY),
    "secrets-response": refuses(kind("secrets"), answer=Script(text=f"{KEY} it is"), unseen="ghp_"),
    "secrets-mask": masks(
        kind("secrets", action="mask"), prompt=f"use {KEY}", sent=f"use {SECRET}", answer=Script(text=f"it is {KEY}"),
        received=f"it is {SECRET}", unsent=KEY, unseen=KEY,
    ),
    "regex": masks(
        kind("regex", action="mask", patterns={"project": r"falcon-\d+"}), sent=r"about \[PROJECT_\w+\]",
        received=r"it is \[PROJECT_\w+\] today",
    ),
    "tools": Feature(TOOLS, answer=call("read_file", '{"path": "/srv/a"}'), received="", seen="read_file"),
    "tools-argument": refuses(TOOLS, answer=call("read_file", '{"path": "/etc/passwd"}'), unseen="read_file"),
    "tools-name": refuses(TOOLS, answer=call("delete", "{}"), unseen="delete"),
    "tools-definition": refuses(TOOLS, has_tool=True),
    "left-out": Feature(LEFT_OUT, has_tool=True, unsent="get_weather", outcome="masked"),
    "left-out-call": refuses(LEFT_OUT, answer=call("delete", "{}"), unseen="delete"),
    "size": Feature(
        {"use": "size", "with": {"characters": 50}}, "a" * 50, Script(text="x" * 99), sent="aaa", received="x+"
    ),
    "size-exceeded": refuses({"use": "size", "with": {"characters": 50}}, prompt="a" * 51, seen="characters"),
    # Services
    "guard": masks(
        guard(), respond=masking(r"falcon-\d+"), sent="about <HIDDEN>", received="it is <HIDDEN> today",
    ),
    "guard-call": Feature(
        guard(), answer=call("read_file", '{"path": "/etc/passwd"}', "reading"), received="reading", seen="/dev/null",
        unseen="/etc/passwd", respond=masking("/etc/passwd", "/dev/null"),
    ),
    "guard-block": refuses(guard(), respond=block, seen="blocked"),
    "guard-block-response": refuses(guard(at=["response"]), respond=block, answer=FOUND, seen="blocked"),
    "guard-during": refuses(guard(at=["during"]), respond=block, sent=""),
    "guard-during-mask": refuses(guard(at=["during"]), respond=masking(r"falcon-\d+"), sent=""),
    "guard-refuse": refuses(guard(action="refuse"), respond=masking(r"falcon-\d+")),
    "guard-refuse-response": refuses(guard(action="refuse"), respond=masking(r"falcon-\d+"), answer=FOUND),
    "guard-window": Feature(
        guard(at=["response"], hold=16), answer=Script(text=LONG), respond=masking(r"falcon-\d+"), unseen="falcon",
        received=re.sub(r"falcon-\d+", "<HIDDEN>", LONG),
    ),
    "guard-restore": masks(
        guard(restore=True), respond=masking(r"falcon-\d+"), sent=r"about \[MASKED_",
        answer=Script(text=f"you asked about {placeholder_of('guard-restore', 'falcon-12', 'masked')}, here it is"),
        received="you asked about falcon-12, here it is",
    ),
    "guard-nothing": refuses(
        guard(at=["response"], hold="nothing"), answer=Script(text="it is falcon-77, and more follows"),
        respond=masking("falcon-77"), status=(400, 200), received=None, unseen="HIDDEN",
    ),
    "guard-holds-back": Feature(
        guard(at=["response"], hold=16), respond=hold_back, unseen="falcon",
        answer=Script(text="some words before falcon with a name that is longer than the window! and some words after"),
        received="some words before <HIDDEN> and some words after",
    ),
    "presidio": masks(
        PRESIDIO, prompt="🙂 I am Zoë 🦅, not Ann Lee, today", respond=PEOPLE, answer=FINE,
        received="fine", sent=r"I am \[PERSON_\w+\], not \[PERSON_\w+\], today", unsent="Ann Lee",
    ),
    "presidio-refuses": refuses(PRESIDIO, prompt="mine is 123-45-6789", respond=PEOPLE, unseen="123-45"),
}  # fmt: skip

TARGETS: Final = ("chat", "messages", "responses")
PAIRS: Final = (*((client, target) for client in ALL for target in TARGETS), *((api, api) for api in BASES))
CELLS: Final = [(client, target, stream) for client, target in PAIRS for stream in (False, True)]
RESPONSES: Final = [(target, stream) for target in TARGETS for stream in (False, True)]


def cells_of(name: str) -> Iterator[tuple[str, str, bool]]:
    """Yield cells in which the feature meets each client, each form of a response and each byte lane once.

    Requests are read by the client's API and responses by the provider's. All features together have each cell."""
    turn = [*FEATURES].index(name)
    for place, client in enumerate(ALL):
        yield client, *RESPONSES[(place + turn) % len(RESPONSES)]
    for place, api in enumerate(BASES):
        yield api, api, bool((place + turn) % 2)


@pytest.fixture(scope="module")
def late():
    """Serve a provider that may get a request after its refusal, which no other test may count."""
    with fake_upstream() as served:
        yield served


@pytest.fixture(scope="module")
def gateway(upstream, late, guard, folder) -> Iterator[Any]:
    entries = [
        provider(f"{vendor}/{name}-{api}", served.url + BASES.get(api, "/v1"), [api])
        for name, served in (("on", upstream), ("late", late))
        for api, vendor in VENDORS.items()
    ]
    steps = {name: {**one.step} for name, one in FEATURES.items()}
    for step in steps.values():
        if step.get("use") in ("http", "presidio"):
            step["with"] = {"url": guard.url, **step.get("with", {})}
    settings = {
        "client_keys": client_keys((*FEATURES, "nobody")),
        **members_of("compatible_clients", compatibility=["azure", "litellm"]),
    }
    with step_gateway(folder, entries, CODE, steps=own_steps(steps), **settings) as served:
        yield served
        assert exchanges(served.log)
        log = "\n".join(served.log)
        assert not any(value in log for value in ("falcon", "joe@", "bob@", "1111 1111", "ghp_", "passwd", "Ann Lee"))


def ask(gateway: Any, client: str, api: str, model: str, prompt: str, *, stream: bool, has_tool: bool = False) -> Any:
    body = body_of(api, model, prompt, stream=stream)
    if has_tool:
        body = with_tool(api, body)
    if api in ("responses", "interactions"):
        body["store"] = False  # a stored turn is not translated
    return post_as(gateway, client, path_of(api, model, stream=stream), body)


@pytest.mark.parametrize("name", FEATURES)
def test_a_step_does_the_same_in_every_api(gateway, upstream, guard, name):
    guard.use(FEATURES[name].respond or (lambda _: {"action": "NONE"}))
    for api, target, stream in cells_of(name):
        with case(f"{api}, {target}, {stream=}"):
            check_exchange(gateway, upstream, name, api, target, stream)


def check_exchange(gateway: Any, upstream: Upstream, name: str, api: str, target: str, stream: bool) -> None:
    feature = FEATURES[name]
    upstream.script(feature.answer)
    model = f"late-{target}" if feature.sent == "" else f"on-{target}"
    status, headers, data = ask(gateway, name, api, model, feature.prompt, stream=stream, has_tool=feature.has_tool)
    body, sent = data.decode("utf-8", "replace"), b"".join(one.body for one in upstream.seen).decode()
    assert status in feature.status, body
    assert len(upstream.seen) == (feature.sent is not None) or feature.sent == ""
    assert re.search(feature.sent or "", sent.encode().decode("unicode_escape") if "\\u" in sent else sent), sent
    assert feature.unsent is None or feature.unsent not in sent
    assert feature.unseen is None or feature.unseen not in body
    assert feature.seen in body
    if status == 200 and feature.received is not None:
        assert re.fullmatch(feature.received, text_of(api, data, stream=stream)), body
    if feature.outcome is not None:
        assert headers.get("x-trigate-steps", "") == (f"{name}={feature.outcome}" if feature.outcome else "")
    if status == 400 or name == "stop":
        assert headers["x-trigate-refused-by"] == name
    if status == 400:
        assert headers["x-should-retry"] == "false"
    if status == 503:
        assert int(headers["retry-after"]) >= 1


CHANGING: Final = ("mask", "mask-window", "stop")


@each_row(
    ("client", "api", "target", "stream"),
    [*(("refuse", *cell) for cell in CELLS), *((client, *pair, False) for client in CHANGING for pair in PAIRS)],
)
def test_a_clean_exchange_is_unchanged(gateway, upstream, client, api, target, stream):
    """The client gets the provider's bytes in the byte lane. (Streams that a step may change are translated.)"""
    script = call("f", '{"a": "b"}', "all is well")
    upstream.script(script)
    status, headers, checked = ask(gateway, client, api, f"on-{target}", "hi", stream=stream)
    assert (status, headers["x-trigate-steps"]) == (200, f"{client}=ok"), checked
    upstream.script(script)
    _, plain, unchecked = ask(gateway, "nobody", api, f"on-{target}", "hi", stream=stream)
    assert headers["x-trigate-lane"] == plain["x-trigate-lane"]
    if api == target:
        assert checked == unchecked


@each_row("api", VENDORS)
def test_a_complete_answer_without_values_to_restore_is_unchanged(gateway, upstream, api):
    """A translation would lose members such as the search results of Perplexity."""
    bodies = []
    for client in ("restore", "nobody"):
        upstream.script(FINE)
        _, headers, body = ask(gateway, client, api, f"on-{api}", ABOUT, stream=False)
        bodies.append((headers["x-trigate-lane"], body))
    assert bodies[0] == bodies[1]


@each_row("stream", [False, True])
@each_row("target", [api for api in VENDORS if api != "responses"])
def test_reasoning_without_a_signature_keeps_its_text(gateway, upstream, target, stream):
    """Only a signature rejects changed reasoning. DeepSeek and other Chat providers sign none."""
    upstream.script(Script(thinking="is it falcon-77?", text="fine"))
    _, _, masked = ask(gateway, "mask", "chat", f"on-{target}", "hi", stream=stream)
    assert re.search(f'"is it {WORD}[?]"', masked.decode())
    upstream.script(Script(thinking=f"is it {placeholder_of('restore', 'falcon-12')}?", text="fine"))
    _, _, restored = ask(gateway, "restore", "chat", f"on-{target}", ABOUT, stream=stream)
    assert b'"is it falcon-12?"' in restored


@each_row("stream", [False, True])
def test_a_reasoning_item_of_responses_keeps_its_placeholders(gateway, upstream, stream):
    """With other text, the item would be another one for its provider, and strict mode would refuse the next turn."""
    thought = f"is it {placeholder_of('restore', 'falcon-12')}?"
    upstream.script(Script(thinking=thought, text="fine"))
    _, _, body = ask(gateway, "restore", "responses", "on-responses", ABOUT, stream=stream)
    assert thought.encode() in body


@pytest.mark.parametrize("stream", [False, True])
def test_a_long_text_in_one_event_is_checked(gateway, upstream, stream):
    """A thread searches it."""
    upstream.script(Script(text="some more words and a number, 1234\n" * 9000 + "bob@example.org"))
    status, _, body = ask(gateway, "pii", "chat", "on-chat", "hi", stream=stream)
    text = text_of("chat", body, stream=stream)
    assert status == 200
    assert text.startswith("some more words and a number, 1234\nsome")
    assert "[EMAIL_" in text
    assert "bob@" not in text


# Paths of other servers: Bedrock's InvokeModel, Azure's deployments and LiteLLM's prefixes

EVADING: Final = [
    (path, body)
    for target in ("messages", "chat")
    for stream in (False, True)
    for path, body in compatible_requests(f"on-{target}", f"{ABOUT} and falcon-12", stream=stream).items()
]


def readable(body: bytes) -> str:
    """Return everything that a client can read in ``body``, with the events in Amazon's frames and the joined texts
    of all events."""
    framed = [base64.b64decode(found) for found in re.findall(rb'"bytes": ?"([A-Za-z0-9+/=]+)"', body)]
    text = b"\n".join([body, *framed]).decode("utf-8", "replace")
    return text + "\n" + "".join(re.findall(r'"(?:text|content|delta)": ?"([^"]*)"', text))


EVADED: Final = itertools.cycle(("mask", "mask-window", "refuse", "refuse-window", "stop"))


@needs_feature("compatible_clients")
@pytest.mark.parametrize(("path", "body", "client"), [(*one, next(EVADED)) for one in EVADING])
def test_no_path_of_another_server_evades_the_steps(gateway, upstream, path, body, client):
    """Each path meets four of the five steps."""
    upstream.script(FOUND)
    status, headers, raw = post_as(gateway, client, path, body)
    seen = readable(raw)
    assert "alcon-7" not in seen
    assert "window" in client or all(b"falcon" not in one.body for one in upstream.seen)
    assert status == (400 if client.startswith("refuse") else 200), seen
    if client.startswith("mask"):
        assert re.search(f"it is {WORD} today", seen), seen
        return
    assert headers["x-trigate-refused-by"] == client
    assert ("Not here." in seen) is (client == "stop")
    assert bool(upstream.seen) == (client == "refuse-window")
