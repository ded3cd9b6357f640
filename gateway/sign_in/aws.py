"""Keys of AWS, as its own library finds them: https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html"""

import os
import time
from bisect import bisect_left
from typing import Any, Final

from gateway.config.settings import AwsSignIn
from gateway.sign_in.refreshed import Fetched
from providers.auth.credential import AwsKeys

LONGEST: Final = 7 * 86400  # seconds that keys are asked about; what lasts longer does not end
BEARER: Final = "AWS_BEARER_TOKEN_BEDROCK"
_NOTHING: Final = (
    "no AWS credentials were found in the environment, in shared files, by SSO, web identity, a container or an "
    "instance's metadata"
)


class NoAwsCredentials(Exception):
    """Nothing in the vendor's chain has credentials."""


def fetch_aws(sign_in: AwsSignIn) -> Fetched:
    """Keys, or the Bedrock API key of the environment, as the vendor's programs take it. Blocks."""
    if (token := os.environ.get(BEARER)) and not (sign_in.keys or sign_in.profile or sign_in.role_arn):
        return Fetched(token)
    import botocore.session

    session: Any = botocore.session.Session(profile=sign_in.profile)
    if sign_in.keys is not None:
        session.set_credentials(sign_in.keys.id, sign_in.keys.secret, sign_in.keys.token)
    region = sign_in.region or session.get_config_variable("region")
    if sign_in.role_arn is not None:
        return _as_role(session, sign_in, region)
    found = session.get_credentials()
    if found is None:
        raise NoAwsCredentials(_NOTHING)
    keys = found.get_frozen_credentials()
    return Fetched(AwsKeys(keys.access_key, keys.secret_key, keys.token, region), _end(found))


def _as_role(session: Any, sign_in: AwsSignIn, region: str | None) -> Fetched:
    from botocore.config import Config

    timeouts = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2})
    client = session.create_client("sts", region_name=region or "us-east-1", config=timeouts)
    more = {"ExternalId": sign_in.external_id} if sign_in.external_id else {}
    name = sign_in.session_name or "trigate"
    given = client.assume_role(RoleArn=sign_in.role_arn, RoleSessionName=name, **more)["Credentials"]
    keys = AwsKeys(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], region)
    return Fetched(keys, given["Expiration"].timestamp())


def _end(found: Any) -> float | None:
    """The end of credentials, which say of themselves only whether they end within so many seconds."""
    if not hasattr(found, "refresh_needed") or not found.refresh_needed(refresh_in=LONGEST):
        return None
    return time.time() + bisect_left(range(LONGEST), True, key=lambda seconds: found.refresh_needed(refresh_in=seconds))
