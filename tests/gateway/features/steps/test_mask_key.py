"""Equal values have equal masks after restarts and reloads, and in every worker."""

import random
import re
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trio

from gateway.features.steps.kinds.pii import PiiSettings, PiiStep
from gateway.features.steps.loading import load_steps
from gateway.features.steps.mask_key import stored_mask_key
from gateway.features.steps.masks import PLACEHOLDER, Placeholders
from gateway.stores.memory import MemoryStore
from gateway.stores.store import Node
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, eventually, free_port, running
from tests.support.step_files import HEAD, step_config
from tests.support.upstreams import Script, Upstream, fake_upstream
from trigate.steps import Check, Passage

CODE = "def check(check):\n    return []\n"
MASKING = "  - {use: './steps.py:check', action: mask}\n"
KEY = "signing_key: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"


async def opened_key(steps, store) -> bytes:
    """Return the key of ``steps`` after their start."""
    async with trio.open_nursery() as nursery:
        await steps.open(nursery, store)
        await steps.aclose()
    return steps.mask_key


async def test_the_key_follows_from_the_signing_key(tmp_path):
    config = step_config(tmp_path, MASKING, CODE, HEAD + KEY)
    first, second = load_steps(config), load_steps(config)
    assert first.mask_key == second.mask_key
    assert first.mask_key != bytes(32)  # it differs from the key itself
    store = MemoryStore(3600, 2**20)
    assert await opened_key(first, store) == second.mask_key
    assert (await store.size()).nodes == 0


async def test_without_a_setting_the_key_is_kept_in_the_state_storage(tmp_path, autojump_clock):
    config, store = step_config(tmp_path, MASKING, CODE), MemoryStore(3600, 2**20)
    keys = {await opened_key(load_steps(config), store) for _ in range(3)}
    assert len(keys) == 1


class SlowStore:
    """A worker's connection to ``store``, whose calls take up to a second before and after the store acts."""

    def __init__(self, store: Any, seed: int) -> None:
        self._store = store
        self._random = random.Random(seed)

    async def get(self, owner: str, id: str) -> Node | None:
        await trio.sleep(self._random.random())
        node = await self._store.get(owner, id)
        await trio.sleep(self._random.random())
        return node

    async def put(self, nodes: Sequence[Node], expect: Node | None = None) -> None:
        await trio.sleep(self._random.random())
        await self._store.put(nodes, expect)
        await trio.sleep(self._random.random())


@pytest.mark.sample(5)
@pytest.mark.parametrize("seed", range(20))
async def test_workers_that_start_together_agree_however_slow_their_storage_is(autojump_clock, seed):
    store, keys = MemoryStore(3600, 2**20), list[bytes]()

    async def start(number: int) -> None:
        keys.append(await stored_mask_key(SlowStore(store, seed * 100 + number)))  # type: ignore[arg-type]

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(start, number)
    assert len(keys) == 5
    assert set(keys) == {await stored_mask_key(store)}


async def test_a_reload_keeps_the_key(tmp_path):
    config = step_config(tmp_path, MASKING, CODE)
    before = load_steps(config)
    assert load_steps(config, before).mask_key == before.mask_key
    assert load_steps(config).mask_key != before.mask_key


async def test_steps_that_mask_nothing_need_no_key(tmp_path):
    store = MemoryStore(3600, 2**20)
    await opened_key(load_steps(step_config(tmp_path, "  - use: ./steps.py:check\n", CODE)), store)
    assert (await store.size()).nodes == 0


FINDING = """
from trigate.steps import Finding

def check(check):
    found = [one for one in check.passages if "falcon" in one.text]
    return [Finding("word", one, one.text.index("falcon"), len(one.text)) for one in found]
"""


def masking_config(folder: Path, upstream: Upstream, more: str = "") -> tuple[Path, int]:
    """Return a file with a step that masks, and the port that it sets."""
    port = free_port()
    head = f"""version: v0.4.0
listeners: [{{type: model, port: {port}}}]
model_providers: [{{model: openai/m, access_key: k, base_url: "{upstream.url}/v1"}}]
{more}
"""
    config = step_config(folder, MASKING, FINDING, head)
    assert config.path is not None
    return config.path, port


def sent_text(gateway: Gateway, upstream: Upstream) -> str:
    """Return what the provider gets of a text with a value."""
    upstream.script(Script(text="fine"))
    body = {"model": "m", "messages": [{"role": "user", "content": "about falcon"}]}
    reply = gateway.request("POST", "/v1/chat/completions", body)
    assert reply.status == 200, reply.body
    return str(upstream.seen[0].json["messages"][0]["content"])


@pytest.mark.parametrize("storage", ["sqlite", "memory"])
def test_a_restart_keeps_masks_only_with_lasting_storage(tmp_path, storage):
    kept = f"{{type: sqlite, path: {tmp_path}/state.db}}" if storage == "sqlite" else "{type: memory}"
    sent = []
    with fake_upstream() as upstream:
        for _ in range(2):
            with gateway_thread(*masking_config(tmp_path, upstream, f"state_storage: {kept}")) as served:
                sent.append(sent_text(served, upstream))
    assert all(re.fullmatch(r"about \[WORD_[0-9a-f]{10,}\]", text) for text in sent)
    assert (sent[0] == sent[1]) is (storage == "sqlite")


@pytest.mark.process
def test_workers_have_the_same_masks(tmp_path):
    with fake_upstream() as upstream, running(*masking_config(tmp_path, upstream), "--workers", "3") as served:
        eventually(lambda: sum("listening" in line for line in served.log) >= 1, what="the workers")
        assert len({sent_text(served, upstream) for _ in range(12)}) == 1


# Placeholders


@pytest.fixture(scope="module")
def looks_like_a_phone() -> str:
    """Return a value whose digest begins like a phone number, as that of one in a thousand does."""
    placeholders = Placeholders(b"k" * 32, "client")
    for number in count():
        value = f"ana{number}@example.com"
        digest = placeholders.placeholder("email", value).removeprefix("[EMAIL_")[:10]
        if digest.isdecimal() and digest[0] == "0" and digest[1] != "0":
            return value
    raise AssertionError


def test_a_placeholder_is_no_finding_in_a_later_turn(looks_like_a_phone):
    text = Placeholders(b"k" * 32, "client").placeholder("email", looks_like_a_phone)
    assert PLACEHOLDER.fullmatch(text)
    assert PiiStep(PiiSettings())(Check("request", (Passage("user", "", f"Write to {text}."),))) == []


def test_no_digest_consists_only_of_digits():
    placeholders = Placeholders(b"k" * 32, "client")
    texts = [placeholders.placeholder("email", f"{number}@example.com") for number in range(5000)]
    digests = [text.removeprefix("[EMAIL_").removesuffix("]") for text in texts]
    assert not [one for one in digests if one.isdecimal()]
    assert {len(one) for one in digests} >= {10, 11}
