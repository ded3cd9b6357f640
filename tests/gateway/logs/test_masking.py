"""No line of the log contains a key in any place, or a sequence that controls a terminal."""

import hashlib
import json
import time

import msgspec
import pytest

from gateway.config_files.loading import from_mapping
from gateway.logs.masking import Mask, escape, escape_json
from tests.support.each_row import each_row
from tests.support.harness import config, provider

KEY = "key-of-the-team-0815"


@each_row(
    "key",
    [
        "sk-proj-Ab12_Cd34-Ef56Gh78", "sk-ant-api03-" + "x" * 90, "sk-or-v1-" + "0" * 64, "sk-1234",
        "sk-****abcd",
        "AIza" + "x" * 35, "gsk_" + "a" * 50, "xai-" + "b" * 60, "hf_" + "c" * 34, "pplx-" + "d" * 40,
        "AKIA" + "A" * 16, "ghp_" + "e" * 36, "eyJ" + "f" * 20 + ".eyJ" + "g" * 20 + "." + "h" * 20,
    ],
)  # fmt: skip
def test_text_that_looks_like_a_key_is_masked_anywhere(key):
    for text in (
        key,
        f"model {key} is unknown",
        f'{{"model":"openai/{key}"}}',
        f"/v1/x?key={key}&a=b",
        f"Bearer {key}",
    ):
        assert key not in Mask()(text)
        assert Mask()(text) == text.replace(key, "[redacted]")


def test_the_gateways_own_keys_are_masked_within_a_word_too():
    assert Mask()("shop_sk-trigate-" + "Ab1" * 14) == "shop_[redacted]"


@each_row(
    "text",
    [
        "claude-sonnet-4-5-20250929", "gpt-4o-mini", "xai/grok-4", "hf:org/model", "task-management-board",
        "req_d5e274a8b2554974b43714702715bf61", "risk-free", "msg_01XFDUDYJgAACzvnptvVoYEL", "pk", "desk-1234",
        "resp_0123456789abcdef0123456789abcdef", "desk-trigate-manager",
        "fireworks/accounts/fireworks/models/llama-v3p1",
    ],
)  # fmt: skip
def test_names_and_ids_are_not_mistaken_for_keys(text):
    assert Mask()(text) == text


@each_row("part", ["-eyJ", "eyJ-", "sk-", "-AIza", "eyJ0123456789.", ".eyJ-0123456789"])
def test_masking_a_long_name_does_not_block_the_process(part):
    text = part * 250_000
    began = time.process_time()
    Mask(digests=[hashlib.sha256(KEY.encode()).digest()])(text)
    assert time.process_time() - began < 5  # of quadratic work it would be minutes


def mask_for_key(**more: str) -> Mask:
    """Return the mask for a configuration with one client key that has the members ``more``."""
    mask = Mask()
    entry = provider("openai/m", "http://127.0.0.1:1", key="another-secret-key")
    mask.apply_config(from_mapping(config([entry], 1, client_keys=[{"name": "team", **more}])))
    return mask


@pytest.mark.parametrize(
    "given", [{"key": KEY}, {"sha256": hashlib.sha256(KEY.encode()).hexdigest()}], ids=["key", "digest"]
)
@pytest.mark.parametrize(
    "text",
    ["{}", "unknown model '{}'", "openai/{}", "/v1/models?key={}&x=1", '{{"model":"{}","n":1}}', "Mozilla/5.0 ({})"],
)
def test_the_keys_of_clients_are_masked_also_where_only_their_digest_is_known(given, text):
    assert mask_for_key(**given)(text.format(KEY)) == text.format("[redacted]")


def test_providers_keys_are_masked_and_those_of_earlier_configurations():
    mask = mask_for_key(key=KEY)
    mask.apply_config(from_mapping(config([provider("openai/m", "http://127.0.0.1:1", key="the-next-key")], 1)))
    assert mask(f"another-secret-key the-next-key {KEY}") == "[redacted] [redacted] [redacted]"


ODD = "\x80\x85\x9b\x9f\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029\x7f"


def test_controls_are_escaped_in_json_and_mean_the_same():
    text = msgspec.json.encode({"model": f"ä{ODD}大\x1b\n"}).decode()
    told = escape_json(text)
    assert not set(ODD) & set(told)
    assert json.loads(told) == json.loads(text)
    assert "ä" in told


@each_row("one", [*ODD, "\x00", "\x1b", "\n", "\r", "\t"])
def test_controls_are_escaped_for_a_terminal(one):
    assert escape(f"a{one}b").isprintable()
    assert escape(f"a{one}b") != "ab"


def test_other_letters_stay_unchanged():
    assert escape("größer 大 emoji 🙂") == "größer 大 emoji 🙂"


def test_reloads_do_not_lengthen_the_search_for_a_secret_with_quotation_marks():
    """Each reload added the JSON form of all forms so far, which doubled the length of the longest."""
    password = 'a"password"with\\backslashes'
    content = config([provider("openai/m", "http://127.0.0.1:9", key=password)], 12000)
    mask = Mask()
    for _ in range(30):
        mask.apply_config(from_mapping(content))
    assert mask.secrets == (password,)
    assert mask(f"{password} {json.dumps(password)}") == '[redacted] "[redacted]"'
