"""The stand-in's automatic prompt caches, by the documented rules of each provider. A token is four bytes.

The rules are those of "Prompt caching" (developers.openai.com), "Context Caching" (api-docs.deepseek.com) and
"Automatic Prefix Caching" (docs.vllm.ai)."""

import pytest

from tests.support.prompt_caches import LONG, CacheTrial, chat, text


@pytest.fixture
def trial() -> CacheTrial:
    return CacheTrial()


# OpenAI


def test_automatic_caches_read_whole_steps(trial):
    body = chat(("system", LONG), ("user", "Hello"))
    assert trial.count("cache/openai", body, "chat").read == 0
    again = trial.count("cache/openai", body, "chat")
    assert again.read % 128 == 0
    assert 0 <= again.tokens - again.read < 128
    assert again.written == 0
    half = trial.count("cache/openai", chat(("system", LONG[:5000] + "other" * 100)), "chat")
    assert half.read == 1152  # 4608 of 5000 bytes
    assert trial.count("cache/openai", chat(("system", LONG[:4000] + "other" * 100)), "chat").read == 0


def test_the_rest_of_a_prompt_does_not_matter_to_automatic_caches(trial):
    trial.count("cache/openai", chat(("system", LONG), ("user", "One")), "chat")
    assert trial.count("cache/openai", chat(("system", LONG), ("user", "Two")), "chat").read == 1920


@pytest.mark.parametrize(
    ("change", "is_separate"),
    [
        ({"prompt_cache_key": "k"}, True), ({"service_tier": "flex"}, True), ({"parallel_tool_calls": False}, True),
        ({"response_format": {"type": "json_object"}}, True), ({"reasoning_effort": "low"}, True),
        ({"verbosity": "low"}, True), ({"user": "u"}, False), ({"temperature": 1}, False),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, True),
    ],
)  # fmt: skip
def test_settings_that_separate_automatic_caches(trial, change, is_separate):
    for model in ("cache/openai", "cache/openai-5.6"):
        body = chat(("system", LONG), ("user", "Hello"))
        trial.count(model, body, "chat")
        assert (trial.count(model, body | change, "chat").read == 0) == is_separate


@pytest.mark.parametrize(("more", "lifetime"), [({}, 600), ({"prompt_cache_retention": "24h"}, 24 * 3600)])
def test_automatic_caches_live_after_their_last_use(trial, more, lifetime):
    body = chat(("system", LONG), **more)
    trial.count("cache/openai", body, "chat")
    for _ in range(2):
        trial.now += lifetime - 1
        assert trial.count("cache/openai", body, "chat").read > 0
    trial.now += lifetime
    assert trial.count("cache/openai", body, "chat").read == 0


def test_another_machine_serves_requests_beyond_15_in_a_minute(trial):
    body = chat(("system", LONG))
    read = [trial.count("cache/openai", body, "chat").read > 0 for _ in range(17)]
    assert read == [False, *[True] * 14, False, True]
    assert trial.count("cache/openai", body | {"prompt_cache_key": "k"}, "chat").read == 0
    trial.now += 60
    assert trial.count("cache/openai", body, "chat").read > 0


def test_newer_caches_write_the_last_end_and_look_20_ends_back(trial):
    model = "cache/openai-5.6"
    said = [("user", "Hello"), ("assistant", "Hi")]
    first = trial.count(model, chat(("developer", LONG), *said[:1]), "chat")
    assert first.written == first.tokens or first.written == first.tokens - 1
    assert trial.count(model, chat(("developer", LONG), ("user", "Other")), "chat", begins=False).read == 0
    near, far = (chat(("developer", LONG), *said * rounds, ("user", "Bye")) for rounds in (20, 21))
    assert trial.count(model, near, "chat", begins=False).read == first.written
    assert trial.count(model, far, "chat", begins=False).read == 0


def test_explicit_marks_of_newer_caches(trial):
    model, mark = "cache/openai-5.6", {"prompt_cache_breakpoint": {"mode": "explicit"}}
    marked = [{"role": "developer", "content": [text(LONG, **mark)]}]
    one, other = ({"messages": [*marked, {"role": "user", "content": said}]} for said in ("One", "Other"))
    trial.count(model, one, "chat")
    counted = trial.count(model, other, "chat")
    assert (counted.read > 1900, counted.written < 100) == (True, True)
    explicit = trial.count(
        model, other | {"prompt_cache_key": "k", "prompt_cache_options": {"mode": "explicit"}}, "chat"
    )
    assert explicit.written == counted.read


def test_reasoning_does_not_count_for_the_minimum_of_newer_caches(trial):
    reasoning = {"type": "reasoning", "encrypted_content": LONG, "summary": []}
    body = {"input": [{"role": "user", "content": "Hi"}, reasoning, {"role": "user", "content": "Bye"}]}
    assert trial.count("cache/openai-5.6", body, "responses").written == 0
    assert trial.count("cache/openai-5.6", body | {"instructions": LONG}, "responses").written > 3800


# DeepSeek and servers of your own


def test_deepseek_reads_the_end_of_an_input_and_ignores_marks(trial):
    body = chat(("system", LONG), ("user", "Hello"))
    first = trial.count("cache/deepseek", body, "chat")
    longer = chat(("system", LONG), ("user", "Hello"), ("assistant", "Hi"), ("user", "Bye"))
    longer["messages"][0]["content"] = [text(LONG, cache_control={"type": "ephemeral"})]
    assert trial.count("cache/deepseek", longer, "chat").read in (first.tokens - 1, first.tokens)
    trial.now += 24 * 3600 - 1
    assert trial.count("cache/deepseek", body, "chat").read > 0


def test_blocks_of_16_tokens_are_shared_by_credentials_and_separated_by_salts(trial):
    body = chat(("system", LONG))
    trial.count("cache/blocks", body, "chat")
    again = trial.count("cache/blocks", body, "chat", {"authorization": "Bearer other"})
    assert (again.read % 16, 0 < again.tokens - again.read <= 16) == (0, True)
    assert trial.count("cache/blocks", body | {"cache_salt": "s"}, "chat").read == 0
    trial.now += 10**9
    assert trial.count("cache/blocks", body, "chat").read == again.read


def test_the_last_token_is_always_computed(trial):
    whole = next(
        counted
        for extra in range(200)
        if (counted := trial.count("cache/blocks", chat(("user", "x" * (600 + extra))), "chat")).tokens % 16 == 0
    )
    extra = whole.tokens * 4
    trial.now += 1
    again = [trial.count("cache/blocks", chat(("user", "x" * (600 + at))), "chat") for at in range(200)]
    full = [one for one in again if one.tokens * 4 == extra]
    assert full
    assert all(one.read == one.tokens - 16 for one in full)


# Faults


def test_a_system_message_at_the_end_may_move_to_the_front(trial):
    """vllm-project/vllm#52978, ollama/ollama#18431."""
    turns = [("system", LONG), ("user", "Hello" * 100), ("assistant", "Hi" * 100), ("user", "Bye"), ("system", "Note")]
    for model, is_read in (("cache/blocks", True), ("cache/blocks/trailing-system", False)):
        first = trial.count(model, chat(*turns[:2]), "chat")
        second = trial.count(model, chat(*turns), "chat")
        assert (second.read >= first.tokens - 16) == is_read
        assert second.read >= 1900
