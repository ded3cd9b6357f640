"""The header and the log fields of verdicts and predictions."""

from gateway.features.prompt_caches.interface import CacheLoss, CacheVerdict, CauseShare
from gateway.features.prompt_caches.values import LONGEST_HEADER, fields_of, header_of

_SYSTEM = CauseShare("system", "system[0]:0-64 (time)", 49_280)
_BROKEN = CacheVerdict(could=51_200, readable=1920, read=1920, missed=49_280, causes=(_SYSTEM,))


def test_the_header_of_a_response_has_the_cause_and_its_position():
    expected = "could=51200, read=1920, missed=49280, cause=system, at=system[0]:0-64 (time)"
    assert header_of(_BROKEN) == expected


def test_the_head_of_a_stream_has_the_prediction():
    prediction = CacheVerdict(51_200, 1920, causes=(_SYSTEM,))
    assert header_of(prediction) == "could=51200, readable=1920, cause=system, at=system[0]:0-64 (time)"


def test_a_response_without_a_miss_has_only_the_numbers():
    assert header_of(CacheVerdict(could=51_200, readable=51_200, read=51_200)) == "could=51200, read=51200, missed=0"


def test_two_causes_are_joined_and_the_larger_comes_first():
    causes = (CauseShare("history", "messages[2] changed", 30_000), CauseShare("expired", None, 10_000))
    verdict = CacheVerdict(could=50_000, readable=20_000, read=10_000, missed=40_000, causes=causes, idle=360.4)
    assert header_of(verdict) == (
        "could=50000, read=10000, missed=40000, cause=history,expired, at=messages[2] changed"
    )
    fields = fields_of(verdict, CacheLoss(120_000_000, (90_000_000, 30_000_000), "exact"))
    assert fields["prompt_cache_cause"] == "history"
    assert fields["prompt_cache_causes"] == [
        {"cause": "history", "tokens": 30_000, "at": "messages[2] changed", "usd": 0.09},
        {"cause": "expired", "tokens": 10_000, "usd": 0.03},
    ]
    assert fields["prompt_cache_idle_s"] == 360


def test_first_turns_and_unknown_causes_have_no_header_but_a_log_field():
    assert header_of(CacheVerdict()) is None
    assert fields_of(CacheVerdict(), None) == {}
    unknown = CacheVerdict(could=40_000, readable=40_000, read=None, causes=(CauseShare("unknown", "no_usage", 0),))
    assert header_of(unknown) is None
    assert fields_of(unknown, None)["prompt_cache_cause"] == "unknown:no_usage"
    assert "prompt_cache_at" not in fields_of(unknown, None)


def test_the_log_fields_of_one_cause():
    assert fields_of(_BROKEN, None) == {
        "prompt_cache_could": 51_200,
        "prompt_cache_missed": 49_280,
        "prompt_cache_cause": "system",
        "prompt_cache_at": "system[0]:0-64 (time)",
        "prompt_cache_grade": "exact",
    }


def test_headers_are_short_printable_ascii():
    verdict = CacheVerdict(could=9, read=0, missed=9, causes=(CauseShare("moved", "gpu-é\r\n>" + "x" * 500, 9),))
    header = header_of(verdict)
    assert header is not None
    assert len(header) == LONGEST_HEADER
    assert header.isascii()
    assert header.isprintable()
