"""What gateways say of the way of a request, in the report."""

from hypothesis import given
from hypothesis import strategies as st

from loadtest.figures.tally import RouteFigures
from loadtest.reports import text
from tests.support.load_servers import chunk, events, load, serving

ROUTE = {"x-trigate-target": "a", "x-trigate-attempts": "2", "x-trigate-cost": "0.0012", "x-trigate-cache": "hit"}
CACHE = {"x-trigate-prompt-cache": "could=100, read=30, missed=70, cause=system,provider, at=system[0]:0-64 (time)"}


async def test_the_report_says_who_answered_in_how_many_attempts_and_for_how_much():
    asked = 0

    async def serve(stream, _):
        nonlocal asked
        asked += 1
        told = ROUTE | {"x-trigate-target": "ab"[asked % 4 == 0], "x-trigate-cache": ("hit", "miss")[asked % 2]}
        head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        await stream.send_all(f"HTTP/1.1 200 OK\r\n{head}transfer-encoding: chunked\r\n\r\n".encode())
        await stream.send_all(b"".join(map(chunk, events("a", "b"))) + b"0\r\n\r\n")

    async with serving(serve) as url:
        run = await load(url, rate=40, seconds=0.2)
    said = text.summary(run)
    assert "answered by a 6, b 2, in 2 attempts each" in said
    assert "the gateway's cache: miss 4, hit 4 (50 % hits)" in said
    assert "cost 0.0096 USD, reported by 8 responses" in said


def test_answers_refused_by_a_limit_count_for_no_target():
    """The gateway says all the same who was to."""
    figures = RouteFigures()
    figures.add(ROUTE)
    figures.add({"x-trigate-target": "a", "x-trigate-attempts": "0", "x-trigate-limit": "client_keys.ben.requests"})
    assert figures.lines()[0] == "answered by a 1, in 2 attempts each"
    assert "rejected by its limits: client_keys.ben.requests 1" in figures.lines()


def test_a_cost_is_printed_with_few_digits_whatever_its_format():
    figures = RouteFigures()
    for cost in ("1E-999999", "0E-999999999", "0.25", "NaN", "-1", "1E+999999"):
        figures.add({"x-trigate-cost": cost})
    assert figures.lines() == ["cost 0.25 USD, reported by 3 responses"]
    assert figures.dump()["cost_usd"] == "0.25"
    nothing = RouteFigures()
    nothing.add({"x-trigate-cost": "0.000000000"})
    assert nothing.dump()["cost_usd"] == "0"


def test_tokens_that_prompt_caches_missed_are_counted_by_cause():
    """Whole responses have the missed tokens, heads of streams the readable ones."""
    figures = RouteFigures()
    for value in (
        *CACHE.values(),
        "could=100, readable=90, cause=moved, at=a>b (busy)",
        "could=100, read=95, missed=5",
        "could=100, readable=100",
        "could=x",
        "could=9999999999, read=1, missed=1",
    ):
        figures.add({"x-trigate-prompt-cache": value})
    assert figures.lines() == [
        "prompt caches could serve 400 tokens, and served 78.8 %; missed by cause: system 70, moved 10, (small) 5"
    ]
    assert figures.dump()["prompt_caches"] == {"could": 400, "missed": {"system": 70, "moved": 10, "(small)": 5}}


async def test_rules_that_were_waived_are_reported():
    """OpenRouter and Ollama say the role in every chunk."""
    late = [event.replace(b'{"content":"b"}', b'{"role":"assistant","content":"b"}') for event in events("a", "b")]

    async def serve(stream, _):
        await stream.send_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        await stream.send_all(b"".join(map(chunk, late)) + b"0\r\n\r\n")

    async with serving(serve) as url:
        run = await load(url, rate=20, seconds=0.1)
    assert run.tally.counts["whole"] == 2
    assert "rules waived: chat.role.once 2 (--strict" in text.summary(run)


@given(st.dictionaries(st.sampled_from(sorted(ROUTE | CACHE)), st.text(max_size=30)))
def test_any_headers_can_be_counted_and_read_back(route):
    figures = RouteFigures()
    for headers in (route, ROUTE, CACHE, route):
        figures.add(headers)
    read = RouteFigures.load(figures.dump())
    assert read.dump() == figures.dump()
    merged = RouteFigures()
    merged.merge(figures)
    assert merged.dump() == figures.dump()
    assert all(len(line) < 1000 for line in figures.lines())


def test_a_server_that_makes_up_names_is_not_kept_whole():
    figures = RouteFigures()
    for number in range(1000):
        figures.add({"x-trigate-target": f"t{number}"})
    assert len(figures.counts["targets"]) <= 51
    assert figures.counts["targets"].total() == 1000
