"""AWS signatures, compared with the vendor's whole signer and with one written from its documentation."""

import time
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from providers.auth.signer import AwsKeys, UnsignedRequest
from providers.auth.sigv4 import SigV4, region_of
from streams.errors import GatewayError
from tests.support.aws_signature import fault_of

KEYS = AwsKeys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "IQoJb3JpZ2luX2Vj//session")
HOST = "https://bedrock-runtime.us-east-1.amazonaws.com"

MODELS = (
    "anthropic.claude-opus-4-6-v1:0",
    "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "global.amazon.nova-2-lite-v1:0",
    "openai.gpt-oss-120b-1:0",
    "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-haiku-4-5-20251001-v1:0",
    "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3d4e5f6",
    "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/xyz",
    "arn:aws:bedrock:us-east-1::foundation-model/meta.llama4-scout-17b-instruct-v1:0",
    "arn:aws:sagemaker:us-east-1:123456789012:endpoint/my-endpoint",
    "own model +~%41(ä)",
)
"""Each form that a model's id has in a path (envoyproxy/ai-gateway#1332, crmne/ruby_llm#803,
anthropics/anthropic-sdk-go#185, cloudflare/ai#583)."""


def paths() -> list[str]:
    """Return the path of each, with ``:`` unescaped and escaped."""
    ends = ("converse", "converse-stream", "invoke")
    found = [f"/model/{quote(model, safe=safe)}/{end}" for model in MODELS for safe in (":", "") for end in ends]
    return [*found, "/openai/v1/chat/completions", "/anthropic/v1/messages?beta=true&a=b%20c", "/"]


def new_request(path: str, body: bytes = b'{"a": "\xc3\xbc"}', **headers: str) -> UnsignedRequest:
    own = {"content-type": "application/json", "accept": "application/json", **headers}
    return UnsignedRequest("POST", HOST + path, tuple(own.items()), body)


def signed_headers(request: UnsignedRequest, keys: AwsKeys = KEYS, at: float | None = None, by: SigV4 | None = None):
    return dict((by or SigV4()).sign(request, keys, time.time() if at is None else at))


def test_the_signature_equals_that_of_the_vendors_signer(monkeypatch):
    at = 1_795_305_600.0
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: datetime.fromtimestamp(at, UTC))
    for path in paths():
        for keys in (KEYS, AwsKeys(KEYS.id, KEYS.secret)):
            for body in (b"", b'{"a": 1}'):
                request = new_request(path, body)
                theirs = AWSRequest("POST", request.url, headers={"content-type": "application/json"}, data=body)
                credentials = Credentials(keys.id, keys.secret, keys.token)
                botocore.auth.SigV4Auth(credentials, "bedrock", "us-east-1").add_auth(theirs)
                ours = signed_headers(request, keys, at)
                expected = {name.lower(): value for name, value in theirs.headers.items() if name != "content-type"}
                assert ours == expected, path


def test_a_server_that_recomputes_the_signature_accepts_the_sent_request():
    for path in paths():
        request = new_request(path, **{"x-amzn-bedrock-guardrailidentifier": "g  1", "accept-encoding": "identity"})
        sent = {**dict(request.headers), **signed_headers(request), "host": urlsplit(HOST).netloc}
        scope = ("us-east-1", "bedrock")
        assert fault_of("POST", path, sent, request.body, {KEYS.id: KEYS.secret}, scope) is None, path
        for changed in ({**sent, "content-type": "text/plain"}, {**sent, "x-amz-security-token": "another"}):
            assert fault_of("POST", path, changed, request.body, {KEYS.id: KEYS.secret}, scope) is not None, path
        assert fault_of("POST", path, sent, b"{}", {KEYS.id: KEYS.secret}, scope) == "InvalidSignatureException"


def test_the_slash_of_an_arn_is_escaped_twice_where_it_is_signed():
    arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/x"
    request = AWSRequest("POST", f"{HOST}/model/{quote(arn, safe=':')}/converse")
    request.context["timestamp"] = "20261122T000000Z"
    auth = botocore.auth.SigV4Auth(Credentials("a", "b"), "bedrock", "us-east-1")
    path = auth.canonical_request(request).split("\n")[1]
    assert path == "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%252Fx/converse"


def test_a_signature_does_not_depend_on_earlier_attempts():
    """A doubled content type and headers of another target's attempt broke fallbacks (BerriAI/litellm#13738)."""
    first = signed_headers(new_request("/a", accept="text/event-stream"), at=1.0)
    again = signed_headers(new_request("/a"), at=1.0)
    assert first == again
    assert signed_headers(new_request("/a"), at=2.0) != first
    assert "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token," in first["authorization"]


def test_the_region_is_the_hosts_then_the_arns_then_the_configured_one():
    for host, region in {
        "bedrock-runtime.eu-west-1.amazonaws.com": "eu-west-1",
        "bedrock-mantle.us-east-2.api.aws": "us-east-2",
        "bedrock-runtime-fips.us-gov-west-1.amazonaws.com": "us-gov-west-1",
        "vpce-1a2b-x.bedrock-runtime.ap-southeast-2.vpce.amazonaws.com": "ap-southeast-2",
        "bedrock-runtime.cn-north-1.amazonaws.com.cn": "cn-north-1",
        "bedrock-runtime.us-east-1.amazonaws.com.evil.example": None,
        "localhost": None,
    }.items():
        assert region_of(f"https://{host}/model/x/converse") == region, host
    arn = quote("arn:aws:bedrock:eu-north-1:1:inference-profile/eu.x", safe="")
    assert region_of(f"http://localhost:8000/model/{arn}/converse") == "eu-north-1"
    local = UnsignedRequest("POST", "http://localhost:8000/openai/v1/responses", (), b"")
    assert "/eu-west-3/bedrock/" in signed_headers(local, by=SigV4("eu-west-3"))["authorization"]
    assert "/sa-east-1/bedrock/" in signed_headers(local, AwsKeys("a", "b", region="sa-east-1"))["authorization"]
    with pytest.raises(GatewayError, match="region") as caught:
        signed_headers(local)
    assert caught.value.info.reason == "credential"


def test_the_newer_endpoint_is_a_separate_service():
    """BerriAI/litellm#31475, grafana/ai-sdk#132"""
    for host, service in {
        "bedrock-runtime.eu-west-1.amazonaws.com": "bedrock",
        "bedrock-mantle.us-east-2.api.aws": "bedrock-mantle",
        "vpce-1.bedrock-mantle.us-east-2.vpce.api.aws": "bedrock-mantle",
        "localhost": "bedrock",
    }.items():
        request = UnsignedRequest("POST", f"https://{host}/anthropic/v1/messages", (), b"")
        assert f"/{service}/aws4_request" in signed_headers(request, by=SigV4("us-east-2"))["authorization"], host
    local = UnsignedRequest("POST", "http://localhost/v1/messages", (), b"")
    assert "/bedrock-mantle/aws4" in signed_headers(local, by=SigV4("us-east-2", "bedrock-mantle"))["authorization"]


def test_a_bedrock_api_key_is_sent_unchanged():
    assert SigV4().sign(new_request("/"), "bedrock-api-key", 0) == (("authorization", "Bearer bedrock-api-key"),)


def test_keys_are_in_no_representation():
    assert KEYS.secret not in repr(KEYS)
    assert KEYS.token not in repr(KEYS)
    assert KEYS.id not in repr(KEYS)
