"""The masking of credentials that servers repeat, in any encoding."""

import base64
import itertools
import urllib.parse

from loadtest.masking import SecretWords
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


def test_a_key_is_masked_in_any_encoding():
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
            assert "***" in said
            assert not any(spelled[at : at + 8] in said for at in range(len(spelled) - 8))


@each_row("behind, whole", itertools.product(["", "'", '" is no key', "…", "..."], [KEY, IN_JSON, IN_URL, ENCODED[0]]))
def test_the_beginning_of_a_key_is_masked(behind, whole):
    for end in range(48 if whole is IN_JSON else 12, len(whole), 3):  # from the first eight characters of the key
        said = WORDS.mask(f"it answered b'{whole[:end]}{behind}")
        assert said.startswith(("it answered b'***", "*** (the text repeats")), end


def test_words_that_share_only_the_prefix_of_a_key_are_not_masked():
    for text in ("sk-prox-another is no key", "sk-proj", "Bearer", "no key"):
        assert WORDS.mask(text) == text
