"""Attempts that run at the same time, fail, or are sent again, as the tracker follows them."""

from typing import Any

import attrs
import msgspec
import pytest
from msgspec import structs

from gateway.features.prompt_caches.interface import CacheVerdict
from gateway.features.prompt_caches.memory import PromptMemory
from gateway.features.prompt_caches.requests import ReadPrompts, SentRequest
from gateway.features.prompt_caches.tracker import FollowedAttempt, PromptTracker
from providers.catalog.prices import price_of
from providers.catalog.prompt_caching import caching_row
from streams.events import APIS, Usage
from tests.support.cached_prompts import SYSTEM, read_members, request_of, row_of, sent_request, user_item
from tests.support.recorded_turns import HISTORY
from tests.support.set_clock import SetClock

WRITTEN = Usage(input=1, cache_write=5_000, reports_cache_read=True)
READ = Usage(input=1, cache_read=5_000, cache_write=300, reports_cache_read=True)
MISSED = Usage(input=1, cache_write=5_300, reports_cache_read=True)


@attrs.define
class Trial:
    """A tracker with a clock, and one client at Anthropic."""

    clock: SetClock = attrs.field(factory=SetClock)
    tracker: PromptTracker = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.tracker = PromptTracker(PromptMemory.make_private(2**20, self.clock))

    def request(self, rounds: int, client: str = "ann", **changes: Any) -> SentRequest:
        """Return a request of a conversation of ``rounds``, sent a second later."""
        self.clock.now += 1
        body = request_of("messages", rounds, system=changes.pop("system", SYSTEM))
        return sent_request("messages", body, self.clock.now, client=client, requested_model="sonnet", **changes)

    def read(self, sent: SentRequest) -> ReadPrompts:
        read = self.tracker.reader.read(self.tracker.reader.open(sent))
        assert read is not None
        return read

    def send(self, rounds: int, like: FollowedAttempt | None = None, **changes: Any) -> FollowedAttempt:
        """Return a followed attempt of such a request; another attempt of the exchange of ``like``."""
        sent = self.request(rounds, **changes)
        read = self.read(sent)
        if like is not None:
            return self.tracker.follow(sent, read, like.exchange)
        return self.tracker.follow(sent, read, self.tracker.open_exchange(sent, self.tracker.parents.find(sent, read)))

    def answer(self, attempt: FollowedAttempt, usage: Usage | None = WRITTEN) -> CacheVerdict:
        """End an attempt well, and return its verdict."""
        self.clock.now += 1
        if attempt.head is None:
            self.tracker.note_head(attempt, self.clock.now)
        return self.tracker.settle(attempt, usage, None, None)[0]


@pytest.fixture
def trial() -> Trial:
    return Trial()


def causes(verdict: CacheVerdict) -> list[str]:
    return [cause.name for cause in verdict.causes]


def test_a_request_sent_before_the_first_response_began_is_early(trial):
    first = trial.send(3)
    second = trial.send(4)
    trial.answer(first)
    assert causes(trial.answer(second, MISSED)) == ["early"]


def test_a_request_sent_after_the_response_began_is_not_early(trial):
    first = trial.send(3)
    trial.tracker.note_head(first, trial.clock.now)
    second = trial.send(4)
    trial.answer(first)
    assert causes(trial.answer(second, MISSED)) == ["provider"]
    assert causes(trial.answer(trial.send(5), READ)) == []


@pytest.mark.parametrize("earlier", [0, 1])
def test_a_request_counts_cache_entries_that_its_parent_wrote_later(trial, earlier):
    """The client repeats a turn whose stream it no longer reads; the numbers of the first one come later."""
    for _ in range(earlier):
        trial.answer(trial.send(2))
    first = trial.send(3)
    trial.tracker.note_head(first, trial.clock.now)
    second = trial.send(4)
    trial.answer(first, READ)
    parent = trial.tracker.compare(second).parent
    assert parent is not None
    assert parent.boundaries[-1].position == parent.end.position
    assert trial.answer(second, MISSED).readable == READ.prompt - READ.input


def test_equal_requests_at_the_same_time_miss_nothing_of_their_parent(trial):
    trial.answer(trial.send(3))
    children = [trial.send(4) for _ in range(3)]
    assert None not in [child.exchange.parent for child in children]
    assert [causes(trial.answer(child, READ)) for child in children] == [[], [], []]


def test_an_exchange_that_failed_changes_nothing(trial):
    """The client repeats its turn, with a changed system text that the failed attempt had, too."""
    trial.answer(trial.send(3))
    failed = trial.send(4, system="It is 9:31. " + SYSTEM)
    trial.tracker.forget(failed.exchange)
    assert causes(trial.answer(trial.send(4, system="It is 9:31. " + SYSTEM), MISSED)) == ["system"]


def test_another_attempt_of_an_exchange_has_the_same_parent(trial):
    """A fallback goes to another account, which does not have the prompt."""
    trial.answer(trial.send(3))
    failed = trial.send(4)
    again = trial.send(4, like=failed, account=b"other", target="sonnet-2", move="overloaded")
    verdict = trial.answer(again, MISSED)
    assert causes(verdict) == ["moved"]
    assert verdict.causes[0].at == "entry>sonnet-2 (overloaded)"
    after = trial.send(5, account=b"other", target="sonnet-2")
    assert causes(trial.answer(after, READ)) == []


def test_after_a_fallback_no_more_is_missed_than_the_provider_counts(trial):
    """Another provider counts fewer tokens in the same prompt: reports had more missed tokens than input."""
    trial.answer(trial.send(3))
    failed = trial.send(4)
    again = trial.send(4, like=failed, account=b"other", target="local", move="overloaded")
    few = Usage(input=2500, reports_cache_read=True)
    verdict = trial.answer(again, few)
    assert (verdict.could, verdict.missed, causes(verdict)) == (2500, 2500, ["moved"])
    assert sum(cause.tokens for cause in verdict.causes) == verdict.missed


def test_the_winner_of_a_hedge_is_remembered(trial):
    trial.answer(trial.send(3))
    first = trial.send(4)
    hedge = trial.send(4, like=first, account=b"other", target="sonnet-2")
    assert hedge.exchange.writer is hedge
    trial.answer(first, READ)
    after = trial.send(5)
    assert after.exchange.parent is not None
    assert after.exchange.parent.conversation.scope.target == "entry"
    assert causes(trial.answer(after, READ)) == []


def test_prompts_that_were_read_for_a_choice_belong_to_the_same_request_only():
    """A route reads a prompt to choose a target, and does not read it again after sending."""
    trial = Trial()
    sent = trial.request(2)
    read, members = trial.read(sent), sent.body
    assert read.belongs_to(structs.replace(sent, account=b"other", sent=2.0))
    others: list[dict[str, Any]] = [
        {"body": dict(members)}, {"row": row_of("chat")}, {"headers": {"anthropic-beta": "fast-mode-2026-02-01"}},
        {"client_members": lambda: members},
    ]  # fmt: skip
    assert [read.belongs_to(structs.replace(sent, **change)) for change in others] == [False] * 4


def test_an_estimate_replaces_no_count_of_the_provider(trial):
    """Claude Code also marks the message before the newest one, whose tokens a turn only estimates."""

    def turn(rounds: int) -> Any:
        body = request_of("messages", rounds)
        if rounds > 3:
            body["messages"][-3]["content"][-1]["cache_control"] = {"type": "ephemeral"}
        return read_members(body)

    for rounds, tokens in ((3, 5_000), (4, 9_000), (5, 9_300)):
        trial.answer(trial.send(rounds, body=turn(rounds)), Usage(input=1, cache_write=tokens, reports_cache_read=True))
    fork = trial.send(4, body=turn(4))
    compared = trial.tracker.compare(fork)
    assert (compared.could, compared.is_exact) == (9_000, True)


def test_a_provider_that_reports_only_read_tokens_keeps_whole_steps(trial):
    """DeepSeek has no count of written tokens."""
    row, body = caching_row("deepseek", "deepseek-chat", "chat"), request_of("chat", 3)
    changes = {"api": "chat", "client_api": "chat", "row": row, "body": read_members(body)}
    trial.answer(trial.send(3, **changes), Usage(input=5_000, cache_read=1_024, reports_cache_read=True))
    assert trial.tracker.compare(trial.send(3, **changes)).could == 6_016


def readable(trial: Trial, client: str, rounds: int, **changes: Any) -> int:
    """Return the tokens of a conversation that a target's cache holds, for the choice of a target."""
    sent = trial.request(rounds, client, **changes)
    read = trial.read(sent)
    return trial.tracker.readable_at(sent, read, trial.tracker.parents.find(sent, read))


def test_prompts_of_other_clients_serve_the_choice_of_a_target_only(trial):
    """Bob's request may go where Ann's prompt is, but nothing that he sees shows it."""
    assert readable(trial, "ann", 3) == 0
    trial.answer(trial.send(3))
    assert readable(trial, "bob", 3) > 0
    assert readable(trial, "bob", 3, account=b"other") == 0
    attempt = trial.send(3, client="bob")
    prediction, verdict = trial.tracker.predict(attempt), trial.answer(attempt, READ)
    for seen in (prediction, verdict):
        assert (seen.could, seen.readable, [cause.word for cause in seen.causes]) == (0, 0, ["unknown:not_seen"])


def test_other_clients_refresh_a_lifetime_for_the_choice_of_a_target_only(trial):
    """The pause of Ann's own conversation is what her report names."""
    assert readable(trial, "ann", 3) == 0
    trial.answer(trial.send(3))
    trial.clock.now += 200
    assert readable(trial, "ann", 4) > 0
    trial.answer(trial.send(3, client="bob"), READ)
    trial.clock.now += 200
    assert readable(trial, "ann", 4) > 0
    attempt = trial.send(4)
    assert [cause.name for cause in trial.tracker.predict(attempt).causes] == ["expired"]
    assert causes(trial.answer(attempt, MISSED)) == ["expired"]


def test_without_a_choice_of_targets_no_boundary_is_shared(trial):
    attempt = trial.send(3)
    trial.answer(attempt)
    scope, memory = attempt.situation.scope.digest, trial.tracker.memory
    for position, _ in attempt.read.boundaries:
        prefix = attempt.read.prompt.prefix(position)
        assert memory.read_boundary(attempt.exchange.owner, scope, prefix) is not None
        assert memory.read_boundary(memory.sharers(scope), scope, prefix) is None


SONNET = price_of("anthropic", "claude-sonnet-4-6")


def unread_after(trial: Trial, attempt: FollowedAttempt, written: int, read: int = 0) -> int:
    """End an attempt well, and return its change of what unread entries cost, in tokens of Claude Sonnet."""
    assert SONNET is not None
    trial.clock.now += 1
    trial.tracker.note_head(attempt, trial.clock.now)
    usage = Usage(input=1, cache_read=read, cache_write=written, reports_cache_read=True)
    verdict, _ = trial.tracker.settle(attempt, usage, SONNET.with_cache_writes, None)
    return round(verdict.unread / (SONNET.input / 4 / 10**6))


def test_a_cache_entry_that_is_read_later_is_not_counted_as_unread(trial):
    """Only the last entry of a conversation is unread."""
    assert unread_after(trial, trial.send(3), 5_000) == 5_000
    assert unread_after(trial, trial.send(4), 300, read=5_000) == 300 - 5_000
    assert unread_after(trial, trial.send(5), 300, read=5_300) == 0


def test_an_entry_is_read_for_the_first_time_once(trial):
    """Two branches of a conversation read what the first turn wrote."""
    unread_after(trial, trial.send(3), 5_000)
    branches = [trial.send(4), trial.send(4)]
    assert [unread_after(trial, one, 300, read=5_000) for one in branches] == [300 - 5_000, 300]


def test_an_entry_that_expired_stays_unread(trial):
    assert unread_after(trial, trial.send(3), 5_000) == 5_000
    trial.clock.now += 400
    assert unread_after(trial, trial.send(4), 5_300) == 5_300
    assert unread_after(trial, trial.send(5), 300, read=5_300) == 300 - 5_300


def test_tools_and_system_texts_that_another_conversation_reads_are_read(trial):
    """A one-shot request leaves its message unread, but not the texts that the next one repeats."""
    assert unread_after(trial, trial.send(0), 5_000) == 5_000
    trial.clock.now += 1
    body = request_of("messages", 0)
    body["messages"][0]["content"] = [
        {"type": "text", "text": "Another question, about something else.", "cache_control": {"type": "ephemeral"}}
    ]
    second = trial.send(0, body=read_members(body))
    assert second.exchange.parent is None
    system = next(one.tokens for one in second.boundaries)
    assert 4_000 < system < 5_000
    assert abs(unread_after(trial, second, 100, read=system) - (100 - system)) <= 1


def one_shot(trial: Trial, number: int, system: str, **changes: Any) -> FollowedAttempt:
    """Send a request with another message and without an assistant's, such as a classifier's."""
    api = changes.get("api", "messages")
    body = request_of(api, 0, system=system)
    body[HISTORY[api]][-1] = user_item(api, f"Which category has this article: number {number} of a long list?")
    return trial.send(0, body=read_members(body), row=row_of(api), client_api=api, **changes)


def clock(number: int) -> str:
    return f"It is 09:{number:02}:00. " + SYSTEM * 4


@pytest.mark.parametrize("api", APIS)
def test_a_changed_prefix_of_one_shot_requests_is_named_from_the_third_on(trial, api):
    written = Usage(input=5_000, cache_write=0, reports_cache_read=True)
    usage = WRITTEN if api in ("messages", "converse") else written
    verdicts = [trial.answer(one_shot(trial, at, clock(at), api=api), usage) for at in range(4)]
    assert [causes(one) for one in verdicts] == [[], [], ["system"], ["system"]]
    assert verdicts[3].causes[0].at.endswith(":0-64 (time)")


def test_one_shot_requests_with_an_equal_or_another_prefix_have_no_parent(trial):
    for at in range(4):
        assert one_shot(trial, at, clock(0)).exchange.parent is None
    for at in range(4):
        attempt = one_shot(trial, 10 + at, f"{at} and another text. " * 200)
        trial.answer(attempt)
        assert attempt.exchange.parent is None
    for at in range(4):
        attempt = one_shot(trial, 20 + at, clock(20 + at), account=str(at).encode())
        trial.answer(attempt)
        assert attempt.exchange.parent is None


def test_a_one_shot_request_begins_its_own_conversation(trial):
    for at in range(3):
        last = one_shot(trial, at, clock(at))
        trial.answer(last)
    parent = last.exchange.parent
    assert parent is not None
    assert parent.is_similar
    assert last.exchange.id != parent.id


def test_prices_without_a_premium_leave_nothing_unread(trial):
    attempt = trial.send(3)
    trial.tracker.note_head(attempt, trial.clock.now)
    verdict, _ = trial.tracker.settle(attempt, WRITTEN, price_of("openai", "gpt-5.2"), None)
    assert verdict.unread == 0


@pytest.mark.parametrize(
    ("api", "members", "headers", "is_unkeyed"),
    [
        ("chat", {}, {}, True),
        ("chat", {"prompt_cache_key": msgspec.Raw(b'"talk"')}, {}, False),
        ("messages", {}, {}, False),
    ],
)
def test_a_request_without_an_advised_cache_key_is_noted(trial, api, members, headers, is_unkeyed):
    body = {**read_members(request_of(api, 2)), **members}
    attempt = trial.send(2, api=api, client_api=api, row=row_of(api), body=body, headers=headers)
    trial.answer(attempt)
    assert trial.tracker.settle(attempt, READ, None, None)[0].is_unkeyed is is_unkeyed


@pytest.mark.parametrize(("headers", "is_unkeyed"), [({"x-grok-conv-id": "1"}, False), ({}, True)])
def test_a_cache_key_may_be_a_header(trial, headers, is_unkeyed):
    row = caching_row("xai", "grok-4", "chat")
    assert row is not None
    body = read_members(request_of("chat", 2))
    attempt = trial.send(2, api="chat", client_api="chat", row=row, body=body, headers=headers)
    assert attempt.is_unkeyed is is_unkeyed
