"""Steps on requests to endpoints other than conversations, and on their responses.

Guardrails elsewhere never ran for embeddings: https://github.com/api7/aisix/issues/541."""

import itertools
import json
from base64 import b64encode
from typing import Any, Final

import attrs
import pytest

from tests.support import word_steps
from tests.support.each_row import each_row
from tests.support.endpoint_provider import ScriptedAnswer, events, json_answer
from tests.support.features import needs_feature
from tests.support.settled_lines import SettledLines
from tests.support.word_gateway import gateway_with_steps, step

pytestmark = needs_feature("other_endpoints")

USAGE: Final = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
PROMPT: Final = "about falcon-12 now"
ANSWER: Final = "it is falcon-77 today"


@attrs.frozen
class Case:
    """A request to an endpoint with a word in ``body``, and the provider's ``answer``, with one if ``has_text``."""

    path: str
    body: dict[str, Any]
    answer: Any
    has_text: bool = True
    model: str = "openai/m-1"
    entry: dict[str, Any] = attrs.field(factory=dict)


RANKING: Final = {
    "id": "1", "results": [{"index": 0, "relevance_score": 0.9, "document": {"text": ANSWER}}], "meta": {},
}  # fmt: skip
VECTORS: Final = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
                  "model": "m-1", "usage": {"prompt_tokens": 1, "total_tokens": 1}}  # fmt: skip
COMPLETION: Final = {"id": "c", "object": "text_completion", "model": "m-1", "usage": USAGE, "choices": [
    {"index": 0, "text": ANSWER, "finish_reason": "stop", "logprobs": {"tokens": ["falcon", "-77"]}}]}  # fmt: skip
FILL: Final = {"id": "c", "object": "chat.completion", "model": "m-1", "usage": USAGE, "choices": [
    {"index": 0, "message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}]}  # fmt: skip
MODERATION: Final = {
    "id": "1",
    "model": "m-1",
    "results": [{"flagged": False, "categories": {}, "category_scores": {}}],
}
PAGES: Final = {"pages": [{"index": 0, "markdown": ANSWER, "images": []}], "model": "m-1", "usage_info": {}}
IMAGES: Final = {"created": 1, "data": [{"b64_json": b64encode(bytes(range(256))).decode(), "revised_prompt": ANSWER}]}


COMPACTION: Final = {
    "id": "resp_1", "object": "response.compaction",
    "output": [{"id": "cmp_1", "type": "compaction", "encrypted_content": "c2VhbA=="}],
}  # fmt: skip
OWN: Final = {"speaks": ["responses"]}


def sound(data: bytes) -> ScriptedAnswer:
    return ScriptedAnswer((data,), headers=(("content-type", "audio/mpeg"),), length=True)


CASES: Final = {
    "completions": Case("/v1/completions", {"prompt": PROMPT}, COMPLETION),
    "several prompts": Case("/v1/completions", {"prompt": ["a", PROMPT]}, COMPLETION),
    "suffix": Case("/v1/completions", {"prompt": "a", "suffix": PROMPT}, FILL, model="mistral/m-1"),
    "fim": Case("/v1/fim/completions", {"prompt": PROMPT, "suffix": "b"}, FILL, model="mistral/m-1"),
    "embeddings": Case("/v1/embeddings", {"input": [PROMPT]}, VECTORS, has_text=False),
    "cohere": Case("/v2/embed", {"texts": [PROMPT], "input_type": "search_query", "embedding_types": ["float"]},
                   VECTORS, has_text=False),
    "gemini": Case("/v1beta/models/m-1:embedContent", {"content": {"parts": [{"text": PROMPT}]}},
                   VECTORS, has_text=False),
    "rerank": Case("/v2/rerank", {"query": "q", "documents": ["a", PROMPT]}, RANKING, model="cohere/m-1"),
    "ranked query": Case("/v1/rerank", {"query": PROMPT, "documents": ["a"]}, RANKING, model="cohere/m-1"),
    "moderations": Case("/v1/moderations", {"input": PROMPT}, MODERATION, has_text=False),
    "unknown member": Case("/v1/moderations", {"input": "a", "vendor": {"x": PROMPT}}, MODERATION, has_text=False),
    "speech": Case("/v1/audio/speech", {"input": PROMPT, "voice": "alloy"}, sound(b"\x00\x01 falcon"), has_text=False),
    "spoken style": Case("/v1/audio/speech", {"input": "a", "instructions": PROMPT, "voice": "alloy"}, sound(b"\x00"),
                         has_text=False),
    "pictures": Case("/v1/images/generations", {"prompt": PROMPT}, IMAGES),
    "ocr": Case("/v1/ocr", {"document": {"type": "document_url", "document_url": "https://a.test/b"},
                            "document_annotation_prompt": PROMPT}, PAGES, model="mistral/m-1"),
    "count_tokens": Case("/v1/messages/count_tokens", {"messages": [{"role": "user", "content": PROMPT}]},
                         {"input_tokens": 5}, has_text=False, model="anthropic/m-1"),
    "input_tokens": Case("/v1/responses/input_tokens", {"input": PROMPT},
                         {"input_tokens": 5, "object": "response.input_tokens"}, has_text=False, entry=OWN),
    "compact": Case("/v1/responses/compact", {"input": PROMPT}, COMPACTION, has_text=False, entry=OWN),
}  # fmt: skip
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
EACH: Final = {"entries": ["*"]}


def in_turns(*more: tuple[Any, ...]) -> list[Any]:
    """Return each case with one of the tuples in ``more``, by turns."""
    return [
        pytest.param(one, *values, id=f"{name}-{values[0]}")
        for (name, one), values in zip(CASES.items(), itertools.cycle(more), strict=False)
    ]


def with_steps(case: Case, *steps: dict[str, Any], answer: Any = None, **more: Any) -> Any:
    entry = {**case.entry, **more.pop("entry", {})}
    answer = case.answer if answer is None else answer
    return gateway_with_steps(answer, *steps, model=case.model, entry=entry, **more)


@cases
async def test_a_masked_value_reaches_neither_provider_nor_client(case):
    async with with_steps(case, step(action="mask")) as (served, provider):
        found = await served.post(case.path, json={"model": "m-1", **case.body})
        assert found.status_code == 200, found.text
        (asked,) = provider.asked
        assert b"falcon-12" not in asked.body
        assert b"[WORD_" in asked.body
        assert b"falcon-77" not in found.content
        assert b"[WORD_" in found.content or not case.has_text
        assert found.headers["x-trigate-steps"] == "words=masked"


@pytest.mark.parametrize(("case", "moment", "scope"), in_turns(("request", {}), ("during", {}), ("during", EACH)))
async def test_a_refused_request_is_a_400_and_nothing_is_sent(case, moment, scope):
    async with with_steps(case, step(at=[moment], **{"for": scope})) as (served, provider):
        lines = SettledLines(served)
        found = await served.post(case.path, json={"model": "m-1", **case.body})
        assert found.status_code == 400
        assert b"content_filter" in found.content or case.path.startswith("/v1beta")
        assert b"falcon" not in found.content
        assert found.headers["x-trigate-refused-by"] == "words"
        assert found.headers["x-should-retry"] == "false"
        assert (moment == "during" and not scope) or not provider.asked
        (line,) = await lines.next()
        assert (line["ended"], line["refused_by"]) == ("refused", "words")
        assert not line.get("cost_usd")


@each_row("case", [one for one in CASES.values() if one.has_text], every=3)
async def test_a_refused_response_is_a_400_and_is_billed(case):
    price = {"input": 1, "output": 1}
    async with with_steps(case, step(at=["response"]), entry={"price": price}) as (served, provider):
        lines = SettledLines(served)
        found = await served.post(case.path, json={"model": "m-1", **case.body})
        assert found.status_code == 400, found.text
        assert b"falcon" not in found.content
        assert found.headers["x-trigate-refused-by"] == "words"
        assert len(provider.asked) == 1
        (line,) = await lines.next()
        assert (line["ended"], line["refused_by"]) == ("refused", "words")
        if "usage" in case.answer:
            assert line["cost_usd"] == pytest.approx(13 / 1_000_000), line


@pytest.mark.parametrize(("case", "status"), in_turns((400,), (500,)))
async def test_an_error_of_the_provider_shows_no_text_that_a_step_refuses(case, status):
    error = json_answer({"error": {"message": ANSWER, "type": "invalid_request_error", "param": ANSWER}}, status=status)
    async with with_steps(case, step(at=["response"]), answer=error) as (served, _):
        found = await served.post(case.path, json={"model": "m-1", **case.body})
        assert b"falcon-77" not in found.content
        is_estimate = found.status_code == 200  # of a number of tokens
        assert is_estimate or b"the step words withheld the text of its error" in found.content


@cases
async def test_a_step_that_reports_changes_nothing(case):
    body = {"model": "m-1", **case.body}
    async with with_steps(case) as (served, provider):
        plain = await served.post(case.path, json=body)
        sent = provider.asked[0].body
    async with with_steps(case, step(action="report")) as (served, provider):
        lines = SettledLines(served)
        found = await served.post(case.path, json=body)
        assert provider.asked[0].body == sent
        (line,) = await lines.next()
        if "created" not in found.text and '"id"' not in found.text:
            assert found.content == plain.content
        assert "x-trigate-steps" not in found.headers
        reported = {one["at"]: one["labels"] for one in line["steps"] if "labels" in one}
        assert reported["request"] == {"word": 1}
        assert "response" in reported or not case.has_text


async def test_values_in_a_response_are_restored():
    def echo(asked):  # type: ignore[no-untyped-def]
        text = asked.json["prompt"]
        return json_answer({**COMPLETION, "choices": [{"index": 0, "text": text, "finish_reason": "stop"}]})

    async with gateway_with_steps(echo, step(action="mask", at=["request"], restore=True)) as (served, provider):
        found = await served.post("/v1/completions", json={"model": "m-1", "prompt": PROMPT})
        assert found.json()["choices"][0]["text"] == PROMPT
        assert b"falcon" not in provider.asked[0].body


async def test_a_masked_completion_loses_its_log_probabilities():
    async with with_steps(CASES["completions"], step(action="mask", at=["response"])) as (served, _):
        found = await served.post("/v1/completions", json={"model": "m-1", "prompt": "a", "logprobs": 1})
        assert found.json()["choices"][0]["logprobs"] is None


TOKENS: Final = {
    "/v1/embeddings": ({"input": [1, 2, 3]}, {"input": [[1, 2], [3]]}),
    "/v1/completions": ({"prompt": [1, 2]}, {"prompt": [[1], [2]]}),
}


@each_row(("path", "body"), [(path, body) for path, bodies in TOKENS.items() for body in bodies], every=2)
async def test_token_ids_are_content_that_a_step_cannot_read(path, body):
    case = Case(path, body, VECTORS)
    async with with_steps(case, step()) as (served, provider):
        found = await served.post(path, json={"model": "m-1", **body})
        assert (found.status_code, found.json()["error"]["code"]) == (403, "unchecked_content")
        assert not provider.asked
    for more in ({"unchecked": "pass"}, {"action": "report"}, {"for": {"endpoints": ["chat"]}}):
        entry = {"embeddings": {"token_arrays": True}}
        async with with_steps(case, step(**more), entry=entry) as (served, provider):
            await served.post(path, json={"model": "m-1", **body})
            assert len(provider.asked) == 1, more


async def test_a_step_that_fails_is_a_503_and_passes_if_it_may():
    case = CASES["embeddings"]
    broken = {"use": "tests.support.word_steps:raise_error", "name": "broken", "at": ["request"]}
    async with with_steps(case, broken) as (served, provider):
        found = await served.post(case.path, json={"model": "m-1", **case.body})
        assert (found.status_code, found.json()["error"]["code"]) == (503, "step_unavailable")
        assert "retry-after" in found.headers
        assert not provider.asked
    async with with_steps(case, {**broken, "unchecked": "pass"}) as (served, provider):
        found = await served.post(case.path, json={"model": "m-1", **case.body})
        assert (found.status_code, found.headers["x-trigate-steps"]) == (200, "broken=unchecked")


@each_row(("action", "status"), [("refuse", 400), ("mask", 200)])
async def test_a_checked_request_is_counted_once_and_one_without_allowance_calls_no_step(action, status):
    case = CASES["embeddings"]
    keys = [{"name": "ann", "key": "key-of-ann-0123456789", "ratelimits": {"requests": "2/m", "tokens": "1000/m"}}]
    headers = {"authorization": "Bearer key-of-ann-0123456789"}
    async with with_steps(case, step(action=action), client_keys=keys) as (served, provider):
        for wanted in (status, status, 429):
            word_steps.seen.clear()
            found = await served.post(case.path, json={"model": "m-1", "input": PROMPT}, headers=headers)
            assert found.status_code == wanted, found.text
        assert not word_steps.seen
        assert len(provider.asked) == (0 if action == "refuse" else 2)


async def test_a_step_for_entries_checks_what_one_of_them_may_get():
    case = CASES["embeddings"]
    for entries, status in ((["openai/*"], 400), (["*"], 400), (["!openai/*"], 200)):
        async with with_steps(case, step(**{"for": {"entries": entries}})) as (served, provider):
            found = await served.post(case.path, json={"model": "m-1", **case.body})
            assert found.status_code == status, (entries, found.text)
            assert len(provider.asked) == (status == 200)


async def test_a_suffix_does_not_evade_a_step_for_completions():
    case = CASES["suffix"]
    async with with_steps(case, step(**{"for": {"endpoints": ["completions"]}})) as (served, provider):
        found = await served.post(case.path, json={"model": "m-1", **case.body})
        assert found.status_code == 400
        assert not provider.asked


def _delta(index: int, text: str, **more: Any) -> bytes:
    choice = {"index": index, "text": text, "logprobs": {"tokens": [text]}, "finish_reason": None, **more}
    value = {"id": "c", "object": "text_completion", "model": "m-1", "choices": [choice]}
    return b"data: " + json.dumps(value).encode() + b"\n\n"


STREAMED: Final = (
    _delta(0, "it is fal"), _delta(1, "and osp"), _delta(0, "con-7"), _delta(1, "rey-5 "), _delta(0, "7 today"),
    _delta(1, "flies", finish_reason="stop"), _delta(0, "", finish_reason="stop"), b"data: [DONE]\n\n",
)  # fmt: skip


def texts_of(stream: bytes) -> dict[int, str]:
    """Return the text of each choice in a stream of completions."""
    found: dict[int, str] = {}
    for event in stream.split(b"\n\n"):
        if event.startswith(b"data: {"):
            for choice in json.loads(event[6:])["choices"]:
                found[choice["index"]] = found.get(choice["index"], "") + choice["text"]
    return found


async def test_a_stream_of_two_choices_is_masked_in_each():
    steps = step(action="mask"), {"use": "tests.support.word_steps:answered_words", "name": "other", "action": "mask"}
    async with with_steps(CASES["completions"], *steps, answer=events(*STREAMED)) as (served, _):
        found = await served.post("/v1/completions", json={"model": "m-1", "prompt": "a", "stream": True, "n": 2})
        texts = texts_of(found.content)
        assert texts[0].startswith("it is [WORD_")
        assert texts[0].endswith("] today")
        assert texts[1].startswith("and [WORD_")
        assert texts[1].endswith("] flies")
        assert b"rey-5" not in found.content
        assert b"con-7" not in found.content
        assert found.content.endswith(b"data: [DONE]\n\n")


async def test_a_refused_stream_has_its_own_status():
    async with with_steps(CASES["completions"], step(at=["response"]), answer=events(*STREAMED)) as (served, _):
        found = await served.post("/v1/completions", json={"model": "m-1", "prompt": "a", "stream": True})
        assert (found.status_code, found.json()["error"]["code"]) == (400, "content_filter")


async def test_media_in_a_response_need_no_check():
    only_texts = step(action="mask", at=["response"], parts=["input"])
    async with with_steps(CASES["pictures"], only_texts) as (served, _):
        found = await served.post("/v1/images/generations", json={"model": "m-1", "prompt": "a"})
        assert found.status_code == 200, found.text
        assert b"falcon" not in found.content


@pytest.mark.parametrize("stream", [False, True])
async def test_a_step_sees_only_the_masks_of_earlier_steps(stream):
    masking, *others = step(action="mask", at=["response"]), step(name="before"), step(name="after")
    before, after = ({**one, "action": "report", "at": ["response"]} for one in others)
    case = CASES["completions"]
    answer = events(*STREAMED) if stream else None
    async with with_steps(case, before, masking, after, answer=answer) as (served, _):
        lines = SettledLines(served)
        await served.post("/v1/completions", json={"model": "m-1", "prompt": "a", "stream": stream})
        (line,) = await lines.next()
        outcomes = {one["step"]: one.get("labels") for one in line["steps"] if one["at"] == "response"}
        assert outcomes == {"before": {"word": 1}, "words": {"word": 1}, "after": None}


ESCAPED: Final = rb'{"results": [{"index": 0, "relevance_score": %b, "document": {"text": "it is f\u0061lcon-77"}}]}'
LENIENT: Final = {
    "number": ESCAPED % b"NaN", "large number": ESCAPED % b"1e999", "mark": b"\xef\xbb\xbf" + ESCAPED % b"0.9",
    "two values": ESCAPED % b"0.8" + b"\n" + ESCAPED % b"0.9", "string": rb'"it is f\u0061lcon-77"',
    "list": rb'[NaN, "it is f\u0061lcon-77"]', "space": b"\v" + ESCAPED % b"0.9",
    "events": b"data: " + ESCAPED % b"0.9",
}  # fmt: skip
"""Bodies that some clients read as JSON, or as events with JSON, and others do not."""


@each_row("name", LENIENT)
async def test_no_body_that_is_hardly_json_hides_text_by_escapes(name):
    body, case = LENIENT[name], CASES["rerank"]
    event = b"data: " + body.replace(b"\n", b"\ndata: ") + b"\n\n"
    for kind, data in (("application/json", body), ("text/event-stream", event)):
        for action in ("mask", "refuse"):
            answer = ScriptedAnswer((data,), headers=(("content-type", kind),), length=True)
            async with with_steps(case, step(at=["response"], action=action), answer=answer) as (served, _):
                found = await served.post(case.path, json={"model": "m-1", **case.body})
                assert b"falcon" not in found.content.replace(rb"\u0061", b"a")
                assert found.status_code in (400, 502) or action == "mask"
