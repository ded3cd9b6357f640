"""Tokens in the form that clusters, CI services and identity providers document."""

import time
from collections.abc import Mapping
from typing import Any, Final

import attrs

from tests.support.forged_tokens import FIRST
from tests.support.signed_tokens import compact


@attrs.frozen
class TokenForm:
    """A token as an issuer makes it: ``issuer`` is its ``iss``; ``rule`` admits it as ``client``, and ``other`` are
    claims of a token that the rule does not admit."""

    name: str
    issuer: str
    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    rule: Mapping[str, Any]
    client: str
    other: Mapping[str, Any]
    audience: str = "trigate"
    claim_names: Mapping[str, str] = attrs.field(factory=dict)

    def token(self, **changed: Any) -> str:
        """Return a token that expires in five minutes, signed with the first key of the tests."""
        now = int(time.time())
        claims = {"iss": self.issuer, "iat": now, "nbf": now, "exp": now + 300, **self.claims, **changed}
        return compact(self.header, claims, FIRST.sign)

    def settings(self, key_set: str) -> dict[str, Any]:
        """Return the item of ``issuers`` for it, with its keys in the file ``key_set``."""
        return {
            "name": self.name, "issuer": self.issuer, "audience": [self.audience], "jwks": {"file": key_set},
            "claims": dict(self.claim_names), "admit": [{"when": dict(self.rule)}],
        }  # fmt: skip


FORMS: Final = (
    # https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/ (projected volume)
    TokenForm(
        "cluster",
        "https://kubernetes.default.svc.cluster.local",
        {"alg": "RS256", "kid": "first"},
        {
            "aud": ["trigate"],
            "jti": "ea28ed49-2e11-4280-9ec5-bc3d1d84661a",
            "kubernetes.io": {
                "namespace": "research",
                "node": {"name": "127.0.0.1", "uid": "58456cb0-dd00-45ed-b797-5578fdceaced"},
                "pod": {"name": "worker-69cbfb9798-jv9gn", "uid": "778a530c-b3f4-47c0-9cd5-ab018fb64f33"},
                "serviceaccount": {"name": "batch", "uid": "a087d5a0-e1dd-43ec-93ac-f13d89cd13af"},
                "warnafter": 1700081020,
            },
            "sub": "system:serviceaccount:research:batch",
        },
        {"/kubernetes.io/namespace": "research"},
        "cluster:system:serviceaccount:research:batch",
        {"kubernetes.io": {"namespace": "default"}, "sub": "system:serviceaccount:default:batch"},
    ),
    # https://docs.github.com/en/actions/concepts/security/openid-connect
    TokenForm(
        "github",
        "https://token.actions.githubusercontent.com",
        {"typ": "JWT", "alg": "RS256", "x5t": "example-thumbprint", "kid": "first"},
        {
            "jti": "example-id", "sub": "repo:acme/app:ref:refs/heads/main", "aud": "trigate", "ref": "refs/heads/main",
            "sha": "example-sha", "repository": "acme/app", "repository_owner": "acme", "actor_id": "12",
            "repository_visibility": "private", "repository_id": "74", "repository_owner_id": "65",
            "run_id": "example-run-id", "run_number": "10", "run_attempt": "2", "runner_environment": "github-hosted",
            "actor": "octocat", "workflow": "example-workflow", "head_ref": "", "base_ref": "",
            "event_name": "workflow_dispatch", "ref_protected": "true", "ref_type": "branch",
            "job_workflow_ref": "acme/automation/.github/workflows/oidc.yml@refs/heads/main",
        },
        {"repository": "acme/app", "ref": "refs/heads/main"},
        "github:acme/app",
        {"ref": "refs/pull/17/merge", "sub": "repo:acme/app:pull_request", "event_name": "pull_request"},
        claim_names={"name": "repository"},
    ),
    # https://docs.gitlab.com/ci/secrets/id_token_authentication/
    TokenForm(
        "gitlab",
        "https://gitlab.com",
        {"kid": "first", "typ": "JWT", "alg": "RS256"},
        {
            "namespace_id": "72", "namespace_path": "my-group", "project_id": "20",
            "project_path": "my-group/my-project",
            "user_id": "1", "user_login": "sample-user", "user_email": "sample-user@example.com",
            "user_identities": [{"provider": "github", "extern_uid": "2435223452345"}], "pipeline_id": "574",
            "pipeline_source": "push", "job_id": "302", "ref": "main", "ref_type": "branch",
            "ref_path": "refs/heads/main",
            "ref_protected": "true", "runner_id": 1, "runner_environment": "self-hosted",
            "project_visibility": "public",
            "sub": "project_path:my-group/my-project:ref_type:branch:ref:main", "aud": "trigate",
            "jti": "235b3a54-b797-45c7-ae9a-f72d7bc6ef5b",
        },
        {"project_path": "my-group/*", "ref_protected": "true"},
        "gitlab:project_path:my-group/my-project:ref_type:branch:ref:main",
        {"project_path": "other-group/my-project"},
    ),
    # https://cloud.google.com/docs/authentication/token-types#id
    TokenForm(
        "google",
        "https://accounts.google.com",
        {"alg": "RS256", "kid": "first", "typ": "JWT"},
        {
            "azp": "103978712345678901234", "aud": "trigate", "sub": "103978712345678901234", "email_verified": True,
            "email": "batch@my-project.iam.gserviceaccount.com",
        },
        {"email": "*@my-project.iam.gserviceaccount.com"},
        "google:103978712345678901234",
        {"email": "mallory@gmail.com", "sub": "1"},
    ),
    # https://learn.microsoft.com/en-us/entra/identity-platform/access-token-claims-reference
    TokenForm(
        "entra",
        "https://login.microsoftonline.com/aaaabbbb-0000-cccc-1111-dddd2222eeee/v2.0",
        {"typ": "JWT", "alg": "RS256", "x5t": "first", "kid": "first"},
        {
            "aud": "00001111-aaaa-2222-bbbb-3333cccc4444", "aio": "AXQAi/8IAAAA", "azp": "11112222", "azpacr": "0",
            "name": "Abe Lincoln", "oid": "aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb",
            "preferred_username": "abeli@example.com",
            "rh": "I", "scp": "access_as_user", "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ", "ver": "2.0",
            "tid": "aaaabbbb-0000-cccc-1111-dddd2222eeee", "uti": "fqiBqXLPj0eQa82S-IYFAA",
            "groups": ["8d9d6f4e-71c9-4a3f-9a83-0f0f0e2f7c11"],
        },
        {"groups": "8d9d6f4e-71c9-4a3f-9a83-0f0f0e2f7c11"},
        "entra:aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb",
        {"groups": []},
        audience="00001111-aaaa-2222-bbbb-3333cccc4444",
        claim_names={"name": "oid", "label": "preferred_username"},
    ),
    # RFC 9068, section 2.2, as Auth0 and others issue it
    TokenForm(
        "auth0",
        "https://acme.eu.auth0.com/",
        {"alg": "RS256", "typ": "at+jwt", "kid": "first"},
        {
            "sub": "auth0|5ba552d67", "aud": ["trigate", "https://acme.eu.auth0.com/userinfo"],
            "client_id": "s6BhdRkqt3",
            "jti": "dbe39bf3a3ba4238a513f51d6e1691c4", "scope": "openid profile",
            "https://acme.com/roles": ["engineer"],
        },
        {"https://acme.com/roles": "engineer"},
        "auth0:auth0|5ba552d67",
        {"https://acme.com/roles": ["guest"]},
    ),
    # https://www.keycloak.org/docs/latest/server_admin/ (access token)
    TokenForm(
        "keycloak",
        "https://sso.acme.com/realms/acme",
        {"alg": "RS256", "typ": "JWT", "kid": "first"},
        {
            "jti": "onrtac:2f41", "aud": ["trigate", "account"], "sub": "f5d6b4d1", "typ": "Bearer", "azp": "cli",
            "sid": "c32a", "acr": "1", "realm_access": {"roles": ["offline_access", "llm"]}, "email_verified": False,
            "resource_access": {"account": {"roles": ["manage-account"]}}, "scope": "openid email",
            "name": "Ada L\u00f8v",
            "preferred_username": "ada", "email": "ada@acme.com",
        },
        {"/realm_access/roles": "llm"},
        "keycloak:f5d6b4d1",
        {"realm_access": {"roles": []}},
    ),
    # https://developers.cloudflare.com/cloudflare-one/access-controls/applications/http-apps/authorization-cookie/
    TokenForm(
        "cloudflare",
        "https://acme.cloudflareaccess.com",
        {"alg": "RS256", "kid": "first", "typ": "JWT"},
        {
            "aud": ["32eafc7626e737873f0d6f6c4e5a0b0b"], "email": "ada@acme.com", "type": "app", "country": "US",
            "identity_nonce": "6ei69kawdKzMIAPF", "sub": "7335d417-61da-459d-899c-0a01c76a2f94",
        },
        {"email": "*@acme.com"},
        "cloudflare:7335d417-61da-459d-899c-0a01c76a2f94",
        {"email": "mallory@other.com"},
        audience="32eafc7626e737873f0d6f6c4e5a0b0b",
    ),
)  # fmt: skip
