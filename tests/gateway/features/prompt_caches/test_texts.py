"""The memory of prompts as texts (C17): bounded, in shares, the least recently used conversations are lost first."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.features.prompt_caches.caching import PromptCaching
from gateway.features.prompt_caches.settings import PromptCacheSettings
from gateway.features.prompt_caches.texts import LatestPrompts, ShownTexts


def test_only_the_latest_text_of_a_conversation_is_kept():
    texts = LatestPrompts(1000)
    texts.keep(b"me", b"1", 1.0, b"old")
    texts.keep(b"me", b"1", 2.0, b"new")
    assert texts.find(b"me", b"1", 2.0) == b"new"
    assert texts.find(b"me", b"1", 1.0) is None
    assert texts.find(b"them", b"1", 2.0) is None


def test_a_client_has_at_most_half_and_displaces_no_other_client():
    texts = LatestPrompts(1000)
    texts.keep(b"quiet", b"q", 1.0, b"x" * 200)
    for number in range(10_000):
        texts.keep(b"busy", str(number).encode(), 1.0, b"y" * 100)
    assert texts.find(b"quiet", b"q", 1.0) is not None
    kept = [number for number in range(10_000) if texts.find(b"busy", str(number).encode(), 1.0)]
    assert kept == list(range(9_995, 10_000))


def test_a_text_larger_than_the_share_is_not_kept_and_the_older_one_is_gone():
    texts = LatestPrompts(1000)
    texts.keep(b"me", b"1", 1.0, b"x" * 100)
    texts.keep(b"me", b"1", 2.0, b"x" * 501)
    assert texts.find(b"me", b"1", 1.0) is None
    assert texts.find(b"me", b"1", 2.0) is None


def test_texts_that_are_switched_off_are_deleted_also_where_they_were_shown():
    texts = LatestPrompts(1000)
    shown = ShownTexts(texts)
    texts.keep(b"me", b"1", 1.0, b"x")
    assert shown.is_open
    texts.close()
    texts.keep(b"me", b"1", 2.0, b"x")
    assert texts.find(b"me", b"1", 2.0) is None
    assert not shown.is_open
    assert shown.excerpts is None


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 5), st.integers(0, 80))))
def test_the_texts_are_never_more_than_permitted(steps: list[tuple[str, int, int]]):
    texts = LatestPrompts(100)
    for owner, conversation, size in steps:
        texts.keep(owner.encode(), bytes((conversation,)), 1.0, b"x" * size)
        sizes = {
            one: sum(len(texts.find(one.encode(), bytes((number,)), 1.0) or b"") for number in range(6))
            for one in "abcd"
        }
        assert sum(sizes.values()) <= 100
        assert max(sizes.values()) <= 50


async def test_a_reload_without_texts_deletes_them_and_keeps_the_prompts():
    caching = PromptCaching(PromptCacheSettings(texts=2**20))
    tracker = await caching.tracker("gateway.exchange.sent_prompts")
    before = caching.texts
    assert before is not None
    assert caching.with_settings(PromptCacheSettings(texts=2**20)) is caching
    after = caching.with_settings(PromptCacheSettings())
    assert after.texts is None
    assert not before.is_open
    assert await after.tracker("gateway.exchange.sent_prompts") is tracker
    larger = after.with_settings(PromptCacheSettings(memory=2**21))
    assert await larger.tracker("gateway.exchange.sent_prompts") is not tracker
