"""The memory for prompts as texts: it has a limit, with shares, and drops the least recently used first."""

from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from gateway.config.settings import Config
from gateway.config_files.loading import from_mapping
from gateway.exchange.service import Service
from gateway.features.prompt_caches.attempts import PromptCaching
from gateway.features.prompt_caches.opening import OpenPromptCaches
from gateway.features.prompt_caches.texts import LatestTexts, ShownTexts
from gateway.open_features import RunningFeatures
from gateway.open_service import open_service, prepare_service, use_service
from gateway.serving.lifecycle import Lifecycle


def test_only_the_latest_text_of_a_conversation_is_kept():
    texts = LatestTexts(1000)
    texts.keep(b"mine", b"1", 1.0, b"old")
    texts.keep(b"mine", b"1", 2.0, b"new")
    assert texts.find(b"mine", b"1", 2.0) == b"new"
    assert texts.find(b"mine", b"1", 1.0) is None
    assert texts.find(b"them", b"1", 2.0) is None


def test_a_text_larger_than_the_share_is_not_kept_and_removes_the_older_one():
    texts = LatestTexts(1000)
    texts.keep(b"mine", b"1", 1.0, b"x" * 100)
    texts.keep(b"mine", b"1", 2.0, b"x" * 501)
    assert texts.find(b"mine", b"1", 1.0) is None
    assert texts.find(b"mine", b"1", 2.0) is None


def test_switching_texts_off_deletes_all_of_them():
    texts = LatestTexts(1000)
    shown = ShownTexts(texts)
    texts.keep(b"mine", b"1", 1.0, b"x")
    assert shown.is_open
    texts.close()
    texts.keep(b"mine", b"1", 2.0, b"x")
    assert texts.find(b"mine", b"1", 2.0) is None
    assert not shown.is_open
    assert shown.excerpts is None


def config(prompt_cache: Any) -> Config:
    entries = [{"model": "openai/m", "access_key": "k"}]
    return from_mapping({"version": "v0.4.0", "model_providers": entries, "prompt_cache": prompt_cache})


def reload(service: Service, new: Config) -> Service:
    return use_service(new, prepare_service(new, service), service)


def caching_of(service: Service) -> PromptCaching:
    caches = service.opened.features["prompt_caches"]
    assert isinstance(caches, OpenPromptCaches)
    return caches.caching


async def reload_started(first: Service, settings: Config) -> Service:
    """Start the features of a service and of a reload of it with ``settings``, which is returned."""
    running, second = RunningFeatures(), reload(first, settings)
    async with trio.open_nursery() as nursery:
        for service in (first, second):
            running.use(service.opened.features)
            await running.start(nursery)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return second


async def test_a_reload_without_texts_deletes_them_and_keeps_the_prompts():
    with_texts = config({"texts": 2**20})
    first = open_service(with_texts, Lifecycle(), None, check_streams=False)
    tracker, texts = await caching_of(first).prompts.tracker(), caching_of(first).texts
    assert texts is not None
    assert caching_of(reload(first, with_texts)) is caching_of(first)
    second = await reload_started(first, config({}))
    assert caching_of(second).texts is None
    assert not texts.is_open
    assert await caching_of(second).prompts.tracker() is tracker
    third = reload(second, config({"memory": 2**21}))
    assert await caching_of(third).prompts.tracker() is not tracker


async def test_a_reload_that_switches_explanations_off_deletes_the_texts():
    first = open_service(config({"texts": 2**20}), Lifecycle(), None, check_streams=False)
    second = await reload_started(first, config(False))
    assert "prompt_caches" not in second.opened.features
    assert not caching_of(first).texts.is_open
