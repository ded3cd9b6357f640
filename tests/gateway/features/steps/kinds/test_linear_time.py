"""Text that an attacker writes takes the kinds that search text time in proportion to its length.

No test compares seconds with a limit, because other programs slow a machine down. Counted calls of functions are the
same everywhere. A search of ``re`` is one call, so the CPU time of a text is also compared with that of its quarter."""

import base64
import random
import re
import string
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import pytest

from gateway.features.steps.kinds.normal import NormalText
from gateway.features.steps.kinds.pii import PiiSettings, PiiStep
from gateway.features.steps.kinds.regex import RegexSettings, RegexStep
from gateway.features.steps.kinds.secrets import SecretsSettings, SecretsStep
from gateway.features.steps.kinds.tools import ToolsSettings, ToolsStep
from tests.support.counted_calls import calls
from tests.support.each_row import each_row
from trigate.steps import Check, Part, Passage

STEPS: Final[dict[str, Any]] = {
    "pii": PiiStep(PiiSettings()),
    "secrets": SecretsStep(SecretsSettings()),
    "regex": RegexStep(RegexSettings({"project": "(a|aa)+b|project-[a-z]+"})),
    "tools": ToolsStep(ToolsSettings(arguments={"*": {"path": "^/srv/(a|aa)+b$"}})),
}

SIZE: Final = 2**14
TIMES: Final = 4
"""How many times as long the longer text is."""

MOST_GROWTH: Final = 9.0
"""The most growth of the work on a text of ``TIMES`` its length: more than 4 (linear), less than 16 (quadratic)."""

ATTEMPTS: Final = 8
"""The most comparisons of CPU times. The best one counts, because other programs disturb some of them."""

ENCODED: Final = base64.b64encode(b"call 1234567 or a@b ").decode()

REPEATED: Final = {
    "pii": (
        "1", "1 ", "0 ", "@", "a@", "a@b.", "a.", ".", "1.", ":", "a:", "a::b ", "+1", "(0", "DE89",
        "DE89 3704 0044 0532 0130 01 ", "4111 1111 1111 1112 ", "4111-1111-1111-1112-", "1.2.3.400 ",
    ),
    "secrets": (
        "sk-", "eyJ", ".eyJaaaaaaaaaa", "ghp_", "xox", "AKIA", "Q~", ":AA", ".atlasv1.", "key=", "-----BEGIN ",
        "://a:b", "-----BEGIN PRIVATE KEY-----", "da39a3ee5e6b4b0d3255bfef95601890afd80709 ", "aB3" * 7 + " ",
    ),
}  # fmt: skip
"""Texts that, repeated, begin a value of the kind at each position."""

OF_ALL: Final = ("a", "project-", "\u200b", "1\0", ENCODED, '{"a":')
"""Texts that, repeated, begin a value of any kind, or become another text before it is searched."""

OF_BOTH: Final = ("-", "%", "%41", "/", "=", "A1 ", "a\u0301", "а", "１", "\ufdfa", "\\n")
"""Such texts for the kinds in ``REPEATED``."""


def _random_text(alphabet: str) -> str:
    return "".join(random.Random(1).choices(alphabet, k=TIMES * SIZE))


MIXED: Final[Mapping[str, tuple[str, Callable[[], str]]]] = {
    "digits": ("pii", partial(_random_text, string.digits)),
    "digits and spaces": ("pii", partial(_random_text, string.digits + " ")),
    "capitals, digits and spaces": ("pii", partial(_random_text, string.ascii_uppercase + string.digits + " ")),
    "printable": ("secrets", partial(_random_text, string.printable)),
    "addresses": ("pii", partial(_random_text, "@ab.")),
    "ip": ("pii", partial(_random_text, "0123.:")),
    "phone": ("pii", partial(_random_text, "+0(1 -.)23")),
    "escapes": ("secrets", partial(_random_text, "%4123456789abcdef")),
    "beginnings of keys": ("secrets", partial(_random_text, "sk-_eyJAKI.")),
    "beginnings of words": ("regex", partial(_random_text, "ab")),
    "base64": ("secrets", lambda: base64.b64encode(random.Random(1).randbytes(TIMES * SIZE)).decode()),
    "any characters": ("pii", partial(_random_text, "".join(map(chr, range(0x20, 0xD800))))),
}
"""Random texts that have much of what a kind looks for."""

VALUES: Final = {
    "pii": (
        "a@b.co ", "555-123-4567 ", "4111 1111 1111 1111 ", "DE89370400440532013000 ", "8.8.8.8 ",
        base64.b64encode(b"mail bob@corp.com now").decode() + " ",
    ),
    "secrets": ("ghp_" + "aB3" * 12 + " ", "://u:p4ss@h "),
    "regex": ("project-a ",),
}  # fmt: skip
"""Values that each kind finds."""


def check_growth(step: Any, text: str, part: Part = "assistant") -> None:
    """Check that the work on ``text``, by a check and by the search for the tail of a stream, grows with its length."""
    for search in (_search_passage, _search_tail):
        # Both end alike: how far the search for the tail goes back depends on the end.
        works = [search(step, _passage(text[-size:], part)) for size in (SIZE, TIMES * SIZE)]
        growths: list[float] = []
        while not growths or (growths[-1] >= MOST_GROWTH and len(growths) < ATTEMPTS):
            growths.append(_growth(*works))
        assert min(growths) < MOST_GROWTH, f"{TIMES} times the text takes {min(growths):.1f} times as long"
        counts = [calls(work) for work in works]
        few = SIZE // 4  # the shorter text may have nothing to find
        assert counts[1] <= (TIMES + 1) * counts[0] + few, f"{counts[0]} calls, then {counts[1]}"


def _passage(text: str, part: Part) -> Passage:
    if part == "tool_calls":
        text = f'{{"path": "{text.replace(chr(92), "").replace(chr(34), "")}"}}'
    return Passage(part, "content", text, "read" if part == "tool_calls" else None)


def _search_passage(step: Any, passage: Passage) -> Callable[[], object]:
    return lambda: step(Check("response", (passage,)))


def _search_tail(step: Any, passage: Passage) -> Callable[[], object]:
    return lambda: step.open_tail(passage.text, 0)


def _growth(short: Callable[[], object], long: Callable[[], object]) -> float:
    """Return the CPU time of ``long``, which also fills caches, as a multiple of that of ``short``."""
    seconds = []
    for work in (long, short):
        began = time.thread_time()
        work()
        seconds.append(time.thread_time() - began)
    return seconds[0] / max(seconds[1], 1e-4)


def adversarial_texts() -> Iterator[tuple[str, str]]:
    for kind in STEPS:
        own = (*OF_BOTH, *REPEATED[kind]) if kind in REPEATED else ()
        yield from ((kind, text) for text in (*OF_ALL, *own))


@pytest.mark.parametrize(("kind", "repeated"), list(adversarial_texts()), ids=ascii)
def test_work_on_adversarial_text_grows_with_its_length(kind, repeated):
    text = (repeated * (TIMES * SIZE // len(repeated) + 1))[: TIMES * SIZE]
    check_growth(STEPS[kind], text, "tool_calls" if kind == "tools" else "assistant")


@pytest.mark.parametrize("name", MIXED)
def test_work_on_random_text_grows_with_its_length(name):
    kind, make = MIXED[name]
    check_growth(STEPS[kind], make())


@each_row(("kind", "value"), [(kind, value) for kind, values in VALUES.items() for value in values])
def test_work_on_many_values_grows_with_their_number(kind, value):
    check_growth(STEPS[kind], value * (TIMES * SIZE // len(value)))


def test_growth_of_more_than_linear_work_is_recognized():
    """The search of the example is cubic: a busy machine doubles the time of a run, and could hide quadratic growth."""

    class Cubic:
        def __call__(self, check: Check) -> list[Any]:
            (passage,) = check.passages
            re.search("a*a*b", passage.text[: len(passage.text) // 256])
            return []

        def open_tail(self, text: str, released_length: int) -> int:
            return len(text)

    with pytest.raises(AssertionError, match="times the text takes"):
        check_growth(Cubic(), "a" * TIMES * SIZE)


def test_only_few_characters_have_a_longer_form():
    """A text of U+FDFA would become eighteen times as long (https://www.unicode.org/reports/tr15/#Stability_Prior)."""
    assert len(NormalText("\ufdfa" * 1000).text) == 1000
    assert NormalText("⑽㎯").text == "(10)rad/s2"
