"""The region of an ARN that a client writes must be that of the wildcard entry, so that it stays within ``only``."""

from typing import Any
from urllib.parse import urlsplit

import pytest

from gateway.config_files.loading import from_mapping
from gateway.routing.router import Router
from streams.errors import GatewayError
from tests.support.each_row import each_row

REGIONS = ("us-east-1", "eu-west-1")
APIS = ("chat", "messages", "responses", "converse")


def wildcard(region: str, provider: str = "amazon_bedrock") -> dict[str, Any]:
    return {"model": f"{provider}/*", "name": f"in-{region}", "region": region, "access_key": "k"}


def make_router(*entries: dict[str, Any], **more: Any) -> Router:
    return Router(from_mapping({"version": "v0.4.0", "model_providers": list(entries), **more}))


def make_arn(region: str) -> str:
    return f"arn:aws:bedrock:{region}:123456789012:inference-profile/eu.anthropic.claude-sonnet-4-5"


@each_row("provider", ["amazon_bedrock", "bedrock_invoke"])
@each_row("api", APIS)
def test_an_arn_cannot_leave_the_region_of_its_wildcard(provider, api):
    router = make_router(wildcard("us-east-1", provider))
    target = router.plan(f"{provider}/{make_arn('us-east-1')}", api).first
    assert "us-east-1" in (urlsplit(target.url).hostname or "")
    with pytest.raises(GatewayError) as refused:
        router.plan(f"{provider}/{make_arn('eu-west-1')}", api)
    assert refused.value.info.status == 400
    assert "eu-west-1" in refused.value.info.message


@each_row("api", APIS)
def test_an_arn_selects_the_wildcard_entry_of_its_region(api):
    router = make_router(*map(wildcard, REGIONS))
    for region in REGIONS:
        target = router.plan(f"amazon_bedrock/{make_arn(region)}", api).first
        assert target.entry.name == f"in-{region}"
        assert region in (urlsplit(target.url).hostname or "")


def test_an_arn_in_the_configuration_has_its_own_region():
    entry = {**wildcard("us-east-1"), "model": f"amazon_bedrock/{make_arn('eu-west-1')}", "name": "own"}
    target = make_router(entry).plan("own", "converse").first
    assert "eu-west-1" in (urlsplit(target.url).hostname or "")
