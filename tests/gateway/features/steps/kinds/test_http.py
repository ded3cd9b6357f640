"""Services that speak LiteLLM's generic guardrail API, on real sockets, in every form of reply and of failure.

The contract: https://docs.litellm.ai/docs/adding_provider/generic_guardrail_api"""

import json
import threading
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from gateway.features.steps.runner import StepFailed, run_step
from tests.support.certificates import LOOPBACK, Authority
from tests.support.check_services import GUARDRAIL_PATH, CheckService, check_service, masking
from tests.support.each_row import each_row
from tests.support.harness import free_port
from tests.support.step_files import HEAD, service_step
from tests.support.upstreams import JSON, Raw
from trigate.steps import Check, Finding, Passage

TEXTS: Final = ("hello Ann Lee", "the code is 12 and 34")
guard_step: Final = partial(service_step, "http")
CALL: Final = Passage("tool_calls", "messages[1].tool_calls[0].function.arguments", '{"path": "/tmp/12"}', "read_file")


def check(*passages: Passage, **more: Any) -> Check:
    named = {"client": "app", "group": "team", "model": "gpt-5", "api": "chat", "request_id": "req_1", "run": "run_1"}
    texts = tuple(Passage("user", f"messages[{i}].content", text) for i, text in enumerate(TEXTS))
    return Check("request", passages or texts, **{**named, **more})  # type: ignore[arg-type]


def spans(findings: list[Finding]) -> list[tuple[str, str, str | None, str | None]]:
    return [(one.label, one.passage.text[one.start : one.end], one.replacement, one.action) for one in findings]


async def test_the_request_has_the_documented_fields_and_no_header_of_a_client(tmp_path, guard):
    guard.use(lambda _: {"action": "NONE"})
    settings = ", key: the-key, headers: {X-Service: trigate}, params: {threshold: 0.8, more: {a: [1]}}"
    async with guard_step(tmp_path, guard.url + "/guards/", settings=settings) as step:
        passages = (
            Passage("system", "messages[0].content", "be kind"),
            Passage("user", "messages[1].content", "hi"),
            Passage("media", "messages[1].content[1].image_url.url", "https://example.com/a.png"),
            CALL,
            Passage("tool_results", "messages[3].content", "found", "read_file"),
            Passage("tools", "tools[0]", '{"name": "read_file", "input_schema": {"type": "object"}}', "read_file"),
            Passage("other", "note", "a note"),
        )
        assert await run_step(step, check(*passages)) == []

    (seen,) = guard.seen
    assert (seen.method, seen.path) == ("POST", "/guards" + GUARDRAIL_PATH)
    assert {name for name, _ in seen.headers} == {
        "host", "content-type", "accept", "accept-encoding", "content-length", "x-service", "x-api-key",
    }  # fmt: skip
    assert seen.header("x-api-key") == "the-key"
    call = {
        "id": CALL.path,
        "type": "function",
        "function": {"name": "read_file", "arguments": '{"path": "/tmp/12"}'},
    }
    assert seen.json == {
        "input_type": "request",
        "litellm_call_id": "req_1",
        "litellm_trace_id": "run_1",
        "model": "gpt-5",
        "texts": ["be kind", "hi", "found", "a note"],
        "images": ["https://example.com/a.png"],
        "tools": [{"type": "function", "function": {"name": "read_file", "parameters": {"type": "object"}}}],
        "tool_calls": [call],
        "structured_messages": [
            {"role": "system", "content": "be kind"},
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "messages[3].content", "name": "read_file", "content": "found"},
        ],
        "request_data": {"user_api_key_alias": "app", "user_api_key_team_alias": "team"},
        "additional_provider_specific_params": {"threshold": 0.8, "more": {"a": [1]}},
    }


async def test_keys_and_parameters_may_be_in_files(tmp_path, guard):
    guard.use(lambda _: {"action": "NONE"})
    secret = tmp_path / "secret"
    secret.write_text("from-a-file\n")
    secret.chmod(0o600)
    file = f"{{file: '{secret}'}}"
    async with guard_step(tmp_path, guard.url, settings=f", key: {file}, params: {{inner: [{file}]}}") as step:
        await run_step(step, check())
        assert step.settings.secrets.count("from-a-file") >= 1
    assert guard.seen[0].header("x-api-key") == "from-a-file"
    assert guard.requests[0]["additional_provider_specific_params"] == {"inner": ["from-a-file"]}


async def test_a_response_has_no_messages_and_a_url_with_the_path_stays(tmp_path, guard):
    guard.use(lambda _: {"action": "NONE"})
    async with guard_step(tmp_path, guard.url + GUARDRAIL_PATH) as step:
        await run_step(step, attrs.evolve(check(client=None, group=None, run=None), at="response"))
    (request,) = guard.requests
    assert guard.seen[0].path == GUARDRAIL_PATH
    assert guard.seen[0].header("x-api-key") is None
    assert (request["input_type"], request["structured_messages"], request["request_data"]) == ("response", None, {})
    assert request["litellm_trace_id"] == "req_1"


async def test_requests_of_endpoints_have_no_messages(tmp_path, guard):
    guard.use(lambda _: {"action": "NONE"})
    async with guard_step(tmp_path, guard.url) as step:
        await run_step(step, check(Passage("input", "input[0]", "a text"), api="embeddings"))
    (request,) = guard.requests
    assert (request["texts"], request["structured_messages"], request["input_type"]) == (["a text"], None, "request")


async def test_a_long_definition_is_one_tool_and_no_text(tmp_path, guard):
    guard.use(lambda _: {"action": "NONE"})
    definition = {"type": "function", "function": {"name": "f", "description": "x" * 30_000}}
    async with guard_step(tmp_path, guard.url, ", parts: [tools]") as step:
        await run_step(step, check(Passage("tools", "tools[0]", json.dumps(definition), "f")))
    (request,) = guard.requests
    assert (request["texts"], request["tools"]) == ([], [definition])


ROW: Final = {"role": "user", "content": TEXTS[0]}

REPLIES: Final[dict[str, tuple[Any, list[tuple[str, str, str | None, str | None]]]]] = {
    "none": ({"action": "NONE"}, []),
    "none, with other texts": ({"action": "NONE", "texts": ["x", "y"]}, []),
    "blocked": (
        {"action": "BLOCKED", "blocked_reason": "hello Ann Lee"},
        [("blocked", TEXTS[1], None, "refuse")],
    ),
    "blocked without a reason": ({"action": "BLOCKED"}, [("blocked", TEXTS[1], None, "refuse")]),
    "the same texts": ({"action": "GUARDRAIL_INTERVENED", "texts": list(TEXTS)}, []),
    "changed words": (
        {"action": "GUARDRAIL_INTERVENED", "texts": ["hello <NAME>", "the code is * and *"]},
        [
            ("masked", "Ann Lee", "<NAME>", "mask"),
            ("masked", "12", "*", "mask"),
            ("masked", "34", "*", "mask"),
        ],
    ),
    "an emptied text": (
        {"action": "GUARDRAIL_INTERVENED", "texts": ["", TEXTS[1]]},
        [("masked", TEXTS[0], "", "mask")],
    ),
    "changed messages": (
        {
            "action": "GUARDRAIL_INTERVENED",
            "structured_messages": [{**ROW, "content": "hello you"}, {"role": "user", "content": TEXTS[1]}],
        },
        [("masked", "Ann Lee", "you", "mask")],
    ),
    "both changed alike": (
        {
            "action": "GUARDRAIL_INTERVENED",
            "texts": ["hello you", TEXTS[1]],
            "structured_messages": [{**ROW, "content": "hello you"}, {"role": "user", "content": TEXTS[1]}],
        },
        [("masked", "Ann Lee", "you", "mask")],
    ),
    "another role": (
        {"action": "GUARDRAIL_INTERVENED", "structured_messages": [{**ROW, "role": "system"}, ROW]},
        [("masked", TEXTS[1], None, "refuse"), ("masked", "the code is 12 and 34", "hello Ann Lee", "mask")],
    ),
    "a rewritten conversation": (
        {"action": "GUARDRAIL_INTERVENED", "structured_messages": [ROW]},
        [("masked", TEXTS[1], None, "refuse")],
    ),
    "other images": (
        {"action": "GUARDRAIL_INTERVENED", "images": ["aGk="]},
        [("masked", TEXTS[1], None, "refuse")],
    ),
    "unknown members": ({"action": "NONE", "score": 0.2, "detail": {"a": []}}, []),
}


@each_row("case", REPLIES)
async def test_replies_become_findings(tmp_path, guard, case):
    reply, expected = REPLIES[case]
    guard.use(lambda _: reply)
    async with guard_step(tmp_path, guard.url) as step:
        assert spans(await run_step(step, check())) == expected


async def test_changed_arguments_of_a_call_are_masks(tmp_path, guard):
    guard.use(masking(r"/tmp/\d+", "/tmp/x"))
    async with guard_step(tmp_path, guard.url) as step:
        assert spans(await run_step(step, check(CALL))) == [("masked", "12", "x", "mask")]


@pytest.mark.parametrize("function", [{"name": "delete_file", "arguments": CALL.text}, None, "x"])
async def test_another_call_is_a_refusal(tmp_path, guard, function):
    call = {"id": "a", "type": "function", "function": function}
    guard.use(lambda _: {"action": "GUARDRAIL_INTERVENED", "tool_calls": [call]})
    async with guard_step(tmp_path, guard.url) as step:
        assert spans(await run_step(step, check(CALL))) == [("masked", CALL.text, None, "refuse")]


MALFORMED: Final[dict[str, Any]] = {
    "no action": {},
    "an unknown action": {"action": "ALLOW"},
    "an action in lower case": {"action": "none"},
    "a number as action": {"action": 1},
    "a list": [],
    "null": None,
    "intervened without a list": {"action": "GUARDRAIL_INTERVENED"},
    "intervened without texts": {"action": "GUARDRAIL_INTERVENED", "texts": None, "tool_calls": []},
    "a reason without texts": {"action": "GUARDRAIL_INTERVENED", "blocked_reason": "no"},
    "a reason without a change": {"action": "GUARDRAIL_INTERVENED", "texts": list(TEXTS), "blocked_reason": "no"},
    "too few texts": {"action": "GUARDRAIL_INTERVENED", "texts": ["x"]},
    "too many texts": {"action": "GUARDRAIL_INTERVENED", "texts": ["x", "y", "z"]},
    "no texts": {"action": "GUARDRAIL_INTERVENED", "texts": []},
    "texts that are a string": {"action": "GUARDRAIL_INTERVENED", "texts": "xy"},
    "texts that are numbers": {"action": "GUARDRAIL_INTERVENED", "texts": [1, 2]},
    "calls that are no list": {"action": "GUARDRAIL_INTERVENED", "tool_calls": {}},
    "messages that are numbers": {"action": "GUARDRAIL_INTERVENED", "structured_messages": [1, 2]},
    "a negative length": {"action": "NONE", "stream_holdback_chars": [-1]},
    "a length that is a text": {"action": "NONE", "stream_holdback_chars": ["4"]},
    "not JSON": Raw(200, JSON, (b"{",)),
    "not UTF-8": Raw(200, JSON, (b'{"action": "\xff"}',)),
    "nested too deep": Raw(200, JSON, (b"[" * 100_000,)),
    "empty": Raw(200, JSON, (b"",)),
    "too large": Raw(200, JSON, (json.dumps({"action": "NONE", "x": "x" * 2**20}).encode(),)),
}


FAILING: Final = {
    "an error": Raw(500, JSON, (b'{"action": "NONE"}',)),
    "an unknown key": Raw(401, JSON, (b'{"action": "NONE"}',)),
    "a redirect": Raw(307, (("location", "/elsewhere"),), (b'{"action": "NONE"}',)),
    "a cut reply": Raw(200, JSON, (b'{"action"',), "cut"),
    "a reset": Raw(200, JSON, (b'{"action"',), "reset"),
}


async def failure_of(folder: Path, url: str, more: str = "") -> StepFailed:
    """Return the failure of a check by the service at ``url``."""
    async with guard_step(folder, url, more) as step:
        with pytest.raises(StepFailed) as caught:
            await run_step(step, check())
    assert "Ann" not in caught.value.detail
    return caught.value


@each_row(("reply", "reason"), [
    *((reply, "malformed") for reply in MALFORMED.values()), *((reply, "error") for reply in FAILING.values()),
], ids=[*MALFORMED, *FAILING], every=3)  # fmt: skip
async def test_malformed_and_broken_replies_are_failures(tmp_path, guard, reply, reason):
    guard.use(lambda _: reply)
    assert (await failure_of(tmp_path, guard.url)).reason == reason
    assert len(guard.seen) == 1


async def test_a_slow_service_is_a_failure_at_the_deadline(tmp_path, guard):
    released = threading.Event()

    def respond(_: Any) -> Any:
        released.wait(20)
        return {"action": "NONE"}

    guard.use(respond)
    try:
        assert (await failure_of(tmp_path, guard.url, ", deadline: 100ms")).reason == "deadline"
    finally:
        released.set()


async def test_a_service_that_is_down_is_a_failure(tmp_path):
    failed = await failure_of(tmp_path, f"http://127.0.0.1:{free_port()}")
    assert (failed.reason, failed.detail) == ("error", "the service is unreachable: refused")


async def test_only_a_trusted_certificate_is_accepted(tmp_path):
    authority = Authority(tmp_path)
    trusting = f"{HEAD}overrides: {{upstream_tls_ca_path: '{authority.root}'}}\n"
    with check_service(authority.pair("guard", *LOOPBACK)) as served:
        url = served.url.replace("http:", "https:")
        assert (await failure_of(tmp_path, url)).detail == "the service is unreachable: tls"
        assert served.seen == []
        async with guard_step(tmp_path, url, head=trusting) as step:
            assert await run_step(step, check()) == []


def secret_at(length: int, position: int) -> str:
    text = "word " * (length // 5)
    return text[:position] + " falcon-1234567890 " + text[position:]


@each_row("position", [10, 8_990, 9_000, 9_990, 9_998, 10_000, 18_000, 18_995, 25_000], every=3)
async def test_long_texts_go_in_overlapping_pieces(tmp_path, guard, position):
    guard.use(masking("falcon-1234567890", "***"))
    text = secret_at(25_000, position)
    async with guard_step(tmp_path, guard.url) as step:
        found = await run_step(step, check(Passage("user", "messages[0].content", text)))
    (request,) = guard.requests
    assert max(map(len, request["texts"])) == 10_000
    assert "falcon-1234567890" in " ".join(request["texts"])
    assert {one.passage.text[one.start : one.end] for one in found} == {"falcon-1234567890"}


async def test_half_of_a_surrogate_pair_can_be_sent(tmp_path, guard):
    guard.use(masking("Ann", "X"))
    passage = Passage("user", "messages[0].content", "\ud83d Ann \U0001f600 Ann")
    async with guard_step(tmp_path, guard.url) as step:
        found = await run_step(step, check(passage))
    assert [(one.start, one.end) for one in found] == [(2, 5), (8, 11)]


async def test_a_blocked_picture_is_refused(tmp_path, guard: CheckService):
    guard.use(lambda _: {"action": "BLOCKED"})
    picture = Passage("media", "messages[0].content[0]", "", media_type="image/png", size=3, data=b"xxx")
    async with guard_step(tmp_path, guard.url, ", parts: [media]") as step:
        assert [one.action for one in await run_step(step, check(picture))] == ["refuse"]
    assert guard.requests[0]["images"] == ["data:image/png;base64,eHh4"]


@each_row(
    ("action", "label", "expected"),
    [
        ("", "masked", "mask"),
        ("", "blocked", "refuse"),
        (", action: report", "blocked", "report"),
        (", action: refuse", "masked", "refuse"),
        (", action: {blocked: report}", "blocked", "report"),
        (", action: {blocked: report}", "masked", "refuse"),
    ],
)
async def test_a_configured_action_overrides_the_service(tmp_path, guard, action, label, expected):
    async with guard_step(tmp_path, guard.url, action) as step:
        returned = {"masked": "mask", "blocked": "refuse"}[label]
        assert step.action_for(label, returned) == expected
