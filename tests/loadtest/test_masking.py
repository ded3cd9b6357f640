"""Credentials that servers repeat, in one spelling or another."""

import base64
import itertools
import urllib.parse

from loadtest.exchange.masking import MOST, SecretWords
from loadtest.plan.load_request import LoadRequest
from loadtest.plan.scenario import Scenario
from tests.support.cases import case
from tests.support.each_row import each_row

KEY = "sk-proj-Ab9+/=xyzQRS~tuv1"
WORDS = SecretWords.from_values([f"Bearer {KEY}"])
IN_JSON = "".join(f"\\u{ord(one):04x}" for one in KEY)
IN_URL = urllib.parse.quote(KEY, safe="")
ENCODED = [
    encode(before + KEY.encode() + behind).decode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode)
    for before in (b"", b"x", b"user:")
    for behind in (b"", b":", b"??>")
]


def test_a_key_is_masked_however_it_is_spelled():
    for spelled in [
        KEY,
        IN_JSON,
        IN_JSON.replace("\\", "\\\\"),
        IN_URL,
        IN_URL.replace("2F", "2f").replace("3D", "3d"),
        KEY.replace("/", "\\/"),
        *ENCODED,
    ]:
        with case(spelled):
            said = WORDS.mask(f"no such key: {spelled} ({spelled})")
            assert said.count("***") == 2
            assert not any(spelled[at : at + 8] in said for at in range(len(spelled) - 8))


@each_row("behind, whole", itertools.product(["", "'", '" is no key', "…", "..."], [KEY, IN_JSON, IN_URL, ENCODED[0]]))
def test_a_key_of_which_only_the_beginning_is_shown_is_masked(behind, whole):
    for end in range(48 if whole is IN_JSON else 8, len(whole), 3):  # from its first eight characters on
        assert WORDS.mask(f"it answered b'{whole[:end]}{behind}").startswith("it answered b'***"), end


def test_words_that_only_begin_like_a_key_are_not_masked():
    for text in ("sk-proj-another is no key", "sk-proj", "Bearer", "no key"):
        assert WORDS.mask(text) == text


def test_one_secret_may_be_the_beginning_of_another():
    words = SecretWords.from_values(["secret-1111%262222", "secret-1111&2222"])
    assert words.mask("\\u0073ecret-1111\\u00262222 x") == "*** x"


def test_user_and_password_are_masked_where_a_header_has_them_as_one():
    words = SecretWords.from_values(["Basic " + base64.b64encode(b"my-user-name:pass-word-1").decode()])
    assert words.mask("no pass-word-1 for my-user-name") == "no *** for ***"


def test_credentials_in_bodies_are_masked_too(tmp_path):
    """A tool's, which the model is to use it with."""
    lines = [f'{{"input": "x", "tools": [{{"authorization": "tok-\\u0061bcd-{number}"}}]}}' for number in range(200)]
    file = tmp_path / "own.jsonl"
    file.write_text("\n".join(lines))
    extra = {"tools": [{"headers": {"x-api-key": "in-extra-1"}}], "metadata": {"keyboard": "qwertyuiop"}}
    requests = (LoadRequest("m", requests=file), LoadRequest("m", extra=extra))
    plan = Scenario({"t": "http://127.0.0.1:1"}, requests, 1.0)
    words = SecretWords.of_load(plan, "t", None)
    assert words.mask("no tok-abcd-7, in-extra-1: qwertyuiop") == "no ***, ***: qwertyuiop"
    assert len(words.words) < 10 * MOST
    described = plan.describe()["requests"][1]["extra"]
    assert described == {"tools": [{"headers": {"x-api-key": "***"}}], "metadata": {"keyboard": "qwertyuiop"}}
