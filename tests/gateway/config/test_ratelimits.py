"""Rates, limits of simultaneous requests and queues, as a file sets them."""

import pytest

from configfile.document import ConfigError, Document, read
from configfile.secret_files import UnreadFiles
from gateway.config.allowances import NO_QUEUE, QueueSettings, Rate, RateLimits, RootLimit
from gateway.config.settings import Config
from gateway.config_files.loading import configure, from_mapping
from gateway.config_reports.changes import changes
from tests.support.each_row import each_row


def file(entry: str = "", client: str = "", root: str = "") -> Config:
    text = f"""version: v0.4.0
{root}
model_providers:
  - model: openai/gpt-5
    name: five
    access_key: k
    {entry}
client_keys:
  - name: alice
    key: a-key-of-alice-that-is-long-enough
    {client}
"""
    return configure(read(text.encode(), "trigate.yaml"), {}, UnreadFiles())


def mistake_lines(error: ConfigError) -> list[str]:
    return [f"{mistake.line}: {mistake.path}: {mistake.found}: {mistake.expected}" for mistake in error.mistakes]


@each_row(
    ("entry", "counts"),
    [
        ("ratelimits: {input_tokens: 2M/m}", True),
        ("ratelimits: {tokens: 2M/m, count_cached: false}", False),
        ("ratelimits: {tokens: 2M/m}\n    quirks: {counts_cached: false}", False),
        ("ratelimits: {requests: 5/m}", False),
    ],
)
def test_an_entry_counts_cached_tokens_where_its_provider_does(entry, counts):
    """OpenAI's caching changes nothing about its rates; most others leave them out (BerriAI/litellm#18728)."""
    assert file(entry=entry).entries[0].ratelimits.count_cached is counts


def test_an_entry_leaves_cached_tokens_out_where_its_provider_does():
    entry = {"model": "anthropic/claude-opus-4-7", "access_key": "k", "ratelimits": {"tokens": "2M/m"}}
    assert not from_mapping({"version": "v0.4.0", "model_providers": [entry]}).entries[0].ratelimits.count_cached


@each_row(
    ("text", "rate"),
    [
        ("600/m", Rate(600, 60, "600/m")),
        ("'1.5M / hour'", Rate(1_500_000, 3600, "1.5M/hour")),
        ("2.0/s", Rate(2, 1, "2.0/s")),
        ("0.5k/minute", Rate(500, 60, "0.5k/minute")),
    ],
)
def test_an_amount_for_a_time(text, rate):
    assert file(client=f"ratelimits: {{requests: {text}}}").client_keys[0].ratelimits.requests == rate


@each_row(
    ("limits", "mistake"),
    [
        ("{requests: 600}", "11: client_keys[0].ratelimits.requests: 600: expected a rate, such as "
         "600/m, 2M/m, 50k/d or 10/s"),
        ("{tokens: 5/w}", "11: client_keys[0].ratelimits.tokens: '5/w': expected a rate, such as "
         "600/m, 2M/m, 50k/d or 10/s"),
        ("{tokens: 0.5/s}", "11: client_keys[0].ratelimits.tokens: '0.5/s': expected a whole number: "
         "use a longer unit of time, such as 30/m"),
        ("{tokens: 0/m}", "11: client_keys[0].ratelimits.tokens: '0/m': this would reject every request: remove it "
         "for no limit"),
        ("{concurrent: 0}", "11: client_keys[0].ratelimits.concurrent: 0: expected a whole number, 1 or more"),
        ("{rpm: 60}", "11: client_keys[0].ratelimits.rpm: unknown key: write it as `requests: 60/m`"),
        ("5", "11: client_keys[0].ratelimits: 5: expected a mapping, such as {requests: …}"),
    ],
)  # fmt: skip
def test_a_mistake_is_reported_with_its_place_and_advice(limits, mistake):
    with pytest.raises(ConfigError) as error:
        file(client=f"ratelimits: {limits}")
    assert mistake_lines(error.value) == [mistake]


@pytest.mark.parametrize(
    ("queue", "found"),
    [
        ("0", NO_QUEUE),
        ("{size: 64, wait: 3s}", QueueSettings(64, 3.0)),
        ("{size: 8}", QueueSettings(8, 5.0)),
    ],
)
def test_a_queue(queue, found):
    config = file(entry=f"ratelimits: {{concurrent: 4}}\n    queue: {queue}")
    assert config.entries[0].queue == found
    assert not [warning for warning in config.warnings if "queue" in warning]


@each_row("queue", ["64", "true", "[64]", "3s"])
def test_a_queue_that_is_none_is_a_mistake(queue):
    with pytest.raises(ConfigError, match=r"queue: .*; expected a mapping such as \{size: 64, wait: 3s\}, or 0"):
        file(entry=f"queue: {queue}")


def test_a_queue_without_limits_is_warned_of():
    assert "five: its queue has no effect without ratelimits" in file(entry="queue: {size: 1}").warnings


def test_a_warning_explains_the_refill_of_slow_rates():
    warnings = file(client="ratelimits: {requests: 100/d, tokens: 50k/d, count_cached: false}").warnings
    assert [text for text in warnings if "refills" in text] == [
        "client_keys[0].ratelimits.requests: 100/d refills evenly, so one request passes every 864 s, and never "
        "several together",
        "client_keys[0].ratelimits.tokens: 50k/d refills evenly, 34 per minute: to allow the whole "
        "amount at any time, use a budget",
    ]


def test_cached_tokens_count_only_among_tokens():
    warnings = file(client="ratelimits: {requests: 10/m, count_cached: true}").warnings
    assert any("count_cached has no effect" in text for text in warnings)


def test_a_reload_reports_the_changed_limit():
    old = file(entry="ratelimits: {tokens: 2M/m}", client="ratelimits: {requests: 60/m}")
    new = file(
        entry="ratelimits: {tokens: 3M/m}\n    queue: {size: 8, wait: 2s}",
        client="ratelimits: {requests: 60/m, concurrent: 2}",
    )
    assert [str(change) for change in changes(old, new)] == [
        "~ model five: ratelimits.tokens 2M/m → 3M/m; queue.size 0 → 8; queue.wait 0s → 2s",
        "~ client key alice: ratelimits.concurrent none → 2",
    ]


def test_an_unread_environment_is_no_mistake():
    text = "version: v0.4.0\nmodel_providers: [{model: openai/gpt-5, ratelimits: {requests: $RATE, concurrent: $N}}]"
    config = configure(read(text.encode(), "x"), None, UnreadFiles())
    assert config.entries[0].ratelimits == RateLimits()
    found = configure(Document("", read(text.encode(), "x").content), {"RATE": "5/s", "N": "4"}, UnreadFiles())
    assert found.entries[0].ratelimits == RateLimits(Rate(5, 1, "5/s"), concurrent=4)


PLANO = "[{model: %s, selector: {key: X-User-Id, value: %s}, limit: {tokens: %s, unit: minute}}]"


@pytest.mark.parametrize(("value", "found"), [("'*'", None), ("", None), ("ann", "ann")])
def test_limits_of_planos_are_by_a_header(value, found):
    config = file(root=f"ratelimits: {PLANO % ('openai/gpt-5', value, 1000)}")
    assert config.header_limits == (RootLimit("openai/gpt-5", "x-user-id", found, Rate(1000, 60, "1000/m")),)
    assert not [warning for warning in config.warnings if "ratelimits" in warning]


def test_a_mapping_at_the_root_is_for_all_clients():
    config = file(root="ratelimits: {requests: 600/m, concurrent: 20}")
    assert config.ratelimits == RateLimits(requests=Rate(600, 60, "600/m"), concurrent=20)
    assert config.header_limits == ()
    assert config.warnings == ()


@pytest.mark.parametrize(
    ("limits", "wrong"),
    [("60/m", r"ratelimits: '60/m'; expected a mapping such as \{requests: 600/m\}, or a list"),
     ("{rpm: 60}", r"ratelimits\.rpm: unknown key; write it as `requests: 60/m`"),
     ("[60/m]", r"ratelimits\[0\]"),
     (PLANO % ("gpt-5", "a", 0), r"limit\.tokens: 0; this would reject every request")],
)  # fmt: skip
def test_wrong_rate_limits_at_the_root_are_a_mistake(limits, wrong):
    with pytest.raises(ConfigError, match=wrong):
        file(root=f"ratelimits: {limits}")


def test_a_limit_for_a_model_that_is_missing_is_warned_of():
    warnings = file(root=f"ratelimits: {PLANO % ('gpt-9', 'a', 1000)}").warnings
    assert "ratelimits[0]: 'gpt-9' is not a model of this file, so the limit has no effect" in warnings
