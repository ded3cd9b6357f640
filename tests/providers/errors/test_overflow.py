"""Errors about a conversation that is too long, in any provider's words, and in the words that clients act on
(musistudio/claude-code-router#1799, raine/claude-code-proxy#29, Yeachan-Heo/oh-my-claudecode#3574)."""

import json

import pytest

from providers.apis import CODECS
from providers.errors.failures import messages_error, openai_error, read_event_failure, read_failure
from streams.events import ErrorInfo
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.repository import SHARED

CORPUS = SHARED / "corpus" / "error_responses"
CODE = "context_length_exceeded"


def prompt(tokens: int, limit: int) -> str:
    return f"prompt is too long: {tokens} tokens > {limit} maximum"


def sum_of(tokens: int, output: int, limit: int) -> str:
    return (
        f"input length and `max_tokens` exceed context limit: {tokens} + {output} > {limit}, "
        "decrease input length or `max_tokens` and try again"
    )


IS = "This model's maximum context length is"
WITH_FIGURES = [
    (f"{IS} 128000 tokens. However, your messages resulted in 150000 tokens. Please reduce …", prompt(150000, 128000)),
    (
        "Trying to keep the first 111490 tokens when context the overflows. However, the model is loaded with context "
        "length of only 32768 tokens, which is not enough.",
        prompt(111490, 32768),
    ),
    (
        "You passed 140000 input tokens and requested 100 output tokens. However, the model's context length is only "
        "131072 tokens, resulting in a maximum input length of 130972 tokens.",
        prompt(140000, 131072),
    ),
    (
        f"{IS} 1048565 tokens. However, you requested 1250025 tokens (1250025 in the messages, 0 in the completion).",
        prompt(1250025, 1048565),
    ),
    (
        f"{IS} 8192 tokens. However, you requested 8203 tokens (7691 in the messages, 512 in the completion).",
        sum_of(7691, 512, 8192),
    ),
    (
        f"{IS} 4097 tokens, however you requested 4231 tokens (3975 in your prompt; 256 for the completion).",
        sum_of(3975, 256, 4097),
    ),
    (
        "This endpoint's maximum context length is 1000 tokens. However, you requested about 1400 tokens (1100 of text "
        "input, 200 of tool input, 100 in the output).",
        prompt(1300, 1000),
    ),
    (
        "Requested token count exceeds the model's maximum context length of 4096 tokens. You requested a total of "
        "5000 tokens: 4000 tokens from the input messages and 1000 tokens for the completion.",
        sum_of(4000, 1000, 4096),
    ),
    (
        f"{IS} 4096 tokens. However, you requested 1000 output tokens and your prompt contains at least 4000 input "
        "tokens, for a total of at least 5000 tokens.",
        sum_of(4000, 1000, 4096),
    ),
    (
        f"'max_tokens' or 'max_completion_tokens' is too large: 1000. {IS} 4096 tokens and your request has 4000 input "
        "tokens (1000 > 4096 - 4000).",
        sum_of(4000, 1000, 4096),
    ),
    ("This model's maximum prompt length is 131072 but the request contains 140000 tokens.", prompt(140000, 131072)),
    (
        "The input token count (1250074) exceeds the maximum number of tokens allowed (1048576).",
        prompt(1250074, 1048576),
    ),
    (
        "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
        prompt(40000, 32768),
    ),
    ("request (9000 tokens) exceeds the available context size (8192 tokens), try increasing it", prompt(9000, 8192)),
    ("Prompt tokens (9000) exceeds context size (8192)", prompt(9000, 8192)),
    ("The input (9000 tokens) is longer than the model's context length (8192 tokens).", prompt(9000, 8192)),
    ("The prompt is too long: 140000, model maximum context length: 131071", prompt(140000, 131071)),
    (
        "too many tokens: total number of tokens (prompt and prediction) cannot exceed 4081 - received 5000.",
        prompt(5000, 4081),
    ),
    ("prompt token count of 131007 exceeds the limit of 128000", prompt(131007, 128000)),
    (
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 8000 `inputs` tokens and "
        "1000 `max_new_tokens`",
        sum_of(8000, 1000, 8193),
    ),
    ("Maximum context length is 1,000 tokens. However, your messages resulted in 1,200 tokens", prompt(1200, 1000)),
]
WITHOUT_FIGURES = [
    "Your input exceeds the context window of this model. Please adjust your input and try again.",
    "prompt too long; exceeded max context length by 1119046 tokens (ref: 96164522)",
    "Input is too long for requested model.",
    "The model returned the following errors: Input Tokens Exceeded: Number of input tokens exceeds maximum length. …",
    "the request exceeds the available context size. try increasing the context size or enable context shift",
    "The number of tokens to keep from the initial prompt is greater than the context length.",
    "invalid params, context window exceeds limit (2013)",
    "Prompt exceeds max length",
    "Invalid request: Your request exceeded model token limit: 262144",
    "Range of input length should be [1, 30720]",
    "Prompt exceeds maximum context length",
    f"{IS} 4096 tokens. Something else is said of it.",
    # vllm-project/vllm#36789, Alishahryar1/free-claude-code#1650: the answer's share of the window is negative
    "max_tokens must be at least 1, got -7584. (parameter=max_tokens, value=-7584)",
    "max_tokens must be at least1, got -736. (parameter=max_tokens, value=-736)",
]


def told_to_messages(failed: ErrorInfo) -> str:
    told = CODECS["messages"].phrase_error(failed)
    error = messages_error(told)
    assert (told.status, error["type"]) == (400, "invalid_request_error")
    assert CODECS["messages"].phrase_error(told) == told, "told twice it is the same"
    return str(error["message"])


def openai(message: str, **more: object) -> bytes:
    return json.dumps({"error": {"message": message, "type": "BadRequestError", "code": 400, **more}}).encode()


def test_overflow_messages_for_claude_code_contain_the_providers_figures():
    for status in [400, 413, 422, 500]:
        for words, sentence in WITH_FIGURES:
            with case((status, words)):
                failed = read_failure(status, openai(words))
                assert told_to_messages(failed) == sentence


def test_an_error_in_an_array_is_recognised_too():
    """Google's OpenAI endpoint (FuzzAnything/PromptFuzz#42, langroid/langroid#988)."""
    words = "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."
    error = {"code": 400, "message": words, "status": "INVALID_ARGUMENT"}
    failed = read_failure(400, json.dumps([{"error": error}]).encode())
    assert told_to_messages(failed) == prompt(1200000, 1048576)


@each_row("words", WITHOUT_FIGURES)
def test_without_figures_the_sentence_continues_in_the_providers_words(words):
    assert told_to_messages(read_failure(400, openai(words))) == f"prompt is too long: {words}"


def test_openai_clients_get_the_code_with_the_providers_message():
    for api in ["chat", "responses"]:
        for words in [words for words, _ in WITH_FIGURES] + WITHOUT_FIGURES:
            with case((api, words)):
                failed = CODECS[api].phrase_error(read_failure(500, openai(words)))
                assert failed.status == 400
                assert openai_error(failed) == {
                    "message": words, "type": "invalid_request_error", "param": None, "code": CODE
                }  # fmt: skip


@each_row(
    "error",
    [
        {"code": CODE, "message": "m"},
        {"type": "too_many_prompt_tokens", "code": 400, "message": "The total length of all messages is too long."},
        {"type": "exceed_context_size_error", "message": "m"},
        {"code": "model_context_window_exceeded", "message": None},
        {"code": "model_max_prompt_tokens_exceeded", "message": "m"},
        {"code": "tokens_limit_reached", "message": "m"},
    ],
)
def test_a_code_decides_whatever_the_message(error):
    for failed in (read_failure(413, json.dumps({"error": error}).encode()), read_event_failure({"error": error})):
        assert (failed.kind, failed.status, failed.code) == ("invalid_request", 400, CODE)
        assert told_to_messages(failed).startswith("prompt is too long: ")


def test_similar_messages_are_no_overflow():
    for status, message in [
        (429, "Request too large for gpt-4 on tokens per min (TPM): Limit 30000, Requested 40000."),
        (429, f"{IS} 10 tokens. However, your messages resulted in 20 tokens."),
        (401, "prompt is too long"),
        (400, "max_tokens: 64001 > 64000, which is the maximum allowed number of output tokens"),
        (400, "messages.0.content: Input should be a valid list"),
        (413, "Request exceeds the maximum size"),
        (503, "context canceled"),
    ]:
        with case((status, message)):
            failed = read_failure(status, openai(message))
            assert failed.code != CODE
            assert failed.status == status
            assert CODECS["messages"].phrase_error(failed) == failed


@each_row("own", [prompt(7, 5), sum_of(188240, 21333, 200000)])
def test_anthropics_own_sentences_stay_unchanged(own):
    failed = read_failure(400, json.dumps({"type": "error", "error": {"message": own}}).encode())
    assert told_to_messages(failed) == own


def test_an_error_passes_as_it_is_only_where_its_clients_understand_it():
    for api, error, native in [
        ("messages", {"message": prompt(7, 5)}, True),
        ("messages", {"message": "Input is too long for requested model."}, False),
        ("messages", {"message": "something else"}, True),
        ("chat", {"message": "m", "code": CODE}, True),
        ("chat", {"message": f"{IS} 5 tokens", "code": 400}, False),
        ("responses", {"message": "something else", "code": None}, True),
    ]:
        with case((api, error, native)):
            assert CODECS[api].is_own_error({"type": "error", "error": error}) is native


RECORDED = {
    path.name.partition("handles-context")[0].rstrip("-"): path
    for path in sorted(CORPUS.glob("*handles-context-leng*.response.json"))
}


@pytest.mark.skipif(not RECORDED, reason="the recorded provider errors are not here")
def test_recorded_overflows_of_all_providers_are_recognised():
    assert len(RECORDED) == 7
    for name, path in RECORDED.items():
        status = json.loads(path.with_name(path.name.replace(".response.", ".meta.")).read_bytes())["status"]
        failed = read_failure(status, path.read_bytes())
        assert (failed.code == CODE) == (status == 400), name  # one was a limit of tokens in a time
        if failed.code == CODE:
            assert told_to_messages(failed).startswith("prompt is too long: "), name
