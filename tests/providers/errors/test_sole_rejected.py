"""Trusted words of a provider: rejections of one sentence about one member. Other text may quote a client
(https://owasp.org/www-community/Injection_Theory). ``test_rejection_words`` has such sentences."""

from providers.endpoints.embeddings.openai import MEMBER_NAMES
from providers.errors.member_paths import parse_path
from providers.errors.rejected import PROTECTED, VECTOR_ENCODINGS, find_sole_rejected, is_protected
from streams.events import ErrorInfo
from tests.support.cases import case
from tests.support.each_row import each_row


def paths_of(message: str, **more: str) -> tuple[str, ...]:
    failed = ErrorInfo("invalid_request", message, status=400, **more)
    return tuple(".".join(path) for path in find_sole_rejected(failed))


def test_the_encoding_of_vectors_is_named_in_any_words():
    """Nothing is lost without it, so that a quotation can take nothing along."""
    for message, more, path in (
        ("Unsupported value: 'encoding_format' does not support 'base64'", {}, "encoding_format"),
        ("embedding_type: Input should be 'float'", {}, "embedding_type"),
        ("Input should be 'float'", {"param": "encoding_format"}, "encoding_format"),
        ("Input should be 'float'", {"param": "body.embedding_type"}, "embedding_type"),
        ("no base64 here, store: Extra inputs are not permitted", {}, "encoding_format"),
    ):
        assert paths_of(message, **more) == (path,)
    for message in ("embedding_types must be a list", "Input should be 'float'", "xbase64x"):
        assert paths_of(message) == ()


def test_members_of_vectors_are_those_of_their_shapes():
    assert set(VECTOR_ENCODINGS) == {row.encoding for row in MEMBER_NAMES.values()}


def test_a_message_with_other_words_names_no_member():
    for message in [
        # the name of a member that a client chose, quoted by an honest validator
        "metadata. metadata: Extra inputs are not permitted, store: Extra inputs are not permitted, thinking: Extra "
        "inputs are not permitted",
        "metadata.\nspeed: Extra inputs are not permitted",
        "a: Extra inputs are not permitted, b: Extra inputs are not permitted",
        "Invalid value: 'speed: Extra inputs are not permitted'. Supported values are: 'user'.",
        "Invalid value: 'Unknown parameter: 'speed'.'",
        "Unrecognized request arguments supplied: store, metadata",
        "Unknown parameter: 'x'. Unknown parameter: 'speed'.",
        '{"message":"speed: Extra inputs are not permitted"}. Received Model Group=claude',
        "role: unknown field `speed`, expected one of `model`",
        "speed: Extra inputs are not permitted\n",
        "messages: at least one message is required",
        "speed: Extra inputs are not permitted" + " " * 1000,
        "",
    ]:
        with case(message):
            assert paths_of(message) == ()


def test_openais_param_names_it_regardless_of_the_message():
    words = {"message": "Unknown parameter: 'x'. Unknown parameter: 'speed'.", "code": "unknown_parameter"}
    assert paths_of(**words, param="tools[0].strict") == ("tools.[].strict",)
    assert paths_of(**words, param="x: Extra inputs are not permitted, speed") == ()
    assert paths_of(**{**words, "code": "invalid_value"}, param="speed") == ()
    values = {**words, "code": "unsupported_value"}
    assert paths_of(**values, param="reasoning.summary") == ("reasoning.summary",)
    assert paths_of(**values, param="reasoning.effort") == ()  # another effort may be accepted


@each_row("text", ["a" * 900, "'" * 900, "a." * 400, "[" * 900, "unknown field " * 60, "#/" * 400])
def test_long_names_name_nothing(text):
    assert paths_of(text) == paths_of(f"{text}: Extra inputs are not permitted") == paths_of(text, code="x") == ()


@each_row("name", sorted(PROTECTED))
def test_members_about_privacy_safety_identity_and_storage_are_protected_with_all_their_parts(name):
    assert PROTECTED[name].strip(), "its reason"
    for path in (name, f"{name}.x", f"{name}[0].y", f"extra_body.{name}"):
        assert is_protected(parse_path(path))


@each_row("path", ["temperature", "tools.0.strict", "messages.0.user.cache_control", "reasoning_effort"])
def test_other_members_are_not_protected(path):
    assert not is_protected(parse_path(path))
