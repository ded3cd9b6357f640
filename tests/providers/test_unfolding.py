"""Nested JSON in the texts of a request takes memory in proportion to its bytes (CWE-409)."""

import base64
import tracemalloc
from collections.abc import Callable
from typing import Any

import msgspec

from providers.neutral.arguments import LONGEST, MANY, call_input
from providers.neutral.seal import PREFIX, unseal
from providers.neutral.tool_names import unwrap_text
from tests.support.cases import case
from tests.support.each_row import each_row

LISTS = "[" + "[]," * 300_000 + "[]]"
OBJECT = f'{{"a":{LISTS}}}'
LONG = '{"a":[' + "[]," * (LONGEST // 3) + "[]]}"
SEALED = PREFIX + base64.urlsafe_b64encode(f'["p","a","responses",{LISTS}]'.encode()).decode().rstrip("=")


@each_row(
    ("read", "text", "expected"),
    [
        (lambda text: call_input(text, "function"), OBJECT, msgspec.Raw(OBJECT.encode())),
        (lambda text: call_input(text, "function"), LISTS, {"_raw": LISTS}),
        (lambda text: call_input(text, "function"), OBJECT[:-1], {"_raw": OBJECT[:-1]}),
        (lambda text: call_input(text, "function"), LONG, {"_raw": LONG}),
        (unwrap_text, OBJECT, OBJECT),
        (unwrap_text, f'{{"input":{LISTS}}}', f'{{"input":{LISTS}}}'),
        (unseal, SEALED, None),
    ],
    ids=["arguments", "no object", "no JSON", "long", "free text", "wrapped", "seal"],
)
def test_values_that_are_not_read_are_not_decoded(read: Callable[[str], Any], text: str, expected: Any) -> None:
    tracemalloc.start()
    try:
        assert read(text) == expected
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 6 * len(text)


def test_long_arguments_pass_unchanged() -> None:
    text = msgspec.json.encode({"rows": list(range(2 * MANY)), "text": "x\n"}).decode()
    assert call_input(text, "function") == msgspec.Raw(text.encode())


def test_free_text_is_extracted_from_its_wrapping() -> None:
    for arguments, text in [
        ('{"input": "a"}', "a"),
        ('{"patch": "b", "more": 1}', "b"),
        ('{"patch": "b", "input": "a"}', "a"),
        ('"c"', "c"),
        ('{"input": 1, "patch": "b"}', '{"input": 1, "patch": "b"}'),
        ('{"input": null}', '{"input": null}'),
        ('{"other": "a"}', '{"other": "a"}'),
        ("[]", "[]"),
        ("free", "free"),
    ]:
        with case((arguments, text)):
            assert unwrap_text(arguments) == text
