"""Lines of a batch file: replaced model names, unchanged bytes, and errors with the line's number."""

import json
import re
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.request.members import check_members
from providers.endpoints.batch_lines import BatchLines, with_model
from streams.errors import GatewayError, invalid
from tests.support.cases import case
from tests.support.examples import examples

URL = "/v1/chat/completions"
NAMES = {"fast": "gpt-5-mini", "gpt-5": "gpt-5", "ü": "x"}


def rewrite(model: str, url: str, body: bytes) -> bytes:
    if model not in NAMES:
        raise invalid(f"model {model!r} is not configured here", "model")
    if NAMES[model] == model:
        return body
    return with_model(body, msgspec.json.decode(body, type=dict[str, msgspec.Raw]), NAMES[model])


def line(id: str, model: Any = "fast", url: str = URL, **body: Any) -> bytes:
    return json.dumps({"custom_id": id, "method": "POST", "url": url, "body": {"model": model, **body}}).encode()


def rewrite_file(data: bytes, *cuts: int) -> bytes:
    lines, out, start = BatchLines(rewrite, check_members), b"", 0
    for cut in sorted(cuts):
        out, start = out + lines.feed(data[start:cut]), cut
    return out + lines.feed(data[start:]) + lines.close()


ODD = (
    b'  {"custom_id": "d", "url":"/v1/chat/completions" ,"body":  {"x": 1.50, "model" :\t"fast", "y":"\\u00fc"}, '
    b'"z":[1,  2] }'
)
NESTED = line("c", messages=[{"model": "fast"}])
WHOLE = b"\n".join((line("a"), line("b", "gpt-5"), b"", NESTED, ODD))


@given(st.lists(st.integers(0, len(WHOLE)), max_size=6))
@settings(max_examples=examples(60))
def test_only_changed_names_are_replaced_in_any_framing(cuts):
    expected = re.sub(rb'("body": +\{(?:"x": 1.50, )?"model" ?:\s*)"fast"', rb'\1"gpt-5-mini"', WHOLE)
    assert rewrite_file(WHOLE, *cuts) == expected
    assert expected.count(b"gpt-5-mini") == 3


def test_a_file_without_aliases_stays_byte_for_byte():
    data = line("a", "gpt-5") + b"\r\n\n" + line("b", "gpt-5") + b"\n"
    assert rewrite_file(data) == data


def test_a_name_in_escapes_is_replaced_too():
    data = b'{"custom_id":"a","url":"%b","body":{"mod\\u0065l":"fast", "model2":"fast"}}' % URL.encode()
    assert json.loads(rewrite_file(data))["body"] == {"model": "gpt-5-mini", "model2": "fast"}
    data = b'{"custom_id":"a","url":"%b","body":{"model":"\\u00fc","q":{"model":"\\u00fc"}}}' % URL.encode()
    assert json.loads(rewrite_file(data))["body"] == {"model": "x", "q": {"model": "ü"}}


def test_text_before_the_model_is_not_scanned_slowly():
    """A text of megabytes took seconds, and gigabytes."""
    for text in (b"a" * 15 * 2**20, b'\\"' * 2**10, b"\\\\" * 2**10):
        data = b'{"custom_id":"a","url":"%b","body":{"x":"%b","model":"fast"}}' % (URL.encode(), text)
        lines, begun = BatchLines(rewrite, check_members), time.process_time()
        out = lines.feed(data) + lines.close()
        assert out == data.replace(b'"fast"', b'"gpt-5-mini"')
        assert time.process_time() - begun < 1


def test_errors_state_the_line_number():
    good = line("a")
    wrong = {
        "no JSON": b"{", "a list": b"[]", "no body": b'{"custom_id":"x","url":"/v1/x"}', "no id": line("").replace(
            b'"custom_id": ""', b'"x": 1'), "the same id": good, "no model": line("b", None), "a number": line("b", 5),
        "another url": line("b", url="/v1/embeddings"), "an unknown model": line("b", "nobody's"),
        "no url": line("b", url=""),
        "two bodies": line("b")[:-1] + b', "b\\u006fdy": {"model": "big"}}',
        "another body": line("b")[:-1] + b', "Body": {"model": "big"}}',
    }  # fmt: skip
    for name, bad in wrong.items():
        with case(name):
            with pytest.raises(GatewayError) as caught:
                rewrite_file(good + b"\n\n" + bad)
            assert "line 2 " in caught.value.info.message
            assert caught.value.info.param == "file"
    with pytest.raises(GatewayError, match="at least one line"):
        rewrite_file(b"\n \n")
