"""Simulated clouds: endpoints that verify a caller and issue credentials, as the vendors document, and models that
require signed requests.

The vendors' libraries are not used: signatures and assertions are verified by hand.
"""

import base64
import json
import secrets
import time
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qs

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.support.aws_signature import fault_of
from tests.support.upstreams import PATHS, Raw, Script, Seen, Upstream, render

REGION: Final = "eu-central-1"
OWN_KEYS: Final = {"AKIAOWNOWNOWNOWNOWN1": "own/secret/of+the+machine"}
"""Permanent keys by their ids."""
ROLE: Final = "arn:aws:iam::123456789012:role/models"
_ANSWER: Final = """<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result><Credentials>
<AccessKeyId>{id}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey><SessionToken>{token}</SessionToken>
<Expiration>{until}</Expiration></Credentials><AssumedRoleUser><Arn>arn</Arn><AssumedRoleId>id</AssumedRoleId>
</AssumedRoleUser></{action}Result></{action}Response>"""
ACCOUNT: Final = "models@project.iam.gserviceaccount.com"
_SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)


def json_response(value: Any, status: int = 200, *headers: tuple[str, str]) -> Raw:
    return Raw(status, (("content-type", "application/json"), *headers), (json.dumps(value).encode(),))


class Clouds(Upstream):
    """All clouds on one port.

    ``given`` are the issued credentials, the latest last; models reject those in ``revoked``. ``down`` is the status
    of all credential endpoints during an outage. ``lifetime`` of credentials is in seconds.
    """

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.port = port
        self.fresh()

    def fresh(self) -> None:
        """Forget everything."""
        self.seen.clear()
        self.given: list[str] = []
        self.secrets: dict[str, tuple[str, str]] = {}  # of temporary keys, with their tokens
        self.revoked: set[str] = set()
        self.lifetime = 3600.0
        self.down = 0
        self.refuses_all = False
        self.models: list[Seen] = []
        self.asked: list[str] = []  # paths of the credential requests
        self.service_account: rsa.RSAPublicKey | None = None

    def answer(self, received: Seen) -> Raw:
        self.seen.append(received)
        if (api := next((api for api, path in PATHS.items() if received.path.endswith(path)), None)) is not None:
            self.models.append(received)
            return self._refusal(received) or render(Script(text="ok"), api, received.json)
        if received.path.startswith("/model/"):
            self.models.append(received)
            return self._refusal(received) or render(Script(text="ok"), "messages", {**received.json, "model": "m"})
        self.asked.append(received.path)
        if self.down:
            return json_response({"error": "invalid_grant"}, self.down)
        handlers = {
            "/": self._sts if received.method == "POST" else self._ping,
            "/latest/api/token": self._imds_token,
            "/latest/meta-data/iam/security-credentials/": lambda received: Raw(200, (), (b"the-role",)),
            "/latest/meta-data/iam/security-credentials/the-role": self._imds_keys,
            "/container": self._container,
            "/federation/credentials": self._sso,
            "/token": self._google_token,
            "/v1/token": self._google_exchange,
            "/computeMetadata/v1/instance/service-accounts/default/": self._google_account,
            f"/computeMetadata/v1/instance/service-accounts/{ACCOUNT}/": self._google_account,
            "/computeMetadata/v1/instance/service-accounts/default/token": self._google_metadata,
            "/msi/token": self._app_service,
            "/metadata/identity/oauth2/token": self._azure_imds,
            "/the-tenant/oauth2/v2.0/token": self._entra,
            "/the-tenant/v2.0/.well-known/openid-configuration": self._entra_about,
        }
        handler = handlers.get(received.path)
        return json_response({"error": f"no {received.path}"}, 404) if handler is None else handler(received)

    # The models

    def _refusal(self, received: Seen) -> Raw | None:
        shown = received.header("authorization") or ""
        if shown.startswith("AWS4-HMAC-SHA256"):
            return self._aws_refusal(received)
        token = shown.removeprefix("Bearer ")
        if self.refuses_all or token not in self.given or token in self.revoked:
            return json_response(
                {"error": {"message": f"Invalid credential {token}", "type": "invalid_request_error"}}, 401
            )
        return None

    def _aws_refusal(self, received: Seen) -> Raw | None:
        token = received.header("x-amz-security-token")
        known = {**OWN_KEYS, **{id: secret for id, (secret, own) in self.secrets.items() if own == token}}
        target = received.path + (f"?{received.query}" if received.query else "")
        fault = fault_of(received.method, target, dict(received.headers), received.body, known, (REGION, "bedrock"))
        if fault is None and (token in self.revoked or self.refuses_all):
            message = "The security token included in the request is expired"
            return json_response({"message": message}, 403, ("x-amzn-errortype", "ExpiredTokenException:"))
        return None if fault is None else json_response({"message": fault}, 403, ("x-amzn-errortype", fault))

    # AWS

    def _keys(self) -> tuple[str, str, str, str]:
        """Return id, secret, token and expiry of new keys."""
        id, secret, token = f"ASIA{secrets.token_hex(8).upper()}", secrets.token_urlsafe(30), secrets.token_urlsafe(60)
        self.secrets[id] = secret, token
        self.given.append(token)
        return (
            id,
            secret,
            token,
            datetime.fromtimestamp(time.time() + self.lifetime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )

    def _json_keys(self, **more: str) -> Raw:
        id, secret, token, until = self._keys()
        keys = {"AccessKeyId": id, "SecretAccessKey": secret, "Token": token, "Expiration": until}
        return json_response({**keys, **more})

    def _sts(self, received: Seen) -> Raw:
        """Answer an STS request (https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html)."""
        form = {name: values[0] for name, values in parse_qs(received.body.decode()).items()}
        action = form["Action"]
        if action == "AssumeRole":
            fault = fault_of("POST", "/", dict(received.headers), received.body, OWN_KEYS, (REGION, "sts"))
            good = fault is None and form["RoleArn"] == ROLE and form.get("ExternalId") == "the-external-id"
        else:
            good = action == "AssumeRoleWithWebIdentity" and form["WebIdentityToken"] == "the-pods-token"
        if not good:
            wrong = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>denied</Message></Error></ErrorResponse>"
            return Raw(403, (("content-type", "text/xml"),), (wrong.encode(),))
        id, secret, token, until = self._keys()
        text = _ANSWER.format(action=action, id=id, secret=secret, token=token, until=until)
        return Raw(200, (("content-type", "text/xml"),), (text.encode(),))

    def _imds_token(self, received: Seen) -> Raw:
        """Answer a request for an IMDS session
        (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html)."""
        good = received.method == "PUT" and received.header("x-aws-ec2-metadata-token-ttl-seconds")
        return Raw(200, (), (b"an-imds-session",)) if good else Raw(400)

    def _imds_keys(self, received: Seen) -> Raw:
        if received.header("x-aws-ec2-metadata-token") != "an-imds-session":
            return Raw(401)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return self._json_keys(Code="Success", Type="AWS-HMAC", LastUpdated=now)

    def _container(self, received: Seen) -> Raw:
        return (
            self._json_keys() if received.header("authorization") == "the-containers-token" else json_response({}, 403)
        )

    def _sso(self, received: Seen) -> Raw:
        """Answer an SSO request
        (https://docs.aws.amazon.com/singlesignon/latest/PortalAPIReference/API_GetRoleCredentials.html)."""
        if received.header("x-amz-sso_bearer_token") != "the-sso-token":
            return json_response({"message": "Session token not found or invalid"}, 401)
        id, secret, token, _ = self._keys()
        until = int((time.time() + self.lifetime) * 1000)
        keys = {"accessKeyId": id, "secretAccessKey": secret, "sessionToken": token, "expiration": until}
        return json_response({"roleCredentials": keys})

    # Google

    def _token(self) -> str:
        self.given.append(f"ya29.{secrets.token_urlsafe(40)}")
        return self.given[-1]

    def _access_token(self) -> Raw:
        return json_response({"access_token": self._token(), "expires_in": int(self.lifetime), "token_type": "Bearer"})

    def _google_token(self, received: Seen) -> Raw:
        """Answer a token request
        (https://developers.google.com/identity/protocols/oauth2/service-account#httprest)."""
        form = {name: values[0] for name, values in parse_qs(received.body.decode()).items()}
        if form["grant_type"] == "refresh_token":
            good = form["refresh_token"] == "the-persons-own" and form["client_secret"] == "no-secret"
            return self._access_token() if good else json_response({"error": "invalid_grant"}, 400)
        head, claims, signature = form["assertion"].split(".")
        assert self.service_account is not None
        try:
            signed = f"{head}.{claims}".encode()
            self.service_account.verify(_bytes(signature), signed, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return json_response({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, 400)
        said, now = json.loads(_bytes(claims)), time.time()
        good = (
            form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
            and json.loads(_bytes(head))["alg"] == "RS256"
            and said["iss"] == ACCOUNT
            and said["aud"] == "https://oauth2.googleapis.com/token"
            and said["scope"] == _SCOPES[0]
            and said["iat"] - 60 <= now < said["exp"] <= said["iat"] + 3600
        )
        return self._access_token() if good else json_response({"error": "invalid_grant"}, 400)

    def _google_exchange(self, received: Seen) -> Raw:
        """Exchange a token (https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token)."""
        form = {name: values[0] for name, values in parse_qs(received.body.decode()).items()}
        good = (
            form["grant_type"] == "urn:ietf:params:oauth:grant-type:token-exchange"
            and form["subject_token"] == "the-workloads-token"
            and form["subject_token_type"] == "urn:ietf:params:oauth:token-type:jwt"
            and form["audience"].endswith("/workloadIdentityPools/pool/providers/mine")
            and form["scope"] == _SCOPES[0]
        )
        issued = {"issued_token_type": "urn:ietf:params:oauth:token-type:access_token", "token_type": "Bearer"}
        if not good:
            return json_response({"error": "invalid_grant"}, 400)
        return json_response({"access_token": self._token(), "expires_in": int(self.lifetime), **issued})

    def _ping(self, received: Seen) -> Raw:
        return Raw(200, (("metadata-flavor", "Google"),), (b"computeMetadata/",))

    def _google_account(self, received: Seen) -> Raw:
        if received.header("metadata-flavor") != "Google":
            return json_response({}, 403)
        return json_response({"email": ACCOUNT, "scopes": list(_SCOPES), "aliases": ["default"]})

    def _google_metadata(self, received: Seen) -> Raw:
        """Answer a metadata request
        (https://cloud.google.com/compute/docs/access/authenticate-workloads#applications)."""
        return self._access_token() if received.header("metadata-flavor") == "Google" else json_response({}, 403)

    # Azure

    def _azure_token(self, **more: Any) -> Raw:
        self.given.append(f"eyJ0eXAi.eyJhdWQi.{secrets.token_urlsafe(40)}")
        return json_response({"access_token": self.given[-1], "token_type": "Bearer", **more})

    def _app_service(self, received: Seen) -> Raw:
        """Answer a managed identity request
        (https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference)."""
        query = parse_qs(received.query)
        if received.header("x-identity-header") != "the-identity-header" or "resource" not in query:
            return json_response({"statusCode": 401, "message": "no"}, 401)
        if query["resource"] != ["https://cognitiveservices.azure.com"]:
            return json_response({"statusCode": 400, "message": "unknown resource"}, 400)
        return self._azure_token(expires_on=str(int(time.time() + self.lifetime)), resource=query["resource"][0])

    def _azure_imds(self, received: Seen) -> Raw:
        """Answer an IMDS token request
        (https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token)."""
        query = parse_qs(received.query)
        if received.header("metadata") != "true" or query.get("client_id", ["own"]) != ["own"]:
            return json_response({"error": "invalid_request", "error_description": "Identity not found"}, 400)
        seconds = str(int(self.lifetime))
        return self._azure_token(expires_in=seconds, expires_on=str(int(time.time() + self.lifetime)))

    def _entra_about(self, received: Seen) -> Raw:
        """Answer a discovery request (https://openid.net/specs/openid-connect-discovery-1_0.html)."""
        here = f"https://localhost:{self.port}/the-tenant"
        ends = {"token_endpoint": "/oauth2/v2.0/token", "authorization_endpoint": "/oauth2/v2.0/authorize"}
        return json_response({"issuer": f"{here}/v2.0", **{name: here + end for name, end in ends.items()}})

    def _entra(self, received: Seen) -> Raw:
        """Answer a token request
        (https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow)."""
        form = {name: values[0] for name, values in parse_qs(received.body.decode()).items()}
        proven = form.get("client_secret") == "the-secret-of-the-application" or (
            form.get("client_assertion") == "the-pods-token"
            and form.get("client_assertion_type") == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        )
        good = form["grant_type"] == "client_credentials" and form["client_id"] == "the-application" and proven
        if not good or form["scope"] != "https://cognitiveservices.azure.com/.default":
            return json_response({"error": "invalid_client", "error_description": "AADSTS7000215: Invalid secret"}, 401)
        return self._azure_token(expires_in=int(self.lifetime))


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
