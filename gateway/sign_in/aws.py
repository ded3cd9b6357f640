"""Keys of AWS."""

import time
from bisect import bisect_left
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import botocore.session
from botocore.config import Config

from gateway.config.sign_ins import AwsSignIn
from gateway.sign_in.refreshed import Fetched
from providers.auth.signer import AwsKeys

LONGEST: Final = 7 * 86400  # seconds; keys that are valid for longer count as unlimited
_NOTHING: Final = (
    "found no AWS credentials in the environment, shared files, SSO, web identity, container or instance metadata"
)


class NoAwsCredentials(Exception):
    """AWS's credential chain found no credentials."""


def fetch_aws(sign_in: AwsSignIn) -> Fetched:
    """Fetch AWS keys. Blocks."""
    session: Any = botocore.session.Session(profile=sign_in.profile)
    if sign_in.keys is not None:
        session.set_credentials(sign_in.keys.id, sign_in.keys.secret, sign_in.keys.token)
    region = sign_in.region or session.get_config_variable("region")
    if sign_in.role_arn is not None:
        return _assume_role(session, sign_in, region)
    found = session.get_credentials()
    if found is None:
        raise NoAwsCredentials(_NOTHING)
    keys = found.get_frozen_credentials()
    return Fetched(AwsKeys(keys.access_key, keys.secret_key, keys.token, region), _expiry_of(found))


def _assume_role(session: Any, sign_in: AwsSignIn, region: str | None) -> Fetched:
    timeouts = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2})
    client = session.create_client("sts", region_name=region or "us-east-1", config=timeouts)
    more = {"ExternalId": sign_in.external_id} if sign_in.external_id else {}
    name = sign_in.session_name or "trigate"
    given = client.assume_role(RoleArn=sign_in.role_arn, RoleSessionName=name, **more)["Credentials"]
    keys = AwsKeys(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], region)
    return Fetched(keys, given["Expiration"].timestamp())


def _expiry_of(found: Any) -> float | None:
    """Return the expiry of AWS credentials, found by bisection: they only report whether they expire within a time."""
    if not hasattr(found, "refresh_needed") or not found.refresh_needed(refresh_in=LONGEST):
        return None
    return time.time() + bisect_left(range(LONGEST), True, key=lambda seconds: found.refresh_needed(refresh_in=seconds))


def aws_keys(sign_in: AwsSignIn) -> Callable[[], Fetched]:
    """Return the function that fetches keys."""
    return partial(fetch_aws, sign_in)
