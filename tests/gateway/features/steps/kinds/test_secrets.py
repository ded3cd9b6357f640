"""The kind ``secrets`` finds keys of the published formats, plain and encoded, and nothing in ordinary text.

The keys are put together here, so that no scanner takes this file for a leak."""

import base64
import hashlib
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.features.steps.kinds.secret_formats import ROWS
from gateway.features.steps.kinds.secrets import LABELS, SecretsSettings, SecretsStep
from tests.support.each_row import each_row
from tests.support.examples import examples
from tests.support.step_pieces import check_cuts, find, find_in_pieces, find_texts

MIXED: Final = "aB3dE5fG7hJ9kL1mN2pQ4rS6tU8vW0xY" * 4
HEX: Final = "0123456789abcdef" * 8
STEP: Final = SecretsStep(SecretsSettings())
ANTHROPIC: Final = "sk-ant-" + "api03-" + MIXED[:93] + "AA"
JWT: Final = ".".join(("eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiIxMjM0NTY3ODkwIn0", MIXED[:43]))
PEM: Final = "\n".join(("-----BEGIN RSA " + "PRIVATE KEY-----", *(MIXED[:64],) * 25, "-----END RSA PRIVATE KEY-----"))

SECRETS: Final = {
    ANTHROPIC: "anthropic_key",
    "sk-" + "proj-" + MIXED[:100]: "openai_key",
    "sk-" + MIXED[:20] + "T3Blbk" + "FJ" + MIXED[:20]: "openai_key",
    "sk-" + "or-v1-" + HEX[:64]: "openrouter_key",
    "sk-" + HEX[:32]: "api_key",
    "sk_" + "live_" + MIXED[:24]: "stripe_key",
    "AKIA" + "IOSFODNN7EXAMPLE": "aws_access_key",
    "ghp_" + MIXED[:36]: "github_token",
    "github_" + "pat_" + MIXED[:22] + "_" + MIXED[:59]: "github_token",
    "glpat-" + MIXED[:20]: "gitlab_token",
    "AIza" + MIXED[:35]: "google_api_key",
    "xoxb-" + "123456789012-1234567890123-" + MIXED[:24]: "slack_token",
    "npm_" + MIXED[:36]: "npm_token",
    "pypi-" + "AgEIcHlwaS5vcmc" + MIXED[:80]: "pypi_token",
    "hf_" + "abcdefghijABCDEFGHIJabcdefghijABCD": "huggingface_token",
    "SG." + MIXED[:22] + "." + MIXED[:43]: "sendgrid_key",
    "SK" + HEX[:32]: "twilio_key",
    "abc8Q~" + MIXED[:34]: "azure_client_secret",
    "hvs." + MIXED[:30]: "vault_token",
    JWT: "jwt",
}  # fmt: skip


@each_row(("secret", "label"), SECRETS.items())
def test_a_key_is_found_in_text_json_and_after_an_escape(secret, label):
    for text in (f"use {secret} now", f'{{"key":"{secret}"}}', f"export KEY={secret}\n", f"a\\n{secret}\\n", secret):
        assert find_texts(STEP, text) == [(label, secret)]


@each_row("secret", [ANTHROPIC, "ghp_" + MIXED[:36], JWT])
def test_an_encoded_key_is_found_at_its_position(secret):
    escaped = "".join(f"%{ord(char):02x}" for char in secret)
    assert [one[1:] for one in find(STEP, f"a {escaped} b")] == [(2, 2 + len(escaped))]
    assert [one[1:] for one in find(STEP, f"a {secret.encode().hex()} b")] == [(2, 2 + 2 * len(secret))]
    for before in ("", " ", "= ", "token: "):
        encoded = base64.b64encode((before + secret).encode()).decode().rstrip("=")
        (found,) = find(STEP, f"data:text/plain;base64,{encoded}")
        assert found[2] == 23 + len(encoded)
        assert found[1] in range(23, 27 + 4 * len(before) // 3)


def test_invisible_and_similar_characters_hide_no_key():
    """https://www.unicode.org/reports/tr36/#visual_spoofing"""
    secret = "AKIA" + "IOSFODNN7EXAMPLE"
    hidden = secret[:3] + "\u200b" + secret[3:9] + "\u2060\u00ad" + secret[9:]
    assert find_texts(STEP, f"é {hidden} é") == [("aws_access_key", hidden)]
    for similar in (secret.replace("A", "А"), secret.replace("O", "Ο"), secret.translate({65: 0xFF21, 55: 0xFF17})):
        assert similar != secret
        assert find_texts(STEP, f"x {similar}.") == [("aws_access_key", similar)]


def test_a_private_key_is_found_with_all_its_lines():
    assert find_texts(STEP, f"see\n{PEM}\nbye") == [("private_key", PEM)]
    escaped = PEM.replace("\n", "\\n")
    assert find_texts(STEP, f'{{"private_key":"{escaped}"}}') == [("private_key", escaped)]
    assert find_texts(STEP, "Put -----BEGIN PRIVATE KEY----- in the first line of the file, then the key.") == []


@each_row(
    ("text", "password"),
    [
        ("postgres://app:hunter2@db.internal/x", "hunter2"),
        ("https://x:a%20b!@example.com", "a%20b!"),
        ("redis://:s3cret@localhost:6379/0", "s3cret"),
    ],
)
def test_the_password_of_a_url_is_found(text, password):
    assert find_texts(STEP, text) == [("url_password", password)]


def test_an_aws_secret_key_is_found_by_its_name():
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCY" + "EXAMPLEKEY"
    for text in (f"aws_secret_access_key = {secret}", f'"SecretAccessKey": "{secret}"', f"AWS_SECRET_KEY={secret}"):
        assert find_texts(STEP, text) == [("aws_secret_key", secret)]
    assert find_texts(STEP, f"the commit is {'ab' * 20}, the key is elsewhere") == []


@each_row(
    "text",
    [
        "The quick brown fox jumps over the lazy dog, see https://example.com/a/b?c=d#e and joe@example.com.",
        "postgres://user:password@localhost/db and https://$USER:$TOKEN@example.com and redis://:${PASSWORD}@h",
        "risk-management-2023-plans-and-procedures-for-the-next-year, sk-circle-fade-dot-and-other-css-classes",
        "sha256:" + HEX[:64] + " is the digest, 550e8400-e29b-41d4-a716-446655440000 the id",
        "from the module gl-matrix-and-more import AKIAX, and call ghp_ with sk-ant-",
        "data:image/png;base64," + base64.b64encode(bytes(range(256)) * 20).decode(),
    ],
)
def test_ordinary_text_has_no_findings(text):
    assert find(STEP, text) == []


def test_allowed_values_are_no_findings():
    digest = hashlib.sha256(JWT.encode()).hexdigest()
    step = SecretsStep(SecretsSettings((ANTHROPIC, f"sha256:{digest.upper()}")))
    assert find(step, f"{ANTHROPIC} {JWT} {base64.b64encode(JWT.encode()).decode()}") == []
    assert find(step, ANTHROPIC + "A") != []


def test_each_format_has_a_source_and_its_label():
    for row in ROWS:
        assert row.source.startswith("https://")
        assert row.label in LABELS


pieces = st.lists(
    st.sampled_from(
        (
            ANTHROPIC, ANTHROPIC[:9], "sk-", "-----BEGIN ", "PRIVATE KEY-----", "\n", "-----END", "a", "A" * 30, " ",
            PEM, "é", "\x01", *(part for part in JWT.split(".")), ".", "A" * 3000, "://u:", "pw@h", "%41", "Q" * 5000,
            base64.b64encode(ANTHROPIC.encode()).decode(), "x" * 400, "ﬁ", "AKIA", "IOSFODNN7EXAMPLE", "-", "bar " * 40,
        )
    ),
    max_size=9,
).map("".join)  # fmt: skip


@settings(max_examples=examples(150))
@given(text=pieces, cuts=st.lists(st.integers(0, 20000), max_size=20))
def test_findings_do_not_depend_on_how_a_stream_is_cut(text, cuts):
    check_cuts(STEP, text, cuts)


def test_a_key_longer_than_the_tail_is_one_finding():
    for secret in ("ghp_" + "a1B2" * 3000, PEM.replace(MIXED[:64] + "\n", (MIXED[:64] + "\n") * 8, 1)):
        text = f"a {secret} b"
        assert find_in_pieces(STEP, text, range(0, len(text), 37)) == find(STEP, text) != []
        assert find_texts(STEP, text)[0][1] == secret


def test_words_are_released_one_by_one():
    assert STEP.open_tail("the quick brown fo") == 16
    assert STEP.open_tail("the quick brown fox ") == 20
    assert STEP.open_tail("我们今天去公园") == 7
