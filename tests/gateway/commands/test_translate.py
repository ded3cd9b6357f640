"""``trigate translate``: what it prints and how it exits."""

import json

import pytest

from gateway.commands.translate import run

ASKED = {"model": "m", "max_tokens": 5, "top_k": 3, "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
def translate(tmp_path, capsys):
    """Return a function that translates a Messages request to Chat and returns the exit status and both outputs."""

    def translate(body, strict=False):
        path = tmp_path / "request.json"
        path.write_bytes(body)
        with path.open("rb") as file:
            status = run(file, "messages", "chat", None, None, strict)
        said = capsys.readouterr()
        return status, said.out, said.err.replace(f"{tmp_path}/", "")

    return translate


def test_a_request_is_translated_and_losses_are_reported(translate):
    status, out, err = translate(json.dumps(ASKED).encode())
    assert status == 0
    assert json.loads(out)["messages"] == ASKED["messages"]
    assert "dropped  top_k" in err


@pytest.mark.parametrize("body", [b"\x9f\x02\xff\x00", b"", b"{", b"model: m", b"[" * 100_000])
def test_translate_reports_invalid_json(translate, body):
    status, out, err = translate(body)
    assert (status, out) == (2, "")
    assert err.startswith("request.json is not valid JSON: ")
    assert "malformed" not in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(("body", "found"), [(b"null", "null"), (b"[]", "an array")])
def test_json_that_is_no_request_is_refused(translate, body, found):
    assert translate(body) == (1, "", f"rejected with status 400: the request must be an object, not {found}\n")


def test_no_member_of_a_request_controls_the_terminal(translate):
    _, _, err = translate(json.dumps({**ASKED, "a\x1b[31m\x9b\u202eb": 1}).encode(), strict=True)
    assert "dropped  a\\u001b[31m\\u009b\\u202eb" in err
    assert all(line.isprintable() for line in err.splitlines())
