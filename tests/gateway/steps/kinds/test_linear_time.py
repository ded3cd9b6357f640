"""Text that an attacker writes takes the kinds that search text time in proportion to its length.

The time is that of the test's own thread, so that other processes count little."""

import base64
import time
from typing import Any, Final

import pytest

from gateway.steps.kinds.normal import NormalText
from gateway.steps.kinds.pii import PiiSettings, PiiStep
from gateway.steps.kinds.regex import RegexSettings, RegexStep
from gateway.steps.kinds.secrets import SecretsSettings, SecretsStep
from gateway.steps.kinds.tools import ToolsSettings, ToolsStep
from trigate.steps import Check, Part, Passage

STEPS: Final[dict[str, Any]] = {
    "pii": PiiStep(PiiSettings()),
    "secrets": SecretsStep(SecretsSettings()),
    "regex": RegexStep(RegexSettings({"project": "(a|aa)+b|project-[a-z]+"})),
    "tools": ToolsStep(ToolsSettings(arguments={"*": {"path": "^/srv/(a|aa)+b$"}})),
}

SIZE: Final = 2**17
LIMIT: Final = 0.2
"""Seconds of ``SIZE`` characters: sixteen times the promise, for a busy machine and two searches."""

ENCODED: Final = base64.b64encode(b"call 1234567 or a@b ").decode()

REPEATED: Final = (
    "a", "1", "1 ", "0 ", "@", "a@", "a@b.", "a.", ".", "1.", ":", "a:", "a::b ", "-", "+1", "(0", "%", "%41", "/", "=",
    "A1 ", "DE89", "DE89 3704 0044 0532 0130 01 ", "4111 1111 1111 1112 ", "4111-1111-1111-1112-", "1.2.3.400 ",
    "sk-", "eyJ", ".eyJaaaaaaaaaa", "ghp_", "xox", "AKIA", "Q~", ":AA", ".atlasv1.", "key=", "-----BEGIN ", "://a:b",
    "-----BEGIN PRIVATE KEY-----", "da39a3ee5e6b4b0d3255bfef95601890afd80709 ", "\u200b", "1\u200b", "a\u0301", "а",
    "１", "\ufdfa", ENCODED, "aB3" * 7 + " ", "project-", "\\n", '{"a":',
)  # fmt: skip
"""Texts that, repeated, begin a value at each position, or hide its end."""


def takes_little_time(step: Any, text: str, part: Part, limit: float = LIMIT) -> bool:
    """Return whether one of three searches, each with the search for the tail of a stream, takes less than ``limit``
    seconds."""
    passage = Passage(part, "content", text, "read" if part == "tool_calls" else None)
    for _ in range(3):
        began = time.thread_time()
        step(Check("response", (passage,)))
        step.open_tail(text, 0)
        if time.thread_time() - began < limit:
            return True
    return False


@pytest.mark.parametrize("kind", STEPS)
@pytest.mark.parametrize("repeated", REPEATED, ids=ascii)
def test_adversarial_text_takes_little_time(kind, repeated):
    text = (repeated * (SIZE // len(repeated) + 1))[:SIZE]
    if kind == "tools":
        text = f'{{"path": "{text.replace(chr(92), "").replace(chr(34), "")}"}}'
    assert takes_little_time(STEPS[kind], text, "tool_calls" if kind == "tools" else "assistant")


@pytest.mark.parametrize("kind", ["pii", "secrets", "regex"])
@pytest.mark.parametrize("value", ["a@b.co ", "555-123-4567 ", "ghp_" + "aB3" * 12 + " ", "://u:p4ss@h "])
def test_many_values_take_little_time(kind, value):
    assert takes_little_time(STEPS[kind], value * (SIZE // len(value)), "assistant", 2 * LIMIT)


def test_only_few_characters_have_a_longer_form():
    """A text of U+FDFA would become eighteen times as long (https://www.unicode.org/reports/tr15/#Stability_Prior)."""
    assert len(NormalText("\ufdfa" * 1000).text) == 1000
    assert NormalText("⑽㎯").text == "(10)rad/s2"
