"""Trusted words of a provider: rejections of one sentence about one member. Other text may quote a client
(https://owasp.org/www-community/Injection_Theory)."""

from providers.endpoints.embeddings.openai import MEMBER_NAMES
from providers.errors.member_paths import parse_path
from providers.errors.rejected import PROTECTED, VECTOR_ENCODINGS, find_rejected, find_sole_rejected, is_protected
from streams.events import ErrorInfo
from tests.support.cases import case
from tests.support.each_row import each_row


def paths_of(message: str, **more: str) -> tuple[str, ...]:
    failed = ErrorInfo("invalid_request", message, status=400, **more)
    return tuple(".".join(path) for path in find_sole_rejected(failed))


def test_a_sentence_about_one_member_names_it():
    for message, paths in [
        ("speed: Extra inputs are not permitted", ("speed",)),
        (  # vercel/ai#8943, BerriAI/litellm#32273
            "Penalty is not enabled for models/gemini-2.5-flash",
            (
                "frequency_penalty",
                "presence_penalty",
                "generationConfig.frequencyPenalty",
                "generationConfig.presencePenalty",
            ),
        ),
        ("tools.0.custom.defer_loading: Extra inputs are not permitted", ("tools.[].custom.defer_loading",)),
        ("body.store: Extra inputs are not permitted", ("store",)),
        ("Unsupported parameter: 'temperature' is not supported with this model.", ("temperature",)),
        ("Unrecognized request argument supplied: reasoning_effort", ("reasoning_effort",)),
        ("Unknown parameter: 'input[3].status'.", ("input.[].status",)),
        ("property 'store' is unsupported, did you mean 'stop'?", ("store",)),
        ("'messages.0' : property 'cache_control' is unsupported", ("messages.[].cache_control",)),
        ('Invalid JSON payload received. Unknown name "store": Cannot find field.', ("store",)),
        ("Unknown name \"strict\" at 'tools[0].function': Cannot find field.", ("tools.[].function.strict",)),
        (
            "Malformed input request: #/tools/0: extraneous key [strict] is not permitted, please reformat your input "
            "and try again.",
            ("tools.[].strict",),
        ),
        ("Malformed input request: #: extraneous key [speed] is not permitted", ("speed",)),
        ("Failed to deserialize: unknown field `store`, expected one of `model`, `messages`", ("store",)),
        ("unknown field `top_k`, expected `model` at line 1 column 20", ("top_k",)),
        ("invalid beta flag", ("anthropic-beta",)),
        (
            "Unexpected value(s) `a-2026-01-05`, `b-2` for the `anthropic-beta` header. Please consult our "
            "documentation at platform.claude.com/docs or try again without the header.",
            ("anthropic-beta.a-2026-01-05", "anthropic-beta.b-2"),
        ),
    ]:
        with case((message, paths)):
            assert paths_of(message) == paths
            assert {".".join(path) for path in find_rejected(ErrorInfo("invalid_request", message, status=400))} == {
                *paths
            }


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
