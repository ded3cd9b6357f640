"""Ids that say who has an object and whose it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.kept_objects.ids import PREFIXES, AccountMark, read_tag, short_digest, tagged

HERE = AccountMark(short_digest("openai"), short_digest("main"))
SECRET = b"s" * 32
NATIVE = (
    "file-abc123", "file_011CNha8iCJcU1wXNR6q4V8w", "vs_6789", "upload_1", "batch_x-y", "msgbatch_01", "cntr_9",
    "8f14e45f-ceea-467f-a8d6-3a1f0d3a7b21", "files/k3vz1-abc", "odd/id with:marks ü", "", "T", "file-",
    "vs_T" + "A" * 40,
)  # fmt: skip


def test_an_id_keeps_its_prefix_and_comes_back_for_its_owner_alone():
    for native in NATIVE:
        text = tagged(native, "team-a", HERE, SECRET)
        assert text.isascii(), native
        assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-/"), native
        prefix = next((one for one in PREFIXES if native.startswith(one)), "")
        assert text.startswith(prefix + "T"), native
        found = read_tag(text)
        assert found is not None, native
        assert (found.native, found.mark) == (native, HERE)
        assert found.is_signed("team-a", (b"another" * 5, SECRET)), native
        assert not found.is_signed("team-b", (SECRET,)), native
        assert not found.is_signed("team-a", (b"another" * 5,)), native
        assert not found.is_signed("team-a", ()), native


def test_an_id_of_a_provider_has_no_tag():
    for native in NATIVE:
        found = read_tag(native)
        assert found is None or not found.is_signed("", (SECRET,)), native


def test_every_changed_character_makes_it_nobodys():
    text = tagged("file-abc123", "team-a", HERE, SECRET)
    for at in range(len(text)):
        for other in "AQgwx-_9z":
            changed = text[:at] + other + text[at + 1 :]
            found = read_tag(changed)
            assert changed == text or found is None or not found.is_signed("team-a", (SECRET,)), changed
    for changed in (text + "A", text[:-1], text.replace("file-", "vs_"), text.replace("file-", "file_"), text + "="):
        found = read_tag(changed)
        assert found is None or not found.is_signed("team-a", (SECRET,)), changed


def test_owner_and_id_cannot_be_shifted_into_one_another():
    text = tagged("file-abc", "team", HERE, SECRET)
    other = read_tag(tagged("file-abc", "teamfile-", HERE, SECRET))
    assert other is not None
    assert not other.is_signed("team", (SECRET,))
    assert text != other.text


@given(st.text(max_size=60), st.text(max_size=10))
def test_any_text_is_an_id(native, owner):
    found = read_tag(tagged(native, owner, HERE, SECRET))
    assert found is not None
    assert found.native == native
    assert found.is_signed(owner, (SECRET,))


@given(st.text(max_size=80))
def test_what_is_no_id_raises_nothing(text):
    assert read_tag(text) is None or not read_tag(text).is_signed("", (SECRET,))


@pytest.mark.parametrize("text", ["", "file-", "T" * 28, "file-" + "T" * 28, "vs_" + "T" * 2000, "file-TÄ" + "A" * 40])
def test_texts_that_look_a_little_like_one_are_none(text):
    found = read_tag(text)
    assert found is None or not found.is_signed("", (SECRET,))
